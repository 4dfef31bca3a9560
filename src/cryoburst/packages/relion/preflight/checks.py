"""The checks of a RELION job, each a small function that yields what it found. All run; none stops another.

An error is what RELION itself ends with, some later than others: the sentence says what is wrong, and what to do. The
sources are named beside each (3dem/relion 3.1.3). ``CHECKS`` lists them all; docs/preflight.md is made from their
docstrings, whose first lines are for users.
"""

from collections.abc import Callable, Iterator

from cryoburst.model.plugins import Finding
from cryoburst.packages.relion.preflight.facts import CLOSE, Facts

Found = Iterator[Finding]
CTF_IN_OPTICS = ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast")
CTF = ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")
NAMED = 3  # of many, so many are named
AS_WRITTEN = "take the list as RELION 3.1 or later wrote it"


def optics_table(facts: Facts) -> Found:
    """The particle list has an optics table (format 3.1); warning: RELION guesses one for an older list."""
    # ObservationModel::loadSafely converts on its own, and says that the result should be looked at.
    found = facts.particles
    if found and not found.has_optics and facts.job.version != "3.0":
        advice = "relion_convert_star makes one that you can look at"
        yield _warning("optics", f"{found.path} has no optics table, so RELION guesses it: {advice}")


def optics_groups(facts: Facts) -> Found:
    """Every particle's optics group is in the optics table; error."""
    # ObservationModel::findUndefinedOptGroups
    found = facts.particles
    if not found or not found.has_optics:
        return
    known = {_plain(optics.group) for optics in found.optics}
    if unknown := [group for group in found.groups if _plain(group) not in known]:
        said = f"{found.path} has particles of optics group {_some(unknown)}, which its table has not"
        yield _error("optics", f"{said}: {AS_WRITTEN}")
    if not found.grouped:
        yield _error("optics", f"the particles of {found.path} have no column rlnOpticsGroup: {AS_WRITTEN}")


def optics_columns(facts: Facts) -> Found:
    """The optics table has voltage, spherical aberration, pixel and box size of the particles; error."""
    # ObservationModel::ObservationModel; box sizes: Experiment::getOpticsImageSize
    found = facts.particles
    if not found or not found.optics:
        return
    if not found.optics[0].complete:
        said = f"the optics table of {found.path} lacks the voltage, Cs or pixel size"
        yield _error("optics", f"{said}: {AS_WRITTEN}")
    if facts.rule != "refine":
        return
    for optics in found.optics:
        for label, value in (("rlnImageSize", optics.box), ("rlnImagePixelSize", optics.pixel)):
            if value <= 0:
                has = f"{value:g} as" if label in found.labels else "no"
                said = f"the optics table of {found.path} has {has} {label} for group {optics.group}"
                yield _error("optics", f"{said}: {AS_WRITTEN}")
                break


def ctf_columns(facts: Facts) -> Found:
    """CTF correction has its columns, from defocus to amplitude contrast; error: RELION takes 0 for what is missing."""
    # CTF::readByGroup: a defocus of 0, 200 kV and no amplitude contrast, without a word
    found = facts.particles
    asked = facts.has("ctf") or facts.rule in ("ctf_refine", "motion_refine")
    if not found or not asked or "rlnCtfImage" in found.labels:
        return
    if missing := [label for label in (*CTF, *CTF_IN_OPTICS) if label not in found.labels]:
        estimated = any(label in CTF for label in missing)
        advice = "run CtfFind before Extract" if estimated else "Import asks for them; they stay in the optics table"
        yield _error("CTF", f"{found.path} lacks {_some(missing)}, which CTF correction needs: {advice}")


def stacks_complete(facts: Facts) -> Found:
    """Every stack has as many images as the particle list uses of it; error."""
    found = facts.particles
    if not found or facts.rule == "motion_refine":  # Polish reads movies
        return
    short: list[str] = []
    elsewhere = 0
    for stack, highest in found.highest.items():
        if not facts.here(stack):
            elsewhere += 1
        elif (head := facts.head(stack)) and head.z < highest:
            short.append(f"{stack} has {head.z} images and {highest} are used")
    if short:
        more = f" (and {len(short) - 1} more stacks like that)" if len(short) > 1 else ""
        yield _error("stacks", f"{short[0]}{more}: extract the particles again")
    if elsewhere:
        yield Finding(
            "info", "stacks", f"{elsewhere} of {len(found.highest)} stacks are not on this disk: not looked at"
        )


def stacks_box(facts: Facts) -> Found:
    """The images of the stacks have the box size that the optics table says; error."""
    # MlOptimiser::getMetaAndImageDataSubset, and Polish's own look at it
    found = facts.particles
    if not found or facts.rule == "motion_refine":
        return
    boxes = {optics.box for optics in found.optics if optics.box}
    if not boxes:
        return
    for stack in found.highest:
        head = facts.head(stack) if facts.here(stack) else None
        if head and (head.x != head.y or head.x not in boxes):
            said = " or ".join(map(str, sorted(boxes)))
            wrong = f"{stack} has images of {head.x} x {head.y} pixels, and the optics table says {said}"
            yield _error("box", f"{wrong}: name the list that was written with these stacks, or extract again")
            return


def reference_size(facts: Facts) -> Found:
    """The reference has the particles' pixel and box size, unless --trust_ref_size is given; error."""
    # MlModel::initialiseFromImages
    head, first = facts.head(facts.reference), facts.first
    if facts.rule != "refine" or not head or not first:
        return
    pixel = facts.number("ref_angpix", 0.0) or head.pixel
    wrong = [f"{head.x} pixels instead of {first.box}"] if first.box and head.x != first.box else []
    if first.pixel and pixel and abs(pixel - first.pixel) > CLOSE:
        wrong.append(f"{pixel:.4g} Å/px instead of {first.pixel:.4g}")
    if not wrong:
        return
    said = f"the reference {facts.reference} has {' and '.join(wrong)}"
    if facts.has("trust_ref_size"):
        yield Finding("info", "reference", f"{said}: particles are scaled to it (--trust_ref_size)")
        return
    advice = "relion_image_handler --rescale_angpix and --new_box make one that fits, or give --trust_ref_size"
    yield _error("reference", f"{said}, the particles': {advice}")


def mask_size(facts: Facts) -> Found:
    """The mask has the box size of the maps it is applied to (error) and their pixel size (warning)."""
    # refine: Iref *= Isolvent fails after the first iteration; Postprocessing::initialise; ReferenceMap::load
    mask, first = facts.head(facts.mask), facts.first if facts.rule == "refine" else None
    if not mask:
        return
    name = facts.reference if facts.rule == "refine" else facts.halves
    map_ = facts.head(name)
    if map_:
        shape, pixel, what = (map_.x, map_.y, map_.z), map_.pixel, name
    elif first and first.box:
        shape, pixel, what = (first.box,) * 3, first.pixel, "the reference, which has the particles' box,"
    else:
        return
    flat = facts.rule == "refine" and not (map_ or facts.has("denovo_3dref"))
    edges = 2 if flat or name.endswith(".mrcs") else 3  # class averages are pictures
    found = (mask.x, mask.y, mask.z)[:edges]
    if found != shape[:edges]:
        said = f"the mask {facts.mask} has {_shape(*found)} pixels and {what} has {_shape(*shape[:edges])}"
        yield _error("mask", f"{said}: MaskCreate makes one that fits, from a map of that size")
    if pixel and mask.pixel and abs(pixel - mask.pixel) > CLOSE * 10:
        said = f"the mask {facts.mask} has {mask.pixel:.4g} Å/px in its header and {what} has {pixel:.4g}"
        yield _warning("mask", f"{said}: make the mask again, or relion_image_handler --force_header_angpix")


def half_maps(facts: Facts) -> Found:
    """The half maps are cubes of one size (error); those of CtfRefine are as wide as the particles' boxes (warning)."""
    # ReferenceMap::load, Postprocessing::initialise
    first = facts.halves if facts.rule in ("postprocess", "ctf_refine", "motion_refine") else ""
    head = facts.head(first) if first else None
    if head is None:
        return
    if not head.x == head.y == head.z:
        said = f"{first} is no cube: {_shape(head.x, head.y, head.z)} pixels"
        yield _error("reference", f"{said}: name a half map of Refine3D")
    second = facts.get("i2") or facts.get("m2") or first.replace("half1", "half2", 1)
    other = facts.head(second) if facts.here(second) else None
    if other and (other.x, other.y, other.z) != (head.x, head.y, head.z):
        yield _error("reference", f"{first} and {second} have different sizes: take both from one Refine3D")
    optics = facts.first
    if optics and optics.box and optics.pixel and head.pixel:
        width, wanted = head.x * head.pixel, optics.box * optics.pixel
        if abs(width - wanted) > 0.02 * wanted and facts.rule == "ctf_refine":
            said = f"{first} is {width:.0f} Å wide and the particles' boxes are {wanted:.0f} Å"
            yield _warning("reference", f"{said}: refine these particles first")


def mask_diameter(facts: Facts) -> Found:
    """The mask diameter fits into the box; warning, because RELION masks at the box's edge."""
    if facts.rule != "refine" or not facts.line.get("particle_diameter"):
        return
    diameter, first = facts.number("particle_diameter", -1.0), facts.first
    if not first or not first.box or not first.pixel or diameter < 0:
        return
    width = first.box * first.pixel
    if diameter > width:
        advice = "give the particle's own diameter, or extract with a larger box"
        yield _warning(
            "diameter", f"the mask diameter of {diameter:g} Å is wider than the box of {width:.4g} Å: {advice}"
        )


def half_sets(facts: Facts) -> Found:
    """Two half sets have an odd number of MPI processes, 3 at least, and one class; error."""
    # MlOptimiserMpi::initialiseWorkLoad, MlOptimiser::iterate, MlOptimiser::initialiseGeneral
    if facts.rule != "refine" or not facts.on("split_random_halves", "rlnDoSplitRandomHalves"):
        return
    processes = facts.job.resources.processes
    if processes < 3 or processes % 2 == 0:
        said = f"{processes} MPI process{'es' * (processes > 1)} for two half sets"
        yield _error("processes", f"{said}: RELION needs an odd number, 3 at least")
    if facts.number("K", 1) > 1:
        yield _error("classes", "two half sets can have one class only: classify first")


CHECKS: tuple[Callable[[Facts], Found], ...] = (
    optics_table,
    optics_groups,
    optics_columns,
    ctf_columns,
    stacks_complete,
    stacks_box,
    reference_size,
    mask_size,
    half_maps,
    mask_diameter,
    half_sets,
)


def _error(subject: str, sentence: str) -> Finding:
    return Finding("error", subject, sentence)


def _warning(subject: str, sentence: str) -> Finding:
    return Finding("warning", subject, sentence)


def _plain(group: str) -> str:
    """An optics group's number without what STAR files put around it: ``01`` and ``1.0`` are 1."""
    try:
        return str(round(float(group)))
    except ValueError:
        return group


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _shape(*edges: int) -> str:
    return " x ".join(map(str, edges))
