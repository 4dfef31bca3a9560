"""The CTF fit of one micrograph: the power spectrum beside the fit, and the profile along the rings."""

from pathlib import Path

import numpy as np

from .paper import BLUE, GREEN, GREY, ORANGE, RED, bare, figure, heading, save, style


def draw(diagnostic: Path, path: Path, truth: tuple[float, float, float] | None = None) -> Path:
    """Draw the fit that `cryoburst-ctffind` wrote as X.ctf, X.txt and X_avrot.txt; return the PNG's path.

    truth: defocus U, V (Å) and azimuth (degrees), named in the heading.
    """
    import mrcfile

    with mrcfile.open(diagnostic, permissive=True) as file:
        image = np.asarray(file.data, np.float64)
    root = diagnostic.with_suffix("")
    report = root.with_name(root.name + ".txt").read_text().splitlines()
    pixel = float(report[2].split()[3])
    _, u, v, azimuth, _, score, resolution = map(float, report[-1].split())
    frequency, _, profile, fitted, quality, _ = np.loadtxt(root.with_name(root.name + "_avrot.txt"), comments="#")
    line = f"defocus {u:.0f} / {v:.0f} Å at {azimuth:.0f}° · rings to {resolution:.1f} Å · score {score:.2f}"
    if truth:
        line += f" · truth {truth[0]:.0f} / {truth[1]:.0f} Å at {(truth[2] + 90) % 180 - 90:.0f}°"
    with style():
        made = figure(11, 4.9)
        left, right = made.subplots(1, 2, width_ratios=[1, 1.55])
        edge = 0.5 / pixel
        left.imshow(image, cmap="gray", origin="lower", extent=(-edge, edge, -edge, edge), interpolation="bilinear")
        left.text(0.02, 0.02, "fit", color=ORANGE, transform=left.transAxes, fontweight="bold")
        left.text(0.98, 0.02, "spectrum", color=ORANGE, transform=left.transAxes, ha="right", fontweight="bold")
        bare(left)
        _profile(right, frequency, profile, fitted, quality)
        right.axvline(1 / resolution, color=RED, lw=1, ls="--")
        right.text(1 / resolution, 1.13, f"{resolution:.1f} Å ", color=RED, ha="right", va="top")
        right.set_xlim(0, frequency[-1])
        right.set_ylim(-0.05, 1.15)
        ticks = [a for a in (40, 20, 15, 12, 10, 8, 7, 6, 5, 4, 3) if 1 / a <= frequency[-1]]
        right.set_xticks([1 / a for a in ticks], [f"{a}" for a in ticks])
        right.set_xlabel("spacing, Å")
        right.legend(loc="upper left", ncols=3, bbox_to_anchor=(0, 1.1), fontsize=9)
        heading(made, f"CTF of {root.name.removesuffix('_PS')}", line)
        return save(made, path)


def _profile(axes, frequency, profile, fitted, quality) -> None:
    """Draw the flattened profile, CTF² of the fit, and their running correlation."""
    size = len(profile)
    start = int(np.argmax(quality > 0)) if np.any(quality > 0) else 5
    width = max(8, size // 16)
    kernel = np.ones(2 * width + 1) / (2 * width + 1)
    level = np.convolve(np.pad(profile, width, mode="edge"), kernel, mode="valid")
    flat = profile / np.maximum(level, 1e-30) - 1
    swing = np.sqrt(np.convolve(np.pad(flat**2, width, mode="edge"), kernel, mode="valid")) + 1e-12
    shown = np.clip(0.5 + flat / swing / 2.8, 0, 1.05)
    begin = max(3, start // 2)
    axes.plot(frequency[begin:], shown[begin:], color=GREY, lw=1.2, label="spectrum, flattened")
    axes.plot(frequency, fitted**2, color=BLUE, lw=1.4, label="CTF² of the fit")
    axes.plot(frequency[start:], quality[start:], color=GREEN, lw=1.4, label="agreement")
