"""AWS's machine types as priced offers, from a dated snapshot that the package carries. Never asks AWS anything.

``snapshot/`` is made by ``script/make-prices``: the types with their sizes, and what each cost in each region and, as
spot, in each zone. ``prices.py`` lays what AWS says now over these quotes. A price that is not known stays unknown.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from cryoburst.model.errors import BadInput
from cryoburst.model.plugins import Need, Offer
from cryoburst.providers.aws import quotas

PROVIDER = "aws"
SNAPSHOT = files("cryoburst.providers.aws") / "snapshot"
GIB, MIB = 2**30, 2**20
LARGEST_DISK = 16 * 2**40  # bytes of a gp3 volume (docs.aws.amazon.com, EBS volume types)
SYSTEM, UNKNOWN = 20, 100  # GiB for the system and what is installed; for a job of which nobody knows what it needs
SYSTEM_MEMORY = GIB  # of Debian, cloud-init and the agent, with an install going on
RECIPE: Mapping[str, str] = {"relion": "3.1.3"}  # what the package's recipe installs on Debian 12

# gp3 a GB and month, without extra IOPS or throughput: https://aws.amazon.com/ebs/pricing/. Entered by hand as they
# were in 2025: the snapshot has none.
_DISK = {"us-east-1": 0.08, "us-west-2": 0.08, "eu-west-1": 0.088, "eu-central-1": 0.0952, "ap-southeast-2": 0.096}


@dataclass(frozen=True)
class Type:
    """One machine type. 0 and the empty word are "none" or "not told"."""

    name: str
    cores: int  # AWS's vCPUs
    memory_bytes: int
    gpus: int = 0
    gpu: str = ""
    gpu_memory_bytes: int = 0  # of each
    local_disk_bytes: int = 0  # of all its own disks


class Quote(NamedTuple):
    """What one type costs in one place. A zone is AWS's zone id, the same place in every account; None is unknown."""

    type: str
    region: str
    zone: str
    spot: bool
    usd_per_hour: float | None
    dated: str  # ISO 8601; empty: AWS said so just now


def offers(
    need: Need,
    regions: Sequence[str],
    *,
    spot: bool | None = None,
    quotes: Sequence[Quote] | None = None,
    software: Mapping[str, str] = RECIPE,
) -> list[Offer]:
    """The types that satisfy the need in these regions (none named: all), cheapest first; those without a price last.

    Each zone is an offer of its own, on-demand as well: one may have machines where the next has none. ``spot`` True or
    False leaves one market. ``quotes`` stand in the place of the snapshot's (``prices.live``); ``software`` is what the
    machines will have. Empty when nothing fits; a region that the quotes do not have has no offers.
    """
    wanted = frozenset(regions)
    fitting = {name: one for name, one in types().items() if _fits(one, need)} if _runs(software, need) else {}
    found = [
        _offer(fitting[quote.type], quote, software, need.disk_bytes)
        for quote in (snapshot() if quotes is None else quotes)
        if quote.type in fitting and (not wanted or quote.region in wanted) and spot in (None, quote.spot)
    ]
    return sorted(found, key=_order)


def _order(offer: Offer) -> tuple[bool, float, int, int, str, str]:
    price = offer.usd_per_hour
    return price is None, price or 0.0, offer.gpus, offer.cores, offer.name, offer.place


def with_system(need: Need) -> Need:
    """What a machine must have for a job that needs this: the system and the agent are in its memory as well."""
    resources = need.resources
    return replace(need, resources=replace(resources, memory_bytes=resources.memory_bytes + SYSTEM_MEMORY))


def check_regions(regions: Sequence[str]) -> None:
    """Raise BadInput for a region that the snapshot does not know."""
    known = sorted({quote.region for quote in snapshot()})
    for region in regions:
        if region not in known:
            raise BadInput(f"no prices of a region {region} are known", advice=f"choose one of {', '.join(known)}")


def why_none(need: Need, software: Mapping[str, str] = RECIPE) -> str:
    """What the largest machine has of the first thing that none has enough of, as a sentence."""
    known, wanted = list(types().values()), need.resources
    for name, series in need.software.items():
        if not _runs(software, Need(wanted, {name: series})):
            has = f"{name} {software[name]}" if name in software else f"no {name}"
            return f"it needs {name} {series}, and the machines have {has}"
    asked = (
        (wanted.gpus, max(one.gpus for one in known), "{} GPUs"),
        (wanted.cores, max(one.cores for one in known), "{} cores"),
        (wanted.memory_bytes / GIB, max(one.memory_bytes for one in known) / GIB, "{:g} GiB of memory"),
        (wanted.gpu_memory_bytes / GIB, max(one.gpu_memory_bytes for one in known) / GIB, "{:g} GiB on each GPU"),
        (need.disk_bytes / 1e9, max(_disk_bytes(one) for one in known) / 1e9, "{:.0f} GB of disk"),
    )
    for amount, most, words in asked:
        if amount > most:
            return f"the largest machine has {words.format(most)}, and {words.format(amount)} are asked for"
    return "no machine has all of that together; ask for less of something"


def dated() -> str:
    """The day of the snapshot's prices (ISO 8601, as precise as it is known)."""
    return (SNAPSHOT / "date.txt").read_text().strip()


@cache
def types() -> Mapping[str, Type]:
    """Every machine type of the snapshot, by its name."""
    return {row["type"]: _type(row) for row in _rows("types.csv")}


@cache
def snapshot() -> tuple[Quote, ...]:
    """Every quote of the snapshot."""
    found: list[Quote] = []
    day = dated()
    for row in _rows("prices.csv"):
        on_demand = _price(row["on_demand"])
        for pair in row["spot"].split():
            zone, _, price = pair.partition("=")
            found.append(Quote(row["type"], row["region"], zone, False, on_demand, day))
            if price:  # a zone without a spot price has no spot machines of this type
                found.append(Quote(row["type"], row["region"], zone, True, _price(price), day))
    return tuple(found)


def _rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((SNAPSHOT / name).read_text().splitlines()))


def _price(text: str) -> float | None:
    return float(text) if text else None


def _type(row: dict[str, str]) -> Type:
    def number(key: str) -> float:
        return float(row[key] or 0)

    return Type(
        name=row["type"],
        cores=int(row["cores"]),
        memory_bytes=round(number("memory_gib") * GIB),
        gpus=int(number("gpus")),
        gpu=row["gpu"],
        gpu_memory_bytes=round(number("gpu_memory_mib")) * MIB,
        local_disk_bytes=round(number("disks") * number("disk_gb")) * 10**9,
    )


def _fits(one: Type, need: Need) -> bool:
    wanted = need.resources
    return (
        one.cores >= wanted.cores
        and one.memory_bytes >= wanted.memory_bytes
        and one.gpus >= wanted.gpus
        and (one.gpu_memory_bytes >= wanted.gpu_memory_bytes)
        and _disk_bytes(one) >= need.disk_bytes
    )


def _disk_bytes(one: Type) -> int:
    """What a machine of this type can have: a rented disk, or its own where these are larger."""
    return max(LARGEST_DISK, one.local_disk_bytes)


def _runs(software: Mapping[str, str], need: Need) -> bool:
    """Whether machines with this software have what the job needs: a series, or any version."""
    return all(
        name in software and (not series or f"{software[name]}.".startswith(f"{series}."))
        for name, series in need.software.items()
    )


def scratch(needed: int, own: int) -> tuple[bool, int]:
    """Whether a machine's own disks (bytes) are large enough to be its scratch space, and the GiB of the disk that is
    rented with it for a job that needs so many bytes."""
    needed = needed * 11 // 10  # with something to spare
    gibibytes = math.ceil(needed / GIB) if needed else UNKNOWN
    local = own > 0 and own >= needed
    return local, SYSTEM if local else min(SYSTEM + gibibytes, LARGEST_DISK // GIB)


def _offer(one: Type, quote: Quote, software: Mapping[str, str], needed: int) -> Offer:
    return Offer(
        provider=PROVIDER,
        name=one.name,
        cores=one.cores,
        memory_bytes=one.memory_bytes,
        gpus=one.gpus,
        usd_per_hour=quote.usd_per_hour,
        place=quote.zone,
        disk_bytes=_disk_bytes(one),
        gpu_memory_bytes=one.gpu_memory_bytes,
        software=dict(software),
        region=quote.region,
        spot=quote.spot,
        gpu=one.gpu,
        local_disk_bytes=one.local_disk_bytes,
        price_dated=quote.dated,
        rented_disk_bytes=scratch(needed, one.local_disk_bytes)[1] * GIB,
        disk_usd_gb_month=_DISK.get(quote.region),
        quota=quotas.code(one.name, spot=quote.spot),
    )
