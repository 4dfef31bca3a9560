"""Reads how far a program is out of the end of its run.out."""

import re
from functools import lru_cache
from pathlib import Path

from cryoburst.model.errors import BadInput
from cryoburst.model.job import Job, Progress
from cryoburst.packages.relion.star import summary

ITERATION = re.compile(
    r"(?:Expectation|Gradient optimisation|Stochastic Gradient Descent) iteration\s+(\d+)(?:\s+of\s+(\d+))?"
)
BAR = re.compile(r"[\d.]+/\s*(?:[\d.]+|\?{3})\s+(?:sec|min|hrs)\s*(\.*)")
# RELION's bar in these jobs counts micrographs
PER_MICROGRAPH = ("relion.motioncorr", "relion.ctffind", "relion.autopick", "relion.extract")
WIDTH = 60  # dots of a whole bar (RELION's src/time.cpp)


def progress(job: Job, log: str) -> Progress | None:
    """Iterations where the program counts them, micrographs where it takes one after the other, else the share of the
    present step; None when the log has none of these."""
    if steps := ITERATION.findall(log):
        done, total = steps[-1]
        return Progress(int(done), int(total or 0), "iterations")
    bars = BAR.findall(log)
    if not bars:
        return None
    share = min(1.0, len(bars[-1]) / WIDTH)
    count = micrographs(job)
    if count:
        return Progress(round(share * count), count, "micrographs")
    return Progress(round(100 * share), 100, "percent")


def micrographs(job: Job) -> int:
    """How many micrographs or movies the job takes one after the other; 0 when it does not, or its list is gone."""
    words = next((words for words in job.commands if "--i" in words[:-1]), ())
    if job.kind not in PER_MICROGRAPH or not words:
        return 0
    path = job.project / words[words.index("--i") + 1]
    try:
        return _rows(path, path.stat().st_mtime_ns)
    except (OSError, BadInput):
        return 0


@lru_cache(maxsize=64)
def _rows(path: Path, _mtime_ns: int) -> int:
    """Rows of the table of micrographs or movies in a STAR file. Raises BadInput."""
    rows = summary(path, path.name, ()).rows
    return rows.get("micrographs", 0) or rows.get("movies", 0)
