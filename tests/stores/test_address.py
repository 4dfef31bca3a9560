"""Addresses of object stores: what is understood, what is refused, and that no secret is ever repeated."""

import pytest

from cryoburst.model.errors import BadInput
from cryoburst.stores import open_store
from cryoburst.stores.address import Address, parse

SECRET = "hunter2hunter2"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("s3://b-1.x/", Address("s3", "b-1.x", "")),
        ("s3://bucket/a/b", Address("s3", "bucket", "a/b/")),
        ("s3://bucket/a%20b%25/é/", Address("s3", "bucket", "a b%/é/")),
        (
            "s3://bucket?endpoint=http://127.0.0.1:8080/&region=x-1&addressing=path",
            Address("s3", "bucket", "", endpoint="http://127.0.0.1:8080", region="x-1", addressing="path"),
        ),
        ("s3://bucket/?profile=my%20lab", Address("s3", "bucket", "", profile="my lab")),
        (
            "s3://bucket/?role=arn:aws:iam::123456789012:role/lab/x&sts=https://sts.example.org",
            Address("s3", "bucket", "", role="arn:aws:iam::123456789012:role/lab/x", sts="https://sts.example.org"),
        ),
        ("gs://bucket/a", Address("gs", "bucket", "a/")),
        ("az://account/container", Address("az", "container", "", "account")),
        ("az://account/container/a/b/", Address("az", "container", "a/b/", "account")),
    ],
)
def test_parse(url: str, address: Address) -> None:
    assert parse(url) == address


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://", "address of an object store"),
        ("s3:///a", "address of an object store"),
        ("s3://a b", "address of an object store"),
        ("s3://b\n/x", "address of an object store"),
        ("s3://[b", "address of an object store"),
        ("az://account", "az://account/container/prefix"),
        ("s3://bucket/a//b", "not a key"),
        ("s3://bucket/../b", "not a key"),
        ("s3://bucket/a#b", "%23"),
        ("s3://bucket?colour=red", "no option colour"),
        ("s3://bucket?tls=off", "no option tls"),
        ("gs://bucket?region=x", "no option region"),
        ("s3://bucket?region=", "once, with a value"),
        ("s3://bucket?region=a&region=b", "once, with a value"),
        ("s3://bucket?addressing=sideways", "path or virtual"),
        ("s3://bucket?endpoint=ftp://x", "is not a server"),
        ("s3://bucket?endpoint=host:8080", "is not a server"),
        ("s3://bucket?endpoint=http://host:port", "is not a server"),
        ("s3://bucket?sts=https://", "is not a server"),
        ("s3://bucket?role=admin", "ARN of a role"),
        ("s3://bucket?region=a/b", "is not a name"),
    ],
)
def test_what_is_refused(url: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        open_store(url)


@pytest.mark.parametrize(
    "url",
    [
        f"s3://AKID:{SECRET}@bucket/x",
        f"s3://AKID:{SECRET}",
        f"s3://{SECRET}@bucket",
        f"s3://bucket?secret_access_key={SECRET}",
        f"s3://bucket?access_key_id={SECRET}",
        f"s3://bucket?X-Amz-Signature={SECRET}",
        f"s3://bucket?password={SECRET}",
        f"az://account/container?sas_token={SECRET}",
        f"gs://bucket?credentials={SECRET}",
        f"s3://bucket?endpoint=https://me:{SECRET}@host",
        f"s3://bucket?sts=https://{SECRET}@host",
    ],
)
def test_a_secret_in_an_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(BadInput, match="never holds a secret") as caught:
        open_store(url)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "metered"),
    [
        ("s3://bucket", True),
        ("s3://bucket?endpoint=https://s3.eu-west-1.amazonaws.com", True),
        ("s3://bucket?endpoint=https://me.r2.cloudflarestorage.com", True),
        ("s3://bucket?endpoint=https://swift.example.org", False),
        ("s3://bucket?endpoint=https://notamazonaws.com", False),
        ("gs://bucket", True),
        ("az://account/container", True),
        ("az://account/container?endpoint=http://127.0.0.1:10000/account", False),
    ],
)
def test_who_bills_each_request(url: str, metered: bool, nobody: None) -> None:
    assert open_store(url).metered is metered


def test_a_server_named_by_the_environment_is_not_amazon(nobody: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://swift.example.org")
    assert open_store("s3://bucket").metered is False
