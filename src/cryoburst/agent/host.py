"""What this machine is: for the record of a run, never to decide anything. What can't be told is left empty."""
# ruff: noqa: PTH123, PTH207 - plain strings, as everywhere in the agent

import glob
import os
import platform
import re
import socket

from cryoburst.model.documents import Host

GPUS = "/proc/driver/nvidia/gpus/*/information"  # NVIDIA's driver, README, "The /proc interface"


def describe(now: float, software: dict[str, str | None]) -> Host:
    """The machine with the versions of the programs that were found on it."""
    return Host(
        time=now,
        name=socket.gethostname(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=_first(r"^model name\s*:\s*(.+)$", "/proc/cpuinfo"),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=memory(),
        gpus=[_first(r"^Model:\s*(.+)$", path) or "unknown" for path in sorted(glob.glob(GPUS))],
        software={name: version for name, version in software.items() if version is not None},
    )


def memory() -> int:
    """Bytes of memory of the machine; 0 when it does not tell."""
    return int(_first(r"^MemTotal:\s*(\d+) kB", "/proc/meminfo") or 0) * 1024


def _first(pattern: str, path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            found = re.search(pattern, file.read(1 << 16), re.MULTILINE)
    except OSError:
        return ""
    return found[1].strip() if found else ""
