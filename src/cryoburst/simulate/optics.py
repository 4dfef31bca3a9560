"""The microscope's formulas: wavelength, interaction, CTF, radiation damage.

Needs numpy only and must stay quick to import: RELION starts `cryoburst-ctffind`, which uses it, once per micrograph.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

ELECTRON_REST_ENERGY = 510.99895  # keV


@dataclass(frozen=True)
class Optics:
    """What stays the same for a whole data set.

    voltage in kV, aberration (Cs) in mm, amplitude contrast as a fraction, phase shift of a phase plate in radians.
    """

    voltage: float = 300.0
    aberration: float = 2.7
    amplitude_contrast: float = 0.1
    phase_shift: float = 0.0

    @property
    def wavelength(self) -> float:
        """Å; relativistic, h / sqrt(2 m e V (1 + e V / 2 m c²))."""
        volts = self.voltage * 1e3
        return 12.2642597 / float(np.sqrt(volts + 0.97847538e-6 * volts**2))

    @property
    def interaction(self) -> float:
        """rad / (V Å): phase per projected potential, 2π/(λE) (mc²+E)/(2mc²+E) (Kirkland 2010, eq. 5.6)."""
        rest, energy = ELECTRON_REST_ENERGY, self.voltage
        return float(2 * np.pi / (self.wavelength * energy * 1e3) * (rest + energy) / (2 * rest + energy))


@dataclass(frozen=True)
class Defocus:
    """Underfocus along two axes, U >= V, both Å; azimuth of the U axis in degrees from x towards y, as in RELION."""

    u: float
    v: float
    azimuth: float

    def along(self, theta: Array) -> Array:
        """Å in direction theta (radians): mean + half difference × cos 2(θ − azimuth) (Rohou & Grigorieff 2015)."""
        return 0.5 * (self.u + self.v) + 0.5 * (self.u - self.v) * np.cos(2 * (theta - np.deg2rad(self.azimuth)))


def phase(optics: Optics, defocus: Array | float, k2: Array) -> Array:
    """Argument of the CTF's sine, radians, for defocus in Å and squared frequency k2 in Å⁻².

    πλ k²(Δf − λ²k²Cs/2) + phase shift + asin(amplitude contrast): Rohou & Grigorieff 2015, eq. 2 and 3.
    """
    wavelength = optics.wavelength
    spherical = 0.5 * np.pi * optics.aberration * 1e7 * wavelength**3
    constant = optics.phase_shift + np.arcsin(optics.amplitude_contrast)
    return np.pi * wavelength * defocus * k2 - spherical * k2 * k2 + constant


def frequencies(size: int, pixel_size: float) -> tuple[Array, Array]:
    """Return (y, x) frequencies in Å⁻¹, shaped (size, 1) and (1, size // 2 + 1), as `rfft2` orders them."""
    return np.fft.fftfreq(size, pixel_size)[:, None], np.fft.rfftfreq(size, pixel_size)[None, :]


def contrast_transfer(optics: Optics, defocus: Defocus, size: int, pixel_size: float, b_factor: float) -> Array:
    """Half-plane CTF, shape (size, size // 2 + 1), positive where protein would look dark, with an envelope.

    The envelope is exp(−B k²/4) with B in Å².
    """
    y, x = frequencies(size, pixel_size)
    k2 = y * y + x * x
    chi = phase(optics, defocus.along(np.arctan2(y, x)), k2)
    return np.sin(chi) * np.exp(-0.25 * b_factor * k2)


def damage(k: Array, exposure: float, voltage: float) -> Array:
    """Signal amplitude left at frequency k (Å⁻¹) after an exposure in e⁻/Å².

    exp(−N / 2Nc), Nc = 0.245 k^−1.665 + 2.81 at 300 kV, 0.8 of that at 200 kV (Grant & Grigorieff 2015, eq. 3).
    """
    scale = 0.8 if voltage < 250 else 1.0
    critical = scale * (0.245 * np.maximum(k, 1e-4) ** -1.665 + 2.81)
    return np.exp(-0.5 * exposure / critical)


def rotation(rot: float, tilt: float, psi: float) -> Array:
    """3 × 3 matrix A of RELION's Euler angles (degrees, ZYZ): image axes are the rows of A in the map's frame.

    Heymann, Chagoyen & Belnap 2005; the same as RELION's `Euler_angles2matrix`.
    """
    a, b, c = np.deg2rad([rot, tilt, psi])

    def about_z(angle: float) -> Array:
        cos, sin = np.cos(angle), np.sin(angle)
        return np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])

    cos, sin = np.cos(b), np.sin(b)
    about_y = np.array([[cos, 0.0, -sin], [0.0, 1.0, 0.0], [sin, 0.0, cos]])
    return about_z(c) @ about_y @ about_z(a)
