"""What CTFFIND writes and RELION reads.

RELION takes the path from the last word of the log's "Summary of results" line; in that text file pixel size, voltage,
Cs and amplitude contrast are words 4, 9, 14 and 19 of the line with "acceleration voltage:"; the line after
"# Columns:" holds number, defocus 1, defocus 2, azimuth, phase shift (radians), score and resolution. RELION 5 also
reads lines 6 and 7 of <root>_avrot.txt (frequency and mean, for its ice score).
"""

from pathlib import Path

import numpy as np

from cryoburst.model.errors import BadInput
from cryoburst.simulate.optics import Array, Optics, phase

from .dialogue import Request
from .fit import Estimate, contrast
from .spectrum import SECTORS, polar


def write(request: Request, found: Estimate, spectrum: Array) -> Path:
    """Write the diagnostic image, <root>.txt and <root>_avrot.txt; return the name of the text file."""
    root = request.output.with_suffix("") if request.output.suffix else request.output
    search = request.search
    head = (
        f"# Output from cryoburst-ctffind (the layout of CTFFIND 4.1)\n"
        f"# Input file: {request.image} ; Number of micrographs: 1\n"
        f"# Pixel size: {request.pixel_size:.3f} Angstroms ; acceleration voltage: {request.voltage:.1f} keV ; "
        f"spherical aberration: {request.aberration:.2f} mm ; amplitude contrast: {request.amplitude_contrast:.2f}\n"
        f"# Box size: {len(spectrum)} pixels ; min. res.: {search.lowest_resolution:.1f} Angstroms ; "
        f"max. res.: {search.highest_resolution:.1f} Angstroms ; min. def.: {search.least_defocus / 1e4:.1f} um; "
        f"max. def. {search.most_defocus / 1e4:.1f} um\n"
    )
    columns = (
        "# Columns: #1 - micrograph number; #2 - defocus 1 [Angstroms]; #3 - defocus 2; #4 - azimuth of astigmatism; "
        "#5 - additional phase shift [radians]; #6 - cross correlation; #7 - spacing (in Angstroms) up to which CTF "
        "rings were fit successfully\n"
    )
    at = found.defocus
    values = (1.0, at.u, at.v, at.azimuth, found.phase_shift, found.score, found.resolution)
    profiles = (
        "# 6 lines per micrograph: #1 - spatial frequency (1/Angstroms); #2 - 1D rotational average of spectrum "
        "(assuming no astigmatism); #3 - 1D rotational average of spectrum; #4 - CTF fit; #5 - cross-correlation "
        "between spectrum and CTF fit; #6 - 2sigma of expected cross correlation of noise\n"
    )
    noise = np.full(len(found.frequency), 2 / np.sqrt(24))
    lines = (found.frequency, found.average, found.straight, found.fitted, found.quality, noise)
    text = root.with_name(root.name + ".txt")
    try:
        text.write_text(head + columns + " ".join(f"{value:f}" for value in values) + "\n")
        rows = "".join(" ".join(f"{value:.6f}" for value in line) + "\n" for line in lines)
        root.with_name(root.name + "_avrot.txt").write_text(head + profiles + rows)
        _write_image(request.output, diagnostic(request, found, spectrum), request.pixel_size)
    except OSError as error:
        raise BadInput(f"The results can't be written: {error.strerror}", where=str(request.output)) from error
    return text


def diagnostic(request: Request, found: Estimate, spectrum: Array) -> Array:
    """Return (n, n): the fit's |CTF| in the left half, the spectrum with even background and contrast in the right.

    The spectrum is averaged over arcs of 25°, for noise hides the rings from the eye, not from the fit.
    """
    size = len(spectrum)
    y, x = np.mgrid[:size, :size] - size // 2
    radius = np.hypot(x, y)
    theta = np.arctan2(y, x)
    optics = Optics(request.voltage, request.aberration, request.amplitude_contrast, found.phase_shift)
    bins = polar(spectrum, request.pixel_size)
    flat = contrast(bins, optics, 0.5 * (found.defocus.u + found.defocus.v))
    arcs = sum((np.roll(flat, turn, axis=0) for turn in range(-2, 3)), np.zeros_like(flat)) / 5
    arcs = 0.25 * (np.roll(arcs, 1, axis=1) + 2 * arcs + np.roll(arcs, -1, axis=1))
    spread = np.sqrt(np.convolve((arcs**2).mean(axis=0), np.ones(25) / 25, mode="same")) + 1e-9
    rings = np.clip(0.5 + arcs / (3.5 * spread), 0, 1)
    # Between sectors and rings: linear, so that no edges show. A direction and its opposite are one sector.
    place = (theta / np.pi + 0.5) * SECTORS - 0.5
    low = np.floor(place).astype(np.intp)
    ring = np.minimum(np.rint(radius).astype(np.intp), flat.shape[1] - 1)
    share = place - low
    shown = (1 - share) * rings[low % SECTORS, ring] + share * rings[(low + 1) % SECTORS, ring]
    shown[radius < 1 / (request.search.lowest_resolution * bins.step)] = 0.5
    shown[radius >= flat.shape[1] - 1] = 0
    model = np.abs(np.sin(phase(optics, found.defocus.along(theta), radius**2 * bins.step**2)))
    model[radius * bins.step > 1 / request.search.highest_resolution] = 0
    return np.where(x < 0, model, shown)


def _write_image(path: Path, data: Array, pixel_size: float) -> None:
    """Write an MRC file, whatever the name's ending."""
    import mrcfile

    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(data.astype(np.float32))
        file.voxel_size = pixel_size
