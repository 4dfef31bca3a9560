"""What a job takes of a machine: memory, memory of each GPU, and disk.

Memory is what ``memory``, ``maps`` and ``micrographs`` work out from RELION's arrays. GPU memory follows what RELION's
own documentation and error message say. Where no rule was checked, nothing is predicted (0), and a finding says so.
"""

import math
from collections.abc import Callable, Iterator
from typing import TypeVar

from cryoburst.model.plugins import Demand, Finding
from cryoburst.packages.relion.preflight import described, disk, maps, memory, micrographs
from cryoburst.packages.relion.preflight.facts import Facts

T = TypeVar("T")
MARGIN = 1.3  # the predictions are within 30 % of what was measured (tests/packages/test_memory.py, test_took.py)
MASK_CREATE = "relion_mask_create"
GPU_BYTES = 1.1e-8 * 1e9  # bytes a voxel of the doubled box; see ``gpu_memory``


def demands(facts: list[Facts]) -> tuple[Demand, Demand]:
    """(most, least) of all programs of a job: they run one after the other and share a disk."""
    most = [_memory(f, sure=True) for f in facts]
    least = [_memory(f, sure=False) for f in facts]
    read = sum(found.size for found in facts[0].inputs.values() if not found.listed) if facts else 0
    written = sum(disk.outputs(f) for f in facts)
    return (
        Demand(max(most, default=0), max(map(gpu_memory, facts), default=0), read + written),
        Demand(round(max(least, default=0) / MARGIN), 0, read),
    )


def gpu_memory(facts: Facts) -> int:
    """Bytes that each GPU must have; 0 without --gpu or without a rule.

    "N-pixel particle images will require roughly (1.1e-8)*(N*2)^3 GB of memory (per rank) during the final iteration of
    refinement (using single-precision GPU code, which is default)", RELION's own message (src/acc/cuda/
    custom_allocator.cuh); with --pad 1 the doubled box is the box itself. For classifications, each of the K classes
    takes 2.5 numbers of 4 bytes a voxel of the padded box, RELION's developers in 3dem/relion issue 558. Ranks that
    share a GPU add up.
    """
    job = described.refinement(facts) if facts.has("gpu") and facts.rule == "refine" else None
    if job is None or job.dimensions == 2:
        return 0
    edge = job.padding * job.box
    one = GPU_BYTES * edge**3 if job.halves else job.classes * 2.5 * 4 * edge**3
    workers = max(1, job.processes - 1)
    return round(one * math.ceil(workers / max(1, facts.job.resources.gpus)))


def unknown(facts: list[Facts]) -> Iterator[Finding]:
    """Says of each program whose memory is not predicted that it is not, and why."""
    for each in facts:
        if not _memory(each, sure=True):
            name = each.line.name.removesuffix("_mpi")
            yield Finding("info", "memory", f"how much memory {name} takes is not predicted: {_why(each)}")


def _why(facts: Facts) -> str:
    others = {
        "motioncorr": "" if facts.has("use_own") else "MotionCor2 does the work",
        "ctffind": "" if described.own_ctffind(facts) else "CTFFIND or Gctf does the work",
        "autopick": "Topaz does the work" if described.topaz(facts) else "",
        "external": "it is no program of RELION",
    }
    known = "its images are not on this disk" if _rule(facts) else "there is no rule for it"
    return others.get(facts.rule) or known


def _memory(facts: Facts, *, sure: bool) -> int:
    """Bytes at the peak of a program; 0 when it is not known."""
    if facts.rule == "refine":
        job = described.refinement(facts, sure=sure)
        return memory.refinement(job) if job else 0
    rule = _rule(facts)
    return rule(facts) if rule else 0


def _rule(facts: Facts) -> Callable[[Facts], int] | None:
    return MEMORY.get(MASK_CREATE if facts.line.name == MASK_CREATE else facts.rule)


def _by(describe: Callable[[Facts], T | None], formula: Callable[[T], int]) -> Callable[[Facts], int]:
    def rule(facts: Facts) -> int:
        job = describe(facts)
        return 0 if job is None else formula(job)

    return rule


def _motion(facts: Facts) -> int:
    return _by(described.movies, memory.movies)(facts) if facts.has("use_own") else 0


def _half_maps(facts: Facts) -> int:
    formula = maps.local_resolution if facts.has("locres") else maps.postprocess
    return _by(described.half_maps, formula)(facts)


MEMORY: dict[str, Callable[[Facts], int]] = {
    "refine": _by(described.refinement, memory.refinement),
    "motioncorr": _motion,
    "ctffind": _by(described.fitting, micrographs.fitting),
    "autopick": _by(described.picking, micrographs.picking),
    "extract": _by(described.extraction, micrographs.extraction),
    "ctf_refine": _by(described.polishing, memory.polishing),
    "motion_refine": _by(described.polishing, memory.polishing),
    "postprocess": _half_maps,
    "subtract": _by(described.refinement, maps.subtraction),
    "flex_analyse": _by(described.flexibility, maps.flexibility),
    MASK_CREATE: _by(described.mask, maps.mask),
}
