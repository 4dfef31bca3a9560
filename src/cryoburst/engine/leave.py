"""Outputs that stay in the store until somebody fetches them: which they are, and the names that stand for them here.

At home such an output is a stub (``model.stub``): its name is there for the program's window, its content is not.
"""

import os
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from cryoburst.engine.world import place_at_home
from cryoburst.model.documents import Output
from cryoburst.model.errors import BadInput
from cryoburst.model.plugins import UNFINISHED
from cryoburst.model.run import Run
from cryoburst.model.stub import Stub

OUTPUTS = "outputs"  # instead of a pattern: everything that nobody reads while the job runs
SEEN = (".star", ".pdf")  # the lists by which the next job's inputs are found, and what the window shows of a job
SMALL = 2 * 2**20  # bytes; a larger one is left with the others


def patterns(words: Sequence[str]) -> str:
    """Patterns as a run keeps them, one a line. Raises BadInput for one that no output of a job can match."""
    for word in words:
        if not word or "\n" in word or word.startswith("/") or ".." in word.split("/"):
            raise BadInput("not a pattern of outputs", where=word, advice="write it like '*.mrcs', or outputs for all")
    return "\n".join(words)


def matches(words: Iterable[str], job: str, output: Output) -> bool:
    """Whether one of the patterns names an output. They are relative to the job folder; ``*`` also matches a slash."""
    name = output.path.removeprefix(job)
    return any(_is_bulk(output) if word == OUTPUTS else fnmatchcase(name, word) for word in words)


def left(run: Run, output: Output) -> bool:
    """Whether an output stays in the store as the run's user wished. Links and empty files always come."""
    return bool(run.leave and output.size and not output.link and matches(run.leave.split("\n"), run.job, output))


def leave(run: Run, outputs: Iterable[Output]) -> None:
    """Put stubs where outputs would be. What is whole at home already stays there. Raises OSError, BadInput."""
    for output in outputs:
        target = place_at_home(Path(run.project), run.job, output.path)
        text = Stub(output.checksum, output.size).text
        if is_whole(target, output) or _points_to(target) == text:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f"{UNFINISHED}{target.name}"[:200])
        beside.unlink(missing_ok=True)
        beside.symlink_to(text)
        beside.replace(target)


def missing(run: Run, outputs: Iterable[Output]) -> list[Output]:
    """The outputs that are in the store and not at home."""
    return [o for o in outputs if left(run, o) and not is_whole(Path(run.project) / o.path, o)]


def stands(run: Run, output: Output) -> bool:
    """Whether the stub of this very output stands at its place at home."""
    stub = Stub(output.checksum, output.size)
    return not output.link and _points_to(place_at_home(Path(run.project), run.job, output.path)) == stub.text


def is_whole(target: Path, output: Output) -> bool:
    """Whether a file at home has an output's size and time, and no stub or other link stands there."""
    try:
        found = target.lstat()
    except OSError:
        return False
    return not target.is_symlink() and (found.st_size, found.st_mtime_ns) == (output.size, output.mtime_ns)


def _points_to(path: Path) -> str:
    """The text of a link as it is, for a Path would make one slash of two; empty when there is none."""
    try:
        return os.readlink(path)  # noqa: PTH115
    except OSError:
        return ""


def _is_bulk(output: Output) -> bool:
    return not (output.path.endswith(SEEN) and output.size <= SMALL)
