"""From an image (or RELION's own power spectrum) to an amplitude spectrum in polar bins."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryoburst.model.errors import BadInput
from cryoburst.simulate.optics import Array

SECTORS = 36  # of 5°: across one, 500 Å of astigmatism change the defocus by 44 Å at most


@dataclass(frozen=True)
class Polar:
    """Mean amplitude in (sector, ring) bins of a half plane; NaN where a bin is empty.

    k2: mean squared frequency of a bin, Å⁻²; angle: radians of a sector's centre, from x towards y; ring i lies
    around frequency i × step (Å⁻¹).
    """

    amplitude: Array
    k2: Array
    angle: Array
    step: float


def read_image(path: Path) -> NDArray[np.float32]:
    """Return an MRC file's data, (y, x) or (frames, y, x); BadInput when there is none."""
    import mrcfile

    if not path.is_file():
        raise BadInput("There is no such image", where=str(path))
    try:
        with mrcfile.open(path, permissive=False) as file:
            data = np.asarray(file.data)
    except (OSError, ValueError, EOFError) as error:
        raise BadInput(f"This is not an MRC image: {str(error)[:120]}", where=str(path)) from error
    if data.ndim not in (2, 3) or min(data.shape) < 1 or np.iscomplexobj(data):
        raise BadInput(f"An MRC image of shape {data.shape} can't be used", where=str(path))
    data = data.astype(np.float32)
    if not np.all(np.isfinite(data)) or np.ptp(data) == 0:
        raise BadInput("This image holds no signal (constant, infinite or not-a-number values)", where=str(path))
    return data


def tiled(image: NDArray[np.float32], box: int, together: int = 0) -> Array:
    """Return the centred amplitude spectrum (box, box) of half-overlapping tiles; frames summed `together` at a time.

    together = 0 sums all frames. Root of the mean power (Welch) of Hann-windowed tiles.
    """
    frames = image[None] if image.ndim == 2 else image
    if min(frames.shape[1:]) < box:
        raise BadInput(f"The image of {frames.shape[2]} x {frames.shape[1]} pixels is smaller than the box of {box}")
    together = together or len(frames)
    hann = np.hanning(box + 1)[:-1].astype(np.float32)
    window = hann[:, None] * hann[None, :]
    power = np.zeros((box, box // 2 + 1))

    def starts(length: int) -> list[int]:
        count = max(1, int(np.ceil(2 * length / box)) - 1)
        return [int(start) for start in np.linspace(0, length - box, count)]

    for first in range(0, len(frames), together):
        total = frames[first : first + together].sum(axis=0)
        for row in starts(total.shape[0]):
            for column in starts(total.shape[1]):
                tile = total[row : row + box, column : column + box]
                power += np.abs(np.fft.rfft2((tile - tile.mean()) * window)) ** 2
    half = np.fft.fftshift(np.sqrt(power), axes=0)
    full = np.empty((box, box))
    full[:, box // 2 :] = half[:, : box - box // 2]
    full[:, : box // 2 + 1] = np.roll(half[::-1], 1 - box % 2, axis=0)[:, ::-1]
    return full


def polar(amplitude: Array, pixel_size: float) -> Polar:
    """Bin a centred amplitude spectrum (n, n); the axes, where detectors leave lines, are left out."""
    size = amplitude.shape[-1]
    if amplitude.shape != (size, size) or size < 64:
        raise BadInput(f"A power spectrum of {amplitude.shape} is not a square of at least 64 pixels")
    y, x = np.mgrid[:size, size // 2 : size] - size // 2
    values = amplitude[:, size // 2 :]
    use = (x > 0) & (y != 0)
    x, y, values = x[use], y[use], values[use]
    radius = np.hypot(x, y)
    ring = np.rint(radius).astype(np.intp)
    rings = size // 2
    sector = np.floor((np.arctan2(y, x) / np.pi + 0.5) * SECTORS).astype(np.intp) % SECTORS
    inside = ring < rings
    index = (sector * rings + ring)[inside]
    bins = SECTORS * rings
    count = np.bincount(index, minlength=bins).astype(float)
    step = 1 / (size * pixel_size)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(index, values[inside], bins) / count
        k2 = np.bincount(index, radius[inside] ** 2, bins) / count * step**2
    angle = ((np.arange(SECTORS) + 0.5) / SECTORS - 0.5) * np.pi
    return Polar(mean.reshape(SECTORS, rings), k2.reshape(SECTORS, rings), angle, step)
