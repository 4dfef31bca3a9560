"""A store and a machine's root in a temporary folder, and agents that run there as processes of their own."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests import wrong_clock

from cryoburst.model.documents import (
    Batch,
    Exit,
    Heartbeat,
    Manifest,
    Output,
    Spec,
    SpecInput,
    Started,
    Stop,
    dump,
    load,
)
from cryoburst.model.store import read_whole
from cryoburst.stores.folder import FolderStore

PATIENCE = 120.0  # s, on a loaded machine: only a test that fails waits for so long
JOB = "Class3D/job012/"
PREFIX = f"project/{JOB}u1/1/"
QUICK = {
    "stop_wait": 0.3,
    "term_wait": 0.3,
    "leftover_wait": 0.2,
    "stop_check": 0.1,
    "retry_first": 0.05,
    "retry_most": 0.1,
}
QUICK |= {"quiet": 0.1, "scan": 0.2}


class Stage:
    """One attempt on one machine; ``close`` ends all processes that a test left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "machine"
        self.project = self.root / "project"
        self.job = self.project / JOB
        self.store = FolderStore((folder / "store").as_uri())
        self.store.create()
        self.fault, self.skip = folder / "fault", folder / "skip"
        self.token = f"token of {folder}"
        self.inputs: list[SpecInput] = []
        self.processes: list[subprocess.Popen[bytes]] = []

    def input(self, path: str, data: bytes, kept: bytes | None = None) -> None:
        """Add an input; ``kept`` is what the store has in its place."""
        digest = hashlib.sha256(data).hexdigest()
        key = f"project/inputs/{digest[:2]}/{digest}"
        self.store.put(key, data if kept is None else kept)
        self.inputs.append(SpecInput(path, len(data), f"sha256:{digest}", key, 0, 1_500_000_000_123_456_789))

    def spec(self, script: str, **changes: object) -> Spec:
        """Write the spec: the last thing that home does."""
        spec = Spec(
            uid="u1",
            attempt=1,
            owner="me",
            job=JOB,
            script=script,
            environment={},
            software={},
            inputs=self.inputs,
            logs=["run.out", "run.err"],
            log_base={},
            abort_file="",
            deadline=time.time() + 300,
            grace=30.0,
            heartbeat=0.1,
        )
        spec = replace(spec, **changes)  # type: ignore[arg-type]
        self.store.put(PREFIX + "spec.json", dump(spec))
        return spec

    def start(
        self,
        verb: str = "run",
        token: str = "",
        broken: str = "",
        env: dict[str, str] | None = None,
        ahead: float = 0.0,
        **pace: float,
    ) -> subprocess.Popen[bytes]:
        """Start the agent or the guard; ``ahead`` is by how many seconds its time of day is, and that of its job."""
        settings = {"pace": QUICK | pace, "fault": str(self.fault), "skip": str(self.skip), "break": broken}
        wrong = wrong_clock.environment(self.folder / "clock", ahead) if ahead else {}
        driver = str(Path(__file__).with_name("driver.py"))
        words = [verb, self.store.url, PREFIX, str(self.root), token or self.token]
        process = subprocess.Popen(
            [sys.executable, driver, json.dumps(settings), *words],
            env=os.environ | (env or {}) | wrong,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        self.processes.append(process)
        return process

    def end(self, process: subprocess.Popen[bytes], seconds: float = PATIENCE) -> tuple[int, str]:
        """Wait for the process; its exit code and what it printed."""
        _, printed = process.communicate(timeout=seconds)
        return process.returncode, printed.decode()

    def run(self, script: str, env: dict[str, str] | None = None, **changes: object) -> Exit:
        """Carry a script out; its exit.json."""
        self.spec(script, **changes)
        assert self.end(self.start(env=env)) == (0, "")
        return self.exit

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """kill -9 the agent alone."""
        process.send_signal(signal.SIGKILL)
        self.end(process)

    def skip_to(self, when: float) -> None:
        """Move the agent's clock on, so that no test has to begin in time for a deadline, nor to wait for one."""
        self.skip.write_text(f"{when - time.time()}\n")

    def stop(self) -> None:
        """Ask the agent to end the command."""
        self.store.put(PREFIX + "stop.json", dump(Stop(time.time(), "a test")))

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=PATIENCE)
        for pid in self.jobs():
            os.kill(pid, signal.SIGKILL)

    def jobs(self) -> list[int]:
        """Living processes of the job."""
        found: list[int] = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if f"CRYOBURST_JOB={self.token}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found

    @property
    def exit(self) -> Exit:
        data = self.store.get(PREFIX + "exit.json")
        assert data is not None
        return load(Exit, data, "exit.json")

    @property
    def manifest(self) -> Manifest:
        data = self.store.get(PREFIX + "manifest.json")
        assert data is not None
        return load(Manifest, data, "manifest.json")

    @property
    def heartbeat(self) -> Heartbeat | None:
        data = self.store.get(PREFIX + "heartbeat.json")
        return None if data is None else load(Heartbeat, data, "heartbeat.json")

    @property
    def started(self) -> Started | None:
        data = self.store.get(PREFIX + "started.json")
        return None if data is None else load(Started, data, "started.json")

    def has(self, name: str) -> bool:
        return self.store.get(PREFIX + name) is not None

    def outputs(self) -> dict[str, bytes]:
        """What the manifest tells of, and until there is one the journal: path in the job folder → content."""
        found: dict[str, Output] = {}
        for each in self.store.list(f"{PREFIX}journal/"):
            found |= {o.path: o for o in load(Batch, self.store.get(each.key) or b"", each.key).outputs}
        if self.has("manifest.json"):
            found = {o.path: o for o in self.manifest.outputs}
        return {path.removeprefix(JOB): self.content(output) for path, output in found.items() if not output.link}

    def content(self, output: Output) -> bytes:
        """The bytes of an output in the store."""
        assert output.key.startswith(f"{PREFIX}outputs/")
        return read_whole(self.store, output.key, output.offset, output.size)

    def told(self) -> dict[str, str]:
        """The manifest: path in the job folder → checksum, or where its link points."""
        return {each.path.removeprefix(JOB): each.checksum or "-> " + each.link for each in self.manifest.outputs}

    def log(self, name: str = "run.out") -> bytes:
        """The log as home puts it together: every chunk where its name says, then what the heartbeat carries."""
        whole = b""
        for each in self.store.list(f"{PREFIX}log/"):
            found, _, offset = each.key.removeprefix(f"{PREFIX}log/").rpartition(".")
            if found == name:
                assert int(offset) == len(whole)
                whole += self.store.get(each.key) or b""
        beat = self.heartbeat
        if beat is not None and name in beat.tails:
            tail = beat.tails[name].encode("latin-1")
            whole = whole[: beat.log[name] - len(tail)] + tail
        return whole


def checksum(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def wait_for(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Until it holds; fails after the seconds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.01)
