"""The states of runs and machines, and the one table of legal transitions.

The diagram in docs/architecture.md is generated from these tables (``script/docs``); a test fails when it is stale.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

S = TypeVar("S", "RunState", "MachineState")


class RunState(StrEnum):
    """Where a run is. Lost contact is a flag on RUNNING, not a state."""

    DRAFT = "DRAFT"  # the row is written; nothing has left the project
    SPLIT = "SPLIT"  # its parts are at work, each a run of its own; what they make is joined after the last
    STAGING_IN = "STAGING_IN"  # inputs go to the store
    PLACING = "PLACING"  # all inputs are in the store; a machine is being asked for
    STARTING = "STARTING"  # a machine exists; the agent has not said that it started
    RUNNING = "RUNNING"  # the agent has started; inputs, command or outputs are in its hands
    STAGING_OUT = "STAGING_OUT"  # the command ended; the outputs come home
    WAITING = "WAITING"  # nothing can be done before retry_at
    SUCCEEDED = "SUCCEEDED"  # outputs and the success marker are in the project
    FAILED = "FAILED"  # outputs so far and the failure marker are in the project
    STOPPED = "STOPPED"  # the user ended it; outputs so far and the aborted marker are in the project

    @property
    def final(self) -> bool:
        """Whether nothing will change any more."""
        return self in (RunState.SUCCEEDED, RunState.FAILED, RunState.STOPPED)


class MachineState(StrEnum):
    """Where a machine is. It outlives its run until the provider says that it is gone."""

    REQUESTED = "REQUESTED"  # intent is written; the provider may or may not have it
    BOOTING = "BOOTING"  # the provider has it; it is not up yet
    UP = "UP"  # it runs, and costs
    DELETING = "DELETING"  # its end is asked for, again and again until it is gone
    GONE = "GONE"  # the provider says that it no longer exists


@dataclass(frozen=True)
class Transition(Generic[S]):
    """One legal change of state and why it exists."""

    before: S
    after: S
    why: str


R, M = RunState, MachineState

RUN_TRANSITIONS: tuple[Transition[RunState], ...] = (
    Transition(R.DRAFT, R.STAGING_IN, "the request is in the store, so a lost database can be rebuilt"),
    Transition(R.DRAFT, R.SPLIT, "the request is in the store, and the job is to be split"),
    Transition(R.DRAFT, R.FAILED, "the inputs are missing or wrong"),
    Transition(R.DRAFT, R.STOPPED, "stopped before anything was sent"),
    Transition(R.SPLIT, R.STAGING_IN, "every part has succeeded, and what they made is at home: the join begins"),
    Transition(R.SPLIT, R.FAILED, "a part failed, and the others have ended"),
    Transition(R.SPLIT, R.STOPPED, "the user stopped it, and all parts have ended"),
    Transition(R.STAGING_IN, R.PLACING, "all inputs and the spec are in the store"),
    Transition(R.STAGING_IN, R.WAITING, "the store did not take an input"),
    Transition(R.STAGING_IN, R.FAILED, "an input is missing or changed, or the store never took it"),
    Transition(R.STAGING_IN, R.STOPPED, "stopped before a machine was asked for"),
    Transition(R.PLACING, R.STARTING, "the provider has the machine"),
    Transition(R.PLACING, R.WAITING, "no capacity, or the provider did not answer"),
    Transition(R.PLACING, R.FAILED, "no machine fits, or the provider refuses the account"),
    Transition(R.PLACING, R.STOPPED, "stopped before the machine was there"),
    Transition(R.STARTING, R.RUNNING, "the agent wrote started.json"),
    Transition(R.STARTING, R.STAGING_OUT, "the agent started and ended between two ticks"),
    Transition(R.STARTING, R.WAITING, "the machine died or its agent never started"),
    Transition(R.STARTING, R.FAILED, "machines died too often"),
    Transition(R.STARTING, R.STOPPED, "stopped before the agent started"),
    Transition(R.RUNNING, R.STAGING_OUT, "the agent wrote exit.json"),
    Transition(R.RUNNING, R.WAITING, "the machine died; the next attempt has its own prefix"),
    Transition(R.RUNNING, R.FAILED, "machines died too often"),
    Transition(R.RUNNING, R.STOPPED, "the machine died after the user had stopped the run"),
    Transition(R.STAGING_OUT, R.SUCCEEDED, "outputs are home and verified, and the program says success"),
    Transition(R.STAGING_OUT, R.FAILED, "outputs are home and verified, and the program failed"),
    Transition(R.STAGING_OUT, R.STOPPED, "outputs are home and verified, and the user had stopped the run"),
    Transition(R.STAGING_OUT, R.WAITING, "the fault was the machine's: what it made is home, try another"),
    Transition(R.WAITING, R.STAGING_IN, "retry_at has come and the inputs were not in the store"),
    Transition(R.WAITING, R.PLACING, "retry_at has come"),
    Transition(R.WAITING, R.FAILED, "the retries are used up"),
    Transition(R.WAITING, R.STOPPED, "stopped while waiting"),
)

MACHINE_TRANSITIONS: tuple[Transition[MachineState], ...] = (
    Transition(M.REQUESTED, M.BOOTING, "the provider answered, or lists a machine with our token"),
    Transition(M.REQUESTED, M.GONE, "the provider refused, or lists none long after the request"),
    Transition(M.REQUESTED, M.DELETING, "the run no longer wants it; it may exist"),
    Transition(M.BOOTING, M.UP, "the agent started"),
    Transition(M.BOOTING, M.DELETING, "stopped, died, or the agent never started"),
    Transition(M.BOOTING, M.GONE, "the provider says that it does not exist"),
    Transition(M.UP, M.DELETING, "its outputs are in the store, or it died"),
    Transition(M.UP, M.GONE, "the provider says that it does not exist"),
    Transition(M.GONE, M.DELETING, "a late listing shows it after all"),
    Transition(M.DELETING, M.GONE, "the provider says that it does not exist"),
)

_RUN_LEGAL = {(t.before, t.after) for t in RUN_TRANSITIONS}
_MACHINE_LEGAL = {(t.before, t.after) for t in MACHINE_TRANSITIONS}


def check_run(before: RunState, after: RunState) -> None:
    """Raise ``ValueError`` when the table does not allow a run to go from ``before`` to ``after``."""
    if (before, after) not in _RUN_LEGAL:
        raise ValueError(f"no run goes from {before} to {after}")


def check_machine(before: MachineState, after: MachineState) -> None:
    """Raise ``ValueError`` when the table does not allow a machine to go from ``before`` to ``after``."""
    if (before, after) not in _MACHINE_LEGAL:
        raise ValueError(f"no machine goes from {before} to {after}")
