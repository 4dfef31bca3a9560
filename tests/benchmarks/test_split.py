"""The simulated machines of script/bench split: the engine's own decisions, and what they promise of many machines."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from _farm import Farm, Work  # pyright: ignore[reportMissingImports]
from split import PUBLISHED, simulated  # pyright: ignore[reportMissingImports]

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
    sent=True,
)


def test_the_published_movies_are_split_well_enough() -> None:
    values = simulated(PUBLISHED)
    assert values["efficiency_8"] >= 0.9
    assert values["efficiency_64"] >= 0.75
    assert values["overlap_8"] < 1.2
    assert values["overlap_64"] < 1.2


def test_one_machine_takes_what_its_parts_take() -> None:
    times = Farm(WORK, 1).run()
    assert times.ended == pytest.approx(60.0 + 120 * 1.0 + 120 * 30.0, abs=5.0)
    assert times.part_seconds == []


@pytest.mark.slow
@pytest.mark.parametrize("parts", [2, 7, 120])
def test_every_part_and_the_join_have_one_machine(parts: int) -> None:
    farm = Farm(WORK, parts)
    times = farm.run()
    assert len(times.part_seconds) == parts
    assert len(farm.machines) == parts + 1
    longest = 60.0 + -(-120 // parts) * 31.0
    assert times.ended == pytest.approx(longest + 60.0 + 10.0, abs=12.0)


def test_parts_start_while_others_are_sent() -> None:
    together = replace(WORK, sent=False)
    times = Farm(together, 12).run()
    assert times.sent == pytest.approx(1200.0, abs=1.0)  # the link is never idle
    assert times.ended - times.sent < 1.3 * max(times.part_seconds)  # and the last part alone is left
