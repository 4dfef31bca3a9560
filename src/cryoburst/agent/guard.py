"""Finishes an attempt whose agent died: ends what the job left running, sends what is whole, writes exit.json.

It stands outside the agent's process. A file counts as whole when the agent had sent it, or when nobody was writing it
at the agent's last look and it was not changed since; what was half-written stays behind, and exit.json says so.
"""

from cryoburst.agent import files, processes
from cryoburst.agent.attempt import Attempt, Ended, corrected
from cryoburst.agent.command import JOB_TAG
from cryoburst.agent.outputs import OUTPUTS
from cryoburst.agent.place import Pace, Place
from cryoburst.agent.prefix import Patience, Prefix
from cryoburst.model.documents import Batch, Exit, Spec, Started
from cryoburst.model.store import Store

UNKNOWN = 3600.0  # s in which the store must answer when the agent died before it knew its deadline
KILLED = "its agent was killed on the machine, which may have run out of memory"


def finish(store: Store, key: str, root: str, token: str, pace: Pace) -> None:
    """Bring the attempt to its exit.json. Silent when it has one, or belongs to another agent; safe to repeat."""
    place, prefix = Place(root), Prefix(store, key)
    torn = _end_leftovers(place, token)
    known = place.noted("attempt")
    patience = Patience(pace, float(known["until"]) if known else pace.clock() + UNKNOWN)
    if patience.insist(lambda: prefix.read(Exit, "exit.json")) is not None:
        return
    started = patience.insist(lambda: prefix.read(Started, "started.json"))
    if started is not None and started.token != token:
        return
    spec = patience.insist(lambda: prefix.read(Spec, "spec.json"))
    fault = place.noted("fault")
    sentence = str(fault["sentence"]) if fault else KILLED
    if spec is None:
        exit_ = Exit(pace.clock(), "killed", None, sentence, 0.0, {})
        patience.insist(lambda: prefix.write("exit.json", exit_))
        return
    if started is not None:
        mine, own = started, pace
        pace = patience.insist(lambda: corrected(own, prefix, mine))
    place.make()
    attempt = Attempt(prefix, place, pace, spec)
    patience.insist(lambda: _resume(attempt))
    attempt.outputs.start()
    command = place.noted("command")
    if command is not None:
        last, began = float(command["time"]), float(command["started"])
        attempt.command_seconds = last - began
        attempt.pulse.command_started = began
        torn |= {str(path) for path in command["writing"]} | _changed_since(attempt, last)
    attempt.pulse.start()
    attempt.finish(Ended("killed", sentence, None, torn))


def _end_leftovers(place: Place, token: str) -> set[str]:
    """End the job's processes; the files that they were writing."""

    def find() -> list[int]:
        return processes.tagged(JOB_TAG, token)

    writing = processes.writing(find()).values()
    processes.end(find, 0.0, lambda: None)
    return {path for path in map(place.relative, writing) if path is not None}


def _resume(attempt: Attempt) -> None:
    """Take over from the dead agent: its journal, its log chunks, and what was staged in."""
    prefix, outputs = attempt.prefix, attempt.outputs
    batches = [prefix.read(Batch, f"journal/{name}") for name, _ in prefix.names("journal/")]
    blobs = [name for name, _ in prefix.names(OUTPUTS)]
    outputs.resume([batch for batch in batches if batch is not None], blobs)
    sent: dict[str, int] = {}
    for name, size in prefix.names("log/"):
        log, _, offset = name.rpartition(".")
        if offset.isdigit():
            sent[log] = max(sent.get(log, 0), int(offset) + size)
    attempt.open_logs(sent)
    for each in attempt.spec.inputs:
        now = files.identity(attempt.place.inside(each.path))
        if now is not None and now[:2] == (each.size, each.mtime_ns):
            outputs.staged[each.path] = now


def _changed_since(attempt: Attempt, last: float) -> set[str]:
    """Files of the job that were changed after the agent's last look, so that nobody knows whether they are whole. By
    the time that no program sets: what copies with its time what never came must not pass."""
    changed: set[str] = set()
    for path in files.walk(attempt.folder):
        seen = attempt.outputs.wanted(path)
        if seen is not None and files.changed(seen) > (last + attempt.pace.ahead) * 1e9 and not seen.link:
            changed.add(seen.path)
    return changed
