"""The way between a disk and a store: how many transfers at once, how fast, how much memory, and how far they are.

Everything that moves bytes goes through one ``Line``; politeness towards others who share the wire is decided here and
nowhere else: the number at once in ``width``, the bandwidth, pauses and retries in ``limits``. It never drops a
transfer: what may not go yet waits.
"""

import threading
import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from cryoburst.model.errors import StoreUnavailable
from cryoburst.transfer.limits import POLL, Bandwidth, Insist, once
from cryoburst.transfer.width import Begun, Width

T = TypeVar("T")

AHEAD = 2  # tasks that are read and wait for their turn: enough that no turn waits for a disk


class Line:
    """Shared by all threads of a process that move data to and from one store.

    Parameters
    ----------
    most
        Threads, and transfers at once, at most. How many go is measured (``width``).
    memory
        Bytes in all buffers at once. Of the largest blobs (16 MiB) no more are on their way than it holds.
    bandwidth
        What every transfer, in either direction, pays before it begins; none: no limit.
    paused
        Whether nothing may begin now, asked before every transfer and every ``POLL`` s while it says so.
    insist
        Does a transfer again where that may help. Every try waits for its turn and pays anew.
    """

    def __init__(
        self,
        most: int = 16,
        memory: int = 96 * 2**20,
        *,
        bandwidth: Bandwidth | None = None,
        paused: Callable[[], bool] = lambda: False,
        insist: Insist = once,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.most, self.paused = most, paused
        self._memory = self._room = memory
        self._bandwidth, self._insist, self._clock, self._sleep = bandwidth, insist, clock, sleep
        self._free = threading.Condition()  # guards all below
        self._width = Width(most)
        self._ready = 0  # transfers that wait for their turn
        self._listeners: list[Callable[[int], None]] = []
        self._check: Callable[[], None] = lambda: None
        self.bytes = 0  # carried so far
        self._starts = threading.Lock()  # held by whoever pays or waits for the end of a pause
        self._of_thread = threading.local()

    @property
    def width(self) -> int:
        """How many transfers may be under way now."""
        return self._width.now

    @property
    def limit(self) -> float | None:
        """Bytes/s now; None: no limit."""
        return self._bandwidth.limit() if self._bandwidth else None

    @contextmanager
    def told(self, listener: Callable[[int], None]) -> Generator[None, None, None]:
        """Within it, ``listener`` hears the bytes of every transfer that has succeeded, from several threads."""
        with self._free:
            self._listeners = [*self._listeners, listener]
        try:
            yield
        finally:
            with self._free:
                self._listeners = [each for each in self._listeners if each is not listener]

    @contextmanager
    def checked(self, check: Callable[[], None]) -> Generator[None, None, None]:
        """Within it, ``check`` is called before every transfer and every ``POLL`` s of a pause; what it raises ends the
        transfer, and so the ``each`` that it belongs to."""
        self._check = check
        try:
            yield
        finally:
            self._check = lambda: None

    def each(self, tasks: Iterable[Callable[[], None]]) -> None:
        """Do tasks in several threads; the next is asked for when there is a thread for it. Raises the first error.

        After an error no task is begun, and those that wait for anything end; a transfer under way is waited for.
        """
        call = _Call()
        tasks = iter(tasks)
        pool = ThreadPoolExecutor(self.most)  # starts a thread only when all others are busy
        try:
            while self._wait_for_thread(call) and (task := next(tasks, None)) is not None:
                with self._free:
                    call.running += 1
                pool.submit(self._do, call, task)
            with self._free:
                self._free.wait_for(lambda: call.error or not call.running)
        finally:
            with self._free:
                call.over = True
                self._free.notify_all()
            pool.shutdown(wait=True, cancel_futures=True)
        if call.error:
            raise call.error

    @contextmanager
    def room(self, size: int) -> Generator[None, None, None]:
        """Wait until there is memory for a buffer of this size, and hold it."""
        with self._free:
            self._wait(lambda: self._room >= size or self._room == self._memory)  # the latter: one that is too large
            self._room -= size
        try:
            yield
        finally:
            with self._free:
                self._room += size
                self._free.notify_all()

    def carry(self, size: int, action: Callable[[], T]) -> T:
        """Do one transfer of so many bytes, when it may be done. Its errors are the caller's."""
        return self._insist(lambda: self._try(size, action))

    # -------------------------------------------------------------------------------------------------- one try

    def _try(self, size: int, action: Callable[[], T]) -> T:
        begun = self._take_turn()
        carried = 0
        try:
            with self._starts:
                self._stay()
                if self._bandwidth:
                    self._bandwidth.pay(size, self._stay)
            result = action()
            carried = size
        except StoreUnavailable:
            with self._free:
                self._width.refuse(begun, self._clock())
            raise
        finally:
            with self._free:
                self._width.end(begun, self._clock(), carried)
                self.bytes += carried
                self._free.notify_all()
                listeners = self._listeners
        for each in listeners:
            each(size)
        return result

    def _take_turn(self) -> Begun:
        """Wait until one more may be under way, and begin."""
        with self._free:
            self._ready += 1
            try:
                self._wait(lambda: self._width.under_way < self._width.now)
            finally:
                self._ready -= 1
                self._free.notify_all()  # so that a thread may read ahead
            return self._width.begin(self._clock())

    def _stay(self) -> None:
        """Return when nothing is paused. Raises what ``checked`` raises."""
        while not self._over():
            self._check()
            if not self.paused():
                return
            with self._free:
                self._width.spoil()
            self._sleep(POLL)
        raise _Over

    # -------------------------------------------------------------------------------------------------- threads

    def _wait_for_thread(self, call: "_Call") -> bool:
        """Wait until another task should begin; False when none should any more."""
        with self._free:
            self._free.wait_for(lambda: call.error or (call.running < self.most and self._ready < AHEAD))
            return call.error is None

    def _do(self, call: "_Call", task: Callable[[], None]) -> None:
        self._of_thread.call = call
        error: BaseException | None = None
        try:
            if not call.over:
                task()
        except BaseException as raised:  # noqa: BLE001 - raised by ``each``, in its caller's thread
            error = raised
        with self._free:
            call.running -= 1
            call.error = call.error or error
            self._free.notify_all()

    def _wait(self, until: Callable[[], bool]) -> None:
        """Wait on ``_free``, which the caller holds."""
        self._free.wait_for(lambda: self._over() or until())
        if self._over():
            raise _Over

    def _over(self) -> bool:
        """Whether the ``each`` that this thread works for has ended."""
        call: _Call | None = getattr(self._of_thread, "call", None)
        return call is not None and (call.over or call.error is not None)


class _Call:
    """One call of ``each``."""

    def __init__(self) -> None:
        self.running = 0
        self.error: BaseException | None = None
        self.over = False


class _Over(Exception):
    """Nobody waits for this transfer any more: another task of the same ``each`` has failed."""
