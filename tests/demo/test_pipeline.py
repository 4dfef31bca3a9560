"""Every type of job of a real project on the real RELION 3.1.3, sent as its queue sends it, beside the same job bare.

One project for all tests of this file: making it takes a minute or two.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.bare import content, differences, files
from tests.demo.stage import Stage
from tests.demo.tiny import ADVANCED, COMMON, TINY

from cryoburst.demo import pipelines
from cryoburst.demo.pipelines import PIPELINES, Pipeline
from cryoburst.demo.run import Record
from cryoburst.model.stub import parse_stub

pytestmark = pytest.mark.slow
# InitialModel of 3.1.3 writes a number there that it never set.
UNSET = b"_rlnSgdSubsetSize "
CHAIN = 7  # the first jobs of the advanced pipeline, up to picking by class averages


@pytest.fixture(scope="module", autouse=True)
def tiny() -> Iterator[None]:
    """All pipelines are tiny."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PIPELINES, "advanced", Pipeline(TINY, ADVANCED, ""))
        patch.setitem(PIPELINES, "common", Pipeline(TINY, COMMON, "", extracted=True))
        patch.setitem(PIPELINES, "classes", Pipeline(TINY, ADVANCED[: CHAIN - 1], ""))
        patch.setitem(PIPELINES, "chain", Pipeline(TINY, ADVANCED[:CHAIN], ""))
        yield


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A computer."""
    made = Stage(tmp_path_factory.mktemp("stage"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def whole(stage: Stage) -> tuple[Path, Record]:
    """A project with every job of the advanced pipeline, and its record."""
    folder = stage.root / "project"
    return folder, stage.demo(folder, "advanced")


def test_every_type_of_job_leaves_what_it_leaves_without_us(
    stage: Stage, whole: tuple[Path, Record], tmp_path: Path
) -> None:
    project, record = whole
    found: dict[str, list[str]] = {}
    for name, job in record.jobs.items():
        bare = stage.bare(project, job, tmp_path / name)
        if name == "initial":
            for folder in (project / job, bare):
                _without(folder / "run_it000_optimiser.star", UNSET)
        different = list(differences(project / job, bare))
        if name == "multibody":  # its processes write iterations past one another: bare, too, now and then one differs
            different = [each for each in different if not each.startswith("run_it") or " is only " in each]
        if different:
            found[job] = different
        assert (project / job / "RELION_JOB_EXIT_SUCCESS").exists()
        shutil.rmtree(tmp_path / name)
    assert found == {}


def test_every_run_succeeded_and_nothing_went_twice(stage: Stage, whole: tuple[Path, Record]) -> None:
    project, record = whole
    runs = stage.runs(project)
    assert list(record.jobs) == [step.name for step in PIPELINES["advanced"].steps]
    assert {job: runs[job]["state"] for job in record.jobs.values()} == dict.fromkeys(record.jobs.values(), "SUCCEEDED")
    sent = {name: runs[job]["bytes_sent"] for name, job in record.jobs.items() if runs[job]["bytes_sent"]}
    # Movies and gain go once, and the project's own program: all else was made by the jobs before.
    assert set(sent) == {"motion", "bodies"}
    script = (project / pipelines.SCRIPT).stat().st_size
    assert sent["bodies"] == script
    assert runs[record.jobs["polish"]]["bytes_in"] > sent["motion"]


def test_the_nodes_of_an_external_job_are_in_relions_list(whole: tuple[Path, Record]) -> None:
    project, record = whole
    nodes = (project / "default_pipeline.star").read_text()
    assert f"{record.jobs['bodies']}body1.mrc" in nodes


def test_the_common_pipeline_begins_with_particles_from_elsewhere(stage: Stage) -> None:
    project = stage.root / "common"
    record = stage.demo(project, "common")
    runs = stage.runs(project)
    assert {runs[job]["state"] for job in record.jobs.values()} == {"SUCCEEDED"}
    sent = {name: runs[job]["bytes_sent"] for name, job in record.jobs.items() if runs[job]["bytes_sent"]}
    particles = project / "Particles"
    assert sent == {
        "import": (particles / "particles.star").stat().st_size,
        "classes": sum(path.stat().st_size for path in particles.glob("*.mrcs")),
    }


def test_jobs_go_on_with_outputs_that_never_came_home(stage: Stage, whole: tuple[Path, Record], tmp_path: Path) -> None:
    leaving = Stage(tmp_path / "leaving", "--leave outputs")
    try:
        project = leaving.root / "project"
        record = leaving.demo(project, "classes")
        jobs = list(record.jobs.values())
        _check_sent_nothing(leaving, project, jobs)
        home = {path for job in jobs for path in files(project / job).values() if not path.is_symlink()}
        assert {path.suffix for path in home if path.stat().st_size} <= {".star", ".pdf", ".out", ".err"}
        stubs = {path for job in jobs for path in files(project / job).values() if _is_stub(path)}
        assert len(stubs) > 30

        # In part: what RELION itself wants to see of Class2D before it starts the next job.
        runs = leaving.runs(project)
        done = leaving.call(project, "fetch", f"{runs[jobs[5]]['number']}", "--only", "*_classes.mrcs")
        assert done.returncode == 0, done.stderr
        came = {path.name for path in stubs if not path.is_symlink()}
        assert came == {path.name for path in (project / jobs[5]).glob("*_classes.mrcs")}
        assert f"run_it{TINY.rounds_2d:03d}_classes.mrcs" in came
        record = leaving.demo(project, "chain")
        jobs = list(record.jobs.values())
        _check_sent_nothing(leaving, project, jobs)

        # A list that was left comes by itself when the next job's inputs are looked for.
        done = leaving.call(project, "submit", "--job", jobs[4], "--leave", "*.star", "--wait")
        assert done.returncode == 0, done.stderr
        assert _is_stub(project / jobs[4] / "particles.star")
        planned = leaving.call(project, "submit", "--job", jobs[5], "--wait")
        assert planned.returncode == 0, planned.stderr
        assert not (project / jobs[4] / "particles.star").is_symlink()
        _check_sent_nothing(leaving, project, jobs)

        for run in leaving.runs(project).values():
            done = leaving.call(project, "fetch", f"{run['number']}")
            assert done.returncode == 0, done.stderr
        assert not any(_is_stub(path) for job in jobs for path in files(project / job).values())
        other, same = whole
        assert list(same.jobs.values())[:CHAIN] == jobs
        for job in jobs:
            assert list(differences(project / job, other / job)) == []
    finally:
        leaving.close()


def _check_sent_nothing(stage: Stage, project: Path, jobs: list[str]) -> None:
    """Each job after MotionCorr got everything from the store, by its own count and by what the store has."""
    runs: dict[str, dict[str, Any]] = stage.runs(project)
    assert {job: runs[job]["bytes_sent"] for job in jobs[2:]} == dict.fromkeys(jobs[2:], 0)
    assert all(runs[job]["bytes_in"] for job in jobs[2:])
    inputs = [path for path in (stage.root / "state/store").glob("*/inputs/**/*") if path.is_file()]
    movies = sum(path.stat().st_size for path in (project / "Movies").iterdir())
    assert inputs
    assert sum(path.stat().st_size for path in inputs) < movies + 20_000  # tables of packs


def _is_stub(path: Path) -> bool:
    return path.is_symlink() and parse_stub(os.readlink(path)) is not None  # noqa: PTH115 - a Path drops a slash


def _without(path: Path, label: bytes) -> None:
    """Take a line out of a STAR file."""
    lines = content(path).splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in lines if not line.startswith(label)))
