"""Keeps the machines honest: adopts the unknown, and asks for the end of each until its provider no longer lists it."""

import logging
from collections.abc import Callable, Container, Iterator

from cryoburst.engine.observe import Listings
from cryoburst.engine.step import reap
from cryoburst.engine.world import World
from cryoburst.model.errors import CryoburstError
from cryoburst.model.plugins import MachineSeen
from cryoburst.model.run import Machine
from cryoburst.model.states import MachineState

log = logging.getLogger("cryoburst")
DELETE_AGAIN = 5.0  # s between two requests for the end of the same machine


class Reaper:
    """Carries the rows of machines on. ``recover`` says whether everything known outside could be read."""

    def __init__(self, world: World, recover: Callable[[], bool]) -> None:
        self._world = world
        self._recover = recover
        self._listings = Listings({}, {})
        self._not_before: dict[str, float] = {}

    def adopt(self, machines: list[Machine], listings: Listings) -> None:
        """Machines of ours that no row shows: one that was thought gone is ended, an unknown one gets a row."""
        known = {m.token for m in machines}
        for provider, listed in listings.machines.items():
            for seen in listed.values():
                if seen.token in known:
                    continue
                row = self._world.ledger.machine(seen.token)
                if row is not None and row.state is MachineState.GONE:
                    self._world.ledger.change_machine(row, {"state": MachineState.DELETING})
                elif row is None and self._recover():  # else its run may be known to a store that can't be read
                    self._world.ledger.add_machine(machine_row(provider, seen))

    def reap(self, listings: Listings, busy: Container[str]) -> Iterator[str]:
        """Move the rows as the listings show; the tokens of the machines whose end has to be asked for now."""
        self._listings = listings
        world, now = self._world, self._world.clock()
        complete = world.ledger.complete
        for machine in world.ledger.machines():
            run = world.ledger.run_by_uid(machine.run)
            if machine.token in busy or (run is None and not complete):
                continue
            known, seen = listings.find(machine.provider, machine.token)
            if seen is not None and not machine.provider_id:  # the answer to its order was lost
                machine = world.ledger.change_machine(machine, {"provider_id": seen.id}) or machine
            age = listings.taken - machine.requested
            # A provider elsewhere may list late what it has answered for; only this computer never does.
            at_once = bool(machine.provider_id) and known and world.provider(machine.provider).here
            decision = reap(machine, run, seen, known, at_once or age > world.limits.settle)
            if decision.state is not None:
                changes: dict[str, object] = {"state": decision.state}
                if decision.state is MachineState.GONE:
                    changes["gone"] = now
                world.ledger.change_machine(machine, changes)
            if decision.delete and seen is not None and now >= self._not_before.get(machine.token, 0.0):
                self._not_before[machine.token] = now + DELETE_AGAIN
                yield machine.token

    def delete(self, token: str) -> None:
        """Ask for the end of a machine. A failure is written into its row, and asked again for ever."""
        machine = self._world.ledger.machine(token)
        if machine is None:
            return
        _, seen = self._listings.find(machine.provider, token)
        try:
            self._world.provider(machine.provider).delete(seen.id if seen else machine.provider_id)
        except CryoburstError as error:
            log.warning("machine %s: %s", token, error)
            self._world.ledger.change_machine(machine, {"note": f"not deleted yet: {error}"})


def machine_row(provider: str, seen: MachineSeen) -> Machine:
    """A row for a machine that a provider lists and no row shows."""
    return Machine(
        token=seen.token,
        run=seen.run,
        attempt=seen.attempt,
        provider=provider,
        offer="",
        usd_per_hour=None,
        state=MachineState.BOOTING,
        requested=seen.created,
        power_off_at=0.0,
        provider_id=seen.id,
        note="found by its tags",
    )
