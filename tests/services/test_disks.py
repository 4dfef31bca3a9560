"""Disks that are full, missing or not what they were: the store's, the project's, the machine's, the settings'."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .home import Home

pytestmark = pytest.mark.slow
Disk = Callable[[str, int], Path]
BIG = "head -c 600000 /dev/urandom > Script/job001/big.bin\nsha256sum Script/job001/big.bin\n"


def use_store(home: Home, folder: Path) -> None:
    """Make a store and use it."""
    from cryoburst.stores.folder import FolderStore

    FolderStore(folder.as_uri()).create()
    home.environment["CRYOBURST_STORE"] = folder.as_uri()


def test_store_without_room_for_the_inputs_is_told_and_goes_on_when_there_is(home: Home, disk: Disk) -> None:
    use_store(home, disk("store", 300))
    (home.project / "in.bin").write_bytes(b"x" * 600_000)
    home.environment["CRYOBURST_RETRY_DELAYS"] = ",".join(["0.2"] * 200)
    folder = home.job(sleep=0)
    home.submit(folder)
    run = home.until(lambda run: run["state"] == "WAITING")
    assert run["reason"] == "store_full"
    assert "make room" in run["explanation"]
    disk("store", 8000)
    assert home.ended()["state"] == "SUCCEEDED"
    assert (home.project / folder / "two.bin").stat().st_size == 600_000
    home.assert_clean(1)


def test_store_that_is_full_when_the_outputs_come_keeps_the_machine_until_there_is_room(home: Home, disk: Disk) -> None:
    use_store(home, disk("store", 1300))  # the agent fits, its output does not
    folder = home.job(script=BIG)
    home.submit(folder)
    home.until(lambda run: run["state"] == "RUNNING" and home.boots.exists())
    time.sleep(1)
    assert home.runs()[0]["state"] == "RUNNING"
    disk("store", 8000)
    assert home.ended()["state"] == "SUCCEEDED"
    assert (home.project / folder / "big.bin").stat().st_size == 600_000
    home.assert_clean(1)


def test_store_that_has_not_even_room_to_tell_so_is_found_full_by_home(home: Home, disk: Disk) -> None:
    """The agent can't write its heartbeat; it falls silent, and home tries whether the store takes anything."""
    store = disk("store", 8000)
    use_store(home, store)
    home.environment["CRYOBURST_LOST_SECONDS"] = "1"
    folder = home.job(script=BIG.replace("head", f"until [ -e {home.root}/go ]; do sleep 0.05; done\nhead"))
    home.submit(folder)
    home.until(lambda run: run["state"] == "RUNNING" and home.boots.exists())
    with (store / "of others").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    (home.root / "go").touch()
    run = home.until(lambda run: run["reason"] == "store_full")
    assert run["state"] == "RUNNING"
    assert "make room in the store" in run["explanation"]
    (store / "of others").unlink()
    assert home.ended()["state"] == "SUCCEEDED"
    assert (home.project / folder / "big.bin").stat().st_size == 600_000
    home.assert_clean(1)


def test_full_disk_at_home_keeps_the_outputs_in_the_store_until_there_is_room(home: Home, disk: Disk) -> None:
    home.project = disk("small", 300)
    (home.project / "script.project").touch()
    (home.project / "in.bin").write_bytes(b"x" * 1000)
    folder = home.job(script=BIG)
    home.submit(folder)
    run = home.until(lambda run: run["state"] == "STAGING_OUT" and run["reason"])
    assert run["reason"] == "home_full"
    assert "the outputs are safe in the store" in run["explanation"]
    assert not (home.project / folder / "DONE").exists()
    disk("small", 8000)
    assert home.ended()["state"] == "SUCCEEDED"
    assert (home.project / folder / "big.bin").stat().st_size == 600_000
    home.assert_clean(1)


def test_machine_without_room_for_the_inputs_says_so(home: Home, disk: Disk) -> None:
    home.machines = disk("machines", 1600)
    home.environment["CRYOBURST_MACHINES"] = str(home.machines)
    (home.project / "in.bin").write_bytes(b"x" * 900_000)
    folder = home.job(sleep=0)
    home.submit(folder)
    run = home.ended()
    assert (run["state"], run["reason"]) == ("FAILED", "machine_disk_full")
    assert "larger disk" in (home.project / folder / "FAILED").read_text()
    assert not home.boots.exists()


def test_store_that_goes_away_while_the_job_runs_and_comes_back(home: Home) -> None:
    use_store(home, home.root / "store")
    folder = home.job(script=f"{home.held()}touch {home.root}/over\n")
    home.submit(folder)
    home.until(lambda run: run["state"] == "RUNNING" and home.boots.exists())
    away = (home.root / "store").rename(home.root / "unmounted")
    home.let_go()
    home.wait((home.root / "over").exists, "the end of the job")
    time.sleep(0.5)
    assert home.runs()[0]["state"] == "RUNNING"  # the list is there without the store
    assert not (home.root / "store").exists()
    away.rename(home.root / "store")
    assert home.ended()["state"] == "SUCCEEDED"
    home.assert_clean(1)


@pytest.mark.parametrize("default", [True, False])
def test_store_that_is_a_file_is_waited_for_with_a_reason(home: Home, default: bool) -> None:
    store = home.state / "store" if default else home.root / "store"
    home.environment["CRYOBURST_RETRY_DELAYS"] = ",".join(["0.2"] * 200)
    home.environment["CRYOBURST_STORE"] = store.as_uri()
    home.state.mkdir()
    store.write_text("not a folder")
    done = home.call("submit", "--job", home.job(sleep=0))
    assert done.returncode == 0
    assert "run 1 waits for its store" in done.stderr
    run = home.until(lambda run: run["reason"])
    assert run["reason"] == "store_unavailable"
    store.unlink()
    use_store(home, store)
    assert home.ended()["state"] == "SUCCEEDED"


def test_state_folder_that_can_not_be_written_is_named(home: Home) -> None:
    home.state.write_text("a file")
    done = home.call("submit", "--job", home.job())
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert str(home.state) in done.stderr
