"""Refusals, interruptions and budgets, through the real tick with a provider that answers as it is told."""

import threading
from contextlib import suppress
from dataclasses import replace

import pytest

from cryoburst.model.documents import Heartbeat
from cryoburst.model.errors import NoCapacity, ProviderUnavailable, QuotaExceeded
from cryoburst.model.job import Wishes
from cryoburst.model.run import Run
from cryoburst.model.states import RunState
from cryoburst.services import budgets

from .split import Split
from .stage import JOB, OFFER, Stage

HERE = [replace(OFFER, region="eu", place=f"eu-{zone}", usd_per_hour=1.0) for zone in "abc"]
THERE = replace(OFFER, region="us", place="us-a", usd_per_hour=2.0)
SPOT = replace(OFFER, region="eu", place="eu-a", usd_per_hour=0.3, spot=True)


def told(stage: Stage) -> list[str]:
    return [event.text for event in stage.world.ledger.events(stage.run.uid)]


def test_a_refusal_goes_to_the_next_offer_at_once_and_the_run_shows_why(stage: Stage) -> None:
    stage.provider.offered = [*HERE, THERE]
    stage.provider.none_of = {
        HERE[0].where: NoCapacity("InsufficientInstanceCapacity"),
        HERE[1].where: QuotaExceeded("VcpuLimitExceeded"),  # of the whole region
    }
    stage.submit()
    run = stage.tick()  # no time has passed
    assert (run.state, run.placed) == (RunState.STARTING, "small")
    assert stage.provider.asked == [HERE[0].where, HERE[1].where, THERE.where]
    assert len(stage.provider.known) == 1
    machine = stage.world.ledger.machines_of(run.uid)[0]
    assert (machine.region, machine.place, machine.usd_per_hour) == ("us", "us-a", 2.0)
    refusals = [text for text in told(stage) if "small in" in text]
    assert "InsufficientInstanceCapacity" in refusals[0]
    assert "VcpuLimitExceeded" in refusals[1]


def test_when_all_refuse_the_run_waits_and_then_asks_all_again(stage: Stage) -> None:
    stage.provider.offered = HERE
    stage.provider.none_of = {offer.where: NoCapacity("none") for offer in HERE}
    stage.submit()
    run = stage.tick()
    assert (run.state, run.reason) == (RunState.WAITING, "no_capacity")
    assert "3 offers were refused" in run.detail
    stage.provider.none_of = {}
    assert stage.tick(later=31).state is RunState.STARTING
    assert stage.provider.asked[-1] == HERE[0].where


@pytest.mark.parametrize("error", [ProviderUnavailable("RequestLimitExceeded"), ProviderUnavailable("Unauthorized")])
def test_what_says_nothing_of_capacity_is_never_read_as_such(stage: Stage, error: Exception) -> None:
    stage.provider.offered = HERE
    stage.provider.none_of = {HERE[0].where: error}
    stage.submit()
    run = stage.tick()
    assert (run.state, run.reason, run.tried) == (RunState.WAITING, "provider_unavailable", "")
    assert stage.provider.asked == [HERE[0].where]
    stage.provider.none_of = {}
    stage.tick(later=31)
    assert stage.provider.asked == [HERE[0].where] * 2  # the same order: its machine may be there


def test_a_lost_answer_never_makes_a_second_machine_elsewhere(stage: Stage) -> None:
    stage.provider.offered = HERE
    stage.provider.lost_replies = 1
    stage.provider.unlisted = True
    stage.submit()
    stage.tick()
    stage.provider.offered = HERE[1:]  # the offer is withdrawn meanwhile: nobody knows what became of the order
    run = stage.tick(later=25, times=1)
    assert (run.state, run.reason) == (RunState.WAITING, "provider_unavailable")
    stage.provider.unlisted = False
    stage.tick(later=31)
    assert len(stage.provider.known) == 1


def test_the_users_cap_on_the_price_goes_with_the_order(stage: Stage) -> None:
    stage.provider.offered = [SPOT, *HERE]
    stage.submit(JOB, Wishes(spot=True, max_price=0.5))
    stage.tick()
    assert stage.provider.caps == [0.5]


def test_a_spot_machine_that_is_taken_back_costs_no_failure_and_two_lead_on_demand(stage: Stage) -> None:
    stage.provider.offered = [SPOT, *HERE]
    stage.submit(JOB, Wishes(spot=True))
    for losses in (1, 2):
        stage.tick()
        assert stage.provider.asked[-1] == SPOT.where
        stage.agent_starts()
        stage.tick()
        stage.write("heartbeat.json", Heartbeat(stage.now, "command", {"out.log": 0}, 0, stage.now, interrupted=True))
        stage.provider.take_back()
        run = stage.tick(times=4)
        assert (run.interruptions, run.failures, run.attempt) == (losses, 0, losses + 1)
    run = stage.tick()
    assert stage.provider.asked[-1] == HERE[0].where
    stage.agent_starts()
    stage.tick()
    stage.agent_ends()
    assert stage.tick().state is RunState.SUCCEEDED
    stage.assert_over(machines=3)


def test_a_budget_is_the_machines_deadline_and_is_told_at_four_fifths(stage: Stage) -> None:
    stage.provider.offered = [replace(HERE[0], usd_per_hour=4.0)]
    stage.submit(JOB, Wishes(budget=8.0))
    run = stage.tick()
    machine = stage.world.ledger.machines_of(run.uid)[0]
    assert machine.power_off_at == pytest.approx(stage.now + 2 * 3600)
    assert stage.spec.deadline + stage.spec.grace == pytest.approx(machine.power_off_at)
    assert stage.spec.deadline < machine.power_off_at
    stage.agent_starts()
    stage.tick(later=1.7 * 3600)
    assert "80% of its budget of 8.00 USD are spent" in told(stage)
    stage.agent_ends("deadline", None)
    run = stage.tick()
    assert (run.state, run.reason) == (RunState.FAILED, "budget")
    stage.assert_over(machines=1)


def test_a_budget_that_is_used_up_rents_nothing_more(stage: Stage) -> None:
    stage.provider.offered = [replace(HERE[0], usd_per_hour=4.0)]
    stage.submit(JOB, Wishes(budget=4.0))
    stage.tick()
    stage.agent_starts()
    stage.tick(later=3500)
    stage.provider.die()
    stage.tick(times=4)
    run = stage.tick(later=31)
    assert (run.state, run.reason) == (RunState.FAILED, "budget")
    assert "USD are left" in run.detail
    assert len(stage.provider.asked) == 1


def test_what_is_left_is_promised_to_one_machine_though_many_are_ordered_at_once(shared: Stage) -> None:
    stage = shared
    stage.provider.offered = [replace(HERE[0], usd_per_hour=4.0)]
    settings = replace(stage.settings, budget_project=8.0)
    both = threading.Barrier(2)  # two that have read what is left before either has said what it takes

    def left(run: Run) -> float | None:
        found = budgets.for_engine(stage.world, settings)(run)
        with suppress(threading.BrokenBarrierError):
            both.wait(0.2)
        return found

    stage.reconciler.close()
    stage.reconciler = stage.new_reconciler(replace(stage.world, budget=left))
    for number in (1, 2, 3):
        folder = stage.project / f"Script/job00{number}"
        folder.mkdir(exist_ok=True)
        (folder / "job.sh").write_text(f"# input in.txt\ncp in.txt Script/job00{number}/out.txt\n")
        stage.submit(f"Script/job00{number}/")
    stage.tick()
    (machine,) = stage.world.ledger.machines()
    assert machine.power_off_at == pytest.approx(stage.now + 2 * 3600)
    runs = stage.world.ledger.runs()
    assert sorted((str(run.state), run.reason) for run in runs) == [("FAILED", "budget")] * 2 + [("STARTING", "")]


def test_a_budget_pays_for_the_data_before_it_pays_for_machines(stage: Stage) -> None:
    stage.provider.offered = [replace(HERE[0], usd_per_hour=4.0)]
    run = stage.submit(JOB, Wishes(budget=8.0))
    stage.world.ledger.change(run, {"forecast_data_usd": 2.0})
    stage.tick()
    (machine,) = stage.world.ledger.machines()
    assert machine.power_off_at == pytest.approx(stage.now + 1.5 * 3600)


def test_what_every_run_may_cost_is_shared_by_its_parts_and_the_join(split: Split) -> None:
    stage = split.stage
    stage.provider.offered = [replace(HERE[0], usd_per_hour=4.0)]
    settings = replace(stage.settings, budget_run=16.0)
    stage.world = replace(stage.world, budget_run=16.0, budget=budgets.for_engine(stage.world, settings))
    stage.reconciler.close()
    stage.reconciler = stage.new_reconciler(stage.world)
    split.submit()
    split.all_run()  # no part waits for what another has taken
    machines = stage.world.ledger.machines()
    assert [machine.power_off_at for machine in machines] == [pytest.approx(stage.now + 3600)] * 3


def test_a_price_that_nobody_knows_meets_no_budget(stage: Stage) -> None:
    stage.provider.offered = [replace(HERE[0], usd_per_hour=None)]
    stage.submit(JOB, Wishes(budget=4.0))
    run = stage.tick()
    assert (run.state, run.reason) == (RunState.FAILED, "budget")
    assert not stage.provider.asked


def test_a_machine_that_is_found_again_has_its_price_and_its_end(stage: Stage) -> None:
    disk = replace(HERE[0], rented_disk_bytes=100 << 30, disk_usd_gb_month=0.1)
    dear = replace(HERE[1], usd_per_hour=3.0)
    stage.provider.offered = [disk, dear, SPOT, replace(THERE, usd_per_hour=9.0)]
    run = stage.to(RunState.RUNNING)
    before = stage.world.ledger.machines_of(run.uid)[0]
    (seen,) = stage.provider.known.values()
    named = replace(seen, offer=disk.name, region=disk.region, place=disk.place)
    for place, usd in ((disk.place, 1.0), ("another name of a zone", 3.0)):
        stage.provider.known = {seen.token: replace(named, place=place)}
        for table in ("machines", "runs", "recovered"):
            stage.world.ledger.connection.change(f"DELETE FROM {table}")
        stage.recover()
        (found,) = stage.world.ledger.machines_of(run.uid)
        assert (found.offer, found.usd_per_hour, found.power_off_at) == (disk.name, usd, before.power_off_at)
        if usd == 1.0:
            assert (found.disk_bytes, found.disk_usd_gb_month) == (100 << 30, 0.1)


def test_the_console_of_a_machine_whose_agent_never_starts_is_kept(stage: Stage) -> None:
    stage.provider.printed = "cloud-init: booting\ncurl: could not resolve host\n"
    run = stage.to(RunState.STARTING)
    prefix = run.prefix
    stage.tick(later=601)
    assert stage.inside.get(prefix + "console.txt") == stage.provider.printed.encode()
    assert any("could not resolve host" in text for text in told(stage))
