"""A project that is moved to another folder while one of its jobs runs, which is not in parts."""

import time

import pytest

from .home import Home

pytestmark = pytest.mark.slow


def test_a_running_job_of_a_moved_project_is_told_of_and_not_sent_twice(home: Home) -> None:
    hold = home.root / "hold"
    hold.touch()
    job = home.job(script=f"while [ -e {hold} ]; do echo here; sleep 0.2; done\necho made > Script/job001/made.mrc\n")
    assert home.call("submit", "--job", job).returncode == 0
    home.until(lambda run: run["state"] == "RUNNING")
    moved = home.root / "moved"
    home.project.rename(moved)
    home.project, place = moved, home.project  # where the user calls from now
    end = time.monotonic() + 60
    while "the project is not there; put it back, or a link" not in (said := home.call("show", "1").stdout):
        assert time.monotonic() < end, said
        time.sleep(0.2)
    again = home.call("submit", "--job", job)
    assert again.returncode == 2
    assert f"run 1 is at work on this job of {place}, which is not there" in again.stderr
    assert f"ln -s {moved} {place}" in again.stderr
    assert "put it back, or a link to where it is now" in home.call("show", "1", "--picture", "x.png").stderr
    place.symlink_to(moved)
    again = home.call("submit", "--job", job)  # by the project's other name
    assert (again.returncode, "run 1 is at work on this job" in again.stderr) == (2, True)
    hold.unlink()
    run = home.ended()
    assert run["state"] == "SUCCEEDED", run
    assert (moved / "Script/job001/made.mrc").read_text() == "made\n"
    assert len(home.runs()) == 1
