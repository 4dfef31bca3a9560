"""Sends finished files to ``outputs/`` and tells of them in the journal. Never tells of a file that was being written.

A file is offered when the watch says that it is finished. A sender reads it once, hashing; what it read counts only
when the file is the same after as it was when it was found finished. Each file may be sent again when it changes. Small
files go before large ones, and together; the journal is written in batches: while one is under way, the files that
become whole gather for the next.
"""

import heapq
import itertools
import mmap
import threading
from collections.abc import Mapping

from cryoburst.agent.files import Identity, Seen, look
from cryoburst.agent.place import Pace, Place
from cryoburst.agent.prefix import GivenUp, Patience, Prefix
from cryoburst.agent.promised import is_coming
from cryoburst.model import documents
from cryoburst.model.documents import Batch, Output
from cryoburst.model.errors import StoreError, one_line
from cryoburst.transfer import PIECE, Line, Sender, Sent, Source
from cryoburst.transfer.content import PACKED, SMALL
from cryoburst.transfer.send import CHANGED

OUTPUTS = "outputs/"  # the folder of blobs of an attempt
SENDERS = 4
TOGETHER = 256  # small files that go in one pack, at most: what is ready must not wait long for others
NOT_COME = " (an input that has not come)"
RESEND = 10.0  # a file that changes again and again is sent again after this many times the time that sending it took


class Outputs:
    """The outputs of one attempt. All methods may be called from any thread."""

    def __init__(self, prefix: Prefix, place: Place, patience: Patience, pace: Pace) -> None:
        self._prefix, self._place, self._patience, self._pace = prefix, place, patience, pace
        self._line = Line(insist=patience.insist)
        self._ahead = int(pace.ahead * 1e9)  # ns: an output is told of with its time by the right clock
        self._queue: list[tuple[bool, int, Seen]] = []  # a heap: small ones first, then in the order of offers
        self._offers = itertools.count()
        self._known: dict[str, documents.Place] = {}  # what the store has of this attempt: checksum -> place
        self._buffers: list[mmap.mmap] = []  # what the senders read files into
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

    def resume(self, batches: list[Batch], blobs: list[str]) -> None:
        """Take over what another agent's journal tells of, and the blobs that it sent, so that nothing goes twice."""
        self.batches = len(batches)
        places = {SMALL + name.rpartition("/")[2]: self._prefix.key + OUTPUTS + name for name in blobs}
        self._known = {checksum: documents.Place(key, 0) for checksum, key in places.items() if "/packs/" not in key}
        for batch in batches:
            for output in batch.outputs:
                self._sent[output.path] = ((output.size, output.mtime_ns + self._ahead), output)

    def wanted(self, path: str) -> Seen | None:
        """The file at an absolute path when it is an output that was not sent as it is now; else None."""
        seen = look(self._place, path)
        if seen is None or seen.path in self.ignored or self.staged.get(seen.path) == seen.identity:
            return None
        if is_coming(seen.source):
            self.left[seen.path] = f"{seen.path}{NOT_COME}"
            return None
        if seen.stays:
            self.left[seen.path] = seen.stays
            return None
        if self.left.get(seen.path, "").endswith(NOT_COME):
            del self.left[seen.path]  # it has
        with self._changed:
            sent = self._sent.get(seen.path)
            return None if sent and self._same(seen, sent) else seen

    @property
    def full(self) -> bool:
        """Whether outputs wait because the store has no room."""
        return bool(self._waiting) and self._patience.full

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
            heapq.heappush(self._queue, (seen.size > PACKED, next(self._offers), seen))
            self._changed.notify_all()

    def settle(self, seconds: float) -> bool:
        """Wait until nothing is waiting to be sent; whether that is so after at most these seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, timeout=seconds)

    def listing(self, present: set[str]) -> list[Output]:
        """The entries of all files that were sent and are still there, in the order of their paths."""
        with self._changed:
            return [output for path, (_, output) in sorted(self._sent.items()) if path in present]

    def gone(self, present: set[str]) -> list[str]:
        """The paths of the files that were sent and are there no more."""
        with self._changed:
            return sorted(path for path in self._sent if path not in present)

    @staticmethod
    def _same(seen: Seen, sent: tuple[tuple[int, int], Output]) -> bool:
        return sent[0] == (seen.size, seen.mtime_ns) and sent[1].link == seen.link

    def _send_all(self) -> None:
        while True:
            group = self._next()
            began = self._pace.clock()
            try:
                outputs = self._send(group)
                now = self._pace.clock()
                with self._changed:
                    for seen in group:
                        self._again[seen.path] = now + RESEND * (now - began)
                        if (output := outputs.get(seen.path)) is not None:
                            self._sent[seen.path] = ((seen.size, seen.mtime_ns), output)
                            self._ready.append(output)
                            self.unsent.discard(seen.path)
                            self.files += 1
                            self.bytes += output.size
                if outputs:
                    self._tell()
            except (StoreError, GivenUp):  # the store never took them, and the time for trying is over
                self.unsent.update(seen.path for seen in group)
            except Exception as error:  # noqa: BLE001 - a bug with one file must not lose all others
                for seen in group:
                    self.left[seen.path] = one_line(f"{seen.path} ({type(error).__name__}: {error})")
                    self.unsent.add(seen.path)
            finally:
                with self._changed:
                    self._waiting.difference_update(seen.path for seen in group)
                    self._changed.notify_all()

    def _next(self) -> list[Seen]:
        """Wait for work: the small files that are there, or one larger."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue)
            group = [heapq.heappop(self._queue)[2]]
            size = group[0].size
            while self._queue and len(group) < TOGETHER and size + self._queue[0][2].size <= PIECE:
                if self._queue[0][0]:
                    break
                group.append(heapq.heappop(self._queue)[2])
                size += group[-1].size
        return group

    def _send(self, group: list[Seen]) -> dict[str, Output]:
        """Put files; what is in the store now, by path. Left out: what vanished, changed meanwhile or can't be sent."""
        outputs = {s.path: Output(s.path, 0, "", "", 0, self._time(s), s.link) for s in group if s.link}
        files = {s.path: s for s in group if not s.link and self._now(s) == s}  # a change has its own event
        sources = (Source(seen.path, seen.source, seen.size, seen.mtime_ns) for seen in files.values())

        def done(sent: list[Sent]) -> None:
            for each in sent:
                seen = files[each.source.name]
                if self._now(seen) == seen:
                    outputs[seen.path] = Output(seen.path, seen.size, each.checksum, *each.place, self._time(seen))

        folder = self._prefix.key + OUTPUTS
        sender = Sender(self._prefix.store, folder, self._line, self._known.get, self._keep, buffers=self._buffers)
        for unsent in sender.send(sources, done):
            if unsent.why != CHANGED and self._now(files[unsent.source.name]) is not None:
                self.left[unsent.source.name] = f"{unsent.source.name} ({unsent.why})"
        return outputs

    def _time(self, seen: Seen) -> int:
        return seen.mtime_ns - self._ahead

    def _keep(self, new: Mapping[str, documents.Place]) -> None:
        with self._changed:
            self._known.update(new)

    def _now(self, seen: Seen) -> Seen | None:
        return look(self._place, f"{self._place.project}/{seen.path}")

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
