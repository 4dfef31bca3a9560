"""Tells home that the agent lives, and what is new, in one small object; and looks for stop.json.

Each heartbeat may cost money, so its pace depends on what there is to tell (``next_beat``). The beat goes on whatever
the main thread or the senders wait for. What the store refuses is tried at the next beat.
"""
# ruff: noqa: PTH116, PTH123 - plain strings, as everywhere in the agent

import os
import threading
from collections.abc import Callable

from cryoburst.agent.notice import Notice
from cryoburst.agent.outputs import Outputs
from cryoburst.agent.place import Pace
from cryoburst.agent.prefix import Patience, Prefix
from cryoburst.model.chunks import CHUNK, LARGE, chunk_name, chunk_size
from cryoburst.model.documents import Heartbeat, Spec, Stop, Transfer

LOOK = 0.1  # s between two looks at what there is to tell: they cost no request
LOGS = 0.8  # s between two heartbeats for a log's growth: nobody reads faster
SLOWER = 60.0  # a log's growth is told after one part in so many of the time that the command has run
STOP_LOOKS = 6  # looks for stop.json in the longest silence


def next_beat(last: float, *, outputs: bool, logs: bool, age: float, least: float, most: float) -> float:
    """When the next heartbeat is due, in the unit of ``last``, when the last one was.

    Parameters
    ----------
    outputs
        Whether outputs became whole, or another step began, since the last.
    logs
        Whether a log grew, or anything else moved.
    age
        How long the command has run, s: who has just started a job looks at its log, later nobody does every second.
    least, most
        Seconds between two heartbeats.
    """
    if outputs:
        return last + least
    if logs:
        return last + min(max(age / SLOWER, 2 * least, LOGS), most / 2)
    return last + most


class Log:
    """One log file of the job. Offsets count what the job wrote on this machine: one that was staged in starts at its
    end."""

    def __init__(self, prefix: Prefix, name: str, path: str, start: int, sent: int) -> None:
        self._prefix, self._name, self._path, self._start = prefix, name, path, start
        self.chunked = sent - sent % CHUNK  # bytes in full chunks; a shorter one is written again
        self.tail = b""  # the bytes after them

    @property
    def size(self) -> int:
        """Bytes that were read."""
        return self.chunked + len(self.tail)

    @property
    def grown(self) -> bool:
        """Whether there is more."""
        try:
            return os.stat(self._path).st_size > self._start + self.size
        except OSError:
            return False

    def read(self, *, whole: bool = False) -> None:
        """Read what is new and send the chunks that became full; at the end, ``whole``, also the rest.

        A missing log has nothing new.
        """
        try:
            file = open(self._path, "rb")  # noqa: SIM115 - closed by the with below
        except OSError:
            return
        with file:
            while True:
                file.seek(self._start + self.chunked)
                data = file.read(CHUNK if self.chunked % LARGE else LARGE)
                size = chunk_size(self.chunked, len(data)) or (len(data) if whole else 0)
                if not size:
                    self.tail = data
                    return
                self._prefix.write_bytes(chunk_name(self._name, self.chunked), data[:size])
                self.chunked += size
                self.tail = b""


class Pulse:
    """The beat of one attempt."""

    def __init__(self, prefix: Prefix, outputs: Outputs, spec: Spec, pace: Pace) -> None:
        self._prefix, self._outputs, self._pace = prefix, outputs, pace
        self._most = max(spec.heartbeat, 0.05)
        self._least = min(max(spec.beat_least, 0.05), self._most)
        self._stop_check = max(pace.stop_check, self._most / STOP_LOOKS)
        self._thread = threading.Thread(target=self._beat_all, daemon=True)
        self._ended = threading.Event()
        self._born = pace.clock()
        self._last = 0.0  # the last heartbeat, s since the epoch
        self._next_stop_check = 0.0
        self._told: tuple[tuple[object, ...], Transfer] | None = None
        self._notice = Notice()
        self.stopped = threading.Event()  # stop.json was seen
        self.step = "inputs"
        self.command_started: float | None = None
        self.logs: dict[str, Log] = {}
        self.bytes_in = 0
        self.bytes_in_total = 0

    def start(self) -> None:
        """Start to beat."""
        self._notice.start()
        self._thread.start()

    def end(self, patience: Patience) -> None:
        """Stop beating, then send what is left of the logs. Raises the store's error."""
        self._notice.end()
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join(60)
        for log in self.logs.values():
            patience.insist(lambda log=log: log.read(whole=True))

    def tell_exit(self) -> None:
        """Tell home that exit.json is there. Home finds it by itself, later, when the store refuses."""
        self._try(lambda: self._tell(exited=True))

    def log_sizes(self) -> dict[str, int]:
        """Bytes of each log that are in chunks."""
        return {name: log.chunked for name, log in self.logs.items()}

    def turn(self) -> float:
        """Do what is due now; the seconds until the next turn."""
        now = self._pace.clock()
        if now >= self._due(now):
            self._last = now
            self._beat()
        if now >= self._next_stop_check and not self.stopped.is_set():
            self._next_stop_check = now + self._stop_check
            self._try(self._look_for_stop)
        soonest = self._last + self._least - self._pace.clock()
        return min(LOOK, soonest) if soonest > 0 else LOOK

    def _beat_all(self) -> None:
        while not self._ended.wait(self.turn()):
            pass

    def _due(self, now: float) -> float:
        state, moved = self._told or (None, None)
        return next_beat(
            self._last,
            outputs=state != self._state(),
            logs=any(log.grown for log in list(self.logs.values())) or moved != self._moved(),
            age=now - (self.command_started or self._born),
            least=self._least,
            most=self._most,
        )

    def _beat(self) -> None:
        for log in list(self.logs.values()):
            self._try(log.read)
        self._try(self._tell)

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception:  # noqa: BLE001 - the store's errors, or a bug: without a beat, home would take us for dead
            return  # the next beat tries again

    def _tell(self, *, exited: bool = False) -> None:
        state, moved, logs = self._state(), self._moved(), dict(self.logs)
        beat = Heartbeat(
            time=self._pace.clock(),
            step=self.step,
            log={name: log.size for name, log in logs.items()},
            batches=self._outputs.batches,
            command_started=self.command_started,
            tails={name: log.tail.decode("latin-1") for name, log in logs.items() if log.tail},
            moved=moved,
            exited=exited,
            full=self._outputs.full,
            interrupted=self._notice.came,
        )
        self._prefix.write("heartbeat.json", beat)
        self._told = state, moved

    def _state(self) -> tuple[object, ...]:
        """What home should know at once."""
        return self._outputs.batches, self.step, self.command_started, self._outputs.full, self._notice.came

    def _moved(self) -> Transfer:
        return Transfer(self.bytes_in, self.bytes_in_total, self._outputs.bytes, self._outputs.files)

    def _look_for_stop(self) -> None:
        if self._prefix.read(Stop, "stop.json") is not None:
            self.stopped.set()
