"""Real refinements whose machine loses its power, again and again: each loss costs at most one iteration."""

import random
import re
import time
from itertools import pairwise

import pytest

from . import refinement
from .home import PATIENCE, Home
from .test_disks import Disk, use_store

pytestmark = pytest.mark.slow
SUCCESS = "RELION_JOB_EXIT_SUCCESS"
NUMBER = re.compile(r"_it\d{3}_")


def cut_after(home: Home, folder: str, iteration: int, rng: random.Random) -> bool:
    """Cut the power of the machine at a random time after an iteration is home; False when the run ended before."""
    end, look = time.monotonic() + 3 * PATIENCE, 0.0
    while time.monotonic() < end:
        if refinement.newest(home, folder) >= iteration and home.tokens():
            time.sleep(rng.uniform(0, 0.4))
            if home.cut_power():
                return True
        if time.monotonic() > look:
            if home.runs()[0]["state"] in ("SUCCEEDED", "FAILED", "STOPPED"):
                return False
            look = time.monotonic() + 1.0
        time.sleep(0.02)
    raise AssertionError(f"no iteration {iteration}: {home.log()}")


def events(home: Home) -> list[str]:
    """The places from which attempts went on."""
    import json

    shown = json.loads(home.call("show", "1", "--json").stdout)
    return [event["text"] for event in shown["events"] if "goes on" in event["text"]]


def assert_at_most_one_again(home: Home, folder: str) -> None:
    """Of the iterations that the log shows, each loss cost one whole one at most, and none was left out."""
    begun = refinement.steps(home, folder)
    for died_in, went_on in pairwise(begun):
        assert went_on == died_in + 1 or 0 <= died_in - went_on <= 1, begun
    assert sorted(set(begun)) == list(range(1, max(begun) + 1)), begun


@pytest.mark.parametrize("seed", [1, 2])
def test_class3d_whose_machines_die(home: Home, seed: int) -> None:
    rng = random.Random(seed)
    refinement.project(home)
    folder = refinement.job(home, "Class3D")
    done = home.call("submit", f"{folder}/run_submit.script")
    assert done.returncode == 0, done.stderr
    cuts = sum(cut_after(home, folder, iteration, rng) for iteration in (1, 3, 5))
    run = home.ended()
    losses = run["attempt"] - 1  # the last cut may come when all is in the store
    assert run["state"] == "SUCCEEDED", home.log()
    assert cuts - 1 <= losses <= cuts
    assert losses >= 2
    assert len(events(home)) == losses
    assert_at_most_one_again(home, folder)
    assert refinement.names(home, folder) == refinement.alone(home, folder)
    assert run["files_out"] == len(refinement.names(home, folder))  # each once
    before = {p.name: p.stat().st_mtime_ns for p in (home.project / folder).glob("run_it*")}
    (home.project / folder / "run_it001_class001.mrc").unlink()
    assert home.call("fetch", "1").returncode == 0  # also what an earlier attempt made
    assert {p.name: p.stat().st_mtime_ns for p in (home.project / folder).glob("run_it*")} == before
    home.assert_clean(losses + 1)


def test_refine3d_of_three_processes_whose_machines_die(home: Home) -> None:
    rng = random.Random(3)
    refinement.project(home)
    folder = refinement.job(home, "Refine3D", processes=3)
    done = home.call("submit", f"{folder}/run_submit.script", "--leave", "*.mrc")
    assert done.returncode == 0, done.stderr
    losses = sum(cut_after(home, folder, iteration, rng) for iteration in (2, 4))
    run = home.until(lambda run: run["state"] in ("SUCCEEDED", "FAILED"))
    assert (run["state"], run["attempt"]) == ("SUCCEEDED", losses + 1), home.log()
    assert losses == 2
    assert len(events(home)) == losses
    assert_at_most_one_again(home, folder)
    found = refinement.names(home, folder)
    # When it converges is RELION's own to say, and it says it anew after each start.
    kinds = {NUMBER.sub("_itN_", name) for name in found}
    assert kinds == {NUMBER.sub("_itN_", name) for name in refinement.alone(home, folder)}
    per_iteration = {name: len([n for n in found if NUMBER.sub("_itN_", n) == name]) for name in kinds}
    assert len({count for name, count in per_iteration.items() if "_itN_" in name}) == 1, per_iteration
    assert (home.project / folder / "run_class001.mrc").is_symlink()
    assert home.call("fetch", "1").returncode == 0
    assert not [p for p in (home.project / folder).iterdir() if p.is_symlink()]
    home.assert_clean(losses + 1)


def test_refine3d_whose_store_fills_up_waits_says_so_and_goes_on(home: Home, disk: Disk) -> None:
    refinement.project(home)
    folder = refinement.job(home, "Refine3D", processes=3)
    use_store(home, disk("store", 2600))
    home.environment["CRYOBURST_RETRY_DELAYS"] = "1,1,1"
    done = home.call("submit", f"{folder}/run_submit.script")
    assert done.returncode == 0, done.stderr
    run = home.until(lambda run: run["reason"] == "store_full")
    assert run["state"] == "RUNNING"
    assert "make room in the store" in run["explanation"]
    machines = home.tokens()
    assert len(machines) == 1
    disk("store", 64_000)
    run = home.until(lambda run: (run["state"] == "RUNNING" and not run["reason"]) or run["state"] == "SUCCEEDED")
    run = home.until(lambda run: run["state"] in ("SUCCEEDED", "FAILED"))
    assert (run["state"], run["attempt"]) == ("SUCCEEDED", 1), home.log()  # the machine waited
    kinds = {NUMBER.sub("_itN_", name) for name in refinement.names(home, folder)}
    assert kinds == {NUMBER.sub("_itN_", name) for name in refinement.alone(home, folder)}
    assert_at_most_one_again(home, folder)
    home.assert_clean(1)
