"""Real refinements whose machine loses its power, again and again: each loss costs at most one iteration."""

import random
import re
import shutil
import signal
from collections.abc import Iterator
from itertools import groupby, pairwise

import pytest

from . import refinement
from .home import Home, send
from .test_disks import Disk, use_store

pytestmark = pytest.mark.slow
SUCCESS = "RELION_JOB_EXIT_SUCCESS"
REFINED = "Refine3D/job001"
NUMBER = re.compile(r"_it(\d{3})_")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home whose project has a Refine3D that three processes carried out as on a computer without us; to be read."""
    made = Home(tmp_path_factory.mktemp("undisturbed"))
    refinement.project(made)
    assert refinement.job(made, "Refine3D", processes=3) == REFINED
    refinement.call(made, ["bash", f"{REFINED}/run_submit.script"])
    yield made
    made.close()


def cut_after(home: Home, folder: str, iteration: int, rng: random.Random) -> bool:
    """Cut the power of the machine at a random time after an iteration is home; False when the run ended before.

    RELION is held at the next one until home has it, and goes on from there.
    """
    held = home.hold(lambda project: max(refinement.begun(project / folder), default=0) > iteration)

    def there() -> bool:
        if refinement.newest(home, folder) < iteration:
            return False
        send(held, signal.SIGCONT)
        return True

    return home.cut_when(there, rng.uniform(0, 0.4))


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
    # Long after the last cut is asked for: how far the machine is ahead of what is home is a matter of the computer.
    folder = refinement.job(home, "Class3D", refinement.COMMANDS["Class3D"].replace("--iter 6", "--iter 15"))
    done = home.call("submit", f"{folder}/run_submit.script")
    assert done.returncode == 0, done.stderr
    cuts = sum(cut_after(home, folder, iteration, rng) for iteration in (1, 3, 5))
    run = home.ended()
    losses = run["attempt"] - 1
    assert run["state"] == "SUCCEEDED", home.log()
    assert losses == cuts == 3
    assert len(home.goes_on()) == losses
    assert_at_most_one_again(home, folder)
    assert refinement.names(home, folder) == refinement.alone(home, folder)
    assert run["files_out"] == len(refinement.names(home, folder))  # each once
    before = {p.name: p.stat().st_mtime_ns for p in (home.project / folder).glob("run_it*")}
    (home.project / folder / "run_it001_class001.mrc").unlink()
    assert home.call("fetch", "1").returncode == 0  # also what an earlier attempt made
    assert {p.name: p.stat().st_mtime_ns for p in (home.project / folder).glob("run_it*")} == before
    home.assert_clean(losses + 1)


def assert_went_on(home: Home, there: list[int]) -> None:
    """Each attempt but the first went on after the iteration that was home when its machine died, or the one before.

    It can be told where the iterations are shorter than the log's way home, which misses the end of what was said.
    """
    after = [int(re.findall(r"after iteration (\d+)", text)[0]) for text in home.goes_on()]
    assert all(went_on >= newest - 1 for went_on, newest in zip(after, there, strict=True)), (there, after)
    assert after == sorted(set(after))


def kinds(names: set[str]) -> list[set[str]]:
    """The kinds of files of the job, then those of its iterations, where alike ones that follow each other count once.

    When it converges is RELION's own to say, and it says it anew after each start.
    """
    found: dict[int, set[str]] = {-1: set()}
    for name in names:
        number = NUMBER.search(name)
        found.setdefault(int(number[1]) if number else -1, set()).add(NUMBER.sub("_itN_", name))
    return [each for each, _ in groupby(found[number] for number in sorted(found))]


def test_refine3d_of_three_processes_whose_machines_die(home: Home, undisturbed: Home) -> None:
    rng = random.Random(3)
    refinement.project(home)
    folder = refinement.job(home, "Refine3D", processes=3)
    done = home.call("submit", f"{folder}/run_submit.script", "--leave", "*.mrc")
    assert done.returncode == 0, done.stderr
    losses = sum(cut_after(home, folder, iteration, rng) for iteration in (2, 4))
    run = home.ended()
    assert (run["state"], run["attempt"]) == ("SUCCEEDED", losses + 1), home.log()
    assert losses == 2
    assert len(home.goes_on()) == losses
    assert_at_most_one_again(home, folder)
    assert kinds(refinement.names(home, folder)) == kinds(refinement.names(undisturbed, REFINED))
    assert (home.project / folder / "run_class001.mrc").is_symlink()
    assert home.call("fetch", "1").returncode == 0
    assert not [p for p in (home.project / folder).iterdir() if p.is_symlink()]
    home.assert_clean(losses + 1)


def test_multibody_of_three_processes_whose_machines_die(home: Home, undisturbed: Home) -> None:
    rng = random.Random(4)
    shutil.copytree(undisturbed.project, home.project, dirs_exist_ok=True)
    folder = refinement.multibody(home, REFINED)
    done = home.call("submit", f"{folder}/run_submit.script")
    assert done.returncode == 0, done.stderr
    there: list[int] = []
    for iteration in (1, 2):
        assert cut_after(home, folder, iteration, rng)
        there.append(refinement.newest(home, folder))
    run = home.ended()
    losses = len(there)
    assert (run["state"], run["attempt"]) == ("SUCCEEDED", losses + 1), home.log()
    assert_went_on(home, there)
    assert kinds(refinement.names(home, folder)) == kinds(refinement.alone(home, folder))
    assert run["files_out"] == len(refinement.names(home, folder))
    home.assert_clean(losses + 1)


def test_refine3d_whose_store_fills_up_waits_says_so_and_goes_on(home: Home, disk: Disk, undisturbed: Home) -> None:
    refinement.project(home)
    folder = refinement.job(home, "Refine3D", processes=3)
    use_store(home, disk("store", 2600))
    home.environment |= {"CRYOBURST_RETRY_DELAYS": "1,1,1", "CRYOBURST_LOST_SECONDS": "10"}
    done = home.call("submit", f"{folder}/run_submit.script")
    assert done.returncode == 0, done.stderr
    run = home.until(lambda run: run["reason"] == "store_full")  # told by the agent, or else found by home
    assert run["state"] == "RUNNING"
    assert "make room in the store" in run["explanation"]
    machines = home.tokens()
    assert len(machines) == 1
    disk("store", 64_000)
    run = home.until(lambda run: (run["state"] == "RUNNING" and not run["reason"]) or run["state"] == "SUCCEEDED")
    run = home.ended()
    assert (run["state"], run["attempt"]) == ("SUCCEEDED", 1), home.log()  # the machine waited
    assert kinds(refinement.names(home, folder)) == kinds(refinement.names(undisturbed, REFINED))
    assert_at_most_one_again(home, folder)
    home.assert_clean(1)
