"""RELION's marker files: what they say, and how to write them so that its window believes us.

The window looks at markers only when ``.pipeline_has_changed`` appears, and warns when a marker is there before the
outputs: the marker comes last, then the touch. A program's marker comes before the script's last lines, so the script's
end counts, never the marker's.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from cryoburst.model.documents import Exit
from cryoburst.model.job import Job, Verdict

SUCCESS, FAILURE, ABORTED = "RELION_JOB_EXIT_SUCCESS", "RELION_JOB_EXIT_FAILURE", "RELION_JOB_EXIT_ABORTED"
ABORT_NOW = "RELION_JOB_ABORT_NOW"
MARKERS = {SUCCESS: "succeeded", FAILURE: "failed", ABORTED: "aborted"}
CHANGED = ".pipeline_has_changed"


def held(name: str) -> bool:
    """Whether a file is a marker. The request to abort is one: a copy of it would end the next run at once."""
    base = name.rpartition("/")[2]
    return base in MARKERS or base == ABORT_NOW


def verdict(job: Job, exit_: Exit, markers: Iterable[str]) -> Verdict:
    """How the job ended: its marker first, then how the script ended, then its exit code."""
    names = {name.rpartition("/")[2] for name in markers}
    if exit_.ended in ("inputs", "refused"):
        return Verdict("failed", exit_.sentence or "the machine could not run the command")
    if FAILURE in names:
        return Verdict("failed", _why(exit_, "the program reported an error"))
    if exit_.ended == "aborted" and SUCCESS in names:
        return Verdict("succeeded", "the program had finished when the request to abort arrived")
    if ABORTED in names or exit_.ended == "aborted":
        return Verdict("aborted", exit_.sentence)
    if exit_.ended != "finished":  # deadline, killed, disk_full: what the marker promised may not be whole
        return Verdict("failed", _why(exit_, f"the run ended early: {exit_.ended}"))
    if SUCCESS in names and exit_.code:
        return Verdict("succeeded", f"the program reported success, but the script ended with code {exit_.code}")
    if SUCCESS in names:
        return Verdict("succeeded")
    if exit_.code:
        return Verdict("failed", _why(exit_, f"the command ended with code {exit_.code} and left no marker"))
    if len(job.commands) > 1 and "set -e" not in job.script:  # the code is the last command's, not the program's
        return Verdict("failed", "the first program of the script left no marker: it was killed")
    return Verdict("succeeded", exit_.sentence)


def _why(exit_: Exit, otherwise: str) -> str:
    return exit_.sentence or otherwise


def mark(project: Path, folder: str, verdict: Verdict) -> None:
    """Leave exactly the marker of this verdict, after a sentence in run.err if it failed; then tell the window."""
    home = project / folder
    home.mkdir(parents=True, exist_ok=True)
    wanted = next(name for name, outcome in MARKERS.items() if outcome == verdict.outcome)
    if verdict.outcome == "failed":
        _say(home / "run.err", verdict.sentence or "the job failed")
    for name in (*MARKERS, ABORT_NOW):
        if name != wanted:
            (home / name).unlink(missing_ok=True)
    (home / wanted).touch()
    (project / CHANGED).touch()


def _say(path: Path, sentence: str) -> None:
    """One line at the end of a log, unless it is there already."""
    line = f"cryoburst: {' '.join(sentence.split())}\n".encode()
    with path.open("a+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - len(line)))
        end = file.read()
        if end == line:
            return
        file.write(line if not end or end.endswith(b"\n") else b"\n" + line)


def unmark(project: Path, folder: str) -> None:
    """Take away all markers, and a request to abort the run before."""
    for name in (*MARKERS, ABORT_NOW):
        (project / folder / name).unlink(missing_ok=True)


def abort_wanted(project: Path, folder: str) -> bool:
    """Whether the user chose Abort in the window since ``unmark``."""
    return (project / folder / ABORT_NOW).exists()
