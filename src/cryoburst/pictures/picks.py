"""A motion-corrected micrograph, and the same with its picked particles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cryoburst.model.course import Picks

from .paper import INK, ORANGE, WIDE, Array, bare, figure, heading, section, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FINEST = 15.0  # Å of the low-pass filter
PIXELS = 900  # of the picture's edge at most: more can't be seen, and would be filtered in vain


def draw(picks: Picks) -> Figure:
    """Draw a micrograph filtered to 15 Å, and again with the picks as circles where there are any to show."""
    image, pixel = section(picks.micrograph)
    pixel = pixel or 1.0
    image, coarse = _binned(image.reshape(image.shape[-2:]), max(1, -(-max(image.shape) // PIXELS)))
    smooth = _smooth(image, pixel * coarse)
    marked = picks.x is not None
    with style():
        high = WIDE / 2 * image.shape[0] / image.shape[1] if marked else 5.0
        made = figure(WIDE, high + 0.75)
        from matplotlib.collections import EllipseCollection

        axes = made.subplots(1, 2, squeeze=False)[0] if marked else [made.subplots()]
        for each in axes:
            low, top = np.percentile(smooth, [0.5, 99.5])
            each.imshow(smooth, cmap="gray", vmin=low, vmax=top)
            each.set_anchor("W")
            bare(each)
        _bar(axes[0], image.shape, pixel * coarse)
        if picks.x is not None:
            places = np.column_stack([picks.x, picks.y]) / coarse
            wide = np.full(len(places), picks.diameter / (pixel * coarse))
            circles = EllipseCollection(
                wide,
                wide,
                np.zeros(len(places)),
                units="xy",
                offsets=places,
                transOffset=axes[1].transData,
                facecolors="none",
                edgecolors=ORANGE,
                linewidths=1.1,
            )
            axes[1].add_collection(circles)
        line = f"{len(picks.x)} particles picked · " if picks.x is not None else ""
        heading(made, f"Micrograph {picks.name}", f"{line}low-pass filtered to {FINEST:.0f} Å")
        return made


def _binned(image: Array, by: int) -> tuple[Array, int]:
    """The image with ``by`` × ``by`` pixels averaged into one; a rest at the edge is left out."""
    down, across = (n // by * by for n in image.shape)
    return image[:down, :across].reshape(down // by, by, across // by, by).mean(axis=(1, 3)), by


def _smooth(image: Array, pixel: float) -> Array:
    ky, kx = np.fft.fftfreq(image.shape[0], pixel)[:, None], np.fft.rfftfreq(image.shape[1], pixel)[None, :]
    return np.fft.irfft2(np.fft.rfft2(image) * np.exp(-(kx * kx + ky * ky) * FINEST**2), s=image.shape)


def _bar(axes: Axes, shape: tuple[int, ...], pixel: float) -> None:
    """A scale bar of 100 nm, or of a round part of it where the image is smaller."""
    nanometres = next((n for n in (100, 50, 20, 10, 5) if 10 * n / pixel < 0.4 * shape[1]), 5)
    at, left = shape[0] * 0.95, shape[1] * 0.04
    from matplotlib.patheffects import withStroke

    edge = [withStroke(linewidth=2.5, foreground=INK)]
    axes.plot([left, left + 10 * nanometres / pixel], [at, at], color="white", lw=3, path_effects=edge)
    axes.text(
        left,
        at - shape[0] * 0.02,
        f"{nanometres} nm",
        color="white",
        va="bottom",
        fontweight="bold",
        path_effects=edge,
    )
