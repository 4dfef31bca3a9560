"""Small refinements of RELION 3.1 in a user's home: noisy views of a phantom, and jobs scripted as its window does."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tests import bare, window

from cryoburst.demo import bodies, facts
from cryoburst.simulate.dataset import write_mrc

from .home import Home

BOX, PIXEL, VIEWS = 24, 4.0, 60
BLOBS = ((0, 0, 0, 2.1, 1), (4.2, 1.4, -2.1, 1.4, 1), (-3.5, 3.5, 2.8, 1.8, 1.2), (1.4, -4.2, 3.5, 1.4, 0.8))
COMMON = (
    "--i particles.star --particle_diameter 90 --pad 1 --pool 4 --dont_combine_weights_via_disc --norm --scale "
    "--zero_mask --flatten_solvent --healpix_order 1 --offset_range 2 --offset_step 2 --oversampling 1 --sym C1 "
    "--j 1 --random_seed 1"
)
REFERENCE = "--ref map.mrc --ini_high 30"
COMMANDS = {
    "Class3D": f"{COMMON} {REFERENCE} --K 2 --iter 6 --tau2_fudge 4 --firstiter_cc",
    "Refine3D": f"{COMMON} {REFERENCE} --auto_refine --split_random_halves --auto_local_healpix_order 1 "
    "--low_resol_join_halves 40",
    "InitialModel": f"{COMMON} --sgd_ini_iter 2 --sgd_inbetween_iter 3 --sgd_fin_iter 1 --sgd_write_iter 2 "
    "--sgd_ini_resol 60 --sgd_fin_resol 40 --sgd_ini_subset 20 --sgd_fin_subset 30 --sgd --denovo_3dref --K 1".replace(
        "--healpix_order 1", "--healpix_order 0"
    ),
}
LOCAL = (
    "--oversampling 1 --healpix_order 2 --auto_local_healpix_order 2 --offset_range 2 --offset_step 1.5 "
    "--dont_combine_weights_via_disc --pool 4 --pad 1 --j 1 --random_seed 1"
)
ANALYSE = (
    "`which relion_flex_analyse` --PCA_orient --model {made}/run_model.star --data {made}/run_data.star "
    "--bodies {masks}bodies.star --o {made}/analyse --do_maps --k 2  --pipeline_control {made}/\n"
)
STEP = re.compile(r"(?:Expectation|Stochastic Gradient Descent) iteration\s+(\d+)")
LOGS = ("run.out", "run.err", "run_submit.script", "job.star")


def project(home: Home) -> None:
    """A project with particles.star, its stack, and map.mrc, which they are views of."""
    rng = np.random.default_rng(1)
    grid = np.mgrid[-BOX // 2 : BOX // 2, -BOX // 2 : BOX // 2, -BOX // 2 : BOX // 2]
    volume = sum(w * np.exp(-sum((g - c) ** 2 for g, c in zip(grid, at, strict=True)) / s**2) for *at, s, w in BLOBS)
    write_mrc(home.project / "map.mrc", np.asarray(volume, np.float32), PIXEL)
    views = zip(rng.uniform(0, 360, VIEWS), np.degrees(np.arccos(rng.uniform(-1, 1, VIEWS))), strict=True)
    rows = [(float(rot), float(tilt), float(rng.uniform(0, 360)), 1) for rot, tilt in views]
    angles = home.project / "angles.star"
    window.particles(angles, "AngleRot AngleTilt AnglePsi OpticsGroup", rows, BOX, PIXEL)
    words = "--i map.mrc --ang angles.star --o particles --angpix 4 --add_noise --white_noise 0.2 --random_seed 1"
    subprocess.run(["relion_project", *words.split()], cwd=home.project, check=True, capture_output=True, timeout=60)
    rows = [(f"{k + 1:06d}@particles.mrcs", 1) for k in range(VIEWS)]
    window.particles(home.project / "particles.star", "ImageName OpticsGroup", rows, BOX, PIXEL)


def job(home: Home, kind: str, command: str = "", number: int = 1, processes: int = 1) -> str:
    """A job folder with the script that RELION's window would write into it; its name, without a slash."""
    folder = f"{kind}/job{number:03d}"
    write(home, folder, f"--o {folder}/run {command or COMMANDS[kind]}", processes)
    return folder


def write(home: Home, folder: str, words: str, processes: int = 1) -> None:
    """The submission script of a refinement, and its folder."""
    program = "relion_refine_mpi" if processes > 1 else "relion_refine"
    window.add(home.project, f"{folder}/", f"`which {program}` {words}  --pipeline_control {folder}/", processes)


def multibody(home: Home, refined: str) -> str:
    """A MultiBody job that goes on from a Refine3D that is done, with masks of two bodies; its folder."""
    made, masks = "MultiBody/job003", "External/job002/"
    (home.project / masks).mkdir(parents=True)
    write_mrc(home.project / "mask.mrc", sphere(BOX), PIXEL)
    call(home, [sys.executable, bodies.__file__, "--o", masks, "--in_mask", "mask.mrc"])
    start = facts.last_of(home.project, refined, "optimiser").relative_to(home.project)
    words = f"--continue {start} --o {made}/run --multibody_masks {masks}bodies.star --solvent_correct_fsc {LOCAL}"
    write(home, made, words, processes=3)
    with (home.project / made / "run_submit.script").open("a") as script:
        script.write(ANALYSE.format(made=made, masks=masks))
    return made


def call(home: Home, words: list[str]) -> None:
    """Run a program in the project, as on a computer without us."""
    subprocess.run(words, cwd=home.project, env=mpi(home), check=True, capture_output=True, timeout=300)


def sphere(size: int) -> NDArray[np.float32]:
    """A soft mask of a cube's inner two thirds."""
    z, y, x = np.mgrid[:size, :size, :size] - size // 2
    return np.clip(size / 3 - np.sqrt(x**2 + y**2 + z**2), 0, 1).astype(np.float32)


def names(home: Home, folder: str) -> set[str]:
    """The names of a job's outputs and markers."""
    found = {p.relative_to(home.project / folder).as_posix() for p in (home.project / folder).rglob("*")}
    return found - set(LOGS)


def steps(home: Home, folder: str) -> list[int]:
    """The iterations in the order in which they were begun, by the log."""
    return begun(home.project / folder)


def begun(folder: Path) -> list[int]:
    """The same of a job folder wherever it is; none where there is no log yet."""
    log = folder / "run.out"
    return [int(n) for n in STEP.findall(log.read_text(errors="replace"))] if log.exists() else []


def newest(home: Home, folder: str) -> int:
    """The newest iteration whose optimiser is at home, as a file or a stub; -1 when there is none."""
    found = [int(p.name[6:9]) for p in (home.project / folder).glob("run_it*_optimiser.star")]
    return max(found, default=-1)


def alone(home: Home, folder: str) -> set[str]:
    """The names that the same script leaves when nothing disturbs it, in a copy of the project."""
    made = bare.run(home.project, folder, home.root / "alone", mpi(home))
    return {p.relative_to(made).as_posix() for p in made.rglob("*")} - set(LOGS)


def mpi(home: Home) -> dict[str, str]:
    """The environment in which Open MPI starts here."""
    from cryoburst.packages.relion import Relion

    return home.environment | Relion.environment
