"""The order for a machine, and its user data."""

import base64
import json
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cryoburst.model.errors import BadInput
from cryoburst.model.plugins import Boot, MachineRequest
from cryoburst.providers.aws import boot, catalogue, machine, order, tags
from cryoburst.providers.aws.images import Image

from .conftest import HERE, OFFER, STORE, request

DEBIAN = Image("ami-0123456789abcdef0", "/dev/xvda", 8)
SECRET = {"AWS_ACCESS_KEY_ID": "ASIAX", "AWS_SECRET_ACCESS_KEY": "s3cr3t", "AWS_SESSION_TOKEN": "t" * 1500}


def arguments(asked: MachineRequest, **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"subnet": "subnet-1", "security_group": "sg-1", "profile": "role", "user_data": "#x"}
    return order.arguments(asked, DEBIAN, **(given | more))


def text(asked: Boot, **changes: Any) -> str:
    values: dict[str, Any] = {"region": HERE, "software": boot.PLAIN, "local": False, "disk": 10, "spot": False}
    return boot.user_data(asked, "run-1", 3600.0, **(values | changes))


def test_everything_that_costs_is_tagged_encrypted_and_ends_with_the_machine() -> None:
    made = arguments(request())
    assert {each["ResourceType"] for each in made["TagSpecifications"]} == {"instance", "volume"}
    found = tags.read(made["TagSpecifications"][0]["Tags"])
    assert found == tags.read(made["TagSpecifications"][1]["Tags"])
    assert found["cryoburst:owner"] == "me@here"
    assert found["cryoburst:token"] == "0123456789abcdef-1"
    assert found["cryoburst:deadline"] == "2026-09-21T15:13:20+00:00"
    (disk,) = made["BlockDeviceMappings"]
    assert disk["DeviceName"] == "/dev/xvda"
    assert disk["Ebs"]["Encrypted"] is True
    assert disk["Ebs"]["DeleteOnTermination"] is True
    assert disk["Ebs"]["VolumeType"] == "gp3"
    assert disk["Ebs"]["VolumeSize"] * 2**30 >= 50e9 * 1.1
    assert made["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert made["MetadataOptions"]["HttpTokens"] == "required"
    assert made["MinCount"] == made["MaxCount"] == 1
    assert "InstanceMarketOptions" not in made


def test_spot_is_asked_for_once_and_ends() -> None:
    options = arguments(request(offer=replace(OFFER, spot=True)))["InstanceMarketOptions"]
    assert options["SpotOptions"] == {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}


def test_a_cap_on_the_price_is_one_while_a_spot_machine_runs() -> None:
    asked = replace(request(offer=replace(OFFER, spot=True)), max_price=0.5)
    assert arguments(asked)["InstanceMarketOptions"]["SpotOptions"]["MaxPrice"] == "0.500000"
    assert "InstanceMarketOptions" not in arguments(replace(asked, offer=OFFER))


def test_a_part_tells_which() -> None:
    found = tags.read(tags.of(request("0123456789abcdef.3-2")))
    assert (found[tags.RUN], found[tags.PART], found[tags.ATTEMPT]) == ("0123456789abcdef.3", "3", "2")


@pytest.mark.parametrize(
    ("own", "needed", "local", "gigabytes"),
    [
        (0, 0, False, catalogue.SYSTEM + catalogue.UNKNOWN),
        (0, 100 * 2**30, False, catalogue.SYSTEM + 110),
        (600 * 10**9, 100 * 10**9, True, catalogue.SYSTEM),
        (600 * 10**9, 0, True, catalogue.SYSTEM),
        (100 * 10**9, 100 * 10**9, False, catalogue.SYSTEM + 103),  # with something to spare it does not fit
        (0, 10**15, False, catalogue.LARGEST_DISK // catalogue.GIB),
    ],
)
def test_scratch(own: int, needed: int, local: bool, gigabytes: int) -> None:
    asked = request(offer=replace(OFFER, local_disk_bytes=own), disk_bytes=needed)
    assert order.scratch(asked) == (local, gigabytes)


def test_the_disk_is_never_smaller_than_the_image() -> None:
    asked = request(offer=replace(OFFER, local_disk_bytes=10**12))
    made = order.arguments(
        asked, replace(DEBIAN, gigabytes=75), subnet="", security_group="sg-1", profile="", user_data=""
    )
    assert made["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] == 75
    assert not {"SubnetId", "IamInstanceProfile"} & set(made)


def test_the_same_order_is_the_same_machine_and_another_offer_another() -> None:
    first = order.client_token("run-1", OFFER)
    assert first == order.client_token("run-1", replace(OFFER, usd_per_hour=9.0))
    others = [replace(OFFER, spot=True), replace(OFFER, place="x"), replace(OFFER, name="c5.large")]
    assert len({first, *(order.client_token("run-1", each) for each in others), order.client_token("r-2", OFFER)}) == 5
    assert len(first) == 32


@given(st.text(), st.text())
def test_any_text_is_a_tag_and_two_stay_two(one: str, other: str) -> None:
    assert len(tags.value(one)) <= tags.LONGEST
    assert (tags.value(one) == tags.value(other)) == (one == other)


# ------------------------------------------------------------------------------------------------------- user data


def test_the_timer_comes_first_and_no_secret_is_on_a_command_line() -> None:
    asked = replace(request().boot, credential=SECRET)
    data = text(asked)
    assert len(data) < boot.LIMIT
    found = yaml.safe_load(data)
    assert found == json.loads(data.partition("\n")[2])
    assert list(found) == ["bootcmd", "write_files", "runcmd"]
    (timer,) = found["bootcmd"]
    assert timer[4:] == ["timer", "3600", "run-1"]
    assert zlib.decompress(base64.b64decode(timer[3])).decode() == Path(machine.__file__).read_text()
    assert "s3cr3t" not in json.dumps([found["bootcmd"], found["runcmd"]])
    (file,) = found["write_files"]
    assert file["permissions"] == "0600"
    assert json.loads(file["content"])["credential"] == SECRET


def test_a_role_means_that_nothing_secret_is_in_it() -> None:
    (file,) = yaml.safe_load(text(request().boot))["write_files"]
    assert json.loads(file["content"])["credential"] == {}


def test_more_than_ec2_takes_is_refused_before_anything_is_rented() -> None:
    with pytest.raises(BadInput, match="aws setup"):
        text(replace(request().boot, credential={"AWS_SESSION_TOKEN": "t" * 20_000}))


@pytest.mark.parametrize("url", ["file:///data/store", "gs://bucket/x", "az://a/b"])
def test_a_store_that_no_machine_there_reaches(url: str) -> None:
    with pytest.raises(BadInput, match="can't reach this store"):
        text(replace(request().boot, store_url=url))


def test_only_a_machine_that_may_be_taken_back_asks_whether_it_is() -> None:
    for spot in (False, True):
        (file,) = yaml.safe_load(text(request().boot, spot=spot))["write_files"]
        assert ("CRYOBURST_NOTICE" in json.loads(file["content"])["environment"]) is spot


def test_recipes() -> None:
    assert boot.recipes({}, "debian-12", 0) == []
    assert boot.recipes({"relion": "3"}, "ubuntu-24.04", 0) == boot.PLAIN
    assert boot.recipes({"relion": "3"}, "debian-12", 1) == boot.CUDA
    assert boot.recipes({"relion": "3"}, "ami-1234567890", 1) == []  # it must have drivers and all


@pytest.mark.parametrize(
    ("url", "base", "path"),
    [
        (STORE, f"https://lab.s3.{HERE}.amazonaws.com", "/cryoburst/agent/x"),
        ("s3://lab?region=us-east-1", "https://lab.s3.us-east-1.amazonaws.com", "/agent/x"),
        ("s3://lab.org/a?region=cn-north-1", "https://s3.cn-north-1.amazonaws.com.cn", "/lab.org/a/agent/x"),
        ("s3://lab/a%20b?endpoint=http://10.0.0.1:8080", "http://10.0.0.1:8080", "/lab/a b/agent/x"),
        ("s3://lab/a?endpoint=https://s3.org&addressing=virtual", "https://lab.s3.org", "/a/agent/x"),
    ],
)
def test_where_the_agent_is(url: str, base: str, path: str) -> None:
    found = boot.address(url, "agent/x", HERE)
    assert (found["base"], found["path"]) == (base, path)
    assert found["host"] == base.partition("://")[2]


@pytest.mark.parametrize("token", ["", "tok/en+=="])
def test_the_signature_is_botocores(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.time, "gmtime", lambda: (2026, 11, 28, 10, 0, 0, 5, 332, 0))
    key = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret"}
    asked = {**boot.address("s3://lab/a%20b~(1)?endpoint=http://10.0.0.1:8080", "agent/x", HERE), "credential": key}
    if token:
        key["AWS_SESSION_TOKEN"] = token
    made = machine.signed(asked)
    theirs = botocore.awsrequest.AWSRequest("GET", made.full_url)
    theirs.context["timestamp"] = "20261128T100000Z"
    signer = botocore.auth.S3SigV4Auth(
        botocore.credentials.Credentials("AKID", "secret", token or None), "s3", asked["region"]
    )
    monkeypatch.setattr(botocore.auth, "get_current_datetime", fixed, raising=False)
    theirs.context["payload_signing_enabled"] = True
    signer.add_auth(theirs)
    assert made.get_header("Authorization") == theirs.headers["Authorization"]


def fixed(*_: object, **__: object) -> Any:
    """The moment of the signature."""
    return datetime(2026, 11, 28, 10, 0, 0, tzinfo=UTC)
