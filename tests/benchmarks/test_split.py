"""The simulated machines of script/bench split: the engine as it is, and what it promises of many machines."""

import sys
from pathlib import Path
from statistics import median

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from _farm import Work, farm  # pyright: ignore[reportMissingImports]

WORK = Work(
    units=120,
    seconds=30.0,
    spread=0.0,
    bytes_in=1e9,
    bytes_out=1e6,
    boot=60.0,
    home=1e8,
    machine=1e9,
    join=10.0,
)


def test_one_machine_takes_what_its_movies_take() -> None:
    times = farm(WORK, 1)
    assert times.ended == pytest.approx(60.0 + 1.0 + 120 * 30.0, abs=10.0)  # it waits for the first movie alone
    assert (times.machines, times.parts) == (1, [])


@pytest.mark.slow
@pytest.mark.parametrize("parts", [2, 7, 24])
def test_every_part_and_the_join_have_one_machine(parts: int) -> None:
    times = farm(WORK, parts)
    assert len(times.parts) == parts
    assert times.machines == parts + 1
    longest = 60.0 + 1.0 + -(-120 // parts) * 30.0
    assert times.ended == pytest.approx(longest + 60.0 + 10.0, abs=15.0)


def test_parts_start_while_others_are_sent() -> None:
    times = farm(WORK, 12, sent=False)
    assert times.sent == pytest.approx(1200.0, abs=10.0)  # the link is hardly ever idle
    assert times.ended - times.sent < 1.3 * median(times.parts)  # and the last part alone is left
