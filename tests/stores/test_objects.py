"""The object store: the conformance suite on moto, and how it reads what servers answer."""

import hashlib
import re
import subprocess
import sys
import tracemalloc
import uuid
from urllib.parse import unquote

import pytest

from cryoburst.model.errors import (
    BadInput,
    Corrupt,
    NotThere,
    StoreRefused,
    StoreUnavailable,
)
from cryoburst.model.store import Store, read_whole
from cryoburst.stores import clients, open_store
from cryoburst.stores.address import parse
from cryoburst.stores.objects import ObjectStore

from .canned import Asked, Canned, Said, always, found, listing, xml
from .conformance import Conformance, keys


class TestMoto(Conformance):
    """Runs the conformance suite on moto; the fixture ``store`` is in conftest.py."""

    EXAMPLES = 15


# ---------------------------------------------------------------------------------------------------- what is sent


def test_every_write_is_one_signed_request(server: Canned, bucket: ObjectStore) -> None:
    data = bytes(12_000_000)  # larger than a part of a multipart upload
    bucket.put("a", data)
    (asked,) = server.asked
    assert (asked.verb, asked.path) == ("PUT", "/bucket/base/a")
    assert asked.headers["x-amz-content-sha256"] == hashlib.sha256(data).hexdigest()


def test_the_environment_can_not_turn_signing_of_the_bytes_off(
    server: Canned, bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_UNSIGNED_PAYLOAD", "true")
    bucket.put("a", b"1")
    assert server.asked[0].headers["x-amz-content-sha256"] == hashlib.sha256(b"1").hexdigest()


@pytest.mark.parametrize(
    ("url", "endpoint", "virtual"),
    [
        ("s3://bucket?endpoint=http://host:80", "http://host:80", False),
        ("s3://bucket?endpoint=http://host:80&addressing=path", "http://host:80", False),
        ("s3://bucket?endpoint=http://host:80&addressing=virtual", "http://bucket.host:80", True),
        ("s3://bucket", None, True),
        ("s3://bucket?addressing=path", None, False),
        ("s3://with.dots", None, False),
    ],
)
def test_addressing(user: None, url: str, endpoint: str | None, virtual: bool) -> None:
    config = clients.connect(parse(url)).small.config
    assert config.get("endpoint") == endpoint
    assert str(config.get("virtual_hosted_style_request")).lower() == str(virtual).lower()


# ---------------------------------------------------------------------------------------------------------- reading


def test_poll_asks_with_the_tag_that_the_server_gave(server: Canned, bucket: ObjectStore) -> None:
    server.answer = always(found(b"1", "t1"))
    first = bucket.poll("a", "")
    assert first is not None
    assert "if-none-match" not in server.asked[0].headers
    server.answer = always(Said(304))
    assert bucket.poll("a", first.tag) is None
    assert server.asked[1].headers["if-none-match"] == '"t1"'


def test_poll_of_a_server_that_ignores_conditions(server: Canned, bucket: ObjectStore) -> None:
    server.answer = always(found(b"1", "t1"))
    first = bucket.poll("a", "")
    assert first is not None
    assert bucket.poll("a", first.tag) is None


def test_poll_of_a_server_without_tags_always_reads(server: Canned, bucket: ObjectStore) -> None:
    server.answer = always(found(b"1"))
    for _ in range(2):
        polled = bucket.poll("a", "")
        assert polled is not None
        assert (polled.data, polled.tag) == (b"1", "")


def test_a_server_that_ignores_ranges(server: Canned, bucket: ObjectStore) -> None:
    server.answer = always(found(b"0123456789", "e"))
    with pytest.raises(StoreUnavailable, match="range"):
        read_whole(bucket, "a", 2, 3)


def test_a_range_that_comes_short(server: Canned, bucket: ObjectStore) -> None:
    server.answer = always(Said(206, b"23", {"ETag": '"e"', "Content-Range": "bytes 2-3/4"}))
    with pytest.raises(Corrupt, match="ends before byte 5"):
        read_whole(bucket, "a", 2, 3)


@pytest.mark.parametrize(
    ("listed", "there"), [((), False), (("base/p/stop.json2",), False), (("base/p/stop.json",), True)]
)
def test_a_machine_that_may_not_know_what_is_missing(
    server: Canned, bucket: ObjectStore, listed: tuple[str, ...], there: bool
) -> None:
    """AWS says 403 for a missing object to a credential whose right to list is tied to a prefix."""
    server.answer = lambda request: listing(*listed) if "list-type" in request.path else xml(403, "AccessDenied")
    if there:
        with pytest.raises(StoreRefused):
            bucket.get("p/stop.json")
        return
    assert bucket.get("p/stop.json") is None
    polled = bucket.poll("p/stop.json", "")
    assert polled is not None
    assert polled.data is None
    assert bucket.poll("p/stop.json", polled.tag) is None
    with pytest.raises(NotThere):
        read_whole(bucket, "p/stop.json", 0, 1)
    assert "prefix=base%2Fp%2F" in server.asked[1].path
    assert "start-after=base%2Fp%2Fstop.jso" in server.asked[1].path


def test_a_credential_that_may_do_nothing(server: Canned, bucket: ObjectStore) -> None:
    server.answer = always(xml(403, "AccessDenied"))
    with pytest.raises(StoreRefused, match="does not allow this"):
        bucket.get("a")


# ---------------------------------------------------------------------------------------------------------- listing


@pytest.mark.slow
def test_memory_stays_flat_however_long_the_listing(server: Canned, bucket: ObjectStore) -> None:
    pages = 16

    def page(request: Asked) -> Said:
        number = int(request.path.partition("continuation-token=")[2].partition("&")[0] or 0)
        names = [f"base/{number:03}/{n:04}-{'x' * 80}" for n in range(1000)]
        return listing(*names, more=str(number + 1) if number + 1 < pages else "")

    server.answer = page
    peaks: list[int] = []
    tracemalloc.start()
    count = 0
    for _ in bucket.list(""):
        count += 1
        if count % 1000 == 0:
            peaks.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    server.asked.clear()
    assert count == pages * 1000
    assert max(peaks[5:]) < peaks[4] + 1_000_000


def test_a_server_that_lists_in_no_order_is_noticed_once(server: Canned, bucket: ObjectStore) -> None:
    server.answer = always(listing("base/p/b", "base/p/a"))
    with pytest.raises(StoreUnavailable, match="in no order"):
        keys(bucket, "p/")
    assert keys(bucket, "p/") == ["p/a", "p/b"]


def test_a_folder_that_a_browser_made_is_no_object(server: Canned, bucket: ObjectStore) -> None:
    server.answer = always(listing("base/p/", "base/p/a"))
    assert keys(bucket, "p/") == ["p/a"]


def test_a_strangers_name_that_is_no_path(server: Canned, bucket: ObjectStore) -> None:
    server.answer = always(listing("base//a"))
    with pytest.raises(StoreRefused, match=r"holds a name that is no path.*prefix of its own"):
        keys(bucket)


# --------------------------------------------------------------------------------------------------------- deletion


@pytest.mark.parametrize("said", [xml(501, "NotImplemented"), xml(405, "MethodNotAllowed"), xml(400, "MalformedXML")])
def test_a_server_without_bulk_deletion_is_asked_once(server: Canned, bucket: ObjectStore, said: Said) -> None:
    server.answer = lambda request: said if request.verb == "POST" else Said(204)
    bucket.delete("a", "b")
    first = len(server.asked)
    bucket.delete("c", "d")
    assert sorted((each.verb, each.path) for each in server.asked[-2:]) == [
        ("DELETE", "/bucket/base/c"),
        ("DELETE", "/bucket/base/d"),
    ]
    assert len(server.asked) == first + 2


def deleted(request: Asked) -> Said:
    names = "".join(f"<Deleted>{name}</Deleted>" for name in re.findall(r"<Key>.*?</Key>", request.body.decode()))
    return Said(200, f"<DeleteResult>{names}</DeleteResult>".encode())


def test_bulk_deletion(server: Canned, bucket: ObjectStore) -> None:
    server.answer = deleted
    bucket.delete(*(f"{n}" for n in range(2500)))
    assert [each.verb for each in server.asked] == ["POST"] * 3


def test_a_deletion_that_is_refused_for_one_object(server: Canned, bucket: ObjectStore) -> None:
    error = "<Error><Key>base/a</Key><Code>AccessDenied</Code><Message>no way</Message></Error>"
    server.answer = always(Said(200, f"<DeleteResult>{error}</DeleteResult>".encode()))
    with pytest.raises(StoreRefused, match="AccessDenied"):
        bucket.delete("a", "b")


@pytest.mark.parametrize("body", ["", "<Error><Key>x</Key><Code>C</Code><Message>m</Message></Error>"])
def test_an_answer_to_a_bulk_deletion_that_makes_no_sense(server: Canned, bucket: ObjectStore, body: str) -> None:
    """The second makes the Rust below obstore panic."""
    answer = Said(200, f"<DeleteResult>{body}</DeleteResult>".encode())
    server.answer = lambda request: answer if request.verb == "POST" else Said(204)
    bucket.delete("a", "b")
    assert [each.verb for each in server.asked] == ["POST", "DELETE", "DELETE"]


def test_a_server_that_misses_what_is_deleted(server: Canned, bucket: ObjectStore) -> None:
    server.answer = lambda request: xml(405 if request.verb == "POST" else 404, "NoSuchKey")
    bucket.delete("a")
    bucket.delete("a", "b", "c")
    assert {each.path for each in server.asked if each.verb == "DELETE"} == {f"/bucket/base/{name}" for name in "abc"}


# ----------------------------------------------------------------------------------------------------------- others


def test_a_key_that_is_too_long_with_its_prefix(bucket: ObjectStore) -> None:
    key = "/".join(["x" * 250] * 4)
    bucket.put(key, b"")
    with pytest.raises(BadInput, match="1028 bytes"):
        bucket.put(f"{key}/{'ä' * 9}x", b"")


def test_create_makes_the_bucket_once(moto: str, user: None) -> None:
    name = uuid.uuid4().hex
    store = ObjectStore(f"s3://{name}/x?endpoint={moto}")
    with pytest.raises(StoreRefused, match="no such bucket"):
        store.put("a", b"1")
    with pytest.raises(StoreRefused, match="no such bucket"):
        store.get("a")
    with pytest.raises(StoreRefused, match="no such bucket"):
        store.poll("a", "")
    with pytest.raises(StoreRefused, match="no such bucket"):
        store.delete("a", "b")
    store.create()
    store.put("a", b"1")
    ObjectStore(f"s3://{name}/x?endpoint={moto}").create()
    assert store.get("a") == b"1"


def test_create_in_a_region_names_it(server: Canned, user: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "endpoint", lambda address: "")  # pyright: ignore
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)  # botocore still reads it
    ObjectStore("s3://bucket?region=eu-west-1&addressing=path")._make()
    assert b"<LocationConstraint>eu-west-1</LocationConstraint>" in server.asked[-1].body


@pytest.mark.parametrize(
    ("code", "silent"), [("BucketAlreadyOwnedByYou", True), ("BucketAlreadyExists", False), ("AccessDenied", False)]
)
def test_create_of_a_bucket_that_is_there_after_all(
    server: Canned, bucket: ObjectStore, code: str, silent: bool
) -> None:
    server.answer = lambda request: xml(404, "NoSuchBucket") if request.verb == "GET" else xml(409, code)
    if silent:
        bucket.create()
        return
    with pytest.raises(StoreRefused, match=code):
        bucket.create()


def test_create_of_a_bucket_that_lets_nobody_in(server: Canned, bucket: ObjectStore) -> None:
    server.answer = always(xml(403, "AccessDenied"))
    with pytest.raises(StoreRefused, match="does not allow this"):
        bucket.create()
    assert {each.verb for each in server.asked} == {"GET"}


def test_google_and_azure_speak_through_the_same_client(
    server: Canned, nobody: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No emulator of theirs runs here: this shows the requests, and how a missing object is read."""
    monkeypatch.setenv("GOOGLE_BEARER_TOKEN", "a-token")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "YWJj")
    stores: dict[str, Store] = {
        "/bucket/base/a b": open_store(f"gs://bucket/base?endpoint={server.url}"),
        "/account/box/base/a b": open_store(f"az://account/box/base?endpoint={server.url}/account"),
    }
    for path, store in stores.items():
        server.answer = always(Said(200, b"data", {"ETag": '"e"', "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}))
        assert store.get("a b") == b"data"
        assert unquote(server.asked[-1].path.partition("?")[0]) == path
        server.answer = always(xml(404, "NoSuchKey"))
        assert store.get("a b") is None
        store.delete("a b", "c")
        server.answer = always(xml(404, "ContainerNotFound"))
        with pytest.raises(StoreRefused, match="no such bucket"):
            store.get("a b")
        with pytest.raises(StoreRefused, match="cloud's own tools"):
            store.create()
        with pytest.raises(StoreRefused, match="identity of its own"):
            store.credential([], "a/", 60.0)


def test_nothing_is_imported_before_the_first_verb() -> None:
    code = (
        "import sys; from cryoburst.stores import open_store; from cryoburst.stores.objects import ObjectStore;"
        "open_store('s3://bucket'); print({'obstore', 'botocore', 'boto3'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"
