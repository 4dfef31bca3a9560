"""Files to blobs and back, on a real folder store: what is sent, what is not, what is found out, and how it goes on."""

import hashlib
import os
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryoburst.model.plugins import UNFINISHED
from cryoburst.stores.folder import FolderStore
from cryoburst.transfer import checksum_of, content, receive, send
from cryoburst.transfer.content import digest_of
from cryoburst.transfer.packs import unpack_table

from .yard import FOLDER, PACKED, PIECE, REAL_PIECE, SIZES, Yard, data_of

pytestmark = pytest.mark.usefixtures("small_pieces")


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


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
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


@pytest.mark.parametrize("size", [PACKED + 1, PIECE, PIECE + 1])
def test_the_same_content_under_several_names_at_once_goes_once(yard: Yard, size: int) -> None:
    class Slow(FolderStore):
        def put(self, key: str, data: object) -> None:
            time.sleep(0.05)  # all others have asked meanwhile
            super().put(key, data)  # type: ignore[arg-type]

    yard.store = Slow(yard.store.url)
    names = [f"copy{number}" for number in range(6)]
    for name in names:
        yard.write(name, data_of(size))
    assert yard.send(*map(yard.source, names)) == []
    assert yard.wire == size
    assert yard.receive() == {}


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
