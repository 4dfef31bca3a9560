"""``cryoburst plan``: what would be sent, and where."""

import argparse
from pathlib import Path

from cryoburst.cli.submit import job_arguments, target, wishes

SHOWN = 20  # files in the list for people
LEVELS = ("error", "warning", "info")  # the worst first


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``cryoburst plan``."""
    job_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the plan as JSON, with every file")


def run(options: argparse.Namespace) -> int:
    """Print the plan. Nothing is sent, rented or marked. The exit code is 2 when submit would refuse it for good."""
    from cryoburst.cli.show_values import price, print_json, size, table
    from cryoburst.services import settings as settings_
    from cryoburst.services.house import open_world
    from cryoburst.services.report import plan_values
    from cryoburst.services.submit import plan

    settings = settings_.load()
    values = plan_values(plan(open_world(settings), settings, target(options), Path.cwd(), wishes(options)))
    code = 2 if any(f["level"] == "error" for f in values["findings"]) else 0
    if options.json:
        print_json(values)
        return code
    offer, files = values["offer"], values["files"]
    print(f"{values['job']} ({values['kind']}) in {values['project']}")
    if offer:
        cost = "" if offer["usd_per_hour"] == 0 else f", {price(offer['usd_per_hour'])}"
        split = f" in {values['parts']} parts, each" if values["parts"] > 1 else ""
        print(f"would go{split} to {place(offer['provider'], offer['name'])}, {count(offer['cores'], 'core')}{cost}")
    else:
        print("would go nowhere")
    sent = [f for f in files if not f["listed"]]
    print(f"reads {count(len(sent), 'file')}, {size(values['bytes_in'])}; to send: {size(values['bytes_to_send'])}")
    if listed := len(files) - len(sent):
        print(f"lists {count(listed, 'file')} without reading: no byte of that is sent")
    if values["findings"]:
        told = sorted(values["findings"], key=lambda f: LEVELS.index(f["level"]))
        print(table(("FOUND", "ABOUT", "WHAT"), [(f["level"].upper(), f["subject"], f["sentence"]) for f in told]))
    rows = [(f["path"], "name only" if f["listed"] else size(f["size"]), "yes" if f["to_send"] else "") for f in files]
    if rows:
        print(table(("FILE", "SIZE", "TO SEND"), rows[:SHOWN], right=("SIZE",)))
    if len(rows) > SHOWN:
        print(f"… and {len(rows) - SHOWN} more (all with --json)")
    return code


def place(provider: str, name: str) -> str:
    """A machine type for people: ``aws: c6a.4xlarge``, or that it is the computer before them."""
    where = provider if provider == name else f"{provider}: {name}"
    return f"this computer ({where})" if provider == "local" else where


def count(number: int, thing: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{number} {thing}{'' if number == 1 else 's'}"
