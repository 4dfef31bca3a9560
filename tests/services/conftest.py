"""A user's home, and small disks for it."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .home import Home


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A home without runs; nothing of it outlives the test."""
    made = Home(tmp_path)
    yield made
    made.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str, int], Path]]:
    """Mounts a disk of so many kB under a name, or gives the one there that size."""
    mounted: list[Path] = []

    def mount(name: str, size: int) -> Path:
        folder = tmp_path / name
        again = folder in mounted
        folder.mkdir(exist_ok=True)
        words = ["-o", f"{'remount,' if again else ''}size={size}k", "-t", "tmpfs", "tmpfs", str(folder)]
        done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"a disk can be mounted only with more rights than these: {done.stderr.strip()}")
        if not again:
            mounted.append(folder)
        return folder

    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk")
    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)
