"""``cryoburst machines``: what can be rented, and what is rented."""

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``cryoburst machines``."""
    parser.add_argument("--to", metavar="PROVIDER", default="", help="only this provider's")
    parser.add_argument("--all", action="store_true", help="also the machines that are gone")
    parser.add_argument("--json", action="store_true", help="print both lists as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the offers of the providers and our machines."""
    import time

    from cryoburst.cli.show_values import duration, price, print_json, size, table
    from cryoburst.model.job import Resources
    from cryoburst.model.plugins import Need
    from cryoburst.services import settings as settings_
    from cryoburst.services.house import open_world
    from cryoburst.services.report import machine_values, offer_values

    world = open_world(settings_.load())
    names = [options.to] if options.to else sorted(world.providers)
    offers = [offer_values(o) for name in names for o in world.provider(name).offers(Need(Resources()))]
    now = time.time()
    rented = [machine_values(m, now) for m in world.ledger.machines(all_=options.all) if m.provider in names]
    if options.json:
        print_json({"offers": offers, "machines": rented})
        return 0
    rows = [
        (
            o["provider"],
            o["name"],
            o["cores"],
            size(o["memory_bytes"]),
            o["gpus"],
            price(o["usd_per_hour"]),
            ", ".join(f"{name} {version}" for name, version in o["software"].items()) or "-",
        )
        for o in offers
    ]
    print(table(("PROVIDER", "NAME", "CORES", "MEMORY", "GPUS", "PRICE", "SOFTWARE"), rows, right=("CORES", "GPUS")))
    if not rented:
        print("\nNo machine is rented.")
        return 0
    rows = [
        (m["token"], m["state"], m["provider"], m["offer"] or "-", duration(now - m["requested"]), m["note"] or "")
        for m in rented
    ]
    print("\n" + table(("MACHINE", "STATE", "PROVIDER", "TYPE", "AGE", "NOTE"), rows))
    return 0
