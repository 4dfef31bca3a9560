"""``cryoburst pause`` and ``cryoburst resume``: hold all transfers of this computer, and let them go on."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryoburst.services.settings import Settings


def arguments(parser: argparse.ArgumentParser) -> None:
    """No words come after ``cryoburst pause`` and ``cryoburst resume``."""


def run(options: argparse.Namespace) -> int:
    """Write or remove the file that every transfer looks for. A second call changes nothing."""
    from cryoburst.services import settings as settings_

    settings = settings_.load()
    return _resume(settings) if options.command == "resume" else _pause(settings)


def _pause(settings: "Settings") -> int:
    settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    settings.pause_file.touch(mode=0o600)
    print("Paused: this computer sends and fetches no files until cryoburst resume; running jobs go on")
    return 0


def _resume(settings: "Settings") -> int:
    """End the pause; and what waits for a store or a disk tries again now, with the credentials of this terminal."""
    import time

    from cryoburst.cli.show_values import tell
    from cryoburst.services import runs, watcher
    from cryoburst.services.ledger import open_ledger

    was = settings.pause_file.exists()
    settings.pause_file.unlink(missing_ok=True)
    print("Transfers go on" if was else "No transfer was paused")
    ledger = open_ledger(settings)
    if waiting := runs.try_now(ledger, time.time()):
        print(f"Tried again now: {', '.join(f'run {run.number}' for run in waiting)}")
    if ledger.runs(unfinished=True, limit=1) and (said := watcher.renew(settings)):
        tell(said)
    return 0
