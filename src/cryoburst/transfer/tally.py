"""How far a transfer is: bytes, files, speed, time left. It counts what it is told, and decides nothing."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TypedDict

from cryoburst.transfer.line import Line

RECENT = 10.0  # s
FEW = 8  # transfers that a speed is taken from at least, however long ago they were: one is 16 MiB at most
EARLY = 1.0  # s before which no speed is told
TOGETHER = 0.1  # s: transfers that ended so close together are kept as one


class Values(TypedDict):
    """What programs are told, in ``{"progress": ...}``. Times in s, speeds in bytes/s; null is unknown."""

    bytes: int  # moved; of files that are done never less than their sizes
    bytes_total: int  # of all files that are known so far
    files: int  # done, by a transfer
    files_total: int
    bytes_skipped: int  # not moved, as they were there already
    files_skipped: int
    bytes_per_second: float | None  # over the last 10 s, or the last 8 transfers if those took longer
    eta_seconds: float | None
    width: int | None  # transfers at once, as the line allows them now
    paused: bool
    limit_bytes_per_second: float | None  # null: no limit


class Tally:
    """Counts one operation, such as one push; safe for threads. ``line`` is asked for its state, and never told."""

    def __init__(self, line: Line | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.line = line
        self._clock, self._lock = clock, threading.Lock()
        self._begun = self._since = clock()
        self._recent: deque[tuple[float, int]] = deque()  # (when, bytes), all of them after ``_since``
        self._bytes_total = self._files_total = 0
        self._moved = self._finished = self._files = 0
        self._bytes_skipped = self._files_skipped = 0

    def expect(self, size: int, files: int = 1) -> None:
        """So many bytes and files more are to be brought to their place."""
        with self._lock:
            self._bytes_total += size
            self._files_total += files

    def moved(self, size: int) -> None:
        """So many bytes came through: what ``Line.told`` tells."""
        with self._lock:
            now = self._clock()
            self._moved += size
            if self._recent and now - self._recent[-1][0] < TOGETHER:
                when, before = self._recent.pop()
                self._recent.append((when, before + size))
            else:
                self._recent.append((now, size))
            while len(self._recent) > FEW and self._recent[0][0] < now - RECENT:
                self._since, _ = self._recent.popleft()

    def finished(self, size: int, files: int = 1) -> None:
        """Files of so many bytes together are at their place, by a transfer."""
        with self._lock:
            self._finished += size
            self._files += files

    def skipped(self, size: int, files: int = 1) -> None:
        """So many bytes and files were there already. A part of a file that was there: bytes and no file."""
        with self._lock:
            self._bytes_skipped += size
            self._files_skipped += files

    def speed(self) -> float | None:
        """Bytes/s lately; None while it is too early to tell."""
        with self._lock:
            return self._speed()

    def overall(self) -> float | None:
        """Bytes/s since the beginning; None while it is too early to tell."""
        with self._lock:
            elapsed = self._clock() - self._begun
            return self._moved / elapsed if elapsed > 0 and self._moved else None

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return self._clock() - self._begun

    def values(self) -> Values:
        """All of it, as JSON knows it."""
        with self._lock:
            # The wire also carries tables of packs and gaps between files: no more than what is expected is told of.
            most = self._bytes_total - self._bytes_skipped if self._bytes_total else self._moved
            done = max(self._finished, min(self._moved, most))
            speed = self._speed()
            left = max(0, self._bytes_total - done - self._bytes_skipped)
            files_left = self._files_total - self._files - self._files_skipped
            if files_left <= 0 and left == 0:
                eta = 0.0 if self._files_total else None
            else:
                eta = left / speed if speed and self._bytes_total else None
            values = Values(
                bytes=done,
                bytes_total=self._bytes_total,
                files=self._files,
                files_total=self._files_total,
                bytes_skipped=self._bytes_skipped,
                files_skipped=self._files_skipped,
                bytes_per_second=speed,
                eta_seconds=eta,
                width=None,
                paused=False,
                limit_bytes_per_second=None,
            )
        if self.line is not None:
            values["width"] = self.line.width
            values["paused"] = self.line.paused()
            values["limit_bytes_per_second"] = self.line.limit
            if values["paused"]:
                values["eta_seconds"] = None
        return values

    def _speed(self) -> float | None:
        elapsed = self._clock() - self._since
        if elapsed < EARLY or not self._recent:
            return None
        return sum(size for _, size in self._recent) / elapsed
