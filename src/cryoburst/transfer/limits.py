"""How fast, when not at all, and how often again: what a user or a store puts on the way of the bytes.

The bandwidth is a text of the settings (``parse``); ``Bandwidth`` lets a transfer wait until it has paid for itself.
A pause is a file, so that it works between processes. Nothing here moves a byte or loses one: it only lets wait.
"""

import fcntl
import math
import os
import re
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from cryoburst.model.errors import BadInput, StoreUnavailable

T = TypeVar("T")

DAY = 24 * 3600  # s
SLICE = 0.25  # s: what is paid at once; a change of the limit takes effect after so long
BURST = 0.5  # s: what an idle line may catch up on
FOREIGN = 60.0  # s: a shared time further ahead than this is of another boot of the computer
POLL = 0.5  # s between two looks at the file of a pause

UNITS = {"kB/s": 1e3, "MB/s": 1e6, "GB/s": 1e9, "kbit/s": 1e3 / 8, "Mbit/s": 1e6 / 8, "Gbit/s": 1e9 / 8}
LEAST_RATE = 1e3  # bytes/s: below, one blob takes longer than a day's work

_AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+/s)")
_SPAN = re.compile(r"([0-9]{1,2}):([0-9]{2})\s*[-–]\s*([0-9]{1,2}):([0-9]{2})\s+(.+)")
_ADVICE = 'write it as "50 MB/s", "400 Mbit/s", "08:00-18:00 20 MB/s, 18:00-23:00 100 MB/s" or "off"'


# ----------------------------------------------------------------------------------------------------- the rule


@dataclass(frozen=True)
class Span:
    """A part of the day, from ``start`` to before ``end`` (s since local midnight), and its limit (bytes/s or none).

    One whose end is not after its start goes over midnight.
    """

    start: int
    end: int
    rate: float | None

    def holds(self, second: float) -> bool:
        """Whether a second of the day lies in it."""
        if self.start < self.end:
            return self.start <= second < self.end
        return second >= self.start or second < self.end


@dataclass(frozen=True)
class Rule:
    """How fast one may be at which time of day. The spans do not overlap."""

    spans: tuple[Span, ...] = ()

    def at(self, second: float) -> float | None:
        """The limit in bytes/s at a second of the local day (any number: days repeat); None: no limit."""
        return next((span.rate for span in self.spans if span.holds(second % DAY)), None)


def parse(text: str) -> Rule:
    """The rule that a text says; ``off`` and nothing are no limit. Raises BadInput for any other text.

    Either one amount for the whole day, or spans of local time with an amount each, with commas between them; outside
    of them there is no limit. 1 MB/s is 10^6 bytes/s, 1 Mbit/s an eighth of it.
    """
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    if parts and _SPAN.fullmatch(parts[0]) is None and len(parts) == 1:
        rate = _rate(parts[0])
        return Rule(() if rate is None else (Span(0, DAY, rate),))
    spans = tuple(_span(part) for part in parts)
    for one, other in ((a, b) for n, a in enumerate(spans) for b in spans[n + 1 :]):
        if one.holds(other.start) or other.holds(one.start):
            raise BadInput(
                "two times of day of the bandwidth overlap", where=text, advice="let one end where the next begins"
            )
    return Rule(spans)


def _span(part: str) -> Span:
    found = _SPAN.fullmatch(part)
    if found is None:
        raise BadInput("a part of the bandwidth is no time of day with an amount", where=part, advice=_ADVICE)
    hour, minute, end_hour, end_minute = (int(found[n]) for n in (1, 2, 3, 4))
    start, end = hour * 3600 + minute * 60, end_hour * 3600 + end_minute * 60
    if minute > 59 or end_minute > 59 or start >= DAY or end > DAY:
        raise BadInput("a time of the bandwidth is none of a day", where=part, advice="a day goes from 00:00 to 24:00")
    if start == end:
        raise BadInput(
            "a time of the bandwidth ends when it begins", where=part, advice="for the whole day write the amount alone"
        )
    return Span(start, end, _rate(found[5]))


def _rate(text: str) -> float | None:
    """Bytes/s; None for ``off``."""
    if text.lower() == "off":
        return None
    found = _AMOUNT.fullmatch(text)
    if found is None:
        raise BadInput("the bandwidth is not understood", where=text, advice=_ADVICE)
    if found[2] not in UNITS:
        raise BadInput("the bandwidth has an unknown unit", where=text, advice=f"the units are {', '.join(UNITS)}")
    rate = float(found[1]) * UNITS[found[2]]
    if not LEAST_RATE <= rate < math.inf:
        raise BadInput("the bandwidth is less than 1 kB/s", where=text, advice="cryoburst pause stops all transfers")
    return rate


def local_second() -> float:
    """Seconds since midnight on the clock on the wall."""
    now = time.localtime()
    return now.tm_hour * 3600.0 + now.tm_min * 60.0 + now.tm_sec


# ------------------------------------------------------------------------------------------------- the bandwidth


class Turns(Protocol):
    """Until when the line's time is taken; one value, which all who share a limit move on."""

    def take(self, now: float, seconds: float) -> float:
        """Take the next ``seconds`` that nobody has taken, or up to ``BURST`` of the past; returns their end."""
        ...


class OwnTurns:
    """The turns of one process."""

    def __init__(self) -> None:
        self._taken = -math.inf
        self._lock = threading.Lock()

    def take(self, now: float, seconds: float) -> float:
        """As ``Turns.take``."""
        with self._lock:
            self._taken = _after(self._taken, now) + seconds
            return self._taken


class SharedTurns:
    """The turns of all processes of this computer that name the same file: eight bytes under a lock.

    Whoever can't have the file (no such folder, a file system without locks, another who holds it for a second) goes
    by its own turns meanwhile: a limit that is not shared is better than a transfer that fails.
    """

    def __init__(self, path: Path, sleep: Callable[[float], None] = time.sleep) -> None:
        self._path, self._sleep, self._own = path, sleep, OwnTurns()

    def take(self, now: float, seconds: float) -> float:
        """As ``Turns.take``; ``now`` is of a clock that all processes share, as time.monotonic is on Linux."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return self._own.take(now, seconds)
        try:
            self._lock(descriptor)
            data = os.pread(descriptor, 8, 0)
            taken = struct.unpack("<d", data)[0] if len(data) == 8 else -math.inf
            end = _after(taken, now) + seconds
            os.pwrite(descriptor, struct.pack("<d", end), 0)
            return end
        except OSError:
            return self._own.take(now, seconds)
        finally:
            os.close(descriptor)  # and so unlocks it

    def _lock(self, descriptor: int) -> None:
        for _ in range(100):
            try:
                return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._sleep(0.01)
        raise BlockingIOError


def _after(taken: float, now: float) -> float:
    """Where the next turn begins. Not a number, or a time that no queue reaches to, is of another boot."""
    return taken if now - BURST < taken < now + FOREIGN else now - BURST


class Bandwidth:
    """Lets a transfer wait until it has paid for its bytes, at the rate of the time of day. Both directions pay.

    A transfer of at most 16 MiB is one call of a store's client, so it is paid for as a whole *before* it begins, in
    slices of ``SLICE`` s. Over any time the bytes that were begun are at most rate * (time + ``BURST``) and one blob;
    within a transfer the wire runs as fast as it can, so that at 1 MB/s it is busy for a moment every 17 s. Callers pay
    one after another (``Line`` sees to it), so that the first goes as early as it can. Several processes with the same
    ``SharedTurns`` share the limit, slice by slice.
    """

    def __init__(
        self,
        rule: Rule,
        turns: Turns | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        local: Callable[[], float] = local_second,
    ) -> None:
        self._rule, self._turns = rule, turns or OwnTurns()
        self._clock, self._sleep, self._local = clock, sleep, local

    def limit(self) -> float | None:
        """Bytes/s now; None: no limit."""
        return self._rule.at(self._local())

    def pay(self, size: int, between: Callable[[], None] = lambda: None) -> None:
        """Wait until so many bytes may go. ``between`` is called after every wait; what it raises ends the payment."""
        left = float(size)
        while left > 0 and (rate := self.limit()) is not None:
            part = min(left, rate * SLICE)
            end = self._turns.take(self._clock(), part / rate)
            while (wait := end - self._clock()) > 0:
                self._sleep(min(wait, POLL))
                between()
            left -= part


# -------------------------------------------------------------------------------------------- again, and not now


class Insist(Protocol):
    """Does an action, again where that may help; its result, or its last error."""

    def __call__(self, action: Callable[[], T], /) -> T:
        """Do it."""
        ...


def once(action: Callable[[], T], /) -> T:
    """Do an action once."""
    return action()


def retry(waits: Sequence[float] = (0.5, 2.0, 8.0), sleep: Callable[[float], None] = time.sleep) -> Insist:
    """Does an action once more after each of the waits (s) as long as the store is unavailable; then its error."""

    def insist(action: Callable[[], T], /) -> T:
        for wait in waits:
            try:
                return action()
            except StoreUnavailable:
                sleep(wait)
        return action()

    return insist


def pause_file(path: Path, clock: Callable[[], float] = time.monotonic) -> Callable[[], bool]:
    """Whether a file is there, looked at every ``POLL`` s at most. What can't be looked at is no pause."""
    looked, found = -math.inf, False

    def paused() -> bool:
        nonlocal looked, found
        if (now := clock()) - looked >= POLL:
            looked, found = now, os.path.exists(path)  # noqa: PTH110 - which never raises
        return found

    return paused
