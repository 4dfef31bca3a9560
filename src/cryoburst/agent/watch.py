"""Tells which files below a folder were closed, moved or linked, from Linux's inotify(7). Follows no links.

inotify knows nothing of what happened before a folder was watched, and drops events when its queue is full: a new
folder is therefore watched first and looked through after, and a full queue asks for a look at everything.
"""

import ctypes
import os
import struct
from collections.abc import Iterator

_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE = 0x8, 0x40, 0x80, 0x100
_OVERFLOW, _IGNORED, _IS_DIRECTORY, _ONLY_DIRECTORY, _DONT_FOLLOW = 0x4000, 0x8000, 0x40000000, 0x01000000, 0x02000000
_WANTED = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _ONLY_DIRECTORY | _DONT_FOLLOW
_EVENT = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Watch:
    """Watches a folder that exists. Raises OSError, now or from ``read``, where the kernel has no watches to give."""

    def __init__(self, top: str) -> None:
        self._top = top
        self._folders: dict[int, str] = {}
        self.descriptor: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "no inotify")
        try:
            self._add(top)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Stop watching."""
        os.close(self.descriptor)

    def read(self) -> tuple[set[str], bool]:
        """The files and links that changed since the last call, and whether everything must be looked at anew."""
        changed: set[str] = set()
        everything = False
        if not self._folders:  # the folder itself was removed; the script may have made it again
            changed.update(self._add(self._top))
        while True:
            try:
                data = os.read(self.descriptor, 1 << 16)
            except BlockingIOError:
                return changed, everything
            for watch, mask, name in _events(data):
                if mask & _OVERFLOW:
                    everything = True
                    changed.update(self._add(self._top))
                elif mask & _IGNORED:
                    self._folders.pop(watch, None)
                elif (folder := self._folders.get(watch)) is not None:
                    path = f"{folder}/{name}"
                    if not mask & _IS_DIRECTORY:
                        if mask & (_CLOSE_WRITE | _MOVED_TO | _CREATE):
                            changed.add(path)
                    elif mask & _MOVED_FROM:
                        self._forget(path)
                    elif mask & (_MOVED_TO | _CREATE):
                        changed.update(self._add(path))

    def _add(self, folder: str) -> list[str]:
        """Watch a folder and all below it; the files that are there already."""
        watch = _libc.inotify_add_watch(self.descriptor, os.fsencode(folder), _WANTED)
        if watch < 0:
            error = ctypes.get_errno()
            if not os.path.isdir(folder):  # noqa: PTH112 - plain strings, as everywhere in the agent
                return []  # gone again
            raise OSError(error, os.strerror(error), folder)
        self._folders[watch] = folder
        files: list[str] = []
        try:
            with os.scandir(folder) as found:
                entries = list(found)
        except OSError:
            return []
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                files += self._add(entry.path)
            else:
                files.append(entry.path)
        return files

    def _forget(self, folder: str) -> None:
        """A folder was moved away: its watches would go on telling the old path."""
        for watch, path in list(self._folders.items()):
            if path == folder or path.startswith(folder + "/"):
                _libc.inotify_rm_watch(self.descriptor, watch)
                del self._folders[watch]


def _events(data: bytes) -> Iterator[tuple[int, int, str]]:
    at = 0
    while at < len(data):
        watch, mask, _, length = _EVENT.unpack_from(data, at)
        at += _EVENT.size
        yield watch, mask, os.fsdecode(data[at : at + length].rstrip(b"\0"))
        at += length
