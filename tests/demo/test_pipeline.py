"""Every type of job of a real project on the real RELION 3.1.3: as its queue sends it, and bare, under strace.

What it leaves is what it leaves without us; what we would send of its inputs is what it opens, nothing missing and
nothing sent in vain. Both projects are made once for all tests of this file, which takes a minute or two each.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.bare import content, differences, files
from tests.demo.stage import Stage
from tests.demo.tiny import ADVANCED, COMMON, TINY
from tests.packages.variants import VARIANTS
from tests.packages.watched import Project, relion_project, relion_project_full  # noqa: F401

from cryoburst.demo import pipelines
from cryoburst.demo.pipelines import PIPELINES, Pipeline
from cryoburst.demo.run import Record
from cryoburst.model.stub import parse_stub
from cryoburst.packages.relion.jobtypes import TYPES

pytestmark = pytest.mark.slow
# InitialModel of 3.1.3 writes a number there that it never set.
FIRST_STATE, UNSET = "run_it000_optimiser.star", b"_rlnSgdSubsetSize "
CHAIN = 7  # the first jobs of the advanced pipeline, up to picking by class averages
FIRST = {step.name for step in pipelines.to_classes(TINY)}
REST = {step.name for step in ADVANCED} - FIRST
REST |= {"import_particles", "ctf_of_micrographs", "classes_continued", "refine_continued"}
REST |= {step.name for step in VARIANTS}


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
    whole: tuple[Path, Record],
    relion_project_full: Project,  # noqa: F811
) -> None:
    project, record = whole
    found: dict[str, list[str]] = {}
    for name, job in record.jobs.items():
        assert relion_project_full.jobs[name] == job
        ours, bare = project / job, relion_project_full.left(name)
        different = list(differences(ours, bare))
        if name == "initial" and _without(ours / FIRST_STATE, UNSET) == _without(bare / FIRST_STATE, UNSET):
            different = [each for each in different if each != f"{FIRST_STATE} differs"]
        if name == "multibody":  # its processes write iterations past one another: bare, too, now and then one differs
            different = [each for each in different if not each.startswith("run_it") or " is only " in each]
        if different:
            found[job] = different
        assert (ours / "RELION_JOB_EXIT_SUCCESS").exists()
    assert found == {}


def test_jobs_up_to_class_averages_get_exactly_what_relion_opens(relion_project: Project) -> None:  # noqa: F811
    assert _wrongly_sent(relion_project, FIRST) == {}
    movies = relion_project.watched["import"]
    assert [i.path for i in movies.inputs if i.listed] == [f"Movies/mic_00{n}.mrcs" for n in (1, 2, 3)]


def test_jobs_of_the_whole_pipeline_get_exactly_what_relion_opens(relion_project_full: Project) -> None:  # noqa: F811
    assert _wrongly_sent(relion_project_full, REST) == {}
    continued = relion_project_full.watched["classes_continued"].job.restart
    assert continued == f"{relion_project_full.jobs['classes']}run_it001_optimiser.star"
    kinds = {watched.job.kind for watched in relion_project_full.watched.values()}
    windows = {"relion.manualpick"}
    assert kinds == {each.label for each in TYPES if each.since == "3.1"} - windows


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


def _without(path: Path, label: bytes) -> list[bytes]:
    """The lines of a STAR file but that of a label."""
    return [line for line in content(path).splitlines() if not line.startswith(label)]


def _wrongly_sent(project: Project, names: set[str]) -> dict[str, tuple[set[str], set[str]]]:
    """Per job: what was sent in vain, and what was missing."""
    assert names <= set(project.watched)
    watched = {name: project.watched[name] for name in names}
    found = {name: (w.sent - w.opened, w.opened - w.sent) for name, w in watched.items()}
    return {name: pair for name, pair in found.items() if any(pair)}
