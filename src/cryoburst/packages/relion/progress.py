"""Reads how far a program is out of the end of its run.out, and of the outputs that are at home."""

import re

from cryoburst.model.job import Job, Progress
from cryoburst.packages.relion import parts
from cryoburst.packages.relion.course import goes_on

ITERATION = re.compile(
    r"(?:Expectation|Gradient optimisation|Stochastic Gradient Descent) iteration\s+(\d+)(?:\s+of\s+(\d+))?"
)
BAR = re.compile(r"[\d.]+/\s*(?:[\d.]+|\?{3})\s+(?:sec|min|hrs)\s*(\.*)")
WIDTH = 60  # dots of a whole bar (RELION's src/time.cpp)


def progress(job: Job, log: str, since: float) -> Progress | None:
    """Iterations where the program counts them, micrographs with their outputs at home where it takes one after the
    other, else the share of the present step; None when there is none of these.

    No bar counts micrographs: a program draws one for each of its steps, and after a restart for the rest alone.
    """
    if steps := ITERATION.findall(log):
        done, total = steps[-1]
        return Progress(int(done), int(total or 0), "iterations")
    if count := parts.count(job):
        return Progress(parts.made(job, 0.0 if goes_on(job) else since), count, "micrographs")
    bars = BAR.findall(log)
    if not bars:
        return None
    share = min(1.0, len(bars[-1]) / WIDTH)
    return Progress(round(100 * share), 100, "percent")
