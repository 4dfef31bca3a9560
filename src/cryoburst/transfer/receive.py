"""Fetches files from blobs in a store. A file has its final name only when all of it was verified and is on the disk.

It is written beside its target under a hidden name that is the same for the same content, so a transfer that was cut
goes on with what is missing: of a large file's pieces, those on the disk are verified and not fetched again.
"""
# ruff: noqa: PTH104, PTH116 - plain strings, as thousands of small files go through here

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from cryoburst.model.buffers import Buffer
from cryoburst.model.errors import Corrupt, NotThere
from cryoburst.model.store import PART, Store, read_whole
from cryoburst.transfer import disk
from cryoburst.transfer.content import DIGEST, PIECE, blob_key, digest_of, is_hole, pieces_of, zeros
from cryoburst.transfer.line import Line
from cryoburst.transfer.unpack import Came, unpack
from cryoburst.transfer.wanted import Wanted, write_at

GAP = 256 * 1024  # bytes between two wanted ranges of a pack that are read rather than asked for apart
TOGETHER = 8  # files from which on one sync of the file system is cheaper than one of each file
TRIES = 2  # a second read tells a bad transfer from a bad object


@dataclass(frozen=True)
class Unreceived:
    """A file that could not be fetched: ``Corrupt`` or ``NotThere`` in the store, or an ``OSError`` of this disk."""

    wanted: Wanted
    error: Exception


class Receiver:
    """Fetches from one store; safe for one caller at a time.

    ``moved`` is told, from several threads, of bytes that are on the disk, and whether they crossed the wire for it.
    """

    def __init__(
        self, store: Store, line: Line, moved: Callable[[int, bool], None] = lambda _size, _wire: None
    ) -> None:
        self._store, self._line, self._moved = store, line, moved
        self._lock = threading.Lock()
        self._disks: dict[int, disk.Disk] = {}  # device -> file system
        self._unreceived: list[Unreceived] = []

    def receive(self, wanted: Iterable[Wanted], done: Callable[[Wanted], None] = lambda _: None) -> list[Unreceived]:
        """Fetch all, the small ones first; ``done`` is told of each. The folders of the targets are made.

        Returns what is damaged, missing, or can't be written; the others have come. Raises the store's other errors.
        """
        self._unreceived = []
        self._line.each(self._tasks(wanted, done))
        return self._unreceived

    def _tasks(self, wanted: Iterable[Wanted], done: Callable[[Wanted], None]) -> Iterator[Callable[[], None]]:
        small: list[Wanted] = []
        large: list[Wanted] = []
        for each in wanted:
            (small if each.size <= PIECE else large).append(each)
        small.sort(key=lambda each: (each.place, each.size))
        run: list[Wanted] = []
        for each in small:
            if run and not _follows(run, each):
                yield lambda run=run: self._fetch_run(run, done)
                run = []
            run.append(each)
        if run:
            yield lambda: self._fetch_run(run, done)
        for each in large:
            yield from self._large(each, done)

    # ------------------------------------------------------------------------------------- files up to one piece

    def _fetch_run(self, run: list[Wanted], done: Callable[[Wanted], None]) -> None:
        """Fetch files that lie near each other in one blob with one request, verify and place them."""
        start = run[0].place.offset
        size = max(each.place.offset + each.size for each in run) - start
        try:
            came = self._unpacked(run, start, size)
        except (NotThere, Corrupt) as error:
            if len(run) == 1:
                self._leave(run[0], _about(run[0], error))
            else:
                for each in run:  # the blob may lack only the end: each by itself
                    self._fetch_run([each], done)
            return
        for each, error in came.failed:
            self._leave(each, error)
        for each in came.wrong:
            self._again(each, came.written)
        self._commit(came.written, done)
        for each in came.passed:
            self._fetch_run([each], done)

    def _unpacked(self, run: list[Wanted], start: int, size: int) -> "Came":
        """One request, verified as it comes, beside the targets."""
        key = run[0].place.key
        if not size:
            return unpack(run, start, ())
        with self._line.room(min(size, PART)):
            return self._line.carry(size, lambda: unpack(run, start, self._store.read(key, start, size)))

    def _again(self, each: Wanted, written: list[tuple[str, Wanted]]) -> None:
        """Read a content that was wrong once more; it is left when it is wrong again."""
        try:
            for _ in range(TRIES - 1):
                came = self._unpacked([each], each.place.offset, each.size)
                for _, error in came.failed:
                    raise error
                if came.written:
                    written += came.written
                    return
            raise Corrupt("what the store gave is not what was promised", where=each.name)
        except (NotThere, Corrupt, OSError) as error:
            self._leave(each, _about(each, error))

    def _commit(self, written: list[tuple[str, Wanted]], done: Callable[[Wanted], None]) -> None:
        """Bring written files safely to the disk, then to their names."""
        if len(written) >= TOGETHER:
            self._sync_together([temporary for temporary, _ in written])
        for temporary, each in written:
            try:
                if len(written) < TOGETHER:
                    _sync(temporary)
                each.take(temporary)
            except OSError as error:
                self._leave(each, error)
                continue
            self._moved(each.size, True)
            done(each)
        written.clear()

    def _sync_together(self, paths: Iterable[str]) -> None:
        """Bring the file systems of these files to the disk."""
        synced: set[int] = set()
        for folder in {path.rpartition("/")[0] for path in paths}:
            descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            try:
                device = os.fstat(descriptor).st_dev
                if device not in synced:
                    self._disks.setdefault(device, disk.Disk()).sync(descriptor)
                    synced.add(device)
            finally:
                os.close(descriptor)

    # --------------------------------------------------------------------------------------------- larger files

    def _large(self, each: Wanted, done: Callable[[Wanted], None]) -> Iterator[Callable[[], None]]:
        try:
            coming = _Coming(each, self._pieces(each), done)
        except (NotThere, Corrupt, OSError) as error:
            self._leave(each, _about(each, error))
            return
        for number in range(len(coming.digests)):
            yield lambda number=number: self._fetch_piece(coming, number)

    def _pieces(self, each: Wanted) -> list[bytes]:
        """The digests of a large file's pieces, verified against its checksum."""
        count = pieces_of(each.size)
        size = count * DIGEST
        for _ in range(TRIES):
            data = self._line.carry(size, lambda: read_whole(self._store, each.place.key, 0, size))
            if hashlib.sha256(data).hexdigest() == digest_of(each.checksum):
                return [data[n * DIGEST : (n + 1) * DIGEST] for n in range(count)]
        raise Corrupt("the list of pieces in the store is damaged", where=each.name)

    def _fetch_piece(self, coming: "_Coming", number: int) -> None:
        if coming.failed:
            return
        offset = number * PIECE
        size = min(PIECE, coming.wanted.size - offset)
        digest = coming.digests[number]
        try:
            wire = not coming.has(offset, size, digest)
            if wire:
                folder = coming.wanted.place.key.rsplit("/", 2)[0] + "/"
                self._piece(coming, blob_key(folder, digest.hex()), offset, size, digest)
            self._moved(size, wire)
            if coming.piece_done():
                coming.finish()
        except (NotThere, Corrupt, OSError) as error:
            with self._lock:
                first, coming.failed = not coming.failed, True
            if first:
                self._leave(coming.wanted, _about(coming.wanted, error))

    def _piece(self, coming: "_Coming", key: str, offset: int, size: int, digest: bytes) -> None:
        """Fetch one piece to its place in the file; what stands there counts only when it is verified."""
        for _ in range(TRIES):
            with self._line.room(min(size, PART)):
                came = self._line.carry(size, lambda: coming.write(offset, self._store.read(key, 0, size)))
            if came == digest:
                return
        raise Corrupt("a piece in the store is damaged", where=key)

    def _leave(self, each: Wanted, error: Exception) -> None:
        with self._lock:
            self._unreceived.append(Unreceived(each, error))


class _Coming:
    """A large file that comes in pieces, beside its target, or into the open file that stands there."""

    def __init__(self, wanted: Wanted, digests: list[bytes], done: Callable[[Wanted], None]) -> None:
        self.wanted, self.digests, self.failed = wanted, digests, False
        self._done, self._left, self._lock = done, len(digests), threading.Lock()
        self.temporary = wanted.beside
        if wanted.into < 0:
            wanted.make_folder()
            self._descriptor = os.open(self.temporary, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        else:
            self._descriptor = os.dup(wanted.into)
        os.ftruncate(self._descriptor, wanted.size)

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            os.close(self._descriptor)

    def has(self, offset: int, size: int, digest: bytes) -> bool:
        """Whether this piece is there: an earlier transfer brought it, or it is a hole and stays one."""
        if is_hole(self._descriptor, offset, size):
            return size == PIECE and digest == zeros()[1]
        found = hashlib.sha256()
        for start in range(offset, offset + size, PART):
            found.update(os.pread(self._descriptor, min(PART, offset + size - start), start))
        return found.digest() == digest

    def write(self, offset: int, parts: Iterable[Buffer]) -> bytes:
        """Write a piece as it comes; the SHA-256 of what came."""
        digest = hashlib.sha256()
        end = offset
        for part in parts:
            digest.update(part)
            end += write_at(self._descriptor, memoryview(part), end)
        disk.begin_writing(self._descriptor, offset, end - offset)
        return digest.digest()

    def piece_done(self) -> bool:
        """Note a piece; whether it was the last."""
        with self._lock:
            self._left -= 1
            return self._left == 0

    def finish(self) -> None:
        """All pieces are there: to the disk, then to the file's name."""
        os.utime(self._descriptor, ns=(self.wanted.mtime_ns, self.wanted.mtime_ns))
        os.fsync(self._descriptor)
        try:
            if self.wanted.into < 0:
                os.rename(self.temporary, self.wanted.target)
        except FileNotFoundError:  # another process that fetched the same was first
            if os.stat(self.wanted.target).st_size != self.wanted.size:
                raise
        self._done(self.wanted)


def _follows(run: list[Wanted], each: Wanted) -> bool:
    """Whether a file is read with those before it, in the order of their places."""
    first, last = run[0].place, run[-1]
    return (
        each.place.key == first.key
        and each.place.offset <= last.place.offset + last.size + GAP
        and each.place.offset + each.size - first.offset <= PIECE
    )


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _about(each: Wanted, error: Exception) -> Exception:
    """The store's error about a blob, told of the file that it was for; any other as it is."""
    if isinstance(error, Corrupt | NotThere):
        return type(error)(error.what, where=each.name, advice=error.advice)
    return error
