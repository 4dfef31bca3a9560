"""How much disk a job's outputs take, from the files that RELION writes for its type. 0 for a type without a rule."""

import math

from cryoburst.packages.relion.preflight.described import (
    automatic,
    directions,
    extracted,
    flexibility,
    gradient,
    iterations,
    movies,
    refinement,
)
from cryoburst.packages.relion.preflight.facts import Facts
from cryoburst.packages.relion.preflight.memory import sums

FLOAT = 4  # bytes of a pixel in MODE 2, which RELION writes unless --float16
AUTO = 30  # iterations of an automatic refinement that takes long (docs/preflight.md)
BODY = 90  # bytes of a particle's row in the table of each body
SAMPLING, DIRECTION = 27, 14  # bytes of a direction in sampling.star, and of a class in it in model.star
HISTOGRAM = 65_000  # bytes of a plot of relion_flex_analyse
ROW = 150  # bytes that a refinement adds to a row of a particle list that has none of its columns
SHELL = 250  # bytes of model.star for each shell of a class
MODEL = 20_000  # bytes of the rest of it, and of optimiser and sampling
LOGS = 120_000  # bytes of STAR, EPS and log of a movie
FIT = 40_000  # the same of a fit of CTFFIND, and of the tracks of a micrograph that is polished
REPORT = 200_000  # bytes of logfile.pdf, and of the plots in it


def outputs(facts: Facts) -> int:
    """Bytes that the program writes into its job folder, and to scratch, by the end."""
    writes = {
        "refine": _refinement,
        "motioncorr": _movies,
        "ctffind": _fits,
        "extract": _extracted,
        "motion_refine": _polished,
        "flex_analyse": _flexibility,
    }
    return round(writes[facts.rule](facts)) if facts.rule in writes else 0


def _refinement(facts: Facts) -> float:
    if automatic(facts):
        return refined(facts, AUTO)
    every = facts.kept("sgd_write_iter", "rlnSgdWriteEverySubset", 1) if gradient(facts) else 1
    return refined(facts, math.ceil(iterations(facts) / max(1, every)))


def refined(facts: Facts, count: int) -> float:
    """Bytes that a refinement has on the disk at its fullest, which writes its state so many times after its start."""
    job, found = refinement(facts), facts.particles
    if job is None or found is None:
        return 0
    map_ = FLOAT * job.box**job.dimensions
    bodies = job.classes if job.masks else 0
    added = 0 if "rlnMaxValueProbDistribution" in found.labels else ROW
    listed = facts.inputs[found.path].size + (added + BODY * bodies) * found.count
    described = job.classes * job.box / 2 * SHELL + MODEL
    kinds = 2 if job.momentum or (job.solvent_fsc and job.dimensions == 3) else 1  # the gradients; unfiltered maps
    halves, once = 2 if job.halves else 1, float(bodies * map_)  # the masks
    each = (kinds * job.classes * map_ + described) * halves + listed
    if job.dimensions == 3:
        each += _directions(facts, job.box, count) * (SAMPLING + DIRECTION * job.classes * halves)
    every = job.classes * sums(job)
    # Processes of one half, or of no halves, add up through files (MlOptimiserMpi::combineAllWeightedSumsViaFile).
    transient = (job.processes - 1) * every if job.through_files and (job.processes - 1) // halves > 1 else 0
    if automatic(facts):
        # At the end the sums of both halves, as floats, and those of one as they are
        # (writeTemporaryDataAndWeightArrays, combineWeightedSumsTwoRandomHalvesViaFile); what stays are both
        # unfiltered maps, and all particles together.
        transient = max(transient, every * (1 + job.through_files))
        once += 3 * job.classes * map_ + listed + described
    if facts.line.get("scratch_dir") and not job.preread:
        once += FLOAT * found.count * job.box**2
    return (count + 1) * each + once + transient


def _directions(facts: Facts, box: int, count: int) -> float:
    """How many are sampled in an iteration, on average: always as many, but of an automatic refinement."""
    steps = range(count + 1) if automatic(facts) else (0,)
    return sum(directions(facts, box, step) for step in steps) / len(steps)


def _flexibility(facts: Facts) -> float:
    job = flexibility(facts)
    if job is None:
        return 0
    components = round(facts.number("k", -1))
    movies_ = components if components >= 0 else 6 * job.bodies  # those that explain --v of the variance
    maps = job.bodies + movies_ * facts.number("maps_per_movie", 10) * facts.has("do_maps")
    return maps * FLOAT * job.box**3 + (6 * job.bodies + 1) * HISTOGRAM + REPORT


def _movies(facts: Facts) -> float:
    job = movies(facts)
    if job is None:
        return 0
    gain = facts.get("gainref")
    kinds = (".mrcs", ".mrc", ".tif", ".tiff", ".eer")
    count = sum(found.path.endswith(kinds) and found.path != gain for found in facts.inputs.values())
    pictures = 1 + facts.has("save_noDW") * facts.has("dose_weighting")
    micrograph = (2 if facts.has("float16") else FLOAT) * job.x * job.y / job.binning**2
    spectrum = FLOAT * facts.number("ps_size", 512) ** 2 if facts.line.get("grouping_for_ps") else 0
    return count * (pictures * micrograph + spectrum + LOGS) + REPORT


def _fits(facts: Facts) -> float:
    count = sum(found.path.endswith(".mrc") for found in facts.inputs.values())
    return count * (FLOAT * facts.number("Box", 512) ** 2 + FIT) + REPORT


def _extracted(facts: Facts) -> float:
    box = facts.number("window", 0) or facts.number("scale", 0) or facts.number("extract_size", 0)
    return extracted(facts) * (FLOAT * box**2 + 2 * ROW)  # a row in the micrograph's list, and in the joined one


def _polished(facts: Facts) -> float:
    found, first = facts.particles, facts.first
    if found is None or first is None or not facts.has("combine_frames"):
        return 0
    box = facts.number("scale", 0) or facts.number("window", 0) or first.box
    micrographs = len(found.highest)  # Extract writes one stack for each
    return FLOAT * found.count * box**2 + 2 * facts.inputs[found.path].size + FIT * micrographs + REPORT
