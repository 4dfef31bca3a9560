"""Reads how far a program is out of the end of its run.out."""

import re

from cryoburst.model.job import Job, Progress
from cryoburst.packages.relion import parts

ITERATION = re.compile(
    r"(?:Expectation|Gradient optimisation|Stochastic Gradient Descent) iteration\s+(\d+)(?:\s+of\s+(\d+))?"
)
BAR = re.compile(r"[\d.]+/\s*(?:[\d.]+|\?{3})\s+(?:sec|min|hrs)\s*(\.*)")
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
    count = parts.count(job)
    if count:
        return Progress(round(share * count), count, "micrographs")
    return Progress(round(100 * share), 100, "percent")
