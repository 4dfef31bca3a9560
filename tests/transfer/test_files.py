"""Files to blobs and back, on a real folder store: what is sent, what is not, what is found out, and how it goes on."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryoburst.model.documents import Place
from cryoburst.model.errors import Corrupt, NotThere, StoreFull, StoreUnavailable
from cryoburst.model.plugins import UNFINISHED
from cryoburst.stores.folder import FolderStore
from cryoburst.transfer import Line, Receiver, Sender, Sent, Source, Unsent, Wanted, checksum_of, content, receive, send
from cryoburst.transfer.content import digest_of
from cryoburst.transfer.packs import unpack_table

PIECE, PACKED = 1 << 16, 1 << 13  # bytes: small ones, so that the tests are quick; real ones where a test says so
REAL_PIECE = content.PIECE
FOLDER = "p/inputs/"
SIZES = [0, 1, PACKED - 1, PACKED, PACKED + 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 1]


class Yard:
    """A disk with files, a store, and what the store is known to have."""

    def __init__(self, root: Path) -> None:
        self.here, self.there = root / "here", root / "there"
        self.here.mkdir()
        self.store = FolderStore((root / "store").as_uri())
        self.store.create()
        self.places: dict[str, Place] = {}
        self.sent: dict[str, Sent] = {}
        self.wire = 0  # bytes that crossed it

    def write(self, name: str, data: bytes) -> Source:
        path = self.here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return self.source(name)

    def source(self, name: str) -> Source:
        stat = (self.here / name).stat()
        return Source(name, str(self.here / name), stat.st_size, stat.st_mtime_ns)

    def send(self, *sources: Source, line: Line | None = None) -> list[Unsent]:
        sender = Sender(self.store, FOLDER, line or Line(), self.places.get, self.places.update, self._moved)
        return sender.send(sources, self._done)

    def _done(self, sent: list[Sent]) -> None:
        self.sent.update({each.source.name: each for each in sent})

    def _moved(self, size: int, wire: bool) -> None:
        self.wire += size if wire else 0

    def wanted(self, name: str) -> Wanted:
        sent = self.sent[name]
        target = str(self.there / name)
        return Wanted(name, target, sent.source.size, sent.checksum, sent.place, sent.source.mtime_ns)

    def receive(self, *names: str, line: Line | None = None) -> dict[str, str]:
        """Fetch; name -> error of what did not come."""
        failed = Receiver(self.store, line or Line()).receive(self.wanted(name) for name in names or self.sent)
        return {each.wanted.name: f"{type(each.error).__name__}: {each.error}" for each in failed}

    def keys(self) -> dict[str, int]:
        return {each.key: each.size for each in self.store.list("")}

    def unfinished(self) -> list[Path]:
        return list(self.there.rglob(f"{UNFINISHED}*"))


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    content.zeros.cache_clear()
    for module in (content, send, receive):
        monkeypatch.setattr(module, "PIECE", PIECE)
    for module in (content, send):
        monkeypatch.setattr(module, "PACKED", PACKED)


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path)


def data_of(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def test_every_size_around_a_limit_comes_back_as_it_was(yard: Yard) -> None:
    for size in SIZES:
        yard.write(f"f{size}", data_of(size, size))
    assert yard.send(*(yard.source(f"f{size}") for size in SIZES)) == []
    assert yard.receive() == {}
    for size in SIZES:
        name = f"f{size}"
        assert (yard.there / name).read_bytes() == (yard.here / name).read_bytes()
        assert (yard.there / name).stat().st_mtime_ns == yard.source(name).mtime_ns
        assert yard.sent[name].checksum == checksum_of(yard.here / name)
    assert max(yard.keys().values()) <= PIECE + len(SIZES) * 48 + 24  # a pack has its table on top
    assert yard.unfinished() == []


def test_checksums_are_what_they_say(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert checksum_of(tmp_path / "a") == f"sha256:{hashlib.sha256(b'abc').hexdigest()}"
    data = data_of(2 * PIECE + 5)
    (tmp_path / "b").write_bytes(data)
    digests = b"".join(hashlib.sha256(data[at : at + PIECE]).digest() for at in range(0, len(data), PIECE))
    assert checksum_of(tmp_path / "b") == f"sha256-16m:{hashlib.sha256(digests).hexdigest()}"
    (tmp_path / "c").write_bytes(data[:PIECE])
    assert checksum_of(tmp_path / "c").startswith("sha256:")


@pytest.mark.parametrize(
    "text", ["", "sha256", "sha256:", "md5:" + "0" * 64, "sha256:" + "0" * 63, "sha256:" + "G" * 64]
)
def test_what_is_no_checksum(text: str) -> None:
    with pytest.raises(ValueError, match="not a checksum"):
        digest_of(text)


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20).filter(
    lambda name: name not in (".", "..") and len(name.encode()) < 200 and not name.startswith(UNFINISHED)
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.dictionaries(NAMES, st.binary(max_size=3000), max_size=30))
def test_any_names_and_contents(tmp_path: Path, files: dict[str, bytes]) -> None:
    root = tmp_path / str(time.monotonic_ns())
    root.mkdir()
    yard = Yard(root)
    sources = [yard.write(name, data) for name, data in files.items()]
    assert yard.send(*sources) == []
    assert yard.receive() == {}
    assert {name: (yard.there / name).read_bytes() for name in files} == files
    content = sum(map(len, set(files.values())))
    assert yard.wire == content  # the same content goes once
    assert {path.name for path in yard.there.glob("*")} == set(files)


def test_twins_in_unicode_and_case_stay_apart(yard: Yard) -> None:
    names = [unicodedata.normalize(form, "Zürich.mrc") for form in ("NFC", "NFD")] + ["zürich.mrc", "a\nb c.mrc"]
    for name in names:
        yard.write(name, name.encode())
    assert yard.send(*map(yard.source, names)) == []
    assert yard.receive() == {}
    assert {path.name: path.read_bytes().decode() for path in yard.there.iterdir()} == {name: name for name in names}


def test_what_the_store_has_is_not_sent_again(yard: Yard) -> None:
    small, middle, large = data_of(100), data_of(PACKED + 1), data_of(2 * PIECE + 1)
    for name, data in {"s": small, "m": middle, "l": large}.items():
        yard.write(name, data)
    yard.send(*map(yard.source, "sml"))
    before, wire = yard.keys(), yard.wire
    for name, data in {"copy/s": small, "copy/m": middle, "copy/l": large}.items():
        yard.write(name, data)
    os.link(yard.here / "l", yard.here / "hard")
    assert yard.send(*map(yard.source, ["copy/s", "copy/m", "copy/l", "hard"])) == []
    assert (yard.keys(), yard.wire) == (before, wire)
    assert yard.receive() == {}
    assert (yard.there / "copy/l").read_bytes() == large


def test_a_file_that_grew_sends_only_its_new_pieces(yard: Yard) -> None:
    yard.write("stack", data_of(3 * PIECE))
    yard.send(yard.source("stack"))
    yard.wire = 0
    with (yard.here / "stack").open("ab") as file:
        file.write(b"more")
    assert yard.send(yard.source("stack")) == []
    assert yard.wire == 4
    assert yard.receive() == {}
    assert checksum_of(yard.there / "stack") == checksum_of(yard.here / "stack")


def test_the_store_alone_tells_what_its_packs_hold(yard: Yard) -> None:
    for number in range(50):
        yard.write(f"f{number}", data_of(100 + number, number))
    yard.send(*(yard.source(f"f{number}") for number in range(50)))
    ((key, size),) = yard.keys().items()
    assert key.startswith(f"{FOLDER}packs/")
    assert unpack_table(yard.store, key, size) == yard.places
    assert unpack_table(yard.store, key, size - 1) == {}  # not the end of a pack


# ---------------------------------------------------------------------------------------------- what goes wrong


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
    end = time.monotonic() + 20
    while not begun():
        assert first.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=10)
    assert first.returncode == -signal.SIGKILL
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


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


# ------------------------------------------------------------------------------------------------------- 5 TB


@pytest.mark.slow
def test_a_sparse_file_of_five_terabytes(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (content, send, receive):
        monkeypatch.setattr(module, "PIECE", REAL_PIECE)
    content.zeros.cache_clear()
    size = 5 * 10**12 + 3
    path = yard.here / "huge"
    with path.open("wb") as file:
        file.truncate(size)
        for offset in (0, 10**12 + 17, size - 5):
            file.seek(offset)
            file.write(b"data!")
    assert yard.send(yard.source("huge")) == []
    assert yard.wire < 4 * REAL_PIECE
    assert len(yard.keys()) == 5  # three pieces with data, one of zeros, the list
    assert yard.receive() == {}
    with (yard.there / "huge").open("rb") as file:
        assert os.fstat(file.fileno()).st_size == size
        for offset in (0, 10**12 + 17, size - 5):
            file.seek(offset)
            assert file.read(5) == b"data!"
    assert (yard.there / "huge").stat().st_blocks * 512 < 10 * REAL_PIECE  # as sparse as it was


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
