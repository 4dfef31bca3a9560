"""A command line that is wrong must not change what a job was; a job that ended well was not stopped."""

from pathlib import Path

import pytest
from tests.services.home import Home


def files(folder: Path) -> dict[str, bytes]:
    """Name -> content of every file in a job folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [("--to", "aws"), ("--machine", "huge"), ("--parts", "2")])
def test_wrong_words_leave_a_finished_job_as_it_was(home: Home, wrong: tuple[str, str]) -> None:
    folder = home.job(sleep=0.0)
    home.submit(folder)
    assert home.ended()["state"] == "SUCCEEDED"
    before = files(home.project / folder)
    refused = home.call("submit", "--job", folder, *wrong)
    assert refused.returncode == 2
    assert all(line.startswith("cryoburst: ") for line in refused.stderr.splitlines())
    assert files(home.project / folder) == before


@pytest.mark.slow
def test_a_job_that_ends_well_after_the_stop_has_succeeded(home: Home) -> None:
    wait = "trap 'asked=1' TERM\necho begun\nuntil [ $asked ]; do sleep 0.05; done\n"
    folder = home.job(script=f"{wait}cp in.bin Script/job001/two.bin\n")
    home.submit(folder)
    home.until(lambda run: run["state"] == "RUNNING" and run["run_seconds"] is not None)
    assert home.call("stop", "1").returncode == 0
    assert home.until(lambda run: run["stop_wanted"])["stop_wanted"]
    ended = home.ended()
    assert (ended["state"], (home.project / folder / "two.bin").exists()) == ("SUCCEEDED", True)


@pytest.mark.slow
def test_what_a_killed_process_was_still_writing_is_taken_away(home: Home) -> None:
    folder = home.job(script=home.held())
    home.submit(folder)
    home.until(lambda run: run["state"] == "RUNNING")
    left = home.project / folder / ".cryoburst-1-2-abcd"
    left.write_text("half")
    home.let_go()
    assert home.ended()["state"] == "SUCCEEDED"
    assert not left.exists()
