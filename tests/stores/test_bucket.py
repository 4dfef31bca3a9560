"""A bucket's own rules, and uploads that somebody never finished, on moto and on servers that lack them."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from cryoburst.model.errors import StoreRefused, StoreUnavailable
from cryoburst.services import gc, stores
from cryoburst.stores import clients, credentials
from cryoburst.stores.address import parse
from cryoburst.stores.bucket import Bucket, Upload
from cryoburst.stores.objects import ObjectStore

from .canned import Asked, Canned, Said, xml

pytestmark = pytest.mark.slow


@pytest.fixture
def raw(store: ObjectStore) -> Any:
    """boto's own client of the same server."""
    address = parse(store.url)
    return credentials.client("s3", address, clients.endpoint(address))


def levels(store: ObjectStore) -> dict[str, str]:
    return {finding.subject: finding.level for finding in Bucket(store.url).examine()}


def test_mend_makes_a_rule_for_our_prefix_and_keeps_all_others(store: ObjectStore, raw: Any) -> None:
    address = parse(store.url)
    theirs = {"ID": "old form", "Status": "Enabled", "Prefix": "logs/", "Expiration": {"Days": 30}}
    raw.put_bucket_lifecycle_configuration(Bucket=address.bucket, LifecycleConfiguration={"Rules": [theirs]})
    assert levels(store)["unfinished uploads"] == "warning"
    for _ in range(2):  # a second call changes nothing
        assert Bucket(store.url).mend().level == "ok"
        first, second = raw.get_bucket_lifecycle_configuration(Bucket=address.bucket)["Rules"]
        assert (first["ID"], first["Filter"]["Prefix"], first["Expiration"]) == ("old form", "logs/", {"Days": 30})
        assert second["Filter"]["Prefix"] == address.prefix
        assert second["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert levels(store)["unfinished uploads"] == "ok"


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({}, "ok"),
        ({"Status": "Disabled"}, "warning"),
        ({"Filter": {"Prefix": "elsewhere/"}}, "warning"),
        ({"Filter": {"Tag": {"Key": "a", "Value": "b"}}}, "warning"),
    ],
)
def test_which_rules_end_our_uploads(store: ObjectStore, raw: Any, changes: dict[str, Any], level: str) -> None:
    rule = {"Status": "Enabled", "Filter": {"Prefix": ""}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}
    raw.put_bucket_lifecycle_configuration(
        Bucket=parse(store.url).bucket, LifecycleConfiguration={"Rules": [rule | {"ID": "all"} | changes]}
    )
    assert levels(store)["unfinished uploads"] == level


@pytest.mark.parametrize(
    ("prefix", "told"), [("", True), ("OURS", True), ("OURSproject/", True), ("elsewhere/", False), (None, False)]
)
def test_a_rule_that_ends_what_is_old_is_told(store: ObjectStore, raw: Any, prefix: str | None, told: bool) -> None:
    address = parse(store.url)
    rule = {"ID": "old", "Status": "Disabled" if prefix is None else "Enabled", "Expiration": {"Days": 365}}
    rule["Filter"] = {"Prefix": (prefix or "").replace("OURS", address.prefix)}
    raw.put_bucket_lifecycle_configuration(Bucket=address.bucket, LifecycleConfiguration={"Rules": [rule]})
    said = [each.sentence for each in Bucket(store.url).examine() if each.subject == "old objects"]
    assert ["older than 365 days" in each for each in said] == [True] * told


def test_versions_and_an_open_door_are_found(store: ObjectStore, raw: Any) -> None:
    bucket = parse(store.url).bucket
    assert levels(store) == {"unfinished uploads": "warning", "versions": "ok", "public access": "ok"}
    raw.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    raw.put_bucket_acl(Bucket=bucket, ACL="public-read")
    assert levels(store) == {"unfinished uploads": "warning", "versions": "warning", "public access": "error"}


def test_unfinished_uploads_below_our_prefix_are_ended(store: ObjectStore, raw: Any) -> None:
    bucket, prefix = (parse(store.url).bucket, parse(store.url).prefix)
    for key in (f"{prefix}p-1/inputs/x", f"{prefix}été", "of others"):
        made = raw.create_multipart_upload(Bucket=bucket, Key=key)
        raw.upload_part(Bucket=bucket, Key=key, UploadId=made["UploadId"], PartNumber=1, Body=b"12345")
    found = list(Bucket(store.url).uploads())
    assert sorted((each.key, each.size) for each in found) == [("p-1/inputs/x", 5), ("été", 5)]
    began = max(each.begun for each in found)
    assert gc.left_over(store, began + 3600) == ([], [])
    leftovers, problems = gc.left_over(store, began + gc.DAY + 1)
    assert (len(leftovers), problems) == (2, [])
    for each in leftovers:
        each.end()
        each.end()  # silent when it is gone
    assert [each["Key"] for each in raw.list_multipart_uploads(Bucket=bucket)["Uploads"]] == ["of others"]


def test_check_looks_at_the_bucket_and_mends(store: ObjectStore) -> None:
    found = {each.subject: each for each in stores.check(store)}
    assert found["write"].level == "ok"
    assert found["unfinished uploads"].level == "warning"
    found = {each.subject: each for each in stores.check(store, mend=True)}
    assert found["unfinished uploads"].level == "ok"


@pytest.fixture
def canned(user: None) -> Iterator[Callable[[Said], Bucket]]:
    servers: list[Canned] = []

    def made(said: Said) -> Bucket:
        def answer(request: Asked) -> Said:
            return said

        servers.append(Canned(answer))
        return Bucket(f"s3://bucket/base?endpoint={quote(servers[-1].url)}")

    yield made
    for server in servers:
        server.close()


@pytest.mark.parametrize("said", [xml(501, "NotImplemented"), xml(400, "MalformedXML"), xml(405, "MethodNotAllowed")])
def test_a_server_without_such_things_says_so(said: Said, canned: Callable[[Said], Bucket]) -> None:
    bucket = canned(said)
    assert list(bucket.uploads()) == []
    assert "has no rules" in bucket.mend().sentence
    found = {each.subject: each.level for each in bucket.examine()}
    assert found == {"unfinished uploads": "warning", "versions": "ok", "public access": "ok"}


def test_a_credential_that_may_not_look_is_no_answer(canned: Callable[[Said], Bucket]) -> None:
    bucket = canned(xml(403, "AccessDenied"))
    assert {each.level for each in bucket.examine()} == {"warning"}
    assert "AccessDenied" in bucket.mend().sentence
    with pytest.raises(StoreRefused, match="AccessDenied"):
        list(bucket.uploads())


def test_a_server_that_is_ill_may_be_well_later(canned: Callable[[Said], Bucket]) -> None:
    with pytest.raises(StoreUnavailable):
        canned(xml(503, "SlowDown")).end(Upload("a", "id", 0.0, 0))
