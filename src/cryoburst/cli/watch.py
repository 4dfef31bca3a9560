"""``cryoburst watch``: carry the runs on, in the foreground or as the background watcher."""

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``cryoburst watch``."""
    parser.add_argument("--background", action="store_true", help="end when there was no work for a while")
    parser.add_argument(
        "--renew", action="store_true", help="take the place of a background watcher that has other credentials"
    )


def run(options: argparse.Namespace) -> int:
    """Watch until interrupted; a second watcher of the same user ends at once."""
    from cryoburst.services import settings as settings_
    from cryoburst.services import watcher, watching
    from cryoburst.services.house import open_world

    settings = settings_.load()
    world = open_world(settings)

    def begun() -> None:
        if not options.background:
            print(f"Watching; the log is {watcher.log_file(settings)}", flush=True)

    watched = watching.watch(world, settings, until_idle=options.background, renew=options.renew, begun=begun)
    if not watched and not options.background:
        print(f"A watcher runs already, as process {watcher.running(settings)}")
    return 0
