"""What AWS asks for its machines now: its Price List for on-demand, and the spot price in every zone of the account.

Only when there are credentials; and only for the cheapest types that would do, because the Price List is asked type by
type. Everything has to be there within seconds: what is not, or is refused, keeps the snapshot's price with its date.
Nothing here raises for want of an answer, rents or changes anything.
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, cast

from cryoburst.model.plugins import Need, Offer
from cryoburst.providers.aws import catalogue
from cryoburst.providers.aws.catalogue import RECIPE, Quote

SHORTLIST = 16  # types a region that are asked for, the cheapest by the snapshot
SECONDS = 6.0  # for all answers together
KEPT = 600.0  # s that an answer is used again: a watcher places many runs
AT_ONCE = 8
CONNECT, READ = 2.0, 4.0  # s
PRICE_LIST = ("us-east-1", "eu-central-1")  # where AWS answers for all regions
LINUX = {"operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA", "capacitystatus": "Used"}
_SIGNS = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI")

Answer = Mapping[str, object]


class Client(Protocol):
    """The calls that are made through botocore's clients for EC2 and the Price List."""

    def get_products(self, **arguments: object) -> Answer: ...
    def describe_spot_price_history(self, **arguments: object) -> Answer: ...
    def describe_availability_zones(self, **arguments: object) -> Answer: ...


class Session(Protocol):
    """What is used of ``botocore.session.Session``."""

    def get_credentials(self) -> object | None: ...
    def create_client(self, service: str, **arguments: object) -> Client: ...


@dataclass(frozen=True)
class Board:
    """Offers, the date of the oldest price among them, and a clause when AWS could not be asked."""

    offers: list[Offer]
    dated: str
    note: str = ""


@dataclass(frozen=True)
class Live:
    """What AWS answered: prices by type, region, zone (empty for on-demand) and market; and what it refused."""

    prices: Mapping[tuple[str, str, str, bool], float]
    trouble: str = ""


_kept: dict[object, tuple[float, Live]] = {}


def board(
    need: Need,
    regions: Sequence[str],
    *,
    spot: bool | None = None,
    software: Mapping[str, str] = RECIPE,
    profile: str = "",
    clock: Callable[[], float] = time.time,
) -> Board:
    """``catalogue.offers`` with AWS's prices of now where they can be had within seconds, the snapshot's elsewhere.
    ``profile`` of ~/.aws/config is asked with; empty: AWS's own choice."""
    offers = catalogue.offers(need, regions, spot=spot, software=software)
    if not offers:
        return Board([], catalogue.dated())
    if not profile and not may_ask():
        return Board(offers, catalogue.dated(), "no AWS credentials were found")
    wanted = _shortlist(offers)
    key = (profile, *((region, *names) for region, names in sorted(wanted.items())))
    kept = _kept.get(key)
    if kept is None or not 0 <= clock() - kept[0] < KEPT:
        kept = _kept[key] = (clock(), ask(wanted, profile))
    answer = kept[1]
    overlaid = overlay(catalogue.snapshot(), answer)
    offers = catalogue.offers(need, regions, spot=spot, quotes=overlaid, software=software)
    today = datetime.fromtimestamp(clock(), UTC).strftime("%Y-%m-%d")
    return Board(offers, min(offer.price_dated or today for offer in offers), answer.trouble)


def overlay(quotes: Iterable[Quote], live: Live) -> list[Quote]:
    """The quotes with AWS's own prices where it gave one. A zone that only AWS knows has a quote of its own."""
    found: dict[tuple[str, str, str, bool], Quote] = {(q.type, q.region, q.zone, q.spot): q for q in quotes}
    for key, quote in list(found.items()):
        price = live.prices.get((quote.type, quote.region, "" if not quote.spot else quote.zone, quote.spot))
        if price is not None:
            found[key] = quote._replace(usd_per_hour=price, dated="")
    for (name, region, zone, spot), price in live.prices.items():
        if spot and (name, region, zone, spot) not in found:
            found[name, region, zone, spot] = Quote(name, region, zone, True, price, "")
    return list(found.values())


def _shortlist(offers: Sequence[Offer]) -> dict[str, list[str]]:
    """By region, the types to ask for."""
    found: dict[str, list[str]] = {}
    for offer in offers:
        names = found.setdefault(offer.region, [])
        if offer.name not in names and len(names) < SHORTLIST:
            names.append(offer.name)
    return found


def may_ask(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether there is any sign of credentials. botocore's own chain, asked blindly, takes seconds to find that there
    are none: it waits for a metadata service that only a machine of AWS has."""
    if any(environment.get(name) for name in _SIGNS):
        return True
    home = Path(environment.get("HOME", "~")).expanduser() / ".aws"
    files = [
        Path(environment.get("AWS_SHARED_CREDENTIALS_FILE") or home / "credentials"),
        Path(environment.get("AWS_CONFIG_FILE") or home / "config"),
        *home.glob("sso/cache/*.json"),
    ]
    if any(file.is_file() for file in files):
        return True
    try:
        return Path("/sys/devices/virtual/dmi/id/sys_vendor").read_text().startswith("Amazon")
    except OSError:
        return False


def ask(wanted: Mapping[str, Sequence[str]], profile: str = "", seconds: float = SECONDS) -> Live:
    """AWS's prices of these types by region, asked with a profile or by AWS's own choice. What it refuses, or does not
    answer within the seconds, is missing, and ``trouble`` says why in a clause."""
    import logging

    import botocore.config  # pyright: ignore[reportMissingTypeStubs]
    import botocore.session  # pyright: ignore[reportMissingTypeStubs]
    from botocore.exceptions import BotoCoreError, ClientError  # pyright: ignore[reportMissingTypeStubs]

    logging.getLogger("botocore").setLevel(logging.ERROR)
    config = botocore.config.Config(
        connect_timeout=CONNECT, read_timeout=READ, retries={"max_attempts": 1}, max_pool_connections=AT_ONCE
    )
    end = time.monotonic() + seconds
    try:
        session = cast(Session, botocore.session.Session(profile=profile or None))
        if session.get_credentials() is None:
            return Live({}, "no AWS credentials were found")
        at = PRICE_LIST[all(region.startswith("eu-") for region in wanted)]
        lists = session.create_client("pricing", region_name=at, config=config)
        machines = {region: session.create_client("ec2", region_name=region, config=config) for region in wanted}
    except (BotoCoreError, ClientError) as error:
        return Live({}, f"AWS can't be asked: {error}")

    pool = ThreadPoolExecutor(AT_ONCE)
    asked: list[Future[dict[tuple[str, str, str, bool], float]]] = []
    for region, names in wanted.items():
        asked.append(pool.submit(_spot, machines[region], region, list(names)))
        asked += [pool.submit(_on_demand, lists, region, name) for name in names]
    done, late = wait(asked, timeout=max(0.0, end - time.monotonic()))
    pool.shutdown(wait=False, cancel_futures=True)
    prices: dict[tuple[str, str, str, bool], float] = {}
    troubles = [f"AWS did not answer within {seconds:.0f} s"] if late else []
    for each in done:
        try:
            prices |= each.result()
        except ClientError as error:
            told = cast(Mapping[str, Mapping[str, object]], error.response).get("Error", {})
            troubles.append(f"AWS refused {error.operation_name} ({told.get('Code', 'no reason')})")
        except BotoCoreError as error:
            troubles.append(f"AWS can't be asked: {type(error).__name__}")
        except (ValueError, TypeError, AttributeError, KeyError):
            troubles.append("an answer of AWS was not understood")
    return Live(prices, troubles[0] if troubles else "")


def _on_demand(client: Client, region: str, name: str) -> dict[tuple[str, str, str, bool], float]:
    """The price of one type in a region (Price List Query API, GetProducts)."""
    filters = LINUX | {"regionCode": region, "instanceType": name}
    answer = client.get_products(
        ServiceCode="AmazonEC2",
        Filters=[{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in filters.items()],
        MaxResults=100,
    )
    found: list[float] = []
    for text in cast(list[str], answer["PriceList"]):
        product = json.loads(text)
        told = product["product"]["attributes"]
        if (told["instanceType"], told["regionCode"]) != (name, region):
            continue
        for term in product["terms"].get("OnDemand", {}).values():
            dimensions = term["priceDimensions"].values()
            found += [float(d["pricePerUnit"]["USD"]) for d in dimensions if d["unit"] in ("Hrs", "Hours")]
    paid = [price for price in found if price > 0]  # a capacity that is paid for elsewhere is listed with 0
    return {(name, region, "", False): min(paid)} if paid else {}


def _spot(client: Client, region: str, names: list[str]) -> dict[tuple[str, str, str, bool], float]:
    """The spot prices of now, by zone id (DescribeSpotPriceHistory from now on gives the price in force)."""
    zones = cast(list[Mapping[str, str]], client.describe_availability_zones()["AvailabilityZones"])
    ids = {zone["ZoneName"]: zone["ZoneId"] for zone in zones}
    newest: dict[tuple[str, str, str, bool], tuple[datetime, float]] = {}
    token: object = ""
    while True:
        answer = client.describe_spot_price_history(
            InstanceTypes=names,
            ProductDescriptions=["Linux/UNIX", "Linux/UNIX (Amazon VPC)"],
            StartTime=datetime.now(UTC),
            **({"NextToken": token} if token else {}),
        )
        for row in cast(list[Mapping[str, object]], answer["SpotPriceHistory"]):
            zone = ids.get(str(row["AvailabilityZone"]))
            key = (str(row["InstanceType"]), region, zone or "", True)
            when, price = cast(datetime, row["Timestamp"]), float(str(row["SpotPrice"]))
            if zone and price > 0 and (key not in newest or when > newest[key][0]):
                newest[key] = (when, price)
        token = answer.get("NextToken")
        if not token:
            return {key: price for key, (_, price) in newest.items()}
