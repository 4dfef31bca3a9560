"""One machine of the emulated cloud: started, plugged in, killed at one blow, and told when it has ended."""

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.servers import Programs

from .network import Cable, Network

START = 120.0  # s that the namespaces may take on a loaded machine
LOOK = 0.02  # s
# What the machine's systemd reads as the kernel's command line.
CMDLINE = "systemd.show_status=1 systemd.log_color=0 systemd.log_target=console systemd.log_level=notice\n"
CONSOLE = 64 * 1024  # bytes of it that EC2 keeps


@dataclass(frozen=True)
class Machine:
    """A machine's folder and processes; the folder's name is its instance id."""

    folder: Path
    made: Programs
    network: Network
    cable: Cable
    cgroup: Path

    @property
    def name(self) -> str:
        return self.folder.name

    def start(self, rootfs: Path, ended: Callable[[bool], None]) -> None:
        """Turn it on, or raise RuntimeError; when it is over, ``ended(powered itself off)`` is called, once."""
        self.folder.mkdir(parents=True)
        (self.folder / "cmdline").write_text(CMDLINE)
        launch = Path(__file__).with_name("launch.py")
        self.made.start(self.name, [sys.executable, "-I", launch, self.folder, rootfs, self.cgroup / self.name])
        until = time.monotonic() + START
        while not self.apart:
            if self.over is not None or time.monotonic() > until:
                raise RuntimeError(f"a machine did not start: {self.console().decode(errors='replace')[-1000:]}")
            time.sleep(LOOK)
        self.network.plug(self.cable, self.pid)
        threading.Thread(target=self._watch, args=(ended,), daemon=True).start()

    def _watch(self, ended: Callable[[bool], None]) -> None:
        while self.over is None:
            time.sleep(LOOK * 5)
        ended(self.over == 0)

    @property
    def pid(self) -> int:
        """A process in its network namespace whose death is the machine's; 0 before there is one."""
        try:
            return int((self.folder / "pid").read_text())
        except OSError:
            return 0

    @property
    def apart(self) -> bool:
        """Whether it is in a network namespace of its own already."""
        try:
            return self.pid > 0 and Path(f"/proc/{self.pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()
        except OSError:
            return False

    @property
    def over(self) -> int | None:
        """How it ended, 0 for a power-off; None while it runs."""
        try:
            return int((self.made.logs / f"{self.name}.ended").read_text() or "1")
        except OSError:
            return None

    def kill(self) -> None:
        """Cut its power: nothing is said to anybody, not even by its network connections. Silent when it is over."""
        self.network.pull(self.cable)
        if self.over is None and self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def console(self) -> bytes:
        """The end of what it printed."""
        try:
            return (self.folder / "console.log").read_bytes()[-CONSOLE:]
        except OSError:
            return b""

    def clear(self) -> None:
        """Give back its address and its disk; what it printed stays. It must be over."""
        self.network.forget(self.cable)
        for name in ("up", "work", "root"):
            shutil.rmtree(self.folder / name, ignore_errors=True)


def cgroups() -> Path:
    """Where control groups of version 2 are made here."""
    hybrid = Path("/sys/fs/cgroup/unified")
    return hybrid if hybrid.is_dir() else Path("/sys/fs/cgroup")
