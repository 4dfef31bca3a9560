"""How a RELION job goes, from the files that it writes: iterations from model.star, micrographs from their own results.

Only reads, and only small files or the heads of large ones. A file that is missing, half of a mended project or of
another version makes less to show, never an error: a job must not fail to be shown because of one odd file.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryoburst.model.course import Class, Course, Curve, Fsc, Iteration, Micrographs
from cryoburst.model.errors import BadInput
from cryoburst.model.job import Job
from cryoburst.packages.relion import parts, star

MODEL = re.compile(r"run(?:_ct(\d+))?_it(\d+)(?:_half1)?_model\.star")  # Refine3D writes one for each half
FINAL = "run_model.star"  # of a Refine3D or MultiBody that ended; run_ctN_model.star after a Continue in the window
# What a job that takes micrographs one after the other writes for each, in a folder below its own
RESULTS = {
    "relion.motioncorr": ".star",
    "relion.ctffind": ".ctf",
    "relion.autopick": ".star",
    "relion.extract": "_extract.star",
}
BODIES = "model_bodies"
CLASSES = "model_classes"
CLOSE = 1e-3  # of a frequency: it is written with six digits
RECENT = 100  # micrographs by which the present pace is told


@dataclass(frozen=True)
class Result:
    """A micrograph that is done: the file that says so, and when it was written (s since the epoch)."""

    path: Path
    time: float


def course(job: Job, since: float) -> Course:
    """What the job's files say; those written before ``since`` are of an earlier run and say nothing."""
    since = 0.0 if goes_on(job) else since
    if job.kind in RESULTS:
        return Course(micrographs=_micrographs(job, since))
    if job.kind == "relion.postprocess":
        return Course(fsc=postprocess_fsc(job, since))
    models = model_files(job, since)
    table = classes_block(job)
    found = [each for number, path in sorted(models.items()) if (each := _iteration(number, path, table))]
    last = final_model(job, since) or (models[max(models)] if models else None)
    return Course(tuple(found), total_iterations(job), refine_fsc(job, last) if last else None)


def goes_on(job: Job) -> bool:
    """Whether the job goes on with what an earlier one left in its folder: then all of it is its own."""
    return bool(job.restart) or any("--only_do_unfinished" in words for words in job.commands)


def own(path: Path, since: float) -> bool:
    """Whether a file is there and of this run."""
    with suppress(OSError):
        return path.stat().st_mtime >= since
    return False


# ---------------------------------------------------------------------------------------------------- iterations


def model_files(job: Job, since: float) -> dict[int, Path]:
    """The model.star of each finished iteration, from 1; what a Continue replaced is left out."""
    by_start: dict[int, dict[int, Path]] = {}
    with suppress(OSError):
        for entry in os.scandir(job.project / job.folder):
            found = MODEL.fullmatch(entry.name)
            path = Path(entry.path)
            if found and int(found[2]) > 0 and own(path, since):
                by_start.setdefault(int(found[1] or 0), {})[int(found[2])] = path
    models: dict[int, Path] = {}
    for start, theirs in sorted(by_start.items()):  # run_ct10_… goes on after iteration 10 of those before
        models = {number: path for number, path in models.items() if number <= start} | theirs
    return models


def final_model(job: Job, since: float) -> Path | None:
    """The model.star without a number that a Refine3D writes at its end; None before."""
    folder = job.project / job.folder
    finals = [folder / FINAL, *folder.glob("run_ct*_model.star")]
    finals = [path for path in finals if not MODEL.fullmatch(path.name) and own(path, since)]
    return max(finals, key=lambda path: path.stat().st_mtime, default=None)


def total_iterations(job: Job) -> int:
    """How many iterations the command asks for; 0 when it ends by itself."""
    for words in job.commands:
        if number := _number(words, "--iter"):
            return number
        phases = [_number(words, f"--sgd_{phase}_iter") for phase in ("ini", "inbetween", "fin")]  # 3.1's InitialModel
        if all(phases):
            return sum(phases)
    return 0


def _number(words: tuple[str, ...], option: str) -> int:
    after = words[words.index(option) + 1 : words.index(option) + 2] if option in words else ()
    return int(after[0]) if after and after[0].isdigit() else 0


def classes_block(job: Job) -> str:
    """The block of a model.star that lists its classes, or the bodies of a MultiBody."""
    return "model_bodies" if job.kind == "relion.multibody" else CLASSES


def _iteration(number: int, path: Path, block: str) -> Iteration | None:
    try:
        found = star.first(path, path.name, ("model_general", block))
    except BadInput:
        return None
    general, table = found.get("model_general"), found.get(block)
    if general is None or table is None:
        return None
    found_classes = classes(table) if block == CLASSES else ()
    return Iteration(number, _float(general.pairs.get("rlnCurrentResolution", "")), found_classes)


def classes(table: star.Block) -> tuple[Class, ...]:
    """The classes that a block lists."""
    shares, resolutions = table.column("rlnClassDistribution"), table.column("rlnEstimatedResolution")
    resolutions = resolutions or [""] * len(shares)
    return tuple(Class(_float(s) or 0.0, _float(r)) for s, r in zip(shares, resolutions, strict=True))


def _float(text: str) -> float | None:
    """A number, as RELION writes it; None for inf (not known yet) and 999 Å and more, which stand for the same."""
    with suppress(ValueError):
        value = float(text)
        return value if abs(value) < 999 else None
    return None


# ---------------------------------------------------------------------------------------------------- FSC


def refine_fsc(job: Job, path: Path) -> Fsc | None:
    """The FSC between the halves of a Refine3D or MultiBody, as its model.star has it; None for other jobs."""
    try:
        if job.kind == "relion.refine3d":
            names = {"model_class_1": "half maps"}
        elif job.kind == "relion.multibody":
            bodies = star.first(path, path.name, (BODIES,)).get(BODIES)
            count = len(bodies.rows) if bodies else 1
            names = {f"model_body_{n}": f"half maps of body {n}" for n in range(1, count + 1)}
        else:
            return None
        found = star.first(path, path.name, ("model_general", *names))
    except BadInput:
        return None
    general = found.get("model_general")
    if general is None:
        return None
    resolution = _float(general.pairs.get("rlnCurrentResolution", ""))
    each = [_fsc(found[n], {"rlnGoldStandardFsc": label}, resolution) for n, label in names.items() if n in found]
    curves = [(fsc.frequency, fsc.curves[0]) for fsc in each if fsc is not None]
    if not curves:
        return None
    frequency = curves[0][0]
    alike = [curve for own, curve in curves if own == frequency]
    # A multi-body refinement tells the resolution of its best body.
    at = next((n for n, value in enumerate(frequency) if resolution and value * resolution > 1 - CLOSE), -1)
    alike.sort(key=lambda curve: -curve.values[at])
    return Fsc(frequency, tuple(alike), resolution)


def postprocess_fsc(job: Job, since: float) -> Fsc | None:
    """The curves of a PostProcess; None when there is none yet."""
    path = postprocess_star(job)
    if not own(path, since):
        return None
    try:
        found = {b.name: b for b in star.blocks(path, path.name)}
    except BadInput:
        return None
    general, table = found.get("general"), found.get("fsc")
    if general is None or table is None:
        return None
    names = {
        "rlnFourierShellCorrelationCorrected": "corrected for the mask",
        "rlnFourierShellCorrelationMaskedMaps": "masked",
        "rlnFourierShellCorrelationUnmaskedMaps": "unmasked",
    }
    return _fsc(table, names, _float(general.pairs.get("rlnFinalResolution", "")))


def postprocess_star(job: Job) -> Path:
    """Where a PostProcess writes what it found."""
    return root(job, "postprocess").with_suffix(".star")


def root(job: Job, otherwise: str) -> Path:
    """What ``--o`` says that the names of the outputs begin with, in the job's folder whatever it says."""
    for words in job.commands:
        if "--o" in words[:-1]:
            return job.project / job.folder / (Path(words[words.index("--o") + 1]).name or otherwise)
    return job.project / job.folder / otherwise


def _fsc(table: star.Block, names: dict[str, str], resolution: float | None) -> Fsc | None:
    """Curves of a table with the column rlnResolution (1/Å); None when it has none of them."""
    frequency = table.column("rlnResolution")
    try:
        curves = [Curve(label, tuple(map(float, table.column(name)))) for name, label in names.items()]
        curves = [each for each in curves if each.values]
        return Fsc(tuple(map(float, frequency)), tuple(curves), resolution) if curves and frequency else None
    except ValueError:
        return None


# ---------------------------------------------------------------------------------------------------- micrographs


def results(job: Job, since: float) -> list[Result]:
    """The micrographs that are done, the oldest first."""
    since = 0.0 if goes_on(job) else since
    ending = RESULTS[job.kind]
    found: list[Result] = []
    for path in _below(job.project / job.folder):
        if path.endswith(ending):
            with suppress(OSError):
                time = os.stat(path).st_mtime  # noqa: PTH116 - there may be tens of thousands
                if time >= since:
                    found.append(Result(Path(path), time))
    return sorted(found, key=lambda each: (each.time, each.path))


def _below(folder: Path) -> Iterator[str]:
    """The files in the folders of a folder, not those in itself."""
    for top, _, names in os.walk(folder):
        if top != str(folder):
            yield from (f"{top}/{name}" for name in names)


def _micrographs(job: Job, since: float) -> Micrographs:
    done = results(job, since)
    recent = done[-RECENT:]
    span = recent[-1].time - recent[0].time if recent else 0.0
    pace = 60 * (len(recent) - 1) / span if span > 0 else None
    return Micrographs(parts.made(job, 0.0 if goes_on(job) else since), parts.count(job), pace)
