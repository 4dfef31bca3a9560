"""A machine's folder on this computer: what is in it, and whether the machine lives. Starts and ends nothing.

<id>/machine.json   the order; written once, whole
<id>/lock           held (flock) by the machine's own processes for as long as one of them lives: the truth of "alive"
<id>/booted         the machine was started; it never is a second time
<id>/credential.json   a store's credential for this machine alone, when it needs one; goes with the folder
<id>/console.log    what its processes print
<id>/project home tmp agent   the agent's root folder
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cryoburst.agent import processes
from cryoburst.agent.carry import TAG
from cryoburst.model.documents import FORMAT, dump, load
from cryoburst.model.errors import BadInput
from cryoburst.model.plugins import Boot, Offer

_ID = re.compile(r"m-[0-9a-f]{16}")


@dataclass(frozen=True)
class Order:
    """machine.json: the request that made the machine, and when."""

    token: str
    owner: str
    run: str
    attempt: int
    offer: Offer
    boot: Boot
    power_off_at: float
    created: float
    format: int = FORMAT


@lru_cache(maxsize=256)
def _order(data: bytes, where: str) -> Order:
    """What machine.json says: it never changes, and is read at every listing."""
    return load(Order, data, where)


@dataclass(frozen=True)
class Machine:
    """One machine's folder."""

    root: Path

    @classmethod
    def of(cls, folder: Path, machine_id: str) -> "Machine":
        """The machine with this id; ``BadInput`` when it is not one that ``id_of`` makes."""
        if not _ID.fullmatch(machine_id):
            raise BadInput("not a machine of this computer", where=machine_id)
        return cls(folder / machine_id)

    @property
    def order(self) -> Order | None:
        """What it was made for; None when it was never made, or is gone."""
        try:
            return _order((self.root / "machine.json").read_bytes(), str(self.root / "machine.json"))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def take_order(self, order: Order) -> Order:
        """Write machine.json unless it is there; the order that is there. Of two at once, one wins."""
        self.root.mkdir(exist_ok=True)
        beside = self.root / f".machine.json.{os.getpid()}.{os.urandom(4).hex()}"
        with beside.open("wb") as file:
            file.write(dump(order))
            file.flush()
            os.fsync(file.fileno())  # a power cut must not leave an order that nobody can read
        try:
            os.link(beside, self.root / "machine.json")
        except FileExistsError:
            order = self.order or order
        finally:
            beside.unlink()
        return order

    def remove(self) -> None:
        """Take the folder away, machine.json last: while anything is left, the machine is listed and removed again."""
        with os.scandir(self.root) as entries:
            found = [entry for entry in entries if entry.name != "machine.json"]
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry)
            else:
                Path(entry).unlink()
        (self.root / "machine.json").unlink(missing_ok=True)
        self.root.rmdir()

    def keep_credential(self, credential: dict[str, str]) -> None:
        """Leave a store's credential for the machine's own processes; nobody else may read it."""
        if not credential:
            return
        descriptor = os.open(self.root / "credential.json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(credential, file)

    @property
    def credential(self) -> dict[str, str]:
        """What ``keep_credential`` left; empty when nothing."""
        try:
            return json.loads((self.root / "credential.json").read_text())
        except (FileNotFoundError, NotADirectoryError):
            return {}

    @property
    def booted(self) -> bool:
        """Whether it was ever started."""
        return (self.root / "booted").exists()

    @property
    def locked(self) -> bool:
        """Whether one of its own processes holds the lock."""
        try:
            with (self.root / "lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return False
        except BlockingIOError:
            return True
        except OSError:
            return False

    def boot_once(self, seconds: float = 5.0) -> int | None:
        """Take the lock and the one right to boot: the lock's descriptor, or None when another has or had it."""
        try:
            lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return None  # deleted meanwhile
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.booted:
            with contextlib.suppress(BlockingIOError):  # somebody asks whether it lives, for microseconds
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with contextlib.suppress(OSError):
                    (self.root / "booted").open("x").close()
                    return lock
                break
            time.sleep(0.005)
        os.close(lock)
        return None

    def processes(self, token: str) -> list[int]:
        """All its living processes but this one."""
        return processes.tagged(TAG, token)


def id_of(token: str) -> str:
    """The machine's id: the same for the same token."""
    return f"m-{hashlib.sha256(token.encode()).hexdigest()[:16]}"


def machines(folder: Path) -> Iterator[tuple[str, Machine]]:
    """(id, machine) of every folder that could be a machine's."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return
    for name in names:
        if _ID.fullmatch(name):
            yield name, Machine(folder / name)
