"""``cryoburst show N``: everything about one run."""

import argparse

from cryoburst.cli.number import number_argument


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``cryoburst show``."""
    number_argument(parser)
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the run, its machines and its events."""
    import time

    from cryoburst.cli.show_values import duration, moment, price, print_json, progress, size, table
    from cryoburst.services import settings as settings_
    from cryoburst.services.ledger import open_ledger
    from cryoburst.services.report import detail_values

    ledger = open_ledger(settings_.load())
    now = time.time()
    values = detail_values(ledger, ledger.run(options.number), now)
    if options.json:
        print_json(values)
        return 0
    print(f"Run {values['number']}  {values['state']}  {values['job']} ({values['kind']})")
    if values["explanation"]:
        print(f"  {values['explanation']}")
    observed = f", heard of {duration(now - values['observed'])} ago" if values["observed"] else ""
    lines = (
        ("project", values["project"]),
        (
            "machine",
            f"{values['machine'] or 'not chosen yet'} (provider {values['provider']}), attempt {values['attempt']}",
        ),
        ("progress", f"{progress(values['progress'])}{observed if not values['ended'] else ''}"),
        ("sent", f"{values['files_in']} files, {size(values['bytes_in'])}; {size(values['bytes_sent'])} were new"),
        ("brought back", f"{values['files_out']} files, {size(values['bytes_out'])}"),
        ("submitted", moment(values["submitted"])),
        ("waited, ran", f"{duration(values['wait_seconds'])}, {duration(values['run_seconds'])}"),
        ("ended", moment(values["ended"])),
        ("store", f"{values['store']}/{values['prefix']}"),
    )
    for name, text in lines:
        print(f"  {name:<13}{text}")
    if values["machines"]:
        rows = [(m["token"], m["state"], m["offer"] or "-", price(m["usd_per_hour"])) for m in values["machines"]]
        print("\n" + table(("MACHINE", "STATE", "TYPE", "PRICE"), rows))
    print("\n" + table(("WHEN", "WHAT"), [(moment(e["time"]), e["text"]) for e in values["events"]]))
    return 0
