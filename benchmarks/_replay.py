"""A package whose jobs are stages of a published study: what a job reads and makes is written in its folder.

``stage.json`` has ``units``, ``cut`` (whether it can be cut by them), ``reads`` (names of files, with ``{}`` where
there is one for each unit) and ``gpus`` (that it needs at least).
"""

import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryoburst.model.course import Course, Panel, Past
from cryoburst.model.documents import Exit
from cryoburst.model.errors import BadInput, NotThere
from cryoburst.model.job import Input, Job, Progress, Resources, Resume, Verdict
from cryoburst.model.plugins import Examined
from cryoburst.model.split import Cut, block
from cryoburst.model.stub import parse_stub

STAGE = "stage.json"
MARKERS = {"succeeded": "DONE", "failed": "FAILED", "aborted": "ABORTED"}


class Replay:
    """See the module."""

    name = "replay"
    title = "Published stages"
    site = ""
    abort_file = ""
    logs: tuple[str, str] = ("run.out", "run.err")

    def __init__(self) -> None:
        self.environment: dict[str, str] = {}

    def read_job(self, target: Path, cwd: Path) -> Job:
        """The job of a folder."""
        folder = cwd / target
        if not (folder / STAGE).is_file():
            raise BadInput("not a stage", where=str(target))
        project = folder.parent.parent
        name = f"{folder.relative_to(project).as_posix()}/"
        gpus = int(_stage(project, name)["gpus"])
        return Job("replay", "replay", project, name, f"# {name}\n", resources=Resources(gpus=gpus), patient=True)

    def inputs(self, job: Job) -> list[Input]:
        """The stage itself, and what it reads; of what its parts read the join needs the names alone."""
        stage = _stage(job.project, job.folder)
        units = block(stage["units"], job.part, job.parts) if job.part else range(stage["units"])
        found = [_input(job.project, job.folder + STAGE)]
        for name in stage["reads"]:
            numbers = units if "{}" in name else range(1)
            found += [_input(job.project, name.format(f"{n:05d}"), listed=job.is_join) for n in numbers]
        return found

    def fit(self, job: Job, cores: int) -> tuple[Job, str]:
        """It is run as it is."""
        return job, ""

    def examine(self, job: Job) -> Examined:
        """Nothing to find."""
        return Examined(self.inputs(job))

    def resume(self, job: Job, made: frozenset[str]) -> Resume | None:
        """It begins anew."""
        return None

    def cut(self, job: Job) -> Cut:
        """By its units."""
        stage = _stage(job.project, job.folder)
        return Cut(stage["units"], "micrographs") if stage["cut"] else Cut(0, refusal="it is one piece")

    def part(self, job: Job, part: int, parts: int) -> Job:
        """The same, with a number."""
        return replace(job, part=part, parts=parts)

    def joined(self, name: str) -> bool:
        """Whether it is the list of all."""
        return name == "joined.star"

    def unmade(self, job: Job) -> list[str]:
        """None."""
        return []

    def held(self, name: str) -> bool:
        """Whether it is a marker."""
        return name in MARKERS.values()

    def progress(self, job: Job, log: str, since: float) -> Progress | None:
        """Not known."""
        return None

    def verdict(self, job: Job, exit_: Exit, markers: Iterable[str]) -> Verdict:
        """By the exit code."""
        return Verdict("succeeded" if exit_.code == 0 else "failed", exit_.sentence)

    def mark(self, project: Path, folder: str, verdict: Verdict) -> None:
        """One marker."""
        (project / folder / MARKERS[verdict.outcome]).write_text(verdict.sentence)

    def unmark(self, project: Path, folder: str) -> None:
        """No marker."""
        for name in MARKERS.values():
            (project / folder / name).unlink(missing_ok=True)

    def course(self, job: Job, since: float) -> Course:
        """Nothing."""
        return Course()

    def panels(self, job: Job, since: float) -> list[Panel]:
        """None."""
        raise NotThere("a published stage has no picture")

    def job_of(self, path: str) -> str:
        """The first two folders."""
        return "/".join(path.split("/")[:2]) + "/"

    def past(self, project: Path, folder: str) -> Past:
        """Only that it is there."""
        return Past(folder)

    def abort_wanted(self, project: Path, folder: str) -> bool:
        """Never."""
        return False


def _stage(project: Path, folder: str) -> dict[str, Any]:
    return json.loads((project / folder / STAGE).read_bytes())


def _input(project: Path, path: str, *, listed: bool = False) -> Input:
    source, stub = project / path, None
    with contextlib.suppress(OSError):  # the link first: the file itself may take its place at any time
        stub = parse_stub(os.readlink(source))  # noqa: PTH115 - a Path changes the text
    try:
        seen = source.lstat()
    except OSError:
        raise BadInput("an input is missing", where=path) from None
    if listed or stub is None:
        return Input(path, source, seen.st_size, seen.st_mtime_ns, seen.st_ino, listed=listed)
    return Input(path, source, stub.size, 0, 0, stub=stub.checksum)
