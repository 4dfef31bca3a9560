"""``cryoburst aws setup`` and ``teardown``: the least that is needed, made once, shown first, and taken away again.

What is about to be made is written down before it is made. Only what is written down there is ever removed, and a
bucket with data in it only when that is said. What has one of our names and not our tag is somebody else's, and stays.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from cryoburst.model.errors import BadCredentials, BadInput, CryoburstError
from cryoburst.model.plugins import MachineSeen
from cryoburst.providers.aws import catalogue, images, notes, tags
from cryoburst.providers.aws.calls import Answer, Calls
from cryoburst.providers.aws.notes import DEBIAN, Notes, Region
from cryoburst.providers.aws.provider import costs
from cryoburst.providers.aws.things import Bucket, Role, Thing, Wall

PREFIX = "cryoburst/"  # of the store in the bucket
YEAR = 365  # days after which what is in the bucket goes, unless the user says otherwise
GROUP = "cryoburst"
ALWAYS = "us-east-1"  # a region that every account has
_BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9-]{1,61})[a-z0-9]")  # without dots, which certificates do not like


@dataclass(frozen=True)
class Wish:
    """What the user asked for; empty means as it is, or our choice."""

    owner: str
    region: str = ""
    bucket: str = ""
    image: str = ""
    profile: str = ""
    expire: int | None = None  # days


@dataclass(frozen=True)
class Part:
    """One thing of a plan, and whether it is there already."""

    thing: Thing
    there: bool
    ours: bool  # this user had it made, or is about to


@dataclass(frozen=True)
class Plan:
    """What a setup would do."""

    notes: Notes
    parts: list[Part]
    image: str  # sentence

    @property
    def missing(self) -> list[Part]:
        """What would be made."""
        return [part for part in self.parts if not part.there]


def plan(folder: Path, wish: Wish, calls: Callable[[str], Calls] = Calls) -> Plan:
    """Look at what there is; makes nothing. Raises BadInput for a wish that can't be, or that what is there forbids,
    and what ``Calls.ask`` raises."""
    before = notes.read(folder) or Notes()
    profile = wish.profile or before.profile
    to = calls(profile)
    region = wish.region or next(iter(before.regions), "") or to.default_region()
    _check_region(to, region)
    caller = _caller(to, region)
    account, partition = str(caller["Account"]), str(caller["Arn"]).split(":")[1]
    if before.account not in ("", account):
        said = f"the credential is of account {account}, and aws setup was made in {before.account}"
        raise BadInput(said, advice="set AWS_PROFILE, or run cryoburst aws teardown with the other one first")
    bucket = wish.bucket or before.bucket or f"cryoburst-{account}-{region}"
    _check_bucket(bucket, before)
    image = wish.image or before.image or DEBIAN
    found = images.find(to, region, image)
    home = before.bucket_region or region
    role = before.role or (bucket if bucket.startswith("cryoburst") else f"cryoburst-{bucket}")[:64]
    expire = wish.expire
    if expire is None:
        expire = before.expire if before.account else YEAR
    networks = dict(_networks(to, before, region))
    things: list[Thing] = [
        Bucket(to, bucket, home, account, PREFIX, wish.owner, expire),
        Role(to, role, bucket, PREFIX, partition, wish.owner),
        *(Wall(to, each, GROUP, vpc, wish.owner) for each, vpc in networks.items()),
    ]
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    after = Notes(
        account=account,
        profile=profile,
        bucket=bucket,
        bucket_region=home,
        endpoint=endpoint,
        prefix=PREFIX,
        expire=expire,
        role=role,
        image=image,
        regions={each: before.regions.get(each, Region(vpc)) for each, vpc in networks.items()},
        made=before.made,
    )
    return Plan(after, [_part(thing, before, wish.owner) for thing in things], f"{image}: {found.id} in {region}")


def _part(thing: Thing, before: Notes, owner: str) -> Part:
    whose = thing.whose()
    if whose == "" and thing.key not in before.made:
        other = isinstance(thing, Wall)  # whose name nobody chooses
        advice = "rename or remove it" if other else "choose another name: cryoburst aws setup --bucket NAME"
        raise BadInput(f"a {thing.kind} of this name is there, and not made by us", where=thing.name, advice=advice)
    mine = whose in (None, tags.value(owner)) or thing.key in before.made
    return Part(thing, there=whose is not None, ours=mine)


def make(folder: Path, planned: Plan) -> Iterator[str]:
    """Bring everything to its wanted state; a sentence for each thing. What fails leaves the rest for the next time."""
    made = list(dict.fromkeys([*planned.notes.made, *(part.thing.key for part in planned.parts if part.ours)]))
    now = replace(planned.notes, made=made)
    notes.write(folder, now)
    for part in planned.parts:
        name = part.thing.make()
        if isinstance(part.thing, Wall):  # the last thing that a region needs before anything is rented there
            region = Region(part.thing.vpc, name)
            now = replace(now, regions=now.regions | {part.thing.region: region})
            notes.write(folder, now)
        yield f"{part.thing.key}: {'as it should be' if part.there else 'made'}"


@dataclass(frozen=True)
class Removal:
    """What a teardown would do."""

    things: list[Thing]  # in the order in which they go
    machines: list[MachineSeen]  # that are still there, and keep it from being done
    data: bool  # whether the bucket has anything in it


def removal(folder: Path, machines: list[MachineSeen], calls: Callable[[str], Calls] = Calls) -> Removal:
    """What of ours there is. Raises BadInput when nothing was set up."""
    before = notes.read(folder)
    if before is None:
        raise BadInput("AWS is not set up", advice="there is nothing to remove")
    to = calls(before.profile)
    caller = to.ask("sts", before.bucket_region or next(iter(before.regions), ""), "get_caller_identity")
    if str(caller["Account"]) != before.account:
        raise BadInput(f"the credential is not of account {before.account}", advice="set AWS_PROFILE")
    partition = str(caller["Arn"]).split(":")[1]
    bucket = Bucket(to, before.bucket, before.bucket_region, before.account, before.prefix, "", before.expire)
    every: list[Thing] = [
        *(Wall(to, region, GROUP, there.vpc, "") for region, there in before.regions.items()),
        Role(to, before.role, before.bucket, before.prefix, partition, ""),
        bucket,
    ]
    ours = [thing for thing in every if thing.key in before.made and thing.whose() is not None]
    return Removal(ours, [seen for seen in machines if costs(seen)], bucket in ours and bucket.holds())


def check_removal(removed: Removal, *, with_data: bool) -> None:
    """Raises BadInput when machines are left, or the bucket has data that nobody gave up."""
    if removed.machines:
        raise BadInput(
            f"{len(removed.machines)} of our machines are still there",
            where=removed.machines[0].id,
            advice="end them first: cryoburst machines --reap",
        )
    if removed.data and not with_data:
        raise BadInput("the bucket has data in it", advice="bring it home first, or say --with-data")


def remove(folder: Path, removed: Removal, *, with_data: bool) -> Iterator[str]:
    """Take it all away; a sentence for each thing. Before anything goes, raises as ``check_removal``."""
    check_removal(removed, with_data=with_data)
    for thing in removed.things:
        count = thing.empty() if isinstance(thing, Bucket) and with_data else 0
        thing.remove()
        yield f"{thing.key}: removed{f', with {count} objects' if count else ''}"
    notes.forget(folder)


def _check_region(calls: Calls, region: str) -> None:
    if not region:
        raise BadInput("no region is named", advice="say it: cryoburst aws setup --region eu-central-1")
    known = calls.regions()
    if region not in known:
        near = ", ".join(get_close_matches(region, known, 3)) or "eu-central-1, us-east-1"
        raise BadInput("AWS has no such region", where=region, advice=f"did you mean one of {near}")

    catalogue.check_regions([region])


def _caller(calls: Calls, region: str) -> Answer:
    """Who the credential is of. In a region that the account has not enabled AWS says that it does not know it."""
    try:
        return calls.ask("sts", region, "get_caller_identity")
    except BadCredentials as error:
        if region == ALWAYS or not _known(calls):
            raise
        advice = "enable it in the AWS console (Account, AWS Regions), or name another"
        raise BadInput("the account has not enabled this region", where=region, advice=advice) from error


def _known(calls: Calls) -> bool:
    try:
        calls.ask("sts", ALWAYS, "get_caller_identity")
    except CryoburstError:
        return False
    return True


def _check_bucket(bucket: str, before: Notes) -> None:
    if before.bucket not in ("", bucket):
        advice = "cryoburst aws teardown removes that one"
        raise BadInput(f"the bucket {before.bucket} is set up already", where=bucket, advice=advice)
    if not _BUCKET.fullmatch(bucket):
        advice = "3 to 63 small letters, digits and dashes"
        raise BadInput("this can't be the name of a bucket", where=bucket, advice=advice)


def _networks(calls: Calls, before: Notes, region: str) -> Iterator[tuple[str, str]]:
    """(region, its default network) of all regions in use and the one that is wished for. Raises BadInput."""
    for each in dict.fromkeys([*before.regions, region]):
        filters = [{"Name": "is-default", "Values": ["true"]}]
        found = next(calls.pages("ec2", each, "describe_vpcs", "Vpcs", Filters=filters), None)
        if found is None:
            advice = f"make it: aws ec2 create-default-vpc --region {each}"
            raise BadInput("the account has no default network (VPC) there", where=each, advice=advice)
        yield each, str(found["VpcId"])
