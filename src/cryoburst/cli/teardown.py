"""``cryoburst aws teardown``: shows what setup made, then takes exactly that away."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryoburst.database.ledger import Ledger


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``cryoburst aws teardown``."""
    parser.add_argument(
        "--with-data", action="store_true", help="also the data in the bucket, which may be nowhere else"
    )
    parser.add_argument("--yes", action="store_true", help="remove it without a question")
    parser.add_argument("--json", action="store_true", help="print what there was, and whether it is removed, as JSON")


def run(options: argparse.Namespace) -> int:
    """Show, ask, remove; forget the store's name."""
    from cryoburst.cli.ask import confirmed
    from cryoburst.cli.show_values import listed, print_json
    from cryoburst.model.errors import BadInput
    from cryoburst.providers.aws import AwsProvider, notes, setup
    from cryoburst.services import settings as settings_
    from cryoburst.services import stores
    from cryoburst.services.ledger import open_ledger

    settings = settings_.load()
    folder = settings.machines.parent / "aws"
    before = notes.read(folder)
    if before is None:
        raise BadInput("AWS is not set up", advice="there is nothing to remove")
    ledger = open_ledger(settings)
    _check_free(ledger)
    found = setup.removal(folder, AwsProvider(settings.machines).machines(settings.owner))
    parts = [{"kind": thing.kind, "name": thing.name, "about": thing.about} for thing in found.things]
    if not options.json:
        for part in parts:
            print(listed("to go", f"{part['kind']} {part['name']}", part["about"]))
        print()
    setup.check_removal(found, with_data=options.with_data)
    data = " The bucket's data goes, too." if found.data else ""
    go = confirmed(f"Remove it?{data}", yes=options.yes, without="nothing was removed: say --yes to remove it")
    done = list(setup.remove(folder, found, with_data=options.with_data)) if go else []
    if go:
        _forget_machines(ledger)
    for name, url in stores.read_names().stores.items() if go else ():
        if url == before.store:
            stores.forget_name(name)
    if options.json:
        print_json({"account": before.account, "parts": parts, "removed": go})
    elif done:
        print("\n".join(done))
    return 0


def _check_free(ledger: "Ledger") -> None:
    """Raises BadInput while a run needs what would go."""
    from cryoburst.model.errors import BadInput

    for run in ledger.runs(unfinished=True):
        if run.provider == "aws":
            advice = f"wait for it, or stop it: cryoburst stop {run.number}"
            raise BadInput(f"{run.title} is not finished, and goes to AWS", where=run.job, advice=advice)


def _forget_machines(ledger: "Ledger") -> None:
    """AWS has said that no machine is there, and is not asked any more."""
    import time

    from cryoburst.model.states import MachineState

    for machine in ledger.machines():
        if machine.provider != "aws":
            continue
        ending = machine
        if machine.state is not MachineState.DELETING:
            ending = ledger.change_machine(machine, {"state": MachineState.DELETING}) or machine
        ledger.change_machine(ending, {"state": MachineState.GONE, "gone": time.time()})
