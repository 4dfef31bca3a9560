"""A split run as the sum of its parts: what they did, where they are, and whose turn it is. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from cryoburst.model.run import Run
from cryoburst.model.states import RunState

_FILES = ("files_in", "files_out", "files_left")
SUMS = ("bytes_in", "bytes_to_send", "bytes_sent", "bytes_out", "bytes_home", "bytes_left", *_FILES)


def totals(run: Run, parts: Sequence[Run]) -> dict[str, object]:
    """What the parts did so far, added up, as changes of the whole run's row."""
    found: dict[str, object] = {name: sum(getattr(part, name) for part in parts) for name in SUMS}
    found["done"] = _done(run, parts)
    began = [part.command_started for part in parts if part.command_started is not None]
    if began:
        found["command_started"] = min(began)
    return found


SENDING = (RunState.DRAFT, RunState.STAGING_IN)


def is_turn(part: Run, sending: Iterable[int]) -> bool:
    """Whether a part may send its inputs: the parts before it have, or can't now (``sending`` are the numbers of those
    in a state of ``SENDING``). So the first parts start while the inputs of the last ones are still on their way."""
    return all(part.part <= other for other in sending)


def failed(parts: Sequence[Run]) -> Run | None:
    """The first part that failed."""
    return next((part for part in parts if part.state is RunState.FAILED), None)


def fault(broken: Run) -> str:
    """Why the other parts are stopped when this one failed."""
    return f"{broken.title} failed"


_FAULT = re.compile(r"part \d+ of \d+ failed")


def stop_reason(run: Run) -> str:
    """The code of the reason for which a run is stopped: nobody asked for the end of a part whose sibling failed."""
    return "part_failed" if run.part and _FAULT.fullmatch(run.stop_wanted) else "aborted"


def summary(run: Run, parts: Sequence[Run]) -> str:
    """Where the parts are, for people."""
    return f"{_done(run, parts)} of {run.total} {run.unit}; {places(parts)}"


def places(parts: Sequence[Run]) -> str:
    """How many parts are where: ``of 8 parts 3 done, 5 at work``."""
    count = Counter(_place(part, parts) for part in parts)
    return f"of {len(parts)} parts " + ", ".join(f"{count[name]} {name}" for name in _PLACES if count[name])


_PLACES = ("done", "at work", "starting", "being sent", "waiting", "failed", "stopped")


def _place(part: Run, parts: Sequence[Run]) -> str:
    match part.state:
        case RunState.SUCCEEDED:
            return "done"
        case RunState.RUNNING | RunState.STAGING_OUT:
            return "at work"
        case RunState.PLACING | RunState.STARTING:
            return "starting"
        case RunState.STAGING_IN if is_turn(part, (other.part for other in parts if other.state in SENDING)):
            return "being sent"
        case RunState.FAILED:
            return "failed"
        case RunState.STOPPED:
            return "stopped"
        case _:
            return "waiting"


def _done(run: Run, parts: Sequence[Run]) -> int:
    return sum(part.done for part in parts if part.unit == run.unit)
