"""How much memory RELION takes for one micrograph after the other: AutoPick, Extract, CtfFind. Pure arithmetic.

RELION's transforms want squares: a micrograph is windowed to its longer side M. An array of reals takes 8 M² bytes, and
so does its transform, of which one half is stored. An image is read as it lies on disk (4 bytes a pixel), beside the
8 bytes a pixel that it becomes (rwMRC.h).
"""

from dataclasses import dataclass

from cryoburst.packages.relion.preflight.memory import COMPLEX, FLOAT, GHOSTSCRIPT, HEAPED, REAL, WORKER, all_processes

PYTHON = 17_000_000  # an interpreter with numpy and mrcfile


@dataclass(frozen=True)
class Picking:
    """What decides how much memory relion_autopick takes (autopicker.cpp)."""

    x: int  # pixels of a micrograph
    y: int
    work: int  # edge of the maps in which peaks are looked for (--shrink), pixels
    kept: int  # edge up to which transforms are kept (--lowpass), pixels
    references: int = 0  # 0: by Laplacians of Gaussians
    processes: int = 1


def picking(job: Picking) -> int:
    """Bytes that relion_autopick takes at its peak, over all its processes."""
    edge = max(job.x, job.y)
    image, work = REAL * edge**2, REAL * job.work**2
    reading = (REAL + FLOAT) * job.x * job.y
    squaring = REAL * job.x * job.y + image if job.x != job.y else 0  # rewindow makes a new one
    if not job.references:
        # autoPickLoGOneMicrograph: Imic, its transform and a copy (arrays keep their size when less is put into them);
        # of the working size Fmic, Maux, and as floats the best values, their sizes, and the first without the sides.
        held = reading if REAL * job.x * job.y < HEAPED <= image else 0  # freed, but not returned
        each = max(reading, squaring, held + 3 * image + 2 * work + 3 * FLOAT * job.work**2)
    else:
        # initialise: a reference in the micrograph's square, the transform of the mask, and what a Projector needs to
        # make a padded transform (computeFourierTransformMap, padding 2); one projector is kept for each reference.
        projectors = (job.references + 1) * COMPLEX * (2 * job.kept + 3) * (job.kept + 2)
        preparing = 3 * image + 2 * REAL * (2 * edge) ** 2
        # autoPickOneMicrograph: Imic, Maux, the transforms of mask, micrograph and its square, of the transformer, and
        # one that is rotated; of the working size its transforms, deviations, means, best values and angles.
        searching = 7 * image + FLOAT * edge**2 + 7 * work
        each = max(reading, squaring, projectors + max(preparing, searching))
    return round(GHOSTSCRIPT + all_processes(each, job.processes, WORKER))


@dataclass(frozen=True)
class Extraction:
    """What decides how much memory relion_preprocess --extract takes (preprocessing.cpp)."""

    x: int  # pixels of a micrograph
    y: int
    box: int  # --extract_size
    particles: int = 0  # of all micrographs, in the list that is joined at the end
    labels: int = 20  # columns of that list
    processes: int = 1


def extraction(job: Extraction) -> int:
    """Bytes that relion_preprocess takes at its peak, over all its processes."""
    image = REAL * job.x * job.y
    each = image + max(FLOAT * job.x * job.y, 4 * REAL * job.box**2)  # Imic.read; then a particle and its transforms
    joined = job.particles * (REAL * job.labels + 400)  # joinAllStarFiles, by the first process
    return round(all_processes(each, job.processes, WORKER) + joined)


@dataclass(frozen=True)
class Fitting:
    """What decides how much memory ``cryoburst-ctffind`` takes, which RELION calls for one image after the other."""

    x: int  # pixels of a micrograph or its power spectrum
    y: int
    box: int  # edge of the spectrum that is fitted, pixels
    processes: int = 1


def fitting(job: Fitting) -> int:
    """Bytes that relion_run_ctffind takes at its peak with the fits that it waits for, over all its processes."""
    # ctffind/spectrum.py: the image as it is on disk, as floats, and their sum; then the spectrum and what bins it
    each = PYTHON + max(3 * FLOAT * job.x * job.y, 2 * FLOAT * job.x * job.y + 8 * REAL * job.box**2)
    return round(all_processes(each, job.processes, WORKER))
