"""Sends finished files to ``outputs/`` and tells of them in the journal. Never tells of a file that was being written.

A file is offered when the watch says that it is finished. A sender reads it once, hashing; what it read counts only
when the file is the same after as it was when it was found finished. Each file may be sent again when it changes. The
journal is written in batches: while one batch is under way, the files that become whole gather for the next.
"""

import queue
import threading

from cryoburst.agent.files import Identity, Seen, look
from cryoburst.agent.place import Pace, Place
from cryoburst.agent.prefix import GivenUp, Patience, Prefix
from cryoburst.model.documents import Batch, Output
from cryoburst.model.errors import BadInput, Corrupt, StoreError, one_line

SENDERS = 4
RESEND = 10.0  # a file that changes again and again is sent again after this many times the time that sending it took


class Outputs:
    """The outputs of one attempt. All methods may be called from any thread."""

    def __init__(self, prefix: Prefix, place: Place, patience: Patience, pace: Pace) -> None:
        self._prefix, self._place, self._patience, self._pace = prefix, place, patience, pace
        self._queue: queue.SimpleQueue[Seen] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._waiting: set[str] = set()  # paths in the queue or being sent
        self._again: dict[str, float] = {}  # s since the epoch before which a path should not be sent again
        self._sent: dict[str, tuple[tuple[int, int], Output]] = {}  # (size, mtime_ns), entry
        self._ready: list[Output] = []
        self._journal = threading.Lock()
        self.batches = 0
        self.files = 0
        self.bytes = 0
        self.left: dict[str, str] = {}  # path → why it stays behind
        self.staged: dict[str, Identity] = {}
        self.ignored: set[str] = set()  # paths that are no outputs: the logs, the abort file
        self.unsent: set[str] = set()  # paths that the store never took

    def start(self) -> None:
        """Start the senders."""
        for _ in range(SENDERS):
            threading.Thread(target=self._send_all, daemon=True).start()

    def resume(self, batches: list[Batch]) -> None:
        """Take over what another agent's journal tells of, so that it is not sent twice."""
        self.batches = len(batches)
        for batch in batches:
            for output in batch.outputs:
                self._sent[output.path] = ((output.size, output.mtime_ns), output)

    def wanted(self, path: str) -> Seen | None:
        """The file at an absolute path when it is an output that was not sent as it is now; else None."""
        seen = look(self._place, path)
        if seen is None or seen.path in self.ignored or self.staged.get(seen.path) == seen.identity:
            return None
        if seen.stays:
            self.left[seen.path] = seen.stays
            return None
        with self._changed:
            sent = self._sent.get(seen.path)
            return None if sent and self._same(seen, sent) else seen

    def busy(self, path: str) -> bool:
        """Whether a file (relative to the project) waits to be sent, so that it can't be offered again yet."""
        with self._changed:
            return path in self._waiting

    def due(self, path: str) -> float:
        """When a file (relative to the project) may be sent again, s since the epoch; 0 for now."""
        return self._again.get(path, 0.0)

    def offer(self, seen: Seen) -> None:
        """Send a file that was finished when it was seen so."""
        with self._changed:
            self._waiting.add(seen.path)
        self._queue.put(seen)

    def settle(self, seconds: float) -> bool:
        """Wait until nothing is waiting to be sent; whether that is so after at most these seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, timeout=seconds)

    def listing(self, present: set[str]) -> list[Output]:
        """The entries of all files that were sent and are still there, in the order of their paths."""
        with self._changed:
            return [output for path, (_, output) in sorted(self._sent.items()) if path in present]

    @staticmethod
    def _same(seen: Seen, sent: tuple[tuple[int, int], Output]) -> bool:
        return sent[0] == (seen.size, seen.mtime_ns) and sent[1].link == seen.link

    def _send_all(self) -> None:
        while True:
            seen = self._queue.get()
            try:
                began = self._pace.clock()
                output = self._send(seen)
                now = self._pace.clock()
                with self._changed:
                    self._again[seen.path] = now + RESEND * (now - began)
                    if output is not None:
                        self._sent[seen.path] = ((seen.size, seen.mtime_ns), output)
                        self._ready.append(output)
                        self.unsent.discard(seen.path)
                        self.files += 1
                        self.bytes += output.size
                if output is not None:
                    self._tell()
            except (StoreError, GivenUp):
                self.unsent.add(seen.path)  # the store never took it, and the time for trying is over
            except Exception as error:  # noqa: BLE001 - a bug with one file must not lose all others
                self.left[seen.path] = one_line(f"{seen.path} ({type(error).__name__}: {error})")
                self.unsent.add(seen.path)
            finally:
                with self._changed:
                    self._waiting.discard(seen.path)
                    self._changed.notify_all()

    def _send(self, seen: Seen) -> Output | None:
        """Put one file; None when it vanished, changed meanwhile or can't be sent."""
        if seen.link:
            return Output(seen.path, 0, "", seen.mtime_ns, seen.link)
        if self._now(seen) != seen:
            return None  # the change has its own event
        name = f"outputs/{seen.path}"
        try:
            try:
                size, checksum = self._patience.insist(lambda: self._prefix.write_file(name, seen.source))
            except BadInput:  # a file became a folder, or a folder a file: the old object is in the way
                self._make_room(seen.path)
                size, checksum = self._patience.insist(lambda: self._prefix.write_file(name, seen.source))
        except Corrupt:
            return None
        except BadInput as error:
            self.left[seen.path] = f"{seen.path} ({error.what})"
            return None
        except OSError as error:
            if self._now(seen) is not None:
                self.left[seen.path] = f"{seen.path} ({error.strerror})"
            return None
        if self._now(seen) != seen or size != seen.size:
            return None
        return Output(seen.path, size, checksum, seen.mtime_ns)

    def _now(self, seen: Seen) -> Seen | None:
        return look(self._place, f"{self._place.project}/{seen.path}")

    def _make_room(self, path: str) -> None:
        """Delete what was sent under a path that is now a file's, or from a path that is now a folder's."""
        with self._changed:
            gone = [p for p in self._sent if p.startswith(path + "/") or path.startswith(p + "/")]
            for each in gone:
                del self._sent[each]
        for each in gone:
            self._patience.insist(lambda each=each: self._prefix.delete(f"outputs/{each}"))

    def _tell(self) -> None:
        """Write what is ready to the journal, unless another sender does so first."""
        with self._journal:
            with self._changed:
                ready, self._ready = self._ready, []
            if not ready:
                return
            name = f"journal/{self.batches + 1:06d}.json"
            try:
                self._patience.insist(lambda: self._prefix.write(name, Batch(ready)))
            except (StoreError, GivenUp):
                with self._changed:
                    self._ready = ready + self._ready
                raise
            self.batches += 1
