"""A package for tests: a job is ``Script/jobNNN/job.sh`` in a folder with a ``script.project``; bash runs it as it is.

``# input PATH`` in the script names an input. The markers are DONE, FAILED and ABORTED; ABORT asks for the end.
A script with the line ``# goes on`` writes ``stepN.dat`` and ``stepN.idx`` in its job's folder in step N, and begins
after step ``$FROM``.

``# list PATH`` names a file of inputs, one a line, each of which the script makes ``out/NAME`` of in its folder, unless
that is there, before it makes ``joined.bin`` of them all: such a job can be split.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from cryoburst.model.course import Course, Panel, Past
from cryoburst.model.documents import Exit
from cryoburst.model.errors import BadInput, NotThere
from cryoburst.model.job import Input, Job, Progress, Resume, Verdict
from cryoburst.model.plugins import Examined
from cryoburst.model.split import Cut, block
from cryoburst.model.stub import is_remote, parse_stub

MARKERS = {"succeeded": "DONE", "failed": "FAILED", "aborted": "ABORTED"}
ENTRY_POINT = "[cryoburst.packages]\nscript = script_package:Script\n"


class Script:
    """See the module."""

    name = "script"
    title = "Script"
    site = "https://example.org/script"
    abort_file = ""
    logs: tuple[str, str] = ("out.log", "err.log")

    def __init__(self) -> None:
        self.environment: dict[str, str] = {}

    def read_job(self, target: Path, cwd: Path) -> Job:
        """The job of a folder or of its job.sh."""
        path = cwd / target
        folder = path if path.is_dir() else path.parent
        project = folder.parent.parent
        if not (project / "script.project").is_file() or not (folder / "job.sh").is_file():
            raise BadInput("not a script job", where=str(target))
        name = folder.relative_to(project).as_posix() + "/"
        return Job("script", "script", project, name, (folder / "job.sh").read_text())

    def inputs(self, job: Job) -> list[Input]:
        """The files after ``# input``."""
        found: list[Input] = []
        for path in [*re.findall(r"^# input (\S+)$", job.script, re.MULTILINE), *self._listed(job)]:
            source = job.project / path
            if source.is_symlink() and is_remote(text := os.readlink(source)):  # noqa: PTH115 - a URL, not a path
                found.append(Input(path, source, 0, 0, 0, remote=text))
                continue
            if source.is_symlink() and (stub := parse_stub(os.readlink(source))):  # noqa: PTH115
                found.append(Input(path, source, stub.size, 0, 0, stub=stub.checksum))
                continue
            if not source.is_file():
                raise BadInput("an input is missing", where=path)
            stat = source.stat()
            found.append(Input(path, source, stat.st_size, stat.st_mtime_ns, stat.st_ino))
        if job.part:
            name, text = self._list(job), "".join(f"{unit}\n" for unit in self._units(job)).encode()
            found = [replace(each, size=len(text), content=text) if each.path == name else each for each in found]
        return found

    def fit(self, job: Job, cores: int) -> tuple[Job, str]:
        """A script is run as it is."""
        return job, ""

    def examine(self, job: Job) -> Examined:
        """Nothing is known of a script but its inputs."""
        return Examined(self.inputs(job))

    def resume(self, job: Job, made: frozenset[str]) -> Resume | None:
        """After the last step of which both files are whole."""
        if "# goes on" not in job.script:
            return None
        steps = [int(n) for path in made for n in re.findall(rf"^{job.folder}step(\d+)\.dat$", path)]
        whole = [n for n in steps if f"{job.folder}step{n}.idx" in made]
        if not whole:
            return None
        step = max(whole)
        needed = frozenset(f"{job.folder}step{step}.{kind}" for kind in ("dat", "idx"))
        void = frozenset(f"{job.folder}step{n}.dat" for n in steps if n > step)
        script = f"FROM={step}\n" + "".join(f"# input {path}\n" for path in sorted(needed)) + job.script
        return Resume(replace(job, script=script, made=made), step, f"after step {step}", needed, void)

    def _list(self, job: Job) -> str:
        names = re.findall(r"^# list (\S+)$", job.script, re.MULTILINE)
        return names[0] if names else ""

    def _units(self, job: Job) -> list[str]:
        name = self._list(job)
        units = (job.project / name).read_text().split() if name else []
        return [units[n] for n in block(len(units), job.part, job.parts)] if job.part else units

    def _listed(self, job: Job) -> list[str]:
        """The list, its units, and of those that are done what was made of them."""
        if not (name := self._list(job)):
            return []
        going_on = job.parts > 1 and not job.part
        missing = self.unmade(job) if going_on else self._units(job)
        made = [f"{job.folder}out/{unit}" for unit in self._units(job) if unit not in missing]
        return [name, *missing, *made]

    def cut(self, job: Job) -> Cut:
        """By the list."""
        units = self._units(job)
        return Cut(len(units), "units", 600.0 * len(units)) if units else Cut(0, refusal="it has no list")

    def part(self, job: Job, part: int, parts: int) -> Job:
        """The script is the same."""
        return replace(job, part=part, parts=parts)

    def joined(self, name: str) -> bool:
        """Whether it is the one file about all units."""
        return name == "joined.bin"

    def unmade(self, job: Job) -> list[str]:
        """The units that nothing was made of."""
        return [unit for unit in self._units(job) if not os.path.lexists(job.project / job.folder / "out" / unit)]

    def held(self, name: str) -> bool:
        """Whether it is a marker."""
        return name in (*MARKERS.values(), "ABORT")

    def progress(self, job: Job, log: str, since: float) -> Progress | None:
        """``step 2 of 5`` in the log."""
        found = re.findall(r"^step (\d+) of (\d+)$", log, re.MULTILINE)
        unit = "units" if self._list(job) else "step"
        return Progress(int(found[-1][0]), int(found[-1][1]), unit) if found else None

    def verdict(self, job: Job, exit_: Exit, markers: Iterable[str]) -> Verdict:
        """By the exit code."""
        return Verdict("succeeded" if exit_.code == 0 else "failed", exit_.sentence)

    def mark(self, project: Path, folder: str, verdict: Verdict) -> None:
        """Exactly one marker."""
        self.unmark(project, folder)
        (project / folder / MARKERS[verdict.outcome]).write_text(verdict.sentence)

    def unmark(self, project: Path, folder: str) -> None:
        """No marker."""
        for name in (*MARKERS.values(), "ABORT"):
            (project / folder / name).unlink(missing_ok=True)

    def course(self, job: Job, since: float) -> Course:
        """Nothing."""
        return Course()

    def panels(self, job: Job, since: float) -> list[Panel]:
        """None."""
        raise NotThere("a script has no picture")

    def job_of(self, path: str) -> str:
        """``Script/jobNNN/``."""
        found = re.match(r"Script/[^/]+/", path)
        return found[0] if found else ""

    def past(self, project: Path, folder: str) -> Past:
        """Only that it is there."""
        return Past(folder)

    def abort_wanted(self, project: Path, folder: str) -> bool:
        """Whether there is an ABORT."""
        return (project / folder / "ABORT").exists()
