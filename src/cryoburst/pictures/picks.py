"""A motion-corrected micrograph, and the same with its picked particles."""

from pathlib import Path

import numpy as np

from cryoburst.simulate.check import numbers

from .paper import ORANGE, bare, figure, heading, save, style


def draw(micrograph: Path, picks: Path, path: Path, diameter: float = 280.0) -> Path:
    """Draw a micrograph filtered to 15 Å, and again with picks (an autopick.star) as circles (diameter in Å)."""
    import mrcfile

    with mrcfile.open(micrograph, permissive=True) as file:
        image, pixel = np.asarray(file.data, np.float64), float(file.voxel_size.x)
    x, y = numbers(picks, "", "CoordinateX CoordinateY")
    ky, kx = np.fft.fftfreq(image.shape[0], pixel)[:, None], np.fft.rfftfreq(image.shape[1], pixel)[None, :]
    smooth = np.fft.irfft2(np.fft.rfft2(image) * np.exp(-(kx * kx + ky * ky) * 15.0**2), s=image.shape)
    low, high = np.percentile(smooth, [0.5, 99.5])
    with style():
        made = figure(10.4, 5.9)
        from matplotlib.collections import EllipseCollection

        for axes, marked in zip(made.subplots(1, 2), (False, True), strict=True):
            axes.imshow(smooth, cmap="gray", vmin=low, vmax=high)
            bare(axes)
            if marked:
                wide = np.full(len(x), diameter / pixel)
                circles = EllipseCollection(
                    wide,
                    wide,
                    np.zeros(len(x)),
                    units="xy",
                    offsets=np.column_stack([x, y]),
                    transOffset=axes.transData,
                    facecolors="none",
                    edgecolors=ORANGE,
                    linewidths=1.1,
                )
                axes.add_collection(circles)
            else:
                bar = 1000 / pixel
                at = image.shape[0] * 0.95
                axes.plot([image.shape[1] * 0.04, image.shape[1] * 0.04 + bar], [at, at], color="white", lw=3)
                axes.text(image.shape[1] * 0.04, at * 0.985, "100 nm", color="white", va="bottom", fontweight="bold")
        heading(made, f"Micrograph {micrograph.stem}", f"{len(x)} particles picked · low-pass filtered to 15 Å")
        return save(made, path)
