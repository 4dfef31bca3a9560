"""``cryoburst machines``: what can be rented, what is rented, and the end of what nobody needs."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryoburst.engine.world import World

SHOWN = 20  # offers for people


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``cryoburst machines``."""
    parser.add_argument(
        "--to", metavar="PROVIDER", default="", help="only this provider's; those of a cloud are listed only so"
    )
    parser.add_argument("--all", action="store_true", help="also the machines that are gone")
    parser.add_argument(
        "--reap", action="store_true", help="ask the providers themselves; show, then end, what no run needs"
    )
    parser.add_argument("--yes", action="store_true", help="with --reap: end it without a question")
    parser.add_argument("--json", action="store_true", help="print both lists as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the offers of the providers and our machines."""
    import time

    from cryoburst.cli.show_values import columns, duration, fitted, print_json, table
    from cryoburst.model.job import Resources
    from cryoburst.model.plugins import Need
    from cryoburst.services import settings as settings_
    from cryoburst.services.house import open_world
    from cryoburst.services.report import machine_values, offer_values

    world = open_world(settings_.load())
    names = [options.to] if options.to else sorted(world.providers)
    if options.reap:
        return _reap(options, world, names)
    # A cloud has hundreds, in every zone: they are shown when it is named.
    shown = [name for name in names if options.to or world.provider(name).here]
    offers = [offer_values(o) for name in shown for o in world.provider(name).offers(Need(Resources()))]
    now = time.time()
    rented = [machine_values(m, now) for m in world.ledger.machines(all_=options.all) if m.provider in names]
    if options.json:
        print_json({"offers": offers, "machines": rented})
        return 0
    _print_offers(offers)
    if others := [name for name in names if name not in shown]:
        print(f"\nMore can be rented elsewhere: {', '.join(f'cryoburst machines --to {name}' for name in others)}")
    if not rented:
        print("\nNo machine is rented.")
        return 0
    rows = [
        (m["token"], m["state"], m["provider"], m["offer"] or "-", duration(m["age"]), m["note"] or "")
        for m in ({"age": (m["gone"] or now) - m["requested"]} | m for m in rented)
    ]
    head, rows = fitted(("MACHINE", "STATE", "PROVIDER", "TYPE", "AGE", "NOTE"), rows, ("PROVIDER", "TYPE"), columns())
    print("\n" + table(head, rows))
    return 0


def _print_offers(offers: Sequence[dict[str, Any]]) -> None:
    """A table in which the zones of a region share a row, with the cheapest's price."""
    from cryoburst.cli.show_values import columns, fitted, price, size, table

    first: dict[tuple[str, str, str | None, bool], dict[str, Any]] = {}
    for o in offers:
        first.setdefault((o["provider"], o["name"], o["region"], o["spot"]), o)
    rows = [
        (
            o["provider"],
            o["name"],
            o["cores"],
            size(o["memory_bytes"]),
            o["gpus"],
            price(o["usd_per_hour"]),
            f"{o['region'] or 'here'}{', spot' if o['spot'] else ''}",
            ", ".join(f"{name} {version}" for name, version in o["software"].items()) or "-",
        )
        for o in first.values()
    ]
    head = ("PROVIDER", "NAME", "CORES", "MEMORY", "GPUS", "PRICE", "WHERE", "SOFTWARE")
    shown: Sequence[Sequence[object]] = rows[:SHOWN]
    if all(o["region"] is None for o in offers):
        head, shown = (*head[:6], head[7]), [(*row[:6], row[7]) for row in shown]
    head, shown = fitted(head, shown, ("GPUS", "PROVIDER"), columns())
    print(table(head, shown, right=("CORES", "GPUS")))
    if len(rows) > SHOWN:
        print(f"… and {len(rows) - SHOWN} more (all with --json)")


def _reap(options: argparse.Namespace, world: "World", names: Sequence[str]) -> int:
    """Show what carries our tags and belongs to no run that needs it, in all regions in use; then end it."""
    import time

    from cryoburst.cli.ask import confirmed
    from cryoburst.cli.show_values import columns, duration, fitted, print_json, table, tell
    from cryoburst.services import reap

    found, now = reap.unneeded(world, names, named=bool(options.to)), time.time()
    if not options.json:
        rows = [
            (each.provider, seen.id, seen.offer or "-", duration(max(0.0, now - seen.created)), each.why)
            for each in found
            for seen in [each.machine]
        ]
        head, rows = fitted(("PROVIDER", "MACHINE", "TYPE", "AGE", "WHY"), rows, ("PROVIDER", "TYPE"), columns())
        print(table(head, rows) if rows else "No machine is left over.")
    go = bool(found) and confirmed("End them?", yes=options.yes, without="nothing was ended: say --yes to end them")
    wrong = {each.machine.id: reap.end(world, each) for each in found} if go else {}
    if options.json:
        values = [
            {"provider": each.provider, "id": each.machine.id, "token": each.machine.token, "why": each.why}
            | {"ended": go and not wrong[each.machine.id], "problem": wrong.get(each.machine.id) or None}
            for each in found
        ]
        print_json({"machines": values})
    for name, problem in wrong.items():
        if problem:
            tell(f"{name} was not ended: {problem}")
    return 1 if any(wrong.values()) else 0
