"""The folder store: conformance, and what only a file system can do wrong."""

import errno
import os
from pathlib import Path

import pytest

from cryoburst.model.errors import BadInput, StoreFull, StoreUnavailable
from cryoburst.model.store import Store, read_whole
from cryoburst.stores import folder, open_store
from cryoburst.stores.folder import FolderStore

from .conformance import Conformance, keys


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


def test_an_unmounted_disk_is_not_an_empty_store(root: Path) -> None:
    store = FolderStore(root.as_uri())
    root.mkdir()  # the bare mount point
    for verb in (
        lambda: store.put("a", b""),
        lambda: store.get("a"),
        lambda: store.find("a"),
        lambda: read_whole(store, "a", 0, 1),
        lambda: store.poll("a", ""),
        lambda: list(store.list("")),
        lambda: store.delete("a"),
    ):
        with pytest.raises(StoreUnavailable, match=r"make the store first .*, or mount"):
            verb()
    root.rmdir()
    with pytest.raises(StoreUnavailable):
        store.put("a", b"")
    assert not root.exists()


def test_create_does_not_make_parents(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        FolderStore((tmp_path / "gone" / "store").as_uri()).create()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url", ["/data", "file:/data", "file://host/data", "file:///a/../b", "nosuch://bucket", "://x"]
)
def test_a_wrong_address(url: str) -> None:
    with pytest.raises(BadInput):
        open_store(url)


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
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    def write(descriptor: int, data: bytes) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(folder.os, "write", write)
    with pytest.raises(kind):
        store.put("a/b", b"123")
    monkeypatch.undo()
    assert keys(store) == []
    assert hidden(store) == []


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


def test_names_that_are_not_utf8(store: FolderStore) -> None:
    name = os.fsdecode(b"caf\xe9")
    store.put(f"a/{name}", b"1")
    assert keys(store) == [f"a/{name}"]


def test_the_longest_name_fits(store: FolderStore) -> None:
    store.put("a/" + "x" * 255, b"1")
    assert store.get("a/" + "x" * 255) == b"1"


def test_a_link_in_the_middle_of_the_store_is_listed_as_it_is(root: Path, store: FolderStore, tmp_path: Path) -> None:
    (root / "loop").symlink_to(root)
    store.put("a", b"")
    assert keys(store) == ["a", "loop"]


def test_a_name_with_a_newline_or_in_latin_1_is_kept(store: FolderStore) -> None:
    for key in ("a\nb", "\x01", "caf\udce9"):
        store.put(key, b"1")
        assert store.get(key) == b"1"
    assert keys(store) == sorted(["a\nb", "\x01", "caf\udce9"])


def test_poll_sees_a_write_of_the_same_size_in_the_same_tick_of_the_clock(root: Path, store: FolderStore) -> None:
    store.put("a", b"1")
    before = store.poll("a", "")
    assert before is not None
    seen = (root / "a").stat()
    store.put("a", b"2")
    os.utime(root / "a", ns=(seen.st_atime_ns, seen.st_mtime_ns))
    after = store.poll("a", before.tag)
    assert after is not None
    assert after.data == b"2"


def test_a_folder_costs_nothing_and_needs_no_credential(store: FolderStore) -> None:
    assert not store.metered
    assert store.credential(["a/"], "b/", 60.0) == {}


def test_the_probe_of_a_full_disk_is_one_error(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folder.os, "write", write)
    (found,) = store.probe()
    assert (found.level, found.subject) == ("error", "write")
    assert "full" in found.sentence


def hidden(store: FolderStore) -> list[str]:
    return [path.name for path in store.root.rglob(".cryoburst-*") if path.name != ".cryoburst-store"]
