"""What a store is found to lack, in sentences, and that they name no object of our own."""

from cryoburst.stores import probe
from cryoburst.stores.address import Address
from cryoburst.stores.objects import ObjectStore

from .canned import Asked, Canned, Said, always, xml


def test_the_probe_says_what_moto_lacks(store: ObjectStore) -> None:
    said = {each.subject: (each.level, each.sentence) for each in store.probe()}
    assert said["conditional write"][0] == "ok"
    assert said["checksums"] == (
        "warning",
        "the server takes a write that differs from the checksum it was signed with",
    )
    assert "MB/s" in said["speed"][1]
    assert "free" in said["price of requests"][1]


def test_the_probe_of_a_store_that_refuses_is_one_error(server: Canned, bucket: ObjectStore) -> None:
    server.answer = always(xml(403, "InvalidAccessKeyId"))
    findings = bucket.probe()
    assert {each.level for each in findings} == {"error"}
    assert "does not know the credential" in findings[0].sentence


def test_the_probe_of_a_server_that_is_away_names_the_server_and_no_key(user: None) -> None:
    findings = ObjectStore("s3://bucket/base?endpoint=http://127.0.0.1:1").probe()
    assert findings[0].sentence == "no connection (Connection refused) (s3://bucket/base at 127.0.0.1:1)"


def test_the_probe_of_a_store_that_takes_no_writes_names_no_key(server: Canned, bucket: ObjectStore) -> None:
    server.answer = always(xml(403, "AccessDenied", "no way"))
    assert bucket.probe()[0].sentence == "the credential does not allow this: AccessDenied: no way (s3://bucket/base)"


def test_a_server_without_conditional_writes_is_told_in_plain_words(server: Canned, bucket: ObjectStore) -> None:
    """Swift's S3 answers 501 to If-None-Match."""

    def answer(asked: Asked) -> Said:
        named = {name.lower() for name in asked.headers}
        return xml(501, "NotImplemented") if "if-none-match" in named else Said(200, headers={"ETag": '"e"'})

    server.answer = answer
    (finding,) = probe.look_closer(bucket, Address("gs", "bucket", ""), bucket._put_new)  # pyright: ignore[reportPrivateUsage]
    assert (finding.level, finding.sentence) == (
        "warning",
        "the server can't be told to write an object only if there is none yet; nothing here relies on that",
    )
