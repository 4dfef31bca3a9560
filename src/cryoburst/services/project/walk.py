"""Looks at every name of a project, once. It reads no file and follows no link that it doesn't have to.

A link that points inside the project stays a link; one that points outside is followed, and its content goes by the
link's name. What can't be carried is named: sockets, pipes, devices, loops, links to nothing, what can't be read.
"""
# ruff: noqa: PTH114, PTH115, PTH116 - plain strings: this goes over 100,000 names

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable
from typing import NamedTuple

from cryoburst.model.project import stays
from cryoburst.model.store import UNFINISHED
from cryoburst.model.stub import is_remote, parse_stub

COMING = f"{UNFINISHED}pull"  # the folder, beside their names, in which a pull keeps files that are not whole yet
LOCK = ".relion_lock"  # RELION's own, for as long as its window writes: no other computer must see it
Identity = tuple[int, int, int, bool]  # size, mtime_ns, inode, owner's x bit


class Left(NamedTuple):
    """A name that was not carried, and why, as a part of a sentence."""

    path: str
    why: str


class Found:
    """What is in a project. Paths are relative to it; ``files`` counts those behind links that lead outside."""

    def __init__(self) -> None:
        self.files: dict[str, Identity] = {}
        self.links: dict[str, str] = {}  # path -> target, as it is carried
        self.stubs: dict[str, str] = {}  # path -> text
        self.folders: set[str] = set()  # those that are empty
        self.left: list[Left] = []
        self.coming: set[str] = set()  # folders that a pull which was cut left behind
        self.unseen: set[str] = set()  # files and folders that were excluded or can't be looked at

    def same(self, other: "Found") -> bool:
        """Whether all names and contents are as they were."""
        return (
            self.files == other.files
            and self.links == other.links
            and self.stubs == other.stubs
            and self.folders == other.folders
        )

    @property
    def count(self) -> int:
        """How many names."""
        return len(self.files) + len(self.links) + len(self.stubs) + len(self.folders)

    def has(self, path: str) -> bool:
        """Whether there is something by this name that can be carried."""
        return path in self.files or path in self.links or path in self.stubs or path in self.folders

    def drop(self, paths: Iterable[str]) -> None:
        """Forget these names."""
        for path in paths:
            self.folders.discard(path)
            for names in (self.files, self.links, self.stubs):
                names.pop(path, None)

    def cover(self, path: str) -> str:
        """What could not be looked at and hides this name: itself, or a folder above it. Empty when nothing does; else
        nobody can say that it is gone."""
        while path and self.unseen:
            if path in self.unseen:
                return path
            path = path.rpartition("/")[0]
        return ""


def excluder(patterns: Iterable[str]) -> Callable[[str], object] | None:
    """Tells whether a path is excluded: a pattern is for the whole path or for the last name; None without patterns."""
    import fnmatch

    forms = [fnmatch.translate(pattern.rstrip("/")) for pattern in patterns]
    if not forms:
        return None
    match = re.compile("|".join(forms)).match
    return lambda path: match(path) or match(path.rpartition("/")[2])


def walk(root: str, exclude: Callable[[str], object] | None = None) -> Found:
    """Everything below a folder, whose path must be a real one. Raises OSError when the folder itself can't be read."""
    return _Walk(root, exclude).found


class _Folder(NamedTuple):
    """A folder to look at: its path with a slash, where it really is, and through which folders links led to it."""

    prefix: str
    real: str
    through: tuple[str, ...]


class _Walk:
    def __init__(self, root: str, exclude: Callable[[str], object] | None) -> None:
        self._root, self._exclude = root, exclude
        self._real: dict[str, str] = {}  # folders that links point to
        self.found = Found()
        self._open = [_Folder("", root, ())]
        while self._open:
            self._look(self._open.pop())

    def _look(self, folder: _Folder) -> None:
        prefix, found, exclude = folder.prefix, self.found, self._exclude
        files, kept = found.files, False
        try:
            with os.scandir(folder.real) as entries:
                for entry in entries:
                    name = entry.name
                    if name.startswith(UNFINISHED) or name == LOCK:
                        if name == COMING:
                            found.coming.add(prefix + name)
                        continue
                    path = prefix + name
                    if exclude is not None and exclude(path):
                        found.unseen.add(path)
                        continue
                    try:
                        if entry.is_symlink():
                            kept |= self._link(folder, path, name)
                            continue
                        if entry.is_dir(follow_symlinks=False):
                            self._open.append(_Folder(f"{path}/", f"{folder.real}/{name}", folder.through))
                            kept = True
                            continue
                        seen = entry.stat(follow_symlinks=False)
                    except OSError as error:
                        self._leave(path, _why(error))
                        continue
                    mode = seen.st_mode
                    if stat.S_ISREG(mode):
                        files[path] = (seen.st_size, seen.st_mtime_ns, seen.st_ino, mode & 0o100 != 0)
                        kept = True
                    else:
                        self._leave(path, _special(mode))
        except OSError as error:
            if not prefix:
                raise
            self._leave(prefix[:-1], _why(error))
            return
        if not kept and prefix:
            found.folders.add(prefix[:-1])

    def _link(self, folder: _Folder, path: str, name: str) -> bool:
        """Take a symbolic link; whether there is something to carry."""
        full = f"{folder.real}/{name}"
        text = os.readlink(full)
        if parse_stub(text) is not None:
            self.found.stubs[path] = text
            return True
        if is_remote(text):
            self.found.links[path] = text
            return True
        try:
            behind = os.stat(full)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                return self._leave(path, "a loop of links" if error.errno == errno.ELOOP else _why(error))
            behind = None
        inside = self._inside(folder, path, text, full)
        if inside is not None:
            self.found.links[path] = inside
            return True
        if behind is None:
            return self._leave(path, f"a link to nothing: {text}")
        if stat.S_ISREG(behind.st_mode):
            executable = behind.st_mode & 0o100 != 0
            self.found.files[path] = (behind.st_size, behind.st_mtime_ns, behind.st_ino, executable)
            return True
        if not stat.S_ISDIR(behind.st_mode):
            return self._leave(path, _special(behind.st_mode))
        real = os.path.realpath(full)
        through = (*folder.through, folder.real)
        if any(f"{step}/".startswith(f"{real.rstrip('/')}/") for step in (*through, self._root)):
            return self._leave(path, f"a link that leads back to a folder above it: {text}")
        self._open.append(_Folder(f"{path}/", real, through))
        return True

    def _inside(self, folder: _Folder, path: str, text: str, full: str) -> str | None:
        """The target of a link that points into the project, relative to it; None for one that points outside."""
        own = not folder.through  # the folder is the project's, so a relative text means the same in a clone
        if own and stays(path, text):
            return text
        target = text if text.startswith("/") else f"{folder.real}/{text}"
        if not target.startswith(f"{self._root}/") or ".." in target.split("/"):
            above, last = os.path.split(target.rstrip("/"))
            if last in ("", "..", "."):
                target = os.path.realpath(full)
            else:
                if above not in self._real:
                    self._real[above] = os.path.realpath(above)
                target = f"{self._real[above].rstrip('/')}/{last}"
        if target != self._root and not target.startswith(f"{self._root}/"):
            target = os.path.realpath(full) if os.path.islink(target) else target  # it may lead back in
        if target != self._root and not target.startswith(f"{self._root}/"):
            return None
        inner = os.path.normpath(target[len(self._root) + 1 :] or ".")
        return os.path.relpath(f"/{inner}", f"/{path.rpartition('/')[0]}")

    def _leave(self, path: str, why: str) -> bool:
        self.found.left.append(Left(path, why))
        self.found.unseen.add(path)
        return False


def _why(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "it vanished while it was looked at"
    return (error.strerror or str(error)).lower()


def _special(mode: int) -> str:
    kinds = (("a socket", stat.S_ISSOCK), ("a named pipe", stat.S_ISFIFO), ("a device", stat.S_ISCHR))
    return next((name for name, is_one in kinds if is_one(mode)), "a device")
