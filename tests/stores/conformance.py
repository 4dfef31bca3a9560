"""What every store must do. A new store's test file inherits ``Conformance`` and gives the fixture ``store``."""

import hashlib
import os
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryoburst.model.errors import BadInput, Corrupt, NotThere
from cryoburst.model.plugins import Store

BAD_KEYS = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    "..",
    "../a",
    "a/../b",
    "a/..",
    ".",
    "./a",
    "a/./b",
    "a\0b",
    "x" * 256,
    "\ud800x/y",
]
PARTS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="/\0"), min_size=1, max_size=40).filter(
    lambda part: part not in (".", "..") and not part.startswith(".cryoburst-")
)
KEYS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


def checksum(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def keys(store: Store, prefix: str = "") -> list[str]:
    return [stored.key for stored in store.list(prefix)]


class Conformance:
    """Behaviour that the engine and the agent rely on, whatever the store is made of."""

    def test_put_then_get_gives_the_same_bytes(self, store: Store) -> None:
        store.put("p/Class2D/job012/spec.json", b"{}")
        assert store.get("p/Class2D/job012/spec.json") == b"{}"

    def test_put_replaces(self, store: Store) -> None:
        store.put("a/b", b"first and longer")
        store.put("a/b", b"second")
        assert store.get("a/b") == b"second"

    def test_a_missing_object_is_none(self, store: Store) -> None:
        store.put("a/b", b"")
        assert store.get("a/c") is None
        assert store.get("a") is None
        assert store.get("a/b/c") is None
        assert store.get("nothing/at/all") is None

    def test_put_file_returns_size_and_checksum(self, store: Store, tmp_path: Path) -> None:
        data = os.urandom(3_000_001)
        (tmp_path / "source").write_bytes(data)
        assert store.put_file("a/file", tmp_path / "source") == (len(data), checksum(data))
        assert store.get("a/file") == data

    def test_put_file_of_an_unreadable_source_is_the_callers_error(self, store: Store, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            store.put_file("a/file", tmp_path / "missing")
        with pytest.raises(OSError):
            store.put_file("a/file", tmp_path)
        assert keys(store) == []

    def test_get_file_writes_what_was_promised(self, store: Store, tmp_path: Path) -> None:
        data = os.urandom(2_500_000)
        store.put("a/file", data)
        store.get_file("a/file", tmp_path / "target", len(data), checksum(data))
        assert (tmp_path / "target").read_bytes() == data

    @pytest.mark.parametrize(("size", "data"), [(4, b"1235"), (5, b"1234")])
    def test_get_file_that_differs_leaves_nothing(self, store: Store, tmp_path: Path, size: int, data: bytes) -> None:
        store.put("a/file", b"1234")
        with pytest.raises(Corrupt):
            store.get_file("a/file", tmp_path / "target", size, checksum(data))
        assert list(tmp_path.iterdir()) == []

    def test_get_file_that_differs_keeps_the_old_target(self, store: Store, tmp_path: Path) -> None:
        store.put("a/file", b"1234")
        (tmp_path / "target").write_bytes(b"old")
        with pytest.raises(Corrupt):
            store.get_file("a/file", tmp_path / "target", 4, checksum(b"4321"))
        assert (tmp_path / "target").read_bytes() == b"old"

    def test_get_file_of_nothing(self, store: Store, tmp_path: Path) -> None:
        with pytest.raises(NotThere):
            store.get_file("a/file", tmp_path / "target", 0, checksum(b""))
        assert list(tmp_path.iterdir()) == []

    def test_list_is_in_the_order_of_whole_keys(self, store: Store) -> None:
        written = ["a/b", "a-b", "a.b/c", "a/b-c", "ab", "é/x", "a0", "B/c", "a/ b"]
        for key in written:
            store.put(key, b"123")
        assert keys(store) == sorted(written)
        assert {stored.size for stored in store.list("")} == {3}

    def test_list_under_a_prefix(self, store: Store) -> None:
        for key in ("p/job1/a", "p/job1/b/c", "p/job12/a", "p2/job1/a"):
            store.put(key, b"")
        assert keys(store, "p/job1/") == ["p/job1/a", "p/job1/b/c"]
        assert keys(store, "p/none/") == []

    def test_delete_is_silent_when_there_is_nothing(self, store: Store) -> None:
        store.put("a/b", b"")
        store.delete("a/b")
        store.delete("a/b")
        store.delete("x/y/z")
        assert keys(store) == []

    def test_delete_leaves_neighbours(self, store: Store) -> None:
        store.put("a/b/c", b"")
        store.put("a/d", b"")
        store.delete("a/b/c")
        store.delete("a")
        assert keys(store) == ["a/d"]

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_keys_may_not_escape(self, store: Store, tmp_path: Path, key: str) -> None:
        (tmp_path / "source").write_bytes(b"")
        for verb in (
            lambda: store.put(key, b""),
            lambda: store.put_file(key, tmp_path / "source"),
            lambda: store.get(key),
            lambda: store.get_file(key, tmp_path / "target", 0, checksum(b"")),
            lambda: store.delete(key),
        ):
            with pytest.raises(BadInput):
                verb()

    def test_prefixes_may_not_escape(self, store: Store) -> None:
        for prefix in ("/", "../", "a", "a//", "a/../b/"):
            with pytest.raises(BadInput):
                list(store.list(prefix))

    @settings(
        max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )  # the store is emptied by each example itself
    @given(contents=st.dictionaries(KEYS, st.binary(max_size=50), max_size=6))
    def test_any_key_that_is_taken_comes_back(self, store: Store, contents: dict[str, bytes]) -> None:
        kept: dict[str, bytes] = {}
        for key, data in contents.items():
            try:
                store.put(key, data)
            except BadInput:  # a file can't hold a folder, nor a name have more than 255 bytes
                assert any(k.startswith(key + "/") or key.startswith(k + "/") for k in kept) or any(
                    len(part.encode()) > 255 for part in key.split("/")
                )
            else:
                kept[key] = data
        assert keys(store) == sorted(kept)
        for key, data in kept.items():
            assert store.get(key) == data
            store.delete(key)
        assert keys(store) == []

    def test_a_reader_never_sees_half_an_object(self, store: Store) -> None:
        old, new = b"o" * 400_000, b"n" * 700_000
        store.put("a/b", old)
        seen: set[bytes | None] = set()
        ended = threading.Event()

        def read() -> None:
            while not ended.is_set():
                seen.add(store.get("a/b"))
                assert len(keys(store)) == 1

        reader = threading.Thread(target=read)
        reader.start()
        for data in (new, old) * 20:
            store.put("a/b", data)
        ended.set()
        reader.join(10)
        assert seen <= {old, new}

    def test_many_writers_and_deleters_share_folders(self, store: Store) -> None:
        failures: list[BaseException] = []

        def work(name: int) -> None:
            try:
                for turn in range(40):
                    store.put(f"shared/deep/folder/{name}", b"%d" % turn)
                    assert store.get(f"shared/deep/folder/{name}") == b"%d" % turn
                    store.delete(f"shared/deep/folder/{name}")
            except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
                failures.append(error)

        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert failures == []
        assert keys(store) == []
