"""Runs one machine and keeps what it prints: ``python -I launch.py MACHINE ROOTFS CGROUP``, under servers/keeper.py.

Standard library only, and run as a file. MACHINE is a folder with ``inside.sh``'s needs; here come ``pid``, that of a
process in the machine's network namespace, and ``console.log``. Exit code 0: the machine powered itself off. It ends
when the machine does, and the machine ends when it does.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
NAMESPACES = ("--mount", "--uts", "--ipc", "--pid", "--net", "--cgroup")


def main(machine: Path, rootfs: str, cgroup: Path) -> int:
    """Start the machine, and wait for its end."""
    for name in ("up", "work", "root"):
        (machine / name).mkdir()
    cgroup.mkdir(parents=True)
    (cgroup / "cgroup.procs").write_text(str(os.getpid()))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    ours, theirs = os.openpty()
    first = subprocess.Popen(
        ["unshare", *NAMESPACES, "--fork", "--kill-child", "--propagation", "private",
         "sh", str(Path(__file__).with_name("inside.sh")), str(machine), rootfs],
        stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
    )  # fmt: skip
    (machine / "pid.new").write_text(str(first.pid))
    (machine / "pid.new").rename(machine / "pid")
    keep(ours, machine / "console.log", first.pid)
    status = first.wait()
    os.close(theirs)  # until now, or the terminal would end whenever the machine has it closed
    leave(cgroup)
    # How the kernel tells of reboot(2) in a process namespace: SIGINT is a power-off, SIGHUP a restart.
    return 0 if status == -signal.SIGINT else abs(status) or 1


def keep(terminal: int, log: Path, pid: int) -> None:
    """Copy what is printed until the process has ended."""
    end = os.pidfd_open(pid)
    with log.open("ab", buffering=0) as file:
        while True:
            ready, _, _ = select.select([terminal, end], [], [])
            if terminal in ready:
                file.write(os.read(terminal, 65536))
            else:
                os.close(end)
                return


def leave(cgroup: Path) -> None:
    """Take the control groups away that the machine's systemd made; ours is one of them."""
    (cgroup.parent / "cgroup.procs").write_text(str(os.getpid()))
    for folder, _, _ in os.walk(cgroup, topdown=False):
        with contextlib.suppress(OSError):
            Path(folder).rmdir()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
