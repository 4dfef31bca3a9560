"""Runs a server's programs, and ends them all when its standard input ends: nothing outlives the tests.

Standard library only, and run as a file: ``python -I keeper.py FOLDER keep|remove``. Each line on standard input is a
JSON document ``{"name", "command", "environment"}`` and starts a program in FOLDER; its output goes to
``logs/NAME.out`` and its exit status, if it ends before it should, to ``logs/NAME.ended``. A document ``{"leave"}``
names a folder of control groups that is removed, with those in it, at the end.
"""

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>
LOOK = 0.1  # s between two looks for programs that ended


def main() -> None:
    folder, afterwards = Path(sys.argv[1]), sys.argv[2]
    prctl: Callable[..., Any] = ctypes.CDLL(None, use_errno=True).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1)  # what a program leaves behind becomes our child
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit())
    names: dict[int, str] = {}
    left: list[str] = []
    try:
        obey(folder, names, left, lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
    finally:
        end_all()
        for each in left:
            remove_folders(each)
        if afterwards == "remove":
            shutil.rmtree(folder, ignore_errors=True)


def obey(folder: Path, names: dict[int, str], left: list[str], bind: Callable[[], object]) -> None:
    """Start what is asked for, until standard input ends."""
    rest = b""
    while True:
        for pid, status in ended():
            if pid in names:
                (folder / "logs" / f"{names.pop(pid)}.ended").write_text(f"{os.waitstatus_to_exitcode(status)}\n")
        if not select.select([0], [], [], LOOK)[0]:
            continue
        read = os.read(0, 65536)
        if not read:
            return
        *lines, rest = (rest + read).split(b"\n")
        for line in lines:
            order = json.loads(line)
            if "leave" in order:
                left.append(order["leave"])
                continue
            with (folder / "logs" / f"{order['name']}.out").open("ab") as log:
                program = subprocess.Popen(
                    order["command"],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=folder,
                    env={**os.environ, **order["environment"]},
                    preexec_fn=bind,
                )
            names[program.pid] = order["name"]


def ended() -> list[tuple[int, int]]:
    """The children that have ended, orphans of ours included, as (pid, status)."""
    found: list[tuple[int, int]] = []
    with contextlib.suppress(ChildProcessError):
        while (one := os.waitpid(-1, os.WNOHANG))[0]:
            found.append(one)
    return found


def end_all() -> None:
    """Kill our children; theirs become ours, and go the same way. What they hold is thrown away, so nobody is asked."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while children := our_children():
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)
        ended()


def remove_folders(root: str) -> None:
    """Remove folders that hold nothing but folders, the innermost first; the files of a control group don't count."""
    for folder, _, _ in os.walk(root, topdown=False):
        for _ in range(50):  # a control group is busy for a moment after its last process
            try:
                Path(folder).rmdir()
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(0.02)
            else:
                break


def our_children() -> list[int]:
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text(errors="replace").rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(path.parent.name))
    return found


if __name__ == "__main__":
    main()
