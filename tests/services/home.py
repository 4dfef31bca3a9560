"""A user's home folder with a project of script jobs, and ``cryoburst`` as the user calls it."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from cryoburst.agent import processes
from cryoburst.providers.local.machine import id_of
from cryoburst.providers.local.provider import LocalProvider

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
# s: only a test that fails waits for so long. Three times the minute after which home tries a silent machine's store
# itself; a new machine may be missing for half of one.
PATIENCE = 180.0


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

    def held(self) -> str:
        """A script that goes on until ``let_go``, however long a test takes to see that it runs."""
        return f"until [ -e {self.root}/let_go ]; do sleep 0.05; done\n"

    def let_go(self) -> None:
        """Let scripts that are ``held`` go on."""
        (self.root / "let_go").touch()

    def gate(self, program: str) -> None:
        """Have a program wait, in every attempt of a run, until ``begin`` says that it may begin: an attempt may be
        over before a test has seen that there is one."""
        folder = self.root / "gates"
        folder.mkdir(exist_ok=True)
        wait = f"until [ -e {folder}/${{CRYOBURST_JOB##*-}} ]; do sleep 0.05; done"
        real = shutil.which(program)
        (folder / program).write_text(f'#!/bin/sh\n[ -z "$CRYOBURST_JOB" ] || {wait}\nexec {real} "$@"\n')
        (folder / program).chmod(0o755)
        self.environment["PATH"] = f"{folder}:{self.environment['PATH']}"

    def begin(self, attempt: int) -> None:
        """Let the programs that have a gate begin in this attempt."""
        (self.root / "gates" / str(attempt)).touch()

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
        """The run's values at its end; one command waits for it, for each look would be another."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.call("wait", f"{number}", seconds=2 * PATIENCE)
        return self.until(lambda run: run["state"] in ("SUCCEEDED", "FAILED", "STOPPED"), number)

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
        """kill -9 of the process that the watcher's lock names, which is no more when this returns."""
        try:
            pid = int((self.state / "watch.lock").read_text())
        except (OSError, ValueError):
            return False
        if pid not in self.watchers():
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self.wait(lambda: pid not in self.watchers(), f"the end of process {pid}")
        return True

    def tokens(self) -> list[str]:
        """The tokens of the machines that run."""
        found: list[str] = []
        for order in self.machines.glob("m-*/machine.json"):
            with contextlib.suppress(OSError, ValueError):
                found.append(json.loads(order.read_text())["token"])
        return [token for token in found if processes.tagged("CRYOBURST_MACHINE", token)]

    def processes_of(self, tokens: list[str]) -> set[int]:
        """The living processes of these machines."""
        return {pid for token in tokens for pid in processes.tagged("CRYOBURST_MACHINE", token)}

    def cut_power(self, tokens: list[str] | None = None) -> bool:
        """End every process of every machine, or of these, at one blow; none is left when this returns."""
        tokens, stopped = tokens or self.tokens(), set[int]()
        while new := self.processes_of(tokens) - stopped:  # one may have started others before it was stopped
            send(new, signal.SIGSTOP)
            stopped |= new
        send(stopped, signal.SIGKILL)
        self.wait(lambda: send(self.processes_of(tokens), signal.SIGKILL) == 0, "the end of all processes")
        return bool(stopped)

    def hold(self, made: Callable[[Path], object]) -> set[int]:
        """Stop RELION as soon as something holds of the project's folder on a machine; its processes, to be sent
        SIGCONT. It is faster here than its files come home: it would be over before the test has seen them."""
        alive = {id_of(token) for token in self.tokens()}
        dead = {folder for folder in self.machines.glob("m-*") if folder.name not in alive}
        found: list[Path] = []

        def look() -> bool:  # which costs next to nothing: a job of RELION may be over in a second
            found.extend(each for each in self.machines.glob("m-*") if each not in dead and made(each / "project"))
            return bool(found)

        self.wait(look, "what was waited for on the machine", pause=0.003)
        tokens = [json.loads((each / "machine.json").read_text())["token"] for each in found]
        held = {pid for pid in self.processes_of(tokens) if name_of(pid).startswith("relion_")}
        send(held, signal.SIGSTOP)
        return held

    def wait(self, holds: Callable[[], object], what: str, pause: float = 0.02) -> None:
        """Wait for something that no command is needed to see."""
        end = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < end, f"{what} never came\n{self.log()}"
            time.sleep(pause)

    def cut_when(self, holds: Callable[[], object], pause: float = 0.0) -> bool:
        """Cut the power so many seconds after something holds and a machine runs; False when the run had ended, or the
        machine had done all that it was for."""
        end, look = time.monotonic() + 2 * PATIENCE, 0.0
        while time.monotonic() < end:
            if holds() and (tokens := self.tokens()):
                time.sleep(pause)
                if self.cut_power(tokens):
                    return not self.have_ended(tokens)
            if time.monotonic() > look:  # which starts a watcher that was killed
                if all(run["state"] in ("SUCCEEDED", "FAILED", "STOPPED") for run in self.runs()):
                    return False
                look = time.monotonic() + 1.0
            time.sleep(0.01)
        raise AssertionError(f"it never came to that: {self.log()}")

    def have_ended(self, tokens: list[str]) -> bool:
        """Whether the attempts of these machines all have their exit record, in the store below the state folder."""
        attempts = [token.rpartition("-")[::2] for token in tokens]
        return all(any(self.state.glob(f"store/*/*/{uid}/{number}/exit.json")) for uid, number in attempts)

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
        end, look = time.monotonic() + PATIENCE, 0.0
        while time.monotonic() < end and (self.tokens() or list(self.machines.glob("m-*"))):
            if time.monotonic() > look:  # which starts a watcher that was killed
                self.runs()
                look = time.monotonic() + 1.0
            time.sleep(0.05)
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


def send(pids: Iterable[int], number: int) -> int:
    """Send a signal to processes that may be no more; to how many there were."""
    sent = 0
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            sent += 1
    return sent


def name_of(pid: int) -> str:
    """The name of the program that a process runs; empty when it is no more."""
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""
