"""Plots in text."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryoburst.cli.plot import bar, crossing, curve, spark

FINITE = st.floats(-10, 10, allow_nan=False)


@given(st.floats(-1, 2, allow_nan=False), st.integers(1, 60))
def test_a_bar_is_as_wide_as_asked(share: float, width: int) -> None:
    assert len(bar(share, width)) == width


@pytest.mark.parametrize(
    ("share", "drawn"), [(0, "    "), (0.5, "██  "), (1, "████"), (0.25, "█   "), (0.03125, "▏   ")]
)
def test_bars(share: float, drawn: str) -> None:
    assert bar(share, 4) == drawn


@given(st.lists(FINITE, max_size=80), st.integers(1, 40))
def test_a_spark_has_one_column_for_each_of_the_last_values(values: list[float], width: int) -> None:
    drawn = spark(values, width)
    assert len(drawn) == min(len(values), width)
    if len(set(values[-width:])) > 1:
        assert "▁" in drawn
        assert "█" in drawn


@given(st.lists(FINITE, min_size=2, max_size=50), st.integers(2, 60), st.integers(1, 12))
def test_a_curve_fills_its_box_with_dots_in_every_column(y: list[float], columns: int, rows: int) -> None:
    drawn = curve(list(range(len(y))), y, columns, rows)
    assert [len(row) for row in drawn] == [columns] * rows
    assert all(0x2800 <= ord(c) <= 0x28FF for row in drawn for c in row)
    assert all(any(row[n] != "\u2800" for row in drawn) for n in range(columns))


def test_a_falling_curve_begins_above_and_ends_below() -> None:
    drawn = curve([0, 1], [1, 0], 4, 2)
    assert drawn[0][0] != "\u2800"
    assert drawn[1][0] == "\u2800"
    assert drawn[0][-1] == "\u2800"
    assert drawn[1][-1] != "\u2800"


@pytest.mark.parametrize(
    ("y", "level", "where"),
    [([1, 1, 0], 0.5, 1.5), ([1, 0, 1], 0.25, 0.75), ([1, 1, 1], 0.5, None), ([0, 0], 0.5, None)],
)
def test_crossing(y: list[float], level: float, where: float | None) -> None:
    found = crossing(list(range(len(y))), y, level)
    assert (found is None) == (where is None)
    assert where is None or math.isclose(found or 0, where)


@given(st.floats(0.01, 0.5), st.integers(15, 55))
def test_spacings_below_a_plot_never_run_into_one_another(last: float, columns: int) -> None:
    from cryoburst.cli.show_course import _axis  # pyright: ignore[reportPrivateUsage]

    text = _axis(last, columns)
    assert len(text) == columns
    assert text.endswith(f"{1 / last:.3g} Å")
    assert all(re.fullmatch(r"[\d.e+]+ Å", word) for word in re.split(r" +(?=\d)", text.strip()))
