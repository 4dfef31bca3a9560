"""Small plots in text, for a terminal. Pure: values in, lines out; nothing of a file gets into them but numbers."""

from collections.abc import Sequence

SPARKS, EIGHTHS = "▁▂▃▄▅▆▇█", " ▏▎▍▌▋▊▉█"
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a braille cell, row by row (Unicode, U+2800)


def bar(share: float, width: int) -> str:
    """A bar that fills this share of so many characters; the rest is blank."""
    eighths = round(min(1.0, max(0.0, share)) * width * 8)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (EIGHTHS[rest] if rest else "")).ljust(width)


def spark(values: Sequence[float], width: int) -> str:
    """A line of small columns, the last ``width`` values; the highest column is the largest value."""
    shown = values[-width:]
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    steps = len(SPARKS) - 1
    return "".join(SPARKS[round((value - low) / (high - low) * steps) if high > low else 0] for value in shown)


def curve(
    x: Sequence[float], y: Sequence[float], columns: int, rows: int, low: float = 0.0, high: float = 1.0
) -> list[str]:
    """A curve in braille dots, two across and four down in each character; x from 0 to its end.

    A point outside ``low`` to ``high`` is drawn at the edge.
    """
    across, down = 2 * columns, 4 * rows
    cells = [[0] * columns for _ in range(rows)]
    before: int | None = None
    for column in range(across):
        value = _at(x, y, x[-1] * column / (across - 1))
        dot = round((high - min(high, max(low, value))) / (high - low) * (down - 1))
        start = dot if before is None else before
        for each in range(min(start, dot), max(start, dot) + 1):
            if each != start or each == dot:
                cells[each // 4][column // 2] |= DOTS[each % 4][column % 2]
        before = dot
    return ["".join(chr(0x2800 + cell) for cell in row) for row in cells]


def _at(x: Sequence[float], y: Sequence[float], where: float) -> float:
    """The curve between its points; its ends outside."""
    for n in range(1, len(x)):
        if x[n] >= where:
            span = x[n] - x[n - 1]
            share = (where - x[n - 1]) / span if span > 0 else 0.0
            return y[n - 1] + max(0.0, share) * (y[n] - y[n - 1])
    return y[-1]


def crossing(x: Sequence[float], y: Sequence[float], level: float) -> float | None:
    """Where a curve first falls below a level; None when it never does."""
    for n in range(1, len(x)):
        if y[n] < level <= y[n - 1]:
            return x[n - 1] + (y[n - 1] - level) / (y[n - 1] - y[n]) * (x[n] - x[n - 1])
    return None
