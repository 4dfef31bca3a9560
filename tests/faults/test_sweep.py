"""One fault at every step of a run's life: each call that leaves the engine or the agent is met, before and after it.

The steps are those of a run that nothing disturbs, so a new call in the engine is swept without a change here. After
every single case: no machine is left, none was made twice, every output is home, the list can be made again from
outside, and the run has succeeded.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .sweep import Result, drive, report, wrong

pytestmark = pytest.mark.slow
Point = list[Any]
MEMORY = Path("/dev/shm")  # every case syncs its files; the disk would be what is measured


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder in memory where there is such a thing."""
    with tempfile.TemporaryDirectory(prefix="cryoburst-faults-", dir=MEMORY if MEMORY.is_dir() else None) as made:
        yield Path(made)


@pytest.fixture(scope="module")
def reference(folder: Path) -> Result:
    """A run that nothing disturbs, with every point that it passed at home and on the machine."""
    record = folder / "record"
    agent = {"record": str(record), "reached": str(folder / "never")}
    result = drive(folder, [{"agent": agent}])[0]
    assert wrong(result, result) == ""
    result["agent"] = [json.loads(line) for line in record.read_text().splitlines()]
    return result


def sweep_home(
    folder: Path, reference: Result, harm: str, start: str = "", when: str = "", attempts: int = 1
) -> tuple[int, list[str]]:
    points = [p for p in reference["passed"] if p[0].startswith(start) and when in ("", p[2])]
    return report(drive(folder, [{"point": p, "harm": harm} for p in points]), reference, attempts)


def sweep_agent(folder: Path, reference: Result, harm: str, attempts: int, start: str = "") -> tuple[int, list[str]]:
    points = [p for p in reference["agent"] if p[0].startswith(start)]
    return report(drive(folder, [{"agent": {"point": p, "harm": harm}} for p in points]), reference, attempts)


def test_kill_of_client_and_watcher_before_and_after_every_call(folder: Path, reference: Result) -> None:
    reached, bad = sweep_home(folder, reference, "kill")
    assert not bad, "\n".join(bad)
    assert reached > 100


def test_kill_together_with_the_database_before_every_call(folder: Path, reference: Result) -> None:
    reached, bad = sweep_home(folder, reference, "kill+drop", when="before")
    assert not bad, "\n".join(bad)
    assert reached > 50


def test_the_database_is_deleted_under_a_living_watcher_before_every_call(folder: Path, reference: Result) -> None:
    reached, bad = sweep_home(folder, reference, "drop", when="before")
    assert not bad, "\n".join(bad)
    assert reached > 50


def test_the_store_refuses_every_call_once_before_and_after_it_was_done(folder: Path, reference: Result) -> None:
    reached, bad = sweep_home(folder, reference, "unavailable", "store.")
    assert not bad, "\n".join(bad)
    assert reached > 35


def test_the_store_is_full_at_every_write(folder: Path, reference: Result) -> None:
    reached, bad = sweep_home(folder, reference, "full", "store.put")
    assert not bad, "\n".join(bad)
    assert reached >= 10


def test_the_provider_does_not_answer_or_its_answer_is_lost(folder: Path, reference: Result) -> None:
    reached, bad = sweep_home(folder, reference, "provider", "provider.")
    assert not bad, "\n".join(bad)
    assert reached > 8


def test_home_is_full_at_every_output(folder: Path, reference: Result) -> None:
    reached, bad = sweep_home(folder, reference, "home_full", "store.read")
    assert not bad, "\n".join(bad)
    assert reached >= 4


def test_kill_of_the_agent_before_and_after_each_of_its_calls(folder: Path, reference: Result) -> None:
    reached, bad = sweep_agent(folder, reference, "kill", attempts=2)
    assert not bad, "\n".join(bad)
    assert reached > 25


def test_power_cut_of_the_machine_before_and_after_each_call_of_its_agent(folder: Path, reference: Result) -> None:
    reached, bad = sweep_agent(folder, reference, "power", attempts=2)
    assert not bad, "\n".join(bad)
    assert reached > 25


def test_the_store_refuses_every_call_of_the_agent_once(folder: Path, reference: Result) -> None:
    reached, bad = sweep_agent(folder, reference, "unavailable", attempts=1)
    assert not bad, "\n".join(bad)
    assert reached > 25
