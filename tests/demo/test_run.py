"""The driver, with a stand-in for relion_pipeliner that does what RELION does to files."""

import json
import os
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.demo.tiny import TINY

from cryoburst.demo.facts import class_range, density_threshold
from cryoburst.demo.pipelines import PIPELINES, Pipeline, to_classes, to_map
from cryoburst.demo.project import JobFailed, Project
from cryoburst.demo.run import Record, demo, load
from cryoburst.demo.steps import Step
from cryoburst.model.errors import BadInput

PIPELINER = """#!{python}
import os, pathlib, sys, time
words = sys.argv[1:]
pipeline = pathlib.Path("default_pipeline.star")
jobs = [line.split()[0] for line in pipeline.read_text().splitlines() if "/job" in line]
with open("calls.txt", "a") as calls:
    print(words, file=calls)
if words[0] in ("--addJob", "--addJobFromStar"):
    kind = words[1] if words[0] == "--addJob" else "MaskCreate"
    jobs.append(f"{{kind}}/job{{len(jobs) + 1:03d}}/")
    rows = "".join(f"{{job}} None 1 0\\n" for job in jobs)
    pipeline.write_text("data_pipeline_processes\\n\\nloop_\\n_rlnPipeLineProcessName #1\\n"
        "_rlnPipeLineProcessAlias #2\\n_rlnPipeLineProcessType #3\\n_rlnPipeLineProcessStatus #4\\n" + rows + "\\n")
elif words[0] == "--RunJobs":
    folder = pathlib.Path(words[1])
    folder.mkdir(parents=True)
    if os.environ.get("STAND_IN") == words[1]:
        pathlib.Path(".relion_lock").mkdir()
        (folder / "run.err").write_text("first\\nERROR: the disk is full\\n")
        (folder / "RELION_JOB_EXIT_FAILURE").touch()
    elif os.environ.get("STAND_IN") == "sleep":
        pathlib.Path(".relion_lock").mkdir()
        time.sleep(30)
    else:
        (folder / "RELION_JOB_EXIT_SUCCESS").touch()
elif words[0] == "--check_job_completion" and os.environ.get("STAND_IN") != "blind":
    pipeline.write_text(pipeline.read_text().replace(" None 1 0", " None 1 2"))
"""


@pytest.fixture
def relion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on PATH with the stand-in, and a data set that takes no time."""
    program = tmp_path / "bin" / "relion_pipeliner"
    program.parent.mkdir()
    program.write_text(PIPELINER.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    data = replace(TINY.data, micrographs=1, particles=1, size=256, frames=3, dose=4.0, pixel_size=6.0)
    scale = replace(TINY, data=data)
    monkeypatch.setitem(PIPELINES, "classes", Pipeline(scale, to_classes(scale), ""))
    monkeypatch.setitem(PIPELINES, "map", Pipeline(scale, to_map(scale), ""))
    return tmp_path


def go(folder: Path, **options: object) -> Record:
    """Run the demo without a queue."""
    said = options.pop("said", [])
    assert isinstance(said, list)
    return demo(folder, say=said.append, queue=lambda project: {}, **options)  # pyright: ignore[reportArgumentType]


@pytest.mark.slow
def test_jobs_run_in_order_and_a_second_call_runs_none(relion: Path) -> None:
    record = go(relion / "demo")
    short = PIPELINES["classes"].steps
    assert list(record.jobs) == [step.name for step in short]
    assert list(record.jobs.values())[:2] == ["Import/job001/", "MotionCorr/job002/"]
    calls = (relion / "demo/calls.txt").read_text()
    assert "input_star_mics == Import/job001/movies.star" in calls
    assert calls.count("do_queue == Yes") == len(short)

    said: list[str] = []
    assert go(relion / "demo", said=said) == record
    assert "going on" in said[0]
    assert said[-1] == "Class2D/job006/ is there already"
    new = (relion / "demo/calls.txt").read_text().removeprefix(calls)
    assert new == "['--check_job_completion']\n"


@pytest.mark.slow
def test_a_failed_job_is_named_with_its_last_words_and_the_next_call_goes_on(
    relion: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", "CtfFind/job003/")
    with pytest.raises(JobFailed, match=r"CtfFind/job003/ did not succeed .*ends with 'ERROR: the disk is full'"):
        go(relion / "demo")
    monkeypatch.delenv("STAND_IN")
    record = go(relion / "demo")
    assert record.jobs["motion"] == "MotionCorr/job002/"
    assert record.jobs["ctf"] == "CtfFind/job004/"


@pytest.mark.slow
def test_another_seed_is_refused(relion: Path) -> None:
    go(relion / "demo", seed=3)
    with pytest.raises(BadInput, match="made with seed 3, not 4"):
        go(relion / "demo", seed=4)


def test_a_folder_with_something_else_is_refused(relion: Path) -> None:
    (relion / "demo").mkdir()
    (relion / "demo/thesis.txt").write_text("mine")
    with pytest.raises(BadInput, match="is not an empty folder"):
        go(relion / "demo")


def test_a_broken_record_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / ".demo.json").write_text("{")
    with pytest.raises(BadInput, match="record can't be read"):
        load(tmp_path)
    (tmp_path / ".demo.json").write_text(json.dumps({"seed": 1}))
    with pytest.raises(BadInput, match="record can't be read"):
        load(tmp_path)


def test_a_job_that_never_ends_is_given_up_and_leaves_no_lock(relion: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(relion / "p", {"STAND_IN": "sleep"})
    (relion / "p").mkdir()
    project.make()
    job = project.add(Step("import", "Import"), {})
    with pytest.raises(JobFailed, match="did not end within 1 s"):
        project.run(job, 1)
    assert not (relion / "p/.relion_lock").exists()


def test_a_job_that_an_interrupted_demo_left_running_is_waited_for(relion: Path) -> None:
    project = Project(relion / "p", {})
    folder = relion / "p/Import/job001"
    folder.mkdir(parents=True)
    project.make()
    (folder / "run_submit.script").touch()
    assert project.under_way("Import/job001/")
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            (folder / "RELION_JOB_EXIT_SUCCESS").touch()

    project.wait("Import/job001/", 10, sleep)
    assert len(waits) == 3
    (folder / "RELION_JOB_EXIT_SUCCESS").unlink()
    with pytest.raises(JobFailed, match="did not end within 2 s"):
        project.wait("Import/job001/", 2, lambda seconds: None)


def test_job_types_unknown_to_the_pipeliner_go_by_number(relion: Path) -> None:
    project = Project(relion / "p", {})
    (relion / "p").mkdir()
    project.make()
    assert project.add(Step("mask", "MaskCreate"), {"fn_in": "x.mrc"}) == "MaskCreate/job001/"
    assert "--addJobFromStar" in (relion / "p/calls.txt").read_text()
    assert not list((relion / "p").glob(".mask*"))


def test_missing_relion_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    project = Project(tmp_path, {})
    project.make()
    with pytest.raises(BadInput, match="relion_pipeliner is not on PATH"):
        project.add(Step("import", "Import"), {})


def test_threshold_encloses_the_volume(tmp_path: Path) -> None:
    import mrcfile
    import numpy as np

    z, y, x = np.mgrid[:48, :48, :48] - 24
    ball = (x * x + y * y + z * z < 14**2).astype(np.float32)
    with mrcfile.new(tmp_path / "ball.mrc") as file:
        file.set_data(ball)
        file.voxel_size = 5.0
    volume = float(ball.sum()) * 125
    # Half the density marks the edge of a ball, whatever its blur.
    assert density_threshold(tmp_path / "ball.mrc", volume) == pytest.approx(0.5, abs=0.1)


def test_select_keeps_the_shortest_range_of_classes_with_most_particles(tmp_path: Path) -> None:
    def classes(*numbers: int) -> Path:
        rows = "".join(f"{number}\n" for number in numbers)
        (tmp_path / "data.star").write_text(f"\ndata_particles\n\nloop_\n_rlnClassNumber #1\n{rows}\n")
        return tmp_path / "data.star"

    assert class_range(classes(1, 2, 2, 2, 2, 3), 0.6) == (2, 2)
    assert class_range(classes(1, 2, 2, 2, 2, 3), 0.8) == (1, 2)
    assert class_range(classes(1, 1, 5, 5), 0.9) == (1, 5)
    assert class_range(classes(3), 1.0) == (3, 3)


@pytest.mark.slow
def test_another_pipeline_in_the_same_folder_is_refused_unless_it_goes_on_with_it(relion: Path) -> None:
    go(relion / "demo")
    with pytest.raises(BadInput, match="pipeline is classes, not common"):
        go(relion / "demo", pipeline="common")
    record = load(relion / "demo")
    assert record is not None
    assert record.pipeline == "classes"


@pytest.mark.slow
def test_a_job_that_relion_does_not_list_as_finished_is_an_error(relion: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN", "blind")
    with pytest.raises(JobFailed, match="RELION does not list Import/job001/ as finished"):
        go(relion / "demo")
