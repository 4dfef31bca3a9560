"""How much memory RELION takes for a few maps: PostProcess, LocalRes, MaskCreate, Subtract, and the analysis of a
MultiBody. Pure arithmetic, as ``memory``: with N the box, a map of reals takes 8 N³ bytes, and so does its transform,
of which one half is stored.
"""

from dataclasses import dataclass

from cryoburst.packages.relion.preflight.memory import (
    ALONE,
    GHOSTSCRIPT,
    REAL,
    WORKER,
    Refinement,
    all_processes,
    particle_list,
    setting_up,
)


@dataclass(frozen=True)
class Maps:
    """What decides how much memory relion_postprocess and relion_mask_create take."""

    box: int  # pixels
    masked: bool = False  # whether the half maps are masked, or a mask is made that is extended or softened
    processes: int = 1


@dataclass(frozen=True)
class Flexibility:
    """What decides how much memory relion_flex_analyse takes."""

    box: int  # pixels
    bodies: int
    particles: int
    labels: int = 30  # columns of the particle list


def flexibility(job: Flexibility) -> int:
    """Bytes that relion_flex_analyse takes at its peak (flex_analyser.cpp)."""
    # All maps and masks, one more mask where two overlap, and a map in the making: the sums of bodies and of masks, the
    # turned body, its mask and their product. Of every particle six numbers a body, as they are and as components.
    volumes = job.bodies + job.bodies**2 + 5
    listed = particle_list(Refinement(job.box, 0, 3, job.bodies, job.particles, 0, 0, labels=job.labels, masks=1))
    return round(GHOSTSCRIPT + ALONE + volumes * REAL * job.box**3 + listed + 2 * REAL * 6 * job.bodies * job.particles)


def postprocess(job: Maps) -> int:
    """Bytes that relion_postprocess takes at its peak (postprocessing.cpp)."""
    # I1, I2 and Im; for an FSC the transforms of both, and that of the transformer (getFSC, fftw.cpp)
    return round(GHOSTSCRIPT + ALONE + (2 + job.masked + 3) * _map(job))


def local_resolution(job: Maps) -> int:
    """Bytes that relion_postprocess --locres takes at its peak, over all its processes."""
    # run_locres: I1 and I2, each masked and with random phases, their sum, the local mask, and the sums of resolutions,
    # filtered maps and weights; the transform of the sum and that of the transformer; three more for an FSC.
    return round(all_processes(16 * _map(job), job.processes, WORKER))


def mask(job: Maps) -> int:
    """Bytes that relion_mask_create takes at its peak (autoMask, mask.cpp)."""
    # the map, the mask, and the mask before it was extended or softened
    return round(ALONE + (2 + job.masked) * _map(job))


def subtraction(job: Refinement) -> int:
    """Bytes that relion_particle_subtract takes at its peak, over all its processes (particle_subtractor.cpp)."""
    # The model's maps and the mask, whose transforms are set up one after the other; the list, and that of the output.
    volume = REAL * job.box**3
    each = (job.classes + job.masks + 1) * volume + setting_up(job) + 2 * particle_list(job) + 20 * REAL * job.box**2
    return round(all_processes(each, job.processes, WORKER))


def _map(job: Maps) -> int:
    return REAL * job.box**3
