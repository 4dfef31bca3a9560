"""What budgets leave for a machine, and what they refuse, on a ledger of its own."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cryoburst.database.ledger import Ledger
from cryoburst.engine.world import World
from cryoburst.model.errors import BadInput
from cryoburst.model.price import GB
from cryoburst.model.run import Machine, Run
from cryoburst.model.states import MachineState, RunState
from cryoburst.services import budgets
from cryoburst.services.settings import Settings

NOW = 1_700_000_000.0
RUN = Run(0, "a" * 16, "me", "/p", "j/", "t", "k", "relion", "s", "file:///s", "aws", "", None, 1, NOW)


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    made = Ledger(f"sqlite://{tmp_path / 'l.db'}")
    yield made
    made.connection.close()


def settings(**given: float) -> Settings:
    return Settings(state=Path("/s"), **given)  # type: ignore[arg-type]


def rent(ledger: Ledger, run: Run, *, usd: float | None = 1.0, gone: float | None = None, hours: float = 10.0) -> Run:
    """A run of its own with one machine that ends after so many hours at most."""
    run = ledger.add(run)
    state = MachineState.UP if gone is None else MachineState.GONE
    power_off = NOW + hours * 3600
    ledger.add_machine(Machine(f"{run.uid}-1", run.uid, 1, "aws", "t", usd, state, NOW, power_off, "i", gone=gone))
    return run


def test_without_budgets_there_is_no_end(ledger: Ledger) -> None:
    assert budgets.left(ledger, settings(), RUN, NOW) is None


def test_promised_money_is_not_left(ledger: Ledger) -> None:
    rent(ledger, RUN)
    other = replace(RUN, uid="b" * 16)
    assert budgets.left(ledger, settings(budget_project=15.0), other, NOW) == pytest.approx(5.0)
    assert budgets.left(ledger, settings(budget_project=8.0), other, NOW) == 0
    assert budgets.left(ledger, settings(budget_run=8.0), other, NOW) == 8.0


def test_the_machine_that_is_asked_for_again_is_left_out(ledger: Ledger) -> None:
    run = rent(ledger, RUN)
    assert budgets.left(ledger, settings(budget_run=8.0), run, NOW) == 0
    assert budgets.left(ledger, settings(budget_run=8.0), run, NOW, but=f"{run.uid}-1") == 8.0


def test_what_ended_early_gives_its_promise_back(ledger: Ledger) -> None:
    run = rent(ledger, RUN, gone=NOW + 3600)
    assert budgets.left(ledger, settings(budget_project=15.0), run, NOW + 4000) == pytest.approx(14.0)


def test_parts_count_for_their_run(ledger: Ledger) -> None:
    ledger.add(replace(RUN, parts=2))
    part = rent(ledger, replace(RUN, uid=f"{RUN.uid}.1", parts=2))
    assert budgets.left(ledger, settings(budget_run=12.0), part, NOW) == pytest.approx(2.0)


def test_the_smallest_budget_binds(ledger: Ledger) -> None:
    rent(ledger, RUN)
    other = replace(RUN, uid="b" * 16, project="/q")
    some = settings(budget_project=20.0, budget_user=13.0, budget_run=9.0)
    assert budgets.left(ledger, some, other, NOW) == pytest.approx(3.0)


def test_a_users_budget_is_of_this_month(ledger: Ledger) -> None:
    rent(ledger, RUN, gone=NOW + 7200)
    later = NOW + 40 * 86400
    assert budgets.left(ledger, settings(budget_user=10.0), RUN, NOW + 8000) == pytest.approx(8.0)
    assert budgets.left(ledger, settings(budget_user=10.0), RUN, later) == pytest.approx(10.0)


def test_a_projects_own_budget_goes_before_the_setting(ledger: Ledger) -> None:
    budgets.set_project_limit("/p", 5.0)
    assert budgets.left(ledger, settings(budget_project=100.0), RUN, NOW) == 5.0
    assert budgets.left(ledger, settings(budget_project=100.0), replace(RUN, project="/q"), NOW) == 100.0
    budgets.set_project_limit("/p", None)
    assert budgets.left(ledger, settings(), RUN, NOW) is None


def test_what_is_used_up_is_refused_and_most_of_it_told(ledger: Ledger) -> None:
    rent(ledger, RUN)
    other = replace(RUN, uid="b" * 16)
    with pytest.raises(BadInput, match="the budget is used up"):
        budgets.check(ledger, settings(budget_project=10.0), other, NOW)
    (said,) = budgets.check(ledger, settings(budget_project=12.0), other, NOW)
    assert said == "10.00 of 12.00 USD of the budget of the project /p are spent or promised"
    assert budgets.check(ledger, settings(budget_project=13.0), other, NOW) == []


def test_the_data_of_a_bucket_are_priced_where_the_machines_are(ledger: Ledger) -> None:
    """Its address names no region: what came home from it counts all the same."""
    run = replace(RUN, store="s3://bucket", state=RunState.SUCCEEDED, ended=NOW + 3600, bytes_out=100 * GB)
    ledger.add(run)
    ledger.add(replace(run, uid=f"{run.uid}.1", parts=2))
    here = Machine(f"{run.uid}.1-1", f"{run.uid}.1", 1, "aws", "t", 1.0, MachineState.GONE, NOW, NOW, "i", gone=NOW)
    ledger.add_machine(replace(here, region="eu-central-1"))
    (found,) = budgets.binding(ledger, settings(budget_project=20.0), run, NOW + 4000)
    assert found.used == pytest.approx(9.0, abs=0.1)
    assert not found.unknown


def test_the_data_of_a_run_that_goes_on_are_set_aside_as_foretold(ledger: Ledger) -> None:
    ledger.add(replace(RUN, forecast_data_usd=3.0))
    ended = replace(RUN, uid="b" * 16, forecast_data_usd=3.0, state=RunState.SUCCEEDED, ended=NOW)
    ledger.add(ended)
    assert budgets.left(ledger, settings(budget_project=10.0), RUN, NOW) == 7.0


def test_an_unknown_price_is_told(ledger: Ledger) -> None:
    rent(ledger, RUN, usd=None)
    (found,) = budgets.binding(ledger, settings(budget_project=12.0), RUN, NOW)
    assert found.unknown
    assert "whose price is not known" in found.sentence


def test_budgets_are_no_more_than_infinite() -> None:
    assert math.isinf(settings().budget_run)


def test_what_is_nearly_used_up_is_told_while_a_run_goes_on(ledger: Ledger) -> None:
    run = rent(ledger, RUN)  # 10 USD until its deadline
    clock = [NOW + 3600]
    world = World(ledger, "me", lambda: clock[0], {}, {}, lambda url: None, lambda url: (b"", ""))  # type: ignore[arg-type, return-value]

    def told(**given: float) -> list[str]:
        return budgets.nearly_used(world, settings(**given))(run)

    assert told(budget_project=20.0, budget_run=12.0) == []
    assert told(budget_project=12.0) == ["80% of the budget of the project /p (12.00 USD) are spent or promised"]
    assert told(budget_run=10.0) == [], "of its own, what is spent"
    clock[0] = NOW + 8 * 3600
    assert told(budget_run=10.0) == ["80% of the budget of this run (10.00 USD) are spent"]
    free = rent(ledger, replace(RUN, uid="b" * 16), usd=0.0)
    assert budgets.nearly_used(world, settings(budget_project=1.0))(free) == []
