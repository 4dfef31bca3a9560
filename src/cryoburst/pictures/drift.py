"""The drift track of one micrograph as MotionCorr found it, beside the true one."""

from pathlib import Path

import numpy as np

from cryoburst.model.errors import BadInput
from cryoburst.packages.relion.star import block
from cryoburst.simulate.check import columns, numbers

from .paper import BLUE, GREY, ORANGE, figure, heading, save, style


def draw(track: Path, path: Path, truth: Path | None = None) -> Path:
    """Draw a MotionCorr per-micrograph STAR file; truth: the simulation's drift.star. Return the PNG's path."""
    general = block(track, track.name, "general")
    if general is None:
        raise BadInput("This is not one of MotionCorr's STAR files", where=str(track))
    pixel = float(general.pairs["rlnMicrographOriginalPixelSize"])
    dose = float(general.pairs["rlnMicrographDoseRate"])
    found = -numbers(track, "global_shift", "MicrographShiftX MicrographShiftY") * pixel
    exposure = (np.arange(found.shape[1]) + 1) * dose
    true = None
    if truth is not None:
        names = columns(truth, "drift", "MicrographName")[0]
        mine = [Path(name).stem == track.stem for name in names]
        true = -numbers(truth, "drift", "MicrographShiftX MicrographShiftY")[:, mine] * pixel
    length = float(np.hypot(*np.diff(found)).sum())
    line = f"{found.shape[1]} frames of {dose:g} e⁻/Å² · path {length:.1f} Å"
    if true is not None:
        off = np.hypot(*(found - true))
        line += f" · off the truth by {off.mean():.2f} Å on average, {off.max():.2f} Å at most"
    with style():
        made = figure(11, 4.7)
        left, right = made.subplots(1, 2, width_ratios=[1, 1.3])
        if true is not None:
            left.plot(*true, "-o", color=ORANGE, lw=1.4, ms=9, mfc="white", mew=1.6, label="truth")
        left.plot(*found, "-", color=BLUE, lw=1, zorder=3)
        dots = left.scatter(*found, c=exposure, cmap="viridis", s=34, zorder=4, label="MotionCorr")
        made.colorbar(dots, ax=left, label="exposure, e⁻/Å²", shrink=0.85)
        left.set_aspect("equal", adjustable="datalim")
        left.set_xlabel("x, Å")
        left.set_ylabel("y, Å")
        left.legend(loc="best")
        for axis, colour in ((0, BLUE), (1, GREY)):
            label = "xy"[axis]
            if true is not None:
                right.plot(exposure, true[axis], "o", color=ORANGE, ms=9, mfc="white", mew=1.6)
            right.plot(exposure, found[axis], "-o", color=colour, ms=4, label=f"{label}, MotionCorr")
        if true is not None:
            right.plot([], [], "o", color=ORANGE, ms=9, mfc="white", mew=1.6, label="truth")
        right.set_xlabel("exposure, e⁻/Å²")
        right.set_ylabel("drift from the first frame, Å")
        right.legend(loc="best")
        heading(made, f"Drift of {track.stem}", line)
        return save(made, path)
