"""Which image a machine starts from: the newest Debian or Ubuntu by its public parameter, or the user's own."""

import re
from dataclasses import dataclass
from typing import cast

from cryoburst.model.errors import BadInput
from cryoburst.providers.aws.calls import Answer, Calls, Missing
from cryoburst.providers.aws.notes import DEBIAN

# Public SSM parameters, kept by Debian and by Canonical.
PARAMETERS = {
    DEBIAN: "/aws/service/debian/release/12/latest/amd64",
    "ubuntu-24.04": "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id",
}
_AMI = re.compile(r"ami-[0-9a-f]{8,17}")
HOW = "give debian-12, ubuntu-24.04, an image's id (ami-...), tag:KEY=VALUE, or the path of an SSM parameter"


@dataclass(frozen=True)
class Image:
    """An image in one region."""

    id: str
    root: str  # name of its root device
    gigabytes: int  # that its root device has at least


def check(wish: str) -> None:
    """Raises BadInput for what can't name an image."""
    if wish in PARAMETERS or _AMI.fullmatch(wish) or wish.startswith("/"):
        return
    if wish.startswith("tag:") and "=" in wish:
        return
    raise BadInput("this names no image", where=wish, advice=HOW)


def find(calls: Calls, region: str, wish: str) -> Image:
    """The image that a wish means in a region: of several with a tag the newest. Raises BadInput when there is none."""
    check(wish)
    advice = "an image is of one region: name another with cryoburst aws setup --image, or choose another region"
    if wish.startswith("tag:"):
        key, _, value = wish.removeprefix("tag:").partition("=")
        found = _described(calls, region, Owners=["self"], Filters=[{"Name": f"tag:{key}", "Values": [value]}])
    else:
        try:
            found = _described(calls, region, ImageIds=[_id(calls, region, wish)])
        except BadInput as error:
            if not error.what.startswith("InvalidAMIID"):
                raise
            found = []
    usable = [image for image in found if image.get("State", "available") == "available"]
    if not usable:
        raise BadInput(f"there is no image {wish} in {region}", advice=advice)
    newest = max(usable, key=lambda image: str(image.get("CreationDate", "")))
    if newest.get("Architecture", "x86_64") != "x86_64":
        raise BadInput(f"the image {wish} is not for x86_64", where=str(newest["ImageId"]), advice=HOW)
    root = str(newest.get("RootDeviceName") or "/dev/xvda")
    disks = [d for d in newest.get("BlockDeviceMappings", []) if d.get("DeviceName") == root]
    size = max((int(d.get("Ebs", {}).get("VolumeSize", 0)) for d in disks), default=0)
    return Image(str(newest["ImageId"]), root, size)


def _id(calls: Calls, region: str, wish: str) -> str:
    if _AMI.fullmatch(wish):
        return wish
    name = PARAMETERS.get(wish, wish)
    try:
        return str(calls.ask("ssm", region, "get_parameter", Name=name)["Parameter"]["Value"])
    except Missing:
        raise BadInput(
            f"AWS knows no image {wish} in {region}", where=name, advice="name another with cryoburst aws setup --image"
        ) from None


def _described(calls: Calls, region: str, **which: object) -> list[Answer]:
    return cast(list[Answer], calls.ask("ec2", region, "describe_images", **which)["Images"])
