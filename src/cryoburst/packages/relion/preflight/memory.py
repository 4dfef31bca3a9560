"""How much memory RELION takes, from the arrays that its own source allocates. Pure arithmetic: no file is read here.

Each term names the array and the file of 3dem/relion 3.1.3 that allocates it; docs/preflight.md tells the same in
words. Sizes are bytes. RELION's CPU code is built with ``BASE=double``: 8 bytes a number, 16 a complex one. What a
job takes depends on the resolution that it reaches: ``size`` is the edge of the Fourier box in use (RELION's
current_size), at most the box itself.

N is the box and p the padding. The transform of a map up to ``size`` is held in a box of edge P = 2 (round(p size/2) +
1) + 1, of which one half is stored (``Projector::initialiseData``, projector.cpp); the padded map itself has the edge
p N.
"""

import math
from dataclasses import dataclass

REAL, COMPLEX, FLOAT = 8, 16, 4
ALONE = 1_500_000  # a process of RELION that has read nothing yet, without the pages of its program and libraries
BODY = 250  # bytes of a particle in the table of each body
RANK = 11_000_000  # the same under MPI: Open MPI's buffers
WORKER = 2_000_000  # the same of a program that sends next to nothing
GHOSTSCRIPT = 12_500_000  # gs, which makes logfile.pdf at the end while RELION waits for it
PREREAD = 7  # bytes of a pixel: 4, and what reading one particle after the other leaves (measured: 6.5 to 7.2)
LAUNCHER = 12_000_000  # bash and mpirun
ARENA = 700_000  # what glibc's allocator keeps for each thread
HEAPED = 32 * 2**20  # glibc returns larger blocks to the kernel when they are freed; smaller ones stay (mallopt(3))


@dataclass(frozen=True)
class Refinement:
    """What decides how much memory relion_refine takes (Class2D, InitialModel, Class3D, Refine3D, MultiBody)."""

    box: int  # of reference and particles, pixels
    size: int  # largest Fourier box that is used, pixels
    dimensions: int  # of the reference: 2 or 3
    classes: int  # or bodies
    particles: int
    rotations: int  # orientations at once, before oversampling
    shifts: int  # translations at once, before oversampling
    padding: float = 2.0
    oversampling: int = 1
    processes: int = 1
    threads: int = 1
    pool: int = 1
    labels: int = 30  # columns of the particle list
    preread: bool = False  # --preread_images
    halves: bool = False  # --split_random_halves
    symmetry: bool = False  # any but C1
    gridding: bool = True  # without --skip_gridding
    solvent_fsc: bool = False  # --solvent_correct_fsc
    momentum: bool = False  # InitialModel: a gradient beside each map
    on_the_fly: bool = False  # --onthefly_shifts
    through_files: bool = True  # processes add up their sums through files, without --dont_combine_weights_via_disc
    masks: int = 0  # of the bodies of a MultiBody, and of what overlaps of each two


def refinement(job: Refinement) -> int:
    """Bytes that relion_refine takes at its peak, over all its processes."""
    if job.processes < 2:
        return round(ALONE + _worker(job, first=True))
    leader = (job.classes + job.masks) * _volume(job) + particle_list(job) + _pictures(job)
    if job.solvent_fsc:
        # Both unfiltered maps, the mask, and three transforms (MlOptimiserMpi::
        # reconstructUnregularisedMapAndCalculateSolventCorrectedFSC).
        leader += 6 * _volume(job)
    # Each class is reconstructed by one process (MlOptimiserMpi::maximization), with half sets by one of either.
    workers = job.processes - 1
    makers = min(workers, job.classes * (2 if job.halves else 1))
    others = (makers - 1) * _worker(job) + (workers - makers) * _worker(job, reconstructs=False)
    each = _worker(job, first=True) + others
    return round(LAUNCHER + job.processes * RANK + leader + each)


def _worker(job: Refinement, *, reconstructs: bool = True, first: bool = False) -> float:
    """One process that aligns particles, and reconstructs a map or not. The first joins the halves in the end."""
    volume, half = _volume(job), _half(job.box, job.size, job.padding, job.dimensions)
    forward, back = COMPLEX * half, sums(job)  # PPref.data; BPref (ml_model.cpp)
    padded, transform = _padded(job)
    maps = job.classes * (2 if job.momentum else 1) + job.masks  # Iref; Igrad; masks_bodies
    kept = maps * volume + job.classes * back

    setup = kept + setting_up(job)  # E step: beside all maps
    # E step (ml_optimiser.cpp, expectationOneParticle): all projections, and what each thread holds for a particle.
    expectation = kept + _projectors(job) * forward + job.threads * _thread(job)
    # Before the M step only so many projections are freed as there are classes (MlOptimiserMpi::expectation): one for
    # all bodies and what is left of them.
    staying = (job.masks - 1) * forward if job.masks else 0
    kept += staying
    # M step (BackProjector::reconstruct): Fconv and Fweight, with gridding also Fnewweight and Mconv; then Fconv is
    # windowed to the padded box and turned to real space (windowToOridimRealSpace): only gridding gave Fweight back.
    weight = REAL * half
    gridding = forward + weight + (weight + REAL * _edge(job.size, job.padding) ** job.dimensions) * job.gridding
    windowed = max(forward, padded) + transform + weight * (not job.gridding)
    maximisation = kept + max(gridding, windowed) + volume * job.momentum  # Iref_old
    # Symmetry copies data and weight (symmetrise); so do the unregularised maps of --solvent_correct_fsc, and those who
    # exchange their sums: packed as they are sent and, but through files, what came (combineAllWeightedSums,
    # combineWeightedSumsTwoRandomHalves).
    copies = kept + back * job.symmetry
    several = (job.processes - 1) // (2 if job.halves else 1) > 1
    packed = (several or job.halves) + (not job.through_files and (several or (job.halves and first)))
    exchanged = kept + packed * job.classes * back
    corrected = kept + back + max(gridding, windowed) if job.solvent_fsc else 0

    # Freed before the M step, but not returned to the kernel.
    heaped = _projectors(job) * forward - staying if forward < HEAPED else 0
    peak = max(setup, expectation, copies, exchanged)
    if reconstructs:
        peak = max(peak, maximisation + heaped, corrected)
    return peak + particle_list(job) + _pictures(job) + job.threads * ARENA


def sums(job: Refinement) -> int:
    """Bytes of what the particles of one class add up to: BPref.data and BPref.weight (backprojector.h)."""
    return (COMPLEX + REAL) * _half(job.box, job.size, job.padding, job.dimensions)


def setting_up(job: Refinement) -> float:
    """Bytes of the transforms of all maps, and of what makes the last (Projector::computeFourierTransformMap): Mpad,
    Faux and a copy of the map."""
    forward = COMPLEX * _half(job.box, job.size, job.padding, job.dimensions)
    return (_projectors(job) - 1) * forward + sum(_padded(job)) + _volume(job)


def _projectors(job: Refinement) -> int:
    """Maps that are projected: each class, or each body and what is left of it without what overlaps (PPref)."""
    return max(job.classes, job.masks)


def _thread(job: Refinement) -> float:
    """What one thread holds for its particle (expectationOneParticle and what it calls)."""
    turned = 2 ** (job.oversampling * (job.dimensions if job.dimensions == 3 else 1))
    moved = 4**job.oversampling
    aligned = 1 if job.masks else job.classes  # one body after the other
    weights = aligned * job.rotations * job.shifts * turned * moved
    # exp_Mweight and the row of it that is sorted, once more without what is 0 (convertAllSquaredDifferencesToWeights):
    # few are left of a refinement, nearly all of an InitialModel.
    held = (3 if job.momentum else 2) * REAL * weights
    image = COMPLEX * job.size * (job.size // 2 + 1)
    if not job.on_the_fly:
        held += 2 * image * job.shifts * moved  # exp_local_Fimgs_shifted, masked and not
    return held + 10 * REAL * job.box**2  # image, masks, transforms, CTF


def particle_list(job: Refinement) -> float:
    """Bytes of Experiment and its tables (exp_model.h, metadata_container.h): every process reads the whole list."""
    bodies = job.classes if job.masks else 0
    return job.particles * (REAL * job.labels + 900 + BODY * bodies)


def _pictures(job: Refinement) -> float:
    """Particles in memory: with --preread_images all of them, as float, in every process (Experiment::read)."""
    everything = PREREAD * job.particles * job.box**2 if job.preread else 0
    return everything + REAL * min(job.particles, job.pool * job.threads) * job.box**2  # exp_imgs


def all_processes(each: float, processes: int, rank: int = RANK) -> float:
    """Bytes of so many processes that take as much each, with what starts them."""
    return ALONE + each if processes < 2 else LAUNCHER + processes * (rank + each)


def _volume(job: Refinement) -> int:
    return REAL * job.box**job.dimensions


def _edge(size: int, padding: float) -> int:
    return 2 * (math.floor(padding * (size // 2) + 0.5) + 1) + 1


def _half(box: int, size: int, padding: float, dimensions: int) -> int:
    """Numbers in the stored half of a transform."""
    edge = _edge(min(size, box), padding)
    return edge ** (dimensions - 1) * (edge // 2 + 1)


def _padded(job: Refinement) -> tuple[int, int]:
    """Bytes of the padded map, and of its transform."""
    edge = math.floor(job.padding * job.box + 0.5)
    edge += edge % 2
    return REAL * edge**job.dimensions, COMPLEX * edge ** (job.dimensions - 1) * (edge // 2 + 1)


@dataclass(frozen=True)
class Movies:
    """What decides how much memory relion_run_motioncorr --use_own takes (motioncorr_runner.cpp)."""

    x: int  # pixels of a frame as it is read
    y: int
    frames: int
    binning: float = 1.0  # --bin_factor
    early: bool = True  # binned before the alignment: the default from 3.1 on
    gain: bool = False
    processes: int = 1
    threads: int = 1


def movies(job: Movies) -> int:
    """Bytes that RELION's own motion correction takes at its peak: every process has one movie in memory."""
    raw = FLOAT * job.x * job.y
    frame = raw / job.binning**2 if job.early else raw
    gain = raw * job.gain
    # Iframes, one transform of a frame for each thread before it is cropped, and the binned ones (Fframes); Isum.
    reading = job.frames * raw + gain + raw
    if job.early and job.binning > 1:
        reading += job.threads * raw + frame * job.frames * 0.25
    # Global alignment and after: Iframes and Fframes, both binned; a transform for each thread; Iref and Isum.
    aligning = 2 * job.frames * frame + job.threads * frame + 2 * frame + gain
    peak = max(reading, aligning)
    if gain and frame < HEAPED:
        peak += job.frames * frame  # Iframes were freed but not returned when Fframes, a little larger, were made
    return round(GHOSTSCRIPT + all_processes(peak, job.processes))


@dataclass(frozen=True)
class Polishing:
    """What decides how much memory CtfRefine and Polish take (jaz/reference_map.cpp, jaz/motion)."""

    box: int  # of the half maps, pixels
    image: int  # of the particles, pixels
    particles: int  # of the fullest micrograph
    frames: int = 0  # of a movie; 0 for CtfRefine
    x: int = 0  # pixels of a frame
    y: int = 0
    gain: bool = False
    total: int = 0  # particles of all micrographs
    labels: int = 40
    processes: int = 1
    threads: int = 1


def polishing(job: Polishing) -> int:
    """Bytes that relion_ctf_refine or relion_motion_refine takes at its peak, over all its processes."""
    maps = Refinement(job.box, job.box, 3, 1, 0, 0, 0)
    volume, forward = _volume(maps), COMPLEX * _half(job.box, job.box, 2.0, 3)
    padded, transform = _padded(maps)
    # ReferenceMap::load: two maps, the mask and a masked copy; the first projector beside what makes the second
    loading = 4 * volume + forward + padded + transform
    image = COMPLEX * job.image * (job.image // 2 + 1)
    # the projectors; of the fullest micrograph all particles in all frames (movie) and their cross-correlations
    # (movieCC), predictions; frames as they are read, one for each thread, and the gain
    held = job.particles * (image + job.frames * (image + REAL * job.image**2))
    read = FLOAT * job.x * job.y * job.threads + REAL * job.x * job.y * job.gain
    working = 2 * forward + volume + held + read + job.threads * (ARENA + 10 * REAL * job.image**2)
    each = max(loading, working) + job.total * (REAL * job.labels + 900)
    return round(GHOSTSCRIPT + all_processes(each, job.processes))
