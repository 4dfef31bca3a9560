"""What a user sees at home while a real Class2D runs elsewhere: a log that grows, and outputs that appear whole."""

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.alone]

LOOK = 0.02  # s between two looks at the job folder
MARKER = "RELION_JOB_EXIT_SUCCESS"
NOT_OUTPUTS = ("run.out", "run.err", "run.job", "run_submit.script")
OPTIONS = (
    "do_ctf_correction == No;nr_classes == 3;nr_iter == 10;particle_diameter == 250;offset_range == 5;psi_sampling == 4"
)


@dataclass
class Version:
    """One inode under an output's name: a new version is a new inode, put in the old one's place by a rename."""

    seen: float  # s since the epoch
    sizes: set[int]
    content: bytes
    mtime: float = 0.0


@dataclass
class Poller:
    """Looks at a job folder again and again, as a user's window does."""

    folder: Path
    versions: dict[str, dict[int, Version]] = field(default_factory=dict[str, dict[int, Version]])
    at_marker: set[tuple[str, int]] | None = None  # (name, inode) of the outputs when the marker was there first
    done: bool = False

    def run(self) -> None:
        """Look until told to end."""
        while not self.done:
            self.look()
            time.sleep(LOOK)

    def look(self) -> None:
        """One look. The marker is asked for before the outputs: what comes with it may not come after it."""
        marker = (self.folder / MARKER).exists()
        now = time.time()
        with os.scandir(self.folder) as entries:
            names = [e.name for e in entries if e.name.startswith("run_") and e.name not in NOT_OUTPUTS]
        present: set[tuple[str, int]] = set()
        for name in names:
            with (self.folder / name).open("rb") as file:
                found = os.fstat(file.fileno())
                known = self.versions.setdefault(name, {})
                if found.st_ino not in known:
                    known[found.st_ino] = Version(now, set(), file.read())
            known[found.st_ino].sizes.add(found.st_size)
            known[found.st_ino].mtime = found.st_mtime
            present.add((name, found.st_ino))
        if marker and self.at_marker is None:
            self.at_marker = present


def state(project: Any) -> str:
    """What ``cryoburst runs`` says of the only run; empty before there is one."""
    program = Path(sys.executable).with_name("cryoburst")
    done = subprocess.run(
        [program, "runs", "--json"], env=project.environment, capture_output=True, text=True, timeout=60, check=True
    )
    runs = json.loads(done.stdout)
    return runs[0]["state"] if runs else ""


def test_log_and_outputs_come_home_while_it_runs(project: Any, particles: str) -> None:
    folder = project.add("Class2D", f"fn_img == {particles};{OPTIONS}")
    poller = Poller(project.root / folder)
    looking = threading.Thread(target=poller.run)
    logs: set[int] = set()
    now = ""
    looking.start()
    try:
        with project.start(folder) as pipeliner:
            end = time.monotonic() + 360
            while now not in ("SUCCEEDED", "FAILED", "STOPPED"):
                assert time.monotonic() < end, (now, project.text(f"{folder}run.err"))
                size = len(project.text(f"{folder}run.out"))
                now = state(project)
                if now == "RUNNING" and size:
                    logs.add(size)
            pipeliner.kill()
        time.sleep(5 * LOOK)
    finally:
        poller.done = True
        looking.join()
    assert now == "SUCCEEDED", project.text(f"{folder}run.err")

    assert len(logs) >= 2, "run.out did not grow while the run was RUNNING"
    outputs = {name: list(versions.values()) for name, versions in poller.versions.items()}
    assert {"run_it000_model.star", "run_it010_classes.mrcs", "run_it010_optimiser.star"} <= set(outputs)
    assert len(outputs) >= 10 * 5
    for name, versions in outputs.items():
        last = (project.root / folder / name).read_bytes()
        for version in versions:
            assert version.sizes == {len(version.content)}, f"{name} was seen growing: {version.sizes}"
            half = len(version.content) < len(last) and last.startswith(version.content)
            assert not half, f"{name} was seen half-written: {len(version.content)} of {len(last)} bytes"

    finished = {(p.name, p.stat().st_ino) for p in (project.root / folder).glob("run_*") if p.name not in NOT_OUTPUTS}
    assert poller.at_marker == finished, "the success marker came before the outputs"

    delays = [versions[-1].seen - versions[-1].mtime for versions in outputs.values()]
    median = statistics.median(delays)
    print(f"{len(delays)} outputs were whole at home after {median:.2f} s (median), at most {max(delays):.2f} s")
    assert 0 < median <= 3.0
