"""A user's computer with a RELION project on next to nothing of data, whose jobs go through cryoburst."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from cryoburst.demo.queue import queue_environment
from cryoburst.demo.run import Record, demo

PROGRAM = Path(sys.executable).with_name("cryoburst")


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

    def call(self, folder: Path, *words: str, seconds: float = 360.0) -> "subprocess.CompletedProcess[str]":
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

    def close(self) -> None:
        """End the watcher, and with it nothing else: all runs have ended."""
        wanted = os.fsencode(f"CRYOBURST_STATE={self.root / 'state'}")
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if wanted in (entry / "environ").read_bytes().split(b"\0"):
                        os.kill(int(entry.name), signal.SIGKILL)
