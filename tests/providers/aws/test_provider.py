"""The provider's verbs against AWS's imitation, over HTTP."""

import base64
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cryoburst.model.errors import (
    BadCredentials,
    BadInput,
    NoCapacity,
    NotSetUp,
    ProviderUnavailable,
)
from cryoburst.model.plugins import Boot
from cryoburst.providers.aws import AwsProvider, notes, tags
from cryoburst.providers.aws.calls import Answer, Calls, meaning
from cryoburst.providers.aws.notes import Notes

from .conftest import HERE, OFFER, THERE, request
from .test_calls import said

Clients = Callable[..., Any]
ELSEWHERE = replace(OFFER, region=THERE, place=f"{THERE}b")


def instances(aws: Clients, region: str = HERE) -> list[dict[str, Any]]:
    """What lives."""
    groups = aws("ec2", region).describe_instances()["Reservations"]
    return [i for group in groups for i in group["Instances"] if i["State"]["Name"] != "terminated"]


@pytest.mark.slow
def test_a_machine_is_what_was_asked_for(provider: AwsProvider, aws: Clients, set_up: Notes) -> None:
    seen = provider.create(request())
    assert (seen.token, seen.run, seen.attempt, seen.alive) == ("0123456789abcdef-1", "0123456789abcdef", 1, True)
    assert (seen.offer, seen.region, seen.spot, seen.interrupted) == ("c5.xlarge", HERE, False, False)
    (made,) = instances(aws)
    assert seen.id == f"{HERE}:{made['InstanceId']}"
    assert made["Placement"]["AvailabilityZone"] == f"{HERE}a"
    assert made["MetadataOptions"]["HttpTokens"] == "required"
    assert [group["GroupId"] for group in made["SecurityGroups"]] == [set_up.regions[HERE].security_group]
    assert made["IamInstanceProfile"]["Arn"].endswith("/cryoburst-lab")
    ec2 = aws("ec2")
    (disk,) = ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [made["InstanceId"]]}])[
        "Volumes"
    ]
    assert (disk["Encrypted"], disk["VolumeType"]) == (True, "gp3")
    assert disk["Size"] * 2**30 > 50e9
    assert tags.read(disk["Tags"])[tags.TOKEN] == tags.read(made["Tags"])[tags.TOKEN] == "0123456789abcdef-1"

    def attribute(name: str) -> Any:
        return ec2.describe_instance_attribute(InstanceId=made["InstanceId"], Attribute=name)

    end = attribute("instanceInitiatedShutdownBehavior")["InstanceInitiatedShutdownBehavior"]
    assert end["Value"] == "terminate"
    data = base64.b64decode(attribute("userData")["UserData"]["Value"]).decode()
    assert data.startswith("#cloud-config\n")


def test_the_same_token_is_the_same_machine_also_in_another_region(provider: AwsProvider, aws: Clients) -> None:
    first = provider.create(request())
    assert provider.create(request()).id == first.id
    assert provider.create(request(offer=ELSEWHERE)).id == first.id  # a refused order that was none
    assert (len(instances(aws)), instances(aws, THERE)) == (1, [])


@pytest.mark.slow
def test_spot(provider: AwsProvider, aws: Clients) -> None:
    assert provider.create(request(offer=replace(OFFER, spot=True))).spot
    (made,) = instances(aws)
    assert made["InstanceLifecycle"] == "spot"


def test_a_zone_by_its_id(provider: AwsProvider, aws: Clients) -> None:
    (zone,) = aws("ec2").describe_availability_zones(ZoneNames=[f"{HERE}b"])["AvailabilityZones"]
    provider.create(request(offer=replace(OFFER, place=zone["ZoneId"])))
    (made,) = instances(aws)
    assert made["Placement"]["AvailabilityZone"] == f"{HERE}b"


@pytest.mark.slow
def test_a_listing_is_of_all_regions_and_of_one_owner(provider: AwsProvider, aws: Clients, tmp_path: Path) -> None:
    mine = {provider.create(request("a-1")).id, provider.create(request("b-1", offer=ELSEWHERE)).id}
    provider.create(request("c-1", owner="you@there"))
    image = instances(aws)[0]["ImageId"]
    aws("ec2").run_instances(ImageId=image, MinCount=1, MaxCount=1, InstanceType="t3.micro")
    assert {seen.id for seen in provider.machines("me@here")} == mine
    assert {seen.id for seen in AwsProvider(tmp_path / "state" / "machines").machines("me@here")} == mine
    assert provider.machines("nobody") == []


@pytest.mark.slow
def test_an_end_takes_the_disks_along_and_is_silent_the_second_time(provider: AwsProvider, aws: Clients) -> None:
    seen = provider.create(request())
    provider.delete(seen.id)
    provider.delete(seen.id)
    provider.delete(f"{HERE}:i-0123456789abcdef0")  # never was
    assert provider.machines("me@here") == []
    assert aws("ec2").describe_volumes()["Volumes"] == []


@pytest.mark.slow
def test_what_is_not_ours_is_left_alone(provider: AwsProvider, aws: Clients) -> None:
    provider.create(request())
    image = instances(aws)[0]["ImageId"]
    (other,) = aws("ec2").run_instances(ImageId=image, MinCount=1, MaxCount=1, InstanceType="t3.micro")["Instances"]
    for name in (f"{HERE}:{other['InstanceId']}", "m-0123456789abcdef", f"{HERE}:i-../x"):
        with pytest.raises(BadInput):
            provider.delete(name)
    assert len(instances(aws)) == 2


@pytest.mark.slow
def test_a_disk_that_its_machine_left_is_listed_and_ended(set_up: Notes, aws: Clients, tmp_path: Path) -> None:
    mine = tags.of(request())
    made = aws("ec2").create_volume(
        Size=10, AvailabilityZone=f"{HERE}a", TagSpecifications=[{"ResourceType": "volume", "Tags": mine}]
    )
    folder, born = tmp_path / "state" / "machines", made["CreateTime"].timestamp()
    assert AwsProvider(folder, clock=lambda: born + 1).machines("me@here") == []  # it may wait for its machine
    provider = AwsProvider(folder, clock=lambda: born + 3600)
    (seen,) = provider.machines("me@here")
    assert (seen.alive, seen.token) == (False, "0123456789abcdef-1")
    provider.delete(seen.id)
    assert provider.machines("me@here") == []
    assert aws("ec2").describe_volumes()["Volumes"] == []


def test_the_console(provider: AwsProvider) -> None:
    assert "Linux" in provider.console(provider.create(request()).id)
    assert provider.console("odd") == provider.console(f"{HERE}:i-0123456789abcdef0") == ""


def test_a_machines_own_right_is_for_the_bucket_of_the_setup(provider: AwsProvider, aws: Clients) -> None:
    assert provider.lends(f"s3://lab/cryoburst?region={HERE}")
    assert provider.lends("s3://lab/cryoburst/more")
    for other in (
        "s3://lab/elsewhere",
        "s3://lab/cryoburst2",
        "s3://lab",
        "s3://other/cryoburst",
        "s3://lab/cryoburst?endpoint=https://s3.example.org",
        "file:///cryoburst",
    ):
        assert not provider.lends(other), other
    boot = Boot("s3://other/x?region=eu-west-1", "p/", "agent/x.pyz", "sha256:0", {"AWS_ACCESS_KEY_ID": "x"})
    provider.create(request(boot=boot))
    (made,) = instances(aws)
    assert "IamInstanceProfile" not in made


# ---------------------------------------------------------------------------------------------------- what goes wrong


class Failing(Calls):
    """moto, but for one operation in one region."""

    def __init__(self, operation: str, code: str, region: str = HERE) -> None:
        super().__init__()
        self._fails = operation, region
        self._code = code

    def ask(self, service: str, region: str, operation: str, **arguments: object) -> Answer:
        if (operation, region) == self._fails:
            raise meaning(said(self._code), operation)
        return super().ask(service, region, operation, **arguments)


def test_a_region_that_can_not_be_read_makes_all_unknown(set_up: Notes, tmp_path: Path) -> None:
    broken = AwsProvider(tmp_path / "state" / "machines", Failing("describe_instances", "RequestLimitExceeded", THERE))
    with pytest.raises(ProviderUnavailable, match="RequestLimitExceeded"):
        broken.machines("me@here")
    with pytest.raises(ProviderUnavailable):
        broken.create(request())  # it may be there already


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("InsufficientInstanceCapacity", NoCapacity),
        ("RequestLimitExceeded", ProviderUnavailable),
        ("UnauthorizedOperation", BadCredentials),
    ],
)
def test_a_refusal(set_up: Notes, aws: Clients, tmp_path: Path, code: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        AwsProvider(tmp_path / "state" / "machines", Failing("run_instances", code)).create(request())
    assert instances(aws) == []


def test_nothing_is_rented_before_a_setup(account: str, tmp_path: Path) -> None:
    provider = AwsProvider(tmp_path / "state" / "machines")
    with pytest.raises(NotSetUp, match="aws setup"):  # its notes may be lost: what is there is not known
        provider.machines("me@here")
    assert [finding.level for finding in provider.check()] == ["info"]
    with pytest.raises(BadInput, match="aws setup"):
        provider.create(request())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"offer": replace(OFFER, region="eu-west-1", place="eu-west-1a")}, "aws setup --region eu-west-1"),
        ({"offer": replace(OFFER, name="x9.enormous")}, "aws offers"),
        ({"offer": replace(OFFER, place=f"{HERE}z")}, "another zone"),
        ({"boot": Boot("file:///data/store", "p/", "agent/x.pyz", "sha256:0")}, "aws setup"),
    ],
)
def test_bad_input(provider: AwsProvider, aws: Clients, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        provider.create(request(**changes))
    assert instances(aws) == []


@pytest.mark.parametrize("image", ["ami-0123456789abcdef0", "tag:cryoburst=yes", "/aws/service/none", "odd"])
def test_an_image_that_is_not_there(provider: AwsProvider, set_up: Notes, tmp_path: Path, image: str) -> None:
    notes.write(tmp_path / "state" / "aws", replace(set_up, image=image))
    with pytest.raises(BadInput, match="image"):
        provider.create(request())
    assert "image" in provider.check()[-1].sentence


@pytest.mark.slow
def test_an_image_by_its_tag(provider: AwsProvider, set_up: Notes, aws: Clients, tmp_path: Path) -> None:
    provider.create(request("a-1"))
    ec2 = aws("ec2")
    made = ec2.create_image(InstanceId=instances(aws)[0]["InstanceId"], Name="relion")["ImageId"]
    ec2.create_tags(Resources=[made], Tags=[{"Key": "cryoburst", "Value": "yes"}])
    notes.write(tmp_path / "state" / "aws", replace(set_up, image="tag:cryoburst=yes"))
    provider.create(request("b-1"))
    assert made in {each["ImageId"] for each in instances(aws)}


def test_no_credential(set_up: Notes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    provider = AwsProvider(tmp_path / "state" / "machines")
    with pytest.raises(BadCredentials, match="aws configure"):
        provider.machines("me@here")
    assert [(f.level, "credential" in f.sentence) for f in provider.check()] == [("error", True)]


def test_the_credential_of_another_account(provider: AwsProvider, set_up: Notes, tmp_path: Path) -> None:
    notes.write(tmp_path / "state" / "aws", replace(set_up, account="999999999999"))
    (finding,) = provider.check()
    assert finding.level == "error"
    assert "123456789012" in finding.sentence


def test_all_is_well(provider: AwsProvider) -> None:
    assert [finding.level for finding in provider.check()] == ["ok", "ok", "ok"]


def test_a_credential_that_comes_later_is_taken(set_up: Notes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "credentials"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    provider = AwsProvider(tmp_path / "state" / "machines")
    with pytest.raises(BadCredentials):
        provider.machines("me@here")
    file.write_text("[default]\naws_access_key_id = AKID\naws_secret_access_key = secret\n")
    assert provider.machines("me@here") == []
