"""The local provider's five verbs. Needs no root and no network, and never ends a process that is not a machine's."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cryoburst.agent import processes
from cryoburst.agent.carry import TAG
from cryoburst.model.errors import Corrupt, ProviderUnavailable
from cryoburst.model.plugins import Clock, Finding, MachineRequest, MachineSeen, Need, Offer
from cryoburst.providers.local import computer
from cryoburst.providers.local.machine import Machine, Order, id_of, machines

BOOT_TIME = 10.0  # s in which an order whose first process is not there yet counts as alive
GONE = ".gone"  # folder of empty files named for machines that were deleted: their tokens make no second one
CONSOLE = 16_000  # characters of what a machine printed
REMEMBER = 30 * 86400.0  # s


class LocalProvider:
    """Machines are folders below ``folder``, each with a supervised process tree. It is made when first needed."""

    name = "local"
    here = True

    def __init__(self, folder: Path, clock: Clock = time.time) -> None:
        self.folder = Path(folder).absolute()
        self._clock = clock

    def check(self) -> list[Finding]:
        """See ``Provider.check``."""
        return computer.check(self.folder)

    def offers(self, need: Need) -> list[Offer]:
        """See ``Provider.offers``: this computer, when it has the memory, GPUs, disk and software."""
        return computer.offers(self.folder, need)

    def create(self, request: MachineRequest) -> MachineSeen:
        """See ``Provider.create``. Starts what an earlier call with this token ordered and could not start, once."""
        machine_id = id_of(request.token)
        machine = Machine.of(self.folder, machine_id)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._gone(machine_id).exists():
                return _seen(machine_id, _order(request), alive=False, note="deleted")
            order = machine.take_order(_order(request, self._clock()))
            if self._gone(machine_id).exists():  # deleted by another process in this moment
                shutil.rmtree(machine.root, ignore_errors=True)
                return _seen(machine_id, order, alive=False, note="deleted")
            if not machine.booted:
                machine.keep_credential(request.boot.credential)
                _start(machine, order, order.power_off_at - self._clock())
        except (OSError, Corrupt, subprocess.SubprocessError) as error:
            raise ProviderUnavailable(f"could not start a machine here: {error}", where=str(machine.root)) from None
        return _seen(machine_id, order, alive=self._alive(machine, order, None))

    def machines(self, owner: str) -> list[MachineSeen]:
        """See ``Provider.machines``. A machine lives while its lock is held or any process of it runs."""
        found: list[MachineSeen] = []
        running: set[str] | None = None
        try:
            for machine_id, machine in machines(self.folder):
                order = machine.order
                if order is None and self._gone(machine_id).exists():  # a delete was killed at its last step
                    shutil.rmtree(machine.root, ignore_errors=True)
                if order is None or order.owner != owner:
                    continue
                if running is None and not machine.locked:
                    running = processes.tags(TAG)  # one look at all processes for all machines
                found.append(_seen(machine_id, order, self._alive(machine, order, running)))
        except (OSError, Corrupt) as error:
            raise ProviderUnavailable(f"can't read the machines here: {error}", where=str(self.folder)) from None
        return found

    def delete(self, machine_id: str) -> None:
        """See ``Provider.delete``. Returns when all its processes have ended and its folder is gone.

        Raises ``BadInput`` for an id that no machine here can have.
        """
        machine = Machine.of(self.folder, machine_id)
        try:
            if not machine.root.is_dir():
                return
            self._remember(machine_id)
            (machine.root / "booted").touch()  # whoever is about to boot it finds that it was
            order = machine.order
            if order is not None:
                processes.end(lambda: machine.processes(order.token), 0.0, lambda: None)
                if machine.processes(order.token) or machine.locked:
                    raise ProviderUnavailable("a process of this machine does not end", where=machine_id)
            machine.remove()
        except FileNotFoundError:
            if machine.root.is_dir():  # two deletes at once
                self.delete(machine_id)
        except (OSError, Corrupt) as error:
            raise ProviderUnavailable(f"could not remove the machine: {error}", where=machine_id) from None

    def reaches(self, store_url: str) -> bool:
        """See ``Provider.reaches``: what this computer reaches, its machines do."""
        return True

    def refuses(self, offers: Sequence[Offer]) -> str:
        """See ``Provider.refuses``: there is no account."""
        return ""

    def lends(self, store_url: str) -> bool:
        """See ``Provider.lends``. A folder needs no credential; a bucket's is handed over."""
        return False

    def console(self, machine_id: str) -> str:
        """See ``Provider.console``."""
        try:
            return (Machine.of(self.folder, machine_id).root / "console.log").read_text(errors="replace")[-CONSOLE:]
        except OSError:
            return ""

    def _alive(self, machine: Machine, order: Order, running: set[str] | None) -> bool:
        if machine.locked:
            return True
        if not machine.booted and self._clock() - order.created < BOOT_TIME:
            return True
        return order.token in (processes.tags(TAG) if running is None else running)

    def _gone(self, machine_id: str) -> Path:
        return self.folder / GONE / machine_id

    def _remember(self, machine_id: str) -> None:
        """Note that a machine was deleted; forget those of long ago."""
        self._gone(machine_id).parent.mkdir(exist_ok=True)
        self._gone(machine_id).touch()
        for old in self._gone(machine_id).parent.iterdir():
            if old.stat().st_mtime < self._clock() - REMEMBER:
                old.unlink(missing_ok=True)


def _start(machine: Machine, order: Order, seconds: float) -> None:
    """Start the supervisor, detached: no child of ours, no terminal, no pipe to us. It powers off after the seconds."""
    arguments = [sys.executable, "-I", "-m", "cryoburst.providers.local.supervisor", str(machine.root), f"{seconds}"]
    with (machine.root / "console.log").open("ab") as console:
        subprocess.run(
            ["/bin/sh", "-c", '"$@" &', "sh", *arguments],  # the shell ends at once: nobody has to wait for a child
            cwd=machine.root,
            env=os.environ | {TAG: order.token},
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
            timeout=10,
            check=True,
        )


def _order(request: MachineRequest, created: float = 0.0) -> Order:
    return Order(
        token=request.token,
        owner=request.owner,
        run=request.run,
        attempt=request.attempt,
        offer=request.offer,
        boot=replace(request.boot, credential={}),  # the order is shown and kept; secrets are not
        power_off_at=request.power_off_at,
        created=created,
    )


def _seen(machine_id: str, order: Order, alive: bool, note: str = "") -> MachineSeen:
    return MachineSeen(
        id=machine_id,
        token=order.token,
        owner=order.owner,
        run=order.run,
        attempt=order.attempt,
        alive=alive,
        created=order.created,
        note=note,
    )
