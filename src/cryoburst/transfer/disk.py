"""Brings what was written to the disk: early, together, and for certain. Through libc, as Python has no call for it."""

import ctypes
import os
import threading
from functools import cache

WRITE = 2  # SYNC_FILE_RANGE_WRITE, <fcntl.h>


class Disk:
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


def begin_writing(descriptor: int, offset: int, size: int) -> None:
    """Have the kernel begin to write a range to the disk, so that the sync at the end has less to wait for. Only
    advice: whatever comes of it, the sync tells."""
    if hasattr(_libc(), "sync_file_range"):
        _libc().sync_file_range(descriptor, ctypes.c_int64(offset), ctypes.c_int64(size), WRITE)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
