"""``cryoburst costs``: what runs have cost, and what they may. Reads the database only, and works offline."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryoburst.model.errors import BadInput
from cryoburst.model.money import money
from cryoburst.model.price import PARTS

if TYPE_CHECKING:
    from cryoburst.services.budgets import Budget
    from cryoburst.services.costs import Cost
    from cryoburst.services.settings import Settings

NUMBERS = 56  # columns that a line's numbers take at least, on a narrow terminal


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``cryoburst costs``."""
    parser.add_argument(
        "--by", choices=("job", "project", "month"), default="job", help="a line for each (%(default)s)"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the lines and the budgets as JSON")
    form.add_argument("--csv", action="store_true", help="print the lines as CSV")
    parser.add_argument("--chart", metavar="FILE", help="draw the lines into this PNG file, too")
    verbs = parser.add_subparsers(dest="verb", metavar="", prog=parser.prog)
    summary = "show the budgets, or give a project one of its own"
    budget = verbs.add_parser("budget", help=summary, description=summary[0].upper() + summary[1:] + ".")
    budget.add_argument("usd", nargs="?", metavar="USD", help="what the project may cost in all; none takes it away")
    budget.add_argument("--project", default=".", metavar="FOLDER", help="the project; else the one we are in")
    budget.add_argument("--json", action="store_true", help="print the budgets as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the bill, or the budgets."""
    from cryoburst.services import settings as settings_

    settings = settings_.load()
    if options.verb == "budget":
        return _budget(options, settings)
    return _bill(options, settings)


def _bill(options: argparse.Namespace, settings: "Settings") -> int:
    import time

    from cryoburst.cli.show_values import print_json, tell
    from cryoburst.services.costs import costs
    from cryoburst.services.ledger import open_ledger
    from cryoburst.services.report import cost_values

    if options.chart and not options.chart.lower().endswith(".png"):
        raise BadInput("a chart is a PNG file", where=options.chart, advice="name it FILE.png")
    now = time.time()
    ledger = open_ledger(settings)
    found = costs(ledger, options.by, now)
    lines = [cost_values(each) for each in found]
    budgets = _budgets(settings, now)
    if options.json:
        print_json({"by": options.by, "costs": lines, "total": _total(lines), "budgets": budgets})
    elif options.csv:
        _print_csv(options.by, lines)
    else:
        _print(options.by, lines, budgets)
    if options.chart:
        path = Path(options.chart)
        _draw(path, options.by, found)
        tell(f"the chart is {path}")
    return 0


def _total(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All lines together; a sum with something unknown in it is null, and ``known_usd`` is the rest."""

    def together(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return sum(known) if len(known) == len(values) else None

    return {
        "usd": together([line["accrued"]["usd"] for line in lines]),
        **{part: together([line["accrued"][part] for line in lines]) for part in PARTS},
        "known_usd": sum(line["known_usd"] for line in lines),
    }


def _print(by: str, lines: Sequence[dict[str, Any]], budgets: Sequence[dict[str, Any]]) -> None:
    from cryoburst.cli.show_values import LEAST, columns, ending, fitted, job_names, table, usd

    if not lines:
        print("Nothing has cost anything yet: there are no runs.")
    else:
        head = (by.upper(), "RUNS", "HOURS", "FORECAST", "SO FAR", "FINAL", *(part.upper() for part in PARTS))
        rows = [
            (
                name,
                line["runs"],
                f"{line['machine_hours']:.2f}",
                "-" if line["forecast_usd"] is None else _usd(line["forecast_usd"]),
                _usd(line["accrued"]["usd"]),
                "-" if line["final"] is None else _usd(line["final"]["usd"]),
                *(_usd(line["accrued"][part]) for part in PARTS),
            )
            for line, name in zip(lines, job_names([(line["name"], line["project"]) for line in lines]), strict=True)
        ]
        width = columns()
        head, rows = fitted(head, rows, ("REQUESTS", "DISK", "STORAGE", "INSTANCE"), width)
        if width is not None:  # of a project's path the end tells most
            rows = [(ending(str(name), max(LEAST, width - NUMBERS)), *more) for name, *more in rows]
        print(table(head, rows, right=head[1:]))
        total = _total(lines)
        unknown = "" if total["usd"] is not None else ", and more whose price is not known"
        print(f"\nSo far {usd(total['known_usd'])}{unknown}.")
    from cryoburst.engine.budget import SAID_AT

    for each in budgets:
        if each["limit_usd"] is not None and each["used_usd"] >= SAID_AT * each["limit_usd"]:
            print(f"Budget: {each['sentence']}.")


def _usd(amount: float | None) -> str:
    return "unknown" if amount is None else money(amount)


def _print_csv(by: str, lines: Sequence[dict[str, Any]]) -> None:
    import csv
    import sys

    rows = csv.writer(sys.stdout, lineterminator="\n")
    names = [f"{part}_usd" for part in PARTS]
    rows.writerow([by, "project", "runs", "machine_hours", "forecast_usd", "accrued_usd", "final_usd", *names])
    for line in lines:
        final = line["final"]["usd"] if line["final"] else None
        row = [line["name"], line["project"], line["runs"], line["machine_hours"], line["forecast_usd"]]
        row += [line["accrued"]["usd"], final, *(line["accrued"][part] for part in PARTS)]
        rows.writerow(
            ["" if value is None else f"{value:.6f}" if isinstance(value, float) else _plain(value) for value in row]
        )


def _plain(value: object) -> object:
    """A cell that no spreadsheet takes for a formula: a project's folder can have any name."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value


def _draw(path: Path, by: str, lines: "Sequence[Cost]") -> None:
    from cryoburst.pictures import money as chart
    from cryoburst.pictures import paper

    bars = [
        chart.Bar(
            line.name, {part: line.accrued.known_of(part) for part in PARTS}, line.forecast, line.accrued.usd is None
        )
        for line in lines
    ]
    count = sum(line.runs for line in lines)
    total = sum(line.accrued.known for line in lines)
    more = ", and more whose price is not known" if any(bar.unknown for bar in bars) else ""
    said = f"{count} run{'' if count == 1 else 's'}, {money(total)} USD so far{more}"
    paper.save(chart.draw(bars, f"Costs by {by}", said), path)


def _budgets(settings: "Settings", now: float) -> list[dict[str, Any]]:
    """Every budget of a project or user that there is, with what is used of it."""
    from cryoburst.services import budgets
    from cryoburst.services.ledger import open_ledger

    return [budget_values(each) for each in budgets.all_of(open_ledger(settings), settings, now)]


def budget_values(budget: "Budget") -> dict[str, Any]:
    """One budget: see docs/json.md."""
    return {
        "scope": budget.scope,
        "name": budget.name,
        "limit_usd": budget.limit,
        "used_usd": budget.used,
        "left_usd": budget.left,
        "sentence": budget.sentence,
    }


def _budget(options: argparse.Namespace, settings: "Settings") -> int:
    import os
    import time

    from cryoburst.cli.show_values import print_json
    from cryoburst.services import budgets

    if options.usd is not None:
        project = os.path.realpath(options.project)
        if not Path(project).is_dir():
            raise BadInput("there is no such project folder", where=options.project, advice="name one with --project")
        amount = None if options.usd == "none" else _amount(options.usd)
        budgets.set_project_limit(project, amount)
    found = _budgets(settings, time.time())
    if options.json:
        print_json(found)
        return 0
    for each in found:
        print(f"{each['sentence']}; {money(each['left_usd'])} USD are left")
    if not found:
        print(
            "There is no budget. cryoburst costs budget USD gives this project one; see docs/costs.md for the others."
        )
    return 0


def _amount(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    if not 0 <= amount < math.inf:
        raise BadInput("not an amount of money", where=text, advice="give USD, such as 250, or none")
    return amount
