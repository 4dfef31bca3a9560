"""Finds and ends the job's processes, through /proc. Never signals a process that it can't place in the job."""
# ruff: noqa: PTH115, PTH116, PTH123, PTH208 - plain strings: thousands of entries of /proc are read at each look

import contextlib
import ctypes
import os
import select
import signal
import time
from collections.abc import Callable, Iterable

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)
_prctl = _libc.prctl
_PROGRAM_WAIT = 1.0  # s; to get a program is a matter of microseconds, on a processor of one's own
_OF_THE_KERNEL = 0x00200000  # PF_KTHREAD of include/linux/sched.h, among the flags in /proc/<pid>/stat
_KILL_WAIT = 10.0  # s; a process in an uninterruptible wait of the kernel may never end


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends, so that none of them gets out of sight."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent() -> None:
    """In a child, before its program starts: be killed when the thread that started it ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def wait_for(child: int, seconds: float) -> None:
    """Wait for the end of a child that nobody has collected, but no longer than so many seconds. Returns at once where
    the kernel can't tell (before 5.3)."""
    try:
        descriptor = os.pidfd_open(child)
    except OSError:
        return
    try:
        select.select([descriptor], [], [], max(0.0, seconds))
    finally:
        os.close(descriptor)


def reap(own: int) -> None:
    """Collect ended orphans, but leave ``own``, the child that somebody else waits for."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None or ended.si_pid == own:
                return
            os.waitpid(ended.si_pid, os.WNOHANG)
        except ChildProcessError:
            return


def descendants(of: int) -> list[int]:
    """All living processes below one, children before grandchildren."""
    below: dict[int, list[int]] = {}
    for pid in _all():
        parent = _parent(pid)
        if parent is not None:
            below.setdefault(parent, []).append(pid)
    found: list[int] = []
    look = [of]
    while look:
        children = below.get(look.pop(0), [])
        found += children
        look += children
    return found


def tagged(name: str, value: str) -> list[int]:
    """All living processes, but this one, whose environment has ``name=value``."""
    wanted, own = os.fsencode(f"{name}={value}"), os.getpid()
    return [pid for pid in _all() if pid != own and wanted in _settings(pid)]


def tags(name: str) -> set[str]:
    """The values of an environment variable over all living processes but this one."""
    start, own, found = os.fsencode(f"{name}="), os.getpid(), set[str]()
    for pid in _all():
        if pid != own:
            settings = (setting for setting in _settings(pid) if setting.startswith(start))
            found.update(os.fsdecode(setting[len(start) :]) for setting in settings)
    return found


def writing(pids: Iterable[int]) -> dict[tuple[int, int], str]:
    """The regular files that these processes have open for writing: (device, inode) and a path of each."""
    found: dict[tuple[int, int], str] = {}
    for pid in pids:
        try:
            descriptors = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue
        for descriptor in descriptors:
            entry = f"/proc/{pid}/fd/{descriptor}"
            with contextlib.suppress(OSError):
                path = os.readlink(entry)
                if path.startswith("/") and not path.startswith("/dev/") and _writable(pid, descriptor):
                    stat = os.stat(entry)
                    found[stat.st_dev, stat.st_ino] = path
    return found


def peak_memory(pids: Iterable[int]) -> int:
    """Bytes of memory that these processes had at most, each at its own peak: what a machine must have for them.

    Pages of files (programs, libraries) do not count: they are shared, and the kernel may drop them. A process that was
    forked and still runs its parent's program counts only what it does not share with it: nothing when it lives in its
    parent's memory, as system(3) makes it until it runs a program of its own (vfork(2)). Source: proc(5), ``VmHWM``
    less ``RssFile`` of /proc/<pid>/status; ``Private_Dirty`` of /proc/<pid>/smaps_rollup.
    """
    among = set(pids)
    total = 0
    for pid in among:
        parent = _parent(pid)
        program = _read(f"/proc/{pid}/cmdline")  # before its sizes: those of another program are read as its own
        found = _kilobytes(f"/proc/{pid}/status")
        if parent in among and program == _read(f"/proc/{parent}/cmdline"):
            above = _kilobytes(f"/proc/{parent}/status")
            if any(found.get(name) != above.get(name) for name in (b"VmSize", b"VmHWM")):
                total += _kilobytes(f"/proc/{pid}/smaps_rollup").get(b"Private_Dirty", 0)
            continue
        total += max(0, found.get(b"VmHWM", 0) - found.get(b"RssFile", 0))
    return total * 1024


def end(find: Callable[[], list[int]], term_wait: float, between: Callable[[], None]) -> None:
    """SIGTERM all that ``find`` finds, SIGKILL after ``term_wait`` seconds, until it finds none twice in a row.

    Twice, because one may have started another while it was looked for. ``between`` is called often, to collect what
    has ended. Gives up 10 s after the first SIGKILL.
    """
    began = time.monotonic()
    asked: set[int] = set()
    none = 0
    while none < 2:
        pids = find()
        none = 0 if pids else none + 1
        waited = time.monotonic() - began
        if waited > term_wait + _KILL_WAIT:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if waited >= term_wait:
                    os.kill(pid, signal.SIGKILL)
                elif pid not in asked:
                    asked.add(pid)
                    os.kill(pid, signal.SIGTERM)
                    os.kill(pid, signal.SIGCONT)  # a stopped process would never see it
        time.sleep(0.01)
        between()


def _all() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _settings(pid: int) -> list[bytes]:
    """The environment of a process; empty when it has gone or is somebody else's.

    In the moment in which it changes its program it has none, and on a busy computer that moment may be long: it is
    waited for. Source: proc(5), ``env_end`` of /proc/<pid>/stat, which the kernel sets last (fs/binfmt_elf.c).
    """
    until, settled = time.monotonic() + _PROGRAM_WAIT, False
    while True:
        try:
            with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
                found = file.readall()
        except OSError:
            return []
        if found or settled or time.monotonic() > until:
            return found.split(b"\0")
        if not (settled := not _changes_program(pid)):  # if it has one now, it got it after we read
            time.sleep(0.001)


def _changes_program(pid: int) -> bool:
    """Of a living process whose environment reads as empty: whether it will have one. The kernel's own never have."""
    fields = _stat(pid)
    return len(fields) > 48 and not int(fields[6]) & _OF_THE_KERNEL and fields[48] == b"0"


def _stat(pid: int) -> list[bytes]:
    """The fields of /proc/<pid>/stat (proc(5)) from the third on, the state; none of a zombie or of who has gone."""
    _, _, rest = _read(f"/proc/{pid}/stat").rpartition(b") ")  # a program's name may hold blanks and brackets
    fields = rest.split()
    return fields if fields and fields[0] not in (b"Z", b"X") else []


def _parent(pid: int) -> int | None:
    """The parent of a living process; None for a zombie or when it has gone."""
    fields = _stat(pid)
    return int(fields[1]) if len(fields) > 1 else None


def _kilobytes(path: str) -> dict[bytes, int]:
    """The sizes in a file of lines such as ``VmHWM:   1234 kB``."""
    lines = (line.partition(b":") for line in _read(path).splitlines() if line.endswith(b" kB"))
    return {key: int(value.split()[0]) for key, _, value in lines}


def _writable(pid: int, descriptor: str) -> bool:
    for line in _read(f"/proc/{pid}/fdinfo/{descriptor}").splitlines():
        if line.startswith(b"flags:"):
            return int(line.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY
    return False


def _read(path: str) -> bytes:
    """A file of /proc; empty when it can't be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # a file object would ask three more things of each
    except OSError:
        return b""
    found = b""
    try:
        while part := os.read(descriptor, 1 << 16):
            found += part
    except OSError:
        return b""
    finally:
        os.close(descriptor)
    return found
