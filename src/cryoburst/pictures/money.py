"""What was spent on what: a bar for each job, project or month, by its parts, with its forecast beside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from cryoburst.model.money import money

from .paper import BLUE, GREEN, GREY, INK, ORANGE, PALE, RED, WIDE, figure, heading, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 20  # bars; the largest are drawn
PARTS = {"instance": BLUE, "disk": GREEN, "storage": ORANGE, "requests": GREY, "egress": RED}


class Bar(NamedTuple):
    """One bar, USD. A part that is not known is missing; ``unknown`` says so."""

    name: str
    parts: dict[str, float]
    forecast: float | None
    unknown: bool


def draw(bars: Sequence[Bar], title: str, line: str) -> Figure:
    """Draw the bars, the first on top; of more than fit the largest, in their order."""
    largest = sorted(bars, key=lambda bar: -sum(bar.parts.values()))[:MOST]
    shown = [bar for bar in bars if bar in largest][:MOST]
    with style():
        made = figure(WIDE, 2.2 + 0.34 * max(2, len(shown)))
        axes = made.subplots()
        places = range(len(shown))
        ends = [0.0] * len(shown)
        for part, colour in PARTS.items():
            widths = [bar.parts.get(part, 0.0) for bar in shown]
            if any(widths):
                axes.barh(places, widths, left=ends, color=colour, height=0.62, label=part)
                ends = [end + width for end, width in zip(ends, widths, strict=True)]
        told = [(place, bar.forecast) for place, bar in zip(places, shown, strict=True) if bar.forecast is not None]
        if told:
            axes.plot(
                [usd for _, usd in told], [place for place, _ in told], "|", color=INK, ms=16, mew=2, label="forecast"
            )
        for place, (bar, end) in enumerate(zip(shown, ends, strict=True)):
            text = f" {money(end)}" + (" and unknown" if bar.unknown else "")
            if bar.forecast is not None:
                text += f", forecast {money(bar.forecast)}"
            axes.text(max(end, bar.forecast or 0.0), place, text, va="center", color=GREY, fontsize=9)
        axes.set_yticks(list(places), [bar.name for bar in shown])
        axes.invert_yaxis()
        axes.set_xlabel("USD")
        axes.set_xlim(0, 1.3 * max([1e-6, *ends, *(usd for _, usd in told)]))
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_color(PALE)
        axes.set_axisbelow(True)
        marks, labels = axes.get_legend_handles_labels()
        if marks:
            made.legend(marks, labels, loc="outside lower center", ncols=len(marks))
        heading(made, title, line)
        return made
