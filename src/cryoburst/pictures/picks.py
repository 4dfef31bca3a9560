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
TILE = 512  # pixels of a tile of which a power spectrum is made
PIXELS = 900  # of the picture's edge at most: more can't be seen, and would be filtered in vain


def draw(picks: Picks) -> Figure:
    """Draw a micrograph filtered to 15 Å; beside it the same with the picks as circles, or its power spectrum where
    there are none to show."""
    whole, pixel = section(picks.micrograph)
    whole, pixel = whole.reshape(whole.shape[-2:]), pixel or 1.0
    image, coarse = _binned(whole, max(1, -(-max(whole.shape) // PIXELS)))
    smooth = _smooth(image, pixel * coarse)
    marked = picks.x is not None
    with style():
        made = figure(WIDE, WIDE / 2 * image.shape[0] / image.shape[1] + 0.75)
        from matplotlib.collections import EllipseCollection

        axes = made.subplots(1, 2)
        for each in axes if marked else axes[:1]:
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
        else:
            _spectrum(axes[1], whole, pixel)
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


def _spectrum(axes: Axes, image: Array, pixel: float) -> None:
    """The power spectrum, averaged over tiles and drawn as its logarithm, with the spacing at its edge."""
    tile = min(TILE, *image.shape)
    window = np.outer(np.hanning(tile), np.hanning(tile))
    starts = [range(0, n - tile + 1, max(1, tile // 2)) for n in image.shape]
    total = np.zeros((tile, tile))
    for top in starts[0]:
        for left in starts[1]:
            part = image[top : top + tile, left : left + tile]
            total += np.abs(np.fft.fft2((part - part.mean()) * window)) ** 2
    shown = np.log(np.fft.fftshift(total) + 1e-30)
    low, high = np.percentile(shown, [1, 99.7])
    axes.imshow(shown, cmap="gray", vmin=low, vmax=high, interpolation="bilinear")
    axes.set_anchor("W")
    bare(axes)
    from matplotlib.patheffects import withStroke

    edge = [withStroke(linewidth=2.5, foreground=INK)]
    said = f"power spectrum, edge at {2 * pixel:.1f} Å"
    axes.text(0.04, 0.05, said, color="white", transform=axes.transAxes, fontweight="bold", path_effects=edge)


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
