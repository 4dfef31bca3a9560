"""FSC curves of a PostProcess job, and of its map against the truth."""

from pathlib import Path

import numpy as np

from cryoburst.model.errors import BadInput
from cryoburst.packages.relion.star import block
from cryoburst.simulate.check import AGREE, Comparison, numbers

from .paper import BLUE, GREEN, GREY, INK, ORANGE, PALE, figure, heading, save, style

GOLD = 0.143  # FSC of half maps at the resolution (Rosenthal & Henderson 2003)


def resolution(star: Path) -> float:
    """Resolution in Å that a postprocess.star states."""
    general = block(star, star.name, "general")
    if general is None or "rlnFinalResolution" not in general.pairs:
        raise BadInput("This is not a postprocess.star", where=str(star))
    return float(general.pairs["rlnFinalResolution"])


def draw(star: Path, path: Path, truth: Comparison | None = None) -> Path:
    """Draw the curves of a postprocess.star, and the comparison with the truth; return the PNG's path."""
    frequency, corrected, unmasked, masked = numbers(
        star,
        "fsc",
        "Resolution FourierShellCorrelationCorrected FourierShellCorrelationUnmaskedMaps "
        "FourierShellCorrelationMaskedMaps",
    )
    found = resolution(star)
    limit = " (as fine as the box's pixels allow)" if found * frequency[-1] < 1.01 else ""
    line = f"half maps: {found:.2f} Å at FSC = {GOLD}{limit}"
    if truth:
        line += f"\n{truth.sentence()}"
    with style():
        made = figure(10, 5.8)
        axes = made.subplots()
        axes.axhline(GOLD, color=PALE, lw=1.2)
        axes.text(frequency[-1], GOLD, f" {GOLD}", color=GREY, va="center")
        axes.plot(frequency, unmasked, color=GREY, lw=1.2, label="half maps, unmasked")
        axes.plot(frequency, masked, color=GREEN, lw=1.2, label="half maps, masked")
        axes.plot(frequency, corrected, color=BLUE, lw=2.2, label="half maps, corrected for the mask")
        axes.plot(1 / found, np.interp(1 / found, frequency, corrected), "o", color=BLUE, ms=8)
        if truth:
            axes.axhline(AGREE, color=PALE, lw=1.2)
            axes.text(frequency[-1], AGREE, f" {AGREE}", color=GREY, va="center")
            axes.plot(truth.frequency, truth.fsc, color=ORANGE, lw=2.2, label="map against the truth")
            if truth.fsc[-1] < AGREE:
                here = np.interp(1 / truth.resolution, truth.frequency, truth.fsc)
                axes.plot(1 / truth.resolution, here, "o", color=ORANGE, ms=8)
        ticks = [a for a in (50, 30, 20, 15, 12, 10, 8, 7, 6, 5, 4, 3) if 1 / a <= frequency[-1]]
        axes.set_xticks([1 / a for a in ticks], [f"{a}" for a in ticks])
        axes.set_xlim(0, frequency[-1])
        axes.set_ylim(-0.05, 1.03)
        axes.set_xlabel("spacing, Å", color=INK)
        axes.set_ylabel("Fourier shell correlation")
        axes.legend(loc="lower left")
        heading(made, f"Resolution {found:.1f} Å", line)
        return save(made, path)
