"""Fetches the inputs of a job, verified. Writes only below the project folder.

A listed input (no key) becomes a sparse file of the right size: the program looks that it is there, and never reads it.
"""
# ruff: noqa: PTH103, PTH120, PTH123 - plain strings, as everywhere in the agent

import errno
import os
import threading

from cryoburst.agent.files import Identity, identity
from cryoburst.agent.place import Place
from cryoburst.agent.prefix import GivenUp, Patience
from cryoburst.model import documents
from cryoburst.model.documents import SpecInput
from cryoburst.model.errors import Corrupt
from cryoburst.model.plugins import Store, Stored
from cryoburst.stores import open_store
from cryoburst.transfer import Line, Receiver, Wanted
from cryoburst.transfer.remote import fetch_object


class Fetch:
    """The fetching of all inputs. ``done`` is set at the end or at the first failure, which is then in ``failure``."""

    def __init__(self, store: Store, place: Place, inputs: list[SpecInput], patience: Patience) -> None:
        self._place, self._inputs = place, inputs
        self._line = Line(insist=patience.insist)
        self._receiver = Receiver(store, self._line, self._moved)
        self._lock = threading.Lock()
        self.total = sum(each.size for each in inputs if each.key)
        self.bytes = 0
        self.done = threading.Event()
        self.failure: Exception | None = None
        self.staged: dict[str, Identity] = {}

    def start(self) -> None:
        """Start to fetch."""
        threading.Thread(target=self._fetch_all, daemon=True).start()

    @property
    def disk_full(self) -> bool:
        """Whether the machine's disk was too small."""
        return isinstance(self.failure, OSError) and self.failure.errno in (errno.ENOSPC, errno.EDQUOT)

    def _fetch_all(self) -> None:
        try:
            targets = {each.path: self._place.inside(each.path) for each in self._inputs}
            for each in self._inputs:
                if not each.key:
                    _stand_in(targets[each.path], each)
            for each in self._inputs:
                if each.store:
                    found = Stored(each.key, each.size, each.mtime_ns / 1e9, each.tag)
                    fetch_object(open_store(each.store), self._line, found, targets[each.path])
                    self._moved(each.size, True)
            unreceived = self._receiver.receive(
                Wanted(
                    each.path,
                    targets[each.path],
                    each.size,
                    each.checksum,
                    documents.Place(each.key, each.offset),
                    each.mtime_ns,
                )
                for each in self._inputs
                if each.key and not each.store
            )
            if unreceived:
                raise unreceived[0].error
            for each in self._inputs:
                now = identity(targets[each.path])
                if now is None or now[0] != each.size:
                    raise Corrupt("an input is not on the machine as it was promised", where=each.path)
                self.staged[each.path] = now
        except GivenUp:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the main thread raises it or ends for it
            self.failure = error
        self.done.set()

    def _moved(self, size: int, _wire: bool) -> None:
        with self._lock:
            self.bytes += size


def _stand_in(target: str, each: SpecInput) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "wb") as file:
        file.truncate(each.size)
    os.utime(target, ns=(each.mtime_ns, each.mtime_ns))
