"""Montage of 2D class averages, the fullest class first."""

from pathlib import Path

import numpy as np

from cryoburst.simulate.check import columns, numbers

from .paper import INK, bare, figure, heading, save, style


def draw(model: Path, path: Path, across: int = 8, least: float = 0.01) -> Path:
    """Draw the classes of a run_itNNN_model.star that hold at least this share of the particles; return the PNG's path.

    Under each: share of the particles and the resolution (Å) that RELION estimates.
    """
    import mrcfile

    names = columns(model, "model_classes", "ReferenceImage")[0]
    share, resolution = numbers(model, "model_classes", "ClassDistribution EstimatedResolution")
    stack = model.with_name(Path(names[0].partition("@")[2]).name)
    with mrcfile.open(stack) as file:
        images, voxel = np.asarray(file.data, np.float64), float(file.voxel_size.x)
    order = [int(i) for i in np.argsort(-share) if share[i] >= least]
    down = -(-len(order) // across)
    with style():
        made = figure(1.75 * across, 2.05 * down + 0.75)
        grid = made.subplots(down, across, squeeze=False)
        for axes in grid.ravel():
            bare(axes)
        for axes, i in zip(grid.ravel(), order, strict=False):
            low, high = np.percentile(images[i], [1, 99.7])
            axes.imshow(images[i], cmap="gray", vmin=low, vmax=high, interpolation="bicubic")
            axes.set_xlabel(f"{share[i]:.1%}   {resolution[i]:.1f} Å", fontsize=10, color=INK)
        edge = images.shape[-1] * voxel
        heading(
            made,
            "2D class averages",
            f"{len(order)} of {len(share)} classes · best {resolution[order].min():.1f} Å · "
            f"box {edge:.0f} Å, {voxel:.2f} Å per pixel",
        )
        return save(made, path)
