"""``cryoburst aws offers``: which machines of AWS would do, and what they cost; also without a network."""

import argparse
import math
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from cryoburst.model.errors import BadInput

if TYPE_CHECKING:
    from cryoburst.model.plugins import Offer

SHOWN = 20  # rows for people
GIB = 2**30


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``cryoburst aws offers``."""
    parser.add_argument("--cores", type=int, default=1, metavar="N", help="at least so many (AWS's vCPUs)")
    parser.add_argument("--memory", type=float, default=0.0, metavar="GIB", help="at least so much")
    parser.add_argument("--gpus", type=int, default=0, metavar="N", help="at least so many")
    parser.add_argument("--gpu-memory", type=float, default=0.0, metavar="GIB", help="of each GPU, at least")
    parser.add_argument("--disk", type=float, default=0.0, metavar="GB", help="at least so much")
    parser.add_argument(
        "--region", action="append", default=[], metavar="R", help="such as eu-central-1; may be given again; else all"
    )
    parser.add_argument("--spot", action="store_true", help="spot machines: cheaper, and may be taken back")
    parser.add_argument("--offline", action="store_true", help="don't ask AWS, also where there are credentials")
    parser.add_argument("--json", action="store_true", help="print every offer, each zone of its own")


def run(options: argparse.Namespace) -> int:
    """Print the offers, cheapest first."""
    from cryoburst.cli.show_values import print_json, tell
    from cryoburst.model.job import Resources
    from cryoburst.model.plugins import Need
    from cryoburst.providers.aws import catalogue, notes, prices
    from cryoburst.services import settings as settings_

    for name in ("cores", "memory", "gpus", "gpu_memory", "disk"):
        amount = getattr(options, name)
        if not (1 if name == "cores" else 0) <= amount < 1e9 or not math.isfinite(amount):
            word = f"--{name.replace('_', '-')}"
            raise BadInput("not an amount that a machine can have", where=f"{word} {amount:g}", advice="see --help")
    resources = Resources(
        processes=options.cores,
        memory_bytes=round(options.memory * GIB),
        gpus=max(options.gpus, options.gpu_memory > 0),
        gpu_memory_bytes=round(options.gpu_memory * GIB),
    )
    need = Need(resources, disk_bytes=round(options.disk * 1e9))
    catalogue.check_regions(options.region)
    if options.offline:
        board = prices.Board(catalogue.offers(need, options.region, spot=options.spot), catalogue.dated())
    else:
        setup = notes.read(settings_.load().machines.parent / "aws")
        board = prices.board(need, options.region, spot=options.spot, profile=setup.profile if setup else "")
    if not board.offers:
        where = (
            f"{'spot ' if options.spot else ''}machines{' in ' + ', '.join(options.region) if options.region else ''}"
        )
        raise BadInput(f"AWS has no such {where}", advice=catalogue.why_none(need))
    found = [values(offer) for offer in board.offers]
    if options.json:
        print_json({"prices_dated": board.dated, "note": board.note or None, "offers": found})
        return 0
    _print(found)
    if board.note:
        tell(f"prices are of {board.dated}: {board.note}")
    else:
        print(f"\nPrices are of {board.dated}, without disk and traffic.")
    return 0


def values(offer: "Offer") -> dict[str, Any]:
    """One offer as JSON: see docs/json.md."""
    return {
        "machine_type": offer.name,
        "usd_per_hour": offer.usd_per_hour,
        "spot": offer.spot,
        "region": offer.region,
        "zone": offer.place,
        "cores": offer.cores,
        "memory_gib": offer.memory_bytes / GIB,
        "gpus": offer.gpus,
        "gpu": offer.gpu or None,
        "gpu_memory_gib": offer.gpu_memory_bytes / GIB if offer.gpu_memory_bytes else None,
        "local_disk_gb": offer.local_disk_bytes / 1e9 if offer.local_disk_bytes else None,
        "disk_usd_per_gb_month": offer.disk_usd_gb_month,
        "price_dated": offer.price_dated or None,
    }


def _print(values: Sequence[dict[str, Any]]) -> None:
    """A table in which zones with the same price share a row."""
    from cryoburst.cli.show_values import columns, fitted, table

    groups = [
        (first, [first["zone"], *(each["zone"] for each in rest)])
        for (first, *rest) in (
            list(group)
            for _, group in groupby(values, key=lambda v: (v["machine_type"], v["region"], v["usd_per_hour"]))
        )
    ]
    rows = [
        (
            value["machine_type"],
            "unknown" if value["usd_per_hour"] is None else f"{value['usd_per_hour']:.4f}",
            value["cores"],
            f"{value['memory_gib']:g} GiB",
            f"{value['gpus']} x {value['gpu']}, {value['gpu_memory_gib']:.0f} GiB" if value["gpus"] else "-",
            f"{value['local_disk_gb']:.0f} GB" if value["local_disk_gb"] else "-",
            f"{value['region']}: {_zones(zones)}",
        )
        for value, zones in groups
    ]
    head = ("TYPE", "USD/H", "CORES", "MEMORY", "GPUS", "OWN DISK", "WHERE")
    spare = ("GPUS", "OWN DISK") if not any(value["gpus"] for value, _ in groups[:SHOWN]) else ("OWN DISK",)
    head, shown = fitted(head, rows[:SHOWN], spare, columns(), least=max(len(row[-1]) for row in rows[:SHOWN]))
    print(table(head, shown, right=("USD/H", "CORES", "MEMORY")))
    if len(rows) > SHOWN:
        print(f"… and {len(rows) - SHOWN} more (all with --json)")


def _zones(ids: Sequence[str]) -> str:
    """The zones of one region without its name: ``az1-3``, ``az1, az4``."""
    numbers = sorted(int(each) for zone in ids if (each := zone.rpartition("-az")[2]).isdigit())
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"az{numbers[0]}-{numbers[-1]}"
    return ", ".join(zone.rpartition("-")[2] for zone in ids)
