"""Cutting a job into parts: how many, and what each takes. Pure, so that every look at a part finds the same."""

import math
from dataclasses import dataclass

AUTO = 0  # as a number of parts: we choose it
MOST = 1000  # parts of a job that somebody may ask for
AUTO_MOST = 64  # parts that we choose at most
AUTO_SECONDS = 1800.0  # s of work for each part that we aim at: a machine takes minutes to come and to go
AUTO_UNITS = 4  # micrographs that we give a part at least


@dataclass(frozen=True)
class Cut:
    """What a job can be cut by: ``units`` of a kind (``micrographs``), each of which is worked on by itself.

    ``core_seconds`` is a rough guess of the whole work on one core, s. With 0 units the job can't be split; ``refusal``
    is a sentence that says why.
    """

    units: int
    unit: str = ""
    core_seconds: float = 0.0
    refusal: str = ""


def parse_parts(text: str) -> int | None:
    """A number of parts as people write it, ``auto`` being ``AUTO``; None when it is none."""
    if text.strip().lower() == "auto":
        return AUTO
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
    return number if 1 <= number <= MOST else None


def block(units: int, part: int, parts: int) -> range:
    """The units of a part, counted from 0, the part from 1 on. Blocks follow one another and differ by one at most."""
    return range(units * (part - 1) // parts, units * part // parts)


def auto_parts(cut: Cut, cores: int) -> int:
    """The number of parts for machines with so many cores: half an hour of work for each, by our guess; at least four
    micrographs; at most 64 parts."""
    wanted = math.ceil(cut.core_seconds / max(1, cores) / AUTO_SECONDS)
    return max(1, min(wanted, cut.units // AUTO_UNITS, AUTO_MOST))
