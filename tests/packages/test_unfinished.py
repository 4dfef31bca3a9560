"""Jobs that go on with what is missing, on the real RELION under strace: what we list it must never open."""

import re
import shutil
from pathlib import Path

import pytest

from cryoburst.packages.relion import Relion

from .watched import OF_MICROGRAPHS, Project, carry_out

pytestmark = pytest.mark.slow
JOBS = ["motion", "ctf", OF_MICROGRAPHS.name, "pick", "extract"]
LAST = re.compile(r"mic_003")


def as_on_a_machine(project: Project, folder: str) -> None:
    """Leave of a job's inputs and folder what a machine has of them: what is listed, as zeros; the rest is gone."""
    relion = Relion()
    job = relion.read_job(Path(folder) / "run_submit.script", project.root)
    inputs = {i.path: i for i in relion.inputs(job)}
    for path in [p for p in project.root.rglob("*") if p.is_file() or p.is_symlink()]:
        name = path.relative_to(project.root).as_posix()
        if name in inputs and inputs[name].listed:
            path.unlink()
            with path.open("wb") as file:
                file.truncate(inputs[name].size)
        elif name not in inputs and path.name not in ("run_submit.script", "job.star", "default_pipeline.star"):
            path.unlink()


@pytest.mark.parametrize("kind", JOBS)
def test_two_of_three_are_done(relion_project: Project, tmp_path: Path, kind: str) -> None:
    root, logs = tmp_path / "project", tmp_path / "logs"
    shutil.copytree(relion_project.root, root)  # links become files
    shutil.copytree(relion_project.logs, logs)
    project = Project(root, logs, jobs=dict(relion_project.jobs))
    if kind == OF_MICROGRAPHS.name:
        carry_out(project, [OF_MICROGRAPHS])
    folder = project.jobs[kind]
    before = {p.relative_to(root): p.read_bytes() for p in (root / folder).rglob("*.star")}
    for path in (root / folder).rglob("*"):
        mine = path.parent == root / folder and path.name not in ("job.star", "run_submit.script")
        if path.is_file() and (mine or LAST.search(path.name)):
            path.unlink()
    as_on_a_machine(project, folder)
    watched = project.watch(folder)
    assert watched.opened <= watched.sent
    assert {p for p in watched.sent - watched.opened if not p.startswith(folder)} == set()
    assert sum(i.listed for i in watched.inputs) >= 2
    assert not LAST.search(" ".join(i.path for i in watched.inputs if i.listed))
    after = {p.relative_to(root): p.read_bytes() for p in (root / folder).rglob("*.star")}
    assert {k: v for k, v in after.items() if k.name != "job.star"} == {
        k: v for k, v in before.items() if k.name not in ("job.star", "job_pipeline.star", "default_pipeline.star")
    }
