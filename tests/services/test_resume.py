"""Jobs that can go on, and whose machines die: nothing whole is made twice, all of it is home and counted once."""

import os
import random
from itertools import pairwise
from pathlib import Path

import pytest

from cryoburst.model.stub import parse_stub

from .home import Home

pytestmark = pytest.mark.slow
FOLDER = "Script/job001"
STEPS = """
# goes on
for n in $(seq $((${FROM:-0} + 1)) %(steps)d); do
    echo $n >> %(begun)s
    sleep %(sleep)s
    while [ $n = %(steps)d ] && [ ! -e %(end)s ]; do sleep 0.1; done
    (cat in.bin; echo $n) > Script/job001/step$n.dat
    echo $n > Script/job001/step$n.idx
    echo step $n of %(steps)d
done
"""


class Stepped:
    """A home with a job of steps, each of which leaves two files; the last one is not done before ``assert_whole``."""

    def __init__(self, home: Home, steps: int, sleep: float, more: str = "") -> None:
        self.home, self.steps = home, steps
        self.begun = home.root / "begun"
        self.end = home.root / "end"
        values = {"steps": steps, "sleep": sleep, "begun": self.begun, "end": self.end}
        home.job(script=STEPS % values + more)
        self.folder = home.project / FOLDER

    def newest(self) -> int:
        """The newest step of which both files are at home, or stubs."""
        there = {p.name for p in self.folder.glob("step*")}
        return max((n for n in range(1, 99) if {f"step{n}.dat", f"step{n}.idx"} <= there), default=0)

    def cut_after(self, step: int, seconds: float = 0.0) -> bool:
        """Cut the power so many seconds after a step is home; False when the run had ended."""
        return self.home.cut_when(lambda: self.newest() >= step, seconds)

    def assert_whole(self, losses: int) -> dict[str, object]:
        """It succeeded; each loss cost one whole step at most; every step is home and counted once."""
        self.end.touch()
        run = self.home.ended()
        assert (run["state"], run["attempt"]) == ("SUCCEEDED", losses + 1), self.home.log()
        begun = [int(n) for n in self.begun.read_text().split()]
        assert sorted(set(begun)) == list(range(1, self.steps + 1))
        for died_in, went_on in pairwise(begun):
            assert went_on == died_in + 1 or 0 <= died_in - went_on <= 1, begun
        size = (self.home.project / "in.bin").stat().st_size
        wanted = {f"step{n}.dat": size + len(f"{n}\n") for n in range(1, self.steps + 1)}
        wanted |= {f"step{n}.idx": len(f"{n}\n") for n in range(1, self.steps + 1)}
        left = {p.name: stub.size for p in self.folder.glob("step*") if (stub := stub_of(p)) is not None}
        found = {p.name: p.stat().st_size for p in self.folder.glob("step*") if p.name not in left}
        assert found | left == wanted
        assert (run["files_out"] + run["files_left"], run["bytes_out"] + run["bytes_left"]) == (
            len(wanted),
            sum(wanted.values()),
        )
        return run


def stub_of(path: Path):
    return parse_stub(os.readlink(path)) if path.is_symlink() else None  # noqa: PTH115


def test_machines_that_die_more_often_than_there_are_retries_as_long_as_each_gets_further(home: Home) -> None:
    job = Stepped(home, steps=7, sleep=1.0)
    rng = random.Random(1)
    home.submit(FOLDER)
    losses = sum(job.cut_after(step, rng.uniform(0, 0.8)) for step in (1, 2, 3, 4, 5))
    assert losses == 5  # there are three retries
    job.assert_whole(losses)
    goes_on = home.goes_on()
    assert len(goes_on) == losses
    assert goes_on[0].startswith("attempt 2 goes on after step ")
    home.assert_clean(losses + 1)


def test_machines_that_die_together_with_the_watcher_or_the_database(home: Home) -> None:
    job = Stepped(home, steps=6, sleep=1.0)
    home.submit(FOLDER)
    assert job.cut_after(2)
    home.kill_watcher()
    assert job.cut_after(4)
    home.drop_database()
    run = job.assert_whole(2)
    home.drop_database()
    again = home.runs()[0]
    assert (again["files_out"], again["bytes_out"]) == (run["files_out"], run["bytes_out"])
    (job.folder / "step1.dat").unlink()
    assert home.call("fetch", "1").returncode == 0
    job.assert_whole(2)


def test_a_machine_that_dies_before_it_made_anything_costs_nothing_more(home: Home) -> None:
    job = Stepped(home, steps=5, sleep=1.0)
    home.submit(FOLDER)
    assert job.cut_after(2)
    assert job.cut_after(2)  # as soon as there is another
    job.assert_whole(2)
    assert len(home.goes_on()) == 2


def test_what_was_left_in_the_store_is_read_there(home: Home) -> None:
    job = Stepped(home, steps=6, sleep=1.0)
    assert home.call("submit", "--job", FOLDER, "--leave", "*.dat").returncode == 0
    assert job.cut_after(3)
    run = job.assert_whole(1)
    assert run["files_left"] == 6
    assert run["bytes_sent"] == 20_000  # in.bin, by the first attempt: nothing else went through home
    assert home.call("fetch", "1").stdout == "Run 1: 12 outputs are home and verified\n"
    assert not [path for path in job.folder.iterdir() if path.is_symlink()]
    home.drop_database()
    assert home.runs()[0]["files_left"] == 0


def test_a_checkpoint_that_is_damaged_in_the_store_is_sent_again_from_home(home: Home) -> None:
    job = Stepped(home, steps=6, sleep=1.0)
    home.environment["CRYOBURST_RETRY_DELAYS"] = "2,2,2"
    home.submit(FOLDER)
    assert job.cut_after(3)
    for path in (home.state / "store").rglob("1/outputs/*/*"):
        path.write_bytes(os.urandom(path.stat().st_size))
    job.end.touch()
    run = home.ended()
    assert (run["state"], run["attempt"]) == ("SUCCEEDED", 3), home.log()
    assert job.newest() == 6


def test_what_a_job_takes_away_again_is_not_left_at_home(home: Home) -> None:
    job = Stepped(
        home,
        steps=1,
        sleep=0,
        more=f"echo x > Script/job001/passing.txt\n{home.held()}rm Script/job001/passing.txt",
    )
    job.end.touch()
    home.submit(FOLDER)
    home.wait((job.folder / "passing.txt").exists, "a file that does not stay")
    home.let_go()
    job.assert_whole(0)
    assert not (job.folder / "passing.txt").exists()


def test_half_of_a_step_that_is_never_done_again_goes(home: Home) -> None:
    more = f"[ -z $FROM ] || exit 0\necho half > {FOLDER}/step3.dat\nsleep 600\n"
    job = Stepped(home, steps=2, sleep=0.1, more=more)
    job.end.touch()
    home.submit(FOLDER)
    assert home.cut_when((job.folder / "step3.dat").exists)
    job.assert_whole(1)
    assert not (job.folder / "step3.dat").exists()
