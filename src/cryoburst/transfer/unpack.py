"""Takes small files out of a range of a blob as it comes, and writes each beside its target, verified.

It keeps no more than a part of the range in memory, and must leave nothing behind when the range breaks off.
"""
# ruff: noqa: PTH108 - plain strings, as thousands of small files go through here

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import groupby

from cryoburst.model.buffers import Buffer
from cryoburst.model.errors import Corrupt
from cryoburst.model.store import PART
from cryoburst.transfer.content import SMALL
from cryoburst.transfer.disk import begin_writing
from cryoburst.transfer.wanted import Wanted


class Came:
    """What became of the files of one request."""

    def __init__(self) -> None:
        self.written: list[tuple[str, Wanted]] = []  # verified, under their hidden names
        self.wrong: list[Wanted] = []  # not what was promised
        self.failed: list[tuple[Wanted, OSError]] = []  # this disk did not take them
        self.passed: list[Wanted] = []  # they overlap another, and need a request of their own

    def forget(self) -> None:
        """Take away what was written: it will come again."""
        for temporary, _ in self.written:
            with suppress(OSError):
                os.unlink(temporary)


def unpack(run: list[Wanted], start: int, parts: Iterable[Buffer]) -> Came:
    """Write files, in the order of their places, out of a range that begins at ``start``. Raises the store's errors,
    and ``Corrupt`` when the range ends too soon; then nothing is left behind."""
    came, source, at = Came(), _Stretches(parts), start
    try:
        for (offset, size), same in groupby(run, lambda each: (each.place.offset, each.size)):
            if size and offset < at:
                came.passed += same
                continue
            if size:
                source.skip(offset - at)
                at = offset + size
            _write(list(same), source.take(size), came)
    except BaseException:
        came.forget()
        raise
    return came


class _Stretches:
    """The bytes of a range, taken in stretches of any length."""

    def __init__(self, parts: Iterable[Buffer]) -> None:
        self._parts = iter(parts)
        self._rest: memoryview = memoryview(b"")

    def take(self, size: int) -> Iterator[memoryview]:
        """The next so many bytes. ``Corrupt`` when there are fewer."""
        while size:
            if not self._rest:
                part = next(self._parts, None)
                if part is None:
                    raise Corrupt("an object in the store is shorter than promised")
                self._rest = memoryview(part)
            stretch, self._rest = self._rest[:size], self._rest[size:]
            size -= len(stretch)
            yield stretch

    def skip(self, size: int) -> None:
        """Leave out the next so many bytes."""
        for _ in self.take(size):
            pass


def _write(same: list[Wanted], parts: Iterator[memoryview], came: Came) -> None:
    """Write one content beside the target of each file that has it. All parts are taken, whatever the disk says."""
    going: dict[int, tuple[str, Wanted]] = {}  # open file -> hidden name, and whose it is
    digest = hashlib.sha256()
    try:
        for each in same:
            try:
                descriptor, temporary = _begin(each)
                going[descriptor] = (temporary, each)
            except OSError as error:
                came.failed.append((each, error))
        for part in parts:
            digest.update(part)
            for descriptor in list(going):
                _write_part(descriptor, part, going, came)
        checksum = SMALL + digest.hexdigest()
        for descriptor in list(going):
            temporary, each = going[descriptor]
            if each.checksum != checksum:
                came.wrong.append(each)
                continue
            try:
                os.utime(descriptor, ns=(each.mtime_ns, each.mtime_ns))
            except OSError as error:
                came.failed.append((each, error))
                continue
            if each.size >= PART:
                begin_writing(descriptor, 0, each.size)
            came.written.append(going.pop(descriptor))
            os.close(descriptor)
    finally:
        for descriptor, (temporary, _) in going.items():
            os.close(descriptor)
            os.unlink(temporary)


def _write_part(descriptor: int, part: memoryview, going: dict[int, tuple[str, Wanted]], came: Came) -> None:
    try:
        while part:
            part = part[os.write(descriptor, part) :]
    except OSError as error:
        temporary, each = going.pop(descriptor)
        came.failed.append((each, error))
        os.close(descriptor)
        os.unlink(temporary)


def _begin(each: Wanted) -> tuple[int, str]:
    """A new file beside the target, and its hidden name."""
    temporary = f"{each.beside}-{os.urandom(4).hex()}"  # of our own: another process may fetch the same now
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(temporary, flags, 0o666), temporary
    except FileNotFoundError:
        each.make_folder()
        return os.open(temporary, flags, 0o666), temporary
