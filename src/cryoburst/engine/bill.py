"""What runs and their machines have cost, or will have: by the second, with AWS's minimum of a minute. Pure.

Time is a window, so that a month's share of a bill is what lies in it, and all months together are the whole bill. A
price that is not known makes its part None: unknown is never free.
"""

import math
from collections.abc import Iterable, Sequence

from cryoburst.model.plugins import Offer
from cryoburst.model.price import GB, MONTH, Price, Requests, Tariff, gigabytes, times
from cryoburst.model.run import Machine, Run
from cryoburst.model.states import MachineState

LEAST = 60  # s that a machine and its disk are billed at least
BLOB = 16 * 2**20  # bytes of what goes to a store in one request, at most
FILES = 100  # small files that go together, about
BEATS, LOOKS = 60, 1200  # requests an hour while a job runs: the machine's heartbeat, and home's looks at it
KEPT = 30 * 86400.0  # s after a run's end for which what it left in the store is counted: then gc frees it by default
ALWAYS = (-math.inf, math.inf)

Window = tuple[float, float]  # from, until before; s since the epoch


def machine_cost(machine: Machine, now: float, window: Window = ALWAYS) -> Price:
    """What a machine and its disk have cost in a window, from when it was asked for until it was gone, or now."""
    seconds = _overlap(paid(machine, now), window)
    disk = gigabytes(machine.disk_bytes) * seconds / MONTH
    return Price(times(seconds / 3600, machine.usd_per_hour), times(disk, machine.disk_usd_gb_month))


def promised_cost(machine: Machine, now: float) -> Price:
    """What a machine has cost when it powers itself off at its deadline, which it can't pass; of one that is gone, what
    it has cost."""
    if machine.state is MachineState.GONE:
        return machine_cost(machine, now)
    return machine_cost(machine, max(now, machine.power_off_at))


def paid(machine: Machine, now: float) -> Window:
    """The time that is paid for: whole seconds, a minute at least. Nothing of a machine that was never made.

    A request whose answer was lost may have made one: it counts until the provider says that it has none.
    """
    begin = machine.requested
    refused = machine.state is MachineState.GONE or not machine.offer  # an order that was answered names none
    if refused and not machine.provider_id:
        return begin, begin
    end = machine.gone if machine.gone is not None else now
    return begin, begin + max(LEAST, math.ceil(max(0.0, end - begin)))


def begun(run: Run, machine: Machine, created: float) -> float:
    """From when a machine is paid for, by when its provider says that it was made: an earlier order, whose answer was
    lost, may have made it. Never before its run was ready for one, whatever the provider's clock is."""
    return min(machine.requested, max(created, run.staged or machine.requested))


def run_cost(
    run: Run, machines: Iterable[Machine], tariff: Tariff, now: float, window: Window = ALWAYS, kept: float = KEPT
) -> Price:
    """What a whole run has cost in a window: all its machines (those of its parts included), and its data.

    Of the data, what it sent counts from its staging, what it made from the start of its command, until ``kept`` s
    after its end; requests and what came home (of all attempts; of a run that was found again in its store, of its
    outputs at least) count at its end, or now.
    """
    total = Price()
    for machine in machines:
        total += machine_cost(machine, now, window)
    until = now if run.ended is None else min(now, run.ended + kept)
    begun = [when for when in (run.command_started, run.ended, until) if when is not None]
    sent = _overlap((until if run.staged is None else run.staged, until), window) * run.bytes_sent
    made = _overlap((begun[0], until), window) * (run.bytes_out + run.bytes_left)
    when = now if run.ended is None else run.ended
    storage = times((sent + made) / GB / MONTH, tariff.gb_month)
    if not window[0] <= when < window[1]:
        return total + Price(storage=storage)
    spent = max(0.0, (run.ended or now) - run.started) / 3600 if run.started else 0.0
    asked = requests(run.bytes_sent, run.files_in, run.bytes_in, run.bytes_out + run.bytes_left, run.files_out, spent)
    if run.staged is None and not run.bytes_sent:
        asked = Requests()
    puts, gets = times(asked.puts / 1000, tariff.put_1000), times(asked.gets / 1000, tariff.get_1000)
    return total + Price(
        storage=storage,
        requests=None if puts is None or gets is None else puts + gets,
        egress=times(max(run.bytes_home, run.bytes_out) / GB, tariff.egress_gb),
    )


def requests(sent: int, files_in: int, read: int, made: int, files_out: int, hours: float) -> Requests:
    """About how many requests a run makes: blobs and documents, and what a look at it takes while it runs."""
    up = math.ceil(sent / BLOB) + math.ceil(files_in / FILES)
    out = math.ceil(made / BLOB) + math.ceil(files_out / FILES)
    puts = up + out + 10 + round(BEATS * hours)
    return Requests(puts, math.ceil(read / BLOB) + out + 20 + round(LOOKS * hours))


def hourly(offer: Offer) -> float | None:
    """What a machine of this type costs in an hour with its disk, USD; None when a part is unknown."""
    disk = times(gigabytes(offer.rented_disk_bytes) * 3600 / MONTH, offer.disk_usd_gb_month)
    return None if disk is None or offer.usd_per_hour is None else offer.usd_per_hour + disk


def share(usd: float, parts: int) -> float:
    """What of a run's budget each of its parts and the join may cost: the same; all of it for a run in one piece."""
    return usd / (parts + 1) if parts > 1 else usd


def allowed_seconds(budget_left: float, usd_per_hour: float | None) -> float:
    """For how many whole seconds what is left of a budget pays; infinite for what costs nothing.

    0 when it does not pay for the minute that is billed at least, and when the price is not known.
    """
    if usd_per_hour is None or budget_left <= 0:
        return 0.0
    if usd_per_hour <= 0:
        return math.inf
    seconds = budget_left / usd_per_hour * 3600
    return 0.0 if seconds < LEAST else float(math.floor(seconds)) if math.isfinite(seconds) else math.inf


def total(prices: Sequence[Price]) -> Price:
    """All of them together."""
    made = Price()
    for each in prices:
        made += each
    return made


def _overlap(one: Window, other: Window) -> float:
    return max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
