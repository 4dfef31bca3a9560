"""A user's computer with a RELION project on next to nothing of data: its jobs go through cryoburst, or run bare."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryoburst.demo.queue import queue_environment, relion_environment
from cryoburst.demo.run import Record, demo

PROGRAM = Path(sys.executable).with_name("cryoburst")
# What RELION's window writes when it submits a job, and what no two runs have in common.
SUBMITTED = {"job.star", "job_pipeline.star", "default_pipeline.star", "note.txt", "run_submit.script"}
LOGS = {"run.out", "run.err"}
DATED = (".pdf", ".log", ".lst")  # hold the time of day
LABELS = slice(224, 1024)  # of an MRC file: free text, in which RELION writes the time


class Stage:
    """Everything below ``root``: settings, state, store, machines, and projects."""

    def __init__(self, root: Path, submit: str = "") -> None:
        """``submit``: more words for every ``cryoburst submit``."""
        self.root, self.submit = root, submit
        self.settings = {
            "HOME": str(root),
            "XDG_CONFIG_HOME": str(root / "config"),
            "CRYOBURST_STATE": str(root / "state"),
            "CRYOBURST_IDLE_SECONDS": "2",
            "CRYOBURST_POLL_SECONDS": "0.1",
            "OMP_NUM_THREADS": "1",
        }
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("CRYOBURST_", "RELION_"))}
        self.environment = clean | self.settings

    def demo(self, folder: Path, pipeline: str) -> Record:
        """Carry out a pipeline in a folder, as ``cryoburst demo`` does."""
        return demo(folder, pipeline=pipeline, say=lambda line: None, queue=self.queue)

    def queue(self, folder: Path) -> dict[str, str]:
        """RELION's environment, as the demo makes it."""
        made = queue_environment(folder)
        command = made["RELION_QSUB_COMMAND"]
        return made | self.settings | {"RELION_QSUB_COMMAND": f"{command} {self.submit}".rstrip()}

    def call(self, folder: Path, *words: str, seconds: float = 120.0) -> "subprocess.CompletedProcess[str]":
        """One command of cryoburst in a project."""
        return subprocess.run(
            [PROGRAM, *words],
            cwd=folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
        )

    def runs(self, folder: Path) -> dict[str, dict[str, Any]]:
        """``cryoburst runs --json``, by job folder."""
        import json

        done = self.call(folder, "runs", "--json")
        assert done.returncode == 0, done.stderr
        return {f"{row['job'].rstrip('/')}/": row for row in json.loads(done.stdout)}

    def bare(self, project: Path, job: str, beside: Path) -> Path:
        """Run a job's script without us, in a project that is the same but for the job's own folder; that folder."""
        for entry in project.iterdir():
            kind = beside / entry.name
            if entry.is_dir() and entry.name == job.split("/")[0]:
                kind.mkdir(parents=True)
                for other in entry.iterdir():
                    if other.name != job.split("/")[1]:
                        (kind / other.name).symlink_to(other)
            elif entry.is_dir():
                kind.parent.mkdir(parents=True, exist_ok=True)
                kind.symlink_to(entry)
        folder = beside / job
        folder.mkdir()
        for name in SUBMITTED:
            shutil.copy(project / job / name, folder)
        with (folder / "run.out").open("wb") as out, (folder / "run.err").open("wb") as err:
            done = subprocess.run(
                ["bash", f"{job}run_submit.script"],
                cwd=beside,
                env=self.environment | relion_environment() | {"PATH": os.environ["PATH"]},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                timeout=600,
            )
        assert done.returncode == 0, (folder / "run.err").read_text(errors="replace")
        return folder

    def close(self) -> None:
        """End the watcher, and with it nothing else: all runs have ended."""
        wanted = os.fsencode(f"CRYOBURST_STATE={self.root / 'state'}")
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if wanted in (entry / "environ").read_bytes().split(b"\0"):
                        os.kill(int(entry.name), signal.SIGKILL)


def files(folder: Path) -> dict[str, Path]:
    """All files and links of a job folder but those of its submission, by name."""
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()}
    return {name: path for name, path in found.items() if name not in SUBMITTED}


def differences(mine: Path, bare: Path) -> Iterator[str]:
    """The files that only one of two job folders has, and those whose content differs where it must not."""
    ours, theirs = files(mine), files(bare)
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in ours or name not in theirs:
            yield f"{name} is only {'in ours' if name in ours else 'in the bare one'}"
        elif ours[name].is_symlink() or theirs[name].is_symlink():
            roots = (mine.parents[1], bare.parents[1])
            if _in_project(ours[name], roots) != _in_project(theirs[name], roots):
                yield f"{name} points elsewhere"
        elif name not in LOGS and not name.endswith(DATED) and content(ours[name]) != content(theirs[name]):
            yield f"{name} differs"


def _in_project(link: Path, roots: tuple[Path, Path]) -> Path:
    """Where a link leads, relative to whichever of two projects that is in."""
    real = link.resolve()
    return real.relative_to(next(root for root in roots if real.is_relative_to(root)))


def content(path: Path) -> bytes:
    """A file's bytes but for the time of day."""
    data = path.read_bytes()
    if path.suffix in (".mrc", ".mrcs", ".ctf"):
        return data[: LABELS.start] + data[LABELS.stop :]
    if path.suffix == ".eps":
        return re.sub(rb"%%CreationDate.*", b"", data)
    return data
