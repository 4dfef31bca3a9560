"""A store in a folder that both sides reach: a local disk, NFS or Lustre. Standard library only.

Every object is a file whose path is its key. Nothing is ever written in place: a writer makes a hidden file beside the
target, syncs it and renames it, so that a reader sees the old object, the new one, or none. The root is never made in
passing: a disk that is not mounted must not look like an empty store, so only ``create`` makes it, and leaves a sign in
it that every later call looks for.
"""
# Plain strings and os calls: a store moves thousands of small files, and a Path costs more than its system call.
# ruff: noqa: PTH102, PTH104, PTH106, PTH108, PTH116, PTH120, PTH123

import errno
import itertools
import os
import stat as modes
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from cryoburst.model.buffers import Buffer
from cryoburst.model.errors import BadInput, Corrupt, NotThere, StoreError, StoreFull, StoreUnavailable
from cryoburst.model.store import PART, UNFINISHED, Polled, Stored
from cryoburst.stores.keys import check_key, check_prefix

if TYPE_CHECKING:
    from cryoburst.model.plugins import Clock, Finding

HIDDEN = UNFINISHED  # files being written, and the root's sign; no key may have a part like this
SIGN = f"{HIDDEN}store"
STALE = 3600.0  # s after which a hidden file's writer is taken for dead
ABSENT = "absent"  # the tag of "there is no such object"

_counter = itertools.count()


class FolderStore:
    """The ``Store`` contract over the folder in a ``file:///path`` URL (percent-encoded, as ``Path.as_uri`` writes it).

    Safe for many threads and processes at once. A call lasts as long as the file system takes.
    """

    metered = False

    def __init__(self, url: str, clock: "Clock" = time.time) -> None:
        path = unquote(url.removeprefix("file://"))
        if not url.startswith("file:///") or "\0" in path or ".." in path.split("/"):
            raise BadInput("not the address of a folder", where=url, advice="write it like file:///data/store")
        self.url = url
        self.root = Path(path)
        self._base = str(self.root)
        self._clock = clock

    def create(self) -> None:
        """Make the root, inside a parent that exists. Silent when it is there already.

        Raises ``StoreUnavailable`` when the parent is missing: a disk may not be mounted.
        """
        try:
            self.root.mkdir(exist_ok=True)
            (self.root / SIGN).touch()
        except OSError as error:
            raise _refusal(error, self._base) from None

    def put(self, key: str, data: Buffer) -> None:
        """See ``Store.put``."""
        target = self._path(key)
        try:
            temporary, descriptor = self._begin(target)
            with _removed_unless_renamed(temporary), os.fdopen(descriptor, "wb", buffering=0) as out:
                _write(out.fileno(), data)
                os.fsync(out.fileno())
                os.rename(temporary, target)
        except OSError as error:
            raise _refusal(error, key) from None

    def get(self, key: str) -> bytes | None:
        """See ``Store.get``."""
        try:
            with open(self._path(key), "rb", buffering=0) as file:
                return file.readall()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            self._check_root()
            return None
        except OSError as error:
            raise _refusal(error, key) from None

    def find(self, key: str) -> Stored | None:
        """See ``Store.find``."""
        try:
            seen = os.stat(self._path(key))
        except (FileNotFoundError, NotADirectoryError):
            self._check_root()
            return None
        except OSError as error:
            raise _refusal(error, key) from None
        return Stored(key, seen.st_size, seen.st_mtime, _tag(seen)) if modes.S_ISREG(seen.st_mode) else None

    def read(self, key: str, offset: int, size: int) -> Iterator[bytes]:
        """See ``Store.read``."""
        if offset < 0 or size < 0:
            raise BadInput("a range begins and ends inside its object", where=key)
        try:
            with open(self._path(key), "rb", buffering=0) as file:
                end = offset + size
                if os.fstat(file.fileno()).st_size < end:
                    raise Corrupt(f"an object in the store ends before byte {end}", where=key)
                while offset < end and (data := os.pread(file.fileno(), min(PART, end - offset), offset)):
                    offset += len(data)
                    yield data
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            self._check_root()
            raise NotThere("no such object in the store", where=key) from None
        except OSError as error:
            raise _refusal(error, key) from None
        if offset < end:
            raise Corrupt(f"an object in the store ends before byte {end}", where=key)

    def poll(self, key: str, tag: str) -> Polled | None:
        """See ``Store.poll``. The tag is the file's time, size and inode: every write makes a new file."""
        try:
            with open(self._path(key), "rb", buffering=0) as file:
                seen = os.fstat(file.fileno())
                now = _tag(seen)
                return None if now == tag else Polled(file.readall(), now)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            self._check_root()
            return None if tag == ABSENT else Polled(None, ABSENT)
        except OSError as error:
            raise _refusal(error, key) from None

    def delete(self, *keys: str) -> None:
        """See ``Store.delete``. Folders that become empty go too."""
        folders: dict[str, None] = {}
        for key, target in [(key, self._path(key)) for key in keys]:
            try:
                os.unlink(target)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                self._check_root()
                continue
            except OSError as error:
                raise _refusal(error, key) from None
            folders[os.path.dirname(target)] = None
        for folder in folders:
            self._prune(folder)

    def probe(self) -> "list[Finding]":
        """See ``Store.probe``."""
        from cryoburst.stores import probe  # never needed on a machine

        return probe.look(self)

    def credential(self, read: Sequence[str], write: str, seconds: float) -> dict[str, str]:
        """Empty: who reaches the folder needs nothing more."""
        return {}

    def list(self, prefix: str) -> Iterator[Stored]:
        """See ``Store.list``. Reads one folder at a time; what appears or goes meanwhile may or may not be listed."""
        check_prefix(prefix)
        self._check_root()
        return self._walk(prefix)

    def _path(self, key: str) -> str:
        """The file of a key; ``BadInput`` when the key could lead elsewhere."""
        check_key(key)
        return f"{self._base}/{key}"

    def _check_root(self) -> None:
        """``StoreUnavailable`` when the root, or the sign that ``create`` left in it, can't be seen."""
        try:
            os.stat(f"{self._base}/{SIGN}")
        except OSError as error:
            make = "make the store first (cryoburst store add NAME URL --create), or mount its disk"
            advice = make if error.errno == errno.ENOENT else ""
            raise StoreUnavailable(f"no store here: {error.strerror}", where=self.url, advice=advice) from None

    def _begin(self, target: str) -> tuple[str, int]:
        """A new hidden file beside the target, and its descriptor; makes the folders between root and target."""
        self._check_root()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        for _ in range(10):  # a delete in another process may take an empty folder away again
            temporary = _beside(target)
            try:
                return temporary, os.open(temporary, flags, 0o666)
            except FileNotFoundError:
                self._make_folders(os.path.dirname(target))
        raise StoreUnavailable("a folder of the store keeps vanishing", where=target)

    def _make_folders(self, folder: str) -> None:
        made = self._base
        for part in folder[len(self._base) + 1 :].split("/"):
            made = f"{made}/{part}"
            try:
                os.mkdir(made)
            except FileExistsError:
                continue
            except FileNotFoundError:
                return  # taken away meanwhile: the caller tries again

    def _walk(self, prefix: str) -> Iterator[Stored]:
        try:
            with os.scandir(f"{self._base}/{prefix}") as found:
                entries = [entry for entry in found if not entry.name.startswith(HIDDEN)]
            # "a-b" comes before "a/b": folders sort with their slash, as whole keys do
            named = sorted((e.name + "/" if e.is_dir(follow_symlinks=False) else e.name, e) for e in entries)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise _refusal(error, prefix) from None
        for name, entry in named:
            if name.endswith("/"):
                yield from self._walk(prefix + name)
                continue
            try:
                stat = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise _refusal(error, prefix + name) from None
            yield Stored(prefix + name, stat.st_size, stat.st_mtime)

    def _prune(self, folder: str) -> None:
        """Remove folders that hold nothing, or only what dead writers left; stops at the first that can't go."""
        while len(folder) > len(self._base):
            try:
                with os.scandir(folder) as found:
                    entries = list(itertools.islice(found, 100))
                old = self._clock() - STALE
                if any(not e.name.startswith(HIDDEN) or e.stat().st_mtime > old for e in entries):
                    return
                for entry in entries:
                    os.unlink(entry)
                os.rmdir(folder)
            except OSError:
                return  # only tidiness: the object itself is gone
            folder = os.path.dirname(folder)


class _removed_unless_renamed:  # noqa: N801 - reads as a verb in a with statement
    """Takes the hidden file away when the block raises; a plain class because it runs for every small file."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is None:
            return
        try:
            os.unlink(self._path)
        except OSError:
            return  # the first error says more


def _tag(seen: os.stat_result) -> str:
    return f"{seen.st_mtime_ns}:{seen.st_size}:{seen.st_ino}"


def _beside(target: str) -> str:
    """A new hidden name in the target's folder, of a fixed length: the target's own name may be as long as allowed."""
    return f"{os.path.dirname(target)}/{HIDDEN}{os.getpid()}-{next(_counter)}-{os.urandom(4).hex()}"


def _write(descriptor: int, data: Buffer) -> None:
    view = memoryview(data).cast("B")
    while view:
        view = view[os.write(descriptor, view) :]


def _refusal(error: OSError, where: str) -> StoreError | BadInput:
    """What an error of the store's own file system means."""
    text = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull(f"the store is full: {text}", where=where)
    if error.errno in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.EILSEQ):
        return BadInput(f"the store can't hold this key: {text}", where=where)
    return StoreUnavailable(f"the store refused: {text}", where=where)
