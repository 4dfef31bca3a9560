"""Small refinements of RELION 3.1 in a user's home: noisy views of a phantom, and jobs scripted as its window does."""

import re
import subprocess
from pathlib import Path

import numpy as np

from cryoburst.packages.relion.setup import write_template

from .home import Home

PIPELINE = "\n# version 30001\n\ndata_pipeline_general\n\n_rlnPipeLineJobCounter                       2\n \n"
JOB_STAR = "\ndata_job\n\n_rlnJobType                             %d\n_rlnJobIsContinue                       0\n"
NUMBERS = {"Class2D": 8, "Class3D": 9, "Refine3D": 10, "InitialModel": 18, "MultiBody": 19}
BOX, PIXEL, VIEWS = 24, 4.0, 60
BLOBS = ((0, 0, 0, 2.1, 1), (4.2, 1.4, -2.1, 1.4, 1), (-3.5, 3.5, 2.8, 1.8, 1.2), (1.4, -4.2, 3.5, 1.4, 0.8))
OPTICS = f"""
# version 30001

data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
_rlnSphericalAberration #3
_rlnVoltage #4
_rlnImagePixelSize #5
_rlnImageSize #6
_rlnImageDimensionality #7
1 one 2.7 300 {PIXEL} {BOX} 2

# version 30001

data_particles

loop_
"""
ANGLES = "_rlnAngleRot #1\n_rlnAngleTilt #2\n_rlnAnglePsi #3\n_rlnOpticsGroup #4\n"
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
STEP = re.compile(r"(?:Expectation|Stochastic Gradient Descent) iteration\s+(\d+)")
LOGS = ("run.out", "run.err", "run_submit.script", "job.star")


def project(home: Home) -> None:
    """A project with particles.star, its stack, and map.mrc, which they are views of."""
    import mrcfile

    rng = np.random.default_rng(1)
    grid = np.mgrid[-BOX // 2 : BOX // 2, -BOX // 2 : BOX // 2, -BOX // 2 : BOX // 2]
    volume = sum(w * np.exp(-sum((g - c) ** 2 for g, c in zip(grid, at, strict=True)) / s**2) for *at, s, w in BLOBS)
    with mrcfile.new(home.project / "map.mrc", data=np.asarray(volume, np.float32)) as file:
        file.voxel_size = PIXEL
    views = zip(rng.uniform(0, 360, VIEWS), np.degrees(np.arccos(rng.uniform(-1, 1, VIEWS))), strict=True)
    rows = "".join(f"{rot:.3f} {tilt:.3f} {rng.uniform(0, 360):.3f} 1\n" for rot, tilt in views)
    (home.project / "angles.star").write_text(OPTICS + ANGLES + rows)
    words = "--i map.mrc --ang angles.star --o particles --angpix 4 --add_noise --white_noise 0.2 --random_seed 1"
    subprocess.run(["relion_project", *words.split()], cwd=home.project, check=True, capture_output=True, timeout=60)
    rows = "".join(f"{k + 1:06d}@particles.mrcs 1\n" for k in range(VIEWS))
    (home.project / "particles.star").write_text(OPTICS + "_rlnImageName #1\n_rlnOpticsGroup #2\n" + rows)
    (home.project / "default_pipeline.star").write_text(PIPELINE)


def job(home: Home, kind: str, command: str = "", number: int = 1, processes: int = 1) -> str:
    """A job folder with the script that RELION's window would write into it; its name, without a slash."""
    folder = f"{kind}/job{number:03d}"
    (home.project / folder).mkdir(parents=True)
    (home.project / folder / "job.star").write_text(JOB_STAR % NUMBERS[kind])
    write_script(home, folder, f"--o {folder}/run {command or COMMANDS[kind]}", processes)
    return folder


def write_script(home: Home, folder: str, words: str, processes: int = 1) -> None:
    """The submission script of a refinement."""
    write_template(home.root / "template.sh")
    text = (home.root / "template.sh").read_text()
    program = "relion_refine_mpi" if processes > 1 else "relion_refine"
    filled = {
        "name": f"{folder}/",
        "mpinodes": str(processes),
        "threads": "1",
        "command": f"`which {program}` {words}  --pipeline_control {folder}/",
    }
    for word, value in filled.items():
        text = text.replace(f"XXX{word}XXX", value)
    for number in (1, 2, 3):
        text = text.replace(f"XXXextra{number}XXX", "1" if number == 3 else "")
    (home.project / folder / "run_submit.script").write_text(text)


def names(home: Home, folder: str) -> set[str]:
    """The names of a job's outputs and markers."""
    found = {p.relative_to(home.project / folder).as_posix() for p in (home.project / folder).rglob("*")}
    return found - set(LOGS)


def steps(home: Home, folder: str) -> list[int]:
    """The iterations in the order in which they were begun, by the log."""
    return [int(n) for n in STEP.findall((home.project / folder / "run.out").read_text(errors="replace"))]


def newest(home: Home, folder: str) -> int:
    """The newest iteration whose optimiser is at home, as a file or a stub; -1 when there is none."""
    found = [int(p.name[6:9]) for p in (home.project / folder).glob("run_it*_optimiser.star")]
    return max(found, default=-1)


def alone(home: Home, folder: str) -> set[str]:
    """The names that the same command leaves when nothing disturbs it, in a copy of the project."""
    copy = home.root / "alone"
    (copy / folder).mkdir(parents=True)
    for name in ("particles.star", "particles.mrcs", "map.mrc"):
        (copy / name).symlink_to(home.project / name)
    script = Path(home.project / folder / "run_submit.script").read_text()
    subprocess.run(["bash", "-c", script], cwd=copy, check=True, capture_output=True, timeout=300, env=mpi(home))
    return {p.relative_to(copy / folder).as_posix() for p in (copy / folder).rglob("*")}


def mpi(home: Home) -> dict[str, str]:
    """The environment in which Open MPI starts here."""
    from cryoburst.packages.relion import Relion

    return home.environment | Relion.environment
