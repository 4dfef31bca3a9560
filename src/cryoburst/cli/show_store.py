"""How a store's contents look on a terminal and as JSON. It asks the store nothing."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from cryoburst.cli.show_values import count, moment, print_json, size, table, verb
from cryoburst.model.errors import one_line
from cryoburst.model.plugins import Stored
from cryoburst.services.evidence import Evidence, Known
from cryoburst.services.gc import Found
from cryoburst.services.layout import INPUTS, RUN, Line
from cryoburst.services.removal import Shown

# https://aws.amazon.com/s3/pricing/, read 2026: S3 Standard, us-east-1, the first 50 TB of a month
USD_PER_GB_MONTH = 0.023
GB = 1e9 * 1.073741824  # AWS's GB are 2**30 bytes
SHOWN = 20  # leftovers and unfinished runs that are named


def print_keys(objects: Iterable[Stored], *, as_json: bool) -> None:
    """Every object as it is listed, in memory for one."""
    between = "[\n "
    for found in objects:
        if as_json:
            print(between + json.dumps(found._asdict()), end="")
            between = ",\n "
        else:
            print(f"{found.size:>14}  {moment(found.modified)}  {one_line(found.key)}")
    if as_json:
        print("\n]" if between != "[\n " else "[]")


def print_contents(lines: list[Line], evidence: Evidence, project: str, *, as_json: bool) -> None:
    """The projects in a store, or the runs of one."""
    if project:
        _print_project(lines, evidence, project, as_json=as_json)
        return
    projects = sorted({line.project for line in lines if line.project} | {r.project for r in evidence.runs.values()})
    values = [_project_values(folder, lines, evidence) for folder in projects]
    if as_json:
        print_json(values)
        return
    rows = [
        (v["project"], v["runs"], v["unfinished"], v["objects"], size(v["bytes"]), moment(v["newest"])) for v in values
    ]
    head = ("PROJECT", "RUNS", "UNFINISHED", "OBJECTS", "SIZE", "LAST WRITTEN")
    print(table(head, rows, right=head[1:5]) if rows else "No project is in this store.")
    _print_problems(evidence.problems)


def _project_values(folder: str, lines: list[Line], evidence: Evidence) -> dict[str, Any]:
    mine = [line for line in lines if line.project == folder]
    runs = [run for run in evidence.runs.values() if run.project == folder]
    return {
        "project": folder,
        "runs": len(runs),
        "unfinished": sum(run.closed is None for run in runs),
        "objects": sum(line.objects for line in mine),
        "bytes": sum(line.bytes for line in mine),
        "newest": max((line.newest for line in mine), default=None),
    }


def _print_project(lines: list[Line], evidence: Evidence, project: str, *, as_json: bool) -> None:
    runs = {run.prefix: run for run in evidence.runs.values() if run.project == project}
    of_runs = {line.run: line for line in lines if line.kind == RUN and line.project == project}
    values = [_run_values(runs.get(prefix), of_runs.get(prefix, Line(RUN, run=prefix))) for prefix in runs | of_runs]
    values.sort(key=lambda value: (value["submitted"] or 0, str(value["prefix"])))
    rest = [asdict(line) for line in lines if line.project == project and line.kind != RUN]
    if as_json:
        print_json({"runs": values, "other": rest})
        return
    rows = [
        (
            value["number"] or "?",
            value["state"] or "unknown",
            value["job"] or str(value["prefix"]).split("/")[1],
            value["owner"] or "-",
            moment(value["submitted"]),
            value["objects"],
            size(value["bytes"]),
            value["uid"],
        )
        for value in values
    ]
    head = ("RUN", "STATE", "JOB", "OWNER", "SUBMITTED", "OBJECTS", "SIZE", "UID")
    print(table(head, rows, right=("RUN", "OBJECTS", "SIZE")) if rows else f"No run of {project} is in this store.")
    for line in rest:
        print(f"{line['kind']}: {count(line['objects'], 'object')}, {size(line['bytes'])}")
    _print_problems(evidence.problems)


def _run_values(run: Known | None, line: Line) -> dict[str, Any]:
    """A run that no document knows has no number, owner, state and times."""
    request = run.request if run else None
    return {
        "prefix": line.run,
        "uid": line.run.rstrip("/").rsplit("/", 1)[-1],
        "number": request.number if request else None,
        "state": run.state if run else None,
        "job": request.job.rstrip("/") if request else None,
        "owner": request.owner if request else None,
        "submitted": request.submitted if request else None,
        "objects": line.objects,
        "bytes": line.bytes,
        "free_bytes": line.free_bytes,
    }


def print_usage(found: Found, evidence: Evidence, url: str, days: float, *, as_json: bool) -> None:
    """What takes how much room, and what gc could free."""
    usd = _usd(url, sum(line.bytes for line in found.lines))
    total, objects = (sum(getattr(line, name) for line in found.lines) for name in ("bytes", "objects"))
    if as_json:
        values = {
            "lines": [asdict(line) for line in found.lines],
            "objects": objects,
            "bytes": total,
            "free_bytes": found.bytes,
            "usd_per_month": usd,
            "problems": found.problems,
        }
        print_json(values)
        return
    rows = [
        (
            line.project or "-",
            _what(line, evidence),
            line.objects,
            size(line.bytes),
            size(line.free_bytes) if line.free_objects else "-",
        )
        for line in found.lines
    ]
    head = ("PROJECT", "WHAT", "OBJECTS", "SIZE", "GC COULD FREE")
    print(table(head, rows, right=head[2:]) if rows else "The store is empty.")
    free = f"gc could free {size(found.bytes)} not used for {days:g} days"
    print(f"\nTogether {count(objects, 'object')}, {size(total)}; {free}")
    if usd is not None:
        print(
            f"About {usd:.2f} USD a month at {USD_PER_GB_MONTH} USD per GB (S3 Standard, us-east-1; not asked of AWS)"
        )
    _print_problems(found.problems)


def _what(line: Line, evidence: Evidence) -> str:
    if line.kind != RUN:
        return line.kind
    run = evidence.runs.get(line.run)
    if run is None:
        return f"run {line.run.rstrip('/').rsplit('/', 1)[-1]}, of which no document tells"
    return f"run {run.request.number} of {run.request.owner}, {run.request.job.rstrip('/')}, {run.state}"


def _usd(url: str, count: int) -> float | None:
    """USD a month of so many bytes on AWS; None for other stores, of whose price nothing is known here."""
    return count / GB * USD_PER_GB_MONTH if url.startswith("s3://") and "endpoint=" not in url else None


def print_freed(found: Found, *, done: bool, as_json: bool) -> None:
    """What gc would delete, or deleted."""
    lines = [line for line in found.lines if line.free_objects]
    if as_json:
        values = {
            "deleted": done,
            "objects": found.objects,
            "bytes": found.bytes,
            "lines": [asdict(line) for line in lines],
            "leftovers": [{"kind": e.kind, "name": e.name, "bytes": e.size, "since": e.since} for e in found.leftovers],
            "unfinished": [run.request.uid for run in found.unfinished],
            "problems": found.problems,
        }
        print_json(values)
        return
    if lines:
        print(_freed_table(lines))
    for each in found.leftovers[:SHOWN]:
        print(f"{each.kind}: {one_line(each.name)}, {size(each.size)}, since {moment(each.since)}")
    if len(found.leftovers) > SHOWN:
        print(f"and {len(found.leftovers) - SHOWN} more unfinished uploads or files")
    if done:
        print(f"Deleted {count(found.objects, 'object')}, {size(found.bytes)}")
    elif found.objects:
        them = "it" if found.objects == 1 else "them"
        print(f"gc could free {count(found.objects, 'object')}, {size(found.bytes)}; --yes deletes {them}")
    else:
        print("Nothing can go.")
    for run in found.unfinished[:SHOWN]:
        asked = run.request
        said = f"run {asked.number} of {asked.owner} ({asked.job}), submitted {moment(asked.submitted)}"
        print(f"Unfinished, so what it may need stays: {one_line(said)}")
    _print_problems(found.problems)


def print_removed(shown: Shown, lines: list[Line], *, done: bool, as_json: bool) -> None:
    """What rm would remove, or removed."""
    lines = [line for line in lines if line.free_objects]
    objects, freed = (sum(getattr(line, name) for line in lines) for name in ("free_objects", "free_bytes"))
    if as_json:
        values = {
            "removed": done,
            "objects": objects,
            "bytes": freed,
            "lines": [asdict(line) for line in lines],
            "staying": shown.staying,
            "unfetched": [run.request.uid for run in shown.unfetched],
            "problems": shown.problems,
        }
        print_json(values)
        return
    if lines:
        print(_freed_table(lines))
    for run in shown.unfetched:
        print(f"Outputs of run {run.request.number} ({run.request.job}) were left in the store and may be nowhere else")
    if shown.staying:
        stay = f"{count(shown.staying, 'object')} {verb(shown.staying, 'stay')}"
        print(f"{stay}: an unfinished run or a pushed project needs that")
    tail = "" if done or not objects else f"; --yes removes {'it' if objects == 1 else 'them'}"
    print(f"{'Removed' if done else 'It has'} {count(objects, 'object')}, {size(freed)}{tail}")
    _print_problems(shown.problems)


def _freed_table(lines: list[Line]) -> str:
    """Per project and kind; runs together."""
    sums: dict[tuple[str, str], list[int]] = {}
    for line in lines:
        kind = "outputs and records" if line.kind == RUN else "inputs" if line.kind == INPUTS else line.kind
        row = sums.setdefault((line.project, kind), [0, 0])
        row[0] += line.free_objects
        row[1] += line.free_bytes
    rows = [(project or "-", kind, row[0], size(row[1])) for (project, kind), row in sums.items()]
    return table(("PROJECT", "WHAT", "OBJECTS", "SIZE"), rows, right=("OBJECTS", "SIZE"))


def _print_problems(problems: list[str]) -> None:
    for problem in problems:
        print(f"Can't be told: {one_line(problem)}")
