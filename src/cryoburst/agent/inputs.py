"""Fetches the inputs of a job, verified, several at a time. Writes only below the project folder.

A listed input (no key) becomes a sparse file of the right size: the program looks that it is there, and never reads it.
"""
# ruff: noqa: PTH103, PTH120, PTH123 - plain strings, as everywhere in the agent

import errno
import os
import queue
import threading
from pathlib import Path

from cryoburst.agent.files import Identity, identity
from cryoburst.agent.place import Place
from cryoburst.agent.prefix import GivenUp, Patience
from cryoburst.model.documents import SpecInput
from cryoburst.model.errors import Corrupt
from cryoburst.model.plugins import Store

FETCHERS = 4
CORRUPT_TRIES = 2  # a second read tells a bad transfer from a bad object


class Fetch:
    """The fetching of all inputs. ``done`` is set at the end or at the first failure, which is then in ``failure``."""

    def __init__(self, store: Store, place: Place, inputs: list[SpecInput], patience: Patience) -> None:
        self._store, self._place, self._patience = store, place, patience
        self._queue: queue.SimpleQueue[SpecInput] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._left = len(inputs)
        self._folders: set[str] = set()
        self.total = sum(each.size for each in inputs if each.key)
        self.bytes = 0
        self.done = threading.Event()
        self.failure: Exception | None = None
        self.staged: dict[str, Identity] = {}
        for each in inputs:
            self._queue.put(each)
        if not inputs:
            self.done.set()

    def start(self) -> None:
        """Start to fetch."""
        for _ in range(min(FETCHERS, self._left)):
            threading.Thread(target=self._fetch_all, daemon=True).start()

    @property
    def disk_full(self) -> bool:
        """Whether the machine's disk was too small."""
        return isinstance(self.failure, OSError) and self.failure.errno in (errno.ENOSPC, errno.EDQUOT)

    def _fetch_all(self) -> None:
        while not self.done.is_set():
            try:
                each = self._queue.get_nowait()
            except queue.Empty:
                return
            try:
                self._fetch(each)
            except GivenUp:
                return
            except Exception as error:  # noqa: BLE001 - whatever it is, the main thread raises it or ends for it
                with self._lock:
                    self.failure = self.failure or error
                self.done.set()
                return
            with self._lock:
                self._left -= 1
                if self._left == 0:
                    self.done.set()

    def _fetch(self, each: SpecInput) -> None:
        target = self._place.inside(each.path)
        folder = os.path.dirname(target)
        if folder not in self._folders:
            os.makedirs(folder, exist_ok=True)
            self._folders.add(folder)
        if each.key:
            self._get(each, Path(target))
        else:
            with open(target, "wb") as file:
                file.truncate(each.size)
        os.utime(target, ns=(each.mtime_ns, each.mtime_ns))
        now = identity(target)
        with self._lock:
            if now is not None:
                self.staged[each.path] = now
            self.bytes += each.size if each.key else 0

    def _get(self, each: SpecInput, target: Path) -> None:
        for left in reversed(range(CORRUPT_TRIES)):
            try:
                return self._patience.insist(lambda: self._store.get_file(each.key, target, each.size, each.checksum))
            except Corrupt:
                if not left:
                    raise
        return None
