"""What decides what a program takes, read from its facts: one function for each description in ``memory``, ``maps`` and
``micrographs``. None where a file that would say it is not on this disk.
"""

import math

from cryoburst.packages.relion import images, star
from cryoburst.packages.relion.closure import image
from cryoburst.packages.relion.preflight import maps, memory, micrographs
from cryoburst.packages.relion.preflight.facts import Facts

SYMMETRY = {"T": 12, "O": 24, "I": 60}  # operators of the polyhedral groups; CN has N and DN 2 N
LOCAL_DIRECTIONS, LOCAL_TURNS = 113, 13  # within 3 sigma of a local search, whose sigma is two steps (healpix_sampling)
SHELLS = 10  # --incr_size: shells beyond the resolution that are used
DIGITAL = 0.07  # of the box: the shell up to which references are used that RELION makes itself
FINEST = 7  # the order of steps of 0.2 degrees with oversampling: few go on to finer ones
PICK, PICKS_HEAD = 68, 200  # bytes of a row and of the head of a coordinate file as AutoPick writes it


def refinement(facts: Facts, *, sure: bool = True) -> memory.Refinement | None:
    """What decides the memory of a refinement. Sure is what suffices if it reaches the highest resolution that it can;
    else what it takes at least, at the resolution with which it begins. None when the box is not known."""
    optimiser, reference, first, found = facts.optimiser, facts.head(facts.reference), facts.first, facts.particles
    box = reference.x if reference else first.box if first else 0
    box = _whole(optimiser.get("rlnOriginalImageSize")) or box
    if not box or not found:
        return None
    solid = facts.has("denovo_3dref") or (
        reference is not None and reference.z == reference.x and not facts.reference.endswith(".mrcs")
    )
    dimensions = _whole(optimiser.get("rlnReferenceDimensionality")) or (3 if solid else 2)
    classes = _whole(optimiser.get("rlnNrClasses")) or max(_references(facts), round(facts.number("K", 1)))
    bodies, _ = body_masks(facts)
    resources = facts.job.resources
    return memory.Refinement(
        box=box,
        size=_size(facts, box, sure=sure),
        dimensions=dimensions,
        classes=max(classes, bodies),
        particles=found.count,
        rotations=_rotations(facts, dimensions, box, sure=sure),
        shifts=1
        if facts.has("skip_align")
        else shifts(facts.number("offset_range", 6), facts.number("offset_step", 2)),
        padding=facts.kept("pad", "rlnPaddingFactor", 2),
        oversampling=round(facts.kept("oversampling", "rlnAdaptiveOversampleOrder", 1)),
        processes=resources.processes,
        threads=resources.threads,
        pool=round(facts.number("pool", 1)),
        labels=len(found.labels),
        preread=facts.has("preread_images"),
        halves=facts.on("split_random_halves", "rlnDoSplitRandomHalves"),
        symmetry=operators(_symmetry(facts)) > 1 and dimensions == 3 and not bodies,
        gridding=not facts.has("skip_gridding"),
        solvent_fsc=facts.on("solvent_correct_fsc", "rlnDoSolventFscCorrection"),
        momentum=gradient(facts) or facts.has("grad"),
        on_the_fly=facts.has("onthefly_shifts"),
        through_files=not facts.has("dont_combine_weights_via_disc"),
        masks=_masks(facts, bodies, sure=sure),
    )


def automatic(facts: Facts) -> bool:
    """Whether a refinement decides itself when it ends, and goes to the highest resolution then: also a MultiBody."""
    return facts.on("auto_refine", "rlnDoAutoRefine")


def gradient(facts: Facts) -> bool:
    """Whether a refinement takes a few particles at a time, as InitialModel does."""
    return facts.on("sgd", "rlnDoStochasticGradientDescent")


def iterations(facts: Facts) -> int:
    """How many iterations a refinement will do that is not automatic; of one that is continued the rest."""
    if gradient(facts):
        stages = (
            ("sgd_ini_iter", "rlnSgdInitialIterations", 50),
            ("sgd_inbetween_iter", "rlnSgdInBetweenIterations", 200),
            ("sgd_fin_iter", "rlnSgdFinalIterations", 50),
        )
        whole = sum(facts.kept(option, label, default) for option, label, default in stages)
    else:
        whole = facts.kept("iter", "rlnNumberOfIterations", 50)
    return max(0, round(whole) - _whole(facts.optimiser.get("rlnCurrentIteration")))


def _pixel(facts: Facts) -> float:
    """Å/px of the particles, or of the reference; 0 when it is not known."""
    reference = facts.head(facts.reference)
    return facts.first.pixel if facts.first and facts.first.pixel else reference.pixel if reference else 0.0


def _size(facts: Facts, box: int, *, sure: bool) -> int:
    """The largest Fourier box: at most the whole one, at least that of the first iteration.

    --strict_highres_exp is no limit: it holds where images are compared, and the maps go on growing (MlOptimiser::
    updateImageSizeAndResolutionPointers).
    """
    pixel = _pixel(facts)

    def of(resolution: float) -> int:  # MlModel::getPixelFromResolution
        return min(box, 2 * round(box * pixel / resolution)) if resolution > 0 and pixel else box

    current = _whole(facts.optimiser.get("rlnCurrentImageSize"))
    if facts.rule == "subtract":
        return current or box
    if gradient(facts):
        return min(box, of(_end(facts)) + 2 * SHELLS)
    if automatic(facts):  # its last iteration uses all
        return box
    initial, named = facts.number("ini_high", -1), bool(facts.get("ref"))
    begin = current or (of(initial) if initial > 0 else 2 * round(DIGITAL * box)) + 2 * SHELLS
    if not sure:
        return min(box, begin)
    # Nothing is known of a reference that is not filtered. Else what was not used has no signal (BackProjector::
    # updateSSNRarrays), so that no iteration goes further than so many shells beyond the one before.
    unfiltered = named and initial <= 0 and not current
    grown = begin + 2 * SHELLS * (iterations(facts) - (not current))
    return box if unfiltered else min(box, grown)


def _end(facts: Facts) -> float:
    """The finest resolution that an InitialModel uses, Å."""
    ends = (("sgd_ini_resol", "rlnSgdInitialResolution", 35), ("sgd_fin_resol", "rlnSgdFinalResolution", 15))
    return min(facts.kept(option, label, default) for option, label, default in ends)


def _rotations(facts: Facts, dimensions: int, box: int, *, sure: bool) -> int:
    """Orientations that are looked at at once, before oversampling (healpix_sampling.cpp)."""
    if facts.has("skip_align") or facts.has("skip_rotate"):
        return 1
    if dimensions == 2:
        return math.ceil(360 / (facts.number("psi_step", -1) if facts.number("psi_step", -1) > 0 else 10))
    order = round(facts.kept("healpix_order", "rlnHealpixOrder", 2))
    local = LOCAL_DIRECTIONS * LOCAL_TURNS
    if automatic(facts):
        first_local = round(facts.kept("auto_local_healpix_order", "rlnAutoLocalSearchesHealpixOrder", 4))
        if order >= first_local:
            return local
        order = first_local - 1 if sure else order
    elif facts.number("sigma_ang", -1) > 0 or facts.number("sigma_rot", -1) > 0:
        return local
    elif gradient(facts) and sure:
        order = max(order, _finest(facts, box, _end(facts)))
    return max(_directions(facts, order) * 6 * 2**order, local if automatic(facts) else 1)


def directions(facts: Facts, box: int, iteration: int) -> int:
    """Directions that are sampled in an iteration. An automatic refinement goes on to finer ones, at the earliest with
    every second iteration, until steps are finer than its accuracy (MlOptimiser::updateAngularSampling). Few have a
    better one than an eighth of what the highest resolution asks for, and than 0.2 degrees."""
    order = round(facts.kept("healpix_order", "rlnHealpixOrder", 2))
    if automatic(facts):
        order = max(order, min(order + iteration // 2, _finest(facts, box, 2 * _pixel(facts)) + 3, FINEST))
    return _directions(facts, order)


def _directions(facts: Facts, order: int) -> int:
    return math.ceil(12 * 4**order / operators(_symmetry(facts)))


def _finest(facts: Facts, box: int, resolution: float) -> int:
    """The order whose steps are, with oversampling, as fine as a resolution (Å) asks for at the particle's edge."""
    given = facts.kept("particle_diameter", "rlnParticleDiameter", -1)
    diameter = given if given > 0 else box * _pixel(facts)
    if resolution <= 0 or diameter <= 0:
        return 0
    steps = math.ceil(math.pi * diameter / resolution)
    oversampling = round(facts.kept("oversampling", "rlnAdaptiveOversampleOrder", 1))
    return next((order for order in range(FINEST) if 6 * 2 ** (order + oversampling) >= steps), FINEST)


def _symmetry(facts: Facts) -> str:
    return facts.line.get("sym") or facts.optimiser.get("rlnSymmetryGroup", "")


def shifts(range_: float, step: float) -> int:
    """Translations on a grid of this step (pixels) within a circle of this radius (setTranslations)."""
    if step <= 0:
        return 1
    reach = math.ceil(range_ / step)
    grid = range(-reach, reach + 1)
    return sum((x * x + y * y) * step * step <= range_ * range_ for x in grid for y in grid)


def operators(symmetry: str) -> int:
    """How many operators a point group has; 1 for C1 and for what is no point group."""
    kind, number = symmetry[:1].upper(), symmetry[1:]
    if kind in ("C", "D") and number.isdigit():
        return max(1, int(number)) * (2 if kind == "D" else 1)
    return SYMMETRY.get(kind, 1)


def movies(facts: Facts) -> memory.Movies | None:
    """What decides the memory of a motion correction; None when no movie can be looked at."""
    known = sorted(
        found.path for found in facts.inputs.values() if found.path.endswith((".mrcs", ".mrc", ".tif", ".tiff", ".eer"))
    )
    gain = facts.get("gainref")
    head = next((head for path in known if path != gain and (head := facts.head(path))), None)
    if head is None:
        return None
    eer = any(path.endswith(".eer") for path in known)
    scale = max(1, round(facts.number("eer_upsampling", 1))) if eer else 1
    frames = head.z // max(1, round(facts.number("eer_grouping", 32))) if eer else head.z
    last, first = round(facts.number("last_frame_sum", -1)), round(facts.number("first_frame_sum", 1))
    used = (min(frames, last) if last > 0 else frames) - max(0, first - 1)
    return memory.Movies(
        x=head.x * scale,
        y=head.y * scale,
        frames=max(1, used),
        binning=max(1.0, facts.number("bin_factor", 1)),
        early=not facts.has("no_early_binning"),
        gain=bool(gain),
        processes=facts.job.resources.processes,
        threads=facts.job.resources.threads,
    )


def polishing(facts: Facts) -> memory.Polishing | None:
    """What decides the memory of CtfRefine or Polish; None when maps or particles can't be looked at."""
    head, found, first = facts.head(facts.halves), facts.particles, facts.first
    if head is None or found is None:
        return None
    movie = movies(facts) if facts.rule == "motion_refine" else None
    return memory.Polishing(
        box=head.x,
        image=(first.box if first else 0) or head.x,
        particles=min(found.count, max(found.highest.values(), default=0)),
        frames=movie.frames if movie else 0,
        x=movie.x if movie else 0,
        y=movie.y if movie else 0,
        gain=movie is not None,
        total=found.count,
        labels=len(found.labels),
        processes=facts.job.resources.processes,
        threads=facts.job.resources.threads,
    )


def fitting(facts: Facts) -> micrographs.Fitting | None:
    """What decides the memory of CtfFind, where ``cryoburst-ctffind`` does the work."""
    spectra = facts.has("use_given_ps")
    found = micrograph(facts, "rlnCtfPowerSpectrum" if spectra else "rlnMicrographName") if own_ctffind(facts) else None
    if not found:
        return None
    box = found.x if spectra else round(facts.number("Box", 512))
    return micrographs.Fitting(found.x, found.y, box, facts.job.resources.processes)


def own_ctffind(facts: Facts) -> bool:
    """Whether ``cryoburst-ctffind`` is what RELION calls: its environment names it, an option may name another."""
    return facts.line.get("ctffind_exe").rpartition("/")[2] in ("", "cryoburst-ctffind") and not facts.has("use_gctf")


def picking(facts: Facts) -> micrographs.Picking | None:
    """What decides the memory of AutoPick, but with Topaz."""
    found = None if topaz(facts) else micrograph(facts)
    if not found:
        return None
    edge, lowpass, shrink = max(found.x, found.y), facts.number("lowpass", -1), facts.number("shrink", 1)
    kept = min(edge, 2 * round(edge * found.pixel / lowpass)) if lowpass > 0 and found.pixel else edge
    return micrographs.Picking(
        x=found.x,
        y=found.y,
        work=kept if shrink == 0 else round(shrink) if shrink > 1 else round(shrink * edge),
        kept=kept,
        references=0 if facts.has("LoG") else max(1, _references(facts)),
        processes=facts.job.resources.processes,
    )


def topaz(facts: Facts) -> bool:
    """Whether AutoPick calls Topaz."""
    return any(word.startswith("--topaz") for word in facts.line.words)


def extraction(facts: Facts) -> micrographs.Extraction | None:
    """What decides the memory of Extract."""
    found = micrograph(facts)
    if not found:
        return None
    return micrographs.Extraction(
        x=found.x,
        y=found.y,
        box=round(facts.number("extract_size", 0)),
        particles=extracted(facts),
        processes=facts.job.resources.processes,
    )


def extracted(facts: Facts) -> int:
    """About how many particles Extract will cut out: the rows of a particle list, or the size of the coordinate files
    over that of a row that AutoPick writes."""
    path = facts.get("reextract_data_star")
    if path:
        found = facts.files.summary(path, ("rlnMicrographName",)) if facts.here(path) else None
        return max(found.rows.values(), default=0) if found else 0
    suffix = facts.line.get("coord_suffix")
    sizes = [found.size for found in facts.inputs.values() if suffix and found.path.endswith(suffix)]
    return sum(max(0, size - PICKS_HEAD) for size in sizes) // PICK


def micrograph(facts: Facts, label: str = "rlnMicrographName") -> images.Image | None:
    """The head of the first micrograph that ``--i`` names and that is on this disk."""
    path = facts.get("i")
    if not path.endswith(".star"):
        known = sorted(path for path in facts.inputs if path.endswith(".mrc"))
    else:
        known = facts.files.summary(path, (label,)).values.get(label, []) if facts.here(path) else []
    return next((head for name in known if (head := facts.head(image(name)))), None)


def half_maps(facts: Facts) -> maps.Maps | None:
    """What decides the memory of PostProcess and LocalRes."""
    head = facts.head(facts.halves)
    return maps.Maps(head.x, bool(facts.mask), facts.job.resources.processes) if head else None


def flexibility(facts: Facts) -> maps.Flexibility | None:
    """What decides the memory of relion_flex_analyse. In the job that makes them, its lists are not there yet: the
    particles are those that the refinement before it begins with."""
    bodies, path = body_masks(facts)
    head = facts.head(image(path)) if path else None
    commands = facts.job.commands if facts.particles is None else ()
    others = (Facts(facts.job, words, facts.files).particles for words in commands if words != facts.line.words)
    found = facts.particles or next(filter(None, others), None)
    return maps.Flexibility(head.x, bodies, found.count, len(found.labels)) if head and found else None


def mask(facts: Facts) -> maps.Maps | None:
    """What decides the memory of MaskCreate."""
    head = facts.head(facts.get("i"))
    changed = any(facts.number(option, 0) for option in ("extend_inimask", "width_soft_edge"))
    return maps.Maps(head.x, changed) if head else None


def _references(facts: Facts) -> int:
    """References that a STAR file or a stack of class averages names; 0 for a map."""
    path = facts.get("ref")
    if path.endswith(".star") and facts.here(path):
        found = star.summary(facts.job.project / path, path, ())
        return max(found.rows.values(), default=0)
    head = facts.head(path) if path.endswith(".mrcs") else None
    return head.z if head else 0


def body_masks(facts: Facts) -> tuple[int, str]:
    """How many bodies a MultiBody has, and the mask of one; 0 of another refinement."""
    path = facts.get("bodies") or facts.get("multibody_masks") or facts.optimiser.get("rlnBodyStarFile", "")
    if path in ("", "None") or not facts.here(path):
        return 0, ""
    found = star.summary(facts.job.project / path, path, ("rlnBodyMaskName",))
    return max(found.rows.values(), default=0), next(iter(found.values.get("rlnBodyMaskName", [])), "")


def _masks(facts: Facts, bodies: int, *, sure: bool) -> int:
    """Masks in memory: one of each body, and one more for each other body that it overlaps with, at most all
    (MlModel::initialiseBodies). No pixels are read here."""
    overlapping = sure and not facts.has("multibody_norm_overlap")
    return bodies * bodies if overlapping else bodies


def _whole(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0
