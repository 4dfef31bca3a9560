"""One micrograph: particles in ice, drifting and fading under the beam, counted by a detector with a gain.

Everything random comes from one generator handed in, so a micrograph depends on its own seed alone.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .optics import Array, Defocus, Optics, contrast_transfer, damage, frequencies, rotation
from .specimen import Projector, quick_size

ENVELOPE_B = 60.0  # Å², source and detector envelope of every image
ICE_NOISE = 0.02  # rad per pixel of 3 Å: fluctuation of the ice's phase; carries the Thon rings
HEIGHT_SPREAD = 150.0  # Å, particles sit at different heights in the ice
CLOSEST = 285.0  # Å between centres
FIELD_AROUND = 384.0  # Å: the CTF is applied to a particle in a field of this much each way, for its rings are wide
# Directions (rot, tilt in degrees) that particles prefer where they are told to, as at the air-water interface: spread
# evenly over the sphere by the golden angle, each with its own particles' scatter.
VIEWS = tuple(((137.508 * i) % 360 - 180, float(np.rad2deg(np.arccos(1 - (2 * i + 1) / 7)))) for i in range(7))
VIEW_SPREAD = 5.0  # degrees
MOST_COUNTS = 127  # of a signed byte, MRC mode 0


@dataclass(frozen=True)
class Scene:
    """What a micrograph is made with. exposure in e⁻/Å² per frame; defocus range and drift in Å.

    preferred: share of the particles that lie in one of VIEWS; the others' orientations are uniform.
    """

    optics: Optics
    size: int
    frames: int
    pixel_size: float
    exposure: float
    particles: int
    preferred: float = 0.0
    defocus: tuple[float, float] = (8000.0, 20000.0)
    astigmatism: tuple[float, float] = (100.0, 500.0)
    drift: tuple[float, float] = (9.0, 24.0)


@dataclass(frozen=True)
class Particle:
    """Truth of one particle: position in pixels in the first frame, RELION's angles in degrees, its own defocus."""

    x: float
    y: float
    rot: float
    tilt: float
    psi: float
    defocus: Defocus


@dataclass(frozen=True)
class Micrograph:
    """frames (F, N, N) counts; drift (F, 2) pixels x, y from the first frame, global part only."""

    frames: NDArray[np.int8]
    particles: list[Particle]
    defocus: Defocus
    drift: Array


def sensitivity(size: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Detector response around 1, (size, size): a slope, tile-like waves and 2 % per pixel. The gain is its inverse."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    field = 1 + 0.2 * (x * x - y * y) + 0.03 * np.sin(14 * x) * np.cos(9 * y) + 0.02 * random.standard_normal(x.shape)
    return field.astype(np.float32)


def _positions(scene: Scene, random: np.random.Generator) -> Array:
    """Random centres (n, 2) in pixels, at least CLOSEST apart; fewer than asked for where no more fit."""
    margin = 0.25 * CLOSEST / scene.pixel_size
    nearest = (CLOSEST / scene.pixel_size) ** 2
    found = np.empty((0, 2))
    for candidate in random.uniform(margin, scene.size - margin, (400 * scene.particles + 1000, 2)):
        if len(found) >= scene.particles:
            break
        if not len(found) or np.min(np.sum((found - candidate) ** 2, axis=1)) > nearest:
            found = np.vstack([found, candidate])
    return found


def _orientation(scene: Scene, random: np.random.Generator) -> tuple[float, float, float]:
    """Random rot, tilt, psi in degrees."""
    rot, psi = random.uniform(-180, 180, 2)
    tilt = np.rad2deg(np.arccos(random.uniform(-1, 1)))
    if random.uniform() < scene.preferred:
        rot, tilt = VIEWS[random.integers(len(VIEWS))]
        tilt = abs(tilt + random.normal(0, VIEW_SPREAD))
        rot += random.normal(0, VIEW_SPREAD) / np.sin(np.deg2rad(tilt))
    return float(rot), float(tilt), float(psi)


def _drift(scene: Scene, random: np.random.Generator) -> tuple[Array, Array]:
    """Global track (F, 2) in pixels, which settles as beam-induced motion does, and its progress 0..1 per frame."""
    frame = np.arange(scene.frames)
    pace = np.exp(-3.5 * frame / scene.frames)
    pace[0] = 0
    pace /= max(pace.sum(), 1e-9)
    direction = random.uniform(0, 2 * np.pi)
    length = random.uniform(*scene.drift) / scene.pixel_size
    jitter = random.normal(0, 0.45 / scene.pixel_size, (scene.frames, 2)) * (frame > 0)[:, None]
    steps = length * pace[:, None] * np.array([np.cos(direction), np.sin(direction)]) + jitter
    return np.cumsum(steps, axis=0), np.cumsum(pace)


def _local_drift(scene: Scene, at: Array, progress: Array, bend: Array, random: np.random.Generator) -> Array:
    """Motion (F, 2) in pixels of a particle beside the global drift: smooth over the field, plus its own jitter."""
    u, v = at / scene.size - 0.5
    smooth = bend[:, 0] * u + bend[:, 1] * v + 2 * bend[:, 2] * u * v
    pace = np.diff(progress, prepend=0) * scene.frames
    own = random.normal(0, 0.24 / scene.pixel_size, (scene.frames, 2)) * pace[:, None]
    return np.outer(progress, smooth) + np.cumsum(own, axis=0)


def _shifts(y: Array, x: Array, motion: Array) -> NDArray[np.complexfloating]:
    """Phase factors (F, rows, columns) that move an image by motion (F, 2) x, y pixels; y, x in cycles per pixel."""
    rows, columns = motion[:, 1, None, None], motion[:, 0, None, None]
    # Single precision from here on: 1e-7 of a signal that Poisson noise hides a thousandfold, at half the time.
    along_y, along_x = (np.exp(-2j * np.pi * each).astype(np.complex64) for each in (y * rows, x * columns))
    return along_y * along_x


def make(scene: Scene, projector: Projector, response: NDArray[np.float32], random: np.random.Generator) -> Micrograph:
    """Make one micrograph of the projector's specimen; about 2 s for 60 particles on 10 frames of 1024 × 1024.

    A frame is Poisson counts of exposure × pixel area × response × (1 − 2 × CTF ∗ phase): a weak phase object, the
    phase being interaction × (projected potential + fluctuation of the ice).
    """
    size, pixel = scene.size, scene.pixel_size
    mean, spread = random.uniform(*scene.defocus), random.uniform(*scene.astigmatism)
    defocus = Defocus(mean + spread / 2, mean - spread / 2, float(random.uniform(0, 180)))
    centres = _positions(scene, random)
    drift, progress = _drift(scene, random)
    bend = random.normal(0, 2.4 / pixel, (2, 3))
    ice = random.standard_normal((size, size)) * (ICE_NOISE * 3.0 / pixel)
    ice = np.fft.rfft2(ice) * contrast_transfer(scene.optics, defocus, size, pixel, ENVELOPE_B)
    ice = ice.astype(np.complex64)

    field = quick_size(2 * FIELD_AROUND / pixel)
    y, x = frequencies(field, 1.0)
    k = np.hypot(y, x) / pixel
    fading = np.stack([damage(k, (f + 0.5) * scene.exposure, scene.optics.voltage) for f in range(scene.frames)])
    fading = fading.astype(np.float32)
    margin = (field - projector.size) // 2
    wide = size + 2 * field
    signal = np.zeros((scene.frames, wide, wide), np.float32)
    particles: list[Particle] = []
    for centre in centres:
        rot, tilt, psi = _orientation(scene, random)
        height = float(random.normal(0, HEIGHT_SPREAD))
        own = Defocus(defocus.u + height, defocus.v + height, defocus.azimuth)
        particles.append(Particle(float(centre[0]), float(centre[1]), rot, tilt, psi, own))
        image = np.pad(scene.optics.interaction * projector.project(rotation(rot, tilt, psi)), margin)
        spectrum = np.fft.rfft2(image) * contrast_transfer(scene.optics, own, field, pixel, ENVELOPE_B)
        spectrum = spectrum.astype(np.complex64)
        place = centre + drift + _local_drift(scene, centre, progress, bend, random)
        whole = np.floor(place).astype(int)
        moved = np.fft.irfft2(spectrum * fading * _shifts(y, x, place - whole), s=(field, field))
        for frame, (column, row) in enumerate(whole + field - field // 2):
            signal[frame, row : row + field, column : column + field] += moved[frame]

    y, x = frequencies(size, 1.0)
    counts = np.empty((scene.frames, size, size), np.int8)
    for frame in range(scene.frames):
        background = np.fft.irfft2(ice * _shifts(y, x, drift[frame : frame + 1])[0], s=(size, size))
        phase = background + signal[frame, field:-field, field:-field]
        expected = scene.exposure * pixel**2 * np.maximum(1 - 2 * phase, 0.05) * response
        counts[frame] = np.minimum(random.poisson(expected), MOST_COUNTS)
    return Micrograph(counts, particles, defocus, drift)
