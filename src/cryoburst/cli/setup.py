"""``cryoburst aws setup``: shows what an AWS account needs for us, then makes it."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryoburst.providers.aws.notes import Notes


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``cryoburst aws setup``."""
    parser.add_argument("--region", default="", help="where to rent; say it again with another for one more")
    parser.add_argument("--bucket", default="", metavar="NAME", help="of the bucket (cryoburst-ACCOUNT-REGION)")
    parser.add_argument("--profile", default="", metavar="NAME", help="of ~/.aws/config; else AWS's own choice")
    parser.add_argument(
        "--image", default="", help="debian-12 (the default), ubuntu-24.04, ami-..., tag:KEY=VALUE, or an SSM parameter"
    )
    parser.add_argument(
        "--expire-days",
        type=int,
        metavar="DAYS",
        help="let everything in the store go that is so old (365); 0: never",
    )
    parser.add_argument("--yes", action="store_true", help="make it without a question")
    parser.add_argument("--json", action="store_true", help="print what there is, and what was made, as JSON")


def run(options: argparse.Namespace) -> int:
    """Show, ask, make; name the store."""
    from cryoburst.cli.ask import confirmed
    from cryoburst.cli.show_values import listed, print_json
    from cryoburst.model.errors import BadInput
    from cryoburst.providers.aws import notes, setup
    from cryoburst.services import settings as settings_

    if options.expire_days is not None and options.expire_days < 0:
        raise BadInput("not a number of days", where=f"--expire-days {options.expire_days}", advice="0 means never")
    settings = settings_.load()
    folder = settings.machines.parent / "aws"
    wish = setup.Wish(
        settings.owner, options.region, options.bucket, options.image, options.profile, options.expire_days
    )
    before = notes.read(folder)
    planned = setup.plan(folder, wish)
    parts = [
        {"kind": p.thing.kind, "name": p.thing.name, "about": p.thing.about, "there": p.there} for p in planned.parts
    ]
    if not options.json:
        print(f"In account {planned.notes.account}, machines start from {planned.image}:\n")
        for part in parts:
            print(listed("there" if part["there"] else "to be made", f"{part['kind']} {part['name']}", part["about"]))
        print()
    if planned.notes.expire and not options.json:
        print(WARNING.format(days=planned.notes.expire) + "\n")
    if planned.missing:
        go = confirmed("Make it?", yes=options.yes, without="nothing was made: say --yes to make it")
    else:
        without = "all of it is there; --yes brings it to this state again"
        go = confirmed("Bring it to this state again?", yes=options.yes, without=without)
    done = list(setup.make(folder, planned)) if go else []
    url = planned.notes.store
    if options.json:
        print_json({"account": planned.notes.account, "store": url, "parts": parts, "made": go})
    if not go:
        return 0
    name = _named(planned.notes, before)
    if not options.json:
        print("\n".join(done))
        print(
            f"\nThe store {name} is {url}. Send a job there:\n  cryoburst submit --to aws --store {name} --job FOLDER"
        )
    return 0


def _named(made: "Notes", before: "Notes | None") -> str:
    """Give the store a name: ours, or where somebody else's store has that one, the bucket's."""
    from cryoburst.model.errors import BadInput
    from cryoburst.services import stores

    for name in ("aws", made.bucket):
        known = stores.read_names()
        if before is not None and known.stores.get(name) == before.store:  # its address has another profile now
            stores.forget_name(name)
        if known.stores.get(name) in (None, made.store, before and before.store):
            stores.add_name(name, made.store, default=known.default == name)
            return name
    advice = f"give it one: cryoburst store add NAME '{made.store}'"
    raise BadInput("all is made, but the store has no name: aws is taken", where=made.bucket, advice=advice)


WARNING = (
    "Everything in the store that is older than {days} days will go, also outputs that were left there and projects\n"
    "that were pushed: what is nowhere else is then lost. Who keeps such things there says --expire-days 0."
)
