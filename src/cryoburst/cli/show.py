"""``cryoburst show N``: everything about one run, in text, as a picture or as a page."""

import argparse
from typing import TYPE_CHECKING, Any

from cryoburst.cli.number import number_argument

if TYPE_CHECKING:
    from cryoburst.database.ledger import Ledger
    from cryoburst.model.course import Course
    from cryoburst.model.run import Run


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``cryoburst show``."""
    number_argument(parser)
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.add_argument("--picture", metavar="FILE", help="draw what the job has made so far into this PNG file")
    parser.add_argument("--html", metavar="FILE", help="write a summary of one page, pictures included, into this file")


def run(options: argparse.Namespace) -> int:
    """Print the run, how it goes, its machines and its events; with files to write, write them instead."""
    import time

    from cryoburst.cli.show_values import print_json
    from cryoburst.services import settings as settings_
    from cryoburst.services import watcher
    from cryoburst.services.course import course
    from cryoburst.services.house import Plugins
    from cryoburst.services.ledger import open_ledger
    from cryoburst.services.report import detail_values

    settings = settings_.load()
    ledger = open_ledger(settings)
    run = ledger.run(options.number)
    if not run.state.final or ledger.machines():  # as ``runs`` does: what is shown must not stand still
        watcher.ensure(settings)
    if options.picture is not None or options.html is not None:
        return _write(options, ledger, run)
    goes = course(Plugins("packages"), ledger, run)
    now = time.time()
    values = detail_values(ledger, run, now, goes)
    if options.json:
        print_json(values)
    else:
        _print(values, run, ledger.parts_of(run), goes, now)
    return 0


def _write(options: argparse.Namespace, ledger: "Ledger", run: "Run") -> int:
    """Write the picture and the page that are asked for; say where they are."""
    from pathlib import Path

    from cryoburst.cli.named import writing
    from cryoburst.cli.page import write_page
    from cryoburst.model.errors import BadInput
    from cryoburst.services.course import panels
    from cryoburst.services.house import Plugins

    if options.json:
        raise BadInput("--json prints and writes no file", advice="leave it out, or --picture and --html")
    if options.picture is not None:
        path = Path(options.picture)
        if path.suffix.lower() != ".png":
            raise BadInput("a picture is a PNG file", where=options.picture, advice="name it FILE.png")
        found = panels(Plugins("packages"), ledger, run)
        from cryoburst.pictures import sheet  # takes a while to import, so not before there is something to draw

        with writing(path):
            print(f"wrote {sheet.save(found, path)}")
    if options.html is not None:
        print(f"wrote {write_page(ledger, run, Path(options.html))}")
    return 0


def _print(values: "dict[str, Any]", run: "Run", parts: "list[Run]", goes: "Course | None", now: float) -> None:
    from cryoburst.cli.show_course import show
    from cryoburst.cli.show_values import (
        clock_time,
        columns,
        count,
        duration,
        fitted,
        folded,
        foretold,
        moment,
        price,
        size,
        spent,
        table,
    )
    from cryoburst.services.logs import parting_words

    print(f"Run {values['number']}  {values['state']}  {values['job']} ({values['kind']})")
    if values["explanation"]:
        print(f"  {values['explanation']}")
    if values["retry_at"] and (
        values["state"] == "WAITING" or values["retry_at"] > now
    ):  # one that is past stays noted
        print(f"  tried again at {clock_time(values['retry_at'])}")
    words = parting_words(run, parts)
    if words:
        print(f"  last words: {words}")
    lines = (
        ("project", values["project"]),
        ("machine", _machine(values, run, parts)),
        *([("parts", _parts(values))] if values["parts"] > 1 else []),
        (
            "sent",
            f"{count(values['files_in'], 'file')}, {size(values['bytes_in'])}; {size(values['bytes_sent'])} were new",
        ),
        ("brought back", f"{count(values['files_out'], 'file')}, {size(values['bytes_out'])}"),
        *([("left", _left(values))] if values["files_left"] else []),
        *([("memory", _memory(values))] if values["memory_bytes"] or values["peak_memory_bytes"] else []),
        ("submitted", moment(values["submitted"])),
        ("waited, ran", f"{duration(values['wait_seconds'])}, {duration(values['run_seconds'])}"),
        ("ended", moment(values["ended"])),
        ("forecast", foretold(values)),
        ("cost", spent(values, now)),
        ("store", f"{values['store']}/{values['prefix']}"),
        ("progress", _progress(values, now)),
    )
    for name, text in lines:
        print(f"  {name:<13}{text}")
    if goes is not None and goes.known:
        show(goes)
    if values["each_part"]:
        rows = [_part_row(part, now) for part in values["each_part"]]
        head = ("PART", "STATE", "MACHINE", "ATTEMPT", "PROGRESS", "IN", "OUT", "WAIT", "RUN TIME", "NOTE")
        head, rows = fitted(head, rows, ("IN", "OUT", "WAIT"), columns())
        print("\n" + table(head, rows, right=("PART", "ATTEMPT", "IN", "OUT", "WAIT", "RUN TIME")))
    if values["machines"]:
        rows = [
            (m["token"], m["state"], m["offer"] or "-", price(m["usd_per_hour"]) if m["offer"] else "-")
            for m in values["machines"]
        ]
        print("\n" + table(("MACHINE", "STATE", "TYPE", "PRICE"), rows))
    events = [(moment(e["time"]), e["text"]) for e in values["events"]]
    print("\n" + folded(("WHEN", "WHAT"), events, columns()))


def _machine(values: "dict[str, Any]", run: "Run", parts: "list[Run]") -> str:
    """On what it runs or ran; of a split run, on how many machines. Each part has its own attempts."""
    number = len(values["machines"]) if parts else 1
    if any(each.started is not None or each.command_started is not None for each in (*parts, run)):
        otherwise = "unknown"
    else:
        otherwise = "none" if values["ended"] else "not chosen yet"
    several = f"{number} machines: " if number > 1 else ""
    attempt = f", attempt {values['attempt']}" if values["parts"] == 1 else ""
    return f"{several}{values['machine'] or otherwise} (provider {values['provider']}){attempt}"


def _parts(values: "dict[str, Any]") -> str:
    again = f"; joined in attempt {values['attempt']}" if values["attempt"] > 1 else ""
    return f"{values['parts_done']} of {values['parts']} done{again}"


def _memory(values: "dict[str, Any]") -> str:
    """What the command took at its peak, and what was predicted."""
    from cryoburst.cli.show_values import size

    peak, predicted = values["peak_memory_bytes"], values["memory_bytes"]
    words = [f"{size(peak)} at its peak"] if peak else []
    return ", ".join([*words, *([f"{size(predicted)} predicted"] if predicted else [])])


def _part_row(part: "dict[str, Any]", now: float) -> tuple[object, ...]:
    """A part of a split run, as a row."""
    from cryoburst.cli.runs import note
    from cryoburst.cli.show_values import duration, progress, size

    return (
        part["part"],
        part["state"],
        part["machine"] or "-",
        part["attempt"],
        progress(part["progress"]),
        size(part["bytes_in"]),
        size(part["bytes_out"]),
        duration(part["wait_seconds"]),
        duration(part["run_seconds"]),
        note({"parts_note": None} | part, now),
    )


def _left(values: "dict[str, Any]") -> str:
    """What stays in the store, and the command that brings what no later run has replaced."""
    from cryoburst.cli.show_values import count, size

    left = f"{count(values['files_left'], 'file')}, {size(values['bytes_left'])}"
    return f"{left} in the store: cryoburst fetch {values['used_since_by'] or values['number']}"


def _progress(values: "dict[str, Any]", now: float) -> str:
    """How far the program is, and how old that is; of a run that has ended, how far it came."""
    from cryoburst.cli.show_values import duration, progress

    if values["ended"] or not values["observed"]:
        return progress(values["progress"])
    known = progress(values["progress"]) if values["progress"] else "no word on its progress yet"
    return f"{known}, heard of it {duration(now - values['observed'])} ago"
