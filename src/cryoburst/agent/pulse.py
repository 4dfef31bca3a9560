"""Tells home that the agent lives: log chunks, progress, heartbeat, at a steady beat; and looks for stop.json.

The beat goes on whatever the main thread or the senders wait for. What the store refuses is tried at the next beat.
"""

import threading
from collections.abc import Callable

from cryoburst.agent.outputs import Outputs
from cryoburst.agent.place import Pace
from cryoburst.agent.prefix import Patience, Prefix
from cryoburst.model.documents import Heartbeat, Stop, Transfer

CHUNK = 4 << 20  # bytes of log in one object, at most


class Log:
    """One log file of the job; its chunks in the store are named for the offset of their first byte.

    Offsets count what the job wrote on this machine: a log that was staged in starts at its end.
    """

    def __init__(self, prefix: Prefix, name: str, path: str, start: int, sent: int) -> None:
        self._prefix, self._name, self._path, self._start = prefix, name, path, start
        self._length: int | None = None  # of a chunk that was refused: home may have it, so it keeps its length
        self.sent = sent

    def send(self) -> None:
        """Send all that is new. A missing log has nothing new."""
        try:
            file = open(self._path, "rb")  # noqa: SIM115, PTH123 - closed by the with below
        except OSError:
            return
        with file:
            while True:
                file.seek(self._start + self.sent)
                data = file.read(CHUNK if self._length is None else self._length)
                if not data:
                    return
                self._length = len(data)
                self._prefix.write_bytes(f"log/{self._name}.{self.sent:012d}", data)
                self.sent += len(data)
                self._length = None


class Pulse:
    """The beat of one attempt."""

    def __init__(self, prefix: Prefix, outputs: Outputs, seconds: float, pace: Pace) -> None:
        self._prefix, self._outputs, self._seconds, self._pace = prefix, outputs, max(seconds, 0.05), pace
        self._thread = threading.Thread(target=self._beat_all, daemon=True)
        self._ended = threading.Event()
        self._told: Transfer | None = None
        self.stopped = threading.Event()  # stop.json was seen
        self.step = "inputs"
        self.command_started: float | None = None
        self.logs: dict[str, Log] = {}
        self.bytes_in = 0
        self.bytes_in_total = 0

    def start(self) -> None:
        """Start to beat."""
        self._thread.start()

    def end(self, patience: Patience) -> None:
        """Stop beating, then send what is left of the logs and a last heartbeat. Raises the store's error."""
        self._ended.set()
        self._thread.join(60)
        for log in self.logs.values():
            patience.insist(log.send)
        patience.insist(self._tell_progress)
        patience.insist(self._tell_heartbeat)

    def log_sizes(self) -> dict[str, int]:
        """Bytes of each log that are in the store."""
        return {name: log.sent for name, log in self.logs.items()}

    def _beat_all(self) -> None:
        beat = 0.0  # the next one, and the next look for stop.json, in s since the epoch
        look = 0.0
        while True:
            now = self._pace.clock()
            if now >= beat:
                beat = now + self._seconds
                self._beat()
            if now >= look and not self.stopped.is_set():
                look = now + self._pace.stop_check
                self._try(self._look_for_stop)
            soon = beat if self.stopped.is_set() else min(beat, look)
            if self._ended.wait(max(0.0, soon - self._pace.clock())):
                return

    def _beat(self) -> None:
        for log in list(self.logs.values()):
            self._try(log.send)
        self._try(self._tell_progress)
        self._try(self._tell_heartbeat)

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception:  # noqa: BLE001 - the store's errors, or a bug: without a beat, home would take us for dead
            return  # the next beat tries again

    def _tell_progress(self) -> None:
        now = Transfer(self.bytes_in, self.bytes_in_total, self._outputs.bytes, self._outputs.files)
        if now != self._told:
            self._prefix.write("progress.json", now)
            self._told = now

    def _tell_heartbeat(self) -> None:
        beat = Heartbeat(self._pace.clock(), self.step, self.log_sizes(), self._outputs.batches, self.command_started)
        self._prefix.write("heartbeat.json", beat)

    def _look_for_stop(self) -> None:
        if self._prefix.read(Stop, "stop.json") is not None:
            self.stopped.set()
