"""``cryoburst aws setup`` and ``teardown``, ``machines --reap``, as a user calls them, against AWS's imitation."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from cryoburst.cli.main import main
from cryoburst.database.ledger import Ledger
from cryoburst.model.errors import BadCredentials
from cryoburst.model.run import Run
from cryoburst.providers.aws import AwsProvider, notes, setup, things
from cryoburst.providers.aws.calls import Answer, Calls
from cryoburst.services import stores
from cryoburst.services.settings import load

from .conftest import HERE, IMAGE, OFFER, THERE, request

Clients = Callable[..., Any]
BUCKET = f"cryoburst-123456789012-{HERE}"
SETUP = ["aws", "setup", "--region", HERE, "--image", IMAGE]


def folder() -> Path:
    return load().machines.parent / "aws"


def say(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """A command: exit code, output, errors."""
    code = main(words)
    out, err = capsys.readouterr()
    return code, out, err


def nothing(aws: Clients) -> bool:
    """Whether the account has nothing of ours."""
    groups = [
        g["GroupName"]
        for region in (HERE, THERE)
        for g in aws("ec2", region).describe_security_groups()["SecurityGroups"]
    ]
    iam = aws("iam")
    profiles = iam.list_instance_profiles()["InstanceProfiles"]
    return (
        not aws("s3").list_buckets()["Buckets"]
        and not iam.list_roles()["Roles"]
        and not profiles
        and set(groups) == {"default"}
    )


def test_it_shows_first_and_makes_nothing(account: str, aws: Clients, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = say(capsys, *SETUP)
    assert code == 0
    for part in (BUCKET, "security group", "no inbound rule", "to be made", "role"):
        assert part in out
    assert "say --yes" in err
    assert nothing(aws)
    assert notes.read(folder()) is None


def test_what_it_makes(account: str, aws: Clients, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = say(capsys, *SETUP, "--yes")
    assert code == 0, out
    s3 = aws("s3")
    assert set(s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"].values()) == {True}
    rules = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    uploads, old = s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert uploads["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert (old["Expiration"], old["Filter"]) == ({"Days": 365}, {"Prefix": "cryoburst/"})
    assert s3.get_bucket_location(Bucket=BUCKET)["LocationConstraint"] == HERE
    (group,) = [g for g in aws("ec2").describe_security_groups()["SecurityGroups"] if g["GroupName"] == "cryoburst"]
    assert group["IpPermissions"] == []
    iam = aws("iam")
    (profile,) = iam.list_instance_profiles()["InstanceProfiles"]
    assert profile["InstanceProfileName"] == profile["Roles"][0]["RoleName"] == BUCKET
    allowed = iam.get_role_policy(RoleName=BUCKET, PolicyName="store")["PolicyDocument"]
    assert {BUCKET in json.dumps(each["Resource"]) for each in allowed["Statement"]} == {True}
    found = notes.read(folder())
    assert found is not None
    assert found.regions[HERE].security_group == group["GroupId"]
    assert "secret" not in (folder() / "setup.json").read_text()
    assert AwsProvider(load().machines).lends(found.store)
    assert "--store aws" in out


def test_again_changes_nothing_and_mends_what_somebody_changed(
    account: str, aws: Clients, capsys: pytest.CaptureFixture[str]
) -> None:
    assert say(capsys, *SETUP, "--yes")[0] == 0
    before = (folder() / "setup.json").read_text()
    (group,) = [g for g in aws("ec2").describe_security_groups()["SecurityGroups"] if g["GroupName"] == "cryoburst"]
    door = [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    aws("ec2").authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=door)
    aws("s3").delete_public_access_block(Bucket=BUCKET)
    code, out, _ = say(capsys, *SETUP, "--yes")
    assert (code, out.count("as it should be")) == (0, 3)
    assert (folder() / "setup.json").read_text() == before
    (group,) = [g for g in aws("ec2").describe_security_groups()["SecurityGroups"] if g["GroupName"] == "cryoburst"]
    assert group["IpPermissions"] == []
    assert aws("s3").get_public_access_block(Bucket=BUCKET)


def test_one_region_more(account: str, aws: Clients, capsys: pytest.CaptureFixture[str]) -> None:
    assert say(capsys, *SETUP, "--yes")[0] == 0
    assert say(capsys, "aws", "setup", "--region", THERE, "--yes")[0] == 0
    found = notes.read(folder())
    assert found is not None
    assert (set(found.regions), found.bucket_region) == ({HERE, THERE}, HERE)
    assert len(aws("s3").list_buckets()["Buckets"]) == 1


def test_when_old_data_goes_is_the_users_to_say(account: str, aws: Clients, capsys: pytest.CaptureFixture[str]) -> None:
    assert "older than 365 days will go, also outputs that were left there" in say(capsys, *SETUP, "--yes")[1]
    _, out, _ = say(capsys, *SETUP, "--expire-days", "90", "--yes")
    assert "older than 90 days will go, also outputs that were left there" in out
    rules = aws("s3").get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert [rule.get("Expiration", {}).get("Days") for rule in rules] == [None, 90]
    assert say(capsys, *SETUP, "--expire-days", "0", "--yes")[0] == 0
    for lost in (False, True):  # it stays as it was said
        if lost:
            notes.forget(folder())
        assert say(capsys, *SETUP, "--yes")[0] == 0
        assert len(aws("s3").get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]) == 1


@pytest.mark.slow
def test_teardown_removes_exactly_that(account: str, aws: Clients, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (SETUP, ["aws", "setup", "--region", THERE]):
        assert say(capsys, *words, "--yes")[0] == 0
    aws("s3").create_bucket(Bucket="of-somebody-else", CreateBucketConfiguration={"LocationConstraint": HERE})
    code, out, err = say(capsys, "aws", "teardown")
    assert (code, "say --yes" in err) == (0, True)
    assert not nothing(aws)
    code, out, _ = say(capsys, "aws", "teardown", "--yes")
    assert (code, out.count("removed")) == (0, 4)
    assert [b["Name"] for b in aws("s3").list_buckets()["Buckets"]] == ["of-somebody-else"]
    aws("s3").delete_bucket(Bucket="of-somebody-else")
    assert nothing(aws)
    assert say(capsys, "aws", "teardown", "--yes")[0] == 2
    assert say(capsys, *SETUP, "--yes")[0] == 0  # and from the beginning


@pytest.mark.slow
def test_a_bucket_with_data_stays_until_that_is_given_up(
    account: str, aws: Clients, capsys: pytest.CaptureFixture[str]
) -> None:
    assert say(capsys, *SETUP, "--yes")[0] == 0
    aws("s3").put_object(Bucket=BUCKET, Key="cryoburst/precious", Body=b"x")
    code, _, err = say(capsys, "aws", "teardown", "--yes")
    assert (code, "--with-data" in err) == (2, True)
    assert len(aws("iam").list_roles()["Roles"]) == 1  # nothing went
    code, out, _ = say(capsys, "aws", "teardown", "--yes", "--with-data")
    assert (code, "with 1 objects" in out) == (0, True)
    assert nothing(aws)


@pytest.mark.slow
def test_no_teardown_while_machines_are_there(account: str, aws: Clients, capsys: pytest.CaptureFixture[str]) -> None:
    assert say(capsys, *SETUP, "--yes")[0] == 0
    AwsProvider(load().machines).create(request(owner=load().owner, offer=OFFER))
    code, _, err = say(capsys, "aws", "teardown", "--yes")
    assert (code, "--reap" in err) == (2, True)
    assert say(capsys, "machines", "--reap", "--to", "aws", "--yes")[0] == 0
    assert "all of it is there" in say(capsys, *SETUP)[2]
    assert say(capsys, "aws", "teardown", "--yes")[0] == 0


@pytest.mark.slow
def test_what_was_made_before_a_crash_is_known(
    account: str, aws: Clients, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(self: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(things.Role, "make", crash)
        main([*SETUP, "--yes"])
    capsys.readouterr()
    assert [b["Name"] for b in aws("s3").list_buckets()["Buckets"]] == [BUCKET]
    found = AwsProvider(load().machines)
    with pytest.raises(Exception, match="aws setup"):
        found.create(request())
    assert say(capsys, "aws", "teardown", "--yes")[0] == 0
    assert nothing(aws)


@pytest.mark.slow
def test_notes_that_were_lost_are_found_by_the_tags(
    account: str, aws: Clients, capsys: pytest.CaptureFixture[str]
) -> None:
    assert say(capsys, *SETUP, "--yes")[0] == 0
    notes.forget(folder())
    assert say(capsys, *SETUP, "--yes")[0] == 0
    assert say(capsys, "aws", "teardown", "--yes")[0] == 0
    assert nothing(aws)


# ------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--region", "eu-centrall-1"], "did you mean one of eu-central-1"),
        (["--region", "eu-north-1"], "no prices of a region eu-north-1 are known: choose one of"),
        (["--bucket", "Not_A_Name"], "3 to 63 small letters"),
        (["--image", "ami-0123456789abcdef0"], "--image"),
        (["--image", "odd"], "names no image"),
        (["--expire-days", "-1"], "0 means never"),
        (["--profile", "nobody"], "nobody"),
    ],
)
def test_bad_input(
    account: str, aws: Clients, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    code, _, err = say(capsys, *SETUP, *words, "--yes")
    assert (code, err.count("\n")) == (2, 1), err
    assert sentence in err
    assert nothing(aws)


def test_a_region_that_the_account_has_not_enabled(
    account: str, aws: Clients, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS says there that it does not know the credential."""
    ask = Calls.ask

    def closed(self: Calls, service: str, region: str, operation: str, **more: object) -> Answer:
        if region == HERE:
            raise BadCredentials("AWS does not know the credential (InvalidClientTokenId)")
        return ask(self, service, region, operation, **more)

    monkeypatch.setattr(Calls, "ask", closed)
    code, _, err = say(capsys, *SETUP, "--yes")
    assert (code, err.count("\n"), "not enabled this region (eu-central-1)" in err) == (2, 1, True), err


def test_a_profile_is_the_stores_too_and_a_name_that_is_taken_stays(
    account: str, aws: Clients, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "config"
    file.write_text("[profile lab]\naws_access_key_id = AKIDOFLAB\naws_secret_access_key = secret\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    assert say(capsys, *SETUP, "--yes")[0] == 0
    assert "profile" not in stores.read_names().stores["aws"]
    assert say(capsys, *SETUP, "--profile", "lab", "--yes")[0] == 0
    assert stores.read_names().stores["aws"].endswith("&profile=lab")
    assert len(stores.read_names().stores) == 1
    assert say(capsys, "aws", "teardown", "--yes")[0] == 0
    assert stores.read_names().stores == {}
    stores.add_name("aws", "s3://of-somebody-else", default=False)
    code, out, _ = say(capsys, *SETUP, "--yes")
    assert (code, f"--store {BUCKET}" in out) == (0, True)
    assert stores.read_names().stores["aws"] == "s3://of-somebody-else"


def test_no_region(account: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = say(capsys, "aws", "setup", "--yes")
    assert (code, "--region eu-central-1" in err) == (2, True)


def test_no_credential(account: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    code, _, err = say(capsys, *SETUP, "--yes")
    assert (code, "aws configure" in err, err.count("\n")) == (2, True, 1)


def test_no_default_network(account: str, aws: Clients, capsys: pytest.CaptureFixture[str]) -> None:
    ec2 = aws("ec2")
    for subnet in ec2.describe_subnets()["Subnets"]:
        ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    ec2.delete_vpc(VpcId=ec2.describe_vpcs()["Vpcs"][0]["VpcId"])
    code, _, err = say(capsys, *SETUP, "--yes")
    assert (code, "create-default-vpc" in err) == (2, True)


def test_a_bucket_that_is_not_ours(account: str, aws: Clients, capsys: pytest.CaptureFixture[str]) -> None:
    where = {"LocationConstraint": HERE}
    aws("s3").create_bucket(Bucket="the-lab", CreateBucketConfiguration=where)
    code, _, err = say(capsys, *SETUP, "--bucket", "the-lab", "--yes")
    assert (code, "not made by us" in err) == (2, True)
    assert aws("iam").list_roles()["Roles"] == []


def test_a_bucket_of_another_account(
    account: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Calls.ask

    def forbidden(self: Calls, service: str, region: str, operation: str, **more: object) -> Answer:
        if operation == "head_bucket":
            error = botocore.exceptions.ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "HeadBucket")
            raise setup_meaning(error)
        return ask(self, service, region, operation, **more)

    from cryoburst.providers.aws.calls import meaning

    def setup_meaning(error: Any) -> Exception:
        return meaning(error.response, "head_bucket")

    monkeypatch.setattr(Calls, "ask", forbidden)
    code, _, err = say(capsys, *SETUP, "--bucket", "lab", "--yes")
    assert (code, "belongs to somebody else" in err) == (2, True)


@pytest.mark.slow
def test_another_account(account: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert say(capsys, *SETUP, "--yes")[0] == 0
    found = notes.read(folder())
    assert found is not None
    notes.write(folder(), setup.replace(found, account="999999999999"))
    for words in (SETUP, ["aws", "teardown"]):
        code, _, err = say(capsys, *words, "--yes")
        assert (code, "999999999999" in err) == (2, True)


# ------------------------------------------------------------------------------------------------------------ reap


def test_notes_that_are_lost_are_not_an_empty_list(account: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What runs there is not known then: nobody may say that nothing is left over."""
    assert say(capsys, "machines", "--reap")[:2] == (0, "No machine is left over.\n")  # AWS was never used
    code, _, err = say(capsys, "machines", "--reap", "--to", "aws")
    assert (code, "aws setup" in err) == (2, True)


def test_no_teardown_while_a_run_goes_there(account: str, aws: Clients, capsys: pytest.CaptureFixture[str]) -> None:
    assert say(capsys, *SETUP, "--yes")[0] == 0
    ledger = Ledger(load().database)
    ledger.completed(0.0)
    run = Run(0, "u", "me", "/p", "Class2D/job001/", "t", "k", "relion", "", "s3://b", "aws", "", None, 1, 0.0)
    ledger.add(run)
    code, _, err = say(capsys, "aws", "teardown", "--yes")
    assert (code, "run 1 is not finished, and goes to AWS" in err) == (2, True)
    assert not nothing(aws)
    ledger.connection.close()


@pytest.mark.slow
def test_reap(account: str, aws: Clients, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (SETUP, ["aws", "setup", "--region", THERE]):
        assert say(capsys, *words, "--yes")[0] == 0
    provider, owner = AwsProvider(load().machines), load().owner
    mine = provider.create(request("feedfeedfeedfeed-1", owner=owner))
    far = provider.create(
        request("beefbeefbeefbeef-1", owner=owner, offer=setup.replace(OFFER, region=THERE, place=""))
    )
    other = provider.create(request("cafecafecafecafe-1", owner="you@there"))
    code, out, err = say(capsys, "machines", "--reap", "--to", "aws")
    assert (code, "say --yes" in err) == (0, True)
    assert mine.id in out
    assert far.id in out
    assert other.id not in out
    assert "no run of yours" in out
    assert len(provider.machines(owner)) == 2
    code, out, _ = say(capsys, "machines", "--reap", "--to", "aws", "--yes", "--json")
    found = json.loads(out)["machines"]
    assert (code, {each["id"] for each in found}, [each["ended"] for each in found]) == (
        0,
        {mine.id, far.id},
        [True] * 2,
    )
    fresh = AwsProvider(load().machines)
    assert fresh.machines(owner) == []
    assert [seen.id for seen in fresh.machines("you@there")] == [other.id]
    assert say(capsys, "machines", "--reap", "--to", "aws")[1] == "No machine is left over.\n"


def test_reap_ends_nothing_while_a_region_can_not_be_read(
    account: str, aws: Clients, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert say(capsys, *SETUP, "--yes")[0] == 0
    seen = AwsProvider(load().machines).create(request(owner=load().owner))
    with monkeypatch.context() as patched:
        patched.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        code, _, err = say(capsys, "machines", "--reap", "--to", "aws", "--yes")
    assert (code, "does not answer" in err) == (2, True)
    assert [each.id for each in AwsProvider(load().machines).machines(load().owner)] == [seen.id]
