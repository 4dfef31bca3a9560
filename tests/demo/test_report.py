"""The table at the demo's end."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryoburst.demo import report
from cryoburst.demo.report import runs, seconds, show, size
from cryoburst.model.errors import BadInput


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (25_200_000, "25.2 MB"), (345e6, "345 MB"), (2e12, "2000 GB")],
)
def test_sizes(count: float, words: str) -> None:
    assert size(count) == words


@pytest.mark.parametrize("nothing", [None, "", "x"])
def test_what_is_not_known_is_left_empty(nothing: object) -> None:
    assert size(nothing) == seconds(nothing) == ""


def test_runs_of_other_projects_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "cryoburst"
    rows = [
        {"number": n, "job": "Import/job001", "project": f"/data/{name}"} for n, name in ((1, "mine"), (2, "other"))
    ]
    program.write_text(f"#!/bin/sh\necho '{json.dumps(rows)}'\n")
    program.chmod(0o755)
    monkeypatch.setattr(report, "program", lambda name: str(tmp_path / name))
    (tmp_path / "mine").mkdir()
    assert [row["number"] for row in runs(tmp_path / "mine")] == []
    program.write_text(f"#!/bin/sh\necho '{json.dumps([{**rows[0], 'project': str(tmp_path / 'mine')}, rows[1]])}'\n")
    assert [row["number"] for row in runs(tmp_path / "mine")] == [1]
    program.write_text("#!/bin/sh\necho no list\n")
    with pytest.raises(BadInput, match="gave no list of runs"):
        runs(tmp_path / "mine")


@given(st.integers(0, 10**15))
def test_sizes_stay_short(count: int) -> None:
    assert len(size(count)) <= 10


def test_table_shows_the_demos_jobs_only_and_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    def row(number: int, job: str) -> dict[str, object]:
        return {"number": number, "job": job, "state": "SUCCEEDED", "machine": "local", "bytes_in": 1500,
                "bytes_out": None, "wait_seconds": 0.5, "run_seconds": 7}  # fmt: skip

    rows = [row(1, "MotionCorr/job002"), row(2, "Import/job001"), row(3, "Polish/job009")]
    show(rows, ["Import/job001/", "MotionCorr/job002/"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert [line[0] for line in lines] == ["job", "Import/job001", "MotionCorr/job002"]
    assert lines[1][1:] == ["SUCCEEDED", "local", "1.5", "kB", "0.5", "7.0"]
