"""script/ on machines that lack something: one clear sentence each, and nothing done by halves.

The machine is a PATH with the few programs that every Debian has, and stand-ins for those that would change it.
"""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
EVERYWHERE = (
    "awk bash cat chmod cut df dirname env flock grep head id ln mkdir mktemp mv python3 rm sed sha256sum tail which"
)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A checkout with what setup reads, without .venv/."""
    folder = tmp_path / "a clone"
    shutil.copytree(ROOT / "script", folder / "script")
    shutil.copytree(ROOT / "requirements", folder / "requirements")
    shutil.copytree(ROOT / "bin", folder / "bin")
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder for PATH: Debian's essential programs and no others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in EVERYWHERE.split():
        if found := shutil.which(name, path="/usr/bin:/bin"):
            (folder / name).symlink_to(found)
    stand_in(folder, "gs")
    stand_in(folder, "relion_refine")
    return folder


def stand_in(machine: Path, name: str, text: str = "exit 0") -> None:
    """Put a program into the machine that does what the shell text says."""
    (machine / name).unlink(missing_ok=True)
    (machine / name).write_text(f"#!/bin/sh\n{text}\n")
    (machine / name).chmod(0o755)


def setup(clone: Path, machine: Path, *options: str, user: str | None = None) -> str:
    """Run script/setup where it must fail; its one sentence."""
    done = subprocess.run(
        [clone / "script/setup", *options],
        env={"PATH": str(machine), "HOME": str(clone)},
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        user=user,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("setup: ")
    return lines[0]


def test_no_apt(clone: Path, machine: Path) -> None:
    (machine / "gs").unlink()
    sentence = setup(clone, machine, "--demo")
    assert "ghostscript" in sentence
    assert "no apt-get" in sentence
    assert "relion" not in sentence, "RELION on PATH is used as it is"


def test_not_root_and_no_sudo(clone: Path, machine: Path) -> None:
    (machine / "relion_refine").unlink()
    stand_in(machine, "apt-get", "echo called >> $HOME/apt")
    stand_in(machine, "id", "echo 1000")
    sentence = setup(clone, machine, "--demo")
    assert "no sudo" in sentence
    assert "'apt-get install relion'" in sentence
    assert not (clone / "apt").exists()


def test_sudo_that_asks_where_nobody_answers(clone: Path, machine: Path) -> None:
    (machine / "gs").unlink()
    stand_in(machine, "apt-get")
    stand_in(machine, "id", "echo 1000")
    stand_in(machine, "sudo", 'test "$1" != -n')
    assert "password" in setup(clone, machine, "--demo")


def test_apt_without_a_network(clone: Path, machine: Path) -> None:
    (machine / "gs").unlink()
    stand_in(machine, "id", "echo 0")
    stand_in(machine, "apt-get", "echo $* >> $HOME/apt; echo 'W: no'; echo 'E: Unable to locate it' >&2; exit 100")
    sentence = setup(clone, machine, "--demo")
    assert "no network" in sentence
    assert "E: Unable to locate it" in sentence
    updates = [line for line in (clone / "apt").read_text().splitlines() if line.endswith(" update")]
    assert len(updates) == 1


def test_disk_full(clone: Path, machine: Path) -> None:
    stand_in(machine, "df", "printf 'Filesystem\\n/dev/x 100 60 40 60%% /\\n'")
    sentence = setup(clone, machine, "--lint")
    assert "40 MB are free" in sentence
    assert not (clone / ".venv").exists()


def test_folder_of_somebody_else(clone: Path, machine: Path) -> None:
    # pytest's own folders are closed to others, so this clone and its machine move to an open one.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        shutil.copytree(clone, Path(folder, "clone"))
        shutil.copytree(machine, Path(folder, "bin"), symlinks=True)
        Path(folder, "clone").chmod(0o555)
        somebody = "nobody" if os.geteuid() == 0 else None
        assert "can't be written" in setup(Path(folder, "clone"), Path(folder, "bin"), user=somebody)


def test_unknown_option(clone: Path, machine: Path) -> None:
    assert "--demo" in setup(clone, machine, "--dmeo")


def test_nothing_to_do_takes_a_moment() -> None:
    if not (ROOT / ".venv/cryoburst-setup").exists():
        pytest.skip("this environment was not made by script/setup")
    times: list[float] = []
    for _ in range(3):
        start = time.monotonic()
        done = subprocess.run([ROOT / "script/setup"], check=True, capture_output=True, timeout=60)
        times.append(time.monotonic() - start)
        assert done.stdout == b""
    assert min(times) < 1


def test_bench_names_what_there_is() -> None:
    done = subprocess.run([ROOT / "script/bench", "lunch"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "launch" in done.stderr


@pytest.mark.parametrize("name", ["setup", "demo", "test", "lint", "types", "docs", "bench"])
def test_every_habit_is_there(name: str) -> None:
    assert os.access(ROOT / "script" / name, os.X_OK)
