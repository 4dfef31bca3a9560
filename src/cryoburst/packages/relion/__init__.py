"""RELION 3.1, 4.0 and 5.0 behind the ``Package`` contract: reads the project's own files, never changes them.

Only ``mark`` and ``unmark`` write, and only RELION's marker files, one line of run.err and ``.pipeline_has_changed``.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from cryoburst.model.course import Course, Panel, Past
from cryoburst.model.documents import Exit
from cryoburst.model.errors import BadInput
from cryoburst.model.job import Input, Job, Progress, Resume, Verdict
from cryoburst.model.plugins import Examined
from cryoburst.model.split import Cut
from cryoburst.packages.relion import closure, course, fit, markers, panels, past, resume
from cryoburst.packages.relion import parts as parts_
from cryoburst.packages.relion import progress as progress_
from cryoburst.packages.relion.jobtypes import opens_plainly
from cryoburst.packages.relion.project import locate, read_job_star
from cryoburst.packages.relion.script import from_note, has_header, read_script, value

SUBMIT = "run_submit.script"


class Relion:
    """RELION's jobs. Every call reads the files anew; what the same text means is worked out once."""

    name = "relion"
    title = "RELION"
    site = "https://github.com/3dem/relion"
    abort_file = markers.ABORT_NOW
    logs = ("run.out", "run.err")
    environment: ClassVar[dict[str, str]] = {
        "RELION_SHELL": "sh",  # 3.1 starts CTFFIND through csh, and succeeds with an empty STAR file without one
        "RELION_CTFFIND_EXECUTABLE": "cryoburst-ctffind",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",  # RELION's leader process idles, so one core more is never needed
    }

    def read_job(self, target: Path, cwd: Path) -> Job:
        """The job behind a submission script or a job folder. Raises BadInput with one sentence."""
        project, folder, path = locate(target, cwd)
        told = read_job_star(project, folder)
        if path.is_dir():
            path = path / SUBMIT
            named = False
        else:
            named = True
        name = f"{folder}{path.name}"
        if named or (path.is_file() and has_header(path.read_text("utf-8", "replace"))):
            script = read_script(path, name, folder, told.label)
        else:
            script = from_note(project / folder / "note.txt", f"{folder}note.txt", folder, told.label, told.options)
        if (at := script.text.find(f"{project}/")) >= 0:
            word = script.text[at:].split()[0].strip("\"'")
            raise BadInput(
                f"the command names {word} by its path on this computer",
                where=name,
                advice="name it relative to the project",
            )
        commands = script.commands
        return Job(
            package=self.name,
            kind=told.label,
            project=project,
            folder=folder,
            script=script.text,
            commands=commands,
            resources=script.resources,
            software={"relion": told.version.split(".")[0]},
            version=told.version,
            wishes=script.wishes,
            patient=bool(commands) and all(opens_plainly(words[0]) for words in commands),
            restart=next((v for words in commands if (v := value(words, "--continue"))), ""),
        )

    def inputs(self, job: Job) -> list[Input]:
        """The exact closure of the files that the job reads. Raises BadInput naming what is missing or escapes."""
        return closure.inputs(job)

    def fit(self, job: Job, cores: int) -> tuple[Job, str]:
        """See ``Package.fit``."""
        return fit.fit(job, cores)

    def examine(self, job: Job) -> Examined:
        """See ``Package.examine``."""
        from cryoburst.packages.relion.preflight import examine

        return examine(job)

    def resume(self, job: Job, made: frozenset[str]) -> Resume | None:
        """How a job goes on after its machine died: after its last whole iteration, or with what is missing only."""
        return resume.resume(job, made)

    def held(self, name: str) -> bool:
        """Whether this file of the job folder is a marker: it comes home last, or is written by ``mark``."""
        return markers.held(name)

    def cut(self, job: Job) -> Cut:
        """What the job can be split by, from its own lists here; quick. Raises BadInput when a list can't be read."""
        return parts_.cut(job)

    def part(self, job: Job, part: int, parts: int) -> Job:
        """A part of the job, from 1 on; part 0 is the join."""
        return parts_.part(job, part, parts)

    def joined(self, name: str) -> bool:
        """Whether this file of the job folder is about all micrographs, so that only the join can write it."""
        return parts_.joined(name)

    def unmade(self, job: Job) -> list[str]:
        """The movies or micrographs of a job, or of its part, that have no outputs at home, in their order."""
        return parts_.unmade(job)

    def progress(self, job: Job, log: str, since: float) -> Progress | None:
        """How far the program is, from the end of its log; None when the log does not say."""
        return progress_.progress(job, log, since)

    def verdict(self, job: Job, exit_: Exit, markers_: Iterable[str]) -> Verdict:
        """How the job ended, from the exit record and the held files that the machine left."""
        return markers.verdict(job, exit_, markers_)

    def mark(self, project: Path, folder: str, verdict: Verdict) -> None:
        """Write the marker into the job folder at home and tell the program's window. Safe to repeat."""
        markers.mark(project, folder, verdict)

    def unmark(self, project: Path, folder: str) -> None:
        """Take old markers out of the job folder before a run starts, as the program's own queue would."""
        markers.unmark(project, folder)

    def course(self, job: Job, since: float) -> Course:
        """How the job goes, from its files at home that are not older than ``since``."""
        return course.course(job, since)

    def panels(self, job: Job, since: float) -> list[Panel]:
        """What can be drawn of the job now. Raises NotThere."""
        return panels.panels(job, since)

    def job_of(self, path: str) -> str:
        """``Class2D/job012/`` of a path below it; empty when it is of no job."""
        return past.job_of(path)

    def past(self, project: Path, folder: str) -> Past:
        """What default_pipeline.star, job.star and note.txt tell of a job."""
        return past.past(project, folder)

    def abort_wanted(self, project: Path, folder: str) -> bool:
        """Whether the user asked for the end of this job in the program's own window."""
        return markers.abort_wanted(project, folder)
