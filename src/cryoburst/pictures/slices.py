"""The three central slices of maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cryoburst.model.course import Slices
from cryoburst.model.errors import BadInput

from .paper import GREY, INK, WIDE, Array, bare, figure, heading, section, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLANES = ("xy", "xz", "yz")


def draw(panel: Slices) -> Figure:
    """Draw each map as a row of three slices through its centre; two maps beside one another when there are several."""
    volumes = [(label, *_central(path)) for label, path in panel.maps]
    across = 1 if len(volumes) == 1 else 2
    down = -(-len(volumes) // across)
    edge = WIDE / (3 * across)
    voxel = volumes[0][2]
    size = volumes[0][1][0].shape[0]
    note = f"{size} px of {voxel:.2f} Å" if voxel else f"{size} px"
    with style():
        made = figure(WIDE, (edge + (0.5 if across > 1 else 0.25)) * down + 0.75)
        grid = made.subplots(down, 3 * across, squeeze=False)
        for axes in grid.ravel():
            bare(axes)
            axes.set_visible(False)
        for n, (label, planes, _) in enumerate(volumes):
            row = grid[n // across][3 * (n % across) : 3 * (n % across) + 3]
            _row(made, row, label, planes, panel.unit)
        heading(made, panel.title, " · ".join(part for part in (panel.note, note) if part))
        return made


def _row(made: Figure, row: Array, label: str, planes: list[Array], unit: str) -> None:
    """Three slices with the same scale; what is 0 has no colour when the values mean something."""
    values = np.concatenate([plane.ravel() for plane in planes])
    inside = values[values > 0] if unit and np.any(values > 0) else values
    low, high = np.percentile(inside, [1, 99] if unit else [0.5, 99.8])
    for axes, plane, name in zip(row, planes, PLANES, strict=True):
        axes.set_visible(True)
        shown = np.ma.masked_less_equal(plane, 0) if unit else plane
        colours = "viridis_r" if unit else "gray"
        image = axes.imshow(shown, cmap=colours, vmin=low, vmax=high, interpolation="bicubic", origin="lower")
        axes.set_xlabel(name, fontsize=9, color=GREY)
        if unit and name == PLANES[-1]:
            made.colorbar(image, ax=axes, label=unit, shrink=0.8)
    if label:
        row[0].set_title(label, fontsize=9.5, color=INK)


def _central(path) -> tuple[list[Array], float]:
    """The planes through the centre, and the voxel size (Å)."""
    data, voxel = section(path)
    if data.ndim != 3 or min(data.shape) < 2:
        raise BadInput("this is not a map", where=str(path))
    z, y, x = (n // 2 for n in data.shape)
    return [data[z], data[:, y], data[:, :, x]], voxel
