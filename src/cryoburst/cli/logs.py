"""``cryoburst logs N``: the run's own output, from home while it runs, from the store when it has ended."""

import argparse
from typing import TYPE_CHECKING

from cryoburst.cli.number import number_argument

if TYPE_CHECKING:
    from cryoburst.database.ledger import Ledger
    from cryoburst.model.run import Run


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``cryoburst logs``."""
    number_argument(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on printing until the run has ended")
    parser.add_argument("--err", action="store_true", help="the errors (run.err) instead of the output (run.out)")


def run(options: argparse.Namespace) -> int:
    """Print the log; with ``--follow`` what is added, too."""
    import time

    from cryoburst.cli.show_values import tell
    from cryoburst.services import logs, watcher
    from cryoburst.services import settings as settings_
    from cryoburst.services.house import Plugins
    from cryoburst.services.ledger import open_ledger
    from cryoburst.services.runs import LOOK, look
    from cryoburst.stores import open_store

    settings = settings_.load()
    ledger = open_ledger(settings)
    run = ledger.run(options.number)
    name = Plugins("packages")[run.package].logs[1 if options.err else 0]
    at: int | None = None  # where to go on in the log at home
    told = False
    while True:
        now = look(ledger, options.number)
        final = now is not None and now.state.final
        if not final:
            watcher.ensure(settings)
        if now is not None and at is None:
            if final:
                return _print_ended(ledger, now, name)
            if logs.begun(now):
                at = logs.begins(open_store(now.store), now, name)
            elif not told:
                tell(f"run {run.number} has not started yet, so it has no output")
                told = True
        if at is not None:
            at = _print_home(run, name, at)
        if final or not options.follow:
            return 0
        time.sleep(LOOK)


def _print_ended(ledger: "Ledger", run: "Run", name: str) -> int:
    """What the store has of a run that has ended; what home has, when no later run wrote there."""
    from cryoburst.cli.show_values import tell
    from cryoburst.model.errors import StoreError
    from cryoburst.services import logs
    from cryoburst.stores import open_store

    mine = ledger.later_of(run) is None
    store, printed = open_store(run.store), 0
    try:
        for piece in logs.sent_by_all(store, (*ledger.parts_of(run), run), name):
            printed += _print(piece)
    except StoreError:
        if not mine or printed:
            raise
    if not printed and not logs.begun(run):
        tell(f"run {run.number} ended before it started, so it has no output")
    elif not printed and mine:
        _print_home(run, name, logs.begins(store, run, name))
    return 0


def _print_home(run: "Run", name: str, at: int) -> int:
    """The log at home from there on; where it ends."""
    from cryoburst.services.logs import log_path

    path = log_path(run, name)
    if not path.exists():
        return at
    with path.open("rb") as file:
        file.seek(at)
        return at + _print(file.read())


def _print(data: bytes) -> int:
    import sys

    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
    return len(data)
