"""Writes what a pull brings: files, stubs, links and empty folders, each in one step and none over what changed here.

A file has its name only when all of it was verified and is on the disk, and takes it only when what stands there is
still what the walk saw. Links come last: nothing is written through one that a list of the store made.
"""
# ruff: noqa: PTH104, PTH106, PTH108, PTH114, PTH115, PTH116 - plain strings: this goes over 100,000 names

import hashlib
import os
import shutil
import stat
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING

from cryoburst.model.errors import CryoburstError
from cryoburst.model.project import FOLDER, LINK, PROGRAM, Entry
from cryoburst.model.store import UNFINISHED
from cryoburst.model.stub import Stub, parse_stub
from cryoburst.services.project.opened import Project
from cryoburst.services.project.walk import COMING, Found, Identity, Left

if TYPE_CHECKING:
    from cryoburst.transfer import Wanted
    from cryoburst.transfer.tally import Tally

FIRST = 2 * 2**20  # bytes: STAR files and files up to this size come before the others


class Arrival:
    """What came, and what did not, of one pull. ``found`` is what the walk saw, ``there`` the store's list."""

    def __init__(self, project: Project, found: Found, there: Mapping[str, Entry]) -> None:
        self._project, self._root, self._found, self._there = project, project.path, found, there
        self._lock = threading.Lock()
        self._folders: dict[str, bool] = {}  # whether a folder is really inside the project
        self._coming = {f"{self._root}/{path}" for path in found.coming}
        self._partial: set[str] = set()  # of those, where a part of a large file waits for the next pull
        self.files: dict[str, Identity] = {}  # that came
        self.made: set[str] = set()  # other names that are as the list says now
        self.left: list[Left] = []
        self.failed: set[str] = set()

    def leave(self, path: str, why: str) -> None:
        """Name what could not be brought."""
        with self._lock:
            self.left.append(Left(path, why))
            self.failed.add(path)

    def fetch(self, paths: Sequence[str], show: Callable[["Tally"], AbstractContextManager[object]]) -> None:
        """Fetch files, STAR files and small ones first. What could not be fetched is left; nothing half stays."""
        from cryoburst.services.line import open_line
        from cryoburst.transfer import Receiver
        from cryoburst.transfer.tally import Tally

        wanted = [self._wanted(path) for path in sorted(paths) if self._inside(path)]
        if not wanted:
            return
        line = open_line(self._project.settings)
        tally = Tally(line)
        tally.expect(sum(each.size for each in wanted), len(wanted))

        def moved(size: int, wire: bool) -> None:
            (tally.finished if wire else tally.skipped)(size, 0)

        def done(each: "Wanted") -> None:
            try:
                self._take_name(each)
            except OSError as error:
                with suppress(OSError):
                    os.unlink(each.target)
                self.leave(each.name, why(error))
            tally.finished(0, 1)

        receiver = Receiver(self._project.store, line, moved)
        groups: tuple[list[Wanted], list[Wanted]] = ([], [])
        for each in wanted:
            groups[0 if each.size <= FIRST or each.name.endswith(".star") else 1].append(each)
        try:
            with show(tally):
                for group in groups:
                    for unreceived in receiver.receive(group, done):
                        self._unreceived(unreceived.wanted.name, unreceived.error)
        finally:
            self._project.keep_checksums(self.files, {path: self._there[path].checksum for path in self.files})

    def tidy(self) -> None:
        """Take away what is not needed any more of files that did not come to their end, now or in an earlier pull."""
        for folder in self._coming - self._partial:
            shutil.rmtree(folder, ignore_errors=True)

    def make(self, path: str) -> None:
        """Make a link, an empty folder, or the stub of a file."""
        entry = self._there[path]
        if not self._inside(path):
            return
        try:
            if entry.kind == FOLDER and path in self._found.folders:
                self.made.add(path)
            elif not self.as_seen(path):
                self.leave(path, "it changed here while others were fetched")
            else:
                self._make(path, entry)
                self.made.add(path)
        except OSError as error:
            self.leave(path, why(error))

    def remove(self, path: str) -> bool:
        """Remove a name that is as it was seen; whether it is gone. Else it is left."""
        target = f"{self._root}/{path}"
        try:
            if path in self._found.folders:
                os.rmdir(target)
            elif self.as_seen(path):
                os.unlink(target)
            else:
                self.leave(path, "it changed here meanwhile, and was not removed")
                return False
        except OSError as error:
            self.leave(path, why(error))
            return False
        return True

    def as_seen(self, path: str) -> bool:
        """Whether what stands at a name is what was found there, so that it may be replaced. An empty folder goes."""
        target, found = f"{self._root}/{path}", self._found
        try:
            if path in found.files:
                now = os.stat(target)
                return (now.st_size, now.st_mtime_ns, now.st_ino) == found.files[path][:3]
            if path in found.stubs:
                return os.readlink(target) == found.stubs[path]
            if path in found.links:
                return os.path.islink(target)
            if path in found.folders:
                os.rmdir(target)  # it is empty, or this fails
        except OSError:
            return False
        return not os.path.lexists(target)

    # ------------------------------------------------------------------------------------------------------- steps

    def _wanted(self, path: str) -> "Wanted":
        from cryoburst.transfer import Place, Wanted

        entry = self._there[path]
        coming = self._beside(path, entry.checksum)
        return Wanted(path, coming, entry.size, entry.checksum, Place(entry.key, entry.offset), entry.mtime_ns)

    def _take_name(self, each: "Wanted") -> None:
        """Give a verified file its name, unless what stands there is no longer what was seen."""
        path = each.name
        executable = self._there[path].kind == PROGRAM
        seen = os.stat(each.target)
        if executable:
            mode = seen.st_mode | ((seen.st_mode & 0o444) >> 2)
            os.chmod(each.target, stat.S_IMODE(mode))  # noqa: PTH101
        if not self.as_seen(path):
            os.unlink(each.target)
            self.leave(path, "it changed here while it was fetched")
            return
        os.rename(each.target, f"{self._root}/{path}")
        with self._lock:
            self.files[path] = (seen.st_size, seen.st_mtime_ns, seen.st_ino, executable)

    def _make(self, path: str, entry: Entry) -> None:
        target = f"{self._root}/{path}"
        if entry.kind == FOLDER:
            with suppress(FileNotFoundError):
                os.unlink(target)
            os.makedirs(target, exist_ok=True)  # noqa: PTH103
        elif entry.kind == LINK:
            self._link(path, entry.target)
        else:
            self._link(path, Stub(entry.checksum, entry.size).text)

    def _link(self, path: str, text: str) -> None:
        target = f"{self._root}/{path}"
        coming = self._beside(path, text)
        os.makedirs(coming.rpartition("/")[0], exist_ok=True)  # noqa: PTH103
        with suppress(FileNotFoundError):
            os.unlink(coming)
        os.symlink(text, coming)  # noqa: PTH211
        if parse_stub(text) is not None:
            mtime_ns = self._there[path].mtime_ns
            with suppress(OSError, NotImplementedError):  # only for people's eyes
                os.utime(coming, ns=(mtime_ns, mtime_ns), follow_symlinks=False)
        os.rename(coming, target)

    def _beside(self, path: str, content: str) -> str:
        """Where a name's content is until it is whole: the same place for the same content."""
        above, _, name = f"{self._root}/{path}".rpartition("/")
        self._coming.add(f"{above}/{COMING}")
        return f"{above}/{COMING}/{hashlib.sha256(os.fsencode(f'{name}/{content}')).hexdigest()[:24]}"

    def _inside(self, path: str) -> bool:
        """Whether the folder of a name is really in the project: a link of the user's own may lead out of it."""
        above = path.rpartition("/")[0]
        if above not in self._folders:
            real = os.path.realpath(f"{self._root}/{above}")
            self._folders[above] = real == f"{self._root}/{above}".rstrip("/")
        if not self._folders[above]:
            self.leave(path, "its folder is a link to a place elsewhere, where nothing is written")
        return self._folders[above]

    def _unreceived(self, path: str, error: Exception) -> None:
        """Name a file that did not come; where nothing stood, a stub does, so that its name is not lost."""
        self.leave(path, why(error))
        if self._there[path].size > FIRST:
            self._partial.add(self._beside(path, "").rpartition("/")[0])
        if path in self._found.stubs:
            self.made.add(path)  # it stays
        elif isinstance(error, CryoburstError) and not os.path.lexists(f"{self._root}/{path}"):
            with suppress(OSError):
                self._make_stub(path)

    def _make_stub(self, path: str) -> None:
        self._link(path, Stub(self._there[path].checksum, self._there[path].size).text)
        self.made.add(path)


def why(error: Exception) -> str:
    """An error as a part of a sentence."""
    what = error.what if isinstance(error, CryoburstError) else getattr(error, "strerror", None) or str(error)
    return what[:1].lower() + what[1:]


def takes_for_one(folder: str) -> bool:
    """Whether the file system of a folder takes two names that differ in case, or in the form of a letter, for one."""
    first, others = "case-é", ("CASE-é", "case-e\u0301")
    path = f"{folder}/{UNFINISHED}{first}"
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        return any(os.path.lexists(f"{folder}/{UNFINISHED}{other}") for other in others)
    except OSError:
        return False
    finally:
        with suppress(OSError):
            os.unlink(path)
