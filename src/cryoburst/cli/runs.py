"""``cryoburst runs``: the list. Reads the database only, works offline, and says how old its news are."""

import argparse
from collections.abc import Mapping


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``cryoburst runs``."""
    parser.add_argument("--all", action="store_true", help="all runs, not only the last 50")
    parser.add_argument("--json", action="store_true", help="print all runs as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the runs, newest last."""
    import time

    from cryoburst.cli.show_values import (
        columns,
        duration,
        fitted,
        job_names,
        print_json,
        progress,
        size,
        table,
        tell_pause,
    )
    from cryoburst.services import settings as settings_
    from cryoburst.services import watcher
    from cryoburst.services.ledger import open_ledger
    from cryoburst.services.report import run_values

    settings = settings_.load()
    ledger = open_ledger(settings)
    runs = ledger.runs(limit=None if options.all or options.json else 50)[::-1]
    now = time.time()
    values = [run_values(run, now, ledger.parts_of(run)) for run in runs]
    if any(not run.state.final for run in runs) or ledger.machines():  # one that is left has to be ended, too
        watcher.ensure(settings)
    if options.json:
        print_json(values)
        return 0
    if not values:
        print("No runs yet. Send one with cryoburst submit, or from RELION's window (cryoburst relion setup).")
        return 0
    head = ("RUN", "STATE", "JOB", "MACHINE", "PROGRESS", "IN", "OUT", "WAIT", "RUN TIME", "NOTE")
    rows = [
        (
            v["number"],
            v["state"],
            name,
            v["machine"] or "-",
            progress(v["progress"]) + parts(v),
            size(v["bytes_in"]),
            size(v["bytes_out"]),
            duration(v["wait_seconds"]),
            duration(v["run_seconds"]),
            note(v, now),
        )
        for v, name in zip(values, job_names([(v["job"], v["project"]) for v in values]), strict=True)
    ]
    head, rows = fitted(head, rows, ("IN", "OUT", "WAIT", "MACHINE"), columns())
    print(table(head, rows, right=("RUN", "IN", "OUT", "WAIT", "RUN TIME")))
    if any(not run.state.final for run in runs):
        tell_pause(settings)
    return 0


def parts(values: dict[str, object]) -> str:
    """``, 3 of 8 parts`` of a split run."""
    return f", {values['parts_done']} of {values['parts']} parts" if values["parts_done"] is not None else ""


def note(values: Mapping[str, object], now: float) -> str:
    """Why it waits or ended, and how old the news are when they are old; whole."""
    from cryoburst.cli.show_values import duration

    if values["lost_since"]:
        return f"no word from its machine for {duration(now - float(str(values['observed'] or now)))}"
    if values["stop_wanted"] and not values["ended"]:
        return f"stopping: {values['stop_wanted']}"
    return str(values["detail"] or values["reason"] or values["parts_note"] or "")
