"""A whole machine, from its user data to its end, in a process tree and on a copy of this computer's own files.

cloud-init's part is done by hand here, and the bucket is moto's; tests/cloud boots the rest of it, too.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cryoburst.agent.archive import build
from cryoburst.model.documents import Exit, Host, Manifest, Spec, dump, load
from cryoburst.model.plugins import Boot
from cryoburst.model.store import read_whole
from cryoburst.providers.aws import boot
from cryoburst.stores.objects import ObjectStore

from .conftest import HERE

JOB, PREFIX = "Class2D/job012/", "ribo/Class2D.job012/u1/1/"
CREDENTIAL = {"AWS_ACCESS_KEY_ID": "AKIDOFTESTS", "AWS_SECRET_ACCESS_KEY": "the-secret-of-tests"}
# Everything below / is a copy that goes with the mount namespace; the first process of the tree is the machine's.
MACHINE = """
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/up" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/up,workdir=$1/work" "$1/root"
mount --rbind /dev "$1/root/dev"
mount --rbind "$2" "$1/root/mnt"
mount -t proc proc "$1/root/proc"
exec chroot "$1/root" /bin/sh /mnt/cloud-init
"""
STEPS = """
import json, os, shutil, subprocess
first, last = json.load(open("/mnt/words.json"))
subprocess.run(first, check=True)
shutil.copy("/mnt/order.json", "/var/lib/cryoburst/order.json")
os.chmod("/var/lib/cryoburst/order.json", 0o600)
subprocess.run(last, check=True)
"""


def machine(folder: Path, user_data: str) -> "subprocess.Popen[bytes]":
    """Do what cloud-init does with user data: bootcmd, files, runcmd. Ends when the machine is turned off."""
    config = json.loads(user_data.partition("\n")[2])
    seed, root = folder / "seed", folder / "machine"
    seed.mkdir()
    root.mkdir()
    words = [config["bootcmd"][0], config["runcmd"][0]]
    (seed / "words.json").write_text(json.dumps([[sys.executable, *each[1:]] for each in words]))
    (seed / "order.json").write_text(config["write_files"][0]["content"])
    (seed / "steps.py").write_text(STEPS)
    (seed / "cloud-init").write_text(f"{sys.executable} /mnt/steps.py\nexec sleep 600\n")
    alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    return subprocess.Popen(
        [*alone, "sh", "-c", MACHINE, "sh", str(root), str(seed)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


@pytest.fixture
def store(account: str, aws: Any) -> ObjectStore:
    """A store in moto's bucket with the agent in it."""
    aws("s3").create_bucket(Bucket="lab", CreateBucketConfiguration={"LocationConstraint": HERE})
    return ObjectStore(f"s3://lab/store?region={HERE}&endpoint={account}")


def told(store: ObjectStore, seconds: float = 120.0, **changes: Any) -> str:
    """The user data of a machine for the attempt."""
    data, checksum = build(store.url)
    key = f"agent/{checksum.removeprefix('sha256:')}.pyz"
    store.put(key, data)
    values: dict[str, Any] = {"region": HERE, "software": [], "local": False, "disk": 1000, "spot": False}
    asked = Boot(store.url, PREFIX, key, checksum, CREDENTIAL)
    return boot.user_data(asked, "u1-1", seconds, **(values | changes))


def spec(store: ObjectStore, script: str) -> None:
    now = time.time()
    values: dict[str, Any] = {"uid": "u1", "attempt": 1, "owner": "me", "job": JOB, "script": script}
    values |= {"environment": {}, "software": {}, "inputs": [], "logs": ["run.out", "run.err"], "log_base": {}}
    values |= {"abort_file": "", "deadline": now + 100, "grace": 20.0, "heartbeat": 0.2}
    store.put(f"{PREFIX}spec.json", dump(Spec(**values)))


def document(store: ObjectStore, kind: Any, name: str) -> Any:
    data = store.get(PREFIX + name)
    assert data is not None, name
    return load(kind, data, name)


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a process tree and file system of its own"),
]


def test_from_user_data_to_the_end(store: ObjectStore, tmp_path: Path) -> None:
    spec(store, f"id -un >{JOB}who; env >{JOB}environment; echo done")
    running = machine(tmp_path, told(store))
    said = running.communicate(timeout=300)[0].decode()
    ended = document(store, Exit, "exit.json")
    assert (ended.ended, ended.code) == ("finished", 0), said
    found = {each.path.removeprefix(JOB): each for each in document(store, Manifest, "manifest.json").outputs}

    def content(name: str) -> bytes:
        return read_whole(store, found[name].key, found[name].offset, found[name].size)

    assert content("who") == b"cryoburst\n"
    assert b"TMPDIR=/cryoburst/tmp" in content("environment")
    assert b"the-secret-of-tests" not in content("environment")
    assert document(store, Host, "host.json").cores > 0
    assert "the agent starts" in said
    assert "turning off" in said


def test_a_machine_that_can_not_do_its_work_says_so_and_goes_off(store: ObjectStore, tmp_path: Path) -> None:
    spec(store, "true")
    running = machine(tmp_path, told(store, disk=1 << 60))
    said = running.communicate(timeout=180)[0].decode()
    assert "this machine can't do its work" in said
    assert store.get(f"{PREFIX}started.json") is None


def test_the_timer_ends_it_whatever_happens(store: ObjectStore, tmp_path: Path) -> None:
    spec(store, "trap '' TERM; while :; do sleep 1; done")
    began = time.monotonic()
    running = machine(tmp_path, told(store, seconds=12.0))
    running.communicate(timeout=180)
    assert 11 < time.monotonic() - began < 100  # the deadline
