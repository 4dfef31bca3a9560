"""Jobs that take one micrograph after the other, and go on with those that are missing: ``--only_do_unfinished``.

RELION looks at the job's folder: a micrograph whose files are there is not done again, and joins the results as ever.
Which files those are, and of which it reads the content, was seen with strace on 3.1.3 (docs/relion.md); the images
need only be there. A micrograph counts as done only with all files that others have, so that none of its plots is lost.
A program may take all micrographs through one step before the next (Polish): each step is done, or not, by itself.
"""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cryoburst.model.stub import parse_stub
from cryoburst.packages.relion.closure import Line
from cryoburst.packages.relion.rules import pipeline_name

OPTION = "only_do_unfinished"
GROUP = re.compile(r"_optics-group_\d+")  # the number differs between micrographs, the kind of file does not
EQUATIONS = ("Axx", "Axy", "Ayy", "bx", "by")


@dataclass(frozen=True)
class Kind:
    """One program. Ends of names follow the name of the micrograph without its last suffix."""

    folder: str  # the option that names the folder of its outputs
    label: str  # the column of --i with what it takes one after the other
    steps: tuple[tuple[str, ...], ...]  # each is done with a file of each of these ends; "|" parts alternatives
    read: tuple[str, ...]  # ends of the outputs whose content is read when the results are joined
    unread: tuple[str, ...] = ()  # of those, ends of some that are not
    optional: tuple[tuple[str, str], ...] = ()  # (option, another end that the last step needs with it)
    last_again: bool = False  # by its source, 5.0 reads past the end of its list when the last micrograph is done
    opens_done: bool = False  # whether it opens the inputs of micrographs that are done
    opens_first: bool = False  # whether it looks into the first micrograph
    references: tuple[str, ...] = ()  # options with files that it opens only when there is a micrograph to do


KINDS = {
    "motioncorr": Kind(
        "o",
        "rlnMicrographMovieName",
        ((".mrc", ".star"),),
        (".star", ".eps"),
        optional=(("grouping_for_ps", "_PS.mrc"), ("save_noDW", "_noDW.mrc")),
        references=("gainref", "defect_file"),
    ),
    "ctffind": Kind(
        "o",
        "rlnMicrographName",
        ((".ctf", "_ctffind4.log|_ctffind3.log|_gctf.log"),),
        (".log", ".txt"),
        ("_avrot.txt",),
    ),
    "autopick": Kind("odir", "rlnMicrographName", ((".star",),), (".star",)),
    "extract": Kind("part_dir", "rlnMicrographName", (("_extract.star", ".mrcs"),), (".star",), opens_first=True),
    "ctf_refine": Kind(
        "o",
        "rlnMicrographName",
        ((),),
        (".star", ".eps", ".mrc"),
        optional=(
            ("fit_defocus", "_defocus_fit.star"),
            ("fit_defocus", "_ctf-refine_fit.eps"),
            ("fit_bfacs", "_bfactor_fit.star"),
            ("fit_beamtilt", "_xyAcc_optics-group_real.mrc"),
            ("fit_beamtilt", "_xyAcc_optics-group_imag.mrc"),
            ("fit_beamtilt", "_wAcc_optics-group.mrc"),
            *(("fit_aberr", f"_aberr-{each}_optics-group.mrc") for each in EQUATIONS),
            *(("fit_aniso", f"_mag_optics-group_{each}.mrc") for each in EQUATIONS),
        ),
        opens_done=True,
    ),
    "motion_refine": Kind(
        "o",
        "rlnMicrographName",
        (
            ("_tracks.star", "_tracks.eps", "_FCC_cc.mrc", "_FCC_w0.mrc", "_FCC_w1.mrc"),
            ("_shiny.star", "_shiny.mrcs"),
        ),
        (".star", ".eps", ".mrc"),
        opens_done=True,
        last_again=True,
    ),
}


@dataclass(frozen=True)
class Done:
    """What is done: micrographs as the list names them, in its order, each with the outputs of the steps it is through.

    steps: how many are taken, of all micrographs together.
    """

    outputs: dict[str, list[str]]
    first: str = ""  # of the list
    count: int = 0  # of micrographs in the list
    steps: int = 0


def done(
    line: Line,
    kind: Kind,
    paths: Iterable[str],
    *,
    alike: bool = True,
    names: Sequence[str] | None = None,
    counts: Callable[[str], bool] = lambda _path: True,
) -> Done:
    """Which micrographs are done, given the outputs that may be counted on. Raises BadInput.

    Without ``alike`` it is enough that RELION would not do them again. ``names`` are those that are asked for; without
    them the list is read. ``counts`` is asked of the outputs of these whether they count.
    """
    source = line.get("i")
    folder = line.get(kind.folder).rstrip("/") + "/"
    if not source.endswith(".star") or source not in line.files.found:
        return Done({})
    if names is None:
        names = line.summary(source, (kind.label,)).values.get(kind.label, [])
    stems = {pipeline_name(name).rpartition(".")[0]: name for name in names}
    wanted = (*kind.steps[:-1], (*kind.steps[-1], *(end for option, end in kind.optional if line.has(option))))
    # per step: micrograph -> path of each of its outputs -> the end that such files have
    ends: list[dict[str, dict[str, str]]] = [{} for _ in wanted]
    for path in sorted(paths):
        if path.startswith(folder) and (found := _split(path.removeprefix(folder), stems)) and counts(path):
            number, end = _kind_of(found[1], wanted)
            ends[number].setdefault(stems[found[0]], {})[path] = end
    outputs: dict[str, list[str]] = {}
    through, steps = names, 0
    for number, (of, step) in enumerate(zip(ends, wanted, strict=True)):
        all_ends = {end for each in of.values() for end in each.values()}
        through = [
            name
            for name in through
            if name in of
            and (all_ends == set(of[name].values()) or not alike)
            and _has(frozenset(of[name].values()), step)
        ]
        if kind.last_again and through and (number == len(wanted) - 1 or len(through) < len(names)):
            through.remove(max(through))  # RELION takes them in the order of their names
        for name in through:
            outputs.setdefault(name, []).extend(of[name])
        steps += len(through)
    return Done(outputs, names[0] if names else "", len(names), steps)


# All micrographs have files of the same few ends: what these mean is worked out once.
@lru_cache(maxsize=1024)
def _kind_of(end: str, steps: tuple[tuple[str, ...], ...]) -> tuple[int, str]:
    """The step that leaves files with such an end, the last when none says so; and the end that its kind has."""
    end = GROUP.sub("_optics-group", end)
    for number, step in enumerate(steps):
        if any(end.endswith(each) for word in step for each in word.split("|")):
            return number, end
    return len(steps) - 1, end


@lru_cache(maxsize=1024)
def _has(ends: frozenset[str], step: tuple[str, ...]) -> bool:
    """Whether a micrograph with files of these ends is through a step."""
    return all(any(end.endswith(w) for end in ends for w in each.split("|")) for each in step)


def _split(name: str, stems: dict[str, str]) -> tuple[str, str] | None:
    """The micrograph's part of an output's name, and its end."""
    at = len(name)
    least = name.rfind("/") + 1
    while at > least:
        at -= 1
        if name[at] in "._" and name[:at] in stems:
            return name[:at], name[at:]
    return None


def go_on(line: Line, kind: Kind, made: frozenset[str] | None) -> None:
    """Add what is done as inputs, and note what it was done from, which will not be read. Raises BadInput."""
    files = line.files
    if not line.get("i").endswith(".star"):
        return
    line.need("i")
    found = done(line, kind, at_home(files.project, files.own) if made is None else made)
    for name, outputs in found.outputs.items():
        for path in outputs:
            if not _is_link(files.project / path):
                read = path.endswith(kind.read) and not path.endswith(kind.unread)
                files.add(path, line.by(OPTION), listed=not read, follow=False)
        if kind.opens_done:
            continue
        stem = name.rpartition(".")[0]
        files.done |= {name, f"{stem}_PS.mrc", f"{stem}_noDW.mrc", *_coordinates(line, name)}
    if kind.opens_first:
        files.done.discard(found.first)
    if found.outputs and len(found.outputs) == found.count and not kind.opens_done:
        files.done |= {line.get(option) for option in kind.references}


def _coordinates(line: Line, micrograph: str) -> list[str]:
    """The picks of a micrograph in 3.1."""
    folder, suffix = line.get("coord_dir"), line.get("coord_suffix")
    return [folder + pipeline_name(micrograph).rpartition(".")[0] + suffix] if folder and suffix else []


def at_home(project: Path, folder: str) -> frozenset[str]:
    """All files of a job's folder, stubs included."""
    cut = len(f"{project}/")  # plain strings: a job may have a hundred thousand
    return frozenset(
        f"{top[cut:]}/{name}" for top, _, names in os.walk(f"{project}/{folder.rstrip('/')}") for name in names
    )


def since(project: Path, when: float) -> Callable[[str], bool]:
    """Of a path, whether the file is there and was written since (s since the epoch)."""
    top = str(project)

    def is_newer(path: str) -> bool:
        try:
            return os.lstat(f"{top}/{path}").st_mtime >= when  # plain strings, as above
        except OSError:
            return False

    return is_newer


def _is_link(path: Path) -> bool:
    """Whether it is a link that the program made, and no stub."""
    try:
        return parse_stub(os.readlink(path)) is None  # noqa: PTH115 - a Path would make one slash of two
    except OSError:
        return False
