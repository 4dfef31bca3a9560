"""``cryoburst fetch N``: bring a run's outputs home once more."""

import argparse

from cryoburst.cli.number import number_argument


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``cryoburst fetch``."""
    number_argument(parser)
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="PATTERN",
        help="of the outputs that were left in the store only these, such as '*.mrcs' in the job folder; may be given "
        "again",
    )


def run(options: argparse.Namespace) -> int:
    """Fetch what is missing or changed at home, and what was left in the store."""
    from cryoburst.cli.show_values import count, size, verb
    from cryoburst.services import runs
    from cryoburst.services import settings as settings_
    from cryoburst.services.house import open_world

    world = open_world(settings_.load())
    home = runs.fetch(world, options.number, options.only)
    print(f"Run {options.number}: {count(home, 'output')} {'is' if home == 1 else 'are'} home and verified")
    run = world.ledger.run(options.number)
    if run.files_left:
        print(f"{run.files_left} more ({size(run.bytes_left)}) {verb(run.files_left, 'stay')} in the store")
    return 0
