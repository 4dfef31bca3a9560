"""What errors of a server, or its silence, mean: in our own words, with what to do, and without a secret."""

import threading
import time
from collections.abc import Callable

import pytest

from cryoburst.model.errors import (
    CryoburstError,
    StoreFull,
    StoreRefused,
    StoreUnavailable,
)
from cryoburst.model.store import read_whole
from cryoburst.stores import clients
from cryoburst.stores.objects import ObjectStore

from .canned import Asked, Canned, Said, always, found, xml

MEANINGS = [
    (xml(401, "Unauthorized"), StoreRefused, "does not know the credential"),
    (xml(403, "InvalidAccessKeyId"), StoreRefused, "does not know the credential.*check the credential"),
    (xml(403, "SignatureDoesNotMatch"), StoreRefused, "does not know the credential.*check the credential"),
    (xml(403, "RequestTimeTooSkewed"), StoreRefused, "clock differs.*set the clock"),
    (xml(400, "ExpiredToken"), StoreRefused, "has expired.*log in again"),
    (xml(403, "ExpiredToken"), StoreRefused, "has expired"),
    (xml(404, "NoSuchBucket"), StoreRefused, "no such bucket.*make it first"),
    (xml(400, "AuthorizationHeaderMalformed", "expecting eu-west-1"), StoreRefused, "eu-west-1.*region="),
    (Said(301, b""), StoreRefused, "another region"),
    (xml(403, "QuotaExceeded"), StoreFull, "store is full: QuotaExceeded: some words"),
    (xml(400, "EntityTooLarge"), StoreFull, "store is full"),
    (xml(413, "Any"), StoreFull, "store is full"),
    (Said(507, b""), StoreFull, "store is full"),
    (xml(409, "OperationAborted"), StoreUnavailable, "OperationAborted: some words"),
    (xml(412, "PreconditionFailed"), StoreUnavailable, "PreconditionFailed"),
    (xml(429, "TooManyRequests"), StoreUnavailable, "TooManyRequests"),
    (xml(500, "InternalError"), StoreUnavailable, "InternalError: some words"),
    (xml(503, "SlowDown"), StoreUnavailable, "SlowDown: some words"),
    (xml(400, "XAmzContentSHA256Mismatch"), StoreUnavailable, "XAmzContentSHA256Mismatch"),
    (Said(502, b"<html><body>nginx</body></html>"), StoreUnavailable, "bad gateway"),
    (Said(418, b"{}"), StoreUnavailable, "418"),
]


@pytest.mark.parametrize(("said", "kind", "words"), MEANINGS)
def test_what_an_answer_means(
    server: Canned,
    bucket: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    said: Said,
    kind: type[CryoburstError],
    words: str,
) -> None:
    monkeypatch.setattr(clients, "RETRIES", 0)
    server.answer = always(said)
    calls: list[Callable[[], object]] = [
        lambda: bucket.put("a", b"1"),
        lambda: bucket.get("a"),
        lambda: read_whole(bucket, "a", 0, 1),
        lambda: bucket.poll("a", '"tag"'),
        lambda: list(bucket.list("p/")),
        lambda: bucket.delete("a"),
    ]
    for call in calls[:1] if said.status in (412, 301) else calls:
        with pytest.raises(kind, match=words) as caught:
            call()
        text = str(caught.value)
        assert "\n" not in text
        assert "<" not in text
        assert server.url not in text
        assert len(text) < 400


def test_a_forbidden_write(server: Canned, bucket: ObjectStore) -> None:
    server.answer = always(xml(403, "AccessDenied", "no way"))
    with pytest.raises(StoreRefused, match=r"does not allow this: AccessDenied: no way \(a in s3://bucket/base\)"):
        bucket.put("a", b"1")


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("http://127.0.0.1:1", r"^no connection \(Connection refused\) \(s3://bucket at 127.0.0.1:1\)$"),
        ("http://no-such-host.invalid", r"^no connection .*\(s3://bucket at no-such-host.invalid\)$"),
    ],
)
def test_no_server(user: None, endpoint: str, words: str) -> None:
    store = ObjectStore(f"s3://bucket?endpoint={endpoint}")
    with pytest.raises(StoreUnavailable, match=words):
        store.put("a", b"1")


@pytest.mark.slow
def test_a_silent_server(server: Canned, bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "SILENT", 1)
    ended = threading.Event()

    def wait(request: Asked) -> Said:
        ended.wait(20)
        return found(b"")

    server.answer = wait
    start = time.monotonic()
    with pytest.raises(StoreUnavailable, match="no answer in time"):
        bucket.get("a")
    assert time.monotonic() - start < 10
    ended.set()


@pytest.mark.slow
def test_a_large_write_on_a_slow_line_is_not_cut(
    server: Canned, bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "SILENT", 1)

    def slow(request: Asked) -> Said:
        time.sleep(2)
        return Said(200, b"", {"ETag": '"e"'})

    server.answer = slow
    bucket.put("a", bytes(200_000))
    assert len(server.asked) == 1


def test_a_short_trouble_is_tried_again(server: Canned, bucket: ObjectStore) -> None:
    answers = [xml(503, "SlowDown"), xml(500, "InternalError"), Said(200, b"", {"ETag": '"e"'})]
    server.answer = lambda request: answers.pop(0)
    bucket.put("a", b"1")
    assert answers == []
