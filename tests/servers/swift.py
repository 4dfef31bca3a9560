"""OpenStack Swift 2.30 of Debian 12 with its S3 face (s3api, tempauth): one node, one copy, four processes.

What a European cloud's object store is (EGI's Swift and CESNET's): no conditional PUT, at most 1,000 parts, no stored
checksums. Needs Debian's ``python3-swift`` and nothing of ``swift-*``, whose installation starts daemons.

    python -m tests.servers.swift          prints URL and credentials, and runs until ended
"""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from . import START, Programs, Server, answers, free_ports, programs, run

PYTHON = "/usr/bin/python3"  # Debian's, which finds Debian's swift
NODE = Path(__file__).with_name("swift_node.py")
KINDS = "account", "container", "object", "proxy"
KEY, SECRET = "test:tester", "testing"  # tempauth's, as ACCOUNT:USER
OTHER = "other:stranger", "strange"

# Both paths in every hash are secret where it matters; one partition power for all three rings is plenty for one disk.
SWIFT_CONF = """\
[swift-hash]
swift_hash_path_prefix = cryoburst
swift_hash_path_suffix = tests
[storage-policy:0]
name = one-copy
default = yes
"""

COMMON = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
workers = {workers}
max_clients = 4096
eventlet_debug = false
log_level = WARNING
log_address = {folder}/no-syslog
user = {user}
"""

# The container must know of an object before the PUT is answered: there is no updater to tell it later.
STORAGE = (
    COMMON
    + """\
container_update_timeout = 60
conn_timeout = 5
node_timeout = 60
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
mb_per_sync = 100000
keep_cache_size = 0
keep_cache_private = false
"""
)

PROXY = (
    COMMON
    + """\
[pipeline:main]
pipeline = catch_errors gatekeeper cache listing_formats bulk s3api tempauth copy slo dlo versioned_writes symlink \
proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
conn_timeout = 5
node_timeout = 60
recoverable_node_timeout = 60
error_suppression_limit = 1000000
[filter:cache]
paste.filter_factory = swift_node:cache_filter
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = {secret} .admin
user_other_stranger = {other} .admin
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true
""".replace("\\\n", "")
    + "".join(
        f"[filter:{name}]\nuse = egg:swift#{name}\n"
        for name in ("catch_errors", "gatekeeper", "listing_formats", "bulk", "copy", "slo", "dlo", "symlink")
    )
)

RINGS = """
import sys
from swift.common.ring import RingBuilder
folder = sys.argv[1]
for kind, port in zip(("account", "container", "object"), sys.argv[2:]):
    builder = RingBuilder(8, 1, 1)
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "weight": 1.0, "ip": "127.0.0.1", "port": int(port),
                     "device": "disk", "replication_ip": "127.0.0.1", "replication_port": int(port), "meta": ""})
    builder.rebalance()
    builder.get_ring().save(f"{folder}/{kind}.ring.gz")
"""


@contextlib.contextmanager
def swift(folder: Path | None = None) -> Iterator[Server]:
    """A Swift that answers. Raises RuntimeError with the reason when it can't be had.

    ``folder`` must be empty and lie on a file system with user extended attributes; without one it is in /tmp, and gone
    at the end. Two at once don't disturb each other.
    """
    if not Path("/usr/lib/python3/dist-packages/swift").is_dir():
        raise RuntimeError("OpenStack Swift is not installed (python3-swift); script/setup installs it")
    with programs("swift", folder) as made:
        ports = prepare(made)
        for kind in KINDS:
            made.start(kind, [PYTHON, "-I", NODE, made.folder, kind])
        made.wait("OpenStack Swift", lambda: all(answers(f"http://127.0.0.1:{port}/") for port in ports))
        endpoint = f"http://127.0.0.1:{ports[-1]}"
        yield Server("swift", endpoint, KEY, SECRET, made.keeper.pid, made.logs, other=OTHER)


def prepare(made: Programs) -> list[int]:
    """Write rings and configuration; the four ports, the proxy's last."""
    folder = made.folder
    disk = folder / "devices/disk"
    disk.mkdir(parents=True)
    with tempfile.NamedTemporaryFile(dir=disk) as file:
        try:
            os.setxattr(file.name, "user.swift.test", b"x" * 3000)
        except OSError as error:
            raise RuntimeError(
                f"{folder} is on a file system that takes no user extended attributes: {error}"
            ) from error
    ports = free_ports(4)
    command = [PYTHON, "-I", "-c", RINGS, folder, *map(str, ports[:3])]
    with (folder / "logs/rings.out").open("wb") as log:
        subprocess.run(command, check=True, timeout=START, cwd="/", stdout=log, stderr=log)
    (folder / "swift.conf").write_text(SWIFT_CONF)
    values = {"folder": folder, "user": user_name(), "secret": SECRET, "other": OTHER[1]}
    for kind, port in zip(KINDS, ports, strict=True):
        text = PROXY if kind == "proxy" else STORAGE
        (folder / f"{kind}.conf").write_text(text.format(kind=kind, port=port, workers=0, **values))
    return ports


def user_name() -> str:
    """Swift changes to a named user at its start; it stays the one who called."""
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name


if __name__ == "__main__":
    run(swift)
