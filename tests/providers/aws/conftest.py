"""An account at moto, set up in two regions, and orders to fill."""

import json
import os
import urllib.request
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest

from cryoburst.model.plugins import Boot, MachineRequest, Offer
from cryoburst.providers.aws import AwsProvider, notes
from cryoburst.providers.aws.notes import Notes, Region

HERE, THERE = "eu-central-1", "us-east-1"
IMAGE = "ami-0d5e5f0a3b1c2d4e6"  # the one that moto is given: it knows neither Debian's parameters nor Canonical's
NOW = 1_790_000_000.0
OFFER = Offer("aws", "c5.xlarge", 4, 8 << 30, 0, 0.2, place=f"{HERE}a", region=HERE, software={"relion": "3.1.3"})
STORE = f"s3://lab/cryoburst?region={HERE}"


@pytest.fixture(scope="session", autouse=True)
def models() -> Iterator[None]:
    """boto3's descriptions of the services, which take a second each, are read once and not in every session."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(botocore.session, "create_loader", cache(botocore.session.create_loader))
        yield


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment without a credential, and a home of its own."""
    for name in os.environ:
        if name.startswith(("AWS_", "CRYOBURST_", "XDG_")):
            monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CRYOBURST_STATE", str(tmp_path / "state"))


@pytest.fixture
def account(nobody: None, moto: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh account at moto, and an environment with its credential; the server's address."""
    urllib.request.urlopen(urllib.request.Request(f"{moto}/moto-api/reset", method="POST")).close()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOFTESTS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret-of-tests")
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    return moto


@pytest.fixture
def aws(account: str) -> Callable[..., Any]:
    """``aws("ec2", "us-east-1")`` is a plain client, to look at what is there."""

    def client(service: str, region: str = HERE) -> Any:
        return boto3.Session().client(service, region_name=region)  # type: ignore[call-overload]

    return client


@pytest.fixture
def set_up(aws: Callable[..., Any], tmp_path: Path) -> Notes:
    """Notes as a setup leaves them, with a security group in each of two regions."""
    regions: dict[str, Region] = {}
    for region in (HERE, THERE):
        ec2 = aws("ec2", region)
        vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        group = ec2.create_security_group(GroupName="cryoburst", Description="test", VpcId=vpc)["GroupId"]
        regions[region] = Region(vpc, group)
    iam = aws("iam")
    iam.create_role(RoleName="cryoburst-lab", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17"}))
    iam.create_instance_profile(InstanceProfileName="cryoburst-lab")
    iam.add_role_to_instance_profile(InstanceProfileName="cryoburst-lab", RoleName="cryoburst-lab")
    made = Notes(
        account="123456789012",
        bucket="lab",
        bucket_region=HERE,
        prefix="cryoburst/",
        role="cryoburst-lab",
        image=IMAGE,
        regions=regions,
    )
    notes.write(tmp_path / "state" / "aws", made)
    return made


@pytest.fixture
def provider(set_up: Notes, tmp_path: Path) -> AwsProvider:
    return AwsProvider(tmp_path / "state" / "machines")


def request(token: str = "0123456789abcdef-1", **changes: Any) -> MachineRequest:
    """An order."""
    run, _, attempt = token.rpartition("-")
    checksum = "sha256:" + "0" * 64
    values: dict[str, Any] = {
        "token": token,
        "owner": "me@here",
        "run": run,
        "attempt": int(attempt),
        "offer": OFFER,
        "boot": Boot(STORE, f"ribo/Class2D.job012/{run}/{attempt}/", f"agent/{'0' * 64}.pyz", checksum),
        "power_off_at": NOW + 3600,
        "project": "ribo-0123456789",
        "job": "Class2D/job012/",
        "disk_bytes": 50 * 10**9,
    }
    return MachineRequest(**(values | changes))
