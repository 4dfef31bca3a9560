"""What a forecast learns from a user's own runs, on a ledger of its own."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cryoburst.database.ledger import Ledger
from cryoburst.engine.world import World
from cryoburst.model.plugins import Demand, Offer
from cryoburst.model.price import GB
from cryoburst.model.run import Machine, Run
from cryoburst.model.states import MachineState, RunState
from cryoburst.services import forecast
from cryoburst.services.preflight import Preflight
from cryoburst.services.settings import Settings

NOW = 1_700_000_000.0
KIND = "relion.class3d"
RUN = Run(0, "a" * 16, "me", "/p", "j/", "t", KIND, "relion", "s", "file:///s", "lab", "", None, 1, NOW)
BOX = Offer("lab", "box", 64, 1 << 38, 4, 0.0, gpu="A100")


class Lab:
    """A provider as far as a forecast asks it."""

    here = True

    def offers(self, _need: object) -> list[Offer]:
        return [BOX, replace(BOX, name="one", gpus=1)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    providers: Any = {"lab": Lab()}
    ledger = Ledger(f"sqlite://{tmp_path / 'l.db'}")
    yield World(ledger, "me", lambda: NOW, providers, {}, lambda _: None, lambda _: (b"", ""))  # type: ignore[arg-type, return-value]
    ledger.connection.close()


def ended(world: World, run: Run, offer: str = "box") -> Run:
    """A run that has come to its end on a machine."""
    run = world.ledger.add(replace(run, state=RunState.SUCCEEDED, ended=NOW))
    world.ledger.add_machine(Machine(f"{run.uid}-1", run.uid, 1, "lab", offer, 0.0, MachineState.GONE, NOW, NOW))
    return run


@pytest.mark.parametrize("gpus", [1, 3, 5, 0], ids=["one named", "three ranks", "five threads", "not noted"])
def test_a_job_that_ran_is_foretold_to_run_as_long_on_the_same_machine(world: World, gpus: int) -> None:
    run = replace(RUN, script="relion_refine_mpi --gpu", processes=5, gpus=gpus, units=1e9, command_seconds=7200.0)
    ended(world, run)
    told = forecast.hours_on(world)(replace(run, uid="b" * 16), BOX)
    assert 1.5 < told < 3.0  # the studies say otherwise, and weigh a little
    slower = forecast.hours_on(world)(replace(run, uid="b" * 16), replace(BOX, name="one", gpus=1))
    assert slower > 1.5 * told or gpus == 1


def test_inputs_that_came_late_say_nothing_of_the_command_or_the_line(world: World) -> None:
    """Of 100 GB one was read before the command began, in ten seconds: that is what the line does."""
    run = replace(
        RUN, units=1e9, gpus=4, started=NOW, command_started=NOW + 10, bytes_in=10**11, command_seconds=7200.0
    )
    ended(world, replace(run, late_bytes=99 * 10**9))
    speed, _ = forecast.machine_speed(world.ledger, "lab")
    assert speed.best == pytest.approx(1e8)
    assert forecast.own_rows(world) == []
    ended(world, replace(run, uid="b" * 16, late_bytes=10**9, command_started=NOW + 990))  # ten seconds of two hours
    assert [row.data for row in forecast.own_rows(world)] == [f"run {'b' * 16}"]


def test_what_the_data_cost_is_told_apart(world: World) -> None:
    """100 GB of inputs and as much of outputs: kept for a month, half of it brought home."""
    run = replace(RUN, store="s3://bucket?region=us-east-1", units=1e9)
    job: Any = None
    found = Preflight(job, run, [], [], Demand(disk=200 * GB), BOX)
    told = forecast.foretell(world, Settings(state=Path("/s")), found, 100 * GB, 100 * GB)
    assert told is not None
    assert told.price is not None
    assert told.data_usd == pytest.approx(200 * 0.023 + 100 * 0.09 + (told.price.requests or 0))
