"""The user data of a machine: what cloud-init does with it from its first second. Pure; asks nobody.

The power-off timer comes first (``bootcmd``), then everything that ``machine.py`` does. Where the machine's role opens
the store nothing secret is in here; else the short-lived credential of the attempt is, in a file that only root reads.
"""

import base64
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from cryoburst.model.errors import BadInput
from cryoburst.model.plugins import Boot
from cryoburst.providers.aws.notes import DEBIAN

LIMIT = 16_384  # bytes of user data that EC2 takes
ROOT = "/cryoburst"  # the machine's root folder, and where its own disks are mounted
UNPACK = (
    "import base64, sys, zlib; text = zlib.decompress(base64.b64decode(sys.argv.pop(1))).decode(); "
    "sys.argv.append(text); exec(text)"
)
NOTICE = {"CRYOBURST_NOTICE": "169.254.169.254"}  # where a machine that may be taken back asks (agent/notice.py)
RELION = ["relion", "ghostscript", "debianutils"]

# What an image lacks and how it comes: with a GPU Debian's own driver and Debian's RELION for CUDA.
PLAIN: list[dict[str, Any]] = [{"program": "relion_refine", "sources": [], "packages": RELION, "commands": []}]
CUDA: list[dict[str, Any]] = [
    {
        "program": "nvidia-smi",
        "sources": ["deb http://deb.debian.org/debian bookworm contrib non-free non-free-firmware"],
        "packages": ["linux-headers-KERNEL", "nvidia-driver", "nvidia-smi"],
        "commands": [["modprobe", "nvidia"], ["modprobe", "nvidia-uvm"], ["nvidia-smi"]],
    },
    {"program": "relion_refine", "sources": [], "packages": ["relion-cuda", *RELION[1:]], "commands": []},
]


def recipes(software: Mapping[str, str], image: str, gpus: int) -> list[dict[str, Any]]:
    """How what a job needs comes onto an image. One of the user's own for GPUs must have it all: drivers are its
    business; the agent refuses the job when it has not."""
    if "relion" not in software:
        return []
    if gpus:
        return CUDA if image == DEBIAN else []
    return PLAIN


def user_data(
    boot: Boot,
    token: str,
    seconds: float,
    *,
    region: str,
    software: list[dict[str, Any]],
    local: bool,
    disk: int,
    spot: bool,
) -> str:
    """The cloud-config of a machine.

    Parameters
    ----------
    seconds
        From its first boot to its power-off.
    region
        The store's, where its address does not name it.
    software
        What is installed where the image lacks it: see ``recipes``.
    local
        Whether its own NVMe disks are the scratch space.
    disk
        Bytes that must be free there.

    Raises BadInput for a store that no machine elsewhere can reach, and when it is all longer than EC2 allows.
    """
    text = (Path(__file__).parent / "machine.py").read_bytes()
    packed = base64.b64encode(zlib.compress(text, 9)).decode()
    order: dict[str, Any] = {
        "store": boot.store_url,
        "prefix": boot.prefix,
        "token": token,
        "checksum": boot.archive_checksum,
        "credential": boot.credential,
        "environment": {"CRYOBURST_MACHINE": token, "AWS_REGION": region} | (NOTICE if spot else {}),
        "root": ROOT,
        "local": local,
        "disk": disk,
        "software": software,
        **address(boot.store_url, boot.archive_key, region),
    }
    config: dict[str, Any] = {
        "bootcmd": [["python3", "-c", UNPACK, packed, "timer", f"{seconds:.0f}", token]],
        "write_files": [
            {"path": "/var/lib/cryoburst/order.json", "permissions": "0600", "content": json.dumps(order)},
        ],
        "runcmd": [["python3", "/var/lib/cryoburst/boot.py", "start"]],
    }
    data = f"#cloud-config\n{json.dumps(config, indent=1)}\n"  # JSON is YAML
    if len(data.encode()) > LIMIT:
        raise BadInput(
            f"what the machine has to be told is {len(data.encode())} bytes long, and EC2 takes {LIMIT}",
            where=boot.store_url,
            advice="use the bucket that cryoburst aws setup makes: its machines need no credential",
        )
    return data


def address(store_url: str, key: str, region: str) -> dict[str, str]:
    """How a machine asks for an object of an ``s3://`` store: base URL, host, path and region, for SigV4."""
    parts = urlsplit(store_url)
    if parts.scheme != "s3":
        raise BadInput(
            "a machine at AWS can't reach this store",
            where=store_url,
            advice="use one in S3: cryoburst aws setup makes it",
        )
    options = {name: values[0] for name, values in parse_qs(parts.query).items()}
    bucket, region = parts.netloc, options.get("region") or region
    prefix = unquote(parts.path).strip("/")
    path = f"{prefix}/{key}" if prefix else key
    endpoint = options.get("endpoint", "").rstrip("/")
    virtual = options.get("addressing") == "virtual" or not (options.get("addressing") or endpoint or "." in bucket)
    if not endpoint:
        endpoint = f"https://s3.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
    scheme, _, host = endpoint.partition("://")
    if virtual:
        return {"base": f"{scheme}://{bucket}.{host}", "host": f"{bucket}.{host}", "path": f"/{path}", "region": region}
    return {"base": endpoint, "host": host, "path": f"/{bucket}/{path}", "region": region}
