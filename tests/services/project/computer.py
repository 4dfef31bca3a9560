"""A computer of its own: state, settings and project folder, with a store that it may share with others."""
# ruff: noqa: PTH112, PTH114, PTH115, PTH116, PTH118 - names that are no text, and texts that are no path

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from cryoburst.stores.folder import FolderStore

PROGRAM = Path(sys.executable).with_name("cryoburst")
PATIENCE = 180.0  # s, on a loaded machine


class Computer:
    """Everything below ``root``; ``project`` is a folder in it."""

    def __init__(self, root: Path, store: Path, project: str = "project") -> None:
        root.mkdir(exist_ok=True)
        self.root, self.store, self.project = root, store, root / project
        clean = {name: value for name, value in os.environ.items() if not name.startswith("CRYOBURST_")}
        self.environment = clean | {
            "HOME": str(root),
            "XDG_CONFIG_HOME": str(root / "config"),
            "CRYOBURST_STATE": str(root / "state"),
            "CRYOBURST_STORE": store.as_uri(),
            "CRYOBURST_OWNER": f"somebody@{root.name}",
        }
        if not store.exists():
            FolderStore(store.as_uri()).create()

    def call(self, *words: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
        """One ``cryoburst project`` command, in the project folder."""
        return subprocess.run([PROGRAM, "project", *words], **self._how(cwd), capture_output=True, timeout=PATIENCE)

    def start(self, *words: str, cwd: Path | None = None) -> "subprocess.Popen[str]":
        """One that goes on."""
        return subprocess.Popen(
            [PROGRAM, "project", *words], **self._how(cwd), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def does(self, *words: str, code: int = 0, cwd: Path | None = None) -> str:
        """What a command said that had to end with this code; its errors too."""
        done = self.call(*words, cwd=cwd)
        assert done.returncode == code, f"{done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def values(self, *words: str, code: int = 0, cwd: Path | None = None) -> dict[str, Any]:
        """The JSON that a command printed."""
        done = self.call(*words, "--json", cwd=cwd)
        assert done.returncode == code, f"{done.returncode}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    def clone_to(self, other: "Computer", *words: str, code: int = 0) -> str:
        """Clone this computer's project to the other's project folder."""
        return other.does(
            "clone", f"{self.store.as_uri()}/{self.folder}", str(other.project), *words, code=code, cwd=other.root
        )

    @property
    def folder(self) -> str:
        """The project's folder in the store."""
        (found,) = [path.name for path in (self.store / "projects").iterdir()]
        return found

    def blobs(self) -> dict[str, tuple[int, int]]:
        """The blobs in the store: key -> (inode, time of writing in ns)."""
        inputs = self.store / self.folder_guess() / "inputs"
        files = [path for path in inputs.rglob("*") if path.is_file() and not path.name.startswith(".")]
        return {str(path.relative_to(self.store)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}

    def folder_guess(self) -> str:
        """The project's folder in the store, also when no list of it is there yet."""
        names = [path.name for path in self.store.iterdir() if (path / "inputs").is_dir()]
        return names[0] if names else "none"

    def _how(self, cwd: Path | None) -> dict[str, Any]:
        return {"cwd": cwd or self.project, "env": self.environment, "text": True, "stdin": subprocess.DEVNULL}


def tree(folder: Path) -> dict[bytes, object]:
    """Everything below a folder: files' bytes, links' texts, None for folders."""
    found: dict[bytes, object] = {}
    root = os.fsencode(folder)
    for above, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = os.path.join(above, name)
            short = os.path.relpath(path, root)
            if os.path.islink(path):
                found[short] = os.readlink(path)
            elif os.path.isdir(path):
                found[short] = None
            else:
                found[short] = Path(os.fsdecode(path)).read_bytes()
    return found


def age(folder: Path, seconds: float = 100.0) -> None:
    """Make all files below a folder older, as if they had been at rest for a while."""
    for above, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(above, name)
            if not os.path.islink(path):
                then = os.stat(path).st_mtime_ns - int(seconds * 1e9)
                os.utime(path, ns=(then, then))
