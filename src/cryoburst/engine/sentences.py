"""What is said of a run, in words: why it is held up, and what its end left undone. Pure."""

import errno
from collections.abc import Sequence

from cryoburst.engine.step import Effect
from cryoburst.model.errors import (
    BadCredentials,
    BadInput,
    BudgetUsed,
    Corrupt,
    NoCapacity,
    NotThere,
    ProviderUnavailable,
    QuotaExceeded,
    StoreFull,
    StoreRefused,
    StoreUnavailable,
)
from cryoburst.model.run import Run

PUT_BACK = "put it back, or a link to where it is now"
PROJECT_GONE = f"the project is not there; {PUT_BACK}"
HALF_WRITTEN = " (may be half-written)"  # how the agent ends the name of a file that was torn when it was killed
REASON_OF_ERROR: tuple[tuple[type[Exception], str], ...] = (
    (BudgetUsed, "budget"),
    (BadInput, "bad_input"),
    (NoCapacity, "no_capacity"),
    (QuotaExceeded, "quota"),
    (BadCredentials, "credentials"),
    (ProviderUnavailable, "provider_unavailable"),
    (StoreFull, "store_full"),
    (StoreUnavailable, "store_unavailable"),
    (StoreRefused, "store_refused"),
    (Corrupt, "output_corrupt"),
    (NotThere, "output_corrupt"),
)
# What the agent's exit record says beyond the program's own end -> reason
REASON_OF_EXIT = {
    "refused": "refused",
    "deadline": "deadline",
    "inputs": "inputs_lost",
    "killed": "agent_killed",
    "disk_full": "machine_disk_full",
}


def of_files(run: Run, outside: list[str], changes: dict[str, object]) -> list[str]:
    """What is to be told of the files of a run that has ended, from its manifest and the changes of its row."""
    said = _left_behind(outside)
    if changes.get("files_left"):
        said.append(_stayed(run, changes))
    if late := float(str(changes.get("late_bytes") or 0)):
        said.append(f"it began before all its inputs were there: {late / 1e6:.1f} MB came while it ran")
    return said


def _left_behind(outside: list[str]) -> list[str]:
    """What a manifest says that stayed on the machine: strangers to the job folder, and its own torn files."""
    torn = [path.removesuffix(HALF_WRITTEN) for path in outside if path.endswith(HALF_WRITTEN)]
    strange = [path for path in outside if not path.endswith(HALF_WRITTEN)]
    named = (
        ("left on the machine, perhaps half-written", torn),
        ("the job wrote outside its folder, left on the machine", strange),
    )
    return [f"{what}: {', '.join(paths[:5])}" for what, paths in named if paths]


def without_outputs(unmade: Sequence[str]) -> str:
    """What the program made nothing of: on one machine it is the first of these at which it fails."""
    more = f" and {len(unmade) - 1} more" if len(unmade) > 1 else ""
    return f"there is no output of {unmade[0]}{more}"


def named(run: Run) -> str:
    """A run in the watcher's log."""
    return f"{run.title} of {run.whole}" if run.part else run.title


def _stayed(run: Run, changes: dict[str, object]) -> str:
    """What the user wished to leave in the store."""
    count, size = changes["files_left"], float(str(changes["bytes_left"]))
    outputs = "one output" if count == 1 else f"{count} outputs"
    stay = "stays" if count == 1 else "stay"
    return f"{outputs} ({size / 1e6:.1f} MB) {stay} in the store: cryoburst fetch {run.number} brings them"


def reason_of(error: Exception, effect: Effect) -> tuple[str, str]:
    """The reason code of an error, and its sentence."""
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return ("home_full" if full else "home_unwritable"), f"{error.strerror or error}: {error.filename or 'home'}"
    for kind, reason in REASON_OF_ERROR:
        if isinstance(error, kind):
            return reason, str(error)
    return "bug", f"{type(error).__name__} in {effect}: {error}"
