"""Panels to pictures: each by what it is, and several of them under one another in one PNG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryoburst.model.course import CtfFit, Drift, FscPanel, Montage, Panel, Picks, Slices

from . import classes, ctf, drift, fsc, picks, slices
from .paper import png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAP = 30  # pixels between two pictures on one sheet
DRAW: dict[type, Callable[[Any], Figure]] = {
    Montage: classes.draw,
    Slices: slices.draw,
    FscPanel: fsc.draw,
    Drift: drift.draw,
    CtfFit: ctf.draw,
    Picks: picks.draw,
}


def picture(panel: Panel) -> bytes:
    """One panel as PNG. Raises NotThere when its image file is not on this disk, BadInput when it can't be read."""
    return png(DRAW[type(panel)](panel))


def save(panels: Sequence[Panel], path: Path) -> Path:
    """Write all panels under one another as one PNG; its path. Raises as ``picture`` does, and then writes nothing."""
    data = stacked([picture(panel) for panel in panels])
    path.write_bytes(data)
    return path


def stacked(pictures: Sequence[bytes]) -> bytes:
    """PNGs under one another, at the left edge of white paper."""
    if len(pictures) == 1:
        return pictures[0]
    from io import BytesIO

    import numpy as np
    from matplotlib.image import imread, imsave

    images = [imread(BytesIO(data), format="png")[..., :3] for data in pictures]
    wide = max(image.shape[1] for image in images)
    whole = np.concatenate(
        [np.pad(image, ((0, GAP), (0, wide - image.shape[1]), (0, 0)), constant_values=1) for image in images]
    )
    target = BytesIO()
    imsave(target, whole, format="png", metadata={"Software": "cryoburst"})
    return target.getvalue()


def says(panel: Panel) -> str:
    """What a picture shows, for those who can't see it."""
    if isinstance(panel, Drift):
        return f"Drift of {panel.name}, {len(panel.x)} frames"
    if isinstance(panel, CtfFit):
        return f"CTF fit of {panel.name}, rings to {panel.resolution:.1f} Å"
    if isinstance(panel, Picks):
        return f"Micrograph {panel.name}" + (f" with {len(panel.x)} picks" if panel.x is not None else "")
    return f"{panel.title}: {panel.note}"
