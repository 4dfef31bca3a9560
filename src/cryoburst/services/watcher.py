"""Finds the watcher by its lock, and starts it on demand: one background process per user, safe to kill.

Every command that sees work calls ``ensure``, so nothing heavy is imported here; services.watching is what it runs.

A watcher has the environment of the terminal that started it, and so the credentials that are set there. ``renew`` puts
one with this terminal's in its place. What the running one has is read from the kernel (``/proc``) and compared in
memory: no credential, and no digest of one, is ever written, logged or named on a command line.
"""

import fcntl
import os
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cryoburst.services.settings import Settings

if TYPE_CHECKING:
    import subprocess

AGAIN = 1.0  # s between two watchers that one command starts
_started: list[tuple["subprocess.Popen[bytes]", float]] = []  # the last that this process started, and when

# The scheme of a store's address -> how the names of the variables begin that its clients read
CLOUDS = {"s3": ("AWS_",), "gs": ("GOOGLE_", "CLOUDSDK_"), "az": ("AZURE_",)}


def lock_file(settings: Settings) -> Path:
    """Held by the watcher for its whole life; contains its process id."""
    return settings.state / "watch.lock"


def log_file(settings: Settings) -> Path:
    """What the watcher did, and the errors that are ours."""
    return settings.state / "watch.log"


def running(settings: Settings) -> int | None:
    """The watcher's process id, or None when none runs."""
    try:
        descriptor = os.open(lock_file(settings), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two that ask must not see each other
    except BlockingIOError:
        text = os.read(descriptor, 32).decode("ascii", "replace").strip()
        return int(text) if text.isdigit() else -1
    finally:
        os.close(descriptor)
    return None


def ensure(settings: Settings) -> None:
    """Start the watcher unless one runs, or one that was started from here is about to. Returns at once; two callers
    at once start one."""
    if running(settings) is None and not _starting():
        _start(settings, os.environ, "--background")


def renew(settings: Settings, clouds: Collection[str] = tuple(CLOUDS)) -> str:
    """Start the watcher, in place of one whose credentials for these clouds are not this process's. Returns at once.

    For other clouds the new one has what the one before had. One that somebody runs in the foreground stays: then the
    sentence says so; else it is empty.
    """
    process = running(settings)
    before = None if process is None else environment_of(process)
    if before is None:
        ensure(settings)
        return ""
    if all(credentials(before, [cloud]) == credentials(os.environ, [cloud]) for cloud in clouds):
        return ""
    if not in_background(process or 0):
        return f"the watcher in the foreground (process {process}) has other credentials than those set here: end it"
    others = CLOUDS.keys() - set(clouds)
    kept = {name: value for name, value in os.environ.items() if name not in credentials(os.environ, others)}
    _start(settings, kept | credentials(before, others), "--background", "--renew")
    return ""


def credentials(environment: Mapping[str, str], clouds: Collection[str] = tuple(CLOUDS)) -> dict[str, str]:
    """The variables of an environment that decide with which credentials these clouds are spoken to."""
    starts = tuple(start for cloud in clouds for start in CLOUDS.get(cloud, ()))
    return {name: value for name, value in environment.items() if name.startswith(starts)}


def environment_of(process: int) -> dict[str, str] | None:
    """The environment with which a watcher was started; None when it can't be read, or the process is none."""
    try:
        words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
        settings = os.fsdecode(Path(f"/proc/{process}/environ").read_bytes()).split("\0")
    except OSError:
        return None
    return dict(each.split("=", 1) for each in settings if "=" in each) if b"watch" in words else None


def in_background(process: int) -> bool:
    """Whether a watcher was started by a command, and not by somebody who looks at it."""
    try:
        return b"--background" in Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def _starting() -> bool:
    """Whether a watcher that this process started has not ended, or was started just now: one that can't begin must not
    be started at every look of a command that waits."""
    if not _started:
        return False
    process, when = _started[-1]
    return process.poll() is None or time.monotonic() - when < AGAIN


def _start(settings: Settings, environment: Mapping[str, str], *flags: str) -> None:
    import subprocess

    settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with log_file(settings).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cryoburst.cli.main", "watch", *flags],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
            env=environment,
        )
    _started[:] = [(process, time.monotonic())]
