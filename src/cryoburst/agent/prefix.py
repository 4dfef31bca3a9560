"""The attempt's own prefix in the store, and how long to insist when the store does not answer."""

import threading
from collections.abc import Callable
from typing import TypeVar

from cryoburst.agent.place import Pace
from cryoburst.model.documents import dump, load
from cryoburst.model.errors import StoreFull, StoreUnavailable
from cryoburst.model.store import Store

T = TypeVar("T")
D = TypeVar("D")


class GivenUp(Exception):
    """What was being done is no longer wanted: ``Patience.end`` was called."""


class Patience:
    """Repeats what a store refused, with growing waits, until a time or until it is told to end."""

    def __init__(self, pace: Pace, until: float) -> None:
        self._pace = pace
        self.until = until  # s since the epoch
        self._full_at: float | None = None  # when the store last had no room
        self._ended = threading.Event()

    def end(self) -> None:
        """Make every ``insist`` that waits or begins raise ``GivenUp``."""
        self._ended.set()

    @property
    def full(self) -> bool:
        """Whether the store had no room at the last try of somebody who waits."""
        return self._full_at is not None and self._pace.clock() - self._full_at < 2 * self._pace.retry_most

    @property
    def ended(self) -> bool:
        """Whether ``end`` was called."""
        return self._ended.is_set()

    def insist(self, action: Callable[[], T]) -> T:
        """The action's result. Raises the store's own error once ``until`` has passed, any other error at once."""
        wait = self._pace.retry_first
        while True:
            if self.ended:
                raise GivenUp
            try:
                return action()
            except (StoreUnavailable, StoreFull) as error:
                if isinstance(error, StoreFull):
                    self._full_at = self._pace.clock()
                left = self.until - self._pace.clock()
                if left <= 0:
                    raise
            self._ended.wait(min(wait, max(left, 0.01)))
            wait = min(wait * 2, self._pace.retry_most)


class Prefix:
    """Documents under one prefix of a store."""

    def __init__(self, store: Store, prefix: str) -> None:
        self.store = store
        self.key = prefix if prefix.endswith("/") else prefix + "/"

    def read(self, kind: type[D], name: str) -> D | None:
        """The document; None when there is none."""
        data = self.store.get(self.key + name)
        return None if data is None else load(kind, data, name)

    def write(self, name: str, document: object) -> None:
        """Write a document, replacing the one there."""
        self.store.put(self.key + name, dump(document))

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write an object."""
        self.store.put(self.key + name, data)

    def names(self, folder: str) -> list[tuple[str, int]]:
        """(name, size) of the objects under a folder that ends with a slash; names are relative to it."""
        top = self.key + folder
        return [(stored.key[len(top) :], stored.size) for stored in self.store.list(top)]
