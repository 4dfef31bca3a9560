"""What the processes of a job take, looked at in the moments in which it is easily counted twice."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cryoburst.agent import processes

HELD = 60_000_000  # bytes
# A program that holds so much starts another, as system(3) does: in its own memory until that one's program runs. It is
# kept from getting there by a pipe that it must open first.
STARTS_ANOTHER = f"""
import os, sys
held = bytearray(b"x") * {HELD}
first = (os.POSIX_SPAWN_OPEN, 0, sys.argv[1], os.O_RDONLY, 0)
os.waitpid(os.posix_spawn("/bin/sleep", ["sleep", "600"], {{}}, file_actions=[first]), 0)
"""


# /proc/<pid>/stat, as the kernel has it between its old memory and its new program's
NO_PROGRAM_YET = b"77 (sleep) R 1 77 77 0 -1 4194304" + b" 0" * 43
OF_THE_KERNEL = b"2 (kthreadd) S 0 0 0 0 -1 2129984" + b" 0" * 43


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("ends", [False, True])
def test_a_process_that_is_getting_its_program_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    """Or for its end: a machine would be thought dead while it lives, and what it started would outlive it."""
    tag = str(tmp_path)
    child = subprocess.Popen(["sleep", "600"], env={"SOME_TAG": tag})
    try:
        until(lambda: processes.tagged("SOME_TAG", tag) == [child.pid])
        looks: list[str] = []

        def beginning(name: str, *words: Any, **more: Any) -> Any:
            """The environment as it is in that moment, for the first three looks."""
            if name == f"/proc/{child.pid}/environ" and len(looks) < 3:
                looks.append(name)
                return io.FileIO("/dev/null")
            return open(name, *words, **more)  # noqa: PTH123

        def without_program(name: str) -> bytes:
            if name != f"/proc/{child.pid}/stat" or len(looks) > 2:
                return read(name)
            if ends:
                child.kill()
                child.wait()
            return NO_PROGRAM_YET

        read = processes._read
        monkeypatch.setattr(processes, "open", beginning, raising=False)
        monkeypatch.setattr(processes, "_read", without_program)
        assert processes.tagged("SOME_TAG", tag) == ([] if ends else [child.pid])
        looks.clear()
        assert (tag in processes.tags("SOME_TAG")) is not ends
    finally:
        child.kill()
        child.wait()


def test_the_kernels_own_processes_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """They never have a program. A computer has hundreds, and many kernels show them with an empty environment."""
    pid, before, read = os.getppid(), time.monotonic(), processes._read

    def without_environment(name: str, *words: Any, **more: Any) -> Any:
        return io.FileIO("/dev/null") if name == f"/proc/{pid}/environ" else open(name, *words, **more)  # noqa: PTH123

    monkeypatch.setattr(processes, "open", without_environment, raising=False)
    monkeypatch.setattr(processes, "_read", lambda name: OF_THE_KERNEL if name == f"/proc/{pid}/stat" else read(name))
    monkeypatch.setattr(processes, "_PROGRAM_WAIT", 60.0)
    assert processes.tagged("SOME_TAG", "of nobody") == []
    assert time.monotonic() - before < 30


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
        try:
            assert HELD < processes.peak_memory([holder.pid, child]) < 1.3 * HELD
        finally:
            holder.kill()
            os.kill(child, signal.SIGKILL)
