"""RELION's jobs that take one movie or micrograph after the other: how they are split, and what the join needs.

A part is the same command on a list with its own rows alone, under the list's own name. The join is the same command
with ``--only_do_unfinished``, where everything that was made is there: RELION itself then writes the joined files, and
takes what is missing. Seen with strace on 3.1.3 (docs/relion.md); the names of outputs are those of its sources.
"""

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from cryoburst.model.errors import BadInput
from cryoburst.model.job import Job, Resources
from cryoburst.model.split import Cut, block
from cryoburst.packages.relion import lists, rules, unfinished
from cryoburst.packages.relion.closure import Line
from cryoburst.packages.relion.files import Files
from cryoburst.packages.relion.jobtypes import program

UNFINISHED = f"--{unfinished.OPTION}"
# A part's pages would be drawn for nothing, for the join draws all: with this Ghostscript tells its use, and ends.
# Seen with 10.00, which reads the variable before its command line.
NO_PAGES = {"GS_OPTIONS": "-h"}
# Written once for all micrographs, at the top of the job folder. Gctf's own logs are numbered by process, not by part.
JOINED = re.compile(
    r"(corrected_micrographs|micrographs_ctf)(_\w+\.eps|\.star)|logfile\.pdf.*|summary\.star|particles\.star"
    r"|(all|histogram)_(FOMs|nr_?parts)\.eps|coords_suffix_\w+\.star|autopick\.star|gctf\d*\.(out|err)|RELION_.*"
)


@dataclass(frozen=True)
class Taker:
    """A program that takes one row of its list after the other: a micrograph, or the movie of one.

    ``seconds`` is what one row takes on one core and ``seconds_per_gb`` what a GB of it adds: guesses for
    ``--parts auto``. With an option of ``refused`` rows depend on one another.
    """

    seconds: float
    seconds_per_gb: float = 0.0
    refused: tuple[str, ...] = ()


TAKERS = {
    "relion_run_motioncorr": Taker(30.0, 60.0),
    "relion_run_ctffind": Taker(20.0),
    "relion_autopick": Taker(10.0, refused=("--topaz_train", "--read_fom_maps")),
    "relion_preprocess": Taker(2.0),
}
GLOBAL = {
    "relion.class2d": "every iteration compares all its particles",
    "relion.class3d": "every iteration compares all its particles",
    "relion.initialmodel": "every iteration compares all its particles",
    "relion.refine3d": "every iteration compares all its particles",
    "relion.multibody": "every iteration compares all its particles",
    "relion.polish": "its B-factors come from all micrographs together",
}


def cut(job: Job) -> Cut:
    """See ``Package.cut``."""
    if refusal := _refusal(job):
        return Cut(0, refusal=refusal)
    taker, rows = _taker(job), _rows(job)
    if not rows.names:
        return Cut(0, refusal=f"{_list_name(job)} has no rows")
    first = job.project / rows.names[0]
    size = first.stat().st_size if first.is_file() else 0
    each = taker.seconds + taker.seconds_per_gb * size / 1e9
    return Cut(len(rows.names), "micrographs", each * len(rows.names))


def part(job: Job, part: int, parts: int) -> Job:
    """See ``Package.part``."""
    if part:
        return replace(job, part=part, parts=parts, environment=job.environment | NO_PAGES)
    words = tuple(w if UNFINISHED in w or w[0] not in _named(job) else (*w, UNFINISHED) for w in job.commands)
    least = Resources(gpus=job.resources.gpus)  # next to nothing is left to do
    return replace(job, parts=parts, script=_go_on(job), commands=words, resources=least)


def joined(name: str) -> bool:
    """See ``Package.joined``."""
    return JOINED.fullmatch(name) is not None


def unmade(job: Job) -> list[str]:
    """See ``Package.unmade``."""
    try:
        if _refusal(job):
            return []
        rows = names(job)
        made = _made(job, rows, 0.0)
        return [name for name in rows if name not in made]
    except (OSError, BadInput):
        return []


def count(job: Job) -> int:
    """How many rows the job or its part takes; 0 when it takes none one after the other, or its list is gone."""
    try:
        if _refusal(job):
            return 0
        return len(names(job))
    except (OSError, BadInput):
        return 0


def made(job: Job, since: float) -> int:
    """Of how many of these rows all outputs are at home; those from before ``since`` are an earlier run's."""
    try:
        rows = names(job)
        done = _made(job, rows, since)
        return sum(name in done for name in rows)
    except (OSError, BadInput):
        return 0


def _made(job: Job, rows: list[str], since: float) -> dict[str, list[str]]:
    """Of these rows, those that RELION would not take again, with their outputs. Raises BadInput, OSError."""
    line = _line(job)
    line.need("i")
    kind = _kind(line.name)
    ends = tuple(end for step in kind.steps for each in step for end in each.split("|"))
    ends += tuple(end for option, end in kind.optional if line.has(option))
    there = (path for path in unfinished.at_home(job.project, job.folder) if path.endswith(ends))
    counts = unfinished.since(job.project, since)
    return unfinished.done(line, kind, there, alike=False, names=rows, counts=counts).outputs


def names(job: Job) -> list[str]:
    """What the rows of the job's list name, or those of its part, in their order. Raises BadInput, OSError."""
    rows = _rows(job).names
    return [rows[n] for n in block(len(rows), job.part, job.parts)] if job.part else rows


def instead(job: Job) -> dict[str, bytes]:
    """The contents that a part's machine gets in place of the project's own: its list, by its path."""
    if not job.part:
        return {}
    rows = _rows(job)
    return {_list_name(job): rows.only(block(len(rows.names), job.part, job.parts))}


def _refusal(job: Job) -> str:
    """Why a job can't be split, as a sentence; empty when it can."""
    if job.kind in GLOBAL:
        return f"{GLOBAL[job.kind]}; give it MPI processes and threads instead"
    named = _named(job)
    if not named:
        return "only MotionCorr, CtfFind, AutoPick and Extract take one micrograph after the other"
    if len(job.commands) > 1:
        return "its script runs more than one program"
    words = job.commands[0] if job.commands else ("",)
    for option in _taker(job).refused:
        if option in words:
            return f"with {option} its micrographs depend on one another"
    if not _list_name(job).endswith(".star"):
        return "its --i is not a STAR file"
    return ""


def _named(job: Job) -> set[str]:
    return {words[0] for words in job.commands if words[0].removesuffix("_mpi") in TAKERS}


def _taker(job: Job) -> Taker:
    return TAKERS[job.commands[0][0].removesuffix("_mpi")]


def _list_name(job: Job) -> str:
    words = job.commands[0]
    return words[words.index("--i") + 1] if "--i" in words[:-1] else ""


def _rows(job: Job) -> lists.List:
    """The rows that are split: of Extract those with coordinates, for a part without any would fail."""
    found, line = _list(job), _line(job)
    if not line.name.startswith("relion_preprocess") or line.get("reextract_data_star"):
        return found
    of = rules.coordinates_of(line)
    kept = [n for n, micrograph in enumerate(found.names) if of(micrograph)]
    return lists.List(found.text, [found.names[n] for n in kept], [found.lines[n] for n in kept])


def _list(job: Job) -> lists.List:
    """All rows of the job's list."""
    name = _list_name(job)
    path = job.project / name
    try:
        return _read(path, name, _kind(job.commands[0][0]).label, path.stat().st_mtime_ns)
    except OSError as error:
        raise BadInput(f"the list can't be read: {error.strerror}", where=name) from None


def _kind(name: str) -> unfinished.Kind:
    """What a taker's outputs are."""
    known = program(name)
    return unfinished.KINDS[known.rule if known else ""]


def _line(job: Job) -> Line:
    return Line(job.commands[0], Files(job.project, job.folder), "")


@lru_cache(maxsize=16)
def _read(path: Path, name: str, label: str, _mtime_ns: int) -> lists.List:
    found = lists.read(path, name, label)
    if found is None:
        raise BadInput(f"column {label} is missing", where=name)
    return found


def _go_on(job: Job) -> str:
    """The script with ``--only_do_unfinished`` behind the program's name."""
    if all(UNFINISHED in words for words in job.commands):
        return job.script
    names = "|".join(re.escape(name) for name in sorted(_named(job), key=len, reverse=True))
    program = re.compile(rf"(`\s*which\s+(?:{names})\s*`|(?<![\w/.-])(?:{names})(?![\w/.-]))")
    lines = job.script.split("\n")
    return "\n".join(
        line if line.lstrip().startswith("#") else program.sub(rf"\1 {UNFINISHED}", line, count=1) for line in lines
    )
