"""Runs a server's programs, and ends them all when its standard input ends: nothing outlives the tests.

Standard library only, and run as a file: ``python -I keeper.py FOLDER keep|remove``. Each line on standard input is a
JSON document ``{"name", "command", "environment"}`` and starts a program in FOLDER; its output goes to
``logs/NAME.out`` and its exit status, if it ends before it should, to ``logs/NAME.ended``.
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
    try:
        obey(folder, names, lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
    finally:
        end_all()
        if afterwards == "remove":
            shutil.rmtree(folder, ignore_errors=True)


def obey(folder: Path, names: dict[int, str], bind: Callable[[], object]) -> None:
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


def our_children() -> list[int]:
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text(errors="replace").rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(path.parent.name))
    return found


if __name__ == "__main__":
    main()
