"""How a refinement or classification went: the resolution, and the classes' shares, over its iterations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cryoburst.model.course import Course

from .paper import BLUE, GREY, WIDE, figure, heading, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(course: Course) -> Figure:
    """Draw the iterations of a course that has at least two."""
    numbers = [each.number for each in course.iterations]
    shares = [[one.share for one in each.classes] for each in course.iterations]
    several = len({len(row) for row in shares}) == 1 and len(shares[0]) > 1 and min(map(sum, shares)) < 1.5
    with style():
        made = figure(WIDE, 3.6)
        axes = made.subplots(1, 2 if several else 1, squeeze=False)[0]
        known = [(i.number, i.resolution) for i in course.iterations if i.resolution]
        axes[0].plot(*zip(*known, strict=True), "-o", color=BLUE, ms=4, lw=1.8)
        axes[0].set_ylabel("resolution, Å")
        axes[0].invert_yaxis()
        if several:
            from matplotlib import colormaps

            order = np.argsort(shares[-1])[::-1]
            stack = np.array(shares).T[order]
            colours = colormaps["viridis"](np.linspace(0.1, 0.95, len(stack)))
            axes[1].stackplot(numbers, stack, colors=colours, edgecolor="white", linewidth=0.6)
            axes[1].set_ylabel("share of the particles")
            axes[1].set_ylim(0, 1)
        for each in axes:
            each.set_xlabel("iteration")
            each.set_xlim(numbers[0], numbers[-1])
            each.xaxis.get_major_locator().set_params(integer=True)
            each.tick_params(colors=GREY)
        last = course.iterations[-1]
        line = f"{last.number} iterations" + (f" · {len(last.classes)} classes, the fullest below" if several else "")
        heading(made, "Iterations", line)
        return made
