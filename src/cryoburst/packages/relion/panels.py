"""What can be drawn of a RELION job: which of its files hold it, and what a caption should say. Draws nothing.

File names that a STAR file gives are looked for in the job's own folder by their last part alone, so that a file of a
machine can't make anybody open another.
"""

from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path

from cryoburst.model.course import (
    Class,
    CtfFit,
    CtfProfile,
    Drift,
    Fsc,
    FscPanel,
    Montage,
    Panel,
    Picks,
    Slices,
)
from cryoburst.model.errors import BadInput, NotThere, NotYet
from cryoburst.model.job import Job
from cryoburst.packages.relion import course, star

LEAST = 0.01  # share of the particles below which a 2D class is not shown
MOST_CLASSES, MOST_PARTICLES, MOST_MAPS = 64, 40, 8
Drawer = Callable[[Job, float], list[Panel]]


def panels(job: Job, since: float) -> list[Panel]:
    """The job's pictures now. Raises NotYet, or NotThere for a kind of job that has none."""
    if job.kind not in DRAWERS:
        raise NotThere(f"{job.folder.partition('/')[0]} jobs have no picture", where=job.folder.rstrip("/"))
    since = 0.0 if course.goes_on(job) else since
    found = DRAWERS[job.kind](job, since)
    if not found:
        raise NotYet("there is nothing to draw yet", where=job.folder.rstrip("/"), advice="try again later")
    return found


def _classes2d(job: Job, since: float) -> list[Panel]:
    """The averages, the fullest class first."""
    models = course.model_files(job, since)
    if not models:
        return []
    number = max(models)
    found = star.first(models[number], models[number].name, ("model_general", "model_classes"))
    table, general = found["model_classes"], found["model_general"]
    return [class_averages(models[number], table, float(general.pairs.get("rlnPixelSize", "0")), f"iteration {number}")]


def class_averages(model: Path, table: star.Block, pixel: float, when: str) -> Montage:
    """The montage of the classes in a block ``model_classes`` of a model.star that lies beside its stack."""
    names, found = table.column("rlnReferenceImage"), course.classes(table)
    if not names or "@" not in names[0]:
        raise BadInput("it names no class averages", where=model.name)
    order = sorted(range(len(found)), key=lambda i: -found[i].share)
    shown = [i for i in order if found[i].share >= LEAST][:MOST_CLASSES] or order[:MOST_CLASSES]
    best = min((r for i in shown if (r := found[i].resolution)), default=None)
    note = [when, f"{len(shown)} of {len(found)} classes", *([f"best {best:.1f} Å"] if best else [])]
    return Montage(
        "2D class averages",
        " · ".join(note + ([f"{pixel:.2f} Å per pixel"] if pixel else [])),
        model.with_name(Path(names[0].partition("@")[2]).name),
        tuple(int(names[i].partition("@")[0]) - 1 for i in shown),
        tuple(_caption(found[i]) for i in shown),
    )


def _caption(one: Class) -> str:
    return f"{one.share:.1%}" + (f"   {one.resolution:.1f} Å" if one.resolution else "")


def _maps(job: Job, since: float) -> list[Panel]:
    """FSC, where there is one, and the maps of the newest iteration."""
    models = course.model_files(job, since)
    final = course.final_model(job, since)
    model = final or (models[max(models)] if models else None)
    if model is None:
        return []
    when = "the final map" if final else f"iteration {max(models)}"
    made: list[Panel] = []
    if (fsc := course.refine_fsc(job, model)) is not None:
        made.append(_fsc_panel(fsc, when))
    block = course.classes_block(job)
    table = star.first(model, model.name, (block,))[block]
    files = [model.with_name(Path(name).name) for name in table.column("rlnReferenceImage")]
    if block == course.CLASSES:
        labels = [f"class {i} · {_caption(one)}" for i, one in enumerate(course.classes(table), 1)]
    else:
        labels = [f"body {i}" for i in range(1, len(files) + 1)]
    shown = [("", files[0])] if len(files) == 1 else list(zip(labels, files, strict=False))
    more = f" · {MOST_MAPS} of {len(shown)}" if len(shown) > MOST_MAPS else ""
    if shown:
        made.append(Slices("Map" if len(shown) == 1 else "Maps", when + more, tuple(shown[:MOST_MAPS])))
    return made


def _fsc_panel(fsc: Fsc, note: str) -> FscPanel:
    title = f"Resolution {fsc.resolution:.1f} Å" if fsc.resolution else "Fourier shell correlation"
    return FscPanel(title, note, fsc)


def _postprocess(job: Job, since: float) -> list[Panel]:
    fsc = course.postprocess_fsc(job, since)
    if fsc is None:
        return []
    path = course.postprocess_star(job)
    general = star.first(path, path.name, ("general",))["general"].pairs
    factor = general.get("rlnBfactorUsedForSharpening", "")
    note = f"half maps: {fsc.resolution:.2f} Å at FSC = 0.143" if fsc.resolution else "half maps"
    made: list[Panel] = [_fsc_panel(fsc, note + (f" · B-factor {float(factor):.0f} Å²" if factor else ""))]
    map_ = course.root(job, "postprocess").with_suffix(".mrc")
    if course.own(map_, since) or map_.is_symlink():
        made.append(Slices("Map", "sharpened", (("", map_),)))
    return made


def _one_map(name: str, title: str, note: str, unit: str = "") -> Drawer:
    def draw(job: Job, since: float) -> list[Panel]:
        path = job.project / job.folder / name if name else course.root(job, "mask.mrc")
        return [Slices(title, note, (("", path),), unit)] if course.own(path, since) else []

    return draw


def _drift(job: Job, since: float) -> list[Panel]:
    """The newest micrograph, and how its movie drifted."""
    for result in reversed(course.results(job, since)):
        with suppress(BadInput):
            return [drift(result.path), Picks(result.path.stem, result.path.with_suffix(".mrc"))]
    return []


def drift(path: Path) -> Drift:
    """The track in MotionCorr's STAR file of a micrograph. Raises BadInput when it is none."""
    found = star.first(path, path.name, ("general", "global_shift"))
    general, track = found.get("general"), found.get("global_shift")
    try:
        if general is None or track is None:
            raise KeyError("global_shift")
        pixel = float(general.pairs["rlnMicrographOriginalPixelSize"])
        x, y = (
            tuple(-float(value) * pixel for value in track.column(f"rlnMicrographShift{axis}")) for axis in ("X", "Y")
        )
        return Drift(path.stem, x, y, float(general.pairs["rlnMicrographDoseRate"]))
    except (KeyError, ValueError):
        raise BadInput("this is not one of MotionCorr's STAR files", where=str(path)) from None


def _ctf(job: Job, since: float) -> list[Panel]:
    for result in reversed(course.results(job, since)):
        with suppress(BadInput):
            return [ctf_fit(result.path)]
    return []


def ctf_fit(image: Path) -> CtfFit:
    """What CTFFIND wrote beside its picture of a fit, X.ctf: X.txt, and X_avrot.txt where it is there. BadInput."""
    report = image.with_suffix(".txt")
    try:
        lines = report.read_text("utf-8", "replace").splitlines()
        pixel = float(next(line for line in lines if "Pixel size" in line).split()[3])
        _, u, v, azimuth, _, score, resolution = map(float, lines[-1].split()[:7])
    except (OSError, ValueError, IndexError, StopIteration):
        raise BadInput("this is not what CTFFIND reports", where=str(report)) from None
    name = image.stem.removesuffix("_PS")
    return CtfFit(name, image, pixel, (u, v), azimuth, score, resolution, _profile(image))


def _profile(image: Path) -> CtfProfile | None:
    """Lines 1, 3, 4 and 5 of X_avrot.txt; None without one."""
    with suppress(OSError, ValueError):
        text = image.with_name(f"{image.stem}_avrot.txt").read_text("utf-8", "replace")
        rows = [tuple(map(float, line.split())) for line in text.splitlines() if not line.startswith("#")]
        if len(rows) >= 5 and len({len(row) for row in rows[:5]}) == 1:
            return CtfProfile(rows[0], rows[2], rows[3], rows[4])
    return None


def _picks(job: Job, since: float) -> list[Panel]:
    """The picks of the newest micrograph that is at home."""
    suffix = f"_{_value(job, '--pickname') or 'autopick'}.star"
    try:
        inputs = job.project / _value(job, "--i")
        names = star.summary(inputs, inputs.name, ("rlnMicrographName",)).values.get("rlnMicrographName", [])
    except BadInput:
        names = []
    by_stem = {Path(name).stem: job.project / name for name in names if ".." not in name.split("/")}
    for result in reversed(course.results(job, since)):
        micrograph = by_stem.get(result.path.name.removesuffix(suffix))
        if micrograph is not None:
            return [picks(result.path, micrograph, diameter(job))]
    return []


def picks(path: Path, micrograph: Path, wide: float) -> Picks:
    """The coordinates in AutoPick's STAR file of a micrograph; circles of ``wide`` Å. Raises BadInput."""
    table = star.blocks(path, path.name)[0]
    try:
        x, y = (tuple(map(float, table.column(f"rlnCoordinate{axis}"))) for axis in ("X", "Y"))
    except ValueError:
        raise BadInput("its coordinates are no numbers", where=path.name) from None
    return Picks(micrograph.stem, micrograph, x, y, wide)


def diameter(job: Job) -> float:
    """What is known of the particles' size from an AutoPick's command, Å."""
    for option in ("--LoG_diam_max", "--particle_diameter", "--topaz_particle_diameter", "--min_distance"):
        with suppress(ValueError):
            if (value := float(_value(job, option) or 0)) > 0:
                return value
    return 200.0


def _value(job: Job, option: str) -> str:
    for words in job.commands:
        if option in words[:-1]:
            return words[words.index(option) + 1]
    return ""


def _particles(job: Job, since: float) -> list[Panel]:
    """The first particles of the newest micrograph."""
    for result in reversed(course.results(job, since)):
        stack = result.path.with_name(result.path.name.removesuffix("_extract.star") + ".mrcs")
        with suppress(BadInput):
            rows = sum(len(b.rows) for b in star.blocks(result.path, result.path.name) if b.name in ("", "images"))
            if rows:
                places = tuple(islice(range(rows), MOST_PARTICLES))
                return [Montage(f"Particles of {stack.stem}", f"{len(places)} of {rows}", stack, places)]
    return []


DRAWERS: dict[str, Drawer] = {
    "relion.motioncorr": _drift,
    "relion.ctffind": _ctf,
    "relion.autopick": _picks,
    "relion.extract": _particles,
    "relion.class2d": _classes2d,
    "relion.initialmodel": _maps,
    "relion.class3d": _maps,
    "relion.refine3d": _maps,
    "relion.multibody": _maps,
    "relion.postprocess": _postprocess,
    "relion.maskcreate": _one_map("", "Mask", "from 0 (outside) to 1"),
    "relion.localres": _one_map("relion_locres.mrc", "Local resolution", "", "Å"),
}
