"""A store in a folder that both sides reach: a local disk, NFS or Lustre. Standard library only.

Every object is a file whose path is its key. Nothing is ever written in place: a writer makes a hidden file beside the
target, syncs it and renames it, so that a reader sees the old object, the new one, or none. The root is never made in
passing: a disk that is not mounted must not look like an empty store, so only ``create`` makes it, and leaves a sign in
it that every later call looks for.
"""
# Plain strings and os calls: a store moves thousands of small files, and a Path costs more than its system call.
# ruff: noqa: PTH102, PTH104, PTH106, PTH108, PTH116, PTH120, PTH123

import errno
import hashlib
import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

from cryoburst.model.errors import BadInput, Corrupt, NotThere, StoreError, StoreFull, StoreUnavailable
from cryoburst.model.plugins import UNFINISHED, Clock, Stored

HIDDEN = UNFINISHED  # files being written, and the root's sign; no key may have a part like this
SIGN = f"{HIDDEN}store"
CHUNK = 1 << 20  # bytes
STALE = 3600.0  # s after which a hidden file's writer is taken for dead

_counter = itertools.count()


class FolderStore:
    """The ``Store`` contract over the folder in a ``file:///path`` URL (percent-encoded, as ``Path.as_uri`` writes it).

    Safe for many threads and processes at once. A call lasts as long as the file system takes.
    """

    def __init__(self, url: str, clock: Clock = time.time) -> None:
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

    def put(self, key: str, data: bytes) -> None:
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

    def put_file(self, key: str, source: Path) -> tuple[int, str]:
        """See ``Store.put_file``. ``Corrupt`` when the source changed while it was read; the old object stays."""
        target = self._path(key)
        reader = os.open(source, os.O_RDONLY | os.O_CLOEXEC)  # the source's errors are the caller's
        try:
            before = os.fstat(reader)
            try:
                temporary, descriptor = self._begin(target)
            except OSError as error:
                raise _refusal(error, key) from None
            with _removed_unless_renamed(temporary), os.fdopen(descriptor, "wb", buffering=0) as out:
                size, checksum = _copy(
                    lambda: os.read(reader, CHUNK), out.fileno(), write_error=lambda error: _refusal(error, key)
                )
                after = os.fstat(reader)
                if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or size != after.st_size:
                    raise Corrupt("a file changed while it was read", where=str(source))
                try:
                    os.fsync(out.fileno())
                    os.rename(temporary, target)
                except OSError as error:
                    raise _refusal(error, key) from None
        finally:
            os.close(reader)
        return size, checksum

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

    def get_file(self, key: str, target: Path, size: int, checksum: str) -> None:
        """See ``Store.get_file``. The target's folder must exist; the target's own errors are ``OSError``."""
        try:
            reader = os.open(self._path(key), os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            self._check_root()
            raise NotThere("no such object in the store", where=key) from None
        except OSError as error:
            raise _refusal(error, key) from None

        def read() -> bytes:
            try:
                return os.read(reader, CHUNK)
            except OSError as error:
                raise _refusal(error, key) from None

        try:
            temporary = _beside(str(target))
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            with _removed_unless_renamed(temporary), os.fdopen(descriptor, "wb", buffering=0) as out:
                found = _copy(read, out.fileno(), write_error=None)
                if found != (size, checksum):
                    raise Corrupt(f"{found[0]} bytes, {found[1]} instead of {size} bytes, {checksum}", where=key)
                os.fsync(out.fileno())
                os.rename(temporary, target)
        finally:
            os.close(reader)

    def list(self, prefix: str) -> Iterator[Stored]:
        """See ``Store.list``. Reads one folder at a time; what appears or goes meanwhile may or may not be listed."""
        if prefix:
            if not prefix.endswith("/"):
                raise BadInput("a prefix ends with a slash", where=prefix)
            self._path(prefix[:-1])
        self._check_root()
        return self._walk(prefix)

    def delete(self, key: str) -> None:
        """See ``Store.delete``. Folders that become empty go too."""
        target = self._path(key)
        try:
            os.unlink(target)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            self._check_root()
            return
        except OSError as error:
            raise _refusal(error, key) from None
        self._prune(os.path.dirname(target))

    def _path(self, key: str) -> str:
        """The file of a key; ``BadInput`` when the key could lead elsewhere."""
        for part in key.split("/"):
            if part in ("", ".", "..") or part.startswith(HIDDEN) or "\0" in part:
                raise BadInput("not a key", where=key, advice="keys are relative paths without empty parts or ..")
            try:
                if len(part) > 63 and len(os.fsencode(part)) > 255:
                    raise BadInput("a part of this key is longer than 255 bytes", where=key)
                if not part.isascii():
                    os.fsencode(part)
            except UnicodeEncodeError:
                raise BadInput("a key that no file name can hold", where=key) from None
        return f"{self._base}/{key}"

    def _check_root(self) -> None:
        """``StoreUnavailable`` when the root, or the sign that ``create`` left in it, can't be seen."""
        try:
            os.stat(f"{self._base}/{SIGN}")
        except OSError as error:
            advice = "make the store first, or mount its disk" if error.errno == errno.ENOENT else ""
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


def _beside(target: str) -> str:
    """A new hidden name in the target's folder, of a fixed length: the target's own name may be as long as allowed."""
    return f"{os.path.dirname(target)}/{HIDDEN}{os.getpid()}-{next(_counter)}-{os.urandom(4).hex()}"


def _copy(
    read: Callable[[], bytes], out: int, write_error: Callable[[OSError], StoreError | BadInput] | None
) -> tuple[int, str]:
    """Copy until the end; the (size, checksum) of what was read."""
    digest, size = hashlib.sha256(), 0
    while chunk := read():
        digest.update(chunk)
        size += len(chunk)
        try:
            _write(out, chunk)
        except OSError as error:
            if write_error is None:
                raise
            raise write_error(error) from None
    return size, f"sha256:{digest.hexdigest()}"


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
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
