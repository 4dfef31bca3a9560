"""Makes this computer's kernel let whoever opens a promised input wait, as a rented machine's does (aws/machine.py)."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

FILE = Path("/proc/sys/fs/lease-break-time")
LOCK = Path(tempfile.gettempdir()) / f"cryoburst-patient-kernel-{os.geteuid()}"
USUAL = "45"  # s; what every kernel begins with


@contextmanager
def patient_kernel() -> Iterator[None]:
    """Within it a job of this computer may begin before its inputs are there. Skips where that is not ours to say.

    There is one kernel for all tests that run at once: only one of them is in here at a time.
    """
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            FILE.write_text("1000000")
        except OSError:
            pytest.skip("only root may say how long the kernel lets a program wait that opens a file")
        try:
            yield
        finally:
            FILE.write_text(USUAL)
