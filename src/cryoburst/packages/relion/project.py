"""Where a job lies in its RELION project, and what its job.star says. Reads small files only; changes nothing."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cryoburst.model.errors import BadInput
from cryoburst.packages.relion import star
from cryoburst.packages.relion.jobtypes import known_label, label_of

PIPELINE = "default_pipeline.star"
FOLDER = re.compile(r"[^/]+/job\d{3,}/")
LARGEST = 1 << 24  # bytes of a file that is read whole


@dataclass(frozen=True)
class JobStar:
    """What job.star says: the type's label, RELION's version (empty when its form is unknown) and the options."""

    label: str
    version: str
    options: Mapping[str, str]


def locate(target: Path, cwd: Path) -> tuple[Path, str, Path]:
    """The project root, the job's folder in it (with its slash), and the target made absolute.

    ``target`` is a job folder, an alias of one, or a file in one. Raises BadInput.
    """
    start = Path(os.path.normpath(cwd / target))
    if not os.path.lexists(start):
        raise BadInput("there is no such job folder or submission script", where=str(target), advice=_meant(start, cwd))
    folder = start if start.is_dir() else start.parent
    root = next((p for p in folder.parents if (p / PIPELINE).is_file()), None)
    if root is None and (folder / PIPELINE).is_file():
        raise BadInput(
            "this is not a job's folder" if start.is_dir() else "this is not a job's script",
            where=str(target),
            advice="name a job's folder, such as Class2D/job012, or the run_submit.script in it",
        )
    if root is None:
        raise BadInput(
            f"not a RELION project: no {PIPELINE} above it",
            where=str(target),
            advice="run this in the folder in which you start RELION",
        )
    try:
        root, real = root.resolve(strict=True), folder.resolve(strict=True)  # an alias is a link to its job
    except (OSError, RuntimeError):
        raise BadInput("the job folder is a broken link or a loop of links", where=str(target)) from None
    if not real.is_relative_to(root):
        raise BadInput("the job folder lies outside its project", where=str(target))
    name = real.relative_to(root).as_posix() + "/"
    if not FOLDER.fullmatch(name):
        raise BadInput("this is not the folder of a job, such as Class2D/job012/", where=name)
    return root, name, real if start.is_dir() else real / start.name


def _meant(start: Path, cwd: Path) -> str:
    """A question that names what is there and is written nearly like this path; empty when nothing is."""
    import difflib

    at, rest = start.parent, [start.name]
    while not at.is_dir() and at != at.parent:
        at, rest = at.parent, [at.name, *rest]
    try:
        near = difflib.get_close_matches(rest[0], [entry.name for entry in at.iterdir()], 1)
    except OSError:
        return ""
    if not near:
        return ""
    found = at / near[0]
    found = found.joinpath(*rest[1:]) if found.joinpath(*rest[1:]).exists() else found
    return f"did you mean {os.path.relpath(found, cwd) if found.is_relative_to(cwd) else found}?"


def read_job_star(root: Path, folder: str) -> JobStar:
    """What ``job.star`` of a job says; 3.1 writes a number for the type, 4.0 and 5.0 a label. Raises BadInput."""
    path = root / folder / "job.star"
    if not path.is_file():
        raise BadInput("the job has no job.star", where=folder, advice="press Run in RELION's window once more")
    name = f"{folder}job.star"
    return _told(read_small(path, name), name)


@lru_cache(maxsize=64)  # a running job's is asked for whenever outputs come home
def _told(text: bytes, name: str) -> JobStar:
    blocks = {b.name: b for b in star.blocks(text, name)}
    job = blocks.get("job")
    if job is None:
        raise BadInput("there is no data_job block", where=name)
    options = blocks.get("joboptions_values")
    variables = options.column("rlnJobOptionVariable") if options else []
    values = options.column("rlnJobOptionValue") if options else []
    number = next(iter(job.column("rlnJobType")), None)
    written = next(iter(job.column("rlnJobTypeLabel")), None)
    if written is not None:
        label = known_label(written)
        version = {"30001": "4.0", "50001": "5.0"}.get(_format(text), "")
    elif number is not None:
        label = label_of(int(number)) if number.isdigit() else None
        version = "3.1"
    else:
        raise BadInput("job.star names no type of job (column rlnJobType or rlnJobTypeLabel)", where=name)
    if label is None:
        raise BadInput(f"RELION has no job type {written or number}", where=name)
    return JobStar(label, version, dict(zip(variables, values, strict=True)))


def read_small(path: Path, name: str) -> bytes:
    """A file that a person or RELION's window writes. Raises BadInput when it can't be read, or is none such."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise BadInput(f"it can't be read: {error.strerror}", where=name) from None
    if len(data) > LARGEST:
        raise BadInput("it is larger than 16 MB, so RELION did not write it", where=name)
    return data


def _format(text: bytes) -> str:
    """The number in the first ``# version`` line, which RELION raises with its format; empty without one."""
    match = re.search(rb"^# version (\d+)", text[:4096], re.MULTILINE)
    return match.group(1).decode() if match else ""


def relative(word: str, project: Path, where: str) -> str:
    """A path that a command or a STAR file names, as a plain path inside the project. Raises BadInput if it leaves."""
    if word.startswith("/") or ".." in word.split("/"):
        inside = Path(os.path.normpath(project / word)).is_relative_to(project)
        advice = "name it relative to the project, without '..'" if inside else "name a link to it inside the project"
        wrong = "is an absolute path, of this computer only"
        if not word.startswith("/"):
            wrong = "goes up with '..', so it may leave the project"
        raise BadInput(f"{word} {wrong}", where=where, advice=advice)
    if "\0" in word:
        raise BadInput("a path holds a NUL byte", where=where)
    return os.path.normpath(word)
