"""What each key of a store is, from its form alone, and how much of each there is. Pure.

It must never guess: a key that has none of the forms of docs/architecture.md is ``OTHER``, and nobody touches it.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from cryoburst.model.plugins import Stored
from cryoburst.transfer.content import DIGEST, PACKED

INPUTS = "inputs"  # blobs of a project, shared by its runs
RUN = "run"  # documents, logs and outputs of a run's attempts
PROJECT = "project"  # lists of what a pushed project consists of
ARCHIVE = "agent"  # the programs that machines run
RUNS = "runs"  # what was asked for, and how it ended
RECORDS = "records"  # what runs were and made: outlives their data
PROBE = "probe"  # what a check left when it was killed
OTHER = "other"

_PROBES = re.compile(r"\.probe/.+|doctor/[0-9a-f]{16}")
_BLOB = re.compile(r"(.*/)([0-9a-f]{2})/(\2[0-9a-f]{62})")


class Part(NamedTuple):
    """What a key is: its kind, the project's folder and the run's prefix (with its slash) that it belongs to."""

    kind: str
    project: str = ""
    run: str = ""


def part_of(key: str) -> Part:
    """What this key is."""
    parts = key.split("/", 4)
    if parts[0] == "agent" and len(parts) == 2:
        return Part(ARCHIVE)
    if parts[0] == "runs" and len(parts) == 3 and key.endswith(".json"):
        return Part(RUNS)
    if parts[0] == "records" and len(parts) == 3 and key.endswith(".json"):
        return Part(RECORDS)
    if _PROBES.fullmatch(key):
        return Part(PROBE)
    if len(parts) > 2 and parts[1] == "inputs":
        return Part(INPUTS, parts[0])
    if len(parts) == 5 and parts[3].isdigit():
        return Part(RUN, parts[0], f"{parts[0]}/{parts[1]}/{parts[2]}/")
    if parts[0] == "projects" and len(parts) == 3:
        return Part(PROJECT, parts[1])
    if len(parts) == 3 and parts[1] == "project":
        return Part(PROJECT, parts[0])
    return Part(OTHER)


def blob_folder(key: str) -> str | None:
    """The folder of blobs, with its slash, that this key is a blob of; None when it is none."""
    found = _BLOB.fullmatch(key)
    return found[1] if found else None


def may_list(found: Stored) -> bool:
    """Whether this may be a list of pieces, by its form: a blob of at least two digests."""
    return 2 * DIGEST <= found.size <= PACKED and not found.size % DIGEST and blob_folder(found.key) is not None


@dataclass
class Line:
    """How much there is of one kind, of one project or run. Sizes in bytes, times in s since the epoch."""

    kind: str
    project: str = ""
    run: str = ""
    objects: int = 0
    bytes: int = 0
    free_objects: int = 0  # of them, what gc may delete
    free_bytes: int = 0
    newest: float = 0.0

    def add(self, found: Stored, *, free: bool) -> None:
        """Count an object."""
        self.objects += 1
        self.bytes += found.size
        self.newest = max(self.newest, found.modified)
        if free:
            self.free_objects += 1
            self.free_bytes += found.size


def measure(objects: Iterable[Stored], free: Callable[[Stored], bool] = lambda _: False) -> list[Line]:
    """Count a listing of any length, by kind, project and run. Memory grows with the number of runs alone."""
    lines: dict[Part, Line] = {}
    for found in objects:
        part = part_of(found.key)
        line = lines.get(part)
        if line is None:
            line = lines[part] = Line(*part)
        line.add(found, free=free(found))
    return sorted(lines.values(), key=lambda line: (line.project, line.kind, line.run))
