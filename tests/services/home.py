"""A user's home folder with a project of script jobs, and ``cryoburst`` as the user calls it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryoburst.agent import processes
from cryoburst.providers.local import LocalProvider

PACKAGE = Path(__file__).parent.parent / "faults"  # script_package.py
ENTRY_POINT = "[cryoburst.packages]\nscript = script_package:Script\n"
PROGRAM = Path(sys.executable).with_name("cryoburst")
QUICK = {
    "CRYOBURST_RETRY_DELAYS": "0.1,0.1,0.1",
    "CRYOBURST_HEARTBEAT_SECONDS": "0.1",
    "CRYOBURST_POLL_SECONDS": "0.05",
    "CRYOBURST_IDLE_SECONDS": "1",
    "CRYOBURST_OWNER": "me@here",
}
PATIENCE = 60.0  # s, on a loaded machine


class Home:
    """Everything below ``root``: state, store, machines, settings, project."""

    look = 0.05  # s between two looks at the runs at first; each is a command, and takes a core for a moment

    def __init__(self, root: Path) -> None:
        self.root, self.state, self.project = root, root / "state", root / "project"
        self.boots, self.config = root / "boots", root / "config/cryoburst/config.toml"
        self.machines = self.state / "machines"
        info = root / "plugin/cryoburst_script-1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cryoburst-script\nVersion: 1\n")
        (info / "entry_points.txt").write_text(ENTRY_POINT)
        self.path = [str(root / "plugin"), str(PACKAGE)]
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("CRYOBURST_", "RELION_"))}
        self.environment = clean | QUICK | {
            "HOME": str(root),
            "XDG_CONFIG_HOME": str(root / "config"),
            "CRYOBURST_STATE": str(self.state),
            "PYTHONPATH": os.pathsep.join(self.path),
            "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        self.project.mkdir()
        (self.project / "script.project").touch()
        (self.project / "in.bin").write_bytes(os.urandom(20_000))

    def job(self, number: int = 1, script: str = "", sleep: float = 0.5) -> str:
        """A job folder; its script copies the input, waits and copies it again."""
        folder = f"Script/job{number:03d}"
        (self.project / folder).mkdir(parents=True, exist_ok=True)
        text = f"cp in.bin {folder}/one.bin\necho step 1 of 2\nsleep {sleep}\ncp in.bin {folder}/two.bin\n"
        text = f'# input in.bin\necho "$CRYOBURST_JOB" >> {self.boots}\n{script or text}'
        (self.project / folder / "job.sh").write_text(text)
        return folder

    def split_job(self, number: int = 1, units: int = 6, sleep: float = 0.3) -> str:
        """A job that can be split: it makes a file of each unit, and one of them all."""
        folder = f"Script/job{number:03d}"
        (self.project / folder).mkdir(parents=True, exist_ok=True)
        names = [f"u{n}" for n in range(units)]
        (self.project / "units.txt").write_text("".join(f"{name}\n" for name in names))
        for name in names:
            (self.project / name).write_bytes(name.encode() * 5000)
        text = f"""# list units.txt
echo "$CRYOBURST_JOB" >> {self.boots}
mkdir -p {folder}/out
total=$(wc -l < units.txt); done=0
for unit in $(cat units.txt); do
    if [ ! -e {folder}/out/$unit ]; then sleep {sleep}; cp $unit {folder}/out/$unit; fi
    done=$((done + 1)); echo "step $done of $total"
done
cat {folder}/out/* > {folder}/joined.bin
"""
        (self.project / folder / "job.sh").write_text(text)
        return folder

    def assert_split(self, folder: str, units: int = 6) -> None:
        """All that a split job makes is at home, byte for byte, and nothing else."""
        whole = [(f"u{n}", f"u{n}".encode() * 5000) for n in range(units)]
        assert {p.name: p.read_bytes() for p in (self.project / folder / "out").iterdir()} == dict(whole)
        assert (self.project / folder / "joined.bin").read_bytes() == b"".join(data for _, data in whole)
        assert (self.project / folder / "DONE").exists()
        assert not list((self.project / folder).rglob(".cryoburst*"))

    def call(self, *words: str, seconds: float = PATIENCE) -> "subprocess.CompletedProcess[str]":
        """One command in the project folder."""
        return subprocess.run(
            [PROGRAM, *words],
            cwd=self.project,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
        )

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """One command that goes on."""
        return subprocess.Popen(
            [PROGRAM, *words],
            cwd=self.project,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    def submit(self, folder: str, *words: str) -> None:
        """Submit a job, which must be taken."""
        done = self.call("submit", "--job", folder, *words)
        assert (done.returncode, done.stderr) == (0, "")

    def runs(self) -> list[dict[str, Any]]:
        """``cryoburst runs --json``, which also keeps a watcher alive."""
        done = self.call("runs", "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def until(
        self, holds: Callable[[dict[str, Any]], object], number: int = 1, seconds: float = PATIENCE
    ) -> dict[str, Any]:
        """The run's values once something holds of them."""
        began = time.monotonic()
        while (waited := time.monotonic() - began) < seconds:
            for run in self.runs():
                if run["number"] == number and holds(run):
                    return run
            time.sleep(max(self.look, min(waited / 10, 1.0)))
        raise AssertionError(f"it never came to that: {self.runs()}\n{self.log()}")

    def ended(self, number: int = 1) -> dict[str, Any]:
        """The run's values at its end."""
        return self.until(lambda run: run["state"] in ("SUCCEEDED", "FAILED", "STOPPED"), number, 3 * PATIENCE)

    def log(self) -> str:
        """The watcher's log."""
        file = self.state / "watch.log"
        return file.read_text(errors="replace")[-4000:] if file.exists() else ""

    def watchers(self) -> list[int]:
        """All processes of the watcher."""
        wanted = os.fsencode(f"CRYOBURST_STATE={self.state}")
        found: list[int] = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                    if b"watch" in words and wanted in (entry / "environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
        return found

    def kill_watcher(self) -> bool:
        """kill -9 of the process that the watcher's lock names."""
        try:
            pid = int((self.state / "watch.lock").read_text())
        except (OSError, ValueError):
            return False
        if pid not in self.watchers():
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return True

    def tokens(self) -> list[str]:
        """The tokens of the machines that run."""
        found: list[str] = []
        for order in self.machines.glob("m-*/machine.json"):
            with contextlib.suppress(OSError, ValueError):
                found.append(json.loads(order.read_text())["token"])
        return [token for token in found if processes.tagged("CRYOBURST_MACHINE", token)]

    def cut_power(self, tokens: list[str] | None = None) -> bool:
        """End every process of every machine, or of these, at one blow."""
        pids = [pid for token in tokens or self.tokens() for pid in processes.tagged("CRYOBURST_MACHINE", token)]
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        return bool(pids)

    def cut_when(self, holds: Callable[[], object], pause: float = 0.0) -> bool:
        """Cut the power so many seconds after something holds and a machine runs; False when the run had ended."""
        end, look = time.monotonic() + 3 * PATIENCE, 0.0
        while time.monotonic() < end:
            if holds() and self.tokens():
                time.sleep(pause)
                if self.cut_power():
                    return True
            if time.monotonic() > look:  # which starts a watcher that was killed
                if self.runs()[0]["state"] in ("SUCCEEDED", "FAILED", "STOPPED"):
                    return False
                look = time.monotonic() + 1.0
            time.sleep(0.01)
        raise AssertionError(f"it never came to that: {self.log()}")

    def goes_on(self) -> list[str]:
        """Where attempts of run 1 went on, in its own words."""
        shown = json.loads(self.call("show", "1", "--json").stdout)
        return [event["text"] for event in shown["events"] if "goes on" in event["text"]]

    def drop_database(self) -> None:
        """Delete the database with its journals."""
        for tail in ("", "-wal", "-shm"):
            (self.state / f"cryoburst.db{tail}").unlink(missing_ok=True)

    def assert_clean(self, machines: int) -> None:
        """So many machines were made, no command ran twice on one, and nothing is left."""
        self.assert_no_machines()
        boots = self.boots.read_text().split() if self.boots.exists() else []
        assert len(boots) == len(set(boots))
        assert len(list((self.machines / ".gone").iterdir())) == machines

    def assert_no_machines(self) -> None:
        """None is left, once the watcher had the time to end them: a run has ended before its machine has."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and (self.tokens() or list(self.machines.glob("m-*"))):
            self.runs()
            time.sleep(0.2)
        assert not self.tokens()
        assert not list(self.machines.glob("m-*"))

    def close(self) -> None:
        """End what a test left."""
        for pid in self.watchers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        provider = LocalProvider(self.machines)
        for left in self.machines.glob("m-*"):
            provider.delete(left.name)
