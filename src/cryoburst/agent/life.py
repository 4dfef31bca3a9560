"""The agent's life: spec -> started -> software, host -> inputs -> command -> outputs -> manifest -> exit.

It never touches an attempt that another agent has started, and never starts a command twice.
"""

import socket

from cryoburst.agent import guard, host, processes, software
from cryoburst.agent.attempt import Attempt, Ended, corrected
from cryoburst.agent.command import Command, environment
from cryoburst.agent.inputs import Fetch
from cryoburst.agent.place import Pace, Place
from cryoburst.agent.prefix import Patience, Prefix
from cryoburst.model.documents import Spec, Started
from cryoburst.model.errors import NotThere
from cryoburst.model.store import Store

FIRST_ANSWER = 600.0  # s in which the store must give the spec; the deadline is not known before


def run(store: Store, key: str, root: str, token: str, pace: Pace) -> None:
    """Carry the attempt out to its exit.json. Returns at once when it belongs to another agent.

    Must be called from the thread that lives longest: the job's script dies with it. Raises what the guard has to
    finish for: the store's error when it did not answer in time, or a bug.
    """
    processes.adopt_orphans()
    place, prefix = Place(root), Prefix(store, key)
    place.make()
    patience = Patience(pace, pace.clock() + FIRST_ANSWER)
    spec = patience.insist(lambda: prefix.read(Spec, "spec.json"))
    if spec is None:
        raise NotThere("the attempt has no spec", where=prefix.key + "spec.json")
    place.note("attempt", {"until": spec.deadline + spec.grace})
    started = patience.insist(lambda: prefix.read(Started, "started.json"))
    if started is not None and started.token == token and place.noted("command") is not None:
        guard.finish(store, key, root, token, pace)  # a second start on a machine that ran the command
        return
    if started is None:
        host = socket.gethostname()
        patience.insist(lambda: prefix.write("started.json", Started(pace.clock(), host, token)))
        started = patience.insist(lambda: prefix.read(Started, "started.json"))
    if started is None or started.token != token:
        return
    begun = started
    right = patience.insist(lambda: corrected(pace, prefix, begun))
    place.note("attempt", {"until": spec.deadline + spec.grace + right.ahead})
    _carry_out(Attempt(prefix, place, right, spec), token)


def _carry_out(attempt: Attempt, token: str) -> None:
    attempt.pulse.start()
    attempt.outputs.start()
    try:
        clean = environment(attempt, token)
        there = software.versions(attempt.spec.software, clean)
        told = host.describe(attempt.pace.clock(), there)
        attempt.patience.insist(lambda: attempt.prefix.write("host.json", told))
        if sentence := software.refusal(attempt.spec.software, there):
            raise Ended("refused", sentence)
        fetch = Fetch(attempt, Patience(attempt.pace, attempt.spec.deadline))
        try:
            _fetch(attempt, fetch)
            attempt.late_bytes = fetch.total - fetch.bytes
            attempt.open_logs({})
            command = Command(attempt, clean, fetch)
            raise command.wait()
        except Ended:
            fetch.end()  # not for any other error: then the job is still there
            raise
    except Ended as end:
        attempt.finish(end)


def _fetch(attempt: Attempt, fetch: Fetch) -> None:
    """Fetch what must be there before the command begins, or raise how that ended."""
    clock, pulse, spec = attempt.pace.clock, attempt.pulse, attempt.spec
    pulse.bytes_in_total = fetch.total
    attempt.outputs.staged = fetch.staged
    fetch.start()
    while not fetch.ready.wait(0.05):
        pulse.bytes_in = fetch.bytes
        if pulse.stopped.is_set():
            raise Ended("aborted", "the job was stopped before its command began")
        if clock() >= spec.deadline:
            raise Ended("deadline", "the deadline came before the inputs were on the machine")
    pulse.bytes_in = fetch.bytes
    if (short := fetch.short) is not None:
        raise short
