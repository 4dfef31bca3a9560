"""Verdicts as a table, the order in which markers are written, and progress."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from cryoburst.model.documents import Exit
from cryoburst.model.job import Job, Progress, Verdict
from cryoburst.packages.relion import Relion

S, F, A = "RELION_JOB_EXIT_SUCCESS", "RELION_JOB_EXIT_FAILURE", "RELION_JOB_EXIT_ABORTED"
ONE = Job("relion", "x", Path(), "X/job001/", "set -e", (("relion_refine", "--pipeline_control", "X/job001/"),))
TWO = Job("relion", "x", Path(), "X/job001/", "", (("relion_refine",), ("relion_flex_analyse",)))


def exit_(ended: str, code: int | None, sentence: str = "") -> Exit:
    return Exit(0.0, ended, code, sentence, 1.0, {})


@pytest.mark.parametrize(
    ("job", "ended", "code", "markers", "outcome", "says"),
    [
        (ONE, "finished", 0, [S], "succeeded", ""),
        (ONE, "finished", 1, [S], "succeeded", "the script ended with code 1"),
        (ONE, "finished", 0, [F], "failed", "the program reported an error"),
        (ONE, "finished", 0, [S, F], "failed", ""),
        (ONE, "finished", 2, [A], "aborted", ""),
        (ONE, "aborted", 2, [A], "aborted", ""),
        (ONE, "aborted", -15, [], "aborted", ""),
        (ONE, "aborted", 0, [S], "succeeded", "had finished"),
        (ONE, "finished", 139, [], "failed", "code 139 and left no marker"),
        (ONE, "finished", 0, [], "succeeded", ""),
        (TWO, "finished", 0, [], "failed", "left no marker"),
        (TWO, "deadline", None, [S], "failed", "deadline"),
        (ONE, "killed", None, [], "failed", "killed"),
        (ONE, "refused", None, [], "failed", "could not run"),
        (ONE, "inputs", None, [], "failed", ""),
        (ONE, "finished", 0, ["X/job001/" + S, "RELION_JOB_ABORT_NOW"], "succeeded", ""),
    ],
)
def test_verdict(job: Job, ended: str, code: int | None, markers: list[str], outcome: str, says: str) -> None:
    verdict = Relion().verdict(job, exit_(ended, code), markers)
    assert verdict.outcome == outcome
    assert says in verdict.sentence


@pytest.mark.parametrize(("outcome", "marker"), [("succeeded", S), ("failed", F), ("aborted", A)])
def test_exactly_one_marker_is_left_and_the_window_is_told(tmp_path: Path, outcome: str, marker: str) -> None:
    relion, folder = Relion(), "Class2D/job003/"
    home = tmp_path / folder
    home.mkdir(parents=True)
    for name in (S, F, A, "RELION_JOB_ABORT_NOW"):
        (home / name).touch()
    for _ in range(2):
        relion.mark(tmp_path, folder, Verdict(outcome, "because\nof that"))
    assert {p.name for p in home.iterdir() if relion.held(p.name)} == {marker}
    changed = (tmp_path / ".pipeline_has_changed").stat().st_mtime_ns
    assert changed >= (home / marker).stat().st_mtime_ns
    said = (home / "run.err").read_text() if outcome == "failed" else ""
    assert said == ("cryoburst: because of that\n" if outcome == "failed" else "")


def test_the_sentence_follows_what_the_program_said(tmp_path: Path) -> None:
    (tmp_path / "X").mkdir()
    (tmp_path / "X/run.err").write_text("no newline at the end")
    Relion().mark(tmp_path, "X/", Verdict("failed", "it broke"))
    assert (tmp_path / "X/run.err").read_text() == "no newline at the end\ncryoburst: it broke\n"


def test_unmark_takes_old_markers_and_an_old_abort_away(tmp_path: Path) -> None:
    relion = Relion()
    (tmp_path / "X").mkdir()
    (tmp_path / "X/RELION_JOB_ABORT_NOW").touch()
    (tmp_path / "X" / F).touch()
    assert relion.abort_wanted(tmp_path, "X/")
    relion.unmark(tmp_path, "X/")
    assert not relion.abort_wanted(tmp_path, "X/")
    assert list((tmp_path / "X").iterdir()) == []
    relion.unmark(tmp_path, "Nowhere/")


@pytest.mark.parametrize(
    ("log", "progress"),
    [
        (" Expectation iteration 5 of 25\n", Progress(5, 25, "iterations")),
        (' Expectation iteration 5\n 1/ 2 min .....~~(,_,">', Progress(5, 0, "iterations")),
        (" Gradient optimisation iteration 7 of 100 with 200 particles", Progress(7, 100, "iterations")),
        ('000/??? sec ~~(,_,">', Progress(0, 100, "percent")),
        ("\r   0/   1 sec " + "." * 30 + '~~(,_,">', Progress(50, 100, "percent")),
        ("\r   0/   1 sec " + "." * 60 + '~~(,_,">\n Done!\n000/??? sec ~~(,_,">', Progress(0, 100, "percent")),
        ("\r1.25/ 3.5 hrs " + "." * 21 + '~~(,_,">', Progress(35, 100, "percent")),
        (" importing...\n done!\n", None),
        ("", None),
    ],
)
def test_progress(log: str, progress: Progress | None) -> None:
    assert Relion().progress(ONE, log, 0.0) == progress


def test_progress_counts_micrographs_where_the_program_takes_one_after_the_other(tmp_path: Path) -> None:
    rows = "".join(f"m{i}.mrc 1\n" for i in range(8))
    (tmp_path / "mics.star").write_text(
        f"\ndata_micrographs\n\nloop_\n_rlnMicrographName #1\n_rlnOpticsGroup #2\n{rows}\n"
    )
    command = ("relion_run_ctffind", "--i", "mics.star", "--o", "CtfFind/job003/")
    job = replace(ONE, kind="relion.ctffind", folder="CtfFind/job003/", project=tmp_path, commands=(command,))
    log = "\r   0/   1 sec " + "." * 30 + '~~(,_,">'
    assert Relion().progress(job, "", 0.0) == Progress(0, 8, "micrographs")
    for i in (1, 4, 5):
        for end in (".ctf", "_ctffind4.log"):
            (tmp_path / "CtfFind/job003").mkdir(parents=True, exist_ok=True)
            (tmp_path / f"CtfFind/job003/m{i}{end}").touch()
    (tmp_path / "CtfFind/job003/m6.ctf").touch()  # half of what it needs
    assert Relion().progress(job, log, 1.0) == Progress(3, 8, "micrographs")
    assert Relion().progress(job, f'{log} logfile\n000/??? sec ~~(,_,">', 1.0) == Progress(3, 8, "micrographs")
    assert Relion().progress(Relion().part(job, 2, 2), log, 1.0) == Progress(2, 4, "micrographs")
    course = Relion().course(job, 1.0).micrographs
    assert course is not None
    assert (course.done, course.total) == (3, 8)
    assert Relion().progress(job, log, time.time() + 60) == Progress(0, 8, "micrographs")  # an earlier run's
    (tmp_path / "mics.star").unlink()
    assert Relion().progress(job, log, 0.0) == Progress(50, 100, "percent")


def test_progress_of_a_long_log_is_quick() -> None:
    log = '\r   0/   1 sec ....................~~(,_,">' * 200_000
    began = time.process_time()
    Relion().progress(ONE, log, 0.0)
    assert time.process_time() - began < 2.0
