"""Sends files to a folder of blobs in a store. A file is read once; what the store has already is not sent.

What was read counts only when the file is the same after as it was when it was found: a file that changes while it is
sent is named and left to its caller, and so is one that vanishes or can't be read. Nothing is skipped silently.
"""
# ruff: noqa: PTH116 - plain strings, as thousands of small files go through here

import hashlib
import mmap
import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from cryoburst.model.buffers import Buffer
from cryoburst.model.documents import Place
from cryoburst.model.store import Store
from cryoburst.transfer.content import LARGE, PACKED, PIECE, SMALL, blob_key, is_hole, pieces_of, zeros
from cryoburst.transfer.line import Line
from cryoburst.transfer.packs import pack_table, table_size

CHANGED = "it changed while it was sent"
PACK_FILES = 4096  # in one pack, at most


@dataclass(frozen=True)
class Source:
    """A file to send, as it was when that was decided."""

    name: str  # for people: relative to the project
    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Sent:
    """A file whose content is in the store."""

    source: Source
    checksum: str
    place: Place


@dataclass(frozen=True)
class Unsent:
    """A file that could not be sent, and why, as a part of a sentence."""

    source: Source
    why: str


class Sender:
    """Sends to one folder of blobs; safe for one caller at a time.

    ``known`` says where a checksum is in the store already. ``kept`` is told of every content and piece that the store
    has taken, as soon as it has, so that a transfer that is cut goes on from there. ``moved`` is told of bytes that are
    dealt with, and whether they crossed the wire. Both are called from several threads. Who sends little and often has
    ``buffers``, empty at first, for all of its senders: memory that was used before is the quickest, and one stays.
    """

    def __init__(
        self,
        store: Store,
        folder: str,
        line: Line,
        known: Callable[[str], Place | None] = lambda _: None,
        kept: Callable[[Mapping[str, Place]], None] = lambda _: None,
        moved: Callable[[int, bool], None] = lambda _size, _wire: None,
        buffers: list[mmap.mmap] | None = None,
    ) -> None:
        self._store, self._folder, self._line = store, folder, line
        self._known, self._kept, self._moved = known, kept, moved
        self._lock = threading.Condition()
        self._going: set[bytes] = set()  # digests of what is being sent
        self._unsent: list[Unsent] = []
        self._buffers: list[mmap.mmap] = [] if buffers is None else buffers  # those that nobody uses now
        self._spare = 0 if buffers is None else 1  # how many of them outlive a call

    def send(self, sources: Iterable[Source], done: Callable[[list[Sent]], None]) -> list[Unsent]:
        """Send all; ``done`` is told of files as they are in the store. Returns those that could not be sent.

        Small files are gathered in the order in which they come. Raises the store's error; what was sent stays.
        """
        self._unsent = []
        try:
            self._line.each(self._tasks(sources, done))
        finally:
            del self._buffers[self._spare :]
        return self._unsent

    def _tasks(self, sources: Iterable[Source], done: Callable[[list[Sent]], None]) -> Iterator[Callable[[], None]]:
        group: list[Source] = []
        size = 0
        for source in sources:
            if source.size > PIECE:
                large = _Large(source, done)
                yield from (partial(self._piece, large, number) for number in range(pieces_of(source.size)))
            elif source.size > PACKED:
                yield partial(self._pack, [source], done)
            else:
                if size + source.size > PIECE or len(group) >= PACK_FILES:
                    yield partial(self._pack, group, done)
                    group, size = [], 0
                group.append(source)
                size += source.size
        if group:
            yield partial(self._pack, group, done)

    # ------------------------------------------------------------------------------------- files up to one piece

    def _pack(self, group: list[Source], done: Callable[[list[Sent]], None]) -> None:
        """Send files of together at most one piece, as one blob."""
        size = sum(source.size for source in group)
        with ExitStack() as stack:
            buffer = stack.enter_context(self._buffer(size + table_size(len(group))))
            new: dict[str, tuple[int, int]] = {}  # checksum -> offset and size in the buffer, of what the store lacks
            read: list[tuple[Source, str]] = []
            places: dict[str, Place] = {}
            end = 0
            for source in group:
                data = buffer[end : end + source.size]
                if not self._read(source, data):
                    continue
                checksum = SMALL + hashlib.sha256(data).hexdigest()
                read.append((source, checksum))
                if len(group) == 1:  # a blob of its own: the same may be on its way under another name
                    stack.enter_context(self._alone(bytes.fromhex(checksum.removeprefix(SMALL))))
                place = self._known(checksum)
                if place is not None:
                    places[checksum] = place
                elif checksum not in new:
                    new[checksum] = (end, source.size)
                    end += source.size
            if new:
                kept = self._put_together(new, buffer, end)
                self._kept(kept)
                places |= kept
        if read:
            self._moved(end, True)
            self._moved(sum(source.size for source, _ in read) - end, False)
            done([Sent(source, checksum, places[checksum]) for source, checksum in read])

    @contextmanager
    def _buffer(self, size: int) -> Generator[memoryview, None, None]:
        """Memory for a blob, which is used again: that of thousands of files, each by itself, would never be free."""
        with self._line.room(size):
            try:
                buffer = self._buffers.pop()
            except IndexError:
                # Not a bytearray, which is written from end to end when it is made: what is not used takes no memory.
                buffer = mmap.mmap(-1, PIECE + table_size(PACK_FILES))
            try:
                yield memoryview(buffer)[:size]
            finally:
                self._buffers.append(buffer)

    def _read(self, source: Source, data: memoryview) -> bool:
        """Read a whole file; False when it is not what it was; then it is noted as unsent."""
        try:
            descriptor = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                same = _fill(descriptor, data, 0) and _same(descriptor, source)
            finally:
                os.close(descriptor)
        except OSError as error:
            self._leave(source, error.strerror or str(error))
            return False
        if not same:
            self._leave(source, CHANGED)
        return same

    def _put_together(self, new: Mapping[str, tuple[int, int]], buffer: memoryview, end: int) -> dict[str, Place]:
        """Put contents, which stand in the buffer up to ``end``, as one blob: itself when there is one, else a pack."""
        if len(new) == 1:
            (checksum,) = new
            key = blob_key(self._folder, checksum.removeprefix(SMALL))
        else:
            table = pack_table(new)
            buffer[end : end + len(table)] = table
            end += len(table)
            key = f"{self._folder}packs/{hashlib.sha256(buffer[:end]).hexdigest()}"
        self._put(key, buffer[:end])
        return {checksum: Place(key, offset) for checksum, (offset, _) in new.items()}

    # --------------------------------------------------------------------------------------------- larger files

    def _piece(self, large: "_Large", number: int) -> None:
        """Send one piece; whoever sends the last one sends the list of pieces too."""
        if large.failed:
            return None
        offset = number * PIECE
        size = min(PIECE, large.source.size - offset)
        try:
            if size == PIECE and large.is_hole(offset, size):
                data, digest = zeros()
                self._put_piece(data, digest)
            else:
                with self._buffer(size) as data:
                    if not large.read(offset, data):
                        return self._fail(large, CHANGED)
                    digest = hashlib.sha256(data).digest()
                    self._put_piece(data, digest)
        except OSError as error:
            return self._fail(large, error.strerror or str(error))
        if large.piece_done(number, digest):
            self._finish(large)
        return None

    def _put_piece(self, data: bytes | memoryview, digest: bytes) -> None:
        place = Place(blob_key(self._folder, digest.hex()), 0)
        with self._alone(digest):  # the same piece may come twice at once
            wire = self._known(SMALL + digest.hex()) != place
            if wire:
                self._put(place.key, data)
                self._kept({SMALL + digest.hex(): place})
        self._moved(len(data), wire)

    @contextmanager
    def _alone(self, digest: bytes) -> Generator[None, None, None]:
        """Within it, nobody else sends the content with this digest."""
        with self._lock:
            self._lock.wait_for(lambda: digest not in self._going)
            self._going.add(digest)
        try:
            yield
        finally:
            with self._lock:
                self._going.remove(digest)
                self._lock.notify_all()

    def _finish(self, large: "_Large") -> None:
        try:
            same = large.unchanged()
        except OSError as error:
            return self._fail(large, error.strerror or str(error))
        if not same:
            return self._fail(large, CHANGED)
        pieces = b"".join(large.digests)
        digest = hashlib.sha256(pieces).hexdigest()
        place = Place(blob_key(self._folder, digest), 0)
        if self._known(LARGE + digest) != place:
            self._put(place.key, pieces)
            self._kept({LARGE + digest: place})
        large.done([Sent(large.source, LARGE + digest, place)])
        return None

    def _fail(self, large: "_Large", why: str) -> None:
        with self._lock:
            first = not large.failed
            large.failed = True
        if first:
            self._leave(large.source, why)
        large.close()

    # --------------------------------------------------------------------------------------------------- common

    def _put(self, key: str, data: Buffer) -> None:
        size = len(memoryview(data))
        self._line.carry(size, lambda: self._store.put(key, data))

    def _leave(self, source: Source, why: str) -> None:
        with self._lock:
            self._unsent.append(Unsent(source, why))


class _Large:
    """A file that goes in pieces: one descriptor for all of them, closed with the last."""

    def __init__(self, source: Source, done: Callable[[list[Sent]], None]) -> None:
        self.source, self.done = source, done
        self.digests = [b""] * pieces_of(source.size)
        self.failed = False
        self._left = len(self.digests)
        self._lock = threading.Lock()
        self._descriptor = -1
        self._sparse = False

    def is_hole(self, offset: int, size: int) -> bool:
        """Whether a range holds no data on the disk, and is all zeros."""
        descriptor = self._open()
        return self._sparse and is_hole(descriptor, offset, size)

    def read(self, offset: int, data: memoryview) -> bool:
        """Fill a buffer from an offset on; whether there were so many bytes."""
        return _fill(self._open(), data, offset)

    def _open(self) -> int:
        with self._lock:
            if self._descriptor < 0:
                self._descriptor = os.open(self.source.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
                stat = os.fstat(self._descriptor)
                if stat.st_blocks * 512 < stat.st_size:
                    # What is said of holes can be wrong for data that is not on the disk yet (openzfs/zfs#15526).
                    with suppress(OSError):
                        os.fsync(self._descriptor)
                        self._sparse = True
            return self._descriptor

    def piece_done(self, number: int, digest: bytes) -> bool:
        """Note a piece; whether it was the last."""
        with self._lock:
            self.digests[number] = digest
            self._left -= 1
            return self._left == 0

    def unchanged(self) -> bool:
        """Whether the file is what it was, at its end and by its name."""
        same = _same(self._descriptor, self.source)
        self.close()
        return same

    def close(self) -> None:
        """Close the file. Silent when it is."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._descriptor = -1


def _fill(descriptor: int, data: memoryview, offset: int) -> bool:
    """Fill a buffer from a file; whether there were so many bytes."""
    while data and (count := os.preadv(descriptor, [data], offset)):
        data, offset = data[count:], offset + count
    return not data


def _same(descriptor: int, source: Source) -> bool:
    """Whether an open file is what it was, and still the one of its name."""
    now, named = os.fstat(descriptor), os.stat(source.path)
    return (now.st_size, now.st_mtime_ns) == (source.size, source.mtime_ns) and now.st_ino == named.st_ino
