"""One rule per program: which options and STAR columns it opens. See ``closure`` for the words used here.

"None" in an optimiser means no file. Where a rule leaves a column out, strace showed that the program never opens it.
"""

import re
from collections.abc import Callable

from cryoburst.model.errors import BadInput
from cryoburst.packages.relion import star
from cryoburst.packages.relion.closure import NONE, Line, expand, image
from cryoburst.packages.relion.external import everything, external

PIPELINE_NAME = re.compile(r"^[^/]+/job\d{3,}/")
HALF = re.compile(r"half1")


def import_(line: Line) -> None:
    """Movies and micrographs are only listed; any other node is copied, so it is read."""
    pattern = line.need_word("i")
    where = line.by("i")
    names = expand(pattern, line.files.project, where) if any(c in pattern for c in "*?[") else [pattern]
    if not names:
        raise BadInput(f"no file matches {pattern}", where=where)
    listed = line.has("do_movies") or line.has("do_micrographs")
    for name in names:
        line.files.add(name, where, listed=listed)
    line.take("optics_group_mtf", "mtf")


def motioncorr(line: Line) -> None:
    """Movies, gain and defects."""
    line.follow_input("rlnMicrographMovieName")
    line.take("gainref", "gain", "defect_file")


def ctffind(line: Line) -> None:
    """Power spectra with --use_given_ps, else micrographs; nothing else that the STAR file names."""
    if not line.need_word("i").endswith(".star"):
        line.follow_input()
        return
    source = line.need("i")
    labels = line.summary(source, ("rlnTomoTiltSeriesStarFile",)).labels
    stars = line.follow(source, "rlnTomoTiltSeriesStarFile") if "rlnTomoTiltSeriesStarFile" in labels else [source]
    for path in stars:
        if line.has("use_given_ps"):
            line.follow(path, "rlnCtfPowerSpectrum")
        elif line.has("use_noDW"):
            line.follow(path, "rlnMicrographNameNoDW")
        else:
            line.follow(path, "rlnMicrographName")


def autopick(line: Line) -> None:
    """Micrographs, and references where picking uses them."""
    line.follow_input("rlnMicrographName")
    line.take("topaz_model", "topaz_train_picks", "topaz_train_parts")
    references(line, "ref")
    if (parts := line.get("topaz_train_parts")) or (parts := line.get("topaz_train_picks")):
        coordinates(line, parts)


def references(line: Line, option: str) -> None:
    """A map, a stack, or a STAR file of them."""
    if (value := line.get(option)) in NONE:
        return
    path = line.files.add(image(value), line.by(option))
    if path.endswith(".star"):
        labels = ("rlnReferenceImage", "rlnImageName", "rlnMaskName")
        line.follow(path, *labels, required=False)


def coordinates(line: Line, source: str) -> None:
    """A coordinate list of 4.0 and 5.0: micrograph and coordinate file in every row; only the latter is opened."""
    if source in NONE or not line.files.exists(source):
        return
    line.follow(source, "rlnMicrographCoordinates", required=False)


def extract(line: Line) -> None:
    """Micrographs that have coordinates, and the coordinate files, which no STAR file of 3.1 names."""
    source = line.need("i")
    if line.get("reextract_data_star"):
        data = line.need("reextract_data_star")
        used = line.summary(data, ("rlnMicrographName",)).values.get("rlnMicrographName", [])
        wanted = {pipeline_name(name) for name in used}
        for name in line.summary(source, ("rlnMicrographName",)).values.get("rlnMicrographName", []):
            if pipeline_name(name) in wanted:
                line.files.add(name, f"{source}, column rlnMicrographName")
        return
    names = line.summary(source, ("rlnMicrographName",)).values
    if "rlnMicrographName" not in names:
        line.follow(source, "rlnMicrographName")  # says what is wrong
        return
    of = coordinates_of(line)
    found = 0
    for name in names["rlnMicrographName"]:
        if path := of(name):
            found += 1
            line.files.add(path, line.by("coord_suffix" if not line.get("coord_list") else "coord_list"))
            line.files.add(name, f"{source}, column rlnMicrographName")
    if not found:
        raise BadInput(
            "none of the micrographs has a coordinate file" if names["rlnMicrographName"] else "it has no rows",
            where=source,
        )


def pipeline_name(name: str) -> str:
    """A path without the job folder in front: what RELION compares, and appends to the coordinate folder."""
    return PIPELINE_NAME.sub("", name)


def stem(name: str) -> str:
    """A name up to its last dot, as RELION cuts it."""
    return name.rpartition(".")[0] or name


def coordinates_of(line: Line) -> Callable[[str], str]:
    """The coordinate file of a micrograph; empty when it has none."""
    return _listed_coordinates(line) if line.get("coord_list") else _suffixed_coordinates(line)


def _suffixed_coordinates(line: Line) -> Callable[[str], str]:
    folder, suffix = line.get("coord_dir"), line.get("coord_suffix")

    def of(micrograph: str) -> str:
        if folder in ("", "ASINPUT"):
            path = stem(micrograph) + suffix
        else:
            path = folder + stem(pipeline_name(micrograph)) + suffix
        return path if line.files.exists(path) else ""

    return of


def _listed_coordinates(line: Line) -> Callable[[str], str]:
    path = line.need("coord_list")
    found = star.block(line.files.project / path, path, "coordinate_files") if line.files.exists(path) else None
    pairs = (
        dict(zip(found.column("rlnMicrographName"), found.column("rlnMicrographCoordinates"), strict=True))
        if found
        else {}
    )
    return lambda micrograph: pairs.get(micrograph, "")


def particles(line: Line, path: str, *more: str) -> None:
    """Stacks of a particle list; never the micrographs that it names. 3D CTF images of subtomograms too.

    ``more`` are further columns to follow in the same pass.
    """
    if not path.endswith(".star"):
        return
    line.read_particles(path, *more)
    line.follow(path, "rlnImageName", optional=("rlnCtfImage", *more))


def refine(line: Line) -> None:
    """Class2D, Class3D, Refine3D, InitialModel, MultiBody."""
    line.take("solvent_mask", "solvent_mask2", "lowpass_mask", "tau", "local_symmetry", "fourier_mask")
    if line.get("local_symmetry"):
        line.follow(line.get("local_symmetry"), "rlnMaskName", required=False)
    if line.get("multibody_masks"):
        bodies = line.need("multibody_masks")
        line.follow(bodies, "rlnBodyMaskName")
        line.follow(bodies, "rlnBodyReferenceName", required=False)
    if line.get("continue"):
        optimiser(line, line.need("continue"))
        line.unread |= {"i", "ref", "ios"}  # the optimiser's own are taken
        return
    if line.get("ios"):
        optimisation_set(line, line.need("ios"))
    else:
        particles(line, line.need("i"))
    references(line, "ref")


def optimiser(line: Line, path: str, images: bool = True) -> None:
    """An optimiser names model (two of them with half sets), data and sampling; the model names the maps."""
    line.follow(path, "rlnExperimentalDataStarFile", "rlnOrientSamplingStarFile")
    line.follow(path, "rlnSolventMaskName", "rlnSolventMask2Name", "rlnLowpassMask", required=False)
    for bodies in line.follow(path, "rlnBodyStarFile", required=False):  # of a MultiBody job
        line.follow(bodies, "rlnBodyMaskName", "rlnBodyReferenceName", required=False)
    for model in line.follow(path, "rlnModelStarFile", "rlnModelStarFile2", required=False):
        model_maps(line, model)
    if images:
        for data in line.summary(path, ("rlnExperimentalDataStarFile",)).values.get("rlnExperimentalDataStarFile", []):
            particles(line, data)
    line.follow(path, "rlnTomogramsFile", "rlnTomoTomogramsFile", "rlnTomoTrajectoriesFile", required=False)


def model_maps(line: Line, model: str) -> None:
    """The maps and masks of a model.star."""
    line.follow(
        model,
        "rlnReferenceImage",
        "rlnSGDGradientImage",
        "rlnGradMoment1",
        "rlnBodyMaskName",
        "rlnBodyReferenceImage",
        required=False,
    )


def postprocess(line: Line) -> None:
    """The first half map implies the second. Local resolution reads the same files."""
    first = line.need("i")
    if line.get("i2"):
        line.need("i2")
    else:
        line.files.add(HALF.sub("half2", first, count=1), f"{line.by('i')}, which implies the second half")
    line.take("mask")
    if line.get("mtf").endswith(".star"):
        line.need("mtf")


def reference_maps(line: Line) -> None:
    """Half maps and mask for CtfRefine and Polish, from options or from postprocess.star."""
    if line.get("f"):
        post = line.need("f")
        if not line.get("m1"):
            line.follow(post, "rlnUnfilteredMapHalf1", "rlnUnfilteredMapHalf2")
        if not line.get("mask"):
            line.follow(post, "rlnMaskName", required=False)
    line.take("m1", "m2", "mask")


def ctf_refine(line: Line) -> None:
    """Stacks, half maps, mask, and the detector's MTF."""
    particles(line, line.need("i"), "rlnMtfFileName")
    reference_maps(line)


def motion_refine(line: Line) -> None:
    """Movies of the micrographs that have particles, through the STAR file of each; never stacks or micrographs."""
    source = line.need("i")
    line.read_particles(source, "rlnMtfFileName", "rlnMicrographName")
    line.follow(source, "rlnMtfFileName", required=False)
    reference_maps(line)
    line.take("params_file", "bfactors")
    used = line.summary(source, ("rlnMicrographName",)).values.get("rlnMicrographName", [])
    wanted = {pipeline_name(name) for name in used}
    corrected = line.need("corr_mic")
    if corrected not in line.files.found:
        return
    table = star.block(line.files.project / corrected, corrected, "micrographs")
    names = table.column("rlnMicrographName") if table else []
    details = table.column("rlnMicrographMetadata") if table else []
    if len(details) != len(names) or not names:
        raise BadInput(f"column rlnMicrographMetadata is missing or empty, which {line.name} reads", where=corrected)
    for name, detail in zip(names, details, strict=True):
        if pipeline_name(name) in wanted:
            line.files.add(detail, f"{corrected}, column rlnMicrographMetadata")
            line.follow(detail, "rlnMicrographMovieName")
            line.follow(detail, "rlnMicrographGainName", "rlnMicrographDefectFile", required=False)


def star_handler(line: Line) -> None:
    """The STAR files themselves (several in one pair of quotes); images only when their statistics are wanted."""
    for name in line.need_word("i").split():
        path = line.files.add(name, line.by("i"))
        if line.has("discard_on_stats"):
            line.follow(path, line.get("discard_label") or "rlnImageName")


def subtract(line: Line) -> None:
    """The optimiser's model and particles, or another particle list, and the mask."""
    if line.get("revert"):  # of the original images it reads one header per optics group
        path = line.need("revert")
        if path in line.files.found:
            line.files.need_here(path)
            for name in star.firsts(line.files.project / path, path, "rlnImageOriginalName", "rlnOpticsGroup"):
                line.files.add(image(name), f"{path}, column rlnImageOriginalName")
        return
    optimiser(line, line.need("i"), images=not line.get("data"))
    if line.get("data"):
        particles(line, line.need("data"))
    line.take("mask")


def flex_analyse(line: Line) -> None:
    """Orientations, model, and bodies with their masks; images are not opened."""
    line.take("data")
    if line.get("bodies"):
        line.follow(line.need("bodies"), "rlnBodyMaskName")
    if line.get("model"):
        model_maps(line, line.need("model"))


def class_ranker(line: Line) -> None:
    """The optimiser's model and class averages, and the particle list (only its metadata)."""
    optimiser(line, line.need("opt"), images=False)


def images(line: Line) -> None:
    """Every option that names a particle list is followed to its images."""
    for word in line.words[1:]:
        if word.endswith(".star") and line.files.exists(word) and not word.startswith(line.files.own):
            path = line.files.add(word, line.name)
            line.follow(path, "rlnImageName", "rlnReferenceImage", required=False)


def optimisation_set(line: Line, path: str) -> None:
    """The STAR files of a tomography set (4.0, 5.0) and what their rows name."""
    for label in ("rlnTomoTomogramsFile", "rlnTomoTrajectoriesFile", "rlnTomoManifoldsFile"):
        for name in line.follow(path, label, required=False):
            tilt_series_of(line, name)
    for name in line.follow(path, "rlnTomoParticlesFile", required=False):
        line.follow(name, "rlnImageName", "rlnCtfImage", required=False)
    line.follow(path, *(f"rlnTomoReference{kind}File" for kind in ("Map1", "Map2", "Mask", "Fsc")), required=False)


def tilt_series_of(line: Line, path: str) -> None:
    """A list of tomograms: the STAR file of each tilt series and the images that it names."""
    line.follow(path, "rlnTomoTiltSeriesName", "rlnEtomoDirectiveFile", required=False)
    for series in line.follow(path, "rlnTomoTiltSeriesStarFile", required=False):
        line.follow(series, "rlnMicrographName", required=False)


def tilt_series(line: Line) -> None:
    """Programs that take a list of tilt series or tomograms."""
    for option in ("i", "t", "tilt-series-star-file", "tomogram-file", "tilt-series-star", "tomograms-star"):
        if line.get(option).endswith(".star"):
            tilt_series_of(line, line.need(option))


def tomo(line: Line) -> None:
    """Programs on pseudo-subtomograms: an optimisation set, or particles and tomograms apart."""
    if line.get("i"):
        optimisation_set(line, line.need("i"))
    if line.get("t"):
        tilt_series_of(line, line.need("t"))
    line.take("p", "mot", "man", "ref1", "ref2", "mask", "fsc")


def generic(line: Line) -> None:
    """A program without a rule of its own: every STAR file that it names is followed to whatever exists."""
    for word in line.words[1:]:
        if word.endswith(".star") and line.files.exists(word) and not word.startswith(line.files.own):
            everything(line, word)


def options(line: Line) -> None:
    """Only the files that the options name, which ``closure.rest`` takes; those that are gone are named."""
    line.take("i", "and", "or", "and_not", "or_not", "mask")


RULES: dict[str, Callable[[Line], None]] = {
    "import": import_,
    "motioncorr": motioncorr,
    "ctffind": ctffind,
    "autopick": autopick,
    "extract": extract,
    "refine": refine,
    "postprocess": postprocess,
    "ctf_refine": ctf_refine,
    "motion_refine": motion_refine,
    "star_handler": star_handler,
    "subtract": subtract,
    "flex_analyse": flex_analyse,
    "class_ranker": class_ranker,
    "images": images,
    "tilt_series": tilt_series,
    "tomo": tomo,
    "tomo_import": generic,
    "generic": generic,
    "external": external,
    "options": options,
}
