"""Faults of the provider and of machines: refusals, lost answers, late listings, machines that die or do not."""

import threading

import pytest

from cryoburst.model.documents import Exit, Manifest
from cryoburst.model.errors import BadCredentials, NoCapacity, ProviderUnavailable, QuotaExceeded
from cryoburst.model.plugins import MachineRequest, MachineSeen
from cryoburst.model.reasons import REASONS
from cryoburst.model.states import RunState
from cryoburst.services.runs import try_now

from .stage import JOB, Stage

S = RunState


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NoCapacity("none free"), "no_capacity"),
        (QuotaExceeded("too many"), "quota"),
        (ProviderUnavailable("?"), "provider_unavailable"),
    ],
)
def test_a_refusal_is_told_and_tried_again(stage: Stage, error: Exception, reason: str) -> None:
    stage.provider.refusals = [error]
    stage.submit()
    run = stage.tick()
    assert (run.state, run.reason, run.attempt) == (S.WAITING, reason, 1)
    assert stage.tick(29).state is S.WAITING
    assert stage.tick(2).state is S.STARTING
    assert list(stage.provider.calls.values()) == [2]
    stage.agent_ends()
    assert stage.tick().state is S.SUCCEEDED
    stage.assert_over(1)


@pytest.mark.parametrize("error", [NoCapacity("none"), QuotaExceeded("many"), ProviderUnavailable("?")])
def test_a_refusal_for_good_ends_the_run_with_reason_advice_and_marker(stage: Stage, error: Exception) -> None:
    stage.provider.refusals = [error] * 9
    stage.submit()
    for delay in (0, 31, 301, 1201):
        run = stage.tick(delay)
    assert run.state is S.FAILED
    assert REASONS[run.reason].advice in (stage.folder / "FAILED").read_text()
    stage.tick(60)  # a machine whose order was refused could still be listed for a while
    stage.assert_over(1)


def test_a_login_that_has_ended_loses_nothing(stage: Stage) -> None:
    stage.provider.refusals = [BadCredentials("no such key")] * 5
    stage.submit()
    run = stage.tick()
    assert (run.state, run.reason) == (S.WAITING, "credentials")
    assert "no such key" in run.detail
    stage.provider.refusals = []
    assert try_now(stage.world.ledger, stage.now)  # as cryoburst resume does
    assert stage.tick().state is S.STARTING


@pytest.mark.parametrize("listed", [False, True])
def test_an_answer_that_takes_longer_than_listings_to_settle_is_no_dead_machine(stage: Stage, listed: bool) -> None:
    """A listing that was begun while the order was under way does not show its machine, or shows it before the order is
    answered: nothing follows from that."""
    order, under_way, go = stage.provider.create, threading.Event(), threading.Event()

    def slow(request: MachineRequest) -> MachineSeen:
        early = order(request) if listed else None
        under_way.set()
        assert go.wait(60)
        return early or order(request)

    stage.provider.create = slow  # type: ignore[method-assign]
    stage.submit()
    while not under_way.wait(0.05):
        stage.reconciler.tick()
    stage.now += stage.limits.settle + 10
    stage.reconciler.tick()
    go.set()
    run = stage.tick()
    assert (run.state, run.attempt) == (S.STARTING, 1)
    stage.provider.unlisted = True  # it is missing from now on
    assert stage.tick(stage.limits.settle - 1).state is S.STARTING
    assert stage.tick(2).state is S.WAITING


def test_lost_answer_to_an_order_leaves_one_machine(stage: Stage) -> None:
    stage.provider.lost_replies = 1
    stage.submit()
    assert stage.tick().state in (S.WAITING, S.STARTING)
    assert stage.tick(31).state is S.STARTING
    assert len(stage.provider.known) == 1
    stage.agent_ends()
    assert stage.tick().state is S.SUCCEEDED
    stage.assert_over(1)


@pytest.mark.parametrize("listed", [True, False])
def test_a_machine_whose_order_got_no_answer_is_paid_for_from_its_making(stage: Stage, listed: bool) -> None:
    stage.provider.lost_replies, stage.provider.unlisted = 2, True
    stage.submit()
    stage.tick()
    made = stage.now
    stage.tick(31)  # the order is repeated, and its answer lost again
    stage.provider.unlisted = False
    if not listed:
        stage.provider.blind = True  # then the third order is answered
    stage.tick(301)
    stage.provider.blind = False
    assert stage.tick().state is S.STARTING
    (machine,) = stage.world.ledger.machines()
    assert (machine.requested, machine.provider_id) == (made, f"id-{machine.token}")


def test_stop_after_a_lost_answer_with_a_late_listing_leaves_no_machine(stage: Stage) -> None:
    stage.provider.lost_replies, stage.provider.unlisted = 1, True
    stage.submit()
    stage.tick()
    stage.world.ledger.want_stop(stage.run, "me", stage.now)
    assert stage.tick().state is S.STOPPED
    assert stage.reconciler.tick(finish=True) > 0  # the order may have been taken: it is looked for
    stage.provider.unlisted = False
    stage.tick(10)
    stage.assert_over(1)


def test_a_slow_order_is_not_a_dead_machine(stage: Stage) -> None:
    def slow() -> None:
        stage.now += 100

    stage.provider.on_create = slow  # longer than a new machine may be missing from a listing
    stage.submit()
    run = stage.tick(times=1)
    assert (run.state, run.attempt) == (S.STARTING, 1)


def test_dead_machines_are_replaced_until_the_retries_are_used_up(stage: Stage) -> None:
    stage.to(S.RUNNING)
    for attempt, delay in ((2, 31), (3, 301), (4, 1201)):
        stage.provider.die()
        run = stage.tick()
        assert (run.state, run.reason, run.attempt) == (S.WAITING, "machine_died", attempt)
        assert stage.tick(delay).state is S.STARTING
        stage.agent_starts()
        assert stage.tick().state is S.RUNNING
        assert len(stage.provider.known) == 1
    stage.provider.die()
    run = stage.tick()
    assert (run.state, run.reason) == (S.FAILED, "machine_died")
    assert REASONS["machine_died"].sentence in (stage.folder / "FAILED").read_text()
    stage.tick()
    stage.assert_over(4)


def test_what_a_dead_machine_had_sent_is_home_before_the_next_begins(stage: Stage) -> None:
    stage.to(S.RUNNING)
    stage.output("half.txt", b"work of hours", batch=1)
    stage.beat(batches=1)
    stage.provider.die()
    assert stage.tick().state is S.WAITING
    assert (stage.folder / "half.txt").read_bytes() == b"work of hours"


def test_a_machine_whose_agent_never_starts_is_replaced(stage: Stage) -> None:
    stage.to(S.STARTING)
    assert stage.tick(599).state is S.STARTING
    run = stage.tick(2)
    assert (run.state, run.reason, run.attempt) == (S.WAITING, "never_started", 2)
    stage.tick()
    assert not stage.provider.known


@pytest.mark.parametrize("state", [S.STARTING, S.RUNNING])
def test_a_listing_that_can_not_be_read_ends_nothing(stage: Stage, state: RunState) -> None:
    stage.to(state)
    stage.provider.blind = True
    assert stage.tick(500).state is state
    stage.provider.blind = False
    stage.agent_ends()
    assert stage.tick().state is S.SUCCEEDED
    stage.tick()
    stage.assert_over(1)


def test_a_machine_that_does_not_end_is_asked_again_for_ever_and_is_visible(stage: Stage) -> None:
    stage.provider.stubborn = True
    stage.to(S.STAGING_OUT)
    assert stage.tick().state is S.SUCCEEDED
    for _ in range(20):
        stage.tick(6)
    assert stage.states == ["DELETING"]
    assert stage.provider.deletes >= 20
    assert "it does not end" in stage.world.ledger.machines()[0].note
    stage.provider.stubborn = False
    stage.tick(6)
    stage.assert_over(1)


def test_the_walltime_begins_when_the_machine_is_asked_for(stage: Stage) -> None:
    stage.provider.refusals = [NoCapacity("none")]
    stage.submit()
    stage.tick()
    assert stage.tick(30 * 3600).state is S.STARTING  # the laptop slept meanwhile
    assert stage.spec.deadline == stage.now + stage.terms.walltime
    assert stage.world.ledger.machines()[0].power_off_at == stage.spec.deadline + stage.spec.grace


def test_machine_of_an_unknown_run_is_ended_but_not_while_the_store_can_not_be_read(stage: Stage) -> None:
    stage.to(S.RUNNING)
    other = stage.new_world()
    for table in ("runs", "machines", "recovered"):
        other.ledger.connection.change(f"DELETE FROM {table}")
    other.ledger.connection.close()
    stage.gate.shut = True
    for _ in range(3):
        stage.now += 10
        stage.reconciler.tick(finish=True)
        stage.recover()
    assert len(stage.provider.known) == 1
    assert stage.provider.deletes == 0
    stage.gate.shut = False
    assert stage.tick(10).state is S.RUNNING
    stage.agent_ends()
    assert stage.tick().state is S.SUCCEEDED
    stage.tick()
    assert not stage.provider.known
    assert list(stage.provider.calls.values()) == [1]


def test_what_was_half_written_is_told_apart_from_what_lies_outside_the_job_folder(stage: Stage) -> None:
    stage.to(RunState.RUNNING)
    stage.write("manifest.json", Manifest([], ["~/cache.bin", f"{JOB}a.bin (may be half-written)"]))
    stage.write("exit.json", Exit(stage.now, "killed", None, "the agent was killed", 1.0, {"out.log": 0}))
    assert stage.tick().reason == "agent_killed"
    events = [event.text for event in stage.world.ledger.events(stage.run.uid)]
    assert f"left on the machine, perhaps half-written: {JOB}a.bin" in events
    assert "the job wrote outside its folder, left on the machine: ~/cache.bin" in events


def test_inputs_that_came_late_to_the_machine_are_noted_with_the_run(stage: Stage) -> None:
    stage.to(S.RUNNING)
    stage.agent_ends()
    stage.write("exit.json", Exit(stage.now, "finished", 0, "it ended", 1.0, {"out.log": 0}, late_bytes=3))
    run = stage.tick()
    assert (run.state, run.late_bytes) == (S.SUCCEEDED, 3)
