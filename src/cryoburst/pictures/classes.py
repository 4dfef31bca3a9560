"""Montage of images: 2D class averages, particles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cryoburst.model.course import Montage

from .paper import INK, WIDE, bare, figure, heading, section, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(montage: Montage) -> Figure:
    """Draw the images row by row, at most eight beside one another, the caption under each."""
    images, _ = section(montage.stack, montage.places)
    across = min(8, max(4, len(images)))
    down = -(-len(images) // across)
    edge = WIDE / across
    with style():
        made = figure(WIDE, (edge + 0.28 if montage.captions else edge) * down + 0.75)
        grid = made.subplots(down, across, squeeze=False)
        for axes in grid.ravel():
            bare(axes)
        captions = montage.captions or ("",) * len(images)
        for axes, image, caption in zip(grid.ravel(), images, captions, strict=False):
            low, high = np.percentile(image, [1, 99.7])
            axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="bicubic")
            axes.set_xlabel(caption, fontsize=9.5, color=INK)
        heading(made, montage.title, montage.note)
        return made
