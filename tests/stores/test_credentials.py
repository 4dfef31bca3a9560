"""Credentials: the chain at home, and the narrow ones that machines get."""

import configparser
import json
import logging
import sys
from pathlib import Path

import pytest

from cryoburst.model.errors import StoreRefused, StoreUnavailable
from cryoburst.stores import credentials
from cryoburst.stores.objects import ObjectStore

from .canned import Asked, Canned, Said, xml
from .conftest import KEY, SECRET

ARN = "arn:aws:s3:::bucket"
ROLE = "arn:aws:iam::123456789012:role/machines"


def allowed(read: list[str], write: str) -> list[tuple[list[str], list[str], list[str]]]:
    """The policy's statements as (actions, resources, prefixes that may be listed)."""
    document = json.loads(credentials.policy("bucket", read, write))
    assert document["Version"] == "2012-10-17"
    assert {each["Effect"] for each in document["Statement"]} == {"Allow"}
    return [
        (each["Action"], each["Resource"], each.get("Condition", {}).get("StringLike", {}).get("s3:prefix", []))
        for each in document["Statement"]
    ]


WRITING = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]


@pytest.mark.parametrize(
    ("read", "write", "expected"),
    [
        ([], "w/", [(WRITING, [f"{ARN}/w/*"], []), (["s3:ListBucket"], [ARN], ["w/*"])]),
        (
            ["p/inputs/", "agent/"],
            "p/job/1/",
            [
                (["s3:GetObject"], [f"{ARN}/p/inputs/*", f"{ARN}/agent/*"], []),
                (WRITING, [f"{ARN}/p/job/1/*"], []),
                (["s3:ListBucket"], [ARN], ["p/inputs/*", "agent/*", "p/job/1/*"]),
            ],
        ),
        (
            ["w/", "r/", "r/"],
            "w/",
            [
                (["s3:GetObject"], [f"{ARN}/r/*"], []),
                (WRITING, [f"{ARN}/w/*"], []),
                (["s3:ListBucket"], [ARN], ["w/*", "r/*"]),
            ],
        ),
        (
            ["a*b?/${x}/"],
            "é ü/",
            [
                (["s3:GetObject"], [f"{ARN}/a${{*}}b${{?}}/${{$}}{{x}}/*"], []),
                (WRITING, [f"{ARN}/é ü/*"], []),
                (["s3:ListBucket"], [ARN], ["a${*}b${?}/${$}{x}/*", "é ü/*"]),
            ],
        ),
    ],
)
def test_policy(read: list[str], write: str, expected: list[tuple[list[str], list[str], list[str]]]) -> None:
    assert allowed(read, write) == expected


def test_the_policy_of_another_partition() -> None:
    assert "arn:aws-cn:s3:::b/w/*" in credentials.policy("b", [], "w/", "aws-cn")


def test_federation_token(moto: str, user: None) -> None:
    store = ObjectStore(f"s3://bucket/base?endpoint={moto}&sts={moto}&region=eu-west-1")
    found = store.credential(["in/"], "out/", 3600.0)
    assert set(found) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"}
    assert found["AWS_REGION"] == "eu-west-1"
    assert all(found.values())
    assert KEY not in found.values()
    assert SECRET not in found.values()


def test_a_role(moto: str, user: None) -> None:
    store = ObjectStore(f"s3://bucket?endpoint={moto}&sts={moto}&role={ROLE}")
    assert store.credential([], "out/", 3600.0)["AWS_SESSION_TOKEN"]


STS = """<R xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{0}Result><Credentials><AccessKeyId>ASIA</AccessKeyId>
<SecretAccessKey>secret-for-machine</SecretAccessKey><SessionToken>token-for-machine</SessionToken>
<Expiration>2036-01-01T00:00:00Z</Expiration></Credentials></{0}Result></R>"""


def sts_error(status: int, code: str, message: str) -> Said:
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
    return Said(status, f"<ErrorResponse>{error}</ErrorResponse>".encode(), {"Content-Type": "text/xml"})


def sts(name: str) -> Said:
    return Said(200, STS.format(name).encode(), {"Content-Type": "text/xml"})


@pytest.mark.parametrize(("seconds", "asked"), [(1, "900"), (5000.5, "5001"), (129600, "129600")])
def test_how_long_a_federation_token_lives(user: None, seconds: float, asked: str) -> None:
    server = Canned(lambda request: sts("GetFederationToken"))
    store = ObjectStore(f"s3://bucket?endpoint={server.url}&sts={server.url}")
    assert store.credential([], "out/", seconds)["AWS_SESSION_TOKEN"] == "token-for-machine"
    assert f"DurationSeconds={asked}".encode() in server.asked[0].body
    server.close()


@pytest.mark.slow
def test_a_credential_that_would_end_before_its_machine_is_refused(user: None) -> None:
    server = Canned(lambda request: sts_error(400, "ValidationError", "DurationSeconds exceeds the MaxSessionDuration"))
    url = f"s3://bucket?endpoint={server.url}&sts={server.url}"
    with pytest.raises(StoreRefused, match=r"no machine a credential for 5\.0 h .*MaxSession.*lower walltime_hours"):
        ObjectStore(f"{url}&role={ROLE}").credential([], "out/", 18000.0)
    for role, seconds in ((f"&role={ROLE}", 43201.0), ("", 129601.0)):
        with pytest.raises(StoreRefused, match="the longest is"):
            ObjectStore(url + role).credential([], "out/", seconds)
    assert len(server.asked) == 1
    server.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (sts_error(403, "AccessDenied", "Cannot call GetFederationToken"), StoreRefused, "role=ARN"),
        (xml(501, "NotImplemented"), StoreRefused, "no such service"),
        (xml(405, "MethodNotAllowed"), StoreRefused, "no such service"),
        (sts_error(503, "SlowDown", ""), StoreUnavailable, "SlowDown"),
    ],
)
def test_a_server_that_makes_no_credential(user: None, said: Said, kind: type[Exception], words: str) -> None:
    server = Canned(lambda request: said)
    with pytest.raises(kind, match=words):
        ObjectStore(f"s3://bucket?endpoint={server.url}&sts={server.url}").credential([], "out/", 60.0)
    server.close()


def test_an_sts_that_does_not_answer(user: None) -> None:
    with pytest.raises(StoreUnavailable, match="no answer"):
        ObjectStore("s3://bucket?endpoint=http://127.0.0.1:1&sts=http://127.0.0.1:1").credential([], "out/", 60.0)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://bucket?endpoint=http://127.0.0.1:1", "add .sts="),
        ("gs://bucket", "an identity of its own"),
        ("az://account/container", "an identity of its own"),
    ],
)
def test_stores_that_make_no_credential(user: None, url: str, words: str) -> None:
    with pytest.raises(StoreRefused, match=words):
        ObjectStore(url).credential([], "out/", 60.0)


def test_too_many_prefixes_for_a_policy(user: None) -> None:
    store = ObjectStore("s3://bucket?endpoint=http://127.0.0.1:1&sts=http://127.0.0.1:1")
    with pytest.raises(StoreRefused, match="longer than AWS allows"):
        store.credential([f"projects/number-{n}/inputs/" for n in range(40)], "out/", 60.0)


# ------------------------------------------------------------------------------------------------------- the chain


def configure(folder: Path, monkeypatch: pytest.MonkeyPatch, **profiles: dict[str, str]) -> None:
    config = configparser.ConfigParser()
    for name, values in profiles.items():
        config[f"profile {name}"] = values
    with (folder / "config").open("w") as file:
        config.write(file)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))


def test_no_credential_at_all(nobody: None) -> None:
    with pytest.raises(StoreRefused, match=r"no credential was found.*aws configure or aws sso login"):
        ObjectStore("s3://bucket?endpoint=http://127.0.0.1:1").get("a")


def test_no_credential_on_a_machine_without_boto3(nobody: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def imds(request: Asked) -> Said:
        return Said(403, b"no role")

    server = Canned(imds)
    monkeypatch.setattr(credentials, "_installed", lambda *_: False)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", server.url)
    with pytest.raises(StoreRefused, match="no credential was found"):
        ObjectStore("s3://bucket?endpoint=http://127.0.0.1:1").get("a")
    server.close()


def test_the_role_of_a_machine_without_boto3(nobody: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(request: Asked) -> Said:
        if request.path == "/latest/api/token":
            return Said(200, b"imds-token")
        if request.path.endswith("/security-credentials/"):
            return Said(200, b"lab")
        if request.path.endswith("/lab"):
            secret = {"AccessKeyId": "ASIAROLE", "SecretAccessKey": "x", "Token": "roles-token", "Code": "Success"}
            return Said(200, json.dumps(secret | {"Expiration": "2036-01-01T00:00:00Z"}).encode())
        return Said(200, b"data", {"ETag": '"e"', "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"})

    server = Canned(answer)
    monkeypatch.setattr(credentials, "_installed", lambda *_: False)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", server.url)
    assert ObjectStore(f"s3://bucket?endpoint={server.url}").get("a") == b"data"
    assert server.asked[-1].headers["x-amz-security-token"] == "roles-token"
    assert "ASIAROLE" in server.asked[-1].headers["authorization"]
    server.close()


@pytest.mark.parametrize("found", [True, False])
def test_the_credential_in_the_environment_of_a_machine(
    user: None, monkeypatch: pytest.MonkeyPatch, found: bool
) -> None:
    """With or without boto3 of the machine's own, and whatever profile the address names."""
    if not found:
        monkeypatch.setattr(credentials, "_installed", lambda *_: False)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "short-lived")
    server = Canned(lambda request: Said(200, b"data", {"ETag": '"e"'}))
    assert ObjectStore(f"s3://bucket?endpoint={server.url}&profile=lab&region=x-1").get("a") == b"data"
    assert f"{KEY}/" in server.asked[0].headers["authorization"]
    assert "/x-1/s3/" in server.asked[0].headers["authorization"]
    assert server.asked[0].headers["x-amz-security-token"] == "short-lived"
    server.close()


def test_a_profile_comes_before_the_environment(user: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(tmp_path, monkeypatch, lab={"aws_access_key_id": "AKIDOFLAB", "aws_secret_access_key": "y"})
    server = Canned(lambda request: Said(200, b"data", {"ETag": '"e"'}))
    assert ObjectStore(f"s3://bucket?endpoint={server.url}&profile=lab").get("a") == b"data"
    assert "AKIDOFLAB/" in server.asked[0].headers["authorization"]
    server.close()


def test_the_profile_of_the_environment(nobody: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = {"aws_access_key_id": "AKIDOFLAB", "aws_secret_access_key": "y", "region": "eu-north-1"}
    configure(tmp_path, monkeypatch, lab=lab)
    monkeypatch.setenv("AWS_PROFILE", "lab")
    server = Canned(lambda request: Said(200, b"data", {"ETag": '"e"'}))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
    assert ObjectStore("s3://bucket").get("a") == b"data"
    assert "AKIDOFLAB/" in server.asked[0].headers["authorization"]
    assert "/eu-north-1/" in server.asked[0].headers["authorization"]
    server.close()


def test_a_profile_that_is_not_there(nobody: None) -> None:
    with pytest.raises(StoreRefused, match="no AWS profile lab"):
        ObjectStore("s3://bucket?endpoint=http://127.0.0.1:1&profile=lab").get("a")


def test_single_sign_on_that_has_ended(nobody: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = {
        "sso_start_url": "https://lab.awsapps.com/start",
        "sso_region": "us-east-1",
        "sso_account_id": "123456789012",
        "sso_role_name": "user",
    }
    configure(tmp_path, monkeypatch, lab=lab)
    with pytest.raises(StoreRefused, match=r"no credential: Error loading SSO Token.*run aws sso login"):
        ObjectStore("s3://bucket?endpoint=http://127.0.0.1:1&profile=lab").get("a")


def test_a_credential_that_can_no_longer_be_renewed(
    nobody: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a program prints is a credential for a minute, then it fails: the sentence says so, without a trace."""
    script = tmp_path / "give"
    script.write_text(f"#!{sys.executable}\nprint('no more')\nraise SystemExit(3)\n")
    script.chmod(0o755)
    configure(tmp_path, monkeypatch, lab={"credential_process": str(script)})
    with pytest.raises(StoreRefused, match="no credential"):
        ObjectStore("s3://bucket?endpoint=http://127.0.0.1:1&profile=lab").get("a")


def test_secrets_are_in_no_message_and_no_log(user: None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    def answer(request: Asked) -> Said:
        if request.verb == "POST":
            return sts("GetFederationToken")
        return xml(403, "SignatureDoesNotMatch", f"we have {SECRET} and {KEY}: https://x/?X-Amz-Signature=abc")

    server = Canned(answer)
    store = ObjectStore(f"s3://bucket?endpoint={server.url}&sts={server.url}")
    store.credential([], "out/", 900)
    with pytest.raises(StoreRefused) as caught:
        store.get("a")
    with pytest.raises(StoreRefused):
        store.create()
    written = f"{caplog.text}{caught.value}{caught.value!r}{store!r}{store}{vars(store)}"
    for secret in (SECRET, "secret-for-machine", "token-for-machine", "X-Amz-Signature"):
        assert secret not in written
    server.close()
