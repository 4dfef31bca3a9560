"""What EC2 does and moto does not, put around moto's own classes: machines that run, tokens, states that take time.

moto keeps the records (images, networks, groups, tags, volumes) and answers; here its instances get a life. Imported in
the server's own process only, which is no test's.
"""

import base64
import copy
import json
import threading
import time
from collections.abc import Iterable
from typing import Any, Protocol

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.ec2.exceptions import EC2ClientError, InvalidInstanceIdError
from moto.ec2.models import EC2Backend
from moto.ec2.models.instances import Instance, InstanceBackend, InstanceState, Reservation, StateReason
from moto.ec2.responses.general import General
from moto.iam.models import iam_backends
from moto.ssm import models as ssm

from . import image

NO_TOKEN = "ABCDE"  # what moto makes of a request without one
IMAGES = {  # the public parameters by which Debian tells its newest image, <https://wiki.debian.org/Cloud/AmazonEC2Image>
    "/aws/service/debian/release/12/latest/amd64": image(),
    "/aws/service/debian/release/bookworm/latest/amd64": image(),
}


class Life(Protocol):
    """What happens to instances behind the calls. No method may wait."""

    listing_delay: float  # s after its creation in which an instance is not listed

    def begin(self, instance: Instance) -> None:
        """It was ordered, and is pending."""
        ...

    def end(self, instance: Instance) -> None:
        """Its end was asked for; it is shutting down."""
        ...

    def console(self, instance: Instance) -> bytes:
        """What it has printed."""
        ...


def install(life: Life) -> None:
    """Give moto's instances a life. Once in a process."""
    lock = threading.RLock()
    ordered: dict[tuple[str, str], tuple[str, Reservation]] = {}
    made, terminated = InstanceBackend.run_instances, Instance.terminate
    all_of, some_of = InstanceBackend.describe_instances, InstanceBackend.get_reservations_by_instance_ids

    def run_instances(
        self: EC2Backend, image_id: str, count: int, user_data: Any, groups: list[str], **wanted: Any
    ) -> Reservation:
        token = wanted.get("client_token", NO_TOKEN)
        asked = repr((image_id, count, user_data and user_data.as_bytes(), groups, sorted(wanted.items(), key=str)))
        with lock:
            before = ordered.get((self.region_name, token))
            if before is not None:
                return again(token, before, asked)
            reservation = made(self, image_id, count, user_data, groups, **wanted)
            if token != NO_TOKEN:
                ordered[(self.region_name, token)] = (asked, reservation)
            for instance in reservation.instances:
                instance._state = InstanceState("pending", 0)
                life.begin(instance)
            return reservation

    def terminate(self: Instance) -> InstanceState:
        with lock:
            if self.state in ("shutting-down", "terminated"):
                return copy.copy(self._state)
            before = terminated(self)
            self._state = InstanceState("shutting-down", 32)
            life.end(self)
            return before

    def listed(reservation: Reservation) -> bool:
        ages = [(utcnow() - each.launch_time).total_seconds() for each in reservation.instances]
        return all(age >= life.listing_delay for age in ages)

    def describe_instances(self: EC2Backend, filters: Any = None) -> list[Reservation]:
        return [each for each in all_of(self, filters) if listed(each)]

    def get_reservations_by_instance_ids(self: EC2Backend, instance_ids: list[str], filters: Any = None) -> Any:
        found: list[Reservation] = some_of(self, instance_ids, filters)
        if not all(map(listed, found)):
            raise InvalidInstanceIdError(instance_ids[0])
        return found

    def get_console_output(self: General) -> ActionResult:
        instance = self.ec2_backend.get_instance(self._get_param("InstanceId"))
        text = base64.b64encode(life.console(instance)).decode()
        return ActionResult({"InstanceId": instance.id, "Timestamp": utcnow(), "Output": text})

    InstanceBackend.run_instances = run_instances  # type: ignore[method-assign]
    InstanceBackend.describe_instances = describe_instances  # type: ignore[method-assign]
    InstanceBackend.get_reservations_by_instance_ids = get_reservations_by_instance_ids  # type: ignore[method-assign]
    Instance.terminate = terminate  # type: ignore[method-assign]
    General.get_console_output = get_console_output  # type: ignore[method-assign]
    publish_images()


def again(token: str, before: tuple[str, Reservation], asked: str) -> Reservation:
    """The answer to an order that was made before with the same token."""
    if before[0] != asked:
        raise EC2ClientError(
            "IdempotentParameterMismatch",
            f"Arguments on this idempotent request are inconsistent with those of previous request(s) ({token})",
        )
    if any(instance.state in ("shutting-down", "terminated") for instance in before[1].instances):
        raise EC2ClientError(
            "IdempotentInstanceTerminated",
            "The request to launch an instance uses the same client token as a previous request for which the instance "
            "has been terminated.",
        )
    return before[1]


def publish_images() -> None:
    """Let SSM tell the newest image, in every region."""
    find = ssm.ParameterDict._check_loading_status

    def check(self: Any, key: str) -> None:
        find(self, key)
        if key in IMAGES and not dict.__contains__(self, key):
            values = {"allowed_pattern": None, "keyid": None, "description": None, "version": 1}
            parameter = ssm.Parameter(
                account_id=self.account_id,
                name=key,
                value=IMAGES[key],
                parameter_type="String",
                last_modified_date=utcnow(),
                data_type="aws:ec2:image",
                **values,
            )
            dict.__setitem__(self, key, [parameter])

    ssm.ParameterDict._check_loading_status = check  # type: ignore[method-assign]


def settle(instance: Instance, state: str) -> None:
    """Set an instance's state."""
    codes = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
    instance._state = InstanceState(state, codes[state])


def explain(instance: Instance, code: str, sentence: str) -> None:
    """Set the reason that EC2 tells for an instance's state."""
    moment = time.strftime("%Y-%m-%d %H:%M:%S GMT", time.gmtime())
    instance.state_reason = StateReason(f"{code}: {sentence}", code)
    instance._reason = f"{sentence} ({moment})"


def role_of(instance: Instance) -> tuple[str, list[dict[str, Any]]]:
    """The instance's role and the statements of its policies that are about S3; ``("", [])`` without one."""
    found = instance.ec2_backend.iam_instance_profile_associations.get(instance.id)
    if found is None or not found.iam_instance_profile.roles:
        return "", []
    role = found.iam_instance_profile.roles[0]
    iam = iam_backends[instance.owner_id]["aws"]
    texts: list[str] = list(iam.get_role(role.name).policies.values())
    statements = [each for text in texts for each in many(json.loads(text)["Statement"])]
    return role.name, [each for each in statements if all(a.startswith("s3:") for a in many(each["Action"]))]


def many(value: Any) -> list[Any]:
    """A policy's one or many."""
    return value if isinstance(value, list) else [value]


def ingress(instance: Instance) -> Iterable[tuple[str, tuple[int, int], list[str]]]:
    """What the instance's security groups let in: protocol, ports, sources as CIDRs."""
    for group in instance.security_groups:
        for rule in group.ingress_rules:
            source = rule.cidr_ipv4
            sources = [source] if source else []
            if rule.ip_protocol == "-1":
                yield "tcp", (1, 65535), sources
            elif rule.ip_protocol in ("tcp", "udp"):
                yield rule.ip_protocol, (rule.from_port or 0, rule.to_port or 0), sources
