"""``cryoburst fetch N``: bring a run's outputs home once more."""

import argparse

from cryoburst.cli.number import number_argument


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``cryoburst fetch``."""
    number_argument(parser)


def run(options: argparse.Namespace) -> int:
    """Fetch what is missing or changed at home."""
    from cryoburst.services import runs
    from cryoburst.services import settings as settings_
    from cryoburst.services.house import open_world

    count = runs.fetch(open_world(settings_.load()), options.number)
    print(f"Run {options.number}: {count} outputs are home and verified")
    return 0
