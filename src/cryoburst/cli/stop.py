"""``cryoburst stop N``: end a run."""

import argparse

from cryoburst.cli.number import number_argument


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``cryoburst stop``."""
    number_argument(parser)
    parser.add_argument("--wait", action="store_true", help="wait until it has ended")


def run(options: argparse.Namespace) -> int:
    """Want the run's end; the watcher asks the program, and brings home what there is."""
    import time

    from cryoburst.services import runs, watcher
    from cryoburst.services import settings as settings_
    from cryoburst.services.ledger import open_ledger

    settings = settings_.load()
    ledger = open_ledger(settings)
    runs.stop(ledger, options.number, "stopped with cryoburst stop", time.time())
    watcher.ensure(settings)
    if options.wait:
        ended = runs.wait(ledger, options.number, ensure=lambda: watcher.ensure(settings))
        print(f"Run {ended.number} {ended.state}")
    else:
        print(f"Stopping run {options.number}")
    return 0
