"""What runs have cost, by job, project or month: foretold, so far, in the end. Reads the ledger only, asks nobody."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from cryoburst.database.ledger import Ledger
from cryoburst.engine import bill
from cryoburst.model.price import Price, Tariff
from cryoburst.model.run import Machine, Run
from cryoburst.model.states import MachineState
from cryoburst.stores.tariff import tariff

BY = ("job", "project", "month")
NOBODY = "machines of no known run"


@dataclass(frozen=True)
class Cost:
    """One line of a bill, USD."""

    name: str  # the job's folder, the project's, or the month (2026-11)
    project: str  # of a job; else empty
    runs: int
    forecast: float | None  # of those runs that were foretold; None when none was
    accrued: Price  # so far
    final: Price | None  # None while something of it runs
    machine_hours: float  # paid


def costs(ledger: Ledger, by: str, now: float) -> list[Cost]:
    """The lines, by the names of jobs and projects, or by months; machines that no run has known are a line, too."""
    runs, machines = ledger.runs(parts=True), ledger.machines(all_=True)
    of: dict[str, list[Machine]] = {}
    for machine in machines:
        of.setdefault(machine.run.partition(".")[0], []).append(machine)
    whole = [run for run in runs[::-1] if not run.part]
    strangers = [m for uid, some in of.items() if uid not in {run.uid for run in whole} for m in some]
    if by == "month":
        return list(_months(whole, of, strangers, now))
    key: Callable[[Run], tuple[str, str]] = _job if by == "job" else _project
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in whole:
        groups.setdefault(key(run), []).append(run)
    lines = [_line(name, project, some, of, now) for (name, project), some in sorted(groups.items())]
    if strangers:
        lines.append(_strange(strangers, now))
    return lines


def of_run(ledger: Ledger, run: Run, now: float) -> Cost:
    """The line of one run, with its parts' machines."""
    machines = [machine for each in (*ledger.parts_of(run), run) for machine in ledger.machines_of(each.uid)]
    return _line(*_job(run), [run], {run.uid: machines}, now)


def _job(run: Run) -> tuple[str, str]:
    return run.job.rstrip("/"), run.project


def _project(run: Run) -> tuple[str, str]:
    return run.project, ""


def _line(name: str, project: str, runs: Sequence[Run], of: dict[str, list[Machine]], now: float) -> Cost:
    machines = [machine for run in runs for machine in of.get(run.uid, ())]
    accrued = bill.total([cost_of(run, of.get(run.uid, ()), now) for run in runs])
    final = bill.total([cost_of(run, of.get(run.uid, ()), in_the_end(run, now)) for run in runs])
    over = all(run.state.final for run in runs) and all(m.state is MachineState.GONE for m in machines)
    return Cost(name, project, len(runs), _foretold(runs), accrued, final if over else None, _hours(machines, now))


def _months(
    whole: Sequence[Run], of: dict[str, list[Machine]], strangers: Sequence[Machine], now: float
) -> Iterator[Cost]:
    begins = [run.submitted for run in whole] + [machine.requested for machine in strangers]
    if not begins:
        return
    start, current = month_start(min(begins)), month_start(now)
    while start <= current:
        end = month_start(start + 32 * 86400)
        window = (start, end)
        begun = [run for run in whole if start <= run.submitted < end]
        price = bill.total([cost_of(run, of.get(run.uid, ()), now, window) for run in whole])
        price += bill.total([bill.machine_cost(machine, now, window) for machine in strangers])
        machines = [*(m for run in whole for m in of.get(run.uid, ())), *strangers]
        hours = sum(_within(bill.paid(machine, now), window) for machine in machines) / 3600
        name = time.strftime("%Y-%m", time.localtime(start))
        if begun or price != Price() or hours:
            yield Cost(name, "", len(begun), _foretold(begun), price, price if end <= now else None, hours)
        start = end


def _strange(machines: Sequence[Machine], now: float) -> Cost:
    price = bill.total([bill.machine_cost(machine, now) for machine in machines])
    over = all(machine.state is MachineState.GONE for machine in machines)
    return Cost(NOBODY, "", 0, None, price, price if over else None, _hours(machines, now))


def cost_of(run: Run, machines: Iterable[Machine], now: float, window: bill.Window = bill.ALWAYS) -> Price:
    """What a whole run has cost in a window."""
    machines = list(machines)
    return bill.run_cost(run, machines, rates(run, machines), now, window)


def rates(run: Run, machines: Iterable[Machine]) -> Tariff:
    """What the store of a whole run takes; ``machines`` are all of the run. Its region is where they are, when its
    address says none."""
    return tariff(run.store, next((machine.region for machine in machines if machine.region), run.region))


def month_start(when: float) -> float:
    """The beginning of the month of this moment, by the clock on the wall."""
    local = time.localtime(when)
    return time.mktime((local.tm_year, local.tm_mon, 1, 0, 0, 0, 0, 0, -1))


def in_the_end(run: Run, now: float) -> float:
    """When nothing of a run that has ended costs any more: its data are kept until gc takes them by default."""
    return now if run.ended is None else run.ended + bill.KEPT


def _foretold(runs: Sequence[Run]) -> float | None:
    told = [run.forecast_usd for run in runs if run.forecast_usd is not None]
    return sum(told) if told else None


def _hours(machines: Iterable[Machine], now: float) -> float:
    return sum(end - begin for begin, end in (bill.paid(machine, now) for machine in machines)) / 3600


def _within(one: bill.Window, other: bill.Window) -> float:
    return max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
