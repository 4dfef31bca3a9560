"""``cryoburst plan``: what would be sent, and where."""

import argparse
from pathlib import Path

from cryoburst.cli.submit import job_arguments, target, wishes

SHOWN = 20  # files in the list for people


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``cryoburst plan``."""
    job_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the plan as JSON, with every file")


def run(options: argparse.Namespace) -> int:
    """Print the plan. Nothing is sent, rented or marked."""
    from cryoburst.cli.show_values import price, print_json, size, table
    from cryoburst.services import settings as settings_
    from cryoburst.services.house import open_world
    from cryoburst.services.report import plan_values
    from cryoburst.services.submit import plan

    settings = settings_.load()
    values = plan_values(plan(open_world(settings), settings, target(options), Path.cwd(), wishes(options)))
    if options.json:
        print_json(values)
        return 0
    offer, files = values["offer"], values["files"]
    print(f"{values['job']} ({values['kind']}) in {values['project']}")
    print(f"would go to {offer['provider']}: {offer['name']}, {offer['cores']} cores, {price(offer['usd_per_hour'])}")
    sent = [f for f in files if not f["listed"]]
    print(f"reads {len(sent)} files, {size(values['bytes_in'])}; {size(values['bytes_to_send'])} have to be sent")
    if listed := len(files) - len(sent):
        print(f"lists {listed} files without reading them: nothing of those is sent")
    rows = [(f["path"], "name only" if f["listed"] else size(f["size"]), "yes" if f["to_send"] else "") for f in files]
    if rows:
        print(table(("FILE", "SIZE", "TO SEND"), rows[:SHOWN], right=("SIZE",)))
    if len(rows) > SHOWN:
        print(f"… and {len(rows) - SHOWN} more (all with --json)")
    return 0
