"""Ceph 16.2 of Debian 12 with its S3 gateway: one monitor, one OSD in a file, one radosgw, and STS.

What a university's object store is, and the nearest that can be had here to Amazon's S3: conditional PUT, session
credentials. Needs Debian's ``ceph-mon``, ``ceph-osd``, ``ceph-common`` and ``radosgw``.

    python -m tests.servers.radosgw        prints URL and credentials, and runs until ended
"""

import contextlib
import functools
import json
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

from . import START, Programs, Server, answers, free_ports, programs, run

KEY, SECRET = "CRYOBURSTTESTKEY0001", "cryoburst-tests-secret-of-the-first-user"
OTHER = "CRYOBURSTTESTKEY0002", "cryoburst-tests-secret-of-the-other-user"
ROLE = "sender"
STS_KEY = "cryoburst-testss"  # 16 letters: the key of the session tokens' AES
DISK = 64 << 30  # bytes of the OSD's file, which is sparse
KEYS = {
    "mon.": ("mon",),
    "client.admin": ("mon", "osd", "mgr", "mds"),
    "osd.0": ("mon", "osd"),
    "client.rgw": ("mon", "osd"),
}
PROGRAMS = "ceph-mon", "ceph-osd", "radosgw", "ceph", "ceph-authtool", "monmaptool", "radosgw-admin"

CONF = """\
[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{mon_port}/0
keyring = {folder}/keyring
run dir = {folder}/run
pid file = {folder}/run/$name.pid
crash dir = {folder}/run
log file = {folder}/logs/$name.log
mon cluster log file = {folder}/logs/cluster.log
admin socket =
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
ms bind msgr1 = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
[mon]
mon data = {folder}/mon
mon allow pool size one = true
mon max pg per osd = 10000
# Every pool is a decision of the monitors, and they take one a second by default.
paxos propose interval = 0.05
paxos min wait = 0.01
# Other people's data may fill the disk that this is on.
mon data avail crit = 1
mon data avail warn = 2
[osd]
osd data = {folder}/osd
osd class load list = *
osd class default list = *
osd objectstore = bluestore
bluestore block size = {size}
bluestore cache autotune = false
bluestore cache size = 134217728
osd memory target = 939524096
[client]
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw data = {folder}/rgw
rgw enable usage log = false
rgw enable ops log = false
rgw dynamic resharding = false
rgw s3 auth use sts = true
# In the default order a wrong secret is AccessDenied, which is neither true nor what a radosgw without STS says.
rgw s3 auth order = local, sts
rgw sts key = {sts_key}
rgw crypt require ssl = false
"""

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam:::user/tester"]}, "Action": ["sts:AssumeRole"]}
    ],
}
ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": "arn:aws:s3:::*"}]}


@contextlib.contextmanager
def radosgw(folder: Path | None = None) -> Iterator[Server]:
    """A radosgw that answers. Raises RuntimeError with the reason when it can't be had.

    ``folder`` must be empty; without one it is in /tmp, and gone at the end. Two at once don't disturb each other.
    """
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        raise RuntimeError(f"Ceph's programs are not installed ({', '.join(missing)}); script/setup installs them")
    with programs("ceph", folder) as made:
        mon_port, port = free_ports(2)
        identity, disk = str(uuid.uuid4()), str(uuid.uuid4())
        prepare(made, identity, mon_port, port)
        ceph = functools.partial(call, made)

        made.start("mon", ["ceph-mon", *config(made), "-i", "a", "-f"])
        ceph("ceph", "--connect-timeout", "60", "osd", "new", disk)
        ceph("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
        made.start("osd", ["ceph-osd", *config(made), "-i", "0", "-f"])
        made.start("rgw", ["radosgw", *config(made), "-n", "client.rgw", "-f"])
        endpoint = f"http://127.0.0.1:{port}"
        made.wait("Ceph radosgw", lambda: answers(endpoint))

        admin = functools.partial(call, made, "radosgw-admin")
        for name, (key, secret) in (("tester", (KEY, SECRET)), ("stranger", OTHER)):
            admin(
                "user", "create", f"--uid={name}", f"--display-name={name}", f"--access-key={key}", f"--secret={secret}"
            )
        role = json.loads(
            admin("role", "create", f"--role-name={ROLE}", f"--assume-role-policy-doc={json.dumps(TRUST)}")
        )
        admin("role-policy", "put", f"--role-name={ROLE}", "--policy-name=all", f"--policy-doc={json.dumps(ALL)}")
        yield Server("radosgw", endpoint, KEY, SECRET, made.keeper.pid, made.logs, role=role["Arn"], other=OTHER)


def prepare(made: Programs, identity: str, mon_port: int, port: int) -> None:
    """Write configuration, keys and the monitor's first map."""
    folder = made.folder
    for name in ("run", "mon", "osd", "rgw"):
        (folder / name).mkdir()
    values = {"folder": folder, "mon_port": mon_port, "port": port, "size": DISK, "sts_key": STS_KEY}
    (folder / "ceph.conf").write_text(CONF.format(fsid=identity, **values))
    keyring = folder / "keyring"
    for name, powers in KEYS.items():
        caps = [word for power in powers for word in ("--cap", power, "allow *")]
        created = [] if keyring.exists() else ["--create-keyring"]
        call(made, "ceph-authtool", *created, str(keyring), "--gen-key", "-n", name, *caps)
    monitors, first = str(folder / "monmap"), f"[v2:127.0.0.1:{mon_port}]"
    call(made, "monmaptool", "--create", "--addv", "a", first, "--fsid", identity, monitors)
    call(made, "ceph-mon", "--mkfs", "-i", "a", "--monmap", monitors, "--keyring", str(keyring))


def config(made: Programs) -> list[str]:
    return ["-c", str(made.folder / "ceph.conf")]


def call(made: Programs, program: str, *words: str) -> str:
    """What a program prints that ends by itself; its complaints are in ``logs/PROGRAM.err``.

    Raises RuntimeError with them when it fails.
    """
    log = made.logs / f"{program}.err"
    with log.open("ab") as complaints:
        done = subprocess.run(
            [program, *config(made), *words], stdout=subprocess.PIPE, stderr=complaints, timeout=START, cwd=made.folder
        )
    if done.returncode:
        raise RuntimeError(f"{program} {' '.join(words)} failed with {done.returncode}\n{made.words()}")
    return done.stdout.decode()


if __name__ == "__main__":
    run(radosgw)
