"""``cryoburst export``: a run and the jobs behind it as an RO-Crate that a public validator takes."""

import hashlib
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from rocrate.rocrate import ROCrate

from .crates import faults, valid
from .home import FOLDER, STACK, STAR, Home

PIPELINE = """
data_pipeline_general

_rlnPipeLineJobCounter 4

data_pipeline_processes

loop_
_rlnPipeLineProcessName #1
_rlnPipeLineProcessType #2
CtfFind/job001/ 2
Extract/job002/ 5
Class2D/job003/ 8

data_pipeline_input_edges

loop_
_rlnPipeLineEdgeFromNode #1
_rlnPipeLineEdgeProcess #2
CtfFind/job001/micrographs_ctf.star Extract/job002/
Extract/job002/particles.star Class2D/job003/

data_pipeline_output_edges

loop_
_rlnPipeLineEdgeProcess #1
_rlnPipeLineEdgeToNode #2
CtfFind/job001/ CtfFind/job001/micrographs_ctf.star
Extract/job002/ Extract/job002/particles.star

"""


@pytest.fixture
def home(home: Home) -> Home:
    """A home with a run that has ended, and two jobs before it that were run elsewhere."""
    (home.project / "default_pipeline.star").write_text(PIPELINE)
    assert home.call("submit", f"{FOLDER}run_submit.script", "--wait").returncode == 0
    home.no_machine()
    return home


def entities(crate: Path) -> dict[str, dict[str, Any]]:
    graph = json.loads((crate / "ro-crate-metadata.json").read_bytes())["@graph"]
    found = {entity["@id"]: entity for entity in graph}
    assert len(found) == len(graph)
    return found


def _broken(crate: Path) -> Path:
    """The same crate, whose action has no program any more."""
    other = crate.with_name("broken")
    shutil.copytree(crate, other)
    path = other / "ro-crate-metadata.json"
    path.write_text(path.read_text().replace('"instrument"', '"tool"'))
    return other


def export(home: Home, *words: str) -> dict[str, Any]:
    return home.json("export", "1", *words)


@pytest.mark.slow
def test_a_crate_is_what_its_profile_asks_for(home: Home, tmp_path: Path) -> None:
    told = export(home, "--out", "crate", "--license", "https://creativecommons.org/licenses/by/4.0/")
    assert [(job["job"], job["run"]) for job in told["jobs"]] == [
        ("Class2D/job003", 1),
        ("Extract/job002", None),
        ("CtfFind/job001", None),
    ]
    crate = home.project / "crate"
    assert faults(crate, tmp_path) == ([], [])
    ROCrate(crate)  # another's reader
    found = entities(crate)
    action = found["#job-Class2D/job003"]
    assert "relion_refine" in action["description"]
    assert found[action["instrument"]["@id"]]["softwareVersion"] == "3.1.3"
    assert action["actionStatus"].endswith("CompletedActionStatus")
    assert action["startTime"] <= action["endTime"]
    inputs = {found[link["@id"]]["name"]: found[link["@id"]] for link in action["object"]}
    assert set(inputs) == {STAR, STACK}
    assert inputs[STACK]["sha256"] == hashlib.sha256((home.project / STACK).read_bytes()).hexdigest()
    values = {found[link["@id"]]["name"]: found[link["@id"]]["value"] for link in action["additionalProperty"]}
    assert values["machine type"] == "local"
    assert int(values["cores"]) > 0
    assert found["#job-Extract/job002"]["result"] == [{"@id": f"#{STAR}"}, {"@id": f"#{STACK}"}]
    assert found["#job-Extract/job002"]["object"] == {"@id": "#CtfFind/job001/micrographs_ctf.star"}
    assert (crate / "jobs" / FOLDER / "script.sh").read_text().startswith("#!/bin/bash")
    assert b"Extract/<wbr>job002" in (crate / "ro-crate-preview.html").read_bytes()


@pytest.mark.slow
def test_a_zip_with_the_outputs(home: Home, tmp_path: Path) -> None:
    told = export(home, "--with-data")
    path = home.project / "run-1.crate.zip"
    assert (told["crate"], told["files"] > 0) == ("run-1.crate.zip", True)
    assert valid(path, tmp_path)
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
        file.extractall(tmp_path / "out")
    assert (tmp_path / "out/data" / FOLDER / "called").read_bytes() == (home.project / FOLDER / "called").read_bytes()
    found = entities(tmp_path / "out")
    assert not valid(_broken(tmp_path / "out"), tmp_path), "the validator must be able to say no"
    one = found[f"data/{FOLDER}called"]
    assert one["sha256"] == hashlib.sha256((home.project / FOLDER / "called").read_bytes()).hexdigest()


@pytest.mark.slow
def test_a_lost_database_and_a_cleaned_store_lose_no_provenance(home: Home) -> None:
    before = export(home, "--out", "before")
    for tail in ("", "-wal", "-shm"):
        (home.state / f"cryoburst.db{tail}").unlink(missing_ok=True)
    for data in (home.state / "store").glob("project-*"):  # as gc does when a run has ended long ago
        shutil.rmtree(data)
    assert "SUCCEEDED" in home.call("runs").stdout  # rebuilt from the store, by this command or by a living watcher
    after = export(home, "--out", "after")
    assert after["jobs"] == before["jobs"]
    assert after["notes"] == []
    one, other = (entities(home.project / name)["#job-Class2D/job003"] for name in ("before", "after"))
    assert one == other


@pytest.mark.slow
def test_a_run_of_which_the_store_has_nothing_left_says_so(home: Home) -> None:
    for data in [*(home.state / "store").glob("project-*"), home.state / "store/records"]:
        shutil.rmtree(data)
    told = export(home, "--out", "crate")
    assert told["notes"] == [
        "Class2D/job003: the store no longer has the lists of inputs and outputs of run 1",
    ]


@pytest.mark.slow
def test_what_was_made_again_since_is_not_said_to_be_of_a_run(home: Home) -> None:
    """Run 1 made an output that run 2 read; then it is made anew by hand, and run 3 reads that."""
    first = home.project / FOLDER
    second = home.project / "Class2D/job004"
    shutil.copytree(first, second)
    text = (first / "run_submit.script").read_text().replace("job003", "job004").replace(STAR, f"{FOLDER}made.star")
    program = home.programs / "relion_refine"
    program.write_text(
        '#!/bin/sh\nif [ "$1" = --version ]; then echo "RELION version: 3.1.3"; exit 0; fi\n'
        "for word; do case $word in Class2D/*/run) out=${word%run};; esac; done\n"
        f"cp {home.project / STAR} ${{out}}made.star\ntouch ${{out}}RELION_JOB_EXIT_SUCCESS\n"
    )
    assert home.call("submit", f"{FOLDER}run_submit.script", "--wait").returncode == 0  # run 2, of the first job
    (second / "run_submit.script").write_text(text)
    assert home.call("submit", "Class2D/job004/run_submit.script", "--wait").returncode == 0  # run 3
    told = home.json("export", "3", "--out", "same")
    assert [(job["job"], job["run"]) for job in told["jobs"]][:2] == [("Class2D/job004", 3), ("Class2D/job003", 2)]
    (first / "made.star").write_text((home.project / STAR).read_text() + "\n")
    assert home.call("submit", "Class2D/job004/run_submit.script", "--wait").returncode == 0  # run 4
    told = home.json("export", "4", "--out", "other")
    assert [(job["job"], job["run"]) for job in told["jobs"]][:2] == [("Class2D/job004", 4), ("Class2D/job003", None)]
    assert told["notes"] == [
        "Class2D/job003: what later jobs took from it was made by none of its runs here (1, 2)",
    ]


@pytest.mark.slow
def test_outputs_that_changed_or_went_are_named_before_anything_is_written(home: Home) -> None:
    (home.project / FOLDER / "called").write_text("changed")
    assert home.fails("export", "1", "--with-data", "--out", "x.zip").startswith("an output is not as the run made it")
    (home.project / FOLDER / "called").unlink()
    assert home.fails("export", "1", "--with-data", "--out", "x.zip").startswith("an output is not at home")
    assert not list(home.project.glob("*x.zip"))


@pytest.mark.slow
def test_a_name_that_leads_out_of_the_job_folder_gets_nothing_into_a_crate(home: Home) -> None:
    (record,) = (path for path in (home.state / "store/records").rglob("*.json"))
    text = json.loads(record.read_text())
    text["outputs"] = [{"path": f"{FOLDER}../../../secret", "size": 1, "checksum": "sha256:0", "remote": ""}]
    record.write_text(json.dumps(text))
    sentence = home.fails("export", "1", "--with-data")
    assert sentence.startswith("the machine named an output outside its job folder")


@pytest.mark.slow
def test_nothing_is_replaced(home: Home) -> None:
    (home.project / "there.zip").write_text("mine")
    assert home.fails("export", "1", "--out", "there.zip").startswith("there is such a file already (there.zip)")
    assert home.fails("export", "1", "--out", "Extract").startswith("the folder is not empty (Extract)")
    assert home.fails("export", "1", "--out", "none/x.zip").startswith("there is no such folder (none)")
    assert home.fails("export", "1", "--out", ".").startswith("this can't be replaced (.)")
    assert home.fails("export", "1", "--out", "x.tar").startswith("a crate is a folder or a .zip file (x.tar)")
    assert home.fails("export", "1", "--out", "/proc/x").startswith(
        "it can't be written: No such file or directory (/proc/x)"
    )
    assert home.fails("export", "1", "--license", "").startswith("these are no terms (--license '')")
    assert (home.project / "there.zip").read_text() == "mine"
    (home.project / "empty").mkdir()
    assert export(home, "--out", "empty")["crate"] == "empty"


@pytest.mark.slow
def test_removing_a_run_with_its_records_removes_the_record(home: Home) -> None:
    record = home.state / "store/records"
    assert [path for path in record.rglob("*") if path.is_file()]
    assert (
        home.call("store", "rm", f"file://{home.state}/store", "--run", "1", "--forget-runs", "--yes").returncode == 0
    )
    assert not [path for path in record.rglob("*") if path.is_file()]
