"""Why a run waits or ended: whose fault, whether it is tried again, and one sentence of advice.

One table. ``step`` chooses the code; the sentence with the particulars is kept beside it in the run's row.
"""

from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """Whose fault it is; faults of the job are never tried again by themselves."""

    JOB = "JOB"  # the program or its inputs
    MACHINE = "MACHINE"  # the machine died, or its agent did
    STORE = "STORE"  # the store or the disk at home did not take or give a file
    CAPACITY = "CAPACITY"  # the provider has no such machine now
    QUOTA = "QUOTA"  # the account may not have more
    CREDENTIALS = "CREDENTIALS"  # the account, or the credential for the store, was refused
    USER = "USER"  # the user asked for it
    BUDGET = "BUDGET"  # time or money ran out
    BUG = "BUG"  # ours


@dataclass(frozen=True)
class Reason:
    """One way in which a run can be held up or end."""

    code: str
    fault: Fault
    retry: bool  # whether another attempt may help, and is made
    sentence: str
    advice: str


NEW_CREDENTIALS = "mend what is named, then say cryoburst resume where the new credentials are set"

_ALL = (
    Reason("program_failed", Fault.JOB, False, "the program failed", "read run.err in the job folder"),
    Reason("bad_input", Fault.JOB, False, "the job can't be sent as it is", "mend what is named and run it again"),
    Reason("refused", Fault.JOB, False, "the machine lacks what the job needs", "choose another machine or install it"),
    Reason("no_machine_fits", Fault.JOB, False, "no machine fits", "see cryoburst machines, and ask for less"),
    Reason("aborted", Fault.USER, False, "stopped by the user", "run it again or continue it when you like"),
    Reason("part_failed", Fault.JOB, False, "ended with the other parts", "mend what failed and run the job again"),
    Reason("deadline", Fault.BUDGET, False, "the walltime was used up", "raise walltime_hours and continue the job"),
    Reason("machine_died", Fault.MACHINE, True, "the machine died", "see cryoburst machines --all"),
    Reason("agent_killed", Fault.MACHINE, True, "the job was cut off", "a machine with more memory may do"),
    Reason("never_started", Fault.MACHINE, True, "the machine's agent never started", "see cryoburst doctor"),
    Reason("machine_disk_full", Fault.MACHINE, True, "the machine's disk is full", "choose one with a larger disk"),
    Reason("inputs_lost", Fault.STORE, True, "the machine could not fetch its inputs", "see cryoburst doctor"),
    Reason("outputs_unsent", Fault.STORE, True, "the machine could not send every output", "see cryoburst doctor"),
    Reason("store_unavailable", Fault.STORE, True, "the store does not answer", "see cryoburst doctor"),
    Reason("store_refused", Fault.CREDENTIALS, True, "the store refuses us", NEW_CREDENTIALS),
    Reason("store_full", Fault.STORE, True, "the store is full", "make room in the store"),
    Reason("home_full", Fault.STORE, True, "no room at home", "make room; the outputs are safe in the store"),
    Reason("home_unwritable", Fault.STORE, True, "the project can't be written", "the outputs are safe in the store"),
    Reason("output_corrupt", Fault.STORE, True, "an output in the store is damaged", "run the job again"),
    Reason("no_capacity", Fault.CAPACITY, True, "no such machine is free now", "wait, or choose another"),
    Reason(
        "quota", Fault.QUOTA, True, "the account may not have more machines", "ask for a larger quota, or end others"
    ),
    Reason("interrupted", Fault.CAPACITY, True, "the provider took the machine back", "it goes on on another one"),
    Reason("budget", Fault.BUDGET, False, "the budget is used up", "raise it and continue the job"),
    Reason("provider_unavailable", Fault.CAPACITY, True, "the provider does not answer", "see cryoburst doctor"),
    Reason("credentials", Fault.CREDENTIALS, True, "the provider refuses the account", NEW_CREDENTIALS),
    Reason("bug", Fault.BUG, True, "an error of cryoburst itself", "please report it with the watcher's log"),
)

REASONS: dict[str, Reason] = {reason.code: reason for reason in _ALL}


def sentence(reason: str, detail: str, *, ended: bool, log: bool = False) -> str:
    """A reason with its particulars and advice, for people; and what comes of it, unless that is plain. In the log of
    the program itself (``log``) nobody is told to read that."""
    if reason not in REASONS:
        return detail
    known = REASONS[reason]
    if log and reason == "program_failed":
        return f"{known.sentence}{f' ({detail})' if detail else ''}"
    next_ = "; it was tried until no retries were left" if ended else "; it is tried again"
    return f"{known.sentence}{f' ({detail})' if detail else ''}: {known.advice}{next_ if known.retry else ''}"
