"""Finds the watcher by its lock, and starts it on demand: one background process per user, safe to kill.

Every command that sees work calls ``ensure``, so nothing heavy is imported here; services.watching is what it runs.
"""

import fcntl
import os
import sys
from pathlib import Path

from cryoburst.services.settings import Settings


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
    """Start the watcher unless one runs. Returns at once; two callers at once start one."""
    if running(settings) is not None:
        return
    import subprocess

    settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with log_file(settings).open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "cryoburst.cli.main", "watch", "--background"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )
