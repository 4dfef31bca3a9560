"""How a RELION job goes on after its machine died, from the files that are whole. Reads STAR files; changes nothing.

A refinement goes on after its last whole iteration (``--continue``), a job that takes one micrograph after the other
with those that are missing (``--only_do_unfinished``). Every other job begins anew.
"""

import re
import shlex
from dataclasses import replace

from cryoburst.model.errors import BadInput, NeedHere
from cryoburst.model.job import Job, Resume
from cryoburst.packages.relion import closure, parts, star
from cryoburst.packages.relion.files import Files
from cryoburst.packages.relion.jobtypes import EXTERNAL, program
from cryoburst.packages.relion.script import understand, value
from cryoburst.packages.relion.unfinished import KINDS, OPTION, Kind, at_home, done

ITERATION = re.compile(r"_it(\d{3,})_")
PASSING = re.compile(r"_(data_real|data_imag|weight)\.mrc$")  # what processes hand each other: RELION takes it away
CONTINUE = "--continue"


def resume(job: Job, made: frozenset[str]) -> Resume | None:
    """See ``Package.resume``."""
    for words in job.commands:
        known = program(words[0])
        if known is None or job.kind == EXTERNAL:
            continue
        if known.rule == "refine":
            return _iterations(job, words, made)
        if known.rule in KINDS:
            return _missing(job, words, made, KINDS[known.rule])
    return None


def _missing(job: Job, words: tuple[str, ...], made: frozenset[str], kind: Kind) -> Resume | None:
    """With the micrographs that are missing. A job that was itself to do only those counts on all that is there."""
    if "--params3" in words:  # Polish's training is of one piece
        return None
    continued = f"--{OPTION}" in words
    files = Files(job.project, job.folder)
    files.add(value(words, "--i"), words[0])
    paths = at_home(job.project, job.folder) if continued else made
    found = done(closure.Line(words, files, ""), kind, paths)
    own = set(parts.names(job)) if job.part else set()  # in the folder are the outputs of the other parts, too
    count = len(own & found.outputs.keys()) if job.part else found.steps
    if not count:
        return None
    if len(kind.steps) > 1:
        state = f"{count} of {len(kind.steps) * found.count} steps are done"
    else:
        state = "one micrograph is done" if count == 1 else f"{count} are done"
    sentence = f"with what is missing: {state}"
    again = rewritten(job, words, {f"--{OPTION}": ""}, f"goes on {sentence}")
    return Resume(replace(again, made=None if continued else made), count, sentence)


# -------------------------------------------------------------------------------------------------------- refinements


def _iterations(job: Job, words: tuple[str, ...], made: frozenset[str]) -> Resume | None:
    """After the newest iteration of which all is there that the program reads.

    Not after iteration 0: to begin anew takes as long, and gives what an undisturbed run gives. RELION writes the
    iteration that it goes on from once more, with fewer columns in the model: the first writing stays.
    """
    root = value(words, "--o")
    if not root.startswith(job.folder):
        return None
    found = {_number(path): path for path in made if path.startswith(root) and path.endswith("_optimiser.star")}
    for number in sorted(found, reverse=True):
        if number < 1 or found[number] != f"{root}_it{number:03d}_optimiser.star":
            continue
        try:
            again = replace(_going_on(job, words, found[number], root), made=made)
            # What a later program of the script reads of its folder, the first one writes before.
            needed = {i.path for i in closure.inputs(again) if i.path.startswith(f"{root}_it")}
        except NeedHere:
            raise
        except BadInput:  # half of it is missing, or torn: the one before
            continue
        if needed <= made:
            void = frozenset(p for p in made if p.startswith(f"{root}_") and (_number(p) > number or PASSING.search(p)))
            return Resume(again, number, f"after iteration {number}", frozenset(needed), void)
    return None


def _number(path: str) -> int:
    """The iteration in a file's name; -1 without one."""
    found = ITERATION.search(path.rpartition("/")[2])
    return int(found.group(1)) if found else -1


def _going_on(job: Job, words: tuple[str, ...], optimiser: str, root: str) -> Job:
    """The job with a script that goes on after an iteration. Raises BadInput when that can't be written.

    RELION takes the names of the files from ``--o``, as before. It adds ``_ctN`` to it in a multi-body refinement
    whose optimiser says the same: there one slash more is written, which is the same file.
    """
    options = {CONTINUE: optimiser}
    if not (job.project / optimiser).exists():
        raise NeedHere(optimiser)
    block = star.block(job.project / optimiser, optimiser, "optimiser_general")
    bodies = next(iter(block.column("rlnBodyStarFile")), "None") if block else "None"
    if bodies not in closure.NONE and block is not None and next(iter(block.column("rlnOutputRootName")), "") == root:
        options["--o"] = f"{job.folder}/{root.removeprefix(job.folder)}"
    return rewritten(job, words, options, f"goes on after iteration {_number(optimiser)}")


def rewritten(job: Job, words: tuple[str, ...], options: dict[str, str], note: str) -> Job:
    """The job with these options in one of its program lines, and a line in its log that tells of it.

    An option without a value has an empty one. What is written is read again as at a submission. Raises BadInput when
    the script is not one in which that can be done.
    """
    left = [word for at, word in enumerate(words) if not _replaced(words, at, options)]
    added = [word for option, given in options.items() for word in (option, given) if word]
    wanted = (left[0], *added, *left[1:])
    name = re.escape(words[0])
    lines = job.script.splitlines(keepends=True)
    for at, line in enumerate(lines):
        found = re.search(rf"`which {name}`(?=\s)|(?<![\w/.-]){name}(?=\s)", line)
        if found is None or line.lstrip().startswith(("#", "echo ")):
            continue
        text = line
        for option in options:
            text = re.sub(rf"\s{re.escape(option)}(\s+(?!--)\S+)?(?=\s)", "", text)
        end = text.index(found.group()) + len(found.group())
        text = f"{text[:end]} {shlex.join(added)}{text[end:]}"
        lines[at] = f"echo {shlex.quote(f' cryoburst: {note}')}\n{text}"
        script = "".join(lines)
        commands = understand(script, job.folder, job.folder, job.kind).commands
        if commands == tuple(wanted if each == words else each for each in job.commands):
            return replace(job, script=script, commands=commands, restart=options.get(CONTINUE, job.restart))
        break
    raise BadInput("the script can't be made to go on", where=job.folder)


def _replaced(words: tuple[str, ...], at: int, options: dict[str, str]) -> bool:
    """Whether a word is one of the options, or the value of one."""
    return words[at] in options or (at > 0 and words[at - 1] in options and not words[at].startswith("--"))
