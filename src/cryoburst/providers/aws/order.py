"""An order for one machine as RunInstances wants it. Pure: the same request gives the same words, but for its end.

Everything that costs is tagged by the call that makes it, and goes when the machine goes.
"""

import hashlib
from typing import Any

from cryoburst.model.plugins import MachineRequest, Offer
from cryoburst.providers.aws import catalogue, tags
from cryoburst.providers.aws.images import Image


def client_token(token: str, offer: Offer) -> str:
    """EC2's own guard: the same order is the same machine; that of another offer is another.

    Of ``token`` the engine promises that it orders one offer after the other, the next when the one was refused.
    """
    market = "spot" if offer.spot else "on-demand"
    return hashlib.sha256(f"{token} {offer.name} {offer.place or offer.region} {market}".encode()).hexdigest()[:32]


def scratch(request: MachineRequest) -> tuple[bool, int]:
    """Whether the machine's own disks are the scratch space, and the GiB of its rented disk, as its price has it."""
    return catalogue.scratch(request.disk_bytes, request.offer.local_disk_bytes)


def arguments(
    request: MachineRequest, image: Image, *, subnet: str, security_group: str, profile: str, user_data: str
) -> dict[str, Any]:
    """The arguments of RunInstances.

    Parameters
    ----------
    subnet
        Of the offer's zone; empty leaves the zone to AWS.
    profile
        Name of the instance profile whose role opens the store; empty when the machine has a credential of its own.
    user_data
        As text.
    """
    offer = request.offer
    mine = tags.of(request)
    disk = {
        "VolumeType": "gp3",
        "VolumeSize": max(scratch(request)[1], image.gigabytes),
        "Encrypted": True,
        "DeleteOnTermination": True,
    }
    found: dict[str, Any] = {
        "ClientToken": client_token(request.token, offer),
        "ImageId": image.id,
        "InstanceType": offer.name,
        "MinCount": 1,
        "MaxCount": 1,
        "UserData": user_data,
        "SecurityGroupIds": [security_group],
        "BlockDeviceMappings": [{"DeviceName": image.root, "Ebs": disk}],
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled", "HttpPutResponseHopLimit": 1},
        "TagSpecifications": [{"ResourceType": kind, "Tags": mine} for kind in ("instance", "volume")],
    }
    if subnet:
        found["SubnetId"] = subnet
    if profile:
        found["IamInstanceProfile"] = {"Name": profile}
    if offer.spot:
        once = {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}
        if request.max_price is not None:  # else AWS's: that of the same machine on-demand
            once["MaxPrice"] = f"{request.max_price:.6f}"
        found["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": once}
    return found
