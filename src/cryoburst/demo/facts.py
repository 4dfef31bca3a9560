"""What a step is told of the steps before it beside their folders: numbers that a user would read from a picture."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from .steps import FACTS, VOLUME, Step

KEPT = 0.8  # of the particles: what Select keeps


def found(folder: Path, jobs: Mapping[str, str], step: Step) -> dict[str, str]:
    """The facts that the options of a step name."""
    wanted = {fact for fact in FACTS for value in step.options.values() if f"{{{fact}}}" in value}
    result: dict[str, str] = {}
    if "threshold" in wanted:
        result["threshold"] = f"{density_threshold(folder / jobs['refine'] / 'run_class001.mrc'):.5f}"
    if "first_class" in wanted:
        first, last = class_range(last_of(folder, jobs["classes"], "data"), KEPT)
        result |= {"first_class": f"{first}", "last_class": f"{last}"}
    if "optimiser" in wanted:
        result["optimiser"] = last_of(folder, jobs["refine"], "optimiser").relative_to(folder).as_posix()
    return result


def last_of(folder: Path, job: str, kind: str) -> Path:
    """The STAR file of this kind of a refinement's last iteration."""
    return sorted((folder / job).glob(f"run_it???_{kind}.star"))[-1]


def class_range(data: Path, share: float) -> tuple[int, int]:
    """The shortest range of class numbers that holds this share of the particles; of several the first."""
    from cryoburst.simulate.check import columns

    sizes = Counter(map(int, columns(data, "particles", "ClassNumber")[0]))
    wanted, most = share * sizes.total(), max(sizes)
    ranges = (
        (first, last) for length in range(most) for first in range(1, most - length + 1) for last in [first + length]
    )
    return next(pair for pair in ranges if sum(sizes[n] for n in range(pair[0], pair[1] + 1)) >= wanted)


def density_threshold(path: Path, volume: float = VOLUME) -> float:
    """Density that encloses `volume` (Å³) in a map low-pass filtered to 20 Å."""
    import mrcfile
    import numpy as np

    with mrcfile.open(path) as file:
        data, voxel = np.asarray(file.data, np.float64), float(file.voxel_size.x)
    frequency = np.fft.fftfreq(len(data), voxel)
    k2 = frequency[:, None, None] ** 2 + frequency[None, :, None] ** 2 + frequency[None, None, :] ** 2
    smooth = np.fft.ifftn(np.fft.fftn(data) * np.exp(-k2 * 20.0**2)).real
    ranked = np.sort(smooth, axis=None)[::-1]
    return float(ranked[min(len(ranked) - 1, int(volume / voxel**3))])
