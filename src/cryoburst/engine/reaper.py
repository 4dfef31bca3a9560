"""Keeps the machines honest: adopts the unknown, and asks for the end of each until its provider no longer lists it."""

import logging
from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from dataclasses import replace

from cryoburst.engine import bill
from cryoburst.engine.observe import Listings, load_document
from cryoburst.engine.step import reap
from cryoburst.engine.world import World
from cryoburst.model.documents import Spec
from cryoburst.model.errors import CryoburstError
from cryoburst.model.job import Resources
from cryoburst.model.plugins import MachineSeen, Need, Offer
from cryoburst.model.run import Machine, Run
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
                    self._world.ledger.add_machine(machine_row(self._world, provider, seen))

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
                found: dict[str, object] = {"provider_id": seen.id}
                if run is not None:
                    found["requested"] = bill.begun(run, machine, seen.created)
                machine = world.ledger.change_machine(machine, found) or machine
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


def machine_row(world: World, provider: str, seen: MachineSeen) -> Machine:
    """A row for a machine that a provider lists and no row shows. What it costs the provider's prices tell, as it would
    be rented now, and its spec until when it may run; each is left open where it can't be had."""
    run = world.ledger.run_by_uid(seen.run)
    offer, power_off_at = None, 0.0
    with suppress(CryoburstError):
        offer = _offer(world, provider, seen, run)
    with suppress(CryoburstError):
        power_off_at = _end(world, run, seen)
    return Machine(
        token=seen.token,
        run=seen.run,
        attempt=seen.attempt,
        provider=provider,
        offer=seen.offer or (offer.name if offer else ""),
        usd_per_hour=offer.usd_per_hour if offer else None,
        state=MachineState.BOOTING,
        requested=seen.created,
        power_off_at=power_off_at,
        provider_id=seen.id,
        note="found by its tags",
        region=seen.region,
        place=seen.place,
        spot=seen.spot,
        disk_bytes=offer.rented_disk_bytes if offer else 0,
        disk_usd_gb_month=offer.disk_usd_gb_month if offer else None,
    )


def _offer(world: World, provider: str, seen: MachineSeen, run: Run | None) -> Offer | None:
    """The offer that a machine was: of zones that a listing names in another way the dearest; None when none is."""
    need = Need(Resources(), disk_bytes=run.disk_bytes if run else 0)
    offers = world.provider(provider).offers(need)
    if len(offers) > 1:  # else there is no other that it could be: this computer
        kind = (seen.offer, seen.region, seen.spot)
        offers = [offer for offer in offers if (offer.name, offer.region, offer.spot) == kind]
    offers = [offer for offer in offers if offer.place == seen.place] or offers
    return max(offers, key=lambda offer: (offer.usd_per_hour is None, offer.usd_per_hour or 0.0), default=None)


def _end(world: World, run: Run | None, seen: MachineSeen) -> float:
    """When a machine powers itself off, by the spec that it was ordered for; 0 where there is none."""
    if run is None:
        return 0.0
    spec = load_document(world.store(run), Spec, replace(run, attempt=seen.attempt).prefix + "spec.json")
    return spec.deadline + spec.grace if spec is not None else 0.0
