"""How many transfers go at once: as many as still make the line faster, and fewer as soon as the store refuses.

A hill climb on measured speed. It knows no thread and no clock, and decides from what it is told alone: a window is a
stretch of transfers with one width; ``next_width`` looks at the last windows. In the beginning the width doubles while
that pays; later it tries a step up or down now and then, as lines change. A refusal halves it, and the width that was
refused is not tried again for ``MEMORY`` windows.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

LEAST = 2  # at once: one sends while the other waits for its answer
FIRST = 4
MEMORY = 64  # windows
HOLD = 6  # windows with the same width before another is tried
PAYS = 0.5  # of the speed-up that as many lines of their own would bring: less does not pay
SAME = 0.75  # of its speed, or as much above: what a line may vary by without being another
ENDED = 8  # transfers that end a window, or as many as its width if that is more,
SECONDS = 0.5  # and so long at least
REQUEST = 256 * 1024  # bytes: what a request costs beside its bytes, so that windows of small blobs compare with others
USED = 0.75  # of the width, on the average: a window that used less says nothing about it


@dataclass(frozen=True)
class Window:
    """A stretch of transfers: how many were allowed at once, how fast they were together (bytes/s), and whether the
    store refused one (then the speed says nothing)."""

    width: int
    speed: float
    refused: bool = False


def next_width(history: Sequence[Window], most: int) -> int:
    """How many at once after these windows (oldest first): at least ``LEAST``, and never above ``most``."""
    if not history:
        return min(FIRST, most)
    now = history[-1]
    if now.refused:
        return min(most, max(LEAST, now.width // 2))
    history = _since_outage(history)
    most = min(most, max(LEAST, min((each.width - 1 for each in history if each.refused), default=most)))
    stretches = _stretches(history)
    here = stretches[-1]
    before = stretches[-2] if len(stretches) > 1 else None
    more, fewer = _up(now.width, history), now.width - _step(now.width)
    if before is None or before[-1].refused:  # the first width, or the one after a refusal
        wanted = more
    elif len(here) == 1 and now.width == before[-1].width:  # the line has changed
        wanted = more if now.speed > before[-1].speed else fewer
    elif len(here) == 1 and now.width > before[-1].width:
        wanted = more if _pays(before, here) else before[-1].width
    elif len(here) == 1 and _pays(here, before):
        wanted = before[-1].width
    elif len(here) == 1:  # fewer do as well; where it came from this width before, it stays
        wanted = now.width if len(stretches) > 2 and stretches[-3][-1].width == now.width else fewer
    elif len(here) < HOLD:
        wanted = now.width
    else:  # go on in the direction that was taken last, as the other was found to be no better
        rising = now.width > before[-1].width
        wanted = more if (rising and now.width < most) or now.width <= LEAST else fewer
    return min(most, max(LEAST, wanted))


def _since_outage(history: Sequence[Window]) -> Sequence[Window]:
    """The windows after a refusal at the least width: that was the line or the store, not the number at once."""
    for n in range(len(history) - 1, -1, -1):
        if history[n].refused and history[n].width <= LEAST:
            return history[n + 1 :]
    return history


def _stretches(history: Sequence[Window]) -> list[list[Window]]:
    """The windows by stretches of one width and much the same speed; a refusal is a stretch of its own."""
    found = [[history[0]]]
    for each in history[1:]:
        here = found[-1]
        alike = each.width == here[-1].width and not each.refused and not here[-1].refused
        if not alike or not SAME * _speed(here) <= each.speed <= _speed(here) / SAME:
            found.append([])
        found[-1].append(each)
    return found


def _up(width: int, history: Sequence[Window]) -> int:
    """The next larger width: twice as many as long as it has only ever grown."""
    if any(each.refused for each in history):
        return width + 1
    if all(a.width <= b.width for a, b in pairwise(history)):
        return 2 * width
    return width + _step(width)


def _step(width: int) -> int:
    return max(1, width // 4)


def _pays(fewer: Sequence[Window], more: Sequence[Window]) -> bool:
    """Whether the larger width was worth it."""
    gain = _speed(more) - _speed(fewer)
    return gain >= PAYS * _speed(fewer) * (more[-1].width / fewer[-1].width - 1)


def _speed(stretch: Sequence[Window]) -> float:
    from statistics import median  # an import that most processes never need

    return median(each.speed for each in stretch[-HOLD:])


class Width:
    """Measures windows and holds the width in force. The times (s) are its caller's; not safe for threads.

    The speed of a window is its width times what one transfer got for itself: the bytes that ended in it would depend
    on whether many happen to end just before or just after it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._history: deque[Window] = deque(maxlen=MEMORY)
        self.now = next_width((), most)
        self.under_way = 0
        self._number = 0  # of windows
        self._begin(0.0)

    def begin(self, time: float) -> "Begun":
        """A transfer begins."""
        if self.under_way == 0 and time - self._last > SECONDS:  # the line was idle
            self._begin(time)
        self._pass(time)
        self.under_way += 1
        self._peak = max(self._peak, self.under_way)
        return Begun(time, self._number)

    def end(self, begun: "Begun", time: float, size: int) -> None:
        """A transfer ended, whatever came of it, after so many bytes."""
        self._pass(time)
        self.under_way -= 1
        if begun.window != self._number:
            return  # it went with another width, in part
        self._bytes += size + REQUEST
        self._seconds += time - begun.time
        self._ended += 1
        elapsed = time - self._since
        if self._ended < max(ENDED, self.now) or elapsed < SECONDS:
            return
        if self._spoiled or not self._seconds:
            pass
        elif self._busy < USED * self.now * elapsed:
            self.now = min(self.now, max(LEAST, self._peak))  # an allowance that nobody uses is not kept
        else:
            self._note(Window(self.now, self.now * self._bytes / self._seconds))
        self._begin(time)

    def refuse(self, begun: "Begun", time: float) -> None:
        """The store refused a transfer. Only those of this window count: what went before has had its effect."""
        if begun.window == self._number:
            self._note(Window(self.now, 0.0, refused=True))
            self._begin(time)

    def spoil(self) -> None:
        """What is measured now says nothing: the line was paused."""
        self._spoiled = True

    def _note(self, window: Window) -> None:
        self._history.append(window)
        self.now = next_width(tuple(self._history), self._most)

    def _begin(self, time: float) -> None:
        self._since = self._last = time
        self._bytes = self._ended = 0
        self._seconds = self._busy = 0.0
        self._peak, self._spoiled = self.under_way, False
        self._number += 1

    def _pass(self, time: float) -> None:
        self._busy += self.under_way * (time - self._last)
        self._last = time


class Begun(NamedTuple):
    """A transfer under way: when it began (s), and in which window."""

    time: float
    window: int
