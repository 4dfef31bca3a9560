"""What the processes of a job take, looked at in the moments in which it is easily counted twice."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cryoburst.agent import processes

HELD = 60_000_000  # bytes
# A program that holds so much starts another, as system(3) does: in its own memory until that one's program runs. It is
# kept from getting there by a pipe that it must open first.
STARTS_ANOTHER = f"""
import os, sys
held = bytearray(b"x") * {HELD}
first = (os.POSIX_SPAWN_OPEN, 0, sys.argv[1], os.O_RDONLY, 0)
os.waitpid(os.posix_spawn("/bin/sleep", ["sleep", "0.3"], {{}}, file_actions=[first]), 0)
"""


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("when", ["before", "between", "after"])
def test_the_memory_that_a_new_process_still_shares_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """It gets a program and memory of its own before we look, after, or between the two files in which we look."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen([sys.executable, "-c", STARTS_ANOTHER, str(pipe)]) as holder:
        until(lambda: processes.descendants(holder.pid))
        (child,) = processes.descendants(holder.pid)
        shared = Path(f"/proc/{child}/cmdline")
        assert shared.read_bytes() == Path(f"/proc/{holder.pid}/cmdline").read_bytes()

        def let_it_go() -> None:
            if b"sleep" not in shared.read_bytes()[:5]:
                pipe.open("wb").close()
                until(lambda: shared.read_bytes().startswith(b"sleep"))

        if when == "before":
            let_it_go()
        if when == "between":
            sizes = processes._kilobytes

            def sizes_then_go(path: str) -> dict[bytes, int]:
                found = sizes(path)
                if path == f"/proc/{child}/status":
                    let_it_go()
                return found

            monkeypatch.setattr(processes, "_kilobytes", sizes_then_go)
        assert HELD < processes.peak_memory([holder.pid, child]) < 1.3 * HELD
        let_it_go()
