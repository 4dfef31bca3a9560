"""Threads that look at the runs of one store: the more, the longer its answers take. One that hangs keeps only them.

A folder answers within microseconds, and threads that take turns at that would only be slower; a bucket takes tens of
milliseconds, and a hundred runs there must not wait for one another.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

from cryoburst.engine.step import Seen
from cryoburst.model.run import Run

MOST = 16  # threads
SOON = 0.1  # s in which all looks should be done


class Lookers:
    """Calls ``see`` for runs. ``start`` and ``take`` are for one thread."""

    def __init__(self, see: Callable[[Run], Seen]) -> None:
        self._see = see
        self._pool = ThreadPoolExecutor(MOST, thread_name_prefix="look")
        self._lock = Lock()
        self._todo: deque[Run] = deque()
        self._underway: set[str] = set()
        self._found: dict[str, Seen] = {}
        self._took = 0.001  # s for one look, lately
        self._working: list[Future[None]] = []

    def start(self, runs: Iterable[Run]) -> list[Future[None]]:
        """Look at these runs, in their present state, but for those that are being looked at; the new work to wait for.

        What was to be looked at and was not begun is forgotten.
        """
        with self._lock:
            self._todo = deque(run for run in runs if run.uid not in self._underway)
            wanted = min(MOST, math.ceil(len(self._todo) * self._took / SOON))
        self._working = [future for future in self._working if not future.done()]  # since the last time: held up
        new = [self._pool.submit(self._work) for _ in range(min(wanted, MOST - len(self._working)))]
        self._working += new
        return new

    @property
    def working(self) -> list[Future[None]]:
        """All work that was begun."""
        return self._working

    def take(self) -> dict[str, Seen]:
        """What was seen since the last call, by the runs' uids."""
        with self._lock:
            found, self._found = self._found, {}
        return found

    def close(self) -> None:
        """Let the threads go, without waiting for those that a store holds."""
        with self._lock:
            self._todo.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._todo:
                    return
                run = self._todo.popleft()
                self._underway.add(run.uid)
            began = time.monotonic()
            try:
                seen = self._see(run)
                with self._lock:
                    self._found[run.uid] = seen
            finally:
                with self._lock:
                    self._underway.discard(run.uid)
                    self._took += (time.monotonic() - began - self._took) / 8
