"""``cryoburst aws teardown``: shows what setup made, then takes exactly that away."""

import argparse


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

    settings = settings_.load()
    folder = settings.machines.parent / "aws"
    before = notes.read(folder)
    if before is None:
        raise BadInput("AWS is not set up", advice="there is nothing to remove")
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
    for name, url in stores.read_names().stores.items() if go else ():
        if url == before.store:
            stores.forget_name(name)
    if options.json:
        print_json({"account": before.account, "parts": parts, "removed": go})
    elif done:
        print("\n".join(done))
    return 0
