"""A user's home for each test."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from .home import Home


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A home with a job to submit; its watcher, if one was started, ends with the test."""
    made = Home(tmp_path)
    yield made
    lock = made.state / "watch.lock"
    with contextlib.suppress(OSError, ValueError):
        pid = int(lock.read_text())
        if os.fsencode(f"CRYOBURST_STATE={made.state}") in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            os.kill(pid, signal.SIGTERM)
