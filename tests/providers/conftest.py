"""A store, a folder for machines, and orders to fill; every machine is gone after the test."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cryoburst.agent.archive import build
from cryoburst.model.documents import Batch, Exit, Heartbeat, Spec, dump, load
from cryoburst.model.plugins import Boot, MachineRequest, MachineSeen, Offer
from cryoburst.providers.local.provider import LocalProvider
from cryoburst.stores.folder import FolderStore

JOB = "Class3D/job012/"
OFFER = Offer("local", "local", 2, 2**30, 0, 0.0)


class Yard:
    """Machines on this computer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = FolderStore((folder / "store").as_uri())
        self.store.create()
        data, checksum = build()
        self.archive_key = f"agent/{checksum.removeprefix('sha256:')}.pyz"
        self.archive_checksum = checksum
        self.store.put(self.archive_key, data)
        self.provider = LocalProvider(folder / "machines")

    def order(self, script: str = "true", name: str = "1", power_off: float = 300.0, **spec: object) -> MachineRequest:
        """Write a spec and return the order of its machine; the same name is the same machine."""
        values: dict[str, object] = {
            "uid": "u1",
            "attempt": 1,
            "owner": "me",
            "job": JOB,
            "script": script,
            "environment": {},
            "software": {},
            "inputs": [],
            "logs": ["run.out", "run.err"],
            "log_base": {},
            "abort_file": "",
            "deadline": time.time() + 300,
            "grace": 20.0,
            "heartbeat": 0.1,
        }
        self.store.put(self.prefix(name) + "spec.json", dump(Spec(**(values | spec))))  # type: ignore[arg-type]
        return MachineRequest(
            token=f"{self.folder}/{name}",
            owner="me",
            run="u1",
            attempt=1,
            offer=OFFER,
            boot=Boot(self.store.url, self.prefix(name), self.archive_key, self.archive_checksum),
            power_off_at=time.time() + power_off,
        )

    @staticmethod
    def prefix(name: str = "1") -> str:
        return f"p/{JOB}u1/{name}/"

    def has(self, document: str, name: str = "1") -> bool:
        return self.store.get(self.prefix(name) + document) is not None

    def exit(self, name: str = "1") -> Exit:
        return load(Exit, self.store.get(self.prefix(name) + "exit.json") or b"", "exit.json")

    def beat(self, name: str = "1") -> Heartbeat | None:
        data = self.store.get(self.prefix(name) + "heartbeat.json")
        return None if data is None else load(Heartbeat, data, "heartbeat.json")

    def running(self, name: str = "1") -> bool:
        beat = self.beat(name)
        return beat is not None and beat.command_started is not None

    def outputs(self, name: str = "1") -> set[str]:
        found: set[str] = set()
        for each in self.store.list(f"{self.prefix(name)}journal/"):
            batch = load(Batch, self.store.get(each.key) or b"", each.key)
            found |= {output.path.removeprefix(JOB) for output in batch.outputs}
        return found

    def seen(self) -> list[MachineSeen]:
        return self.provider.machines("me")

    def processes(self, name: str = "1") -> dict[int, str]:
        """Living processes of a machine: id → command line."""
        found: dict[int, str] = {}
        tag = f"CRYOBURST_MACHINE={self.folder}/{name}".encode()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if tag in (entry / "environ").read_bytes().split(b"\0"):
                        found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                except OSError:
                    continue
        return found

    def close(self) -> None:
        for machine in self.provider.machines("me"):
            self.provider.delete(machine.id)


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    made = Yard(tmp_path)
    yield made
    made.close()


def wait_for(condition: object, seconds: float = 120.0) -> None:
    """Until it holds; fails after the seconds."""
    until = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until, "it never came"
        time.sleep(0.01)
