"""Predicted against measured memory: what was measured once, as a table, and the real RELION here when it is asked for.

GPU memory is checked against RELION's documentation only: no GPU took part in these tests.
"""

import os
import struct
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests import window

from cryoburst.agent import processes
from cryoburst.model.job import Job, Resources
from cryoburst.packages.relion import Relion
from cryoburst.packages.relion.preflight import demand, memory
from cryoburst.packages.relion.preflight.facts import Facts
from cryoburst.packages.relion.preflight.memory import Movies, Polishing, Refinement
from cryoburst.simulate.dataset import write_table

BOUNDS = (0.7, 1.3)
C3D = Refinement(box=96, size=78, dimensions=3, classes=1, particles=60, rotations=576, shifts=9, pool=3, labels=6)
C2D = Refinement(box=128, size=50, dimensions=2, classes=16, particles=60, rotations=30, shifts=9, pool=3, labels=6)
R3D = replace(C3D, box=64, size=64, processes=3, halves=True)
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


def predicted(job: Refinement | Movies | Polishing) -> int:
    """Bytes."""
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
    assert demand.operators(group) == count


@pytest.mark.parametrize(("range_", "step", "count"), [(3, 2, 9), (5, 2, 21), (5, 1, 81), (0, 1, 1), (3, 0, 1)])
def test_shifts(range_: float, step: float, count: int) -> None:
    assert demand.shifts(range_, step) == count


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
    files = Relion().inputs(replace(job, commands=(("relion_refine", "--i", "particles.star", "--ref", "map.mrc"),)))
    facts = Facts(job, line, {found.path: found for found in files})
    assert demand.gpu_memory(facts) / 1e9 == pytest.approx(gigabytes, rel=0.01)


def head(x: int, y: int, z: int, mode: int = 2) -> bytes:
    """The header of an MRC file of 3 Å/px."""
    made = bytearray(1024)
    struct.pack_into("<4i", made, 0, x, y, z, mode)
    struct.pack_into("<3i", made, 28, x, y, z)
    struct.pack_into("<6f", made, 40, 3.0 * x, 3.0 * y, 3.0 * z, 90, 90, 90)
    struct.pack_into("<3i", made, 64, 1, 2, 3)
    made[208:216] = b"MAP DA\0\0"
    return bytes(made)


def data(folder: Path, box: int, count: int) -> None:
    """A map with signal at every resolution and projections of it; without a count, one with the right header only."""
    import numpy as np

    path = folder / "map.mrc"
    if not count:
        path.write_bytes(head(box, box, box))
        with path.open("ab") as file:
            file.truncate(1024 + 4 * box**3)
        stack = folder / "proj.mrcs"
        stack.write_bytes(head(box, box, 1))
        with stack.open("ab") as file:
            file.truncate(1024 + 4 * box**2)
        names = ["000001@proj.mrcs"]
    else:
        axis = np.arange(box) - box // 2
        inside = sum(part**2 for part in np.meshgrid(axis, axis, axis)) < (0.3 * box) ** 2
        noise = np.random.default_rng(box).standard_normal((box, box, box)) * inside
        path.write_bytes(head(box, box, box) + noise.astype("<f4").tobytes())
        words = ["relion_project", "--i", "map.mrc", "--o", "proj", "--nr_uniform", str(count), "--angpix", "3"]
        subprocess.run(words, cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=120)
        names = [f"{n + 1:06d}@proj.mrcs" for n in range(count)]
    rows = [(name, f"m{n % 4}.mrc", 1, 9000, 9000, 0) for n, name in enumerate(names)]
    columns = "ImageName MicrographName OpticsGroup DefocusU DefocusV DefocusAngle"
    window.particles(folder / "particles.star", columns, rows, box, 3.0)


def measured(folder: Path, line: str, processes_: int, threads: int) -> tuple[int, int]:
    """(predicted, measured) bytes of a real job, which our own package reads and whose script runs as on a machine."""
    script = window.add(folder, "Class3D/job001/", line, processes_, threads)
    job = Relion().read_job(script.relative_to(folder), folder)
    said = Relion().examine(job, Relion().inputs(job))
    assert not [f for f in said.findings if f.level == "error"], said.findings
    environment = {**os.environ, **Relion.environment}
    peak = 0
    with subprocess.Popen(
        ["bash", "Class3D/job001/run_submit.script"],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        while running.poll() is None:
            peak = max(peak, processes.peak_memory([running.pid, *processes.descendants(running.pid)]))
            time.sleep(0.05)
    assert running.returncode == 0
    return said.most.memory, peak


FLAGS = "--ctf --norm --scale --flatten_solvent --zero_mask --oversampling 1 --pool 3 --particle_diameter 60"
IN = f"--o Class3D/job001/run --i particles.star {FLAGS} --pipeline_control Class3D/job001/"
MAP = "--ref map.mrc --firstiter_cc --ini_high 6.1 --healpix_order 1 --offset_range 3 --offset_step 2 --sym C1"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("box", "program", "words", "processes_", "threads"),
    [
        (72, "relion_refine", f"{MAP} --iter 1 --K 1 --pad 2 --j 1", 1, 1),
        (88, "relion_refine", f"{MAP} --iter 1 --K 3 --pad 1 --j 2", 1, 2),
        (104, "relion_refine", f"{MAP} --iter 1 --K 1 --pad 2 --skip_gridding --j 1 --preread_images", 1, 1),
        (72, "relion_refine_mpi", f"{MAP} --iter 1 --K 2 --pad 2 --j 1", 3, 1),
        (
            56,
            "relion_refine_mpi",
            f"{MAP} --auto_refine --split_random_halves --auto_local_healpix_order 2 --pad 2 --j 1",
            3,
            1,
        ),
        (
            160,
            "relion_refine",
            "--iter 2 --K 12 --psi_step 12 --offset_range 5 --offset_step 2 --strict_highres_exp 23 --pad 2 --j 2",
            1,
            2,
        ),
    ],
)
def test_refinements_of_the_real_relion(
    tmp_path: Path, box: int, program: str, words: str, processes_: int, threads: int
) -> None:
    """Boxes that the formulas were never compared with while they were written.

    Each run goes to the highest resolution that it may (--ini_high, --strict_highres_exp): the most is predicted.
    """
    data(tmp_path, box, 16 if box < 100 else 12)
    said, peak = measured(tmp_path, f"`which {program}` {IN} {words}", processes_, threads)
    assert BOUNDS[0] < said / peak < BOUNDS[1], (said, peak)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("x", "y", "frames", "words"), [(1280, 960, 9, "--bin_factor 1"), (1600, 1600, 7, "--bin_factor 2")]
)
def test_motion_correction_of_the_real_relion(tmp_path: Path, x: int, y: int, frames: int, words: str) -> None:
    import numpy as np

    counts = np.random.default_rng(0).poisson(1.0, (frames, y, x)).astype("i1")
    (tmp_path / "m0.mrcs").write_bytes(head(x, y, frames, mode=0) + counts.tobytes())
    (tmp_path / "gain.mrc").write_bytes(head(x, y, 1) + np.ones((y, x), "<f4").tobytes())
    movies = tmp_path / "movies.star"
    optics = "OpticsGroupName OpticsGroup Voltage SphericalAberration AmplitudeContrast MicrographOriginalPixelSize"
    write_table(movies, "optics", optics.split(), [("opticsGroup1", 1, 300, 2.7, 0.1, 3.0)])
    write_table(movies, "movies", ["MicrographMovieName", "OpticsGroup"], [("m0.mrcs", 1)])
    line = (
        f"`which relion_run_motioncorr` --i movies.star --o Class3D/job001/ --use_own --j 2 {words} --bfactor 150 "
        "--dose_per_frame 3 --patch_x 3 --patch_y 3 --gainref gain.mrc --dose_weighting "
        "--pipeline_control Class3D/job001/"
    )
    said, peak = measured(tmp_path, line, 1, 2)
    assert BOUNDS[0] < said / peak < BOUNDS[1], (said, peak)
