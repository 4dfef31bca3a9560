"""The decisions, pure: what a run or a machine does next, from its row and what was observed. No clock, no I/O.

Unknown is never gone and never failed: an observation that could not be made is ``None`` and decides nothing.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from cryoburst.engine.split import failed, stop_reason, totals
from cryoburst.model.documents import Exit, Heartbeat
from cryoburst.model.patience import Limits
from cryoburst.model.plugins import MachineSeen
from cryoburst.model.reasons import REASONS
from cryoburst.model.run import Machine, Run
from cryoburst.model.states import MachineState, RunState


class Effect(StrEnum):
    """The one thing to do now. Every effect is safe to repeat."""

    NOTHING = "nothing"
    REQUEST = "request"  # write the request to the store
    SPLIT = "split"  # write the rows of the parts
    HALT = "halt"  # want the end of all parts
    COUNT = "count"  # see how far the program is; of a split run add up what the parts did, and tell it
    STAGE_IN = "stage_in"  # send inputs, then the spec
    CREATE = "create"  # ask the provider for the machine (same token, same machine)
    SYNC = "sync"  # bring new log lines and whole outputs home
    STOP = "stop"  # write stop.json
    FETCH = "fetch"  # bring all outputs home, verify, mark
    ASK = "ask"  # see whether the store takes anything: a machine that is well is silent
    SALVAGE = "salvage"  # the machine is lost: bring home what it left, then try again or end


@dataclass(frozen=True)
class Seen:
    """What was observed of one run in this tick.

    ``machine_known`` is False when the provider's listing failed; then ``machine`` says nothing. ``store_known`` is
    False when the store could not be read; then a missing document says nothing.
    """

    now: float
    store_known: bool = False
    spec: bool | None = None
    started: float | None = None
    heartbeat: Heartbeat | None = None
    heard: float | None = None  # when the heartbeat was last found to be new, by our clock: the machine's may be wrong
    exit: Exit | None = None
    stop_written: bool | None = None
    machine: MachineSeen | None = None
    machine_known: bool = False
    listed: float = 0.0  # when the provider's listing was begun
    news: bool = False  # the heartbeat counts more than home has
    silence: float = 0.0  # s that a machine which is well may be silent
    parts: tuple[Run, ...] | None = None  # of a run that is split
    turn: bool = True  # of a part: its inputs may be sent now


@dataclass(frozen=True)
class Decision:
    """What to do with a run: an effect, or a change of its row (never both: truth first, then the row)."""

    effect: Effect = Effect.NOTHING
    state: RunState | None = None
    reason: str = ""
    detail: str = ""
    changes: dict[str, object] = field(default_factory=dict[str, object])

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return self.effect is Effect.NOTHING and self.state is None and not self.changes


IDLE = Decision()


def step(run: Run, machine: Machine | None, seen: Seen, limits: Limits) -> Decision:
    """The next decision for a run.

    Parameters
    ----------
    run
        Its row.
    machine
        The machine of this attempt, if one was asked for.
    seen
        What was observed; fields that could not be read are None.
    limits
        Patience.
    """
    if run.state.final:
        return IDLE
    if run.stop_wanted and run.state in _STOPPED_AT_ONCE:
        return _stopped(run)
    if seen.now < run.retry_at and run.state is not RunState.RUNNING:
        return IDLE
    match run.state:
        case RunState.DRAFT:
            return Decision(Effect.REQUEST)
        case RunState.SPLIT:
            return _split(run, seen)
        case RunState.STAGING_IN:
            if seen.spec:
                return Decision(state=RunState.PLACING)
            return Decision(Effect.STAGE_IN) if seen.turn else IDLE
        case RunState.PLACING:
            placed = machine is not None and machine.state in (MachineState.BOOTING, MachineState.UP)
            return Decision(state=RunState.STARTING) if placed else Decision(Effect.CREATE)
        case RunState.WAITING:
            return Decision(state=RunState.PLACING if seen.spec else RunState.STAGING_IN)
        case RunState.STARTING:
            return _starting(run, machine, seen, limits)
        case RunState.RUNNING:
            return _running(run, machine, seen, limits)
        case RunState.STAGING_OUT:
            return Decision(Effect.FETCH)
        case _:
            return IDLE


_STOPPED_AT_ONCE = (RunState.DRAFT, RunState.STAGING_IN, RunState.PLACING, RunState.WAITING, RunState.STARTING)


def _split(run: Run, seen: Seen) -> Decision:
    """The parts are at work; are all there, did one fail, have all ended?"""
    if seen.parts is None:
        return IDLE
    if len(seen.parts) < run.parts and not run.stop_wanted:
        return Decision(Effect.SPLIT)
    broken = failed(seen.parts)
    stopped = any(part.state is RunState.STOPPED for part in seen.parts)
    ending = bool(run.stop_wanted) or broken is not None or stopped
    left = [part for part in seen.parts if not part.state.final]
    if ending and any(not part.stop_wanted for part in left):
        return Decision(Effect.HALT)
    if left:
        new = any(getattr(run, name) != value for name, value in totals(run, seen.parts).items())
        return Decision(Effect.COUNT) if new and seen.now - (run.observed or 0.0) >= COUNT_AGAIN else IDLE
    if run.stop_wanted or (stopped and broken is None):
        return _stopped(run)
    if broken is not None:
        detail = f"{broken.title}: {broken.detail}"
        return Decision(state=RunState.FAILED, reason=broken.reason, detail=detail)
    return Decision(state=RunState.STAGING_IN)


def _stopped(run: Run) -> Decision:
    return Decision(state=RunState.STOPPED, reason=stop_reason(run), detail=run.stop_wanted)


COUNT_AGAIN = 1.0  # s between two counts of what was done


def _starting(run: Run, machine: Machine | None, seen: Seen, limits: Limits) -> Decision:
    """A machine exists; has its agent begun, died, or never started?"""
    if seen.exit is not None:
        return Decision(state=RunState.STAGING_OUT)
    if seen.started is not None:
        return Decision(state=RunState.RUNNING, changes={"started": seen.started, "observed": seen.now})
    if _dead(machine, seen, limits):
        return retry(run, _loss(seen), _note(seen), seen.now, limits)
    if machine is not None and seen.store_known and seen.now - machine.requested > limits.boot:
        return retry(run, "never_started", f"no sign of it for {limits.boot:.0f} s", seen.now, limits)
    return IDLE


def _running(run: Run, machine: Machine | None, seen: Seen, limits: Limits) -> Decision:
    """The agent has begun; did it end, die or fall silent, and is there news to bring home?"""
    if seen.exit is not None:
        return Decision(state=RunState.STAGING_OUT)
    if run.stop_wanted and seen.stop_written is False:
        return Decision(Effect.STOP)
    if seen.news:
        return Decision(Effect.SYNC)
    overdue = run.stop_wanted and seen.now - run.stop_since > limits.abort
    if overdue or _dead(machine, seen, limits):
        return Decision(Effect.SALVAGE)
    heard = seen.heard or run.observed or run.started or seen.now
    silent = seen.now - heard > max(limits.lost, 3 * seen.silence)
    if silent and not run.lost_since:
        return Decision(changes={"lost_since": seen.now})
    if silent and seen.store_known:
        return Decision(Effect.ASK)
    full = seen.heartbeat is not None and seen.heartbeat.full
    told: dict[str, object] = {"lost_since": 0.0} if run.lost_since and not silent else {}
    if full and run.reason != "store_full":
        told |= {"reason": "store_full", "detail": "the machine waits with its outputs"}
    if not full and not silent and run.reason == "store_full":
        told |= {"reason": "", "detail": ""}
    return Decision(changes=told) if told else IDLE


def after_loss(run: Run, seen: Seen, limits: Limits, *, further: bool) -> Decision:
    """What follows when all that a lost machine left is home: another attempt, or the end.

    ``further`` says that the next attempt goes on from a later point than this one did: then no failure came before.
    """
    if run.stop_wanted:
        return _stopped(run)
    return retry(replace(run, failures=0) if further else run, _loss(seen), _note(seen), seen.now, limits)


def _dead(machine: Machine | None, seen: Seen, limits: Limits) -> bool:
    """Whether the provider says that the machine no longer runs. A failed listing says nothing.

    Nor does a machine that ended while the store can't be read: its exit record may be there.
    """
    if not (seen.machine_known and seen.store_known):
        return False
    if seen.machine is not None:
        return not seen.machine.alive
    if machine is None:
        return True
    # An answer may take longer than listings do to settle, and those that were begun meanwhile can't show it.
    return seen.listed - (machine.answered or machine.requested) > limits.settle


def _loss(seen: Seen) -> str:
    """Why the machine is no more: the provider took it back, or it died."""
    told = seen.heartbeat is not None and seen.heartbeat.interrupted
    return "interrupted" if told or (seen.machine is not None and seen.machine.interrupted) else "machine_died"


def _note(seen: Seen) -> str:
    return seen.machine.note if seen.machine else "the provider no longer lists it"


def retry(run: Run, reason: str, detail: str, now: float, limits: Limits, *, new_attempt: bool = True) -> Decision:
    """Wait and try again while the reason allows it and delays are left, else end as failed.

    A fault of the machine makes a new attempt with its own prefix; a fault before there was one keeps the attempt. A
    machine that was taken back is nobody's failure: the run goes on at once, as often as that happens.
    """
    if run.stop_wanted:
        return _stopped(run)
    if reason == "interrupted":
        changes: dict[str, object] = {"interruptions": run.interruptions + 1, "retry_at": now}
    elif not REASONS[reason].retry or run.failures >= len(limits.retry_delays):
        return Decision(state=RunState.FAILED, reason=reason, detail=detail)
    else:
        changes = {"failures": run.failures + 1, "retry_at": now + limits.retry_delays[run.failures]}
    changes["lost_since"] = 0.0
    if new_attempt:
        changes |= {"attempt": run.attempt + 1, "batches_home": 0, "started": None, "tried": ""}
        if run.parts == 1 or run.part:  # what a split run did, its parts did
            changes["command_started"] = None
    return Decision(state=RunState.WAITING, reason=reason, detail=detail, changes=changes)


@dataclass(frozen=True)
class MachineDecision:
    """What to do with a machine: move its row, and whether to ask the provider for its end now."""

    state: MachineState | None = None
    delete: bool = False


def reap(
    machine: Machine, run: Run | None, seen: MachineSeen | None, known: bool, settled: bool = True
) -> MachineDecision:
    """The next decision for a machine: it ends when its run no longer needs it, and is gone only when listed no more.

    Parameters
    ----------
    run
        Its run; None when no run of ours wants it.
    seen
        The machine as the provider lists it; None when it doesn't.
    known
        Whether the listing could be read at all.
    settled
        Whether the listing would show a machine that was ordered and whose answer was lost.
    """
    wanted = run is not None and wants(run, machine.attempt)
    if machine.state is MachineState.DELETING:
        if known and seen is None:
            return MachineDecision(state=MachineState.GONE if settled else None)
        return MachineDecision(delete=True)
    if not wanted:
        return MachineDecision(state=MachineState.DELETING)
    if not known:
        return MachineDecision()
    if machine.state is MachineState.REQUESTED:
        return MachineDecision(state=MachineState.BOOTING) if seen else MachineDecision()
    return MachineDecision()


def wants(run: Run, attempt: int) -> bool:
    """Whether a run still needs the machine of this attempt."""
    return run.attempt == attempt and run.state in _WANTS_MACHINE


# A run that was rebuilt from the store may be STAGING_IN while its machine boots.
_WANTS_MACHINE = (
    RunState.DRAFT,
    RunState.STAGING_IN,
    RunState.PLACING,
    RunState.WAITING,
    RunState.STARTING,
    RunState.RUNNING,
)
