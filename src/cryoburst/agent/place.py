"""The machine's root folder, and the times that the agent keeps. No file outside the root is ever written.

ROOT/project/   the job's working directory, laid out like the project at home
ROOT/home/      HOME of the job
ROOT/tmp/       TMPDIR of the job
ROOT/agent/     the job's script, and the notes that the agent leaves for the guard; a job may empty its TMPDIR
"""
# ruff: noqa: PTH103, PTH104, PTH123

import json
import os
import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from cryoburst.model.errors import BadInput

if TYPE_CHECKING:
    from cryoburst.model.plugins import Clock


@dataclass(frozen=True)
class Pace:
    """Seconds between the agent's steps; tests make them small."""

    clock: "Clock" = time.time
    stop_wait: float = 30.0  # from the abort file to SIGTERM
    term_wait: float = 5.0  # from SIGTERM to SIGKILL
    leftover_wait: float = 2.0  # the same for what the script left running
    quiet: float = 0.15  # a file closed this long ago, and by everybody, is finished
    slower: float = 20.0  # whole outputs wait for others for one part in so many of the time that the command has run,
    together: float = 1.0  # and for so long at most: each message costs
    scan: float = 1.0  # between two looks at the job folder where the kernel can't tell of changes
    stop_check: float = 1.0  # between two looks for stop.json
    retry_first: float = 0.25  # before the first retry of the store; each wait is twice the one before
    retry_most: float = 15.0
    ahead: float = 0.0  # by how much the times of this machine's files are ahead of the clock

    def corrected(self, ahead: float) -> "Pace":
        """The pace of a machine whose own clock is so many seconds ahead: with a clock that is right."""
        return replace(self, clock=lambda: self.clock() - ahead, ahead=ahead)


@dataclass(frozen=True)
class Place:
    """The root folder of the machine."""

    root: str

    @property
    def project(self) -> str:
        """The job's working directory."""
        return f"{self.root}/project"

    @property
    def home(self) -> str:
        """HOME of the job."""
        return f"{self.root}/home"

    @property
    def tmp(self) -> str:
        """TMPDIR of the job."""
        return f"{self.root}/tmp"  # noqa: S108 - the machine's own

    @property
    def notes(self) -> str:
        """What the agent keeps for itself and for the guard."""
        return f"{self.root}/agent"

    def make(self) -> None:
        """Make the four folders. Silent when they are there."""
        for folder in (self.project, self.home, self.tmp, self.notes):
            os.makedirs(folder, exist_ok=True)

    def inside(self, path: str) -> str:
        """The file of a path that is relative to the project; ``BadInput`` when it leads out of the project."""
        parts = path.rstrip("/").split("/")
        if "\0" in path or any(part in ("", ".", "..") for part in parts):
            raise BadInput("a path in the job's spec leads out of the project", where=path)
        return f"{self.project}/{'/'.join(parts)}"

    def relative(self, path: str) -> str | None:
        """The path, relative to the project, of an absolute path inside it; None when it is elsewhere."""
        for top in self._tops:
            if path == top or path.startswith(top + "/"):
                return path[len(top) + 1 :]
        return None

    @cached_property
    def _tops(self) -> tuple[str, ...]:
        """The project's folder, as it is called and as the kernel calls it: asked once, not for each of its files."""
        return self.project, os.path.realpath(self.project)

    def note(self, name: str, content: dict[str, Any]) -> None:
        """Leave a note for the guard: whole or not at all, also when the agent is killed while it writes."""
        target = f"{self.notes}/{name}.json"
        with open(target + ".new", "w", encoding="utf-8") as file:
            json.dump(content, file)
        os.rename(target + ".new", target)

    def noted(self, name: str) -> dict[str, Any] | None:
        """The note of this name; None when there is none."""
        try:
            with open(f"{self.notes}/{name}.json", encoding="utf-8") as file:
                return cast(dict[str, Any], json.load(file))
        except (OSError, ValueError):
            return None
