"""A budget becomes the machines' deadline: what is promised to those that run can't be spent on another."""

import math
from collections.abc import Iterable

from cryoburst.engine import bill
from cryoburst.engine.world import World
from cryoburst.model.errors import BudgetUsed
from cryoburst.model.money import money
from cryoburst.model.plugins import Offer
from cryoburst.model.run import Machine, Run

LEAST = 600.0  # s for which a machine is rented at least: less would end before its job began
FOR_OUTPUTS = 0.2  # of the time that a budget pays for is kept for the outputs, at most
SAID_AT = 0.8  # of a budget, from which on it is told


def spent(machines: Iterable[Machine], now: float) -> float:
    """What machines and their disks have cost so far, USD; those whose price is unknown count nothing."""
    return sum(bill.machine_cost(machine, now).known for machine in machines)


def promised(machines: Iterable[Machine], now: float) -> float:
    """What they have cost, or may cost until each powers itself off, USD."""
    return sum(bill.promised_cost(machine, now).known for machine in machines)


def share(world: World, run: Run) -> float | None:
    """What the machines of this run, or part, or join, may cost, by its own budget and that of every run: each part and
    the join have the same of what its data, as they were foretold, leave; None: no end."""
    least = min(math.inf if run.budget_usd is None else run.budget_usd, world.budget_run)
    return None if math.isinf(least) else bill.share(max(0.0, least - run.forecast_data_usd), run.parts)


def seconds(world: World, run: Run, offer: Offer) -> float:
    """For how long the budgets pay for this offer; infinite without one.

    Raises BudgetUsed when that is less than ten minutes, or when a budget meets a price that nobody knows.
    """
    mine, now = share(world, run), world.clock()
    others = [m for m in world.ledger.machines_of(run.uid) if m.attempt != run.attempt]
    left = [
        amount
        for amount in (None if mine is None else mine - promised(others, now), world.budget(run))
        if amount is not None
    ]
    price = bill.hourly(offer)
    if not left or price == 0:
        return math.inf
    if price is None:
        advice = "choose another with --machine, or lift the budget"
        raise BudgetUsed(
            "what this machine costs is not known, and there is a budget", where=offer.where, advice=advice
        )
    pays = bill.allowed_seconds(min(left), price)
    if pays < LEAST:
        said = f"{money(max(0.0, min(left)))} USD are left, and {offer.where} costs {money(price)} USD/h with its disk"
        if run.forecast_data_usd:
            said += f" (what is kept, moved and brought home is foretold to cost {money(run.forecast_data_usd)})"
        raise BudgetUsed(said, where=run.job, advice="raise the budget, or choose a cheaper machine")
    return pays


def machines_of(world: World, run: Run) -> list[Machine]:
    """All machines of a run, those of its parts included."""
    return [m for one in (run, *world.ledger.parts_of(run)) for m in world.ledger.machines_of(one.uid)]


def warning(world: World, run: Run) -> str:
    """A sentence when most of a run's budget is spent; else empty."""
    cost = spent(machines_of(world, run), world.clock())
    if run.budget_usd is None or cost < SAID_AT * run.budget_usd:
        return ""
    return f"{SAID_AT:.0%} of its budget of {money(run.budget_usd)} USD are spent"


def ended(world: World, run: Run) -> bool:
    """Whether it was the budget that set the deadline of this attempt's machine."""
    machine = next((m for m in world.ledger.machines_of(run.uid) if m.attempt == run.attempt), None)
    if machine is None or (share(world, run) is None and world.budget(run) is None):
        return False
    return machine.power_off_at - machine.requested < world.terms.walltime + world.terms.grace - LEAST / 10
