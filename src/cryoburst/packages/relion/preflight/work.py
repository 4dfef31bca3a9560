"""How much a job has to do, in a unit to which its time is about proportional, from the facts of its programs.

Movies: 10^9 pixels of all frames. CtfFind, AutoPick, Extract: micrographs. Class2D, Class3D, InitialModel: particles x
iterations x classes x 10^6 pixels of a particle. Refine3D, MultiBody, CtfRefine, Polish: particles x 10^6 pixels: how
many iterations an automatic refinement takes nobody knows before. Nothing is said of other programs: 0.
"""

from cryoburst.model.plugins import Work
from cryoburst.packages.relion import parts
from cryoburst.packages.relion.preflight.described import automatic, gradient, iterations, movies, refinement
from cryoburst.packages.relion.preflight.facts import Facts

SGD = (("sgd_ini_iter", 50, "sgd_ini_subset", 100), ("sgd_fin_iter", 50, "sgd_fin_subset", 500))
BETWEEN = ("sgd_inbetween_iter", 200)  # between them, from the first subset to the last


def work(facts: list[Facts]) -> Work:
    """Of the first program that has a rule."""
    found = (_RULES[each.rule](each) for each in facts if each.rule in _RULES)
    return next((each for each in found if each.units), Work())


def _refinement(facts: Facts) -> Work:
    job = refinement(facts)
    if job is None:
        return Work()
    pixels = job.box**2 / 1e6
    said = f"{job.particles:,} particles of {job.box} pixels"
    if automatic(facts):
        return Work(job.particles * pixels, said)
    classes = f"{job.classes} class{'es' * (job.classes > 1)}"
    if gradient(facts):
        seen = sum(facts.number(many, m) * facts.number(subset, s) for many, m, subset, s in SGD)
        seen += facts.number(*BETWEEN) * sum(facts.number(subset, s) for _, _, subset, s in SGD) / len(SGD)
        return Work(seen * job.classes * pixels, f"{said}, {classes}, {seen:,.0f} looks at one")
    count = iterations(facts)
    return Work(job.particles * count * job.classes * pixels, f"{said}, {classes}, {count} iterations")


def _movies(facts: Facts) -> Work:
    one, count = movies(facts), parts.count(facts.job)
    if one is None or not count:
        return Work()
    pixels = count * one.x * one.y * one.frames / 1e9
    return Work(pixels, f"{count:,} movie{'s' * (count > 1)} of {one.frames} frames of {one.x} x {one.y} pixels")


def _micrographs(facts: Facts) -> Work:
    count = parts.count(facts.job)
    return Work(float(count), f"{count:,} micrograph{'s' * (count > 1)}") if count else Work()


def _particles(facts: Facts) -> Work:
    found, first = facts.particles, facts.first
    if found is None or first is None or not first.box:
        return Work()
    return Work(found.count * first.box**2 / 1e6, f"{found.count:,} particles of {first.box} pixels")


_RULES = {
    "refine": _refinement,
    "motioncorr": _movies,
    "ctffind": _micrographs,
    "autopick": _micrographs,
    "extract": _micrographs,
    "ctf_refine": _particles,
    "motion_refine": _particles,
}
