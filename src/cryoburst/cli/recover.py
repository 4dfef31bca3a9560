"""``cryoburst recover``: rebuild the list of runs from outside."""

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``cryoburst recover``."""
    parser.add_argument(
        "--store", metavar="STORE", action="append", default=[], help="another store to look in, by name or URL"
    )
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")


def run(options: argparse.Namespace) -> int:
    """Add what the ledger does not know; exit code 1 when something could not be read."""
    from cryoburst.cli.show_values import count, print_json
    from cryoburst.database.ledger import Ledger
    from cryoburst.services import settings as settings_
    from cryoburst.services import watcher
    from cryoburst.services.house import open_world
    from cryoburst.services.recover import recover
    from cryoburst.services.report import run_values
    from cryoburst.services.stores import known_stores, store_url
    from cryoburst.stores import open_store

    settings = settings_.load()
    named = [store_url(settings, each) for each in options.store]
    for url in named:
        next(iter(open_store(url).list("runs/")), None)  # one that is none, or can't be read, is told before anything
    before = {run.uid for run in Ledger(settings.database).runs()}  # opening the world may recover already
    world = open_world(settings)
    found = recover(world, [*known_stores(settings), *named])
    new = [run for run in world.ledger.runs()[::-1] if run.uid not in before]
    if any(not run.state.final for run in world.ledger.runs(unfinished=True)):
        watcher.ensure(settings)
    if options.json:
        values = [run_values(run, world.clock()) for run in new]
        print_json({"runs": values, "machines": found.machines, "problems": found.problems})
    else:
        print(f"Found {count(len(new), 'run')} and {count(found.machines, 'machine')} that the list did not have")
        for run in new:
            print(f"  run {run.number} {run.state} {run.job}")
        for problem in found.problems:
            print(f"  could not be read: {problem}")
    return 1 if found.problems else 0
