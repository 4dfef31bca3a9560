"""``cryoburst doctor``: check that everything a run needs is there."""

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``cryoburst doctor``."""
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the findings; exit code 1 when one of them is an error."""
    from dataclasses import asdict

    from cryoburst.cli.show_values import print_json, table
    from cryoburst.services import settings as settings_
    from cryoburst.services.doctor import examine
    from cryoburst.services.house import open_world

    settings = settings_.load()
    findings = examine(open_world(settings), settings)
    if options.json:
        print_json([asdict(finding) for finding in findings])
    else:
        print(table(("", "WHAT", "FINDING"), [(f.level, f.subject, f.sentence) for f in findings]))
    return 1 if any(f.level == "error" for f in findings) else 0
