"""Hard budgets: of each run, of a project, and of a user a month; what of them is used, and what is left.

What machines that run now may still cost until they power themselves off counts as used, so that it can't be promised
twice. A budget of a project of its own is in a file beside the settings; all others are settings. Asks nobody.
"""

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from cryoburst.database.ledger import Ledger
from cryoburst.engine import bill
from cryoburst.engine.budget import SAID_AT, machines_of, spent
from cryoburst.engine.perform import machine_token
from cryoburst.engine.world import World
from cryoburst.model.errors import BadInput
from cryoburst.model.money import money
from cryoburst.model.plugins import UNFINISHED
from cryoburst.model.price import Price
from cryoburst.model.run import Machine, Run
from cryoburst.services.costs import month_start, rates
from cryoburst.services.places import config_folder
from cryoburst.services.settings import Settings

FORMAT = 1


@dataclass(frozen=True)
class Budget:
    """One budget that binds a run, USD."""

    scope: str  # run, project or user
    name: str  # whose
    limit: float
    used: float  # spent, and promised to machines that run
    unknown: bool  # whether something was spent whose price is not known

    @property
    def left(self) -> float:
        """What may still be promised; never below zero."""
        return max(0.0, self.limit - self.used)

    @property
    def whose(self) -> str:
        """Whose it is, for people."""
        return {"run": "this run", "project": f"the project {self.name}", "user": f"{self.name} this month"}[self.scope]

    @property
    def sentence(self) -> str:
        """How much of it is used, for people."""
        more = ", and more whose price is not known" if self.unknown else ""
        amount = f"{money(self.used)} of {money(self.limit)} USD"
        return f"{amount} of the budget of {self.whose} are spent or promised{more}"


def binding(ledger: Ledger, settings: Settings, run: Run, now: float, but: str = "") -> list[Budget]:
    """The budgets that bind a run, with what is used of each; the machine with the token ``but`` is left out."""
    limits = (settings.budget_run, project_limit(settings, run.project), settings.budget_user)
    if all(map(math.isinf, limits)):
        return []
    runs = ledger.runs(parts=True)
    machines = [machine for machine in ledger.machines(all_=True) if machine.token != but]
    scopes = (
        ("run", run.uid, [each for each in runs if each.whole == run.whole], bill.ALWAYS),
        ("project", run.project, [each for each in runs if each.project == run.project], bill.ALWAYS),
        ("user", run.owner, [each for each in runs if each.owner == run.owner], (month_start(now), math.inf)),
    )
    return [
        _budget(scope, name, limit, used(some, machines, now, window))
        for limit, (scope, name, some, window) in zip(limits, scopes, strict=True)
        if not math.isinf(limit)
    ]


def all_of(ledger: Ledger, settings: Settings, now: float) -> list[Budget]:
    """The budgets of all projects that have one and have runs or a budget of their own, and the user's own."""
    runs, machines = ledger.runs(parts=True), ledger.machines(all_=True)
    found: list[Budget] = []
    for project in sorted({run.project for run in runs} | own_limits().keys()):
        limit = project_limit(settings, project)
        if not math.isinf(limit):
            price = used([run for run in runs if run.project == project], machines, now, bill.ALWAYS)
            found.append(_budget("project", project, limit, price))
    if not math.isinf(settings.budget_user):
        mine = [run for run in runs if run.owner == settings.owner]
        price = used(mine, machines, now, (month_start(now), math.inf))
        found.append(_budget("user", settings.owner, settings.budget_user, price))
    return found


def _budget(scope: str, name: str, limit: float, price: Price) -> Budget:
    return Budget(scope, name, limit, price.known, price.usd is None)


def left(ledger: Ledger, settings: Settings, run: Run, now: float, but: str = "") -> float | None:
    """What a machine of this run may cost by its budgets, the smallest that is left, USD; None: there is no budget."""
    return min((each.left for each in binding(ledger, settings, run, now, but)), default=None)


def for_engine(world: World, settings: Settings) -> Callable[[Run], float | None]:
    """What the engine asks before it orders the machine of a run's attempt; see ``left``."""
    return lambda run: left(world.ledger, settings, run, world.clock(), machine_token(run))


def nearly_used(world: World, settings: Settings) -> Callable[[Run], list[str]]:
    """What the engine tells of a run while it goes on: a sentence for each budget of which most is used, and of the run
    itself most spent. Nothing of a run that costs nothing."""

    def told(run: Run) -> list[str]:
        machines, now = machines_of(world, run), world.clock()
        if all(machine.usd_per_hour == 0 for machine in machines):
            return []
        found: list[str] = []
        for each in binding(world.ledger, settings, run, now):
            amount = spent(machines, now) if each.scope == "run" else each.used
            if amount >= SAID_AT * each.limit:
                how = "spent" if each.scope == "run" else "spent or promised"
                found.append(f"{SAID_AT:.0%} of the budget of {each.whose} ({money(each.limit)} USD) are {how}")
        return found

    return told


def used(runs: Sequence[Run], machines: Iterable[Machine], now: float, window: bill.Window) -> Price:
    """What runs and their machines have cost in a window: machines that still run until their deadline, and the data of
    runs that go on as they were foretold at least."""
    of: dict[str, list[Machine]] = {run.whole: [] for run in runs}
    uids = {run.uid for run in runs}
    total = Price()
    for machine in machines:
        if machine.run in uids:
            of[machine.run.partition(".")[0]].append(machine)
            total += bill.promised_cost(machine, now) if window == bill.ALWAYS else _in(machine, now, window)
    for run in runs:
        if not run.part:
            data = bill.run_cost(run, (), rates(run, of[run.uid]), now, window)
            total += data
            if not run.state.final:
                total += Price(egress=max(0.0, run.forecast_data_usd - data.known))
    return total


def _in(machine: Machine, now: float, window: bill.Window) -> Price:
    until = now if machine.gone is not None else max(now, machine.power_off_at)
    return bill.machine_cost(machine, until, window)


def check(ledger: Ledger, settings: Settings, run: Run, now: float) -> list[str]:
    """Refuse a run whose project or user has nothing left; a sentence for each budget of which most is used.

    Raises BadInput before anything is sent.
    """
    told: list[str] = []
    for each in binding(ledger, settings, run, now):
        if each.left <= 0:  # of the run itself nothing is used yet
            raise BadInput(
                "the budget is used up",
                where=each.sentence,
                advice="raise it (see cryoburst costs budget and docs/costs.md), or send the job elsewhere",
            )
        if each.used >= SAID_AT * each.limit:
            told.append(each.sentence)
    return told


# ------------------------------------------------------------------------------------------ a project's own budget


def project_limit(settings: Settings, project: str, environment: Mapping[str, str] = os.environ) -> float:
    """The budget of a project: its own, else that of the settings; infinite without one."""
    return own_limits(environment).get(project, settings.budget_project)


def own_limits(environment: Mapping[str, str] = os.environ) -> dict[str, float]:
    """The budgets that single projects have, by their paths. Raises BadInput when the file can't be read: a hard budget
    is never forgotten in silence."""
    path = _file(environment)
    try:
        found: object = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BadInput(f"the budgets can't be read: {error}", where=str(path)) from None
    values = cast(dict[str, object], found) if isinstance(found, dict) else {}
    projects = values.get("projects")
    if values.get("format") != FORMAT or not isinstance(projects, dict):
        raise BadInput("this is not a list of budgets", where=str(path), advice="move it away and set them anew")
    named = cast(dict[object, object], projects)
    for name, limit in named.items():
        if not isinstance(limit, int | float) or isinstance(limit, bool) or not 0 <= limit < math.inf:
            raise BadInput("a budget is not an amount of USD", where=f"{name} in {path}", advice="mend or remove it")
    return {str(name): float(str(limit)) for name, limit in named.items()}


def set_project_limit(project: str, limit: float | None, environment: Mapping[str, str] = os.environ) -> None:
    """Give a project a budget of its own, or take it away (None): then that of the settings is in force."""
    limits = {name: amount for name, amount in own_limits(environment).items() if name != project}
    if limit is not None:
        limits[project] = limit
    path = Path(os.path.realpath(_file(environment)))
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_name(f"{UNFINISHED}{os.getpid()}-{path.name}")
    with beside.open("w") as file:
        json.dump({"format": FORMAT, "projects": limits}, file, indent=1, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _file(environment: Mapping[str, str]) -> Path:
    return config_folder(environment) / "budgets.json"
