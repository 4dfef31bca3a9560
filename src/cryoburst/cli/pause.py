"""``cryoburst pause`` and ``cryoburst resume``: hold all transfers of this computer, and let them go on."""

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """No words come after ``cryoburst pause`` and ``cryoburst resume``."""


def run(options: argparse.Namespace) -> int:
    """Write or remove the file that every transfer looks for. A second call changes nothing."""
    from cryoburst.services import settings as settings_

    settings = settings_.load()
    file = settings.pause_file
    if options.command == "resume":
        was = file.exists()
        file.unlink(missing_ok=True)
        print("Transfers go on" if was else "No transfer was paused")
        return 0
    settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.touch(mode=0o600)
    print("Paused: this computer sends and fetches no files until cryoburst resume; running jobs go on")
    return 0
