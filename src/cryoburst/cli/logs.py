"""``cryoburst logs N``: the run's output as it is at home."""

import argparse

from cryoburst.cli.number import number_argument


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``cryoburst logs``."""
    number_argument(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on printing until the run has ended")
    parser.add_argument("--err", action="store_true", help="the errors (run.err) instead of the output (run.out)")


def run(options: argparse.Namespace) -> int:
    """Print the log; with ``--follow`` what is added, too."""
    import sys
    import time

    from cryoburst.services import settings as settings_
    from cryoburst.services import watcher
    from cryoburst.services.house import Plugins
    from cryoburst.services.ledger import open_ledger
    from cryoburst.services.runs import LOOK, log_path, look

    settings = settings_.load()
    ledger = open_ledger(settings)
    run = ledger.run(options.number)
    path = log_path(run, Plugins("packages")[run.package].logs[1 if options.err else 0])
    offset = 0
    while True:
        now = look(ledger, options.number)
        final = now is not None and now.state.final
        if not final:
            watcher.ensure(settings)
        if path.exists():
            with path.open("rb") as file:
                file.seek(offset)
                data = file.read()
            offset += len(data)
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        if final or not options.follow:
            return 0
        time.sleep(LOOK)
