"""RELION's project folder: make it, add jobs, run them as the window would, and read how they ended.

Every call of a RELION program has a time limit. A job's end is read from its marker file, as RELION does.
"""

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryoburst.model.errors import BadInput, CryoburstError
from cryoburst.packages.relion.star import block

from .steps import Step

EMPTY = "\ndata_pipeline_general\n\n_rlnPipeLineJobCounter                       1\n \n"
# relion_pipeliner 3.1 does not know these job types by name; a job.star with nothing but the number will do.
NUMBERS = {"MaskCreate": 12, "MultiBody": 19, "Polish": 20, "CtfRefine": 21}
BARE_JOB = """
data_job

_rlnJobType {number}
_rlnJobIsContinue 0

data_joboptions_values

loop_
_rlnJobOptionVariable #1
_rlnJobOptionValue #2
do_queue Yes

"""
SUCCESS, FAILURE, ABORTED = (f"RELION_JOB_EXIT_{end}" for end in ("SUCCESS", "FAILURE", "ABORTED"))


class JobFailed(CryoburstError):
    """A RELION job of the demo did not succeed."""


@dataclass(frozen=True)
class Project:
    """A RELION project in `folder`; environment: what is added to ours for every RELION program."""

    folder: Path
    environment: Mapping[str, str]

    def make(self) -> None:
        """Write what RELION's window would write into a new project; an existing project stays as it is."""
        (self.folder / ".gui_projectdir").touch()
        pipeline = self.folder / "default_pipeline.star"
        if not pipeline.exists():
            pipeline.write_text(EMPTY)

    def add(self, step: Step, options: Mapping[str, str]) -> str:
        """Add a job to the project, not started; return its folder, for example 'Import/job001/'."""
        text = ";".join(f"{name} == {value}" for name, value in {**options, "do_queue": "Yes"}.items())
        before = self.jobs()
        number = NUMBERS.get(step.kind)
        if number is None:
            self._call("--addJob", step.kind, "--addJobOptions", text)
        else:
            bare = self.folder / f".{step.name}_job.star"
            bare.write_text(BARE_JOB.format(number=number))
            self._call("--addJobFromStar", bare.name, "--addJobOptions", text)
            bare.unlink()
        new = [job for job in self.jobs() if job not in before]
        if len(new) != 1:
            raise JobFailed(f"RELION did not add a {step.kind} job", where=str(self.folder))
        return new[0]

    def run(self, job: str, limit: int) -> None:
        """Send a job to the queue and wait for its end; JobFailed when it does not end well within limit seconds."""
        try:
            self._call("--RunJobs", job, "--sec_wait_after", "1", limit=limit)
        except subprocess.TimeoutExpired as error:
            self._unlock()
            advice = f"read {job}run.out and {job}run.err in {self.folder}"
            raise JobFailed(f"{job} did not end within {limit} s", advice=advice) from error
        if not self.succeeded(job):
            raise JobFailed(f"{job} did not succeed", where=str(self.folder), advice=self._last_words(job))

    def under_way(self, job: str) -> bool:
        """Whether the job was submitted and has not ended, as far as its folder tells."""
        folder = self.folder / job
        ended = any((folder / marker).exists() for marker in (SUCCESS, FAILURE, ABORTED))
        return (folder / "run_submit.script").exists() and not ended

    def wait(self, job: str, limit: int, sleep: Callable[[float], None] = time.sleep) -> None:
        """Wait for the end of a job that an earlier call submitted; JobFailed as in `run`."""
        for _ in range(limit):
            if not self.under_way(job):
                break
            sleep(1)
        else:
            raise JobFailed(f"{job} did not end within {limit} s", advice=f"read {job}run.err in {self.folder}")
        self.look()
        if not self.succeeded(job):
            raise JobFailed(f"{job} did not succeed", where=str(self.folder), advice=self._last_words(job))

    def look(self) -> None:
        """Have RELION look at the markers of its jobs, as its window does."""
        self._call("--check_job_completion")

    def succeeded(self, job: str) -> bool:
        """Whether the job's success marker is there."""
        return (self.folder / job / SUCCESS).exists()

    def jobs(self) -> list[str]:
        """Folders of all jobs in the pipeline, in its order."""
        return list(self.statuses())

    def statuses(self) -> dict[str, int]:
        """What RELION's pipeline says of each job: 0 running, 1 scheduled, 2 success, 3 failure, 4 aborted."""
        processes = block(self.folder / "default_pipeline.star", "default_pipeline.star", "pipeline_processes")
        if processes is None:
            return {}
        told = processes.column("rlnPipeLineProcessStatus")
        return dict(zip(processes.column("rlnPipeLineProcessName"), map(int, told), strict=True))

    def _call(self, *words: str, limit: int = 60) -> None:
        """Call relion_pipeliner in the project; its output goes to .demo.log."""
        with (self.folder / ".demo.log").open("ab") as log:
            try:
                done = subprocess.run(
                    ["relion_pipeliner", *words],
                    cwd=self.folder,
                    env={**os.environ, **self.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    timeout=limit,
                    check=False,
                )
            except FileNotFoundError as error:
                raise BadInput(
                    "relion_pipeliner is not on PATH", advice="install RELION, e.g. relion of Debian"
                ) from error
        if done.returncode and words[0] != "--RunJobs":
            self._unlock()
            raise JobFailed(f"relion_pipeliner {words[0]} failed", where=str(self.folder / ".demo.log"))

    def _unlock(self) -> None:
        """Remove the lock that a pipeliner leaves when it dies."""
        lock = self.folder / ".relion_lock"
        if lock.is_dir():
            for file in lock.iterdir():
                file.unlink()
            lock.rmdir()

    def _last_words(self, job: str) -> str:
        """Last line of the job's run.err, for the error message."""
        errors = self.folder / job / "run.err"
        lines = (
            [line for line in errors.read_text(errors="replace").splitlines() if line.strip()]
            if errors.exists()
            else []
        )
        return f"its run.err ends with '{lines[-1][:200]}'" if lines else f"read {job}run.out"
