"""A small RELION project that the real RELION 3.1.3 processes under strace, without us: once per session, in a minute.

Its jobs are the demo's pipelines, on next to nothing of data (tests/demo/tiny.py), and what goes on from them. Those of
the advanced pipeline come first, so that they have the folders that a demo gives them.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from tests.demo.tiny import ADVANCED, COMMON, TINY
from tests.packages.variants import VARIANTS

from cryoburst.demo import bodies, facts, pipelines
from cryoburst.demo.project import BARE_JOB, NUMBERS
from cryoburst.demo.run import fill
from cryoburst.demo.steps import Step
from cryoburst.model.job import Input, Job
from cryoburst.packages.relion import Relion
from cryoburst.packages.relion.setup import environment, write_template
from cryoburst.simulate import dataset, particles

EMPTY_PIPELINE = "\n# version 30001\n\ndata_pipeline_general\n\n_rlnPipeLineJobCounter                       1\n \n"
CTF = next(step for step in pipelines.to_classes(TINY) if step.name == "ctf")
OF_MICROGRAPHS = replace(CTF, name="ctf_of_micrographs", options=CTF.options | {"use_given_ps": "No"})
OPENED = re.compile(r'(?:openat\(AT_FDCWD, |open\(|creat\()"([^"]*)"(?:, ([A-Z_|0-9]+))?.*\)\s+= (-?\d+)')


@dataclass
class Watched:
    """One job that ran: what our code said before, and what the programs opened."""

    job: Job
    inputs: list[Input]
    opened: set[str]
    seconds: float

    @property
    def sent(self) -> set[str]:
        """Paths whose content would be sent."""
        return {i.path for i in self.inputs if not i.listed}


@dataclass
class Project:
    """A RELION project folder and the means to run jobs in it as the window's queue does."""

    root: Path
    logs: Path
    watched: dict[str, Watched] = field(default_factory=dict[str, Watched])
    jobs: dict[str, str] = field(default_factory=dict[str, str])
    kept: dict[str, Path] = field(default_factory=dict[str, Path])

    def left(self, name: str) -> Path:
        """The folder of a job as it was at its end: a copy where it was continued since."""
        return self.kept.get(name, self.root / self.jobs[name])

    def add(self, kind: str, options: str) -> str:
        """Add a job without running it; returns its folder."""
        if number := NUMBERS.get(kind):
            (self.logs / "job.star").write_text(BARE_JOB.format(number=number))
            self.pipeliner("--addJobFromStar", str(self.logs / "job.star"), "--addJobOptions", options)
        else:
            self.pipeliner("--addJob", kind, "--addJobOptions", options)
        text = (self.root / "default_pipeline.star").read_text()
        processes = text.partition("data_pipeline_processes")[2].partition("data_pipeline_nodes")[0]
        return re.findall(r"^(\S+/job\d+/)", processes, re.MULTILINE)[-1]

    def run(self, name: str, kind: str, options: str) -> str:
        """Add a job and let RELION submit it to a queue that only keeps the script; then run that, watched."""
        folder = self.add(kind, options)
        self.submit(folder)
        self.watched[name] = self.watch(folder)
        return folder

    def submit(self, folder: str) -> None:
        """Let RELION write the submission script; the queue takes it and does nothing."""
        script = self.root / folder / "run_submit.script"
        with subprocess.Popen(
            ["relion_pipeliner", "--RunJobs", folder, "--sec_wait_after", "1"],
            cwd=self.root,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self.environment,
        ) as pipeliner:
            end = time.monotonic() + 60
            try:
                while not (self.logs / "taken").exists():
                    assert time.monotonic() < end, f"relion_pipeliner did not submit {folder}"
                    time.sleep(0.05)
            finally:
                pipeliner.kill()
            (self.logs / "taken").unlink()
        assert script.exists()

    def watch(self, folder: str, text: str = "") -> Watched:
        """Run a job's script under strace and compare: our list is made first, as in a real submission."""
        script = self.root / folder / "run_submit.script"
        if text:
            script.write_text(text)
        relion = Relion()
        job = relion.read_job(script.relative_to(self.root), self.root)
        inputs = relion.inputs(job)
        before = {p.relative_to(self.root).as_posix() for p in (self.root / folder).rglob("*") if p.is_file()}
        log = self.logs / "strace"
        began = time.monotonic()
        with (self.root / folder / "run.out").open("ab") as out, (self.root / folder / "run.err").open("ab") as err:
            done = subprocess.run(
                [
                    "strace",
                    "-f",
                    "--seccomp-bpf",
                    "-e",
                    "trace=openat,open,creat",
                    "-e",
                    "signal=none",
                    "-s",
                    "4096",
                    "-o",
                    str(log),
                    "bash",
                    f"{folder}run_submit.script",
                ],
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                timeout=600,
                env=self.environment,
            )
        errors = (self.root / folder / "run.err").read_text(errors="replace")
        assert done.returncode == 0, errors
        return Watched(job, inputs, opened(log, self.root, folder, before), time.monotonic() - began)

    def pipeliner(self, *words: str) -> None:
        """Run relion_pipeliner to its end."""
        subprocess.run(
            ["relion_pipeliner", *words],
            cwd=self.root,
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=60,
            env=self.environment,
        )

    @property
    def environment(self) -> dict[str, str]:
        """RELION's window as ``cryoburst relion setup`` makes it, but for the queue; and what a machine has."""
        program = Path(sys.executable).with_name("cryoburst")
        made = environment(program, self.logs / "template.sh")
        queue = {"RELION_QSUB_COMMAND": f"touch {self.logs}/taken #"}
        return {**os.environ, **Relion.environment, **made, **queue, "OMP_NUM_THREADS": "1"}


def opened(log: Path, root: Path, folder: str, before: set[str]) -> set[str]:
    """Files of the project that were opened to read, without those that the job itself wrote."""
    read: set[str] = set()
    written: set[str] = set()
    pending: dict[str, str] = {}
    for line in log.read_text(errors="replace").splitlines():
        process, _, call = line.partition(" ")
        call = call.strip()
        if "<unfinished ...>" in call:
            pending[process] = call.split("<unfinished")[0]
            continue
        if resumed := re.match(r"<\.\.\. \w+ resumed>(.*)", call):
            call = pending.pop(process, "") + resumed.group(1)
        match = OPENED.match(call)
        if not match or int(match.group(3)) < 0:
            continue
        path = Path(os.path.normpath(root / match.group(1)))
        if path.is_relative_to(root / folder):  # CtfFind reads a power spectrum through a link in its own folder
            path = Path(os.path.realpath(path))
        if not path.is_relative_to(root) or path.is_dir():
            continue
        name = path.relative_to(root).as_posix()
        if re.search("WRONLY|RDWR|creat", match.group(2) or "creat"):
            written.add(name)
        elif name not in written:  # a continued job reads its last iteration, then writes it once more
            read.add(name)
    own = {f"{folder}{name}" for name in ("run_submit.script", "run.out", "run.err")}
    return {p for p in read - own if (not p.startswith(folder) or p in before)}


@pytest.fixture(scope="session")
def relion_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with every job from movies to class averages, run by RELION 3.1.3 under strace."""
    base = tmp_path_factory.mktemp("relion")
    data, root, logs = base / "data", base / "project", base / "logs"
    dataset.write(data, TINY.data, cores=1)
    particles.extract(data, TINY.data, TINY.box, TINY.small)
    root.mkdir()
    logs.mkdir()
    for name in ("Movies", "Particles"):
        (root / name).symlink_to(data / name)  # as most people have it
    (root / "scripts").mkdir()
    shutil.copyfile(bodies.__file__, root / pipelines.SCRIPT)
    (root / ".gui_projectdir").touch()
    (root / "default_pipeline.star").write_text(EMPTY_PIPELINE)
    project = Project(root, logs)
    write_template(logs / "template.sh")
    carry_out(project, pipelines.to_classes(TINY))
    return project


@pytest.fixture(scope="session")
def relion_project_full(relion_project: Project) -> Project:
    """The same project after all other types of job, particles from elsewhere, and continued jobs."""
    project = relion_project
    carry_out(project, ADVANCED[len(pipelines.to_classes(TINY)) :])
    carry_out(project, [replace(COMMON[0], name="import_particles"), OF_MICROGRAPHS, *VARIANTS])
    for name in ("classes", "refine"):
        folder = project.jobs[name]
        project.kept[name] = project.logs / "kept" / folder
        shutil.copytree(project.root / folder, project.kept[name], symlinks=True)
        text = (project.root / folder / "run_submit.script").read_text()
        text = text.replace(" --pipeline_control", f" --continue {folder}run_it001_optimiser.star --pipeline_control")
        project.watched[f"{name}_continued"] = project.watch(folder, text)
    return project


def carry_out(project: Project, steps: Iterable[Step]) -> None:
    """Run steps, one after the other."""
    for step in steps:
        known = {**project.jobs, **facts.found(project.root, project.jobs, step)}
        options = ";".join(f"{name} == {value}" for name, value in fill(step.options, known).items())
        project.jobs[step.name] = project.run(step.name, step.kind, options)
