"""A clock that jumps, lines that take time, and a bucket in memory at their end: what the simulated machines stand on.

Files are stand-ins: one byte stands for ``SCALE`` bytes.
"""

import heapq
import itertools
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cryoburst.model.buffers import Buffer
from cryoburst.model.errors import NotThere
from cryoburst.model.plugins import Finding
from cryoburst.model.store import Polled, Stored

SCALE = 100_000  # bytes that a byte of a stand-in stands for
BEGIN = 1_500_000_000.0  # s since the epoch: in July 2017
FOR_EVER = 1e12  # s
PAYLOAD = 4096  # bytes: larger than any document among the inputs, smaller than a movie's stand-in


class Clock:
    """Stands still until it is told to jump; threads may sleep until a time."""

    def __init__(self) -> None:
        self.now = BEGIN
        self._lock = threading.Lock()
        self._coming: list[float] = []
        self._sleepers: list[tuple[float, int, threading.Event]] = []
        self._count = itertools.count()

    def __call__(self) -> float:
        return self.now

    def expect(self, when: float) -> None:
        """Something will be seen then."""
        with self._lock:
            heapq.heappush(self._coming, when)

    def sleep_until(self, when: float) -> None:
        """Let the calling thread wait."""
        with self._lock:
            if when <= self.now:
                return
            woken = threading.Event()
            heapq.heappush(self._sleepers, (when, next(self._count), woken))
        woken.wait()

    @property
    def asleep(self) -> int:
        """How many threads sleep."""
        with self._lock:
            return len(self._sleepers)

    def jump(self) -> bool:
        """To the next event; False when nothing will ever happen."""
        with self._lock:
            times = [heap[0] for heap in (self._coming,) if heap] + [each[0] for each in self._sleepers[:1]]
            if not times:
                return False
            self.now = max(self.now, min(times))
            while self._coming and self._coming[0] <= self.now:
                heapq.heappop(self._coming)
            while self._sleepers and self._sleepers[0][0] <= self.now:
                heapq.heappop(self._sleepers)[2].set()
        return True


class Wire:
    """A line that carries one thing after the other, in bytes/s of the real data."""

    def __init__(self, clock: Clock, rate: float) -> None:
        self._clock, self._rate, self._lock = clock, rate, threading.Lock()
        self.free = clock.now  # when all that was put on it has arrived
        self.bytes = 0.0
        self.busy: list[tuple[float, float]] = []

    def carry(self, size: int) -> float:
        """Put stand-in bytes on the line; when they have arrived."""
        with self._lock:
            begin = max(self.free, self._clock.now)
            self.free = begin + size * SCALE / self._rate
            self.bytes += size * SCALE
            self.busy.append((begin, self.free))
            return self.free


@dataclass
class Held:
    """An object, and from when to when the store holds it."""

    data: bytes | None  # None: of a stand-in that nobody reads
    size: int
    since: float
    serial: int
    until: float = FOR_EVER
    late: bool = False  # it was left in the store at first: who reads it comes for it later
    name: str = ""  # of the file, in the project


class SimulatedStore:
    """A bucket in memory. What home sends and fetches takes time on its lines; what machines do is put when it is
    there (``place``)."""

    metered = False  # so that home looks at every tick; machines' words are told METERED.look_most s later instead

    def __init__(self, url: str, clock: Clock, up: float, down: float) -> None:
        self.url, self._clock, self._lock = url, clock, threading.RLock()
        self.up, self.down, self.later = Wire(clock, up), Wire(clock, down), Wire(clock, down)
        self.objects: dict[str, Held] = {}
        self.gone: list[Held] = []
        self._serial = itertools.count(1)

    def create(self) -> None:
        """It is there."""

    def put(self, key: str, data: Buffer) -> None:
        """What home sends. Inputs go over the line; the spec is written when they have arrived."""
        content = bytes(data)
        since = self.up.carry(len(content)) if "/inputs/" in key else self._clock.now
        if key.endswith("/spec.json"):
            self._clock.sleep_until(self.up.free)
            since = self._clock.now
        if key.endswith(".closed.json"):  # the end of a fetch, or of a run that has none
            self._clock.sleep_until(self.down.free)
            since = self._clock.now
        movies = "/inputs/" in key and len(content) >= PAYLOAD  # whatever else home sends is small
        self.place(key, None if movies else content, len(content), since, name=".mrc" if movies else "")

    def place(
        self, key: str, data: bytes | None, size: int, since: float, *, late: bool = False, name: str = ""
    ) -> None:
        """An object that is there from a time on."""
        with self._lock:
            if key in self.objects:
                self.gone.append(self.objects[key])
                self.gone[-1].until = since
            self.objects[key] = Held(data, size, since, next(self._serial), late=late, name=name)
        if since > self._clock.now:
            self._clock.expect(since)

    def _seen(self, key: str) -> Held | None:
        held = self.objects.get(key)
        return held if held is not None and held.since <= self._clock.now else None

    def get(self, key: str) -> bytes | None:
        """See ``Store``."""
        held = self._seen(key)
        return held.data if held else None

    def find(self, key: str) -> Stored | None:
        """See ``Store``."""
        held = self._seen(key)
        return Stored(key, held.size, held.since, str(held.serial)) if held else None

    def read(self, key: str, offset: int, size: int) -> Iterable[Buffer]:
        """Home fetches."""
        held = self._seen(key)
        if held is None or held.data is None:
            raise NotThere("no such object", where=key)
        (self.later if held.late else self.down).carry(size)
        return [held.data[offset : offset + size]]

    def poll(self, key: str, tag: str) -> Polled | None:
        """See ``Store``."""
        held = self._seen(key)
        if held is None:
            return Polled(None, "")
        return None if tag == str(held.serial) else Polled(held.data, str(held.serial))

    def list(self, prefix: str) -> Iterator[Stored]:
        """See ``Store``."""
        with self._lock:
            keys = sorted(key for key in self.objects if key.startswith(prefix))
        return (Stored(key, held.size, held.since) for key in keys if (held := self._seen(key)))

    def delete(self, *keys: str) -> None:
        """See ``Store``."""
        with self._lock:
            for key in keys:
                if (held := self.objects.pop(key, None)) is not None:
                    held.until = self._clock.now
                    self.gone.append(held)

    def probe(self) -> Sequence[Finding]:
        """Nothing."""
        return []

    def credential(self, read: Sequence[str], write: str, seconds: float) -> dict[str, str]:
        """None is needed."""
        return {}

    def expire(self, ends: tuple[str, ...]) -> None:
        """Delete what such files hold (``cryoburst store rm``, or a rule of the bucket)."""
        self.delete(*[key for key, held in self.objects.items() if ends and held.name.endswith(ends)])

    def byte_seconds(self) -> float:
        """Bytes of the real data times the seconds for which they lay here, until now."""
        held = [*self.objects.values(), *self.gone]
        return sum(h.size * SCALE * max(0.0, min(h.until, self._clock.now) - h.since) for h in held)
