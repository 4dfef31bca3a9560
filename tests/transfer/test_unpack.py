"""Files out of a range that comes in parts of any length: each whole and verified, or nothing of it."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryoburst.model.documents import Place
from cryoburst.model.errors import Corrupt, StoreUnavailable
from cryoburst.transfer.unpack import unpack
from cryoburst.transfer.wanted import Wanted

DATA = bytes(range(256)) * 4


def wanted(folder: Path, name: str, offset: int, size: int) -> Wanted:
    checksum = "sha256:" + hashlib.sha256(DATA[offset : offset + size]).hexdigest()
    return Wanted(name, str(folder / name), size, checksum, Place("key", offset), 5_000_000_000)


def parts_of(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    at = 0
    for cut in [*sorted(cuts), len(data)]:
        yield data[at:cut]
        at = cut


@st.composite
def stretches(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Places of files, as a run has them: in order, some empty, some twice, some over the end of the one before."""
    found = draw(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 124)), min_size=1, max_size=8))
    return sorted([*found, *draw(st.lists(st.sampled_from(found), max_size=3))])


@pytest.mark.slow
@given(stretches(), st.lists(st.integers(0, 1024), max_size=6))
def test_every_file_is_whole_or_named_as_passed(places: list[tuple[int, int]], cuts: list[int]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = [wanted(folder, f"{n}", *place) for n, place in enumerate(places)]
        start, end = run[0].place.offset, max(each.place.offset + each.size for each in run)
        cuts = [cut for cut in cuts if cut < end - start]
        came = unpack(run, start, parts_of(DATA[start:end], cuts))
        assert not came.wrong
        assert not came.failed
        assert sorted(each.name for each in [*came.passed, *(each for _, each in came.written)]) == sorted(
            each.name for each in run
        )
        assert len(list(folder.iterdir())) == len(came.written)
        for temporary, each in came.written:
            content = Path(temporary).read_bytes()
            assert content == DATA[each.place.offset : each.place.offset + each.size]
            assert Path(temporary).stat().st_mtime_ns == each.mtime_ns
        for each in came.passed:  # only what overlaps another needs a request of its own
            others = [other for _, other in came.written if other.size]
            assert any(
                other.place.offset <= each.place.offset < other.place.offset + other.size
                and (other.place.offset, other.size) != (each.place.offset, each.size)
                for other in others
            )


@pytest.mark.parametrize("error", [None, StoreUnavailable("the line broke"), ZeroDivisionError()])
def test_a_range_that_breaks_off_leaves_nothing(tmp_path: Path, error: Exception | None) -> None:
    run = [wanted(tmp_path, "a", 0, 10), wanted(tmp_path, "b", 10, 50)]

    def parts() -> Iterator[bytes]:
        yield DATA[:30]
        if error:
            raise error

    with pytest.raises(type(error) if error else Corrupt):
        unpack(run, 0, parts())
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_content_is_named_and_the_others_are_written(tmp_path: Path) -> None:
    run = [wanted(tmp_path, "a", 0, 10), wanted(tmp_path, "b", 10, 10), wanted(tmp_path, "c", 20, 10)]
    came = unpack(run, 0, [DATA[:12] + b"!" + DATA[13:30]])
    assert [each.name for each in came.wrong] == ["b"]
    assert [each.name for _, each in came.written] == ["a", "c"]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_that_this_disk_does_not_take_is_named_and_the_others_are_written(tmp_path: Path) -> None:
    (tmp_path / "in the way").write_text("a file where a folder should be")
    run = [wanted(tmp_path, "in the way/a", 0, 10), wanted(tmp_path, "b", 0, 10), wanted(tmp_path, "c", 10, 10)]
    came = unpack(run, 0, [DATA[:20]])
    assert [(each.name, type(error)) for each, error in came.failed] == [("in the way/a", NotADirectoryError)]
    assert [each.name for _, each in came.written] == ["b", "c"]


def test_a_disk_that_is_full_in_the_middle_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, calls = os.write, [0]

    def full(descriptor: int, data: memoryview) -> int:
        calls[0] += 1
        if calls[0] == 2:
            raise OSError(28, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    came = unpack([wanted(tmp_path, "a", 0, 20), wanted(tmp_path, "b", 20, 10)], 0, [DATA[:8], DATA[8:30]])
    assert [each.name for each, _ in came.failed] == ["a"]
    assert [each.name for _, each in came.written] == ["b"]
    assert len(list(tmp_path.iterdir())) == 1
