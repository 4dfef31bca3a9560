"""Fetches files from blobs in a store. A file has its final name only when all of it was verified and is on the disk.

It is written beside its target under a hidden name that is the same for the same content, so a transfer that was cut
goes on with what is missing: of a large file's pieces, those on the disk are verified and not fetched again.
"""
# ruff: noqa: PTH103, PTH104, PTH108, PTH116, PTH120 - plain strings, as thousands of small files go through here

import ctypes
import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from cryoburst.model.documents import Place
from cryoburst.model.errors import Corrupt, NotThere
from cryoburst.model.store import UNFINISHED, Store
from cryoburst.transfer.content import DIGEST, PACKED, PIECE, SMALL, blob_key, digest_of, is_hole, pieces_of, zeros
from cryoburst.transfer.line import Line

GAP = 256 * 1024  # bytes between two wanted ranges of a pack that are read rather than asked for apart
TOGETHER = 8  # files from which on one sync of the file system is cheaper than one of each file
M_MMAP_THRESHOLD = -3  # <malloc.h>
TRIES = 2  # a second read tells a bad transfer from a bad object


@dataclass(frozen=True)
class Wanted:
    """A file to fetch: what it must be, where it is in the store, and where it goes."""

    name: str  # for people
    target: str
    size: int
    checksum: str
    place: Place
    mtime_ns: int


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
        self._disks: dict[int, _Disk] = {}  # device -> file system
        self._unreceived: list[Unreceived] = []

    def receive(self, wanted: Iterable[Wanted], done: Callable[[Wanted], None] = lambda _: None) -> list[Unreceived]:
        """Fetch all, the small ones first; ``done`` is told of each. The folders of the targets are made.

        Returns what is damaged, missing, or can't be written; the others have come. Raises the store's other errors.
        """
        self._unreceived = []
        _hoard_no_blobs()
        self._line.each(self._tasks(wanted, done))
        return self._unreceived

    def _tasks(self, wanted: Iterable[Wanted], done: Callable[[Wanted], None]) -> Iterator[Callable[[], None]]:
        small: list[Wanted] = []
        large: list[Wanted] = []
        for each in wanted:
            (small if each.size <= PIECE else large).append(each)
        small.sort(key=lambda each: each.place)
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
        written: list[tuple[str, Wanted]] = []
        try:
            self._write_run(run, written)
        except (NotThere, Corrupt) as error:
            if len(run) == 1:
                self._leave(run[0], _about(run[0], error))
            else:
                for each in run:  # the blob may lack only the end: each by itself
                    self._fetch_run([each], done)
            return
        self._commit(written, done)

    def _write_run(self, run: list[Wanted], written: list[tuple[str, Wanted]]) -> None:
        """Fetch and verify files that lie near each other, and write them beside their targets."""
        start = run[0].place.offset
        size = max(each.place.offset + each.size for each in run) - start
        with self._line.room(size):
            view = self._range(run[0].place.key, start, size)
            for each in run:
                begin = each.place.offset - start
                self._place(each, view[begin : begin + each.size], written)

    def _place(self, each: Wanted, part: memoryview, written: list[tuple[str, Wanted]]) -> None:
        """Verify a content and write it beside its target."""
        try:
            if SMALL + hashlib.sha256(part).hexdigest() != each.checksum:
                part = self._again(each)
            written.append((_write(each, part), each))
        except (NotThere, Corrupt, OSError) as error:
            self._leave(each, _about(each, error))

    def _range(self, key: str, offset: int, size: int) -> memoryview:
        if size == 0:
            return memoryview(b"")
        return memoryview(self._line.carry(size, lambda: self._store.get_range(key, offset, size)))

    def _again(self, each: Wanted) -> memoryview:
        """Read a content that was wrong once more; ``Corrupt`` when it is wrong again."""
        for _ in range(TRIES - 1):
            part = self._range(each.place.key, each.place.offset, each.size)
            if SMALL + hashlib.sha256(part).hexdigest() == each.checksum:
                return part
        raise Corrupt("what the store gave is not what was promised", where=each.name)

    def _commit(self, written: list[tuple[str, Wanted]], done: Callable[[Wanted], None]) -> None:
        """Bring written files safely to the disk, then to their names."""
        if len(written) >= TOGETHER:
            self._sync_together([temporary for temporary, _ in written])
        for temporary, each in written:
            try:
                if len(written) < TOGETHER:
                    _sync(temporary)
                os.rename(temporary, each.target)
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
                    self._disks.setdefault(device, _Disk()).sync(descriptor)
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
        for _ in range(TRIES):
            data = bytes(self._range(each.place.key, 0, count * DIGEST))
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
            with self._line.room(size):
                wire = not coming.has(offset, size, digest)
                if wire:
                    folder = coming.wanted.place.key.rsplit("/", 2)[0] + "/"
                    coming.write(offset, self._piece(blob_key(folder, digest.hex()), size, digest))
            self._moved(size, wire)
            if coming.piece_done():
                coming.finish()
        except (NotThere, Corrupt, OSError) as error:
            with self._lock:
                first, coming.failed = not coming.failed, True
            if first:
                self._leave(coming.wanted, _about(coming.wanted, error))

    def _piece(self, key: str, size: int, digest: bytes) -> memoryview:
        for _ in range(TRIES):
            data = self._range(key, 0, size)
            if hashlib.sha256(data).digest() == digest:
                return data
        raise Corrupt("a piece in the store is damaged", where=key)

    def _leave(self, each: Wanted, error: Exception) -> None:
        with self._lock:
            self._unreceived.append(Unreceived(each, error))


class _Coming:
    """A large file that comes in pieces, beside its target."""

    def __init__(self, wanted: Wanted, digests: list[bytes], done: Callable[[Wanted], None]) -> None:
        self.wanted, self.digests, self.failed = wanted, digests, False
        self._done, self._left, self._lock = done, len(digests), threading.Lock()
        self.temporary = _beside(wanted)
        _make_folder(wanted.target)
        self._descriptor = os.open(self.temporary, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        os.ftruncate(self._descriptor, wanted.size)

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            os.close(self._descriptor)

    def has(self, offset: int, size: int, digest: bytes) -> bool:
        """Whether this piece is there: an earlier transfer brought it, or it is a hole and stays one."""
        if is_hole(self._descriptor, offset, size):
            return size == PIECE and digest == zeros()[1]
        return hashlib.sha256(os.pread(self._descriptor, size, offset)).digest() == digest

    def write(self, offset: int, data: memoryview) -> None:
        """Write a verified piece."""
        write_at(self._descriptor, data, offset)

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
            os.rename(self.temporary, self.wanted.target)
        except FileNotFoundError:  # another process that fetched the same was first
            if os.stat(self.wanted.target).st_size != self.wanted.size:
                raise
        self._done(self.wanted)


def write_at(descriptor: int, data: memoryview, offset: int) -> None:
    """Write all of the data at an offset of an open file."""
    while data:
        done = os.pwrite(descriptor, data, offset)
        data, offset = data[done:], offset + done


def _follows(run: list[Wanted], each: Wanted) -> bool:
    """Whether a file is read with those before it, in the order of their places."""
    first, last = run[0].place, run[-1]
    return (
        each.place.key == first.key
        and each.place.offset <= last.place.offset + last.size + GAP
        and each.place.offset + each.size - first.offset <= PIECE
    )


def _write(each: Wanted, part: memoryview) -> str:
    """Write a verified content beside its target; the hidden name."""
    temporary = f"{_beside(each)}-{os.urandom(4).hex()}"  # of our own: another process may fetch the same now
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(temporary, flags, 0o666)
    except FileNotFoundError:
        _make_folder(each.target)
        descriptor = os.open(temporary, flags, 0o666)
    try:
        while part:
            part = part[os.write(descriptor, part) :]
        os.utime(descriptor, ns=(each.mtime_ns, each.mtime_ns))
    except OSError:
        os.unlink(temporary)
        raise
    finally:
        os.close(descriptor)
    return temporary


def _make_folder(target: str) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)


def _beside(wanted: Wanted) -> str:
    """The hidden name of a file that is coming: of a fixed length, the same for the same name and content."""
    folder, _, name = wanted.target.rpartition("/")
    mark = hashlib.sha256(f"{name}\0{wanted.checksum}".encode("utf-8", "surrogateescape")).hexdigest()[:24]
    return f"{folder}/{UNFINISHED}{mark}"


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Disk:
    """A file system, brought to the disk as a whole (syncfs(2)): one wait for thousands of small files.

    A sync looks at every file that the kernel remembers, so those who ask while one is under way share the next.
    """

    def __init__(self) -> None:
        self._asked = self._done = 0
        self._lock, self._turn = threading.Lock(), threading.Lock()

    def sync(self, descriptor: int) -> None:
        """Return when all that was written before is on the disk. Raises OSError."""
        with self._lock:
            self._asked += 1
            mine = self._asked
        with self._turn:
            if self._done >= mine:
                return
            with self._lock:
                asked = self._asked
            _syncfs(descriptor)
            self._done = asked


def _syncfs(descriptor: int) -> None:
    if not hasattr(_libc(), "syncfs"):
        os.sync()
    elif _libc().syncfs(descriptor) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@cache
def _hoard_no_blobs() -> None:
    """Have the memory of a blob go back to the system when it is freed.

    The GNU library learns from the first that is freed to keep the others, one or two in the heap of each thread.
    """
    if hasattr(_libc(), "mallopt"):
        _libc().mallopt(M_MMAP_THRESHOLD, PACKED)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _about(each: Wanted, error: Exception) -> Exception:
    """The store's error about a blob, told of the file that it was for; any other as it is."""
    if isinstance(error, Corrupt | NotThere):
        return type(error)(error.what, where=each.name, advice=error.advice)
    return error
