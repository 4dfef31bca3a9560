"""How much disk a job's outputs take, from the files that RELION writes for its type. 0 for a type without a rule."""

from cryoburst.packages.relion.preflight.described import extracted, movies, refinement
from cryoburst.packages.relion.preflight.facts import Facts

FLOAT = 4  # bytes of a pixel in MODE 2, which RELION writes unless --float16
AUTO = 30  # iterations of an automatic refinement that takes long
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
    }
    return round(writes[facts.rule](facts)) if facts.rule in writes else 0


def _refinement(facts: Facts) -> float:
    job, found = refinement(facts), facts.particles
    if job is None or found is None:
        return 0
    added = 0 if "rlnMaxValueProbDistribution" in found.labels else ROW
    listed = facts.inputs[found.path].size + added * found.count
    described = job.classes * job.box / 2 * SHELL + MODEL
    each = (FLOAT * job.classes * job.box**job.dimensions + described) * (2 if job.halves else 1) + listed
    if facts.has("auto_refine"):
        return AUTO * each + 5 * FLOAT * job.box**job.dimensions  # the last one writes halves and both together
    if facts.has("sgd"):
        stages = (("sgd_ini_iter", 50), ("sgd_inbetween_iter", 200), ("sgd_fin_iter", 50))
        iterations = sum(facts.number(name, default) for name, default in stages)
        iterations /= max(1.0, facts.number("sgd_write_iter", 10))
        each *= 2  # the gradients
    else:
        iterations = facts.number("iter", 50)
    scratch = FLOAT * found.count * job.box**2 if facts.line.get("scratch_dir") and not job.preread else 0
    return (iterations + 1) * each + scratch


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
