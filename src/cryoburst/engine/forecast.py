"""How long a job takes and what it costs, foretold. Pure: no clock, no file, no provider.

The model: a job's time is its work, times what a unit of its kind takes, divided by the machine's power to an exponent
(two: of cores and of GPUs). It is fitted in logarithms on what two studies published (``published``) and on the user's
own finished runs. Of the published stages, work of one kind on several machines gives the exponents; a unit's time
comes from the data whose size is printed. Each own run of the same kind weighs more than all of them: how much more
follows from how far they scatter. So does the range, within which four of five jobs should end.

docs/costs.md tells the same in words, with the errors that cross-validation finds.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from cryoburst.engine.power import CORE, EVERYTHING, Uses, power
from cryoburst.engine.published import ROWS, Row
from cryoburst.model.plugins import Offer
from cryoburst.model.price import GB, MONTH, Price, Requests, Tariff, gigabytes, times

EIGHTY = 1.2816  # standard deviations on either side that hold 80 % of a normal distribution
OTHER_DATA = math.log(2.0)  # sd: how far a published rate may be from that of the user's data and settings
GUESSED = math.log(3.0)  # sd of CORE, where GPU times are all that is known
ALIKE = {"relion.initialmodel": "relion.class3d", "relion.multibody": "relion.refine3d"}  # when nothing else is known
OWN = 0.15  # sd of the same job on the same machine, at least
STRETCH = 0.15  # sd for each factor e between the work of an own run and that of the job: set-up is not proportional
FLOOR = 0.10  # no forecast is better than 10 %
LEAST_EXPONENT, MOST_EXPONENT = 0.3, 1.0


class Hours(NamedTuple):
    """A time, and the range that should hold four of five; hours."""

    low: float
    best: float
    high: float


@dataclass(frozen=True)
class Fit:
    """What is known: exponents, how far the same work scatters over machines, and every row with its work."""

    gpu_exponent: float
    core_exponent: float
    scatter: float  # sd in logarithms of one work over machines, the exponents applied
    rows: tuple[Row, ...]
    own: tuple[Row, ...] = field(default=())

    def exponent(self, *, gpu: bool) -> float:
        """By which a time falls with a machine's power."""
        return self.gpu_exponent if gpu else self.core_exponent

    def rate(self, row: Row) -> float:
        """The logarithm of the hours that a unit takes at power 1, by one row."""
        return math.log(row.hours / row.units) + self.exponent(gpu=row.gpu) * math.log(row.power)


class Estimate(NamedTuple):
    """The logarithm of a rate, with its variance, and from how many own runs it is."""

    log: float
    variance: float
    own: int


def fit(own: Iterable[Row] = (), published: Sequence[Row] = ROWS) -> Fit:
    """The model from published stages and a user's own runs (whose data are the user's, each its own)."""
    exponents = {gpu: _exponent([row for row in published if row.gpu is gpu]) for gpu in (True, False)}
    made = Fit(exponents[True], exponents[False], 0.0, tuple(published))
    left = [math.log(row.hours) + made.exponent(gpu=row.gpu) * math.log(row.power) for row in published]
    groups = _groups(published)
    squares = sum((left[n] - sum(left[m] for m in group) / len(group)) ** 2 for group in groups for n in group)
    free = sum(len(group) - 1 for group in groups) - 2
    usable = tuple(row for row in own if row.hours > 0 and row.units > 0 and row.power > 0)
    scatter = math.sqrt(squares / max(1, free))
    return Fit(exponents[True], exponents[False], scatter, tuple(published), usable)


@cache
def published_fit() -> Fit:
    """The model of the published stages alone."""
    return fit()


def hours(kind: str, units: float, offer: Offer, *, uses: Uses = EVERYTHING, model: Fit | None = None) -> Hours | None:
    """How long a job of this kind with so much work (``Work.units``) takes on a machine of this type.

    It is taken to use all of the machine that it can, unless ``uses`` says less. None when its work is not known, or
    nothing is known of its kind.
    """
    known = model or published_fit()
    gpu = offer.gpus > 0 and uses.gpus != 0 and _runs_on_gpus(kind, known)
    if units <= 0:
        return None
    strength = power(offer, gpu=gpu, uses=uses)
    found = estimate(kind, units, known, gpu=gpu, machine=offer.name)
    if found is None:
        return None
    log = found.log + math.log(units) - known.exponent(gpu=gpu) * math.log(strength)
    spread = EIGHTY * math.sqrt(max(found.variance, FLOOR**2))
    return Hours(math.exp(log - spread), math.exp(log), math.exp(log + spread))


def estimate(kind: str, units: float, known: Fit, *, gpu: bool, machine: str = "") -> Estimate | None:
    """What a unit of this kind takes at power 1: the published rate and every own run, each weighed by its variance."""
    parts: list[tuple[float, float]] = []
    prior = _published_rate(kind, known, gpu=gpu)
    if prior is not None:
        parts.append(prior)
    mine = [row for row in known.own if row.kind == kind and row.gpu is gpu]
    for row in mine:
        far = STRETCH * math.log(units / row.units)
        other = known.scatter if row.machine != machine else 0.0
        parts.append((known.rate(row), OWN**2 + far**2 + other**2))
    if not parts:
        return None
    weight = sum(1 / variance for _, variance in parts)
    mean = sum(log / variance for log, variance in parts) / weight
    # Own runs that disagree with one another say that a job of this kind can't be foretold as well as each promises.
    spread = _variance([known.rate(row) for row in mine])
    return Estimate(mean, 1 / weight + spread, len(mine))


def _runs_on_gpus(kind: str, known: Fit) -> bool:
    wanted = {kind, ALIKE.get(kind, kind)}
    return any(row.gpu for row in (*known.rows, *known.own) if row.kind in wanted)


def _published_rate(kind: str, known: Fit, *, gpu: bool) -> tuple[float, float] | None:
    """(log rate, variance) by the published stages: first over the machines of one data set, then over data sets."""
    for name, more in ((kind, 0.0), (ALIKE.get(kind, ""), OTHER_DATA**2)):
        for on_gpu, guess in ((gpu, 0.0), (True, GUESSED**2)):
            rows = [row for row in known.rows if row.kind == name and row.gpu is on_gpu and row.units]
            if not rows or (on_gpu and not gpu and not guess):
                continue
            by_data: dict[str, list[float]] = {}
            for row in rows:
                by_data.setdefault(row.data, []).append(known.rate(row))
            means = [sum(each) / len(each) for each in by_data.values()]
            log = sum(means) / len(means)
            if on_gpu is not gpu:  # as if each core were a card of the power CORE, with the exponent of cores
                log -= known.gpu_exponent * math.log(CORE)
            return log, OTHER_DATA**2 + known.scatter**2 / len(rows) + more + guess
    return None


def _variance(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _groups(rows: Sequence[Row]) -> list[list[int]]:
    """The rows that did the same work, by their places; those without another are left out."""
    found: dict[tuple[str, str], list[int]] = {}
    for n, row in enumerate(rows):
        found.setdefault((row.kind, row.data), []).append(n)
    return [group for group in found.values() if len(group) > 1]


def _exponent(rows: Sequence[Row]) -> float:
    """By least squares in logarithms, each work with its own level."""
    above = below = 0.0
    for group in _groups(rows):
        x, y = [math.log(rows[n].power) for n in group], [math.log(rows[n].hours) for n in group]
        middle, level = sum(x) / len(x), sum(y) / len(y)
        above -= sum((a - middle) * (b - level) for a, b in zip(x, y, strict=True))
        below += sum((a - middle) ** 2 for a in x)
    return min(MOST_EXPONENT, max(LEAST_EXPONENT, above / below)) if below else MOST_EXPONENT


# ------------------------------------------------------------------------------------------------------ how good it is


@dataclass(frozen=True)
class Errors:
    """Typical factors between a forecast and what it was (the root mean square of the logarithms): 1.5 is half as much
    again, or two thirds. None where nothing could be left out and foretold."""

    machine: float | None  # the same work on a machine that the fit had not seen
    machines: int  # how many stages that is from
    data: float | None  # other data of the same kind, by its size alone
    datas: int
    own: float | None  # a user's own runs, each from all others
    owns: int


def cross_validate(own: Sequence[Row] = (), published: Sequence[Row] = ROWS) -> Errors:
    """Leave out each stage, foretell it from the rest, compare."""
    machine: list[float] = []
    for group in _groups(published):
        for n in group:
            known = fit(published=[row for m, row in enumerate(published) if m != n])
            row, others = published[n], [published[m] for m in group if m != n]
            exponent = known.exponent(gpu=row.gpu)
            guess = sum(math.log(o.hours) + exponent * math.log(o.power / row.power) for o in others) / len(others)
            machine.append(math.log(row.hours) - guess)
    data: list[float] = []
    for row in published:
        known = fit(published=[r for r in published if (r.kind, r.data) != (row.kind, row.data)])
        rate = _published_rate(row.kind, known, gpu=row.gpu) if row.units else None
        if rate is not None and any(r.kind == row.kind and r.units for r in known.rows):
            data.append(known.rate(row) - rate[0])
    mine: list[float] = []
    for n, row in enumerate(own):
        known = fit([r for m, r in enumerate(own) if m != n], published)
        found = estimate(row.kind, row.units, known, gpu=row.gpu, machine=row.machine)
        if found is not None:
            mine.append(known.rate(row) - found.log)
    return Errors(_typical(machine), len(machine), _typical(data), len(data), _typical(mine), len(mine))


def _typical(logs: Sequence[float]) -> float | None:
    return math.exp(math.sqrt(sum(log * log for log in logs) / len(logs))) if logs else None


# --------------------------------------------------------------------------------------------------------------- price


def transfer(size: float, speeds: Hours) -> Hours:
    """How long so many bytes take at speeds (low, best, high) in bytes/s; hours."""
    return Hours(*(size / speed / 3600 for speed in (speeds.high, speeds.best, speeds.low)))


def price(
    offer: Offer,
    hours: float,
    disk_bytes: int,
    stored_bytes: int | None,
    requests: Requests,
    egress_bytes: int | None,
    tariff: Tariff,
    *,
    stored_hours: float = MONTH / 3600,
) -> Price:
    """What so many hours of such machines cost, with a disk each; what stays in the store for so long, the requests to
    it and what leaves it. USD; what is not known is None in its part, unless it costs nothing anyway."""
    return Price(
        instance=times(hours, offer.usd_per_hour),
        disk=times(gigabytes(disk_bytes) * hours * 3600 / MONTH, offer.disk_usd_gb_month),
        storage=_of(stored_bytes, stored_hours * 3600 / MONTH, tariff.gb_month),
        requests=_sum(times(requests.puts / 1000, tariff.put_1000), times(requests.gets / 1000, tariff.get_1000)),
        egress=_of(egress_bytes, 1.0, tariff.egress_gb),
    )


def _of(size: int | None, months: float, usd: float | None) -> float | None:
    if size is None:
        return 0.0 if usd == 0 else None
    return times(size / GB * months, usd)


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
