"""Compare a refined map with the truth: poses give the rotation (and the hand), the maps the shift and the FSC.

A single-particle map's orientation is arbitrary, and so is its hand, for mirrored poses explain the same images.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cryoburst.model.errors import BadInput
from cryoburst.packages.relion.star import block

from .optics import Array

CLOSE = 10.0  # degrees within which a pose counts as found
FAR = 60.0  # Å between a pick and a true particle, beyond which they are different
AGREE = 0.5  # FSC of a map against the truth; equals 0.143 between half maps (Rosenthal & Henderson 2003)
MIRROR = np.diag([1.0, 1.0, -1.0])


@dataclass(frozen=True)
class Comparison:
    """hand: 'same' or 'mirrored'; found of matched poses lie within CLOSE of the truth, their median error in degrees.

    fsc at frequency (Å⁻¹), inside a soft mask around the true map; resolution in Å, where fsc falls below AGREE.
    """

    hand: str
    matched: int
    found: int
    angle: float
    frequency: Array
    fsc: Array
    resolution: float

    def sentence(self) -> str:
        """One line for a person."""
        last = self.fsc[-1]
        below = f"FSC = {AGREE} at {self.resolution:.1f} Å"
        agree = below if last < AGREE else f"FSC still {last:.2f} at {self.resolution:.1f} Å, the last shell"
        return (
            f"against the truth: {agree}, {self.hand} hand, "
            f"{self.found} of {self.matched} poses within {CLOSE:.0f}°, median error {self.angle:.2f}°"
        )


def matrices(rot: Array, tilt: Array, psi: Array) -> Array:
    """RELION's rotation matrices (N, 3, 3) for angles (N,) in degrees; `optics.rotation` for many."""

    def about(angle: Array, first: int, second: int) -> Array:
        result = np.zeros((len(angle), 3, 3))
        result[:] = np.eye(3)
        cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
        result[:, first, first] = result[:, second, second] = cos
        result[:, first, second], result[:, second, first] = sin, -sin
        return result

    return about(psi, 0, 1) @ about(tilt, 2, 0) @ about(rot, 0, 1)


def columns(path: Path, name: str, labels: str) -> list[list[str]]:
    """Columns of a block of a STAR file, by labels without _rln, blank separated; BadInput when one is missing."""
    table = block(path, path.name, name)
    if table is None:
        raise BadInput(f"There is no data_{name} block", where=str(path))
    result = [table.column("rln" + label) for label in labels.split()]
    if not all(result):
        raise BadInput(f"The data_{name} block lacks one of the columns {labels}", where=str(path))
    return result


def numbers(path: Path, name: str, labels: str) -> Array:
    """The same as floats, (columns, rows)."""
    return np.array(columns(path, name, labels), float)


def _poses(path: Path) -> tuple[list[str], Array]:
    """Micrograph stems, and x, y, rot, tilt, psi as (5, N)."""
    names = columns(path, "particles", "MicrographName")[0]
    return [Path(name).stem for name in names], numbers(
        path, "particles", "CoordinateX CoordinateY AngleRot AngleTilt AnglePsi"
    )


def match(refined: Path, truth: Path, pixel_size: float) -> tuple[Array, Array]:
    """Rotation matrices (N, 3, 3) of refined particles and of the true ones nearest to them, both in one order.

    Particles without a true one within FAR are left out. pixel_size (Å) is that of the coordinates.
    """
    names, poses = _poses(refined)
    true_names, true_poses = _poses(truth)
    places: dict[str, list[int]] = {}
    for index, name in enumerate(true_names):
        places.setdefault(name, []).append(index)
    pairs: list[tuple[int, int]] = []
    for index, name in enumerate(names):
        there = places.get(name, [])
        if not there:
            continue
        distance = np.hypot(*(true_poses[:2, there] - poses[:2, index, None])) * pixel_size
        if distance.min() < FAR:
            pairs.append((index, there[int(distance.argmin())]))
    if len(pairs) < 3:
        raise BadInput("Fewer than 3 particles are where the truth has one", where=str(refined))
    mine, theirs = np.array(pairs).T
    return matrices(*poses[2:, mine]), matrices(*true_poses[2:, theirs])


def common_rotation(refined: Array, true: Array) -> tuple[Array, Array]:
    """Rotation M with true × M = refined for as many particles as can be, and every particle's angle from it (°)."""
    change = np.transpose(true, (0, 2, 1)) @ refined
    flat = change.reshape(len(change), 9)
    seeds = flat[:: max(1, len(flat) // 300)]
    # trace(AᵀB) = 1 + 2 cos(angle between A and B)
    votes = (seeds @ flat.T > 1 + 2 * np.cos(np.deg2rad(CLOSE))).sum(axis=1)
    centre = seeds[int(votes.argmax())]
    near = flat @ centre > 1 + 2 * np.cos(np.deg2rad(CLOSE))
    u, _, v = np.linalg.svd(flat[near].mean(axis=0).reshape(3, 3))
    mean = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
    cosine = np.clip((flat @ mean.ravel() - 1) / 2, -1, 1)
    return mean, np.rad2deg(np.arccos(cosine))


def compare(map_path: Path, poses: Path, truth: Path, pixel_size: float) -> Comparison:
    """Align a refined map to truth/map.mrc by its particles (run_data.star), and return how well both agree.

    pixel_size (Å) is that of the micrographs. Both hands are tried, and the one that more poses speak for is taken.
    """
    refined, true = match(poses, truth / "particles.star", pixel_size)
    same, same_angles = common_rotation(refined, true)
    other, other_angles = common_rotation(refined, MIRROR @ true @ MIRROR)
    mirrored = (other_angles < CLOSE).sum() > (same_angles < CLOSE).sum()
    turn, angles = (MIRROR @ other, other_angles) if mirrored else (same, same_angles)
    close = angles < CLOSE
    frequency, curve = _map_fsc(map_path, truth / "map.mrc", turn)
    return Comparison(
        hand="mirrored" if mirrored else "same",
        matched=len(angles),
        found=int(close.sum()),
        angle=float(np.median(angles[close])),
        frequency=frequency,
        fsc=curve,
        resolution=crossing(frequency, curve, AGREE),
    )


def crossing(frequency: Array, curve: Array, level: float) -> float:
    """Resolution in Å where a curve first falls below a level, between shells; that of the last shell if never."""
    for i in range(2, len(curve)):
        if curve[i] < level:
            share = (curve[i - 1] - level) / (curve[i - 1] - curve[i])
            return float(1 / (frequency[i - 1] + share * (frequency[i] - frequency[i - 1])))
    return float(1 / frequency[-1])


def _read(path: Path) -> tuple[Array, float]:
    """Map and voxel size."""
    import mrcfile

    try:
        with mrcfile.open(path) as file:
            return np.asarray(file.data, np.float64), float(file.voxel_size.x)
    except (OSError, ValueError) as error:
        raise BadInput(f"This map can't be read: {error}", where=str(path)) from error


def _squared(size: int, voxel: float) -> Array:
    """Squared frequencies (Å⁻²) of a cubic map's Fourier transform."""
    k = np.fft.fftfreq(size, voxel)
    return k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[None, None, :] ** 2


def _map_fsc(map_path: Path, truth_path: Path, turn: Array) -> tuple[Array, Array]:
    """Frequencies and FSC of a map and the truth seen through x_truth = turn × x_map, after the best shift."""
    from scipy.ndimage import map_coordinates

    mine, voxel = _read(map_path)
    true, true_voxel = _read(truth_path)
    size = len(mine)
    # What the coarser grid can't hold would fold back into it.
    true_k2 = _squared(len(true), true_voxel)

    def low_pass(limit: float) -> Array:
        return np.fft.ifftn(np.fft.fftn(true) * (true_k2 < limit**2)).real

    axis = (np.arange(size) - size // 2) * voxel
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    place = turn @ np.stack([x.ravel(), y.ravel(), z.ravel()]) / true_voxel + len(true) // 2

    def turned(volume: Array) -> Array:
        return np.asarray(map_coordinates(volume, place[::-1], order=3), float).reshape(mine.shape)

    reference = turned(low_pass(0.5 / voxel))
    shape = turned(low_pass(1 / 25))
    k2 = _squared(size, voxel)
    # Soft mask: where the molecule is at 25 Å, plus an edge.
    inside = (shape > 0.15 * np.percentile(shape, 99)).astype(float)
    mask = np.clip(3 * np.fft.ifftn(np.fft.fftn(inside) * np.exp(-k2 * 20.0**2)).real, 0, 1)

    phases = np.fft.fftn(reference) * _shift(reference, mine, k2, voxel)
    a = np.fft.fftn(mine * mask)
    b = np.fft.fftn(np.fft.ifftn(phases).real * mask)
    shell = np.rint(np.sqrt(k2) * size * voxel).astype(np.intp).ravel()

    def total(values: Array) -> Array:
        return np.asarray(np.bincount(shell, values.ravel())[1 : size // 2], float)

    curve = total((a * b.conj()).real) / np.sqrt(total(np.abs(a) ** 2) * total(np.abs(b) ** 2))
    return np.arange(1, size // 2) / (size * voxel), curve


def _shift(
    reference: Array, mine: Array, k2: Array, voxel: float
) -> np.ndarray[tuple[int, ...], np.dtype[np.complexfloating]]:
    """Phase factors that shift the reference onto the map: peak of the correlation at 15 Å, between voxels too."""
    size = len(mine)
    product = np.fft.fftn(mine) * np.fft.fftn(reference).conj() * (k2 < (1 / 15) ** 2)
    correlation = np.fft.ifftn(product).real
    peak = np.unravel_index(int(correlation.argmax()), correlation.shape)
    k = np.fft.fftfreq(size)
    factor = np.ones((1, 1, 1), complex)
    for axis in range(3):
        before, at, after = (
            correlation[tuple((p + (step if i == axis else 0)) % size for i, p in enumerate(peak))]
            for step in (-1, 0, 1)
        )
        moved = peak[axis] + 0.5 * (before - after) / (before - 2 * at + after - 1e-30)
        along = [1, 1, 1]
        along[axis] = size
        factor = factor * np.exp(-2j * np.pi * k * moved).reshape(along)
    return factor
