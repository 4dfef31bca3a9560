"""Fetches the inputs of a job, verified. Writes only below the project folder.

A listed input (no key) becomes a sparse file of the right size: the program looks that it is there, and never reads it.
Where there is much to fetch, small files come first; the large ones are promised, and come while the command runs
(``promised``): first those that it waits for, then the others in the order of their names, which is how programs read.
"""
# ruff: noqa: PTH103, PTH120, PTH123 - plain strings, as everywhere in the agent

import errno
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from cryoburst.agent.attempt import Attempt, Ended, sentence_of
from cryoburst.agent.files import Identity, identity
from cryoburst.agent.prefix import GivenUp, Patience
from cryoburst.agent.promised import Promised, can_wait
from cryoburst.model import documents
from cryoburst.model.documents import SpecInput
from cryoburst.model.errors import Corrupt, CryoburstError
from cryoburst.model.store import Stored
from cryoburst.stores import open_store
from cryoburst.transfer import Line, Receiver, Wanted
from cryoburst.transfer.remote import fetch_object

EARLY = 64 * 1024  # bytes: a smaller file comes before the command in any case
FIRST = 64 * 2**20  # bytes of the first turn of those that come while it runs
LOOK = 0.1  # s between two looks when all that is to come was thrown away
TURN = 1.0  # s that a turn may take: then those that somebody waits for are looked for again


class Fetch:
    """The fetching of all inputs of a job. Must be made by the main thread.

    ``ready`` is set when the command may begin, and at a failure.
    """

    def __init__(self, attempt: Attempt, patience: Patience) -> None:
        self._place, self._inputs, self._job = attempt.place, attempt.spec.inputs, attempt.job
        self._patience = patience
        self._line = Line(insist=patience.insist)
        self._receiver = Receiver(attempt.prefix.store, self._line, self._moved)
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._fetch_all, daemon=True)
        self._failure: Exception | None = None
        self._begun = False  # the command
        self.total = sum(each.size for each in self._inputs if each.key)
        self.bytes = 0
        self.ready = threading.Event()
        self.staged: dict[str, Identity] = {}
        self.promised = self._promises(attempt)

    def start(self) -> None:
        """Start to fetch."""
        self._thread.start()

    def end(self) -> None:
        """Stop fetching what nobody needs any more: no process of the job is left."""
        self._patience.end()
        if self._thread.ident is not None:
            self._thread.join()
        if self.promised is not None:
            self.promised.break_all()

    @property
    def short(self) -> Ended | None:
        """How the attempt ends for what could not be fetched; None while nothing failed. Raises a bug's error."""
        error = self._failure
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            came = f"{self.bytes} of {self.total} bytes of the inputs"
            full = (
                f"became full while inputs came: {came} were on it" if self._begun else f"is full: {came} fitted on it"
            )
            return Ended("disk_full", f"the machine's disk {full}")
        if isinstance(error, CryoburstError | OSError):
            return Ended("inputs", f"the inputs could not be fetched: {sentence_of(error)}")
        if error is not None:
            raise error
        return None

    def _promises(self, attempt: Attempt) -> Promised | None:
        spec = attempt.spec
        left = spec.deadline + spec.grace - attempt.pace.clock()
        much = spec.late and sum(each.size for each in self._inputs if self._may_be_late(each)) >= spec.late
        return Promised() if much and can_wait(left) else None

    def _may_be_late(self, each: SpecInput) -> bool:
        inside = each.path.startswith(self._job)  # the job writes there, and what is new there is sent
        return bool(each.key) and not each.store and each.size > EARLY and not inside

    def _fetch_all(self) -> None:
        try:
            targets = {each.path: self._place.inside(each.path) for each in self._inputs}
            late = self._promise(targets)
            for each in self._inputs:
                if not each.key:
                    _stand_in(targets[each.path], each)
            for each in self._inputs:
                if each.store:
                    found = Stored(each.key, each.size, each.mtime_ns / 1e9, each.tag)
                    fetch_object(open_store(each.store), self._line, found, targets[each.path])
                    self._moved(each.size, True)
            early = [each for each in self._inputs if each.path not in late]
            self._receive(self._wanted(each, targets[each.path]) for each in early if each.key and not each.store)
            for each in early:
                now = identity(targets[each.path])
                if now is None or now[0] != each.size:
                    raise Corrupt("an input is not on the machine as it was promised", where=each.path)
                self.staged[each.path] = now
            self._begun = True
            self.ready.set()
            self._fetch_late(late)
        except GivenUp:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the main thread raises it or ends for it
            self._failure = error
        self.ready.set()

    def _promise(self, targets: Mapping[str, str]) -> dict[str, Wanted]:
        """The inputs that come while the command runs, by path, in the order of their names."""
        late: dict[str, Wanted] = {}
        if (promised := self.promised) is None:
            return late
        for each in sorted(self._inputs, key=lambda each: each.path):
            target = targets[each.path]
            if self._may_be_late(each) and promised.hold(target, each.size, each.mtime_ns):
                late[each.path] = self._wanted(each, target, promised.descriptor(target))
                self.staged[each.path] = promised.identity(target)
        return late

    def _fetch_late(self, late: dict[str, Wanted]) -> None:
        most = FIRST
        while late and self.promised is not None:
            gone, asked = self.promised.thrown_away(), self.promised.waited_for()
            wanted = [each for each in late.values() if each.target in asked or each.target not in gone]
            if not wanted:  # whoever opened one before it was thrown away may still turn up
                time.sleep(LOOK)
                if self._patience.ended:
                    return
                continue
            group = _first(sorted(wanted, key=lambda each: each.target not in asked), most)
            began = time.monotonic()
            self._receive(group, self._came)
            size = sum(late.pop(each.name).size for each in group)
            most = int(size / max(time.monotonic() - began, 0.001) * TURN)

    def _wanted(self, each: SpecInput, target: str, into: int = -1) -> Wanted:
        place = documents.Place(each.key, each.offset)
        aside = self._place.notes if into >= 0 else ""  # the job must not see it beside its inputs
        return Wanted(each.path, target, each.size, each.checksum, place, each.mtime_ns, into, aside)

    def _receive(self, wanted: Iterable[Wanted], done: Callable[[Wanted], None] = lambda _: None) -> None:
        if unreceived := self._receiver.receive(wanted, done):
            raise unreceived[0].error

    def _came(self, wanted: Wanted) -> None:
        assert self.promised is not None
        self.staged[wanted.name] = self.promised.identity(wanted.target)
        self.promised.keep(wanted.target)

    def _moved(self, size: int, _wire: bool) -> None:
        with self._lock:
            self.bytes += size


def _first(wanted: list[Wanted], most: int) -> list[Wanted]:
    """The first of them, of so many bytes together; one at least."""
    sizes = itertools.accumulate(each.size for each in wanted)
    return [each for n, (each, size) in enumerate(zip(wanted, sizes, strict=True)) if not n or size <= most]


def _stand_in(target: str, each: SpecInput) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "wb") as file:
        file.truncate(each.size)
    os.utime(target, ns=(each.mtime_ns, each.mtime_ns))
