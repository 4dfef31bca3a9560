"""What a job would take and cost before it is sent: steps with their times, and a price with its parts, each a range.

The engine's model says how long a command runs; here it is given what this user's ledger knows: finished runs, the
speed of the line, how long machines took to start. What the ledger does not know is a default, and ``Forecast.basis``
says so. Asks no cloud and no store anything.
"""

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryoburst.database.ledger import Ledger
from cryoburst.engine import bill
from cryoburst.engine.forecast import Errors, Fit, Hours, cross_validate, fit, hours, price, transfer
from cryoburst.engine.power import Uses, power
from cryoburst.engine.published import Row
from cryoburst.engine.world import World
from cryoburst.model.errors import CryoburstError
from cryoburst.model.job import Resources
from cryoburst.model.money import money
from cryoburst.model.plugins import Need, Offer
from cryoburst.model.price import DATA, Price
from cryoburst.model.run import Run
from cryoburst.model.states import RunState
from cryoburst.services import budgets
from cryoburst.services.settings import Settings
from cryoburst.stores.tariff import tariff
from cryoburst.transfer import limits

if TYPE_CHECKING:
    from cryoburst.services.preflight import Preflight

RUN = "run"  # the step in which the command runs
REMEMBERED = 200  # finished runs that are looked at, the newest
ENOUGH = 10_000_000  # bytes from which on a transfer tells how fast the line is, and not how long a request takes
LEAST_SECONDS = 2.0  # of a command that tells anything
LATE = 0.1  # of a command's time, in which its late inputs may have come
SECOND = 1 / 3600  # h

# Where nothing was measured: (low, best, high), bytes/s. A bucket: TRPV1's upload to AWS was 75 MB/s on the mean, that
# of beta-galactosidase 350 MB/s over 10 Gbit/s (docs/costs.md); a slow line of 100 Mbit/s is the other end.
FOLDER, BUCKET = Hours(50e6, 200e6, 1e9), Hours(12.5e6, 75e6, 350e6)
MACHINE = Hours(100e6, 200e6, 600e6)  # from the store to a machine beside it
START_HERE, START = Hours(0.3 * SECOND, SECOND, 5 * SECOND), Hours(60 * SECOND, 150 * SECOND, 400 * SECOND)
LEAVE = 60 * SECOND  # a machine's last uploads and its end


@dataclass(frozen=True)
class Step:
    """One step of a run, for people; None: unknown, but it can't take longer than the run's time limit."""

    name: str
    hours: Hours | None


@dataclass(frozen=True)
class Forecast:
    """What a run would take and cost. ``usd`` is (low, best, high); None where a price or the time is unknown."""

    steps: tuple[Step, ...]
    hours: Hours | None  # from the submission to the last output at home
    machine_hours: Hours | None  # of each machine, paid
    price: Price | None  # the best; a part that is unknown is None
    usd: Hours | None
    data_usd: float  # what is known of the best's storage, requests and egress
    at_most_usd: float | None  # when its machines run until their time limit; without outputs of unknown size
    egress_bytes: int | None  # that come home; None: unknown
    prices_dated: str  # of the oldest price in it; empty: of now, or nothing costs anything
    basis: tuple[str, ...]  # what it rests on, a sentence each


def foretell(
    world: World, settings: Settings, found: "Preflight", bytes_to_send: int, bytes_in: int
) -> Forecast | None:
    """The forecast of a job as the pre-flight left it; None when no machine would do."""
    run, offer = found.run, found.offer
    if offer is None:
        return None
    basis: list[str] = []
    written = found.most.disk * run.parts - bytes_in  # each part's share is rounded up
    outputs = written if written > run.parts else None
    speed, said = line_speed(world.ledger, settings, run)
    basis.append(said)
    start, said = start_time(world.ledger, run.provider, here=world.provider(run.provider).here)
    basis.append(said)
    inside, said = machine_speed(world.ledger, run.provider)
    basis.append(said)
    model = fit(own_rows(world))
    command = hours(run.kind, run.units / run.parts, offer, uses=uses(run), model=model)
    basis.append(_basis(run, model, command, found.work.said))

    send, read = transfer(bytes_to_send, speed), transfer(bytes_in / run.parts, inside)
    home = _after(transfer(outputs, speed), command) if outputs is not None else None
    if outputs is None:
        basis.append("how much comes home is not known, and what that takes and costs")
    steps = (Step("send", send), Step("start", start), Step("fetch inputs", read), Step(RUN, command))
    join = Hours(start.best, 2 * start.best, 4 * start.best) if run.parts > 1 else None
    steps += (Step("join", join),) if join else ()
    steps += (Step("bring home", home),)
    machine = _sum(
        [
            start,
            read,
            command,
            Hours(0.0, LEAVE, 2 * LEAVE) if not world.provider(run.provider).here else Hours(0.0, 0.0, 0.0),
        ]
    )
    rates = tariff(run.store, offer.region)
    stays = sum(1 for pattern in run.leave.splitlines() if pattern) > 0
    egress = 0 if stays else outputs

    def cost(time: float, made: int | None, home: int | None) -> Price:
        """Of so many hours of all machines together."""
        asked = bill.requests(bytes_to_send, len(found.inputs), bytes_in, made or 0, 0, time)
        stored = None if made is None else bytes_to_send + made
        return price(offer, time, offer.rented_disk_bytes, stored, asked, home, rates)

    # The join's machine is counted as one more of the parts': it is no dearer.
    joins = join or Hours(0.0, 0.0, 0.0)
    times = [time * run.parts + one for time, one in zip(machine, joins, strict=True)] if machine else []
    prices = [cost(time, outputs, egress) for time in times]
    best = prices[1] if prices else None
    ends = [made.usd for made in prices]
    known = [usd for usd in ends if usd is not None]
    limit = (world.terms.walltime + world.terms.grace) / 3600
    dated = min((day for day in (offer.price_dated, rates.dated) if day), default="")
    return Forecast(
        steps=steps,
        hours=_sum([step.hours for step in steps]),
        machine_hours=machine,
        price=best,
        usd=Hours(*known) if len(known) == 3 else None,
        data_usd=sum(map((best or cost(0.0, outputs, egress)).known_of, DATA)),
        at_most_usd=cost(limit * (run.parts + (run.parts > 1)), outputs or 0, egress or 0).usd,
        egress_bytes=egress,
        prices_dated=dated,
        basis=tuple(basis),
    )


def cautions(world: World, settings: Settings, run: Run, forecast: Forecast | None) -> Iterator[str]:
    """Sentences on what would end a run before it is done, if it takes and costs what is foretold."""
    if forecast is None:
        return
    command = next((step.hours for step in forecast.steps if step.name == RUN), None)
    limit = world.terms.walltime / 3600
    if command is not None and command.best > limit:
        yield (
            f"its command is foretold to take {command.best:.3g} h, and is ended after {limit:.3g} h: raise "
            "walltime_hours (docs/settings.md), or choose more cores or GPUs"
        )
    left = [
        each for each in (run.budget_usd, budgets.left(world.ledger, settings, run, world.clock())) if each is not None
    ]
    costs = forecast.price.known if forecast.price is not None else 0.0
    if left and costs > min(left):
        least = "" if forecast.usd is not None else "at least "
        yield (
            f"it is foretold to cost {least}{money(costs)} USD, and {money(min(left))} USD are left of its "
            "budgets: its machine is ended when they are used up"
        )


def hours_on(world: World) -> Callable[[Run, Offer], float]:
    """For the engine: how long a run's command takes on an offer, h; 0 when that is not known."""
    known: dict[str, tuple[Fit, Uses]] = {}  # of the run that is being placed: many offers are looked at for each

    def on(run: Run, offer: Offer) -> float:
        if run.units <= 0:
            return 0.0
        if run.uid not in known:
            known.clear()
            known[run.uid] = fit(own_rows(world)), uses(run)
        model, how = known[run.uid]
        found = hours(run.kind, run.units / run.parts, offer, uses=how, model=model)
        return found.best if found else 0.0

    return on


def uses(run: Run) -> Uses:
    """What a job uses of its machine: the cores for which it was typed or fitted, and its GPUs."""
    on_gpus = run.gpus or run.gpu_memory_bytes or "--gpu" in run.script.split()
    return Uses(max(1, run.processes * run.threads), (run.gpus or None) if on_gpus else 0)


def errors(world: World) -> Errors:
    """How far the model was off, by leaving out what is known; see docs/costs.md."""
    return cross_validate(own_rows(world))


def own_rows(world: World) -> list[Row]:
    """The user's finished runs as the model takes them: whole ones, and parts; those that were tried once, and did not
    wait for inputs."""
    found: list[Row] = []
    types: dict[str, dict[str, Offer]] = {}
    machines = {machine.run: machine for machine in world.ledger.machines(all_=True)}
    for run in _finished(world.ledger):
        seconds = run.command_seconds or 0.0
        if run.state is not RunState.SUCCEEDED or run.attempt > 1 or run.units <= 0 or seconds < LEAST_SECONDS:
            continue
        if (run.parts > 1 and not run.part) or _waited(run):
            continue  # a join, or what says more of the line than of the job
        machine = machines.get(run.uid)
        if machine is None:
            continue
        used = uses(run)
        gpu, strength = False, float(used.cores or 1)
        if used.gpus != 0:
            if run.provider not in types:
                types[run.provider] = _types(world, run.provider)
            offer = types[run.provider].get(machine.offer)
            if offer is None or not offer.gpus:
                continue
            gpu, strength = True, power(offer, gpu=True, uses=used)
        units = run.units / run.parts
        found.append(Row(run.kind, f"run {run.uid}", machine.offer, gpu, strength, seconds / 3600, units))
    return found


def _types(world: World, provider: str) -> dict[str, Offer]:
    with suppress(CryoburstError):
        return {offer.name: offer for offer in world.provider(provider).offers(Need(Resources()))}
    return {}


def _finished(ledger: Ledger) -> list[Run]:
    return [run for run in ledger.runs(limit=REMEMBERED, parts=True) if run.state.final]


def line_speed(ledger: Ledger, settings: Settings, run: Run) -> tuple[Hours, str]:
    """How fast this computer sends to the run's store, bytes/s, and a sentence on how that is known."""
    told = [
        each.bytes_sent / (each.staged - each.submitted)
        for each in _finished(ledger)
        if each.store == run.store
        and each.attempt == 1
        and each.bytes_sent >= ENOUGH
        and each.staged is not None
        and each.staged > each.submitted
    ]
    folder = run.store.startswith("file:")
    speed = _spread(told) or (FOLDER if folder else BUCKET)
    said = f"the line to the store: {_rate(speed.best)}, "
    said += f"as {_runs(len(told))} sent" if told else "a guess: no run of yours has sent 10 MB there"
    limit = limits.parse(settings.bandwidth).at(limits.local_second())
    if limit is not None and limit < speed.high:
        speed = Hours(*(min(limit, each) for each in speed))
        said += f"; the bandwidth is limited to {_rate(limit)} now"
    return speed, said


def machine_speed(ledger: Ledger, provider: str) -> tuple[Hours, str]:
    """How fast a machine takes its inputs from the store, bytes/s, and a sentence."""
    told = [
        speed
        for each in _finished(ledger)
        if each.provider == provider and each.attempt == 1 and each.parts == 1 and (speed := _read_at(each))
    ]
    speed = _spread(told) or MACHINE
    how = f"as in {_runs(len(told))}" if told else "a guess"
    return speed, f"from the store to the machine: {_rate(speed.best)}, {how}"


def _read_at(run: Run) -> float:
    """How fast a run's machine took the inputs that were there when its command began, bytes/s; 0: not known."""
    size, begun = run.bytes_in - run.late_bytes, run.command_started
    if size < ENOUGH or run.started is None or begun is None or begun <= run.started:
        return 0.0
    return size / (begun - run.started)


def _waited(run: Run) -> bool:
    """Whether a command may have waited for inputs for long, so that its time tells little of its work."""
    speed = _read_at(run)
    return run.late_bytes > 0 and (not speed or run.late_bytes / speed > LATE * (run.command_seconds or 0.0))


def start_time(ledger: Ledger, provider: str, *, here: bool) -> tuple[Hours, str]:
    """From the order of a machine to its agent's first word, and a sentence."""
    machines = [m for m in ledger.machines(all_=True) if m.provider == provider and m.up is not None]
    told = [(m.up - m.requested) / 3600 for m in machines[-50:] if m.up is not None and m.up > m.requested]
    found = _spread(told) or (START_HERE if here else START)
    how = f"as {len(told)} machine{'s' * (len(told) > 1)} did" if told else "a guess"
    return found, f"a machine starts within {found.best * 3600:.0f} s, {how}"


def _spread(values: Sequence[float]) -> Hours | None:
    """The middle of what was measured, and between which values most lie; of a few, half as much on either side."""
    if not values:
        return None
    middle = statistics.median(values)
    if len(values) < 5:
        return Hours(min(*values, middle / 1.5), middle, max(*values, middle * 1.5))
    cuts = statistics.quantiles(values, n=10)
    return Hours(min(cuts[0], middle), middle, max(cuts[-1], middle))


def _sum(times: Iterable[Hours | None]) -> Hours | None:
    """Steps one after the other. The ends add up as if all were bad at once: the range is rather too wide."""
    total = Hours(0.0, 0.0, 0.0)
    for time in times:
        if time is None:
            return None
        total = Hours(*(a + b for a, b in zip(total, time, strict=True)))
    return total


def _after(moving: Hours, command: Hours | None) -> Hours:
    """What is left of bringing the outputs home when the command has ended: they come while it runs."""
    if command is None:
        return moving
    return Hours(0.0, max(0.0, moving.best - command.best), max(0.0, moving.high - command.low))


def _basis(run: Run, model: Fit, command: Hours | None, work: str) -> str:
    mine = sum(row.kind == run.kind for row in model.own)
    if command is None:
        why = "how much it has to do is not known" if run.units <= 0 else f"nothing is known of {run.kind}"
        return f"how long the command takes is not known: {why}"
    of = f"{work}: " if work else ""
    return f"{of}from {f'{_runs(mine)} of yours' if mine else 'two published studies alone'}"


def _runs(count: int) -> str:
    return "one run" if count == 1 else f"{count} runs"


def _rate(bytes_per_second: float) -> str:
    return f"{bytes_per_second / 1e6:.3g} MB/s"
