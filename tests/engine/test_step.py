"""The decisions as a table: row + observation -> decision. No clock, no I/O."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryoburst.engine.step import IDLE, Decision, Effect, Limits, MachineDecision, Seen, after_loss, reap, retry, step
from cryoburst.model.documents import Exit, Heartbeat
from cryoburst.model.plugins import MachineSeen
from cryoburst.model.reasons import REASONS
from cryoburst.model.run import Machine, Run
from cryoburst.model.states import RUN_TRANSITIONS, MachineState, RunState, check_run

NOW = 1_000_000.0
LIMITS = Limits(retry_delays=(30.0, 300.0), boot=600.0, lost=60.0, abort=120.0, settle=30.0)
RUN = Run(
    number=1, uid="u", owner="me", project="/p", job="Class2D/job001/", target="Class2D/job001", kind="k",
    package="relion", script="",
    store="s", provider="local", machine="", max_price=None, parts=1, submitted=NOW - 100,
)  # fmt: skip
MACHINE = Machine("u-1", "u", 1, "local", "this", 0.0, MachineState.BOOTING, NOW - 50, NOW + 1000)
ALIVE = MachineSeen("m", "u-1", "me", "u", 1, alive=True, created=NOW - 50)
DEAD = replace(ALIVE, alive=False, note="powered off")
EXIT = Exit(NOW, "finished", 0, "", 1.0, {})
BEAT = Heartbeat(NOW - 1, "command", {}, 0, NOW - 10)


def run_in(state: RunState, **changes: object) -> Run:
    return replace(RUN, state=state, **changes)  # type: ignore[arg-type]


def seen(**changes: object) -> Seen:
    return replace(Seen(now=NOW, store_known=True, listed=NOW), **changes)  # type: ignore[arg-type]


S = RunState
CASES: list[tuple[str, Run, Machine | None, Seen, RunState | Effect | None]] = [
    ("a draft is requested", run_in(S.DRAFT), None, seen(), Effect.REQUEST),
    ("inputs go", run_in(S.STAGING_IN), None, seen(spec=False), Effect.STAGE_IN),
    ("unknown spec is not a spec", run_in(S.STAGING_IN), None, seen(spec=None), Effect.STAGE_IN),
    ("spec written: placing", run_in(S.STAGING_IN), None, seen(spec=True), S.PLACING),
    ("placing asks", run_in(S.PLACING), None, seen(), Effect.CREATE),
    ("asks again with the same token", run_in(S.PLACING), replace(MACHINE, state=MachineState.REQUESTED), seen(),
     Effect.CREATE),
    ("placed", run_in(S.PLACING), MACHINE, seen(), S.STARTING),
    ("starting waits", run_in(S.STARTING), MACHINE, seen(machine_known=True, machine=ALIVE), None),
    ("started", run_in(S.STARTING), MACHINE, seen(started=NOW - 1), S.RUNNING),
    ("started and ended between two ticks", run_in(S.STARTING), MACHINE, seen(exit=EXIT), S.STAGING_OUT),
    ("died before it started", run_in(S.STARTING), MACHINE, seen(machine_known=True, machine=DEAD), S.WAITING),
    ("listing failed: nothing", run_in(S.STARTING), MACHINE, seen(machine_known=False), None),
    ("not listed yet: nothing", run_in(S.STARTING), replace(MACHINE, requested=NOW - 5),
     seen(machine_known=True), None),
    ("not listed any more", run_in(S.STARTING), MACHINE, seen(machine_known=True), S.WAITING),
    ("never started", run_in(S.STARTING), replace(MACHINE, requested=NOW - 700),
     seen(machine_known=True, machine=ALIVE), S.WAITING),
    ("news come home", run_in(S.RUNNING), MACHINE, seen(heartbeat=BEAT, news=True), Effect.SYNC),
    ("no news", run_in(S.RUNNING), MACHINE, seen(heartbeat=BEAT, machine_known=True, machine=ALIVE), None),
    ("ended", run_in(S.RUNNING), MACHINE, seen(heartbeat=BEAT, exit=EXIT, news=True), S.STAGING_OUT),
    ("died: first its last news", run_in(S.RUNNING), MACHINE,
     seen(heartbeat=BEAT, news=True, machine_known=True, machine=DEAD), Effect.SYNC),
    ("died", run_in(S.RUNNING), MACHINE, seen(machine_known=True, machine=DEAD), Effect.SALVAGE),
    ("provider silent: nothing is failed", run_in(S.RUNNING, failures=2, observed=NOW), MACHINE, seen(), None),
    ("stop is written", run_in(S.RUNNING, stop_wanted="me"), MACHINE, seen(stop_written=False), Effect.STOP),
    ("stop is waited for", run_in(S.RUNNING, stop_wanted="me", stop_since=NOW - 5), MACHINE,
     seen(stop_written=True, heartbeat=BEAT), None),
    ("stop is overdue", run_in(S.RUNNING, stop_wanted="me", stop_since=NOW - 500), MACHINE,
     seen(stop_written=True, heartbeat=BEAT), Effect.SALVAGE),
    ("died while stopping", run_in(S.RUNNING, stop_wanted="me", stop_since=NOW), MACHINE,
     seen(stop_written=True, machine_known=True, machine=DEAD), Effect.SALVAGE),
    ("outputs come home", run_in(S.STAGING_OUT), MACHINE, seen(), Effect.FETCH),
    ("outputs come home though it shall stop", run_in(S.STAGING_OUT, stop_wanted="me"), MACHINE, seen(), Effect.FETCH),
    ("waits", run_in(S.WAITING, retry_at=NOW + 1), None, seen(spec=False), None),
    ("waited: stage again", run_in(S.WAITING, retry_at=NOW - 1), None, seen(spec=False), S.STAGING_IN),
    ("waited: place again", run_in(S.WAITING, retry_at=NOW - 1), None, seen(spec=True), S.PLACING),
]  # fmt: skip


@pytest.mark.parametrize(("run", "machine", "saw", "wanted"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_step(run: Run, machine: Machine | None, saw: Seen, wanted: RunState | Effect | None) -> None:
    decision = step(run, machine, saw, LIMITS)
    if wanted is None:
        assert decision.idle
    elif isinstance(wanted, Effect):
        assert decision == Decision(wanted)
    else:
        assert (decision.state, decision.effect) == (wanted, Effect.NOTHING)
        check_run(run.state, wanted)


@pytest.mark.parametrize("state", [S.DRAFT, S.STAGING_IN, S.PLACING, S.STARTING, S.WAITING])
def test_a_stop_before_the_command_ends_the_run_at_once(state: RunState) -> None:
    decision = step(run_in(state, stop_wanted="me", retry_at=NOW + 99), None, seen(), LIMITS)
    assert (decision.state, decision.reason) == (S.STOPPED, "aborted")


@pytest.mark.parametrize("state", [s for s in RunState if s.final])
def test_nothing_happens_to_a_run_that_has_ended(state: RunState) -> None:
    assert step(run_in(state, stop_wanted="me"), MACHINE, seen(exit=EXIT, machine_known=True), LIMITS) is IDLE


def test_silence_is_flagged_and_unflagged_and_is_not_death() -> None:
    known = {"heartbeat": BEAT, "machine_known": True, "machine": ALIVE}
    lost = step(run_in(S.RUNNING), MACHINE, seen(**known, heard=NOW - 100), LIMITS)
    assert lost == Decision(changes={"lost_since": NOW})
    found = step(run_in(S.RUNNING, lost_since=NOW - 9), MACHINE, seen(heartbeat=BEAT, heard=NOW), LIMITS)
    assert found == Decision(changes={"lost_since": 0.0})


@pytest.mark.parametrize(
    ("failures", "stop", "further", "state", "counted"),
    [
        (0, "", False, S.WAITING, 1),
        (1, "", False, S.WAITING, 2),
        (2, "", False, S.FAILED, None),  # once too often
        (2, "", True, S.WAITING, 1),  # it was not in vain: no failure came before
        (0, "me", True, S.STOPPED, None),
    ],
)
def test_after_a_machine_was_lost(
    failures: int, stop: str, further: bool, state: RunState, counted: int | None
) -> None:
    run = run_in(S.RUNNING, failures=failures, stop_wanted=stop)
    decision = after_loss(run, seen(machine_known=True, machine=DEAD), LIMITS, further=further)
    assert (decision.state, decision.changes.get("failures")) == (state, counted)
    check_run(S.RUNNING, state)


FULL = replace(BEAT, full=True)


@pytest.mark.parametrize(
    ("run", "beat", "wanted"),
    [
        ({}, FULL, {"reason": "store_full", "detail": "the machine waits with its outputs"}),
        ({"reason": "store_full"}, FULL, {}),
        ({"reason": "store_full"}, BEAT, {"reason": "", "detail": ""}),
        ({"reason": "home_full"}, BEAT, {}),  # home's own business
        ({"reason": "store_full", "lost_since": NOW - 9}, BEAT, {"lost_since": 0.0, "reason": "", "detail": ""}),
    ],
)
def test_a_machine_that_waits_for_room_in_the_store(
    run: dict[str, object], beat: Heartbeat, wanted: dict[str, object]
) -> None:
    decision = step(run_in(S.RUNNING, **run), MACHINE, seen(heartbeat=beat, machine_known=True, machine=ALIVE), LIMITS)
    assert (decision.state, decision.effect, decision.changes) == (None, Effect.NOTHING, wanted)


def test_a_silent_machine_makes_home_ask_whether_the_store_takes_anything() -> None:
    saw = seen(heartbeat=BEAT, heard=NOW - 100, machine_known=True, machine=ALIVE)
    assert step(run_in(S.RUNNING, lost_since=NOW - 9), MACHINE, saw, LIMITS) == Decision(Effect.ASK)
    assert step(run_in(S.RUNNING, lost_since=NOW - 9), MACHINE, replace(saw, store_known=False), LIMITS).idle


@pytest.mark.parametrize("wrong", [-86_400.0, 86_400.0])
def test_a_machine_whose_clock_is_wrong_by_a_day_is_not_lost(wrong: float) -> None:
    beat = replace(BEAT, time=NOW + wrong)
    known = seen(heartbeat=beat, heard=NOW - 1, machine_known=True, machine=ALIVE)
    assert step(run_in(S.RUNNING), MACHINE, known, LIMITS) == Decision()


def test_a_new_attempt_has_its_own_number_and_waits_longer_each_time() -> None:
    first = retry(run_in(S.RUNNING), "machine_died", "", NOW, LIMITS)
    assert (first.changes["attempt"], first.changes["retry_at"]) == (2, NOW + 30)
    second = retry(run_in(S.RUNNING, attempt=2, failures=1), "machine_died", "", NOW, LIMITS)
    assert (second.changes["attempt"], second.changes["retry_at"]) == (3, NOW + 300)


@pytest.mark.parametrize("code", [c for c, r in REASONS.items() if not r.retry])
def test_what_can_not_get_better_is_not_tried_again(code: str) -> None:
    assert retry(run_in(S.PLACING), code, "", NOW, LIMITS).state is S.FAILED


MACHINE_CASES: list[tuple[str, Machine, Run | None, MachineSeen | None, bool, MachineDecision]] = [
    ("its run needs it", MACHINE, run_in(S.RUNNING), ALIVE, True, MachineDecision()),
    ("its run has its outputs", MACHINE, run_in(S.STAGING_OUT), ALIVE, True,
     MachineDecision(state=MachineState.DELETING)),
    ("its run was rebuilt while it boots", MACHINE, run_in(S.STAGING_IN), ALIVE, True, MachineDecision()),
    ("its run ended", MACHINE, run_in(S.STOPPED), ALIVE, True, MachineDecision(state=MachineState.DELETING)),
    ("its attempt is over", MACHINE, run_in(S.WAITING, attempt=2), ALIVE, True,
     MachineDecision(state=MachineState.DELETING)),
    ("nobody knows its run", MACHINE, None, ALIVE, True, MachineDecision(state=MachineState.DELETING)),
    ("its order's reply was lost", replace(MACHINE, state=MachineState.REQUESTED), run_in(S.PLACING), ALIVE, True,
     MachineDecision(state=MachineState.BOOTING)),
    ("ordered and not listed yet", replace(MACHINE, state=MachineState.REQUESTED), run_in(S.PLACING), None, True,
     MachineDecision()),
    ("its end is asked for again", replace(MACHINE, state=MachineState.DELETING), None, DEAD, True,
     MachineDecision(delete=True)),
    ("unknown is not gone", replace(MACHINE, state=MachineState.DELETING), None, None, False,
     MachineDecision(delete=True)),
    ("gone only when the provider says so", replace(MACHINE, state=MachineState.DELETING), None, None, True,
     MachineDecision(state=MachineState.GONE)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("machine", "run", "listed", "known", "wanted"), [c[1:] for c in MACHINE_CASES], ids=[c[0] for c in MACHINE_CASES]
)
def test_reap(
    machine: Machine, run: Run | None, listed: MachineSeen | None, known: bool, wanted: MachineDecision
) -> None:
    assert reap(machine, run, listed, known) == wanted


@given(
    state=st.sampled_from(RunState),
    failures=st.integers(0, 4),
    stop=st.sampled_from(["", "me"]),
    retry_at=st.sampled_from([0.0, NOW + 10]),
    saw=st.builds(
        Seen,
        now=st.just(NOW),
        spec=st.sampled_from([None, True, False]),
        started=st.sampled_from([None, NOW - 1]),
        heartbeat=st.sampled_from([None, BEAT, replace(BEAT, time=NOW - 999)]),
        exit=st.sampled_from([None, EXIT]),
        stop_written=st.sampled_from([None, True, False]),
        machine=st.sampled_from([None, ALIVE, DEAD]),
        store_known=st.booleans(),
        listed=st.just(NOW),
        machine_known=st.booleans(),
        news=st.booleans(),
    ),
    machine=st.sampled_from([None, MACHINE, replace(MACHINE, state=MachineState.REQUESTED)]),
)
def test_every_decision_is_legal_and_unknown_never_ends_a_run(
    state: RunState, failures: int, stop: str, retry_at: float, saw: Seen, machine: Machine | None
) -> None:
    run = run_in(state, failures=failures, stop_wanted=stop, retry_at=retry_at, stop_since=NOW)
    decision = step(run, machine, saw, LIMITS)
    if decision.state is not None:
        check_run(state, decision.state)
        assert decision.effect is Effect.NOTHING
        if not saw.machine_known and not stop and decision.state is S.FAILED:
            assert decision.reason == "never_started"
        if not saw.store_known and not saw.exit and not stop and state in (S.STARTING, S.RUNNING):
            assert decision.state in (None, S.RUNNING)
    if decision.effect is Effect.CREATE:
        assert state is S.PLACING


def test_each_transition_is_listed_once_and_says_why() -> None:
    pairs = [(t.before, t.after) for t in RUN_TRANSITIONS]
    assert len(pairs) == len(set(pairs))
    assert all(t.why and not t.before.final for t in RUN_TRANSITIONS)
