"""The drift track of one micrograph as it was found, beside the true one where that is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cryoburst.model.course import Drift

from .paper import BLUE, GREY, ORANGE, WIDE, Array, figure, heading, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(drift: Drift, truth: Array | None = None) -> Figure:
    """Draw the track; truth: the true one, (2, frames) in Å."""
    found = np.array([drift.x, drift.y])
    exposure = (np.arange(found.shape[1]) + 1) * (drift.dose or 1)
    unit = "exposure, e⁻/Å²" if drift.dose else "frame"
    length = float(np.hypot(*np.diff(found)).sum())
    line = f"{found.shape[1]} frames" + (f" of {drift.dose:g} e⁻/Å²" if drift.dose else "") + f" · path {length:.1f} Å"
    if truth is not None:
        off = np.hypot(*(found - truth))
        line += f" · off the truth by {off.mean():.2f} Å on average, {off.max():.2f} Å at most"
    with style():
        made = figure(WIDE, 4.7)
        left, right = made.subplots(1, 2, width_ratios=[1, 1.3], gridspec_kw={"wspace": 0.06})
        if truth is not None:
            left.plot(*truth, "-o", color=ORANGE, lw=1.4, ms=9, mfc="white", mew=1.6, label="truth")
        left.plot(*found, "-", color=BLUE, lw=1, zorder=3)
        dots = left.scatter(*found, c=exposure, cmap="viridis", s=34, zorder=4, label="found")
        made.colorbar(dots, ax=left, label=unit, shrink=0.85)
        left.set_aspect("equal", adjustable="datalim")
        left.set_xlabel("x, Å")
        left.set_ylabel("y, Å")
        if truth is not None:
            left.legend(loc="best")
        for axis, colour in ((0, BLUE), (1, GREY)):
            if truth is not None:
                right.plot(exposure, truth[axis], "o", color=ORANGE, ms=9, mfc="white", mew=1.6)
            right.plot(exposure, found[axis], "-o", color=colour, ms=4, label="xy"[axis])
        if truth is not None:
            right.plot([], [], "o", color=ORANGE, ms=9, mfc="white", mew=1.6, label="truth")
        right.set_xlabel(unit)
        right.set_ylabel("drift from the first frame, Å")
        right.legend(loc="best")
        heading(made, f"Drift of {drift.name}", line)
        return made
