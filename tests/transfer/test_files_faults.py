"""Files to blobs and back when something goes wrong: files that change, a store that is damaged or fails, kill -9."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from cryoburst.model.documents import Place
from cryoburst.model.errors import Corrupt, NotThere, StoreFull, StoreUnavailable
from cryoburst.stores.folder import FolderStore
from cryoburst.transfer import Line, Receiver

from .yard import PACKED, PIECE, REAL_PIECE, Yard, data_of

pytestmark = pytest.mark.usefixtures("small_pieces")


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"!")


def shrink(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def replace(path: Path) -> None:
    stat = path.stat()
    path.rename(path.with_suffix(".old"))
    path.write_bytes(bytes(stat.st_size))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize("change", [grow, shrink, touch])
@pytest.mark.parametrize("size", [10, PACKED + 1, 2 * PIECE + 1])
def test_a_file_that_changed_since_it_was_found_is_named_and_not_sent(yard: Yard, change: object, size: int) -> None:
    yard.write("other", b"other")
    source = yard.write("f", data_of(size))
    assert callable(change)
    change(yard.here / "f")
    assert [(u.source.name, u.why) for u in yard.send(source, yard.source("other"))] == [
        ("f", "it changed while it was sent")
    ]
    assert set(yard.sent) == {"other"}


@pytest.mark.parametrize("change", [grow, shrink, touch, replace])
def test_a_large_file_that_changes_between_its_pieces_is_named(yard: Yard, change: object) -> None:
    source = yard.write("f", data_of(4 * PIECE))
    assert callable(change)

    class Changing(FolderStore):
        puts = 0

        def put(self, key: str, data: object) -> None:
            super().put(key, data)  # type: ignore[arg-type]
            self.puts += 1
            if self.puts == 2:
                change(yard.here / "f")

    yard.store = Changing(yard.store.url)
    assert [u.why for u in yard.send(source, line=Line(1))] == ["it changed while it was sent"]
    assert yard.sent == {}
    if change is not replace:
        assert yard.send(yard.source("f")) == []  # as it is now


def test_files_that_can_not_be_read_are_named_and_the_others_go(yard: Yard) -> None:
    sources = [yard.write(name, b"1") for name in ("gone", "dir", "fine")]
    (yard.here / "gone").unlink()
    (yard.here / "dir").unlink()
    (yard.here / "dir").mkdir()
    large = yard.write("large", data_of(PIECE + 1))
    (yard.here / "large").unlink()
    why = {u.source.name: u.why for u in yard.send(*sources, large)}
    assert set(why) == {"gone", "dir", "large"}
    assert why["gone"] == why["large"] == "No such file or directory"
    assert set(yard.sent) == {"fine"}


def flip(yard: Yard, key: str, at: int) -> None:
    path = yard.store.root / key
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def cut(yard: Yard, key: str, at: int) -> None:
    os.truncate(yard.store.root / key, at)


def lose(yard: Yard, key: str, at: int) -> None:
    (yard.store.root / key).unlink()


def swap(yard: Yard, key: str, at: int) -> None:
    """A stale object: of the right size, of another content."""
    (yard.store.root / key).write_bytes(bytes((yard.store.root / key).stat().st_size))


@pytest.mark.parametrize("fault", [flip, cut, lose, swap])
@pytest.mark.parametrize("size", [1000, PACKED + 1, 2 * PIECE + 1])
def test_damage_in_the_store_is_found_and_named_and_the_others_come(yard: Yard, fault: object, size: int) -> None:
    assert callable(fault)
    yard.write("before", data_of(1000, 1))
    yard.write("f", data_of(size, 2))
    yard.write("zlast", data_of(1000, 3))
    yard.send(*map(yard.source, ["before", "f", "zlast"]))
    (yard.there / "f").parent.mkdir()
    (yard.there / "f").write_bytes(b"the one of before")
    place = yard.sent["f"].place
    key = place.key
    if size > PIECE:  # one of its pieces
        key = max((k for k, n in yard.keys().items() if n == PIECE), key=str)
    fault(yard, key, place.offset + 5)
    failed = yard.receive()
    packed_together = size == 1000 and fault in (lose, swap, cut)
    assert set(failed) >= {"f"}
    assert packed_together or set(failed) == {"f"}
    assert all("Corrupt" in text or "NotThere" in text for text in failed.values())
    assert all(name in text for name, text in failed.items())
    assert (yard.there / "f").read_bytes() == b"the one of before"
    if not packed_together:
        assert (yard.there / "zlast").read_bytes() == data_of(1000, 3)
    # What is forgotten is sent again, over the damage.
    yard.places.clear()
    yard.send(*map(yard.source, ["before", "f", "zlast"]))
    assert yard.receive() == {}
    assert (yard.there / "f").read_bytes() == data_of(size, 2)


def test_a_list_of_pieces_that_is_damaged_is_found(yard: Yard) -> None:
    yard.write("f", data_of(PIECE + 1))
    yard.send(yard.source("f"))
    flip(yard, yard.sent["f"].place.key, 40)
    assert list(yard.receive()) == ["f"]
    assert not (yard.there / "f").exists()


def test_a_flip_on_the_wire_is_read_again(yard: Yard) -> None:
    yard.write("f", data_of(2 * PIECE))
    yard.write("g", b"small")
    yard.send(yard.source("f"), yard.source("g"))
    flipped: list[str] = []

    class Flipping(FolderStore):
        def read(self, key: str, offset: int, size: int) -> Iterator[bytes]:
            for part in super().read(key, offset, size):
                if key not in flipped:
                    flipped.append(key)
                    yield bytes([part[0] ^ 8]) + part[1:]
                else:
                    yield part

    yard.store = Flipping(yard.store.url)
    assert yard.receive() == {}
    assert len(flipped) == 4  # the list, two pieces, the small one: each once
    assert (yard.there / "f").read_bytes() == data_of(2 * PIECE)


def test_a_store_that_fails_in_the_middle_is_gone_on_with(yard: Yard) -> None:
    yard.write("f", data_of(6 * PIECE))

    class Failing(FolderStore):
        left = 3

        def put(self, key: str, data: object) -> None:
            if self.left == 0:
                raise StoreFull("the store is full")
            self.left -= 1
            super().put(key, data)  # type: ignore[arg-type]

        def read(self, key: str, offset: int, size: int) -> Iterator[bytes]:
            if self.left == 0:
                raise StoreUnavailable("away")
            self.left -= 1
            return super().read(key, offset, size)

    yard.store = Failing(yard.store.url)
    with pytest.raises(StoreFull):
        yard.send(yard.source("f"), line=Line(1))
    assert len(yard.keys()) == 3
    yard.wire = 0
    yard.store.left = 99  # type: ignore[attr-defined]
    assert yard.send(yard.source("f")) == []
    assert yard.wire == 3 * PIECE
    yard.store.left = 3  # type: ignore[attr-defined]
    with pytest.raises(StoreUnavailable):
        yard.receive(line=Line(1))
    assert not (yard.there / "f").exists()
    wire: list[bool] = []
    yard.store.left = 99  # type: ignore[attr-defined]
    Receiver(yard.store, Line(), lambda _, crossed: wire.append(crossed)).receive([yard.wanted("f")])
    assert wire.count(True) == 4  # the list of pieces and two of them had come
    assert (yard.there / "f").read_bytes() == data_of(6 * PIECE)
    assert yard.unfinished() == []


def test_a_target_that_can_not_be_written_is_named_and_the_others_come(yard: Yard) -> None:
    for name in ("a/x", "b", "l/y"):
        yard.write(name, data_of(PIECE + 1 if name == "l/y" else 10))
    yard.send(*map(yard.source, ("a/x", "b", "l/y")))
    yard.there.mkdir()
    (yard.there / "a").write_text("a file in the way of a folder")
    (yard.there / "l").write_text("another")
    failed = yard.receive()
    assert set(failed) == {"a/x", "l/y"}
    assert (yard.there / "b").exists()


def test_memory_stays_within_its_room(yard: Yard) -> None:
    """Never more in buffers than the line has room for, whatever comes at once."""
    held, most = 0, 0
    lock = threading.Lock()

    class Counting(FolderStore):
        def put(self, key: str, data: object) -> None:
            nonlocal held, most
            size = len(memoryview(data))  # type: ignore[arg-type]
            with lock:
                held += size
                most = max(most, held)
            super().put(key, data)  # type: ignore[arg-type]
            with lock:
                held -= size

    yard.store = Counting(yard.store.url)
    yard.write("f", data_of(8 * PIECE))
    yard.send(yard.source("f"), line=Line(16, memory=2 * PIECE))
    assert most <= 2 * PIECE


# ------------------------------------------------------------------------------------------------------ kill -9


def killed_and_again(words: list[str], begun: Callable[[], bool]) -> str:
    """Start, kill -9 when it has begun, start again and let it end; what it says."""
    command = [sys.executable, str(Path(__file__).with_name("driver.py")), *words]
    first = subprocess.Popen(command, stdout=subprocess.PIPE)
    end = time.monotonic() + 120
    while not begun():
        assert first.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=120)
    assert first.returncode == -signal.SIGKILL
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=True).stdout


@pytest.mark.slow
def test_killed_both_ways_it_goes_on_with_what_is_missing(yard: Yard, tmp_path: Path) -> None:
    data = data_of(10 * REAL_PIECE)
    yard.write("f", data)
    words = ["send", yard.store.url, str(yard.here / "f"), str(tmp_path / "ledger"), ""]
    checksum, key, offset, wire = json.loads(killed_and_again(words, lambda: (tmp_path / "ledger").exists()))
    assert checksum.startswith("sha256-16m:")
    assert wire < len(data)  # some had gone
    target = yard.there / "f"
    words = ["get", yard.store.url, str(target), "-", json.dumps([checksum, key, offset, len(data)])]
    begun = killed_and_again(words, lambda: sum(p.stat().st_blocks * 512 for p in yard.unfinished()) >= 3 * REAL_PIECE)
    assert int(begun) < len(data)
    assert target.read_bytes() == data
    assert yard.unfinished() == []


def places(mapping: Mapping[str, Place]) -> set[str]:
    return {place.key for place in mapping.values()}


def test_errors_of_a_missing_object_are_told_of_the_file(yard: Yard) -> None:
    yard.write("a name", b"1")
    yard.send(yard.source("a name"))
    for key in places(yard.places):
        yard.store.delete(key)
    (failed,) = Receiver(yard.store, Line()).receive([yard.wanted("a name")])
    assert isinstance(failed.error, NotThere)
    assert not isinstance(failed.error, Corrupt)
    assert "a name" in str(failed.error)
