"""The molecule: its atoms, its electrostatic potential in vitreous ice, and exact projections of it.

Projections are made from the atoms themselves (spread on a grid finer than the image, times each element's scattering
factor in Fourier space), so that they carry no error of interpolation in a map.
"""

import json
import lzma
from dataclasses import dataclass
from functools import cached_property
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from .optics import Array

VOLT_PER_SCATTERING = 47.878  # V Å² : potential of a scattering factor in Å (Peng 1999, h²/2πme)
ICE = 4.53  # V, mean inner potential of vitreous ice at 0.93 g/cm³ (isolated-atom model)
ATOM_B = 40.0  # Å², thermal motion of every atom
BOX = 336.0  # Å, edge of the cube that holds the molecule and some ice

# Volume of solvent that an atom displaces, Å³: Fraser, MacRae & Suzuki 1978; Zn from CRYSOL.
DISPLACED = {"H": 5.15, "C": 16.44, "N": 2.49, "O": 9.13, "P": 5.73, "S": 19.86, "Mg": 17.16, "Zn": 9.85}
# Hydrogen atoms are not in the model: how many sit on an atom of this element, on average, in RNA and protein.
HYDROGENS = {"C": 1.15, "N": 0.7, "O": 0.25, "S": 0.3}
HYDROGEN_SPREAD = 60.0  # Å², for they sit 1 Å away from the atom that carries them


@dataclass(frozen=True)
class Specimen:
    """positions (N, 3) in Å around the centre of the atoms, columns x y z; kinds (N,) index into elements."""

    positions: NDArray[np.float32]
    kinds: NDArray[np.intp]
    elements: tuple[str, ...]

    @cached_property
    def gaussians(self) -> list[tuple[Array, Array]]:
        """Per element: weights (V Å³) and exponents (Å²) of a sum of exp(−b k²/4) that is its potential less the ice.

        Scattering factors are the five Gaussians of Peng et al. 1996 (International Tables C 4.3.2.2, from gemmi).
        The ice that an atom displaces is a Gaussian of the atom's volume, as in CRYSOL.
        """
        import gemmi

        def atom(name: str, spread: float) -> tuple[list[float], list[float]]:
            table = gemmi.Element(name).c4322
            weights = [VOLT_PER_SCATTERING * a for a in table.a]
            exponents = [b + spread for b in table.b]
            volume = DISPLACED[name]
            # exp(−π k² V^⅔), Fraser's displaced solvent, written as exp(−b k²/4)
            return [*weights, -ICE * volume], [*exponents, 4 * np.pi * volume ** (2 / 3) + spread]

        result: list[tuple[Array, Array]] = []
        for name in self.elements:
            weights, exponents = atom(name, ATOM_B)
            share = HYDROGENS.get(name, 0.0)
            if share:
                more, wider = atom("H", ATOM_B + HYDROGEN_SPREAD)
                weights, exponents = weights + [share * w for w in more], exponents + wider
            result.append((np.array(weights), np.array(exponents)))
        return result

    def factor(self, kind: int, k2: Array) -> Array:
        """Potential of one atom in Fourier space, V Å³, at squared frequencies k2 (Å⁻²)."""
        weights, exponents = self.gaussians[kind]
        total = np.zeros_like(k2)
        for weight, exponent in zip(weights, exponents, strict=True):
            total += weight * np.exp(-0.25 * exponent * k2)
        return total


def load(entry: str = "6zu5") -> Specimen:
    """Return the specimen that ships with the package (made by script/make-specimen)."""
    folder = resources.files("cryoburst.simulate") / "specimen"
    about = json.loads((folder / f"{entry}.json").read_text())
    raw = np.frombuffer(lzma.decompress((folder / f"{entry}.xz").read_bytes()), "u1")
    count = about["atoms"]
    planes = raw[count:].reshape(2, 3, count).transpose(1, 2, 0)
    differences = np.ascontiguousarray(planes).view("<i2")[..., 0]
    steps = np.cumsum(differences, axis=1, dtype=np.int16)
    positions = (steps.T * about["step"]).astype(np.float32)
    return Specimen(positions, raw[:count].astype(np.intp), tuple(about["elements"]))


def _spread(grid: int, step: float, positions: NDArray[np.float32]) -> tuple[list[NDArray[np.intp]], list[Array]]:
    """Per axis of `positions` (N, D): index of the lower grid point (wrapped, origin at 0) and share of the upper."""
    lower: list[NDArray[np.intp]] = []
    share: list[Array] = []
    for axis in range(positions.shape[1]):
        place = positions[:, axis] / step
        floor = np.floor(place)
        lower.append(floor.astype(np.intp) % grid)
        share.append((place - floor).astype(np.float64))
    return lower, share


def quick_size(least: float) -> int:
    """Smallest even number from `least` on with no prime factor above 5: quick to Fourier transform."""
    half = int(np.ceil(0.5 * least))
    while True:
        rest = half
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return 2 * half
        half += 1


def box_size(pixel_size: float) -> int:
    """Pixels along the edge of the specimen's box: even, quick to transform."""
    return quick_size(BOX / pixel_size)


class Projector:
    """Projects a specimen; holds the filters of one pixel size so that each view takes some 20 ms."""

    def __init__(self, specimen: Specimen, pixel_size: float) -> None:
        """pixel_size in Å. Positions are spread on a grid twice as fine."""
        self.specimen = specimen
        self.pixel_size = pixel_size
        self.size = box_size(pixel_size)
        self.grid = 2 * self.size
        self.step = pixel_size / 2
        y = np.fft.fftfreq(self.size, pixel_size)[:, None]
        x = np.fft.rfftfreq(self.size, pixel_size)[None, :]
        # Sharing an atom between grid points convolves with a triangle: divide by its transform.
        triangle = (np.sinc(y * self.step) * np.sinc(x * self.step)) ** 2
        inside = (np.abs(y) < 0.4999 / pixel_size) & (x < 0.4999 / pixel_size)
        area = pixel_size**2
        kinds = range(len(specimen.elements))
        self.filters = [specimen.factor(kind, y * y + x * x) * inside / triangle / area for kind in kinds]

    def project(self, matrix: Array) -> Array:
        """Return the projected potential less ice, V Å, shape (size, size), seen along the third row of `matrix`.

        The specimen's centre lies on pixel [size // 2, size // 2].
        """
        turned = self.specimen.positions @ matrix[:2].T.astype(np.float32)
        (x, y), (share_x, share_y) = _spread(self.grid, self.step, turned)
        next_x, next_y = (x + 1) % self.grid, (y + 1) % self.grid
        plane = self.grid * self.grid
        base = self.specimen.kinds * plane
        counts = np.zeros(len(self.filters) * plane)
        for rows, weight_y in ((y, 1 - share_y), (next_y, share_y)):
            for columns, weight_x in ((x, 1 - share_x), (next_x, share_x)):
                counts += np.bincount(base + rows * self.grid + columns, weight_y * weight_x, counts.size)
        counts = counts.reshape(-1, self.grid, self.grid)
        half = self.size // 2
        total = np.zeros((self.size, half + 1), complex)
        for atoms, response in zip(counts, self.filters, strict=True):
            spectrum = np.fft.rfft2(atoms)
            cut = np.concatenate([spectrum[:half, : half + 1], spectrum[-half:, : half + 1]])
            total += cut * response
        return np.fft.fftshift(np.fft.irfft2(total, s=(self.size, self.size)))


def potential(specimen: Specimen, pixel_size: float) -> NDArray[np.float32]:
    """Return the potential less ice in volts as a map [z, y, x], centre on voxel size // 2; some seconds."""
    size = box_size(pixel_size)
    grid, step = 2 * size, pixel_size / 2
    half = size // 2
    z = np.fft.fftfreq(size, pixel_size)[:, None, None]
    y = np.fft.fftfreq(size, pixel_size)[None, :, None]
    x = np.fft.rfftfreq(size, pixel_size)[None, None, :]
    k2 = z * z + y * y + x * x
    triangle = (np.sinc(z * step) * np.sinc(y * step) * np.sinc(x * step)) ** 2
    inside = (np.abs(z) < 0.4999 / pixel_size) & (np.abs(y) < 0.4999 / pixel_size) & (x < 0.4999 / pixel_size)
    total = np.zeros(k2.shape, np.complex128)
    for kind in range(len(specimen.elements)):
        mine = specimen.positions[specimen.kinds == kind]
        lower, share = _spread(grid, step, mine)
        counts = np.zeros(grid**3, np.float32)
        for corner in range(8):
            index = np.zeros(len(mine), np.intp)
            weight = np.ones(len(mine))
            for axis in (2, 1, 0):
                up = corner >> axis & 1
                index = index * grid + (lower[axis] + up) % grid
                weight *= share[axis] if up else 1 - share[axis]
            np.add.at(counts, index, weight.astype(np.float32))
        spectrum = np.fft.rfftn(counts.reshape(grid, grid, grid))
        cut = spectrum[:, :, : half + 1]
        cut = np.concatenate([cut[:half], cut[-half:]], axis=0)
        cut = np.concatenate([cut[:, :half], cut[:, -half:]], axis=1)
        total += cut * specimen.factor(kind, k2)
    total *= inside / triangle / pixel_size**3
    volume = np.fft.irfftn(total, s=(size, size, size), axes=(0, 1, 2))
    return np.fft.fftshift(volume).astype(np.float32)
