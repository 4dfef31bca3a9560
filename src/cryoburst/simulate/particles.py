"""Particles cut out of a data set's movies at their true places: what somebody else's program would have extracted.

Particles/mic_001.mrcs ...   normalised, contrast inverted, as RELION's Extract writes them
Particles/particles.star     in RELION 3.1's columns; positions and defocus are the true ones, angles are not told
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .check import columns, numbers
from .dataset import Settings, write_mrc, write_table
from .optics import frequencies

FOLDER = "Particles"
BACKGROUND = 0.75  # of the box: beyond this diameter is nothing but ice, as RELION takes it by default
OPTICS = (
    "OpticsGroupName OpticsGroup Voltage SphericalAberration AmplitudeContrast ImagePixelSize ImageSize "
    "ImageDimensionality"
)
COLUMNS = "CoordinateX CoordinateY ImageName MicrographName OpticsGroup DefocusU DefocusV DefocusAngle"


def extract(folder: Path, settings: Settings, box: int, small: int) -> int:
    """Cut boxes of `box` pixels, scaled down to `small`, from the data set in `folder`; how many. 1 s per movie.

    Particles whose box leaves the micrograph are left out.
    """
    import mrcfile

    target, truth = folder / FOLDER, folder / "truth"
    target.mkdir()
    with mrcfile.open(folder / "Movies/gain.mrc") as file:
        gain = np.asarray(file.data, np.float32)
    names = np.array(columns(truth / "particles.star", "particles", "MicrographName")[0])
    values = numbers(truth / "particles.star", "particles", "CoordinateX CoordinateY DefocusU DefocusV DefocusAngle").T
    drifted = np.array(columns(truth / "drift.star", "drift", "MicrographName")[0])
    shifts = numbers(truth / "drift.star", "drift", "MicrographShiftX MicrographShiftY").T
    rows: list[tuple[object, ...]] = []
    for name in dict.fromkeys(names.tolist()):
        micrograph = _sum(folder / name, gain, shifts[drifted == name])
        stack = f"{FOLDER}/{Path(name).stem}.mrcs"
        images: list[NDArray[np.float32]] = []
        for x, y, u, v, azimuth in values[names == name].tolist():
            left, top = round(x) - box // 2, round(y) - box // 2
            if min(left, top) < 0 or max(left, top) + box > settings.size:
                continue
            images.append(_normal(_scaled(micrograph[top : top + box, left : left + box], small)))
            image = f"{len(images):06d}@{stack}"
            rows.append((float(round(x)), float(round(y)), image, name, 1, u, v, azimuth))
        if images:
            write_mrc(folder / stack, np.stack(images), settings.pixel_size * box / small)
    optics = ("opticsGroup1", 1, settings.voltage, settings.aberration, settings.amplitude_contrast)
    star = target / "particles.star"
    write_table(star, "optics", OPTICS.split(), [(*optics, settings.pixel_size * box / small, small, 2)])
    write_table(star, "particles", COLUMNS.split(), rows)
    return len(rows)


def _sum(movie: Path, gain: NDArray[np.float32], shifts: NDArray[np.floating]) -> NDArray[np.float32]:
    """The sum of a movie's frames, (size, size), each brought back onto the first."""
    import mrcfile

    with mrcfile.open(movie) as file:
        frames = np.asarray(file.data)
    y, x = frequencies(len(gain), 1.0)
    total = np.zeros_like(np.fft.rfft2(gain))
    for frame, (dx, dy) in zip(frames, shifts, strict=True):
        total += np.fft.rfft2(frame * gain) * np.exp(-2j * np.pi * (x * dx + y * dy))
    return np.fft.irfft2(total, s=gain.shape).astype(np.float32)


def _scaled(image: NDArray[np.float32], small: int) -> NDArray[np.float32]:
    """An image on fewer pixels, cropped in Fourier space about its centre."""
    size = len(image)
    spectrum = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image)))
    cut = slice(size // 2 - small // 2, size // 2 - small // 2 + small)
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(spectrum[cut, cut]))).real.astype(np.float32)


def _normal(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Protein white on a background of mean 0 and standard deviation 1."""
    size = len(image)
    y, x = np.mgrid[:size, :size] - size // 2
    around = image[np.hypot(y, x) > BACKGROUND * size / 2]
    return (around.mean() - image) / around.std()
