"""The folder store: conformance, and what only a file system can do wrong."""

import errno
import hashlib
import os
import threading
from pathlib import Path

import pytest

from cryoburst.model.errors import BadInput, Corrupt, StoreFull, StoreUnavailable
from cryoburst.model.plugins import Store
from cryoburst.stores import folder, open_store
from cryoburst.stores.folder import FolderStore

from .conformance import Conformance, checksum, keys


@pytest.fixture
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("disk") / "a store %41"


@pytest.fixture
def store(root: Path) -> Store:
    made = open_store(root.as_uri())
    made.create()
    return made


class TestFolder(Conformance):
    """Runs the conformance suite on a folder."""


def test_an_unmounted_disk_is_not_an_empty_store(root: Path, tmp_path: Path) -> None:
    store = FolderStore(root.as_uri())
    root.mkdir()  # the bare mount point
    (tmp_path / "source").write_bytes(b"")
    for verb in (
        lambda: store.put("a", b""),
        lambda: store.put_file("a", tmp_path / "source"),
        lambda: store.get("a"),
        lambda: store.get_file("a", tmp_path / "target", 0, checksum(b"")),
        lambda: list(store.list("")),
        lambda: store.delete("a"),
    ):
        with pytest.raises(StoreUnavailable, match="make the store first, or mount"):
            verb()
    root.rmdir()
    with pytest.raises(StoreUnavailable):
        store.put("a", b"")
    assert not root.exists()


def test_create_does_not_make_parents(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        FolderStore((tmp_path / "gone" / "store").as_uri()).create()
    assert list(tmp_path.iterdir()) == []


def test_create_twice_is_silent(store: FolderStore) -> None:
    store.put("a", b"1")
    store.create()
    assert store.get("a") == b"1"


@pytest.mark.parametrize(
    "url", ["/data", "file:/data", "file://host/data", "file:///a/../b", "nosuch://bucket", "://x"]
)
def test_a_wrong_address(url: str) -> None:
    with pytest.raises(BadInput):
        open_store(url)


def test_a_source_that_changes_while_read_is_refused(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"1" * 5_000_000)
    real, grown = os.read, threading.Event()

    def read(descriptor: int, count: int) -> bytes:
        if not grown.is_set():
            grown.set()
            with source.open("ab") as more:
                more.write(b"2")
        return real(descriptor, count)

    store.put("a", b"old")
    monkeypatch.setattr(folder.os, "read", read)
    with pytest.raises(Corrupt, match="changed while it was read"):
        store.put_file("a", source)
    monkeypatch.undo()
    assert store.get("a") == b"old"
    assert hidden(store) == []


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, StoreFull),
        (errno.EDQUOT, StoreFull),
        (errno.EIO, StoreUnavailable),
        (errno.ESTALE, StoreUnavailable),
    ],
)
def test_what_a_refused_write_means(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    (tmp_path / "source").write_bytes(b"123")

    def write(descriptor: int, data: bytes) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(folder.os, "write", write)
    with pytest.raises(kind):
        store.put("a/b", b"123")
    with pytest.raises(kind):
        store.put_file("a/b", tmp_path / "source")
    monkeypatch.undo()
    assert keys(store) == []
    assert hidden(store) == []


def test_a_full_target_disk_is_the_callers_error(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("a", b"123")

    def write(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folder.os, "write", write)
    with pytest.raises(OSError) as caught:
        store.get_file("a", tmp_path / "target", 3, checksum(b"123"))
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_a_really_full_disk(store: FolderStore) -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(OSError) as caught:
            folder._write(descriptor, b"x")
    finally:
        os.close(descriptor)
    assert isinstance(folder._refusal(caught.value, "k"), StoreFull)


def test_a_dead_writers_leavings_are_hidden_and_go_with_their_folder(root: Path, store: FolderStore) -> None:
    store.put("run/1/a", b"")
    left = root / "run/1/.cryoburst-123-0-aa"
    left.write_bytes(b"half")
    assert keys(store) == ["run/1/a"]
    store.delete("run/1/a")
    assert left.exists()  # its writer may live
    os.utime(left, (0, 0))
    store.put("run/1/a", b"")
    store.delete("run/1/a")
    assert not (root / "run").exists()
    assert store.root.exists()


def test_a_file_in_the_place_of_a_folder_is_bad_input_and_not_worth_a_retry(store: FolderStore) -> None:
    store.put("a/b", b"1")
    with pytest.raises(BadInput):
        store.put("a/b/c", b"2")
    with pytest.raises(BadInput):
        store.put("a", b"2")


def test_names_that_are_not_utf8(store: FolderStore, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    (tmp_path / name).write_bytes(b"1")
    store.put_file(f"a/{name}", tmp_path / name)
    assert keys(store) == [f"a/{name}"]


def test_the_longest_name_fits(store: FolderStore) -> None:
    store.put("a/" + "x" * 255, b"1")
    assert store.get("a/" + "x" * 255) == b"1"


def test_a_link_in_the_middle_of_the_store_is_listed_as_it_is(root: Path, store: FolderStore, tmp_path: Path) -> None:
    (root / "loop").symlink_to(root)
    store.put("a", b"")
    assert keys(store) == ["a", "loop"]


def test_two_checksums_agree() -> None:
    assert checksum(b"") == f"sha256:{hashlib.sha256().hexdigest()}"


def hidden(store: FolderStore) -> list[str]:
    return [path.name for path in store.root.rglob(".cryoburst-*") if path.name != ".cryoburst-store"]
