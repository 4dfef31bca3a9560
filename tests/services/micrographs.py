"""A small project of RELION 3.1 from movies on, with all that CtfRefine and Polish read: made by RELION itself."""

import os
import shutil
import subprocess
from pathlib import Path

from tests import window

from cryoburst.packages.relion import Relion
from cryoburst.simulate import dataset, particles
from cryoburst.simulate.check import columns, numbers

from . import refinement

DATA = dataset.Settings(micrographs=6, particles=12, size=512, frames=6)
BOX, SMALL = 112, 56
PIXEL = DATA.pixel_size * BOX / SMALL
MOTION, HALVES, POST = "MotionCorr/job002/", "Refine3D/job003/", "PostProcess/job004/"
IMPORT = (
    "relion_import --do_movies --optics_group_name og1 --angpix 3.0 --kV 300 --Cs 2.7 --Q0 0.1 --beamtilt_x 0 "
    "--beamtilt_y 0 --i Movies/mic_*.mrcs --odir Import/job001/ --ofile movies.star"
)
CORRECT = (
    f"relion_run_motioncorr --i Import/job001/movies.star --o {MOTION} --first_frame_sum 1 --last_frame_sum -1 "
    f"--use_own --j 2 --bin_factor 1 --bfactor 150 --dose_per_frame {DATA.dose / DATA.frames} --preexposure 0 "
    "--patch_x 1 --patch_y 1 --gainref Movies/gain.mrc --gain_rot 0 --gain_flip 0 --dose_weighting"
)
MAPS = f"{HALVES}run_half{{}}_class001_unfil.mrc"
KNOWN = f"--i particles.star --f {POST}postprocess.star"
COMMANDS = {
    "CtfRefine": f"`which relion_ctf_refine` {KNOWN} --fit_defocus --kmin_defocus 60 --fit_mode fpfff "
    "--fit_beamtilt --kmin_tilt 60 --j 1",
    "Polish": f"`which relion_motion_refine` {KNOWN} --corr_mic {MOTION}corrected_micrographs.star --first_frame 1 "
    "--last_frame -1 --s_vel 0.2 --s_div 5000 --s_acc 2 --combine_frames --bfac_minfreq 60 --bfac_maxfreq -1 --j 1",
}
TRUTH = "AngleRot AngleTilt AnglePsi"
COLUMNS = f"{particles.COLUMNS} {TRUTH} OriginXAngst OriginYAngst RandomSubset"


def project(folder: Path) -> None:
    """Write the project. 20 s."""
    data = folder.with_name("data")
    dataset.write(data, DATA)
    particles.extract(data, DATA, BOX, SMALL)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("Movies", particles.FOLDER):
        shutil.copytree(data / name, folder / name)
    for made in ("Import/job001", MOTION, HALVES, POST):
        (folder / made).mkdir(parents=True)
    call(folder, IMPORT)
    call(folder, CORRECT)
    list_particles(folder, data)
    for half in (1, 2):
        call(folder, f"relion_reconstruct --i particles.star --o {MAPS.format(half)} --subset {half} --ctf")
    dataset.write_mrc(folder / "mask.mrc", refinement.sphere(SMALL), PIXEL)
    words = f"--i {MAPS.format(1)} --mask mask.mrc --angpix {PIXEL} --adhoc_bfac -300 --o {POST}postprocess"
    call(folder, f"relion_postprocess {words}")


def call(folder: Path, line: str) -> None:
    """One program of RELION in the project."""
    environment = os.environ | Relion.environment
    subprocess.run(line.split(), cwd=folder, env=environment, check=True, capture_output=True, timeout=120)


def list_particles(folder: Path, data: Path) -> None:
    """particles.star: what was extracted, at its true angles, as of the corrected micrographs."""
    truth = data / "truth/particles.star"
    x, y, *angles = numbers(truth, "particles", f"CoordinateX CoordinateY {TRUTH}")
    places = zip(columns(truth, "particles", "MicrographName")[0], x.round(), y.round(), strict=True)
    known = dict(zip(places, zip(*angles, strict=True), strict=True))
    rows: list[tuple[object, ...]] = []
    for row in zip(*columns(data / "Particles/particles.star", "particles", particles.COLUMNS), strict=True):
        name = row[3]
        micrograph = f"{MOTION}{Path(name).with_suffix('.mrc')}"
        seen = (float(each) for each in known[name, float(row[0]), float(row[1])])
        rows.append((*row[:3], micrograph, *row[4:], *seen, 0.0, 0.0, len(rows) % 2 + 1))
    window.particles(folder / "particles.star", COLUMNS, rows, SMALL, PIXEL)
