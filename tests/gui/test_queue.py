"""RELION's own queue (relion_pipeliner, do_queue Yes) through ``cryoburst submit``: what RELION believes afterwards."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.alone]


def class2d(particles: str, iterations: int) -> str:
    """Options of a small Class2D."""
    return (
        f"fn_img == {particles};do_ctf_correction == No;nr_classes == 2;nr_iter == {iterations};"
        "particle_diameter == 250;offset_range == 2;psi_sampling == 30"
    )


def until(project: Any, folder: str, status: str, seconds: float = 180) -> None:
    """Wait until RELION itself says this of a job."""
    import time

    end = time.monotonic() + seconds
    while project.statuses()[folder] != status:
        assert time.monotonic() < end, (project.statuses(), project.text(f"{folder}run.err"))
        time.sleep(0.2)


def test_a_job_runs_elsewhere_and_relion_sees_success(project: Any) -> None:
    movies = project.run("Import", "fn_in_raw == Movies/*.mrcs;angpix == 3.0")
    folder = project.run("MotionCorr", f"input_star_mics == {movies}movies.star;fn_gain_ref == Movies/gain.mrc")
    assert project.statuses() == {movies: "succeeded", folder: "succeeded"}
    assert (project.root / folder / "Movies/mic_001.mrc").stat().st_size > 1_000_000
    assert "Correcting beam-induced motions" in project.text(f"{folder}run.out")
    assert project.text(f"{folder}run.err") == ""


def test_a_failed_command_shows_failed(project: Any, particles: str) -> None:
    import mrcfile

    with mrcfile.open(project.root / "Particles/a.mrcs", "r+") as stack:
        assert stack.data is not None
        stack.data[:] *= 9  # what no pre-flight sees without reading the images
    folder = project.run("Class2D", class2d(particles, 1))
    assert project.statuses()[folder] == "failed"
    assert "normalised" in project.text(f"{folder}run.err")
    assert project.text(f"{folder}run.err").count("cryoburst: ") == 1


def test_a_job_that_cannot_be_sent_does_not_stay_running_for_ever(project: Any, particles: str) -> None:
    (project.root / "Particles/b.mrcs").write_bytes(b"")
    folder = project.run("Class2D", class2d(particles, 1))
    assert project.statuses()[folder] == "failed"
    assert project.text(f"{folder}run.err").count("Particles/b.mrcs is empty") == 1


def test_abort_in_the_window_shows_aborted(project: Any, particles: str) -> None:
    folder = project.add("Class2D", class2d(particles, 500))
    with project.start(folder) as pipeliner:
        until(project, folder, "running")
        while "iteration 2 of" not in project.text(f"{folder}run.out"):
            assert pipeliner.poll() is None
        (project.root / folder / "RELION_JOB_ABORT_NOW").touch()
        until(project, folder, "aborted")
        pipeliner.kill()
    left = {p.name for p in (project.root / folder).glob("RELION_JOB_*")}
    assert left == {"RELION_JOB_EXIT_ABORTED"}
    assert (project.root / folder / "run_it001_optimiser.star").exists()


def test_a_class2d_goes_on_from_its_optimiser(project: Any, particles: str) -> None:
    folder = project.run("Class2D", class2d(particles, 2))
    assert project.statuses()[folder] == "succeeded"
    script = project.root / folder / "run_submit.script"
    text = script.read_text().replace("--iter 2", "--iter 4")
    script.write_text(
        text.replace(" --pipeline_control", f" --continue {folder}run_it002_optimiser.star --pipeline_control")
    )
    program = Path(sys.executable).with_name("cryoburst")
    done = subprocess.run(
        [program, "submit", f"{folder}run_submit.script", "--wait", "--json"],
        cwd=project.root,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=360,
    )
    assert done.returncode == 0, done.stdout + done.stderr + project.text(f"{folder}run.err")
    assert json.loads(done.stdout)["state"] == "SUCCEEDED"
    assert (project.root / folder / "run_it004_classes.mrcs").exists()
