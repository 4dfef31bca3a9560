"""The conformance suite on real servers: OpenStack Swift and Ceph radosgw, which check signatures and checksums."""

import uuid
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from cryoburst.model.errors import StoreRefused
from cryoburst.stores.objects import ObjectStore

from .conformance import Conformance, keys

if TYPE_CHECKING:
    from tests.servers import Server

pytestmark = pytest.mark.slow


@pytest.fixture
def store(s3_server: "Server", nobody: None, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """An empty store in a bucket of its own."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    made = ObjectStore(s3_server.url(f"b-{uuid.uuid4().hex}", "a préfix+%41"))
    made.create()
    return made


class TestServers(Conformance):
    """Runs the conformance suite on both."""

    EXAMPLES = 15


def test_a_write_that_differs_from_its_signature_is_refused(store: ObjectStore) -> None:
    said = {each.subject: each.level for each in store.probe()}
    assert said["checksums"] == "ok"


def test_a_wrong_secret(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    with pytest.raises(StoreRefused, match="the credential") as caught:
        ObjectStore(store.url).put("a", b"1")
    assert "not-the-secret" not in str(caught.value)


def test_a_bucket_that_is_not_there(s3_server: "Server", store: ObjectStore) -> None:
    elsewhere = ObjectStore(s3_server.url("no-such-bucket-here"))
    for verb in (
        lambda: elsewhere.put("a", b"1"),
        lambda: elsewhere.get("a"),
        lambda: list(elsewhere.list("")),
        lambda: elsewhere.delete("a", "b"),
    ):
        with pytest.raises(StoreRefused, match="no such bucket"):
            verb()


def test_a_machine_may_use_its_own_prefixes_only(
    radosgw_server: "Server", nobody: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in radosgw_server.environment.items():
        monkeypatch.setenv(name, value)
    url = radosgw_server.url(f"b-{uuid.uuid4().hex}", "base")
    home = ObjectStore(f"{url}&sts={radosgw_server.endpoint}&role={quote(radosgw_server.role or '', safe=':/')}")
    home.create()
    home.put("in/a", b"1")
    home.put("out2/a", b"1")
    for name, value in home.credential(["in/"], "out/", 900.0).items():
        monkeypatch.setenv(name, value)
    machine = ObjectStore(url)
    assert machine.get("in/a") == b"1"
    assert machine.get("in/none") is None
    assert keys(machine, "in/") == ["in/a"]
    machine.put("out/b", b"2")
    assert machine.get("out/b") == b"2"
    assert machine.get("out/none") is None
    assert keys(machine, "out/") == ["out/b"]
    machine.delete("out/b")
    machine.delete("out/b", "out/c")
    for verb in (
        lambda: machine.put("in/a", b"2"),
        lambda: machine.delete("in/a"),
        lambda: machine.get("out2/a"),
        lambda: machine.put("out2/a", b"2"),
        lambda: machine.put("b", b"2"),
        lambda: list(machine.list("")),
        lambda: list(machine.list("out2/")),
    ):
        with pytest.raises(StoreRefused):
            verb()
    assert home.get("in/a") == b"1"
