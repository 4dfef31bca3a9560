"""Files promised to a job: each has its name, size and time, and whoever opens it waits until its content came.

The kernel makes them wait, by a write lease that only this process holds (fcntl(2), F_SETLEASE); who opens with
O_NONBLOCK is refused instead. After /proc/sys/fs/lease-break-time seconds it lets them in, whatever is there: where
that is too short nothing is promised. A content is written into the promised file itself, for its openers wait at that
and no other. When this process dies they are let in, too, and find zeros; the job dies with the agent.

Until its content came a file has a mark (an extended attribute), by whatever name the job may have given it meanwhile:
what has the mark is never an output (``is_coming``).
"""
# ruff: noqa: PTH103, PTH108, PTH120, PTH123 - plain strings, as everywhere in the agent

import fcntl
import os
import resource
import signal
import threading
from contextlib import suppress

from cryoburst.agent.files import Identity

SPARE = 256  # descriptors that the agent needs beside these
MARK = "user.cryoburst.coming"


def can_wait(seconds: float) -> bool:
    """Whether this kernel lets openers wait for so long."""
    try:
        with open("/proc/sys/fs/lease-break-time") as file:
            return float(file.read()) >= seconds
    except (OSError, ValueError):
        return False


def is_coming(path: str) -> bool:
    """Whether a file, or a copy of it with all its attributes, has a content that never came, or not yet."""
    try:
        os.getxattr(path, MARK)
    except OSError:  # it has none, or is no more, or the file system knows no such thing
        return False
    return True


class Promised:
    """The promised files of one job. Must be made by the main thread; its methods may be called from any."""

    def __init__(self) -> None:
        self._held: dict[str, int] = {}  # absolute path -> descriptor with the lease
        self._lock = threading.Lock()
        self._limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = self._limits[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self._room = most - SPARE
        signal.signal(signal.SIGIO, lambda _number, _frame: None)  # the kernel tells of openers; that would end us

    def spare(self, process: int) -> None:
        """Give a child the usual number of descriptors: programs may be slow with millions."""
        with suppress(OSError):  # it has ended
            resource.prlimit(process, resource.RLIMIT_NOFILE, self._limits)

    def hold(self, target: str, size: int, mtime_ns: int) -> bool:
        """Promise a file, in the place of what an agent before us left; False where that can't be. Raises OSError."""
        if len(self._held) >= self._room:
            return False
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with suppress(FileNotFoundError):
            os.unlink(target)
        descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            os.setxattr(descriptor, MARK, b"")
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError:
            os.close(descriptor)
            os.unlink(target)
            return False
        os.ftruncate(descriptor, size)
        os.utime(descriptor, ns=(mtime_ns, mtime_ns))
        with self._lock:
            self._held[target] = descriptor
        return True

    def descriptor(self, target: str) -> int:
        """The open file to write the content into."""
        return self._held[target]

    def identity(self, target: str) -> Identity:
        """What the promised file is now; the job may have given its name to another."""
        found = os.fstat(self._held[target])
        return found.st_size, found.st_mtime_ns, found.st_ino

    def waited_for(self) -> set[str]:
        """The files that somebody waits for now. Not while one is being kept."""
        with self._lock:
            held = list(self._held.items())
        return {path for path, descriptor in held if fcntl.fcntl(descriptor, fcntl.F_GETLEASE) != fcntl.F_WRLCK}

    def thrown_away(self) -> set[str]:
        """The files that have no name any more. Not while one is being kept."""
        with self._lock:
            held = list(self._held.items())
        return {path for path, descriptor in held if not os.fstat(descriptor).st_nlink}

    def keep(self, target: str) -> None:
        """The content is there, all of it: let its openers in."""
        with self._lock:
            descriptor = self._held.pop(target)
        os.removexattr(descriptor, MARK)
        os.close(descriptor)

    def break_all(self) -> None:
        """Take away what did not come; nobody waits any more. What the job put in its place stays."""
        with self._lock:
            held, self._held = self._held, {}
        for path, descriptor in held.items():
            with suppress(OSError):
                if os.lstat(path).st_ino == os.fstat(descriptor).st_ino:
                    os.unlink(path)
            os.close(descriptor)
