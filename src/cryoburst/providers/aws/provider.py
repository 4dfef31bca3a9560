"""Amazon EC2's verbs. The order and its user data are written elsewhere; here is what is asked, and what answers mean.

Never two machines for one token: what carries the token is looked for first, and EC2 itself takes the same order once.
A listing is whole or fails: a region that can't be read makes all of it unknown.
"""

import platform
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from cryoburst.model.errors import BadInput, CryoburstError, NotSetUp, ProviderUnavailable
from cryoburst.model.plugins import Clock, Finding, MachineRequest, MachineSeen, Need, Offer
from cryoburst.providers.aws import boot, images, notes, order, tags
from cryoburst.providers.aws.calls import Answer, Calls, Missing, Taken
from cryoburst.providers.aws.notes import DEBIAN, Notes

T = TypeVar("T")
KEPT = 3.0  # s for which a listing is good: ticks come twice a second, and EC2 itself is no more exact
CONSOLE = 16_000  # characters of what a machine printed
LEAST = 60.0  # s that a machine may live
LEFT = 600.0  # s after which a disk without a machine is a left one
DEAD = ("stopping", "stopped", "shutting-down", "terminated")
SPOT = ("Server.SpotInstanceTermination", "Server.SpotInstanceShutdown")
SETUP = "run cryoburst aws setup first"
_ID = re.compile(r"([a-z]{2}(?:-[a-z]+)+-\d):(i-[0-9a-f]{8,17}|vol-[0-9a-f]{8,17})")
_ZONE_ID = re.compile(r"[a-z]+\d-az\d+")


class AwsProvider:
    """Machines at Amazon EC2, in the regions that ``cryoburst aws setup`` prepared.

    A machine's id is its region, a colon and EC2's own id. A disk that its machine left is listed like a dead machine.
    """

    name = "aws"
    here = False

    def __init__(self, folder: Path, calls: Calls | None = None, clock: Clock = time.time) -> None:
        """``folder`` is that of the machines of this computer; our own notes are beside it."""
        self._folder = Path(folder).parent / "aws"
        self._given, self._clock = calls, clock
        self._calls: dict[str, Calls] = {}
        self._images: dict[tuple[str, str], images.Image] = {}
        self._subnets: dict[tuple[str, str], str] = {}
        self._calling = threading.Lock()
        self._lock = threading.Lock()  # of what follows
        self._listing: tuple[float, str, list[MachineSeen]] | None = None  # when, whose, what
        self._ended: set[str] = set()  # machines whose end was seen, and which EC2 lists for an hour more

    def check(self) -> list[Finding]:
        """See ``Provider.check``."""
        setup = notes.read(self._folder)
        if setup is None:
            return [Finding("info", self.name, "not set up: cryoburst aws setup makes what is needed")]
        calls = self._to(setup)
        try:
            caller = calls.ask("sts", setup.bucket_region, "get_caller_identity")
            account = str(caller["Account"])
            if account != setup.account:
                said = f"the credential is of account {account}, and aws setup was made in {setup.account}"
                return [Finding("error", self.name, f"{said}: set AWS_PROFILE, or run cryoburst aws setup again")]
            findings = [Finding("ok", self.name, f"account {account}, as {caller['Arn']}")]
            for region in setup.regions:
                image = images.find(calls, region, setup.image)
                findings.append(Finding("ok", self.name, f"{region}: machines start from {image.id} ({setup.image})"))
        except ProviderUnavailable as error:
            return [Finding("warning", self.name, str(error))]
        except CryoburstError as error:
            return [Finding("error", self.name, str(error))]
        return findings

    def offers(self, need: Need) -> list[Offer]:
        """See ``Provider.offers``: those in the regions in use, with AWS's prices of now where it tells them within
        seconds. Before a setup those of all regions, by the snapshot, so that a plan can be made; a machine can't."""
        from cryoburst.providers.aws import catalogue, prices  # long lists

        setup, need = notes.read(self._folder), catalogue.with_system(need)
        if setup is None:
            return catalogue.offers(need, ())
        # What is on an image of the user's own is not known here; the agent refuses a job that finds less.
        software = catalogue.RECIPE if setup.image == DEBIAN else need.software
        return prices.board(need, tuple(setup.regions), software=software, profile=setup.profile).offers

    def create(self, request: MachineRequest) -> MachineSeen:
        """See ``Provider.create``. Raises BadInput, too, for what must be mended before any machine can be had."""
        setup = self._setup()
        offer = request.offer
        there = setup.regions.get(offer.region)
        if there is None or not there.security_group:
            advice = f"cryoburst aws setup --region {offer.region}"
            raise BadInput("nothing is set up in this region", where=offer.region, advice=advice)
        if platform.machine() not in ("x86_64", "AMD64"):
            raise BadInput(
                f"the agent that this computer sends runs on {platform.machine()} only",
                advice="submit from an x86_64 one",
            )
        made = self._with_token(setup, request.token)
        if made is not None:
            return made
        arguments = self._order(setup, request, there.security_group)
        try:
            answer = self._to(setup).ask("ec2", offer.region, "run_instances", **arguments)
        except Taken:  # this order, with another end or another credential in it
            made = self._with_token(setup, request.token)
            if made is None:
                raise ProviderUnavailable("the machine was made, and is not listed yet", where=offer.where) from None
            return made
        finally:
            self._forget_listing()
        return _seen(offer.region, answer["Instances"][0], request.owner)

    def machines(self, owner: str) -> list[MachineSeen]:
        """See ``Provider.machines``: of all regions in use, or none. Asks AWS once in a few seconds at most."""
        try:
            setup = notes.read(self._folder)
            if setup is None:  # never, or its notes are lost: then there may be machines
                raise NotSetUp("AWS is not set up here", advice="run cryoburst aws setup: it finds what it made before")
            return self._kept(setup, owner)
        except BadInput as error:  # a listing that can't be made is unknown, whatever the cause
            raise ProviderUnavailable(error.what, where=error.where, advice=error.advice) from None

    def delete(self, machine_id: str) -> None:
        """See ``Provider.delete``. Raises BadInput for what does not carry our tags."""
        setup = self._setup()
        region, name = _parts(machine_id)
        calls = self._to(setup)
        try:
            if name.startswith("vol-"):
                (found,) = calls.ask("ec2", region, "describe_volumes", VolumeIds=[name])["Volumes"]
                _check_ours(found, machine_id)
                calls.ask("ec2", region, "delete_volume", VolumeId=name)
            else:
                found = _instances(calls.ask("ec2", region, "describe_instances", InstanceIds=[name]))[0]
                if _state(found) == "terminated":
                    self._ended.add(machine_id)
                    return
                _check_ours(found, machine_id)
                calls.ask("ec2", region, "terminate_instances", InstanceIds=[name])
        except (Missing, IndexError):
            return  # gone; or so new that EC2 does not know it yet: then it will be listed, and this asked again
        finally:
            self._forget_listing()

    def reaches(self, store_url: str) -> bool:
        """See ``Provider.reaches``: the first program of a machine speaks S3 only."""
        return store_url.startswith("s3://")

    def lends(self, store_url: str) -> bool:
        """See ``Provider.lends``: the bucket of ``cryoburst aws setup``."""
        setup = notes.read(self._folder)
        return setup is not None and setup.lends(store_url)

    def refuses(self, offers: Sequence[Offer]) -> str:
        """See ``Provider.refuses``: quotas of 0, which a new account has for GPU machines."""
        from cryoburst.providers.aws import quotas

        setup = notes.read(self._folder)
        return "" if setup is None else quotas.refusal(self._to(setup), offers)

    def console(self, machine_id: str) -> str:
        """See ``Provider.console``. EC2 itself is some minutes behind."""
        try:
            region, name = _parts(machine_id)
            answer = self._to(self._setup()).ask("ec2", region, "get_console_output", InstanceId=name)
            return str(answer.get("Output") or "")[-CONSOLE:]
        except CryoburstError:
            return ""

    # ------------------------------------------------------------------------------------------------- asking

    def _setup(self) -> Notes:
        setup = notes.read(self._folder)
        if setup is None or not setup.regions:
            raise BadInput("AWS is not set up", advice=SETUP)
        return setup

    def _to(self, setup: Notes) -> Calls:
        if self._given is not None:
            return self._given
        with self._calling:
            return self._calls.setdefault(setup.profile, Calls(setup.profile))

    def _order(self, setup: Notes, request: MachineRequest, security_group: str) -> Mapping[str, Any]:
        """The whole order. Only what it asks of AWS on the way can fail."""
        offer, seconds = request.offer, request.power_off_at - self._clock()
        calls, lent = self._to(setup), setup.lends(request.boot.store_url)
        local, _ = order.scratch(request)
        text = boot.user_data(
            request.boot,
            request.token,
            max(seconds, LEAST),
            region=setup.bucket_region,
            software=boot.recipes(offer.software, setup.image, offer.gpus),
            local=local,
            disk=request.disk_bytes,
            spot=offer.spot,
        )
        key = (offer.region, setup.image)
        if key not in self._images:
            self._images[key] = images.find(calls, *key)
        return order.arguments(
            request,
            self._images[key],
            subnet=self._subnet(calls, offer),
            security_group=security_group,
            profile=setup.role if lent else "",
            user_data=text,
        )

    def _subnet(self, calls: Calls, offer: Offer) -> str:
        """The default network's part in the offer's zone; empty when the offer names none. Raises BadInput."""
        key = (offer.region, offer.place)
        if not offer.place or key in self._subnets:
            return self._subnets.get(key, "")
        name = "availability-zone-id" if _ZONE_ID.fullmatch(offer.place) else "availability-zone"
        filters = [{"Name": name, "Values": [offer.place]}, {"Name": "default-for-az", "Values": ["true"]}]
        found = list(calls.pages("ec2", offer.region, "describe_subnets", "Subnets", Filters=filters))
        if not found:
            raise BadInput(
                "the default network has no part in this zone",
                where=offer.place,
                advice="make it (aws ec2 create-default-subnet), or choose another zone",
            )
        self._subnets[key] = str(found[0]["SubnetId"])
        return self._subnets[key]

    def _everywhere(self, setup: Notes, ask: Callable[[str], T]) -> list[T]:
        """The answers of all regions in use; one that fails makes all fail."""
        if len(setup.regions) == 1:
            return [ask(region) for region in setup.regions]
        with ThreadPoolExecutor(max_workers=8) as pool:
            return list(pool.map(ask, setup.regions))

    def _kept(self, setup: Notes, owner: str) -> list[MachineSeen]:
        """The listing that is fresh enough, or a new one."""
        with self._lock:
            now = self._clock()
            kept = self._listing
            if kept is None or kept[1] != owner or not 0 <= now - kept[0] < KEPT:
                listed = self._everywhere(setup, lambda region: self._listed(setup, region, owner))
                kept = self._listing = (now, owner, [seen for each in listed for seen in each])
            return list(kept[2])

    def _with_token(self, setup: Notes, token: str) -> MachineSeen | None:
        """The machine that was made for this token, wherever it is."""
        calls = self._to(setup)

        def look(region: str) -> list[MachineSeen]:
            filters = [{"Name": f"tag:{tags.TOKEN}", "Values": [tags.value(token)]}]
            pages = calls.pages("ec2", region, "describe_instances", "Reservations", Filters=filters)
            return [_seen(region, found) for page in pages for found in page["Instances"]]

        made = [seen for each in self._everywhere(setup, look) for seen in each]
        return max(made, key=lambda seen: (seen.alive, seen.created), default=None)

    def _listed(self, setup: Notes, region: str, owner: str) -> list[MachineSeen]:
        """What is ours in one region: machines, and disks that theirs left."""
        calls = self._to(setup)
        filters = [{"Name": f"tag:{tags.OWNER}", "Values": [tags.value(owner)]}]
        pages = calls.pages("ec2", region, "describe_instances", "Reservations", Filters=filters)
        instances = [found for page in pages for found in page["Instances"]]
        found = [_seen(region, each, owner) for each in instances if not self._over(region, each)]
        found.sort(key=lambda seen: (seen.alive, seen.created))  # of two with one token the living one counts
        known = {seen.token for seen in found}
        filters.append({"Name": "status", "Values": ["available"]})
        disks = calls.pages("ec2", region, "describe_volumes", "Volumes", Filters=filters)
        left = [_left(region, disk, owner) for disk in disks if tags.read(disk.get("Tags")).get(tags.TOKEN)]
        old = self._clock() - LEFT  # a younger one may wait for its machine
        return [seen for seen in left if seen.token not in known and seen.created < old] + found

    def _over(self, region: str, instance: Answer) -> bool:
        """Whether a machine is gone, though AWS shows it for an hour more: it ended as it was told to, by us or by
        itself. What AWS took away, or never could start, is shown until somebody has seen it and asked for its end."""
        told = not str(instance.get("StateReason", {}).get("Code", "")).startswith("Server.")
        return _state(instance) == "terminated" and (told or f"{region}:{instance['InstanceId']}" in self._ended)

    def _forget_listing(self) -> None:
        with self._lock:
            self._listing = None


def costs(seen: MachineSeen) -> bool:
    """Whether a machine of a listing costs, or may again: one that AWS ended is listed until somebody has seen it."""
    return seen.alive or not seen.note.startswith("terminated")


def _parts(machine_id: str) -> tuple[str, str]:
    found = _ID.fullmatch(machine_id)
    if found is None:
        raise BadInput("not a machine at AWS", where=machine_id)
    return found[1], found[2]


def _instances(answer: Answer) -> list[Answer]:
    return [found for group in answer["Reservations"] for found in group["Instances"]]


def _state(instance: Answer) -> str:
    return str(instance["State"]["Name"])


def _check_ours(found: Answer, where: str) -> None:
    if not tags.read(found.get("Tags")).get(tags.TOKEN):
        raise BadInput("this is not a machine of cryoburst", where=where, advice="it was left alone")


def _seen(region: str, instance: Answer, owner: str = "") -> MachineSeen:
    """An instance as the engine knows machines."""
    mine, state = tags.read(instance.get("Tags")), _state(instance)
    reason = instance.get("StateReason", {})
    code, words = str(reason.get("Code", "")), str(reason.get("Message", ""))
    return MachineSeen(
        id=f"{region}:{instance['InstanceId']}",
        token=mine.get(tags.TOKEN, ""),
        owner=owner or mine.get(tags.OWNER, ""),
        run=mine.get(tags.RUN, ""),
        attempt=tags.attempt(mine),
        alive=state not in DEAD,
        created=_time(instance["LaunchTime"]),
        note=f"{state}: {words or code}" if state in DEAD and (words or code) else "" if state == "running" else state,
        offer=str(instance["InstanceType"]),
        region=region,
        place=str(instance.get("Placement", {}).get("AvailabilityZone", "")),
        spot=instance.get("InstanceLifecycle") == "spot",
        interrupted=code in SPOT,
    )


def _left(region: str, disk: Answer, owner: str) -> MachineSeen:
    """A disk without its machine."""
    mine = tags.read(disk.get("Tags"))
    return MachineSeen(
        id=f"{region}:{disk['VolumeId']}",
        token=mine[tags.TOKEN],
        owner=owner,
        run=mine.get(tags.RUN, ""),
        attempt=tags.attempt(mine),
        alive=False,
        created=_time(disk["CreateTime"]),
        note=f"a disk of {disk['Size']} GiB that its machine left",
        region=region,
        place=str(disk.get("AvailabilityZone", "")),
    )


def _time(value: object) -> float:
    return value.timestamp() if isinstance(value, datetime) else 0.0
