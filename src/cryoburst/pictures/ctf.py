"""The CTF fit of one micrograph: the power spectrum beside the fit, and the profile along the rings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cryoburst.model.course import CtfFit, CtfProfile

from .fsc import spacings
from .paper import BLUE, GREEN, GREY, ORANGE, RED, WIDE, bare, figure, heading, section, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(fit: CtfFit, truth: tuple[float, float, float] | None = None) -> Figure:
    """Draw a fit; truth: defocus U, V (Å) and azimuth (degrees), named in the heading."""
    image, _ = section(fit.image)
    u, v = fit.defocus
    line = (
        f"defocus {u:.0f} / {v:.0f} Å at {fit.azimuth:.0f}° · rings to {fit.resolution:.1f} Å · score {fit.score:.2f}"
    )
    if truth:
        line += f" · truth {truth[0]:.0f} / {truth[1]:.0f} Å at {(truth[2] + 90) % 180 - 90:.0f}°"
    with style():
        made = figure(WIDE, 4.9)
        left, right = made.subplots(1, 2, width_ratios=[1, 1.55])
        edge = 0.5 / fit.pixel
        low, high = np.percentile(image, [0.5, 99.5])
        extent = (-edge, edge, -edge, edge)
        plain = image.reshape(image.shape[-2:])
        left.imshow(plain, cmap="gray", origin="lower", extent=extent, interpolation="bilinear", vmin=low, vmax=high)
        left.text(0.02, 0.02, "fit", color=ORANGE, transform=left.transAxes, fontweight="bold")
        left.text(0.98, 0.02, "spectrum", color=ORANGE, transform=left.transAxes, ha="right", fontweight="bold")
        bare(left)
        if fit.profile is None:
            right.set_visible(False)
        else:
            _profile(right, fit.profile, fit.resolution)
        heading(made, f"CTF of {fit.name}", line)
        return made


def _profile(axes, profile: CtfProfile, resolution: float) -> None:
    """Draw the flattened profile, CTF² of the fit, and their running correlation."""
    frequency, spectrum, fitted, quality = (
        np.asarray(values) for values in (profile.frequency, profile.spectrum, profile.fitted, profile.agreement)
    )
    size = len(spectrum)
    start = int(np.argmax(quality > 0)) if np.any(quality > 0) else 5
    width = max(8, size // 16)
    kernel = np.ones(2 * width + 1) / (2 * width + 1)
    level = np.convolve(np.pad(spectrum, width, mode="edge"), kernel, mode="valid")
    flat = spectrum / np.maximum(level, 1e-30) - 1
    swing = np.sqrt(np.convolve(np.pad(flat**2, width, mode="edge"), kernel, mode="valid")) + 1e-12
    shown = np.clip(0.5 + flat / swing / 2.8, 0, 1.05)
    begin = max(3, start // 2)
    axes.plot(frequency[begin:], shown[begin:], color=GREY, lw=1.2, label="spectrum, flattened")
    axes.plot(frequency, fitted**2, color=BLUE, lw=1.4, label="CTF² of the fit")
    axes.plot(frequency[start:], quality[start:], color=GREEN, lw=1.4, label="agreement")
    axes.axvline(1 / resolution, color=RED, lw=1, ls="--")
    axes.text(1 / resolution, 1.13, f"{resolution:.1f} Å ", color=RED, ha="right", va="top")
    axes.set_xlim(0, frequency[-1])
    axes.set_ylim(-0.05, 1.15)
    ticks = spacings(float(frequency[-1]))
    axes.set_xticks([1 / a for a in ticks], [f"{a:g}" for a in ticks])
    axes.set_xlabel("spacing, Å")
    axes.legend(loc="upper left", ncols=3, bbox_to_anchor=(0, 1.1), fontsize=9)
