"""What jobs of the real RELION 3.1.3 took here, against what was said of them before: memory and disk.

Sizes that the formulas were not derived from. A job whose memory is nobody's to predict says so.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.packages.real import JOB, Ran, ball, bodies, data, halves, micrographs, movies, picks, placed, run, write

from cryoburst.packages.relion import star
from cryoburst.packages.relion.preflight import described, disk, memory

pytestmark = pytest.mark.slow
FLAGS = "--ctf --norm --scale --flatten_solvent --zero_mask --oversampling 1 --pool 3 --particle_diameter 60"
IN = f"--o {JOB}run --i particles.star {FLAGS}"
MAP = "--ref map.mrc --firstiter_cc --ini_high 6.1 --healpix_order 1 --offset_range 3 --offset_step 2 --sym C1"
HALVES = "--auto_refine --split_random_halves --auto_local_healpix_order 2"
PLANES = "--psi_step 12 --offset_range 5 --offset_step 2"
INITIAL = "--sgd --denovo_3dref --sgd_ini_iter 1 --sgd_inbetween_iter 1 --sgd_fin_iter 1 --sgd_ini_subset 3"
INITIAL += " --sgd_fin_subset 3 --sgd_write_iter 2 --sym C1 --flatten_solvent --zero_mask --pool 3 --oversampling 1"
INITIAL += " --dont_combine_weights_via_disc --offset_range 3 --offset_step 4"
SOLVENT = "--solvent_correct_fsc --solvent_mask mask.mrc"
LOCAL = "--oversampling 1 --healpix_order 3 --auto_local_healpix_order 3 --offset_range 3 --offset_step 1.5"
FSC = "--solvent_correct_fsc --multibody_masks bodies.star"
POST = f"--mask mask.mrc --i run_half1_class001_unfil.mrc --angpix 3 --o {JOB}postprocess --auto_bfac --autob_lowres 15"


def close(ratio: float) -> bool:
    return 0.7 < ratio < 1.3


def program(name: str, processes: int) -> str:
    return f"`which {name}{'_mpi' * (processes > 1)}`"


@pytest.mark.parametrize(
    ("box", "words", "processes", "threads"),
    [
        (72, f"{MAP} --iter 1 --K 1 --pad 2", 1, 1),
        (88, f"{MAP} --iter 1 --K 3 --pad 1", 1, 2),
        (104, f"{MAP} --iter 1 --K 1 --pad 2 --skip_gridding --preread_images", 1, 1),
        (72, f"{MAP} --iter 1 --K 2 --pad 2", 3, 1),
        (60, f"{MAP} --iter 1 --K 1 --pad 2", 4, 1),
        (56, f"{MAP} {HALVES} --pad 2", 3, 1),
        (64, f"{MAP} {HALVES} {SOLVENT} --pad 2 --skip_gridding --dont_combine_weights_via_disc", 3, 1),
        (56, f"{MAP} --iter 1 --K 4 --pad 2 --skip_gridding --dont_combine_weights_via_disc", 3, 1),
        (80, f"{MAP} --iter 1 --K 1 --pad 2 --strict_highres_exp 30", 1, 1),
        (160, f"{PLANES} --iter 2 --K 12 --strict_highres_exp 23 --pad 2", 1, 2),
    ],
)
def test_refinements(tmp_path: Path, box: int, words: str, processes: int, threads: int) -> None:
    """Each goes to the highest resolution that it may (--ini_high, few iterations): the most is predicted."""
    data(tmp_path, box, 10)
    write(tmp_path / "mask.mrc", ball(box, 0.32).astype(float))
    done = run(tmp_path, f"{program('relion_refine', processes)} {IN} {words} --j {threads}", processes, threads)
    assert close(done.ratio), done
    if "--auto_refine" in words:
        assert_full(tmp_path, done)
    else:
        assert close(done.disk), done


def assert_full(folder: Path, done: Ran) -> None:
    """How many iterations an automatic refinement takes nobody knows before: what it writes in so many is predicted,
    and that it is not more than what is said."""
    took = len(list((folder / JOB).glob("run_it*_optimiser.star"))) - 1
    assert took < disk.AUTO
    assert close(disk.refined(done.facts, took) / done.written), done
    assert done.disk > 1, done


def reached(folder: Path) -> int:
    """The largest Fourier box that a refinement has used, pixels."""
    found = [
        block.pairs["rlnCurrentImageSize"]
        for path in (folder / JOB).glob("run_it*_model.star")
        for block in star.first(path, path.name, ("model_general",)).values()
    ]
    return max(map(int, found))


@pytest.mark.parametrize(("box", "noise", "threads"), [(128, 6.0, 2), (160, 2.0, 1)])
def test_a_classification_that_stays_coarse(tmp_path: Path, box: int, noise: float, threads: int) -> None:
    """It takes what the box that it used takes, and that is between the least and the most that are said."""
    data(tmp_path, box, 60, noise=noise)
    line = f"`which relion_refine` {IN} {PLANES} --iter 4 --K 10 --pad 2 --tau2_fudge 2 --j {threads}"
    done = run(tmp_path, line, 1, threads)
    assert close(done.disk), done
    job = described.refinement(done.facts)
    assert job
    size = reached(tmp_path)
    assert size < job.size
    assert close(memory.refinement(replace(job, size=size)) / done.memory), (size, done)
    assert done.said.least.memory < done.memory < done.said.most.memory, done


@pytest.mark.parametrize(
    ("box", "words", "processes", "threads"),
    [
        (64, "--K 1 --pad 2 --skip_gridding --particle_diameter 60 --healpix_order 1", 1, 1),
        (88, "--K 3 --pad 1 --particle_diameter 60 --healpix_order 1", 1, 2),
        (72, "--K 2 --pad 2 --particle_diameter 60 --healpix_order 1", 3, 1),
        (40, "--K 2 --pad 1 --particle_diameter 110 --sgd_fin_resol 8 --healpix_order 1", 1, 1),  # becomes finer
    ],
)
def test_initial_models(tmp_path: Path, box: int, words: str, processes: int, threads: int) -> None:
    data(tmp_path, box, 6)
    line = f"{program('relion_refine', processes)} --o {JOB}run --i particles.star --ctf {INITIAL} {words}"
    done = run(tmp_path, f"{line} --j {threads}", processes, threads)
    assert close(done.ratio), done
    assert close(done.disk), done


@pytest.mark.parametrize(
    ("box", "count", "overlap", "threads", "words"),
    [
        (72, 2, 0.06, 1, "--pad 1"),
        (44, 3, 0.06, 2, "--pad 2 --skip_gridding"),
        (48, 2, 0.0, 1, "--pad 2"),
    ],
)
def test_bodies(tmp_path: Path, box: int, count: int, overlap: float, threads: int, words: str) -> None:
    """A MultiBody, from an iteration of a refinement that has not converged, and its analysis. Whether bodies overlap
    is not known before: less is taken where they do not."""
    data(tmp_path, box, 6 * count + 2)  # the analysis wants six for each body
    line = f"`which relion_refine_mpi` {IN} {MAP} {HALVES} {words[:7]} --auto_iter_max 2 --j 1"
    run(tmp_path, line, 3)
    kept(tmp_path, "Refine3D/job008")
    bodies(tmp_path, box, count, overlap)
    line = f"`which relion_refine_mpi` --continue Refine3D/job008/run_it002_optimiser.star --o {JOB}run {LOCAL} {words}"
    line += f" {FSC} --dont_combine_weights_via_disc --pool 3 --j {threads}"
    done = run(tmp_path, line, 3, threads)
    job = described.refinement(done.facts)
    assert job
    assert close(memory.refinement(job if overlap else replace(job, masks=count)) / done.memory), done
    assert done.ratio > 0.7
    assert_full(tmp_path, done)
    kept(tmp_path, "MultiBody/job009")
    line = "`which relion_flex_analyse` --PCA_orient --do_maps --k 2 --bodies bodies.star"
    line += f" --data MultiBody/job009/run_data.star --model MultiBody/job009/run_model.star --o {JOB}analyse"
    done = run(tmp_path, line)
    assert close(done.ratio) if overlap else done.ratio > 1, done
    assert close(done.disk), done


@pytest.mark.parametrize(
    ("box", "particles", "processes", "words"),
    [(80, 500, 1, "--preread_images"), (56, 1500, 3, "--preread_images"), (32, 6000, 1, "")],
)
def test_many_particles(tmp_path: Path, box: int, particles: int, processes: int, words: str) -> None:
    data(tmp_path, box, particles)
    line = f"{program('relion_refine', processes)} {IN} {PLANES} --iter 1 --K 1 --skip_align {words} --j 1"
    done = run(tmp_path, line, processes)
    assert close(done.ratio), done
    assert close(done.disk), done


@pytest.mark.parametrize("box", [120, 150])
def test_postprocess(tmp_path: Path, box: int) -> None:
    halves(tmp_path, box)
    assert close((done := run(tmp_path, f"`which relion_postprocess` {POST}")).ratio), done


@pytest.mark.parametrize(("box", "processes"), [(84, 1), (90, 2)])
def test_local_resolution(tmp_path: Path, box: int, processes: int) -> None:
    halves(tmp_path, box)
    words = f"--locres --i run_half1_class001_unfil.mrc --o {JOB}relion --angpix 3 --adhoc_bfac -50"
    line = f"{program('relion_postprocess', processes)} {words} --locres_sampling 75"
    assert close((done := run(tmp_path, line, processes)).ratio), done


def test_a_mask(tmp_path: Path) -> None:
    halves(tmp_path, 132)
    words = "--lowpass 15 --ini_threshold 0.5 --extend_inimask 1 --width_soft_edge 2"
    line = f"`which relion_mask_create` --i run_half1_class001_unfil.mrc --o {JOB}mask.mrc {words} --j 2"
    assert close((done := run(tmp_path, line, 1, 2)).ratio), done


@pytest.mark.parametrize(("x", "y", "shrink", "processes"), [(1800, 1400, "0", 1), (1300, 1300, "1", 2)])
def test_picking_by_shape(tmp_path: Path, x: int, y: int, shrink: str, processes: int) -> None:
    micrographs(tmp_path, x, y, 2)
    words = f"--LoG --LoG_diam_min 200 --LoG_diam_max 280 --shrink {shrink} --lowpass 20 --LoG_adjust_threshold 0"
    line = f"{program('relion_autopick', processes)} --i micrographs.star --odir {JOB} --pickname autopick {words}"
    assert close((done := run(tmp_path, line, processes)).ratio), done


@pytest.mark.parametrize(("x", "y", "references", "lowpass"), [(1100, 900, 3, 20), (900, 900, 6, -1)])
def test_picking_by_templates(tmp_path: Path, x: int, y: int, references: int, lowpass: int) -> None:
    import numpy as np

    micrographs(tmp_path, x, y)
    axis = np.arange(64) - 32
    blob = np.exp(-(axis[:, None] ** 2 + axis[None] ** 2) / 288)
    write(tmp_path / "refs.mrcs", np.stack([blob] * references))
    picture = np.random.default_rng(0).standard_normal((y, x))
    for top in range(100, 400, 70):
        picture[top : top + 64, 200:264] -= 4 * blob  # without any particle, 3.1.3 ends with a buffer overflow
    write(tmp_path / "Mics/m0.mrc", picture)
    words = f"--ref refs.mrcs --invert --ang 120 --shrink {int(lowpass < 0)} --lowpass {lowpass} --angpix_ref 3"
    words += " --particle_diameter 150 --threshold 0.01 --min_distance 100 --max_stddev_noise -1"
    line = f"`which relion_autopick` --i micrographs.star --odir {JOB} --pickname autopick {words}"
    assert close((done := run(tmp_path, line)).ratio), done


@pytest.mark.parametrize(("x", "y", "more", "processes"), [(2200, 1800, "--scale 64", 1), (1600, 1700, "", 2)])
def test_extract(tmp_path: Path, x: int, y: int, more: str, processes: int) -> None:
    micrographs(tmp_path, x, y, 2)
    picks(tmp_path, x, y, 100, 2)
    words = f"--coord_dir Picks/ --coord_suffix _pick.star --part_star {JOB}particles.star --part_dir {JOB} --extract"
    words += f" --extract_size 128 --norm --bg_radius 24 --white_dust -1 --black_dust -1 --invert_contrast {more}"
    done = run(tmp_path, f"{program('relion_preprocess', processes)} --i micrographs.star {words}", processes)
    assert close(done.ratio), done
    assert close(done.disk), done


@pytest.mark.parametrize(("x", "y", "box"), [(1800, 1600, 512), (900, 1000, 256)])
def test_ctffind(tmp_path: Path, x: int, y: int, box: int) -> None:
    micrographs(tmp_path, x, y, 2)
    words = f"--Box {box} --ResMin 30 --ResMax 7 --dFMin 5000 --dFMax 40000 --FStep 500 --dAst 100 --ctfWin -1"
    line = f"`which relion_run_ctffind` --i micrographs.star --o {JOB} {words} --is_ctffind4 --fast_search"
    done = run(tmp_path, line)
    assert close(done.ratio), done
    assert close(done.disk), done


@pytest.mark.parametrize(
    ("x", "y", "frames", "words"), [(1280, 960, 9, "--bin_factor 1"), (1600, 1600, 7, "--bin_factor 2")]
)
def test_motion_correction(tmp_path: Path, x: int, y: int, frames: int, words: str) -> None:
    movies(tmp_path, x, y, frames)
    words += " --bfactor 150 --dose_per_frame 3 --patch_x 3 --patch_y 3 --gainref gain.mrc --dose_weighting"
    line = f"`which relion_run_motioncorr` --i movies.star --o {JOB} --use_own --j 2 {words} --grouping_for_ps 2"
    done = run(tmp_path, line, 1, 2)
    assert close(done.ratio), done
    assert close(done.disk), done


@pytest.mark.parametrize(("box", "processes"), [(88, 1), (72, 2)])
def test_subtraction(tmp_path: Path, box: int, processes: int) -> None:
    data(tmp_path, box, 12)
    run(tmp_path, f"`which relion_refine` {IN} {MAP} --iter 1 --K 1 --pad 2 --j 2", 1, 2)
    kept(tmp_path, "Class3D/job009")
    write(tmp_path / "mask.mrc", ball(box, 0.2).astype(float))
    words = f"--i Class3D/job009/run_it001_optimiser.star --mask mask.mrc --o {JOB}"
    line = f"{program('relion_particle_subtract', processes)} {words}"
    assert close((done := run(tmp_path, line, processes)).ratio), done


@pytest.mark.parametrize(
    ("box", "each", "frames", "processes", "threads"), [(104, 10, 0, 1, 1), (72, 40, 10, 1, 2), (64, 10, 6, 2, 1)]
)
def test_ctf_refinement_and_polishing(
    tmp_path: Path, box: int, each: int, frames: int, processes: int, threads: int
) -> None:
    """The former without frames."""
    movies(tmp_path, 512, 512, frames or 3, 2)
    words = "--bfactor 150 --dose_per_frame 3 --patch_x 1 --patch_y 1 --gainref gain.mrc --dose_weighting"
    run(tmp_path, f"`which relion_run_motioncorr` --i movies.star --o {JOB} --use_own --j 1 --bin_factor 1 {words}")
    kept(tmp_path, "MotionCorr/job002")
    data(tmp_path, box, 2 * each, 2)
    halves(tmp_path, box)
    placed(tmp_path, "MotionCorr/job002/corrected_micrographs.star", box, 512, 512)
    run(tmp_path, f"`which relion_postprocess` {POST}")
    kept(tmp_path, "PostProcess/job003")
    words = f"--i particles.star --f PostProcess/job003/postprocess.star --o {JOB} --j {threads}"
    if not frames:
        words = f"{program('relion_ctf_refine', processes)} {words} --fit_defocus --kmin_defocus 25 --fit_mode fpfff"
    else:
        movement = "--corr_mic MotionCorr/job002/corrected_micrographs.star --first_frame 1 --last_frame -1"
        words = f"{program('relion_motion_refine', processes)} {words} {movement} --s_vel 0.2 --s_div 5000 --s_acc 2"
        words += " --combine_frames --bfac_minfreq 20 --bfac_maxfreq -1"
    done = run(tmp_path, words, processes, threads)
    assert close(done.ratio), done
    if frames:
        assert close(done.disk), done


def kept(folder: Path, name: str) -> None:
    """Move what the job left to where later jobs find it by this name."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.move(folder / JOB, folder / name)
    for path in (folder / name).rglob("*.star"):
        path.write_text(path.read_text().replace(JOB, f"{name}/"))
