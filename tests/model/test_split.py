"""How a job is cut: no unit lost, none twice, their order kept; and how many parts we choose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryoburst.model.split import AUTO, AUTO_MOST, Cut, auto_parts, block, parse_parts


@given(st.integers(1, 20_000), st.integers(1, 300))
def test_blocks_are_the_whole_in_its_order(units: int, parts: int) -> None:
    blocks = [block(units, part, parts) for part in range(1, parts + 1)]
    assert [n for each in blocks for n in each] == list(range(units))
    sizes = [len(each) for each in blocks]
    assert max(sizes) - min(sizes) <= 1
    if parts <= units:
        assert min(sizes) >= 1


@pytest.mark.parametrize(
    ("units", "core_seconds", "cores", "parts"),
    [
        (24, 24 * 30.0, 2, 1),  # six minutes: not worth a second machine
        (1500, 1500 * 500.0, 16, 27),  # 13 hours on one machine
        (1500, 1500 * 500.0, 64, 7),
        (10_000, 10_000 * 500.0, 8, AUTO_MOST),
        (20, 1e9, 1, 5),  # at least four micrographs for each
        (3, 1e9, 1, 1),
        (1500, 0.0, 16, 1),
        (1500, 1500 * 500.0, 0, AUTO_MOST),  # a provider that doesn't say
    ],
)
def test_the_number_of_parts_that_we_choose(units: int, core_seconds: float, cores: int, parts: int) -> None:
    assert auto_parts(Cut(units, "micrographs", core_seconds), cores) == parts


@given(st.integers(1, 100_000), st.floats(0, 1e9), st.integers(1, 256))
def test_what_we_choose_can_always_be_cut(units: int, core_seconds: float, cores: int) -> None:
    assert 1 <= auto_parts(Cut(units, "micrographs", core_seconds), cores) <= units


@pytest.mark.parametrize(
    ("text", "number"),
    [("1", 1), ("64", 64), ("1000", 1000), ("auto", AUTO), (" Auto ", AUTO)]
    + [(text, None) for text in ("0", "1001", "-1", "1.5", "two", "", "１", "9" * 30)],
)
def test_numbers_of_parts_as_people_write_them(text: str, number: int | None) -> None:
    assert parse_parts(text) == number
