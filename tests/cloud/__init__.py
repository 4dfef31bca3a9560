"""An emulated cloud on this computer: an EC2 that boots.

AWS itself can't be had by tests. Here `moto` takes the calls of boto3, and each RunInstances starts a machine: systemd
and cloud-init of Debian 12 in namespaces of their own, behind a router that lets nothing in, with an instance metadata
service that asks for tokens, and a real S3 server (tests/servers/radosgw.py) that takes the keys of its role. It
executes our user data, and is terminated by its own power-off. docs/testing.md says what is real and what is not.

    python -m tests.cloud.ec2        prints the endpoints as JSON, and runs until it is ended

It needs root, for namespaces and mounts, and touches this computer's own network by one pair of interfaces only. All
that it makes ends with its processes, however they end: no namespace and no mount has a name.
"""

import json
import os
import shutil
from pathlib import Path

PROGRAMS = {
    "ip": "iproute2",
    "nft": "nftables",
    "mmdebstrap": "mmdebstrap",
    "unshare": "util-linux",
    "nsenter": "util-linux",
}
IMAGES = Path(__file__).parent.parent / "servers/images.json"  # what moto knows of


def image() -> str:
    """The id of the image that machines start from."""
    return str(json.loads(IMAGES.read_text())[0]["ami_id"])


def lacking() -> str:
    """Why no machine can be started on this computer, in one sentence; empty when one can."""
    if os.geteuid() != 0:
        return "the emulated cloud needs root, for network namespaces and mounts, and these tests don't have it"
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        packages = " ".join(sorted({PROGRAMS[name] for name in missing}))
        return f"the emulated cloud needs {', '.join(missing)}; script/setup installs them (Debian: {packages})"
    return ""
