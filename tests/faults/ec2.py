"""An EC2 in memory that does what the real one does on a bad day: replies are lost, listings lag and are cut off,
orders are throttled, refused or half done. It takes a client token once, as the real one does and moto does not.

Two regions, each with somebody else's machines. Time is the test's; nothing here waits.
"""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

from cryoburst.model.errors import CryoburstError, ProviderUnavailable
from cryoburst.providers.aws import tags
from cryoburst.providers.aws.calls import Answer, Calls, meaning

LAG = 20.0  # s that a new machine may be missing from a listing
PAGE = 2  # machines in a page of a listing
ENDED = ("shutting-down", "terminated")


STATIC: dict[str, Any] = {  # what never changes here
    "describe_subnets": {"Subnets": [{"SubnetId": "subnet-1"}]},
    "get_caller_identity": {"Account": "1", "Arn": "arn:aws:iam::1:user/me"},
    "get_parameter": {"Parameter": {"Value": "ami-1"}},
    "describe_images": {"Images": [{"ImageId": "ami-1", "RootDeviceName": "/dev/xvda"}]},
}


@dataclass
class Instance:
    """One machine, or another's."""

    id: str
    type: str
    zone: str
    tags: list[tags.Tag]
    born: float
    listed: float  # from when on a listing shows it
    order: dict[str, Any] = field(default_factory=dict[str, Any])
    state: str = "running"
    why: str = ""
    ours: bool = True

    @property
    def token(self) -> str:
        return tags.read(self.tags).get(tags.TOKEN, "")

    def described(self) -> Answer:
        found: Answer = {
            "InstanceId": self.id,
            "InstanceType": self.type,
            "State": {"Name": self.state},
            "LaunchTime": datetime.fromtimestamp(self.born, UTC),
            "Placement": {"AvailabilityZone": self.zone},
            "Tags": list(self.tags),
        }
        return found | ({"StateReason": {"Code": self.why, "Message": self.why}} if self.why else {})


class Ec2(Calls):
    """The service. ``chance`` and ``random`` decide what goes wrong; a chance of 0 is a good day."""

    def __init__(self, clock: Callable[[], float], regions: list[str]) -> None:
        super().__init__()
        self._clock, self._guard = clock, threading.Lock()
        self.random = {region: Random(0) for region in regions}
        self.chance = 0.0
        self.faults: Counter[str] = Counter()
        self.made: Counter[str] = Counter()  # machines, by token
        self.instances: dict[str, dict[str, Instance]] = {region: {} for region in regions}
        self.volumes: dict[str, dict[str, Answer]] = {region: {} for region in regions}
        self._number = 0
        for region in regions:
            for mine in ([], tags.listed({tags.OWNER: "you@there", tags.TOKEN: f"{region}-1"})):
                one = Instance(self._id("i"), "t3.micro", f"{region}a", mine, 0.0, 0.0, ours=False)
                self.instances[region][one.id] = one

    def seed(self, seed: int, chance: float) -> None:
        """What goes wrong from now on."""
        for number, region in enumerate(self.random):
            self.random[region] = Random(seed + number)
        self.chance = chance

    def pass_time(self) -> None:
        """What shuts down is down."""
        for region in self.instances.values():
            for one in region.values():
                if one.state == "shutting-down":
                    one.state = "terminated"

    def take(self, one: Instance, why: str) -> None:
        """A machine ends by itself, or is taken away."""
        one.state, one.why = "terminated", why

    @property
    def living(self) -> list[Instance]:
        """Our machines that cost."""
        found = [one for region in self.instances.values() for one in region.values()]
        return [one for one in found if one.ours and one.state not in ENDED]

    def ask(self, service: str, region: str, operation: str, **arguments: object) -> Answer:
        given: dict[str, Any] = dict(arguments)
        with self._guard:
            if operation == "run_instances":
                return self._run(region, given)
            if self._wrong(region, "throttled", 0.15):
                raise _error("RequestLimitExceeded")
            if operation == "terminate_instances":
                return self._terminate(region, given["InstanceIds"][0])
            if operation == "delete_volume":
                self.volumes[region].pop(given["VolumeId"], None)
                return {}
            if self._wrong(region, "no answer", 0.15):
                raise ProviderUnavailable("AWS does not answer: ReadTimeoutError")
            if operation == "describe_instances":
                return self._instances(region, given)
            if operation == "describe_volumes":
                return self._volumes(region, given)
            return STATIC[operation]

    # ------------------------------------------------------------------------------------------------- its verbs

    def _run(self, region: str, given: dict[str, Any]) -> Answer:
        if self._wrong(region, "throttled order", 0.3):
            raise _error("RequestLimitExceeded")
        for one in self.instances[region].values():
            if one.order.get("ClientToken") == given["ClientToken"]:
                if one.order != given:
                    self.faults["mismatch"] += 1
                    raise _error("IdempotentParameterMismatch")
                return {"Instances": [one.described()]}
        for code in ("InsufficientInstanceCapacity", "VcpuLimitExceeded", "UnauthorizedOperation", "InternalError"):
            if self._wrong(region, code, 0.08):
                raise _error(code)
        now = self._clock()
        late = self._wrong(region, "late listing")
        mine = given["TagSpecifications"][0]["Tags"]
        zone = f"{region}a"
        listed = now + (self.random[region].uniform(0.0, LAG) if late else 0.0)
        one = Instance(self._id("i"), given["InstanceType"], zone, mine, now, listed, given)
        self.instances[region][one.id] = one
        self.made[one.token] += 1
        if self._wrong(region, "half made", 0.2):
            self.take(one, "Server.InternalError")
            self._leave_disk(region, mine, zone)
        if self._wrong(region, "lost reply"):
            raise ProviderUnavailable("AWS does not answer: ReadTimeoutError")
        return {"Instances": [one.described()]}

    def _terminate(self, region: str, name: str) -> Answer:
        one = self.instances[region].get(name)
        if one is None or one.listed > self._clock():
            raise _error("InvalidInstanceID.NotFound")
        if one.state not in ENDED:
            one.state, one.why = "shutting-down", "Client.UserInitiatedShutdown"
            if self._wrong(region, "disk left", 0.2):
                self._leave_disk(region, one.tags, one.zone)
        if self._wrong(region, "lost reply"):
            raise ProviderUnavailable("AWS does not answer: ReadTimeoutError")
        return {}

    def _instances(self, region: str, given: dict[str, Any]) -> Answer:
        found = [one for one in self.instances[region].values() if one.listed <= self._clock()]
        if names := given.get("InstanceIds"):
            found = [one for one in found if one.id in names]
            if not found:
                raise _error("InvalidInstanceID.NotFound")
        for each in given.get("Filters", []):
            key = each["Name"].removeprefix("tag:")
            found = [one for one in found if tags.read(one.tags).get(key) in each["Values"]]
        start = int(given.get("NextToken") or 0)
        if start and self._wrong(region, "cut listing"):
            raise ProviderUnavailable("AWS does not answer: ConnectionClosedError")
        page = [{"Instances": [one.described()]} for one in found[start : start + PAGE]]
        more = {"NextToken": str(start + PAGE)} if start + PAGE < len(found) else {}
        return {"Reservations": page, **more}

    def _volumes(self, region: str, given: dict[str, Any]) -> Answer:
        found = list(self.volumes[region].values())
        if names := given.get("VolumeIds"):
            found = [disk for disk in found if disk["VolumeId"] in names]
            if not found:
                raise _error("InvalidVolume.NotFound")
        for each in given.get("Filters", []):
            if each["Name"].startswith("tag:"):
                key = each["Name"].removeprefix("tag:")
                found = [disk for disk in found if tags.read(disk["Tags"]).get(key) in each["Values"]]
        return {"Volumes": found}

    def _leave_disk(self, region: str, mine: list[tags.Tag], zone: str) -> None:
        name = self._id("vol")
        born = datetime.fromtimestamp(self._clock(), UTC)
        disk = {"VolumeId": name, "Tags": mine, "CreateTime": born, "Size": 8, "AvailabilityZone": zone}
        self.volumes[region][name] = disk

    def _wrong(self, region: str, what: str, share: float = 1.0) -> bool:
        if self.random[region].random() >= self.chance * share:
            return False
        self.faults[what] += 1
        return True

    def _id(self, kind: str) -> str:
        self._number += 1
        return f"{kind}-{self._number:017x}"


def _error(code: str) -> CryoburstError:
    return meaning({"Error": {"Code": code, "Message": code}}, "imitation")
