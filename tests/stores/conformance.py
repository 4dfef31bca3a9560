"""What every store must do: exactly the ``Store`` protocol, whatever is behind it.

A new store's test file inherits ``Conformance`` and gives the fixture ``store``, an empty store for each test. A slow
server may lower ``EXAMPLES``, ``WRITES`` and ``TURNS``.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoburst.model.errors import BadInput, Corrupt, NotThere
from cryoburst.model.store import Store, read_whole

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
ODD_KEYS = [
    "a b",
    " a ",
    "a/ b /c",
    "100%",
    "a%20b",
    "%2e%2e/a",
    "a+b&c=d;e",
    "a#b?c",
    "a\\b",
    "~`|^[]{}<>\"'*$!(),:@",
    "..a/...",
    "a./b.",
    "-rf",
    "é/e\u0301",
    "日本語/\U0001f600",
    "\u2028",
    "/".join(["x" * 249] * 4),
    "job012/a very long name with ä" + "ö" * 100,
]
# Control characters and U+FFFE are a store's own business: taken, or refused with BadInput.
NAMES = st.characters(blacklist_categories=["Cs"], blacklist_characters="/\0")
PARTS = st.text(NAMES, min_size=1, max_size=40).filter(
    lambda part: part not in (".", "..") and not part.startswith(".cryoburst-")
)
KEYS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


def keys(store: Store, prefix: str = "") -> list[str]:
    return [stored.key for stored in store.list(prefix)]


class Conformance:
    """Behaviour that the engine and the agent rely on, whatever the store is made of."""

    EXAMPLES, WRITES, TURNS = 40, 20, 20  # of random keys; while somebody reads; of each writer beside others

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

    def test_create_twice_is_silent(self, store: Store) -> None:
        store.put("a", b"1")
        store.create()
        assert store.get("a") == b"1"

    def test_put_takes_whatever_holds_bytes(self, store: Store) -> None:
        data = bytes(range(256)) * 4
        for key, buffer in {
            "bytes": data,
            "array": bytearray(data),
            "slice": memoryview(b"x" + data + b"x")[1:-1],
            "words": memoryview(data).cast("I"),
            "readonly": memoryview(bytearray(data)).toreadonly(),
        }.items():
            store.put(key, buffer)
            assert store.get(key) == data
        store.put("empty", memoryview(b""))
        assert store.get("empty") == b""

    def test_megabytes_come_back_whole(self, store: Store) -> None:
        data = os.urandom(17_000_001)
        store.put("a/large", data)
        assert store.get("a/large") == data
        assert read_whole(store, "a/large", 5_000_000, 9_000_000) == data[5_000_000:14_000_000]

    def test_read(self, store: Store) -> None:
        store.put("a", b"0123456789")
        for offset, size in ((0, 10), (0, 1), (9, 1), (3, 4), (0, 0), (4, 0), (10, 0)):
            assert read_whole(store, "a", offset, size) == b"0123456789"[offset : offset + size]

    def test_find_tells_size_and_state(self, store: Store) -> None:
        assert store.find("a/b") is None
        store.put("a/b", b"123")
        found = store.find("a/b")
        assert found is not None
        assert (found.key, found.size) == ("a/b", 3)
        assert found == store.find("a/b")
        assert store.poll("a/b", found.tag) is None
        assert store.find("a") is None
        store.put("a/b", b"45678")
        assert (after := store.find("a/b")) is not None
        assert after.tag != found.tag

    @pytest.mark.parametrize(("offset", "size"), [(0, 11), (9, 2), (10, 1), (20, 3), (11, 0)])
    def test_a_range_beyond_the_end_is_corrupt(self, store: Store, offset: int, size: int) -> None:
        store.put("a", b"0123456789")
        with pytest.raises(Corrupt):
            read_whole(store, "a", offset, size)

    def test_a_range_of_an_empty_object(self, store: Store) -> None:
        store.put("a", b"")
        assert read_whole(store, "a", 0, 0) == b""
        with pytest.raises(Corrupt):
            read_whole(store, "a", 0, 1)

    @pytest.mark.parametrize("size", [0, 1])
    def test_a_range_of_nothing(self, store: Store, size: int) -> None:
        with pytest.raises(NotThere):
            read_whole(store, "a", 0, size)

    @pytest.mark.parametrize(("offset", "size"), [(-1, 2), (1, -1)])
    def test_a_range_before_the_start(self, store: Store, offset: int, size: int) -> None:
        store.put("a", b"0123456789")
        with pytest.raises(BadInput):
            read_whole(store, "a", offset, size)

    def test_poll_tells_what_changed(self, store: Store) -> None:
        store.put("a", b"1")
        first = store.poll("a", "")
        assert first is not None
        assert first.data == b"1"
        assert first.tag
        assert store.poll("a", first.tag) is None
        store.put("a", b"22")
        second = store.poll("a", first.tag)
        assert second is not None
        assert second.data == b"22"
        assert second.tag != first.tag
        assert store.poll("a", second.tag) is None
        again = store.poll("a", first.tag)
        assert again is not None
        assert again.data == b"22"

    def test_poll_of_an_object_that_comes_and_goes(self, store: Store) -> None:
        nothing = store.poll("a", "")
        assert nothing is not None
        assert nothing.data is None
        assert store.poll("a", nothing.tag) is None
        store.put("a", b"1")
        there = store.poll("a", nothing.tag)
        assert there is not None
        assert there.data == b"1"
        store.delete("a")
        gone = store.poll("a", there.tag)
        assert gone is not None
        assert gone.data is None
        assert store.poll("a", gone.tag) is None

    def test_poll_of_an_empty_object(self, store: Store) -> None:
        store.put("a", b"")
        found = store.poll("a", "")
        assert found is not None
        assert found.data == b""
        assert store.poll("a", found.tag) is None

    def test_a_tag_of_another_object_decides_nothing(self, store: Store) -> None:
        store.put("a", b"1")
        store.put("b", b"2")
        other = store.poll("b", "")
        assert other is not None
        found = store.poll("a", other.tag)
        assert found is not None
        assert found.data == b"1"

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

    def test_list_says_size_and_time(self, store: Store) -> None:
        store.put("a/b", b"12345")
        (found,) = store.list("a/")
        assert (found.key, found.size) == ("a/b", 5)
        assert abs(found.modified - time.time()) < 60

    @pytest.mark.slow
    def test_a_listing_of_several_pages_is_whole_and_in_order(self, store: Store) -> None:
        written = [f"many/{n:04}" for n in range(1050)]
        everybody(lambda key: store.put(key, b""), written)
        assert keys(store, "many/") == written
        store.delete(*written)
        assert keys(store) == []

    def test_delete_is_silent_when_there_is_nothing(self, store: Store) -> None:
        store.put("a/b", b"")
        store.delete("a/b")
        store.delete("a/b")
        store.delete("x/y/z")
        store.delete()
        assert keys(store) == []

    def test_delete_of_several_minds_none_that_is_gone(self, store: Store) -> None:
        for key in ("a/1", "a/2", "b c%é", "d"):
            store.put(key, b"")
        store.delete("a/1", "nothing", "b c%é", "x/y", "a/2")
        assert keys(store) == ["d"]

    def test_delete_leaves_neighbours(self, store: Store) -> None:
        store.put("a/b/c", b"")
        store.put("a/d", b"")
        store.delete("a/b/c")
        store.delete("a")
        assert keys(store) == ["a/d"]

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_keys_may_not_escape(self, store: Store, key: str) -> None:
        store.put("a/b", b"1")
        for verb in (
            lambda: store.put(key, b""),
            lambda: store.get(key),
            lambda: read_whole(store, key, 0, 1),
            lambda: store.poll(key, ""),
            lambda: store.delete(key),
            lambda: store.delete("a/b", key),
        ):
            with pytest.raises(BadInput):
                verb()
        assert keys(store) == ["a/b"]

    @pytest.mark.parametrize("key", ODD_KEYS)
    def test_odd_keys_come_back_as_they_are(self, store: Store, key: str) -> None:
        store.put(key, b"1")
        store.put("zz", b"")
        assert store.get(key) == b"1"
        assert read_whole(store, key, 0, 1) == b"1"
        assert sorted(keys(store)) == sorted([key, "zz"])
        folder = key[: key.rfind("/") + 1]
        assert key in keys(store, folder)
        store.delete(key, "zz")
        assert keys(store) == []

    @pytest.mark.parametrize("key", ["a\nb", "a\tb", "\x01", "\x7f", "\x85", "\ufffe", "\udce9"])
    def test_control_characters_are_kept_or_refused(self, store: Store, key: str) -> None:
        try:
            store.put(key, b"1")
        except BadInput:
            assert keys(store) == []
            with pytest.raises(BadInput):
                store.get(key)
        else:
            assert store.get(key) == b"1"
            assert keys(store) == [key]

    def test_prefixes_may_not_escape(self, store: Store) -> None:
        for prefix in ("/", "../", "a", "a//", "a/../b/"):
            with pytest.raises(BadInput):
                list(store.list(prefix))

    def test_any_key_that_is_taken_comes_back(self, store: Store) -> None:
        @settings(max_examples=self.EXAMPLES)  # each example empties the store itself
        @given(contents=st.dictionaries(KEYS, st.binary(max_size=50), max_size=6))
        def example(contents: dict[str, bytes]) -> None:
            kept: dict[str, bytes] = {}
            for key, data in contents.items():
                try:
                    store.put(key, data)
                except BadInput:
                    assert may_be_refused(key, kept)
                else:
                    kept[key] = data
            assert keys(store) == sorted(kept)
            for key, data in kept.items():
                assert store.get(key) == data
            store.delete(*kept)
            assert keys(store) == []

        example()

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
        for data in (new, old) * (self.WRITES // 2):
            store.put("a/b", data)
        ended.set()
        reader.join(60)
        assert seen <= {old, new}

    def test_many_writers_and_deleters_share_folders(self, store: Store) -> None:
        failures: list[BaseException] = []

        def work(name: int) -> None:
            try:
                for turn in range(self.TURNS):
                    store.put(f"shared/deep/folder/{name}", b"%d" % turn)
                    assert store.get(f"shared/deep/folder/{name}") == b"%d" % turn
                    store.delete(f"shared/deep/folder/{name}")
            except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
                failures.append(error)

        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert failures == []
        assert keys(store) == []

    def test_probe_finds_no_error_and_leaves_nothing(self, store: Store) -> None:
        store.put("a", b"1")
        findings = store.probe()
        assert [each for each in findings if each.level == "error"] == []
        assert {"write", "read back", "list", "delete", "conditional read", "latency", "speed"} <= {
            each.subject for each in findings
        }
        assert keys(store) == ["a"]


def may_be_refused(key: str, kept: Iterable[str]) -> bool:
    """Whether a store may refuse it: a file can't hold a folder, nor a name more than 255 bytes, nor XML everything."""
    return (
        any(k.startswith(key + "/") or key.startswith(k + "/") for k in kept)
        or any(len(part.encode()) > 255 for part in key.split("/"))
        or any(c < " " or c in "\x7f\ufffe\uffff" for c in key)
    )


def everybody(work: Callable[[str], None], names: Sequence[str]) -> None:
    """Do the work for all names, by eight threads."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, names))
