"""FSC curves between half maps, and of a map against the truth where that is known."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Protocol

import numpy as np

from cryoburst.model.course import FscPanel

from .paper import BLUE, GREEN, GREY, INK, ORANGE, PALE, RED, WIDE, Array, figure, heading, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GOLD = 0.143  # FSC of half maps at the resolution (Rosenthal & Henderson 2003)
AGREE = 0.5  # FSC of a map against the truth; equals 0.143 between half maps (the same)
COLOURS = (BLUE, GREEN, GREY, RED)
SPACINGS = (100, 50, 30, 20, 15, 12, 10, 8, 7, 6, 5, 4, 3.5, 3, 2.5, 2.2, 2)  # Å, where ticks may be
APART = 0.045  # of the axis: ticks no closer than this


class Truth(Protocol):
    """A map compared with the truth: FSC over frequency (1/Å), the resolution (Å), and one line for people."""

    @property
    def frequency(self) -> Array: ...

    @property
    def fsc(self) -> Array: ...

    @property
    def resolution(self) -> float: ...

    def sentence(self) -> str: ...


def draw(panel: FscPanel, truth: Truth | None = None) -> Figure:
    """Draw the curves over spacing, and the comparison with the truth."""
    fsc = panel.fsc
    frequency = np.asarray(fsc.frequency)
    line = panel.note
    if fsc.resolution and fsc.resolution * frequency[-1] < 1.01:
        line += " (as fine as the box's pixels allow)"
    if truth:
        line += f"\n{truth.sentence()}"
    with style():
        made = figure(WIDE, 5.4)
        axes = made.subplots()
        _level(axes, frequency[-1], GOLD)
        first = fsc.curves[0].values
        for curve, colour in reversed(list(zip(fsc.curves, cycle(COLOURS), strict=False))):
            axes.plot(
                frequency, curve.values, color=colour, lw=2.2 if curve.values is first else 1.2, label=curve.label
            )
        if fsc.resolution:
            axes.plot(1 / fsc.resolution, np.interp(1 / fsc.resolution, frequency, first), "o", color=BLUE, ms=8)
        if truth:
            _level(axes, frequency[-1], AGREE)
            axes.plot(truth.frequency, truth.fsc, color=ORANGE, lw=2.2, label="map against the truth")
            if truth.fsc[-1] < AGREE:
                here = np.interp(1 / truth.resolution, truth.frequency, truth.fsc)
                axes.plot(1 / truth.resolution, here, "o", color=ORANGE, ms=8)
        ticks = spacings(float(frequency[-1]))
        axes.set_xticks([1 / a for a in ticks], [f"{a:g}" for a in ticks])
        axes.set_xlim(0, frequency[-1])
        axes.set_ylim(min(-0.05, *(min(c.values) - 0.02 for c in fsc.curves)), 1.03)
        axes.set_xlabel("spacing, Å", color=INK)
        axes.set_ylabel("Fourier shell correlation")
        axes.legend(loc="lower left")
        heading(made, panel.title, line)
        return made


def _level(axes, last: float, level: float) -> None:
    axes.axhline(level, color=PALE, lw=1.2)
    axes.text(last, level, f" {level}", color=GREY, va="center")


def spacings(last: float) -> list[float]:
    """Round spacings (Å) for the ticks of an axis of frequencies up to ``last`` (1/Å), not too close together."""
    ticks: list[float] = []
    for spacing in SPACINGS:
        if 1 / spacing <= last and (not ticks or (1 / spacing - 1 / ticks[-1]) >= APART * last):
            ticks.append(spacing)
    return ticks
