"""Reads how far a program is out of the end of its run.out."""

import re

from cryoburst.model.job import Job, Progress

ITERATION = re.compile(r"(?:Expectation|Gradient optimisation) iteration\s+(\d+)(?:\s+of\s+(\d+))?")
BAR = re.compile(r"[\d.]+/\s*(?:[\d.]+|\?{3})\s+(?:sec|min|hrs)\s*(\.*)")
WIDTH = 60  # dots of a whole bar (RELION's src/time.cpp)


def progress(job: Job, log: str) -> Progress | None:
    """Iterations where the program counts them, else the share of the present step; None when the log has neither."""
    if steps := ITERATION.findall(log):
        done, total = steps[-1]
        return Progress(int(done), int(total or 0), "iterations")
    bars = BAR.findall(log)
    if not bars:
        return None
    dots = len(bars[-1])
    return Progress(min(100, round(100 * dots / WIDTH)), 100, "percent")
