"""Predicted against measured memory: what was measured once, as a table. test_took.py has the real RELION here.

GPU memory is checked against RELION's documentation only: no GPU took part in these tests.
"""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.packages.real import data

from cryoburst.model.job import Job, Resources
from cryoburst.packages.relion import closure
from cryoburst.packages.relion.preflight import demand, described, maps, memory
from cryoburst.packages.relion.preflight.facts import Facts
from cryoburst.packages.relion.preflight.maps import Flexibility
from cryoburst.packages.relion.preflight.memory import Movies, Polishing, Refinement

BOUNDS = (0.7, 1.3)
C3D = Refinement(box=96, size=78, dimensions=3, classes=1, particles=60, rotations=576, shifts=9, pool=3, labels=6)
C2D = Refinement(box=128, size=50, dimensions=2, classes=16, particles=60, rotations=30, shifts=9, pool=3, labels=6)
R3D = replace(C3D, box=64, size=64, processes=3, halves=True)
INI = Refinement(64, 46, 3, 1, 24, 576, 1, pool=3, labels=13, gridding=False, momentum=True, through_files=False)
BODIES = replace(R3D, classes=2, masks=4, rotations=1469, shifts=13, labels=25, solvent_fsc=True, through_files=False)
MC = Movies(x=1024, y=1024, frames=12, gain=True)
# RELION 3.1.3 of Debian 12, 28 November 2026: the sum of VmHWM less RssFile over the processes, MB
MEASURED = {
    "class2d": (C2D, 13.5),
    "class2d 2 threads": (replace(C2D, threads=2), 15.4),
    "class2d 20 classes of 200": (
        Refinement(200, 48, 2, 20, 40, 30, 21, pool=3, labels=6, threads=2),
        32.6,
    ),
    "class3d 64": (replace(C3D, box=64, size=58), 76.8),
    "class3d 96": (C3D, 218.7),
    "class3d 96, 4 classes": (replace(C3D, classes=4), 460.1),
    "class3d 96, 4 classes, no padding": (replace(C3D, classes=4, padding=1, threads=2), 128.4),
    "class3d 96, 2 classes, 3 processes": (replace(C3D, classes=2, threads=2, processes=3), 616.0),
    "class3d 80, 7.5 degrees": (Refinement(80, 80, 3, 2, 12, 4608, 9, pool=3, labels=6, threads=2), 317.0),
    "class3d 48, 3.7 degrees": (Refinement(48, 48, 3, 1, 24, 36864, 9, pool=3, labels=6, threads=2), 331.8),
    "class3d 112, D2": (
        Refinement(112, 112, 3, 1, 12, 144, 9, pool=3, labels=6, symmetry=True, gridding=False),
        416.9,
    ),
    "refine3d 64": (R3D, 252.8),
    "refine3d 56, solvent FSC": (replace(R3D, box=56, size=56, solvent_fsc=True), 214.6),
    "class2d 10 classes of 128, 2 threads": (
        Refinement(128, 64, 2, 10, 80, 30, 21, pool=3, labels=13, threads=2),
        22.8,
    ),
    "class2d 10 classes of 160": (Refinement(160, 74, 2, 10, 80, 30, 21, pool=3, labels=13), 22.2),
    "class3d 72, 4 classes, 3 processes through files": (
        replace(C3D, box=72, size=72, classes=4, particles=16, processes=3, gridding=False),
        703.7,
    ),
    "class3d 72, 4 classes, 3 processes": (
        replace(C3D, box=72, size=72, classes=4, particles=16, processes=3, gridding=False, through_files=False),
        1010.9,
    ),
    "class3d 96 beyond --strict_highres_exp": (replace(C3D, size=96), 298.5),
    "initial model 64": (INI, 69.5),
    "initial model 88, 3 classes, no padding": (
        replace(INI, box=88, size=56, classes=3, padding=1, threads=2, gridding=True),
        75.8,
    ),
    "initial model 72, 2 classes, 3 processes": (
        replace(INI, box=72, size=48, classes=2, processes=3, gridding=True),
        257.2,
    ),
    "initial model 40, 2 classes, 7.5 degrees": (
        replace(INI, box=40, size=40, classes=2, rotations=4608, padding=1, gridding=True),
        15.0,
    ),
    "initial model 36, 7.5 degrees and 21 shifts": (
        replace(INI, box=36, size=36, particles=16, rotations=4608, shifts=21, padding=1, gridding=True),
        73.8,
    ),
    "2 bodies 48": (replace(BODIES, box=48, size=48, gridding=False), 254.6),
    "2 bodies 60": (replace(BODIES, box=60, size=60), 448.5),
    "2 bodies 80": (replace(BODIES, box=80, size=80, gridding=False), 987.8),
    "3 bodies 56, no padding": (replace(BODIES, box=56, size=56, classes=3, masks=9, padding=1, threads=2), 174.4),
    "3 bodies 52, 5 processes": (
        replace(BODIES, box=52, size=52, classes=3, masks=9, threads=2, processes=5),
        1018.4,
    ),
    "3 bodies 64 that do not overlap": (replace(BODIES, classes=3, masks=3), 652.6),
    "flexibility of 2 bodies 80": (Flexibility(80, 2, 30), 58.8),
    "flexibility of 3 bodies 56": (Flexibility(56, 3, 40), 43.5),
    "flexibility of 6000 particles": (Flexibility(32, 2, 6000), 25.4),
    "motioncorr": (MC, 181.1),
    "motioncorr 2 threads": (replace(MC, threads=2), 177.1),
    "motioncorr 2048 x 1536": (Movies(2048, 1536, 10), 293.3),
    "motioncorr binned": (Movies(2048, 1536, 10, binning=2, gain=True, threads=2), 195.6),
    "motioncorr 2048, binned": (Movies(2048, 2048, 8, binning=2, gain=True, threads=2), 222.9),
    "motioncorr 3072": (Movies(3072, 3072, 6, gain=True, threads=2), 663.1),
    "motioncorr 2 processes": (replace(MC, processes=2), 345.8),
    "ctfrefine 112": (Polishing(112, 112, 12, total=36), 336.4),
    "polish 64": (Polishing(64, 64, 12, 6, 512, 512, gain=True, total=36), 89.6),
    "polish 112": (Polishing(112, 112, 12, 6, 512, 512, gain=True, total=36, threads=2), 336.5),
}


def predicted(job: Refinement | Movies | Polishing | Flexibility) -> int:
    """Bytes."""
    if isinstance(job, Flexibility):
        return maps.flexibility(job)
    if isinstance(job, Refinement):
        return memory.refinement(job)
    return memory.movies(job) if isinstance(job, Movies) else memory.polishing(job)


@pytest.mark.parametrize("name", list(MEASURED))
def test_what_was_measured(name: str) -> None:
    job, measured = MEASURED[name]
    assert BOUNDS[0] < predicted(job) / (measured * 1e6) < BOUNDS[1]


@pytest.mark.parametrize(
    ("group", "count"), [("C1", 1), ("c4", 4), ("D2", 4), ("T", 12), ("O", 24), ("I1", 60), ("", 1)]
)
def test_operators(group: str, count: int) -> None:
    assert described.operators(group) == count


@pytest.mark.parametrize(("range_", "step", "count"), [(3, 2, 9), (5, 2, 21), (5, 1, 81), (0, 1, 1), (3, 0, 1)])
def test_shifts(range_: float, step: float, count: int) -> None:
    assert described.shifts(range_, step) == count


@pytest.mark.parametrize(
    ("box", "words", "processes", "gigabytes"),
    [
        (450, "--auto_refine --split_random_halves --gpu 0:1", 3, 8.02),  # RELION's own example: 450 pixels, 8.02 GB
        (450, "--auto_refine --split_random_halves --gpu 0", 3, 16.04),  # two ranks share the GPU
        (256, "--auto_refine --split_random_halves --gpu 0:1 --pad 1", 3, 0.185),
        (200, "--K 3 --gpu 0", 1, 1.92),  # issue 558: K x 2.5 numbers of 4 bytes for each voxel of the padded box
        (200, "--K 3", 1, 0.0),
    ],
)
def test_gpu_memory_as_relion_documents_it(
    tmp_path: Path, box: int, words: str, processes: int, gigabytes: float
) -> None:
    data(tmp_path, box, 0)
    gpus = len(words.partition("--gpu ")[2].split(" ")[0].split(":")) if "--gpu" in words else 0
    line = ("relion_refine", "--i", "particles.star", "--ref", "map.mrc", *words.split())
    job = Job("relion", "k", tmp_path, "Class3D/job001/", "", (line,), Resources(processes, gpus=gpus), version="3.1")
    files = closure.close(replace(job, commands=(("relion_refine", "--i", "particles.star", "--ref", "map.mrc"),)))
    facts = Facts(job, line, files)
    assert demand.gpu_memory(facts) / 1e9 == pytest.approx(gigabytes, rel=0.01)
