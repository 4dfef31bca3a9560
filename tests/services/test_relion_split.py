"""The four jobs that are split, on the real RELION: what three parts leave is what one machine leaves."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import window

from cryoburst.packages.relion import Relion
from cryoburst.simulate.dataset import Settings, write

from .home import PROGRAM, Home

pytestmark = pytest.mark.slow
MOTION, CTF, PICK, EXTRACT = "MotionCorr/job002/", "CtfFind/job003/", "AutoPick/job004/", "Extract/job005/"
COMMANDS = {
    MOTION: f"`which relion_run_motioncorr` --i Import/job001/movies.star --o {MOTION} --first_frame_sum 1 "
    "--last_frame_sum -1 --use_own --j 1 --bin_factor 1 --bfactor 150 --dose_per_frame 3.6 --preexposure 0 --patch_x 3 "
    "--patch_y 3 --gainref Movies/gain.mrc --gain_rot 0 --gain_flip 0 --dose_weighting "
    f"--grouping_for_ps 2 --pipeline_control {MOTION}",
    CTF: f"`which relion_run_ctffind` --i {MOTION}corrected_micrographs.star --o {CTF} --Box 256 --ResMin 30 "
    "--ResMax 7 --dFMin 5000 --dFMax 40000 --FStep 500 --dAst 500 --ctfWin -1 --is_ctffind4 --fast_search "
    f"--use_given_ps --pipeline_control {CTF}",
    PICK: f"`which relion_autopick` --i {CTF}micrographs_ctf.star --odir {PICK} --pickname autopick --LoG "
    f"--LoG_diam_min 200 --LoG_diam_max 280 --shrink 0 --lowpass 20 --LoG_adjust_threshold 0 "
    f"--pipeline_control {PICK}\necho {CTF}micrographs_ctf.star > {PICK}coords_suffix_autopick.star",
    EXTRACT: f"`which relion_preprocess` --i {CTF}micrographs_ctf.star --coord_dir {PICK} --coord_suffix "
    f"_autopick.star --part_star {EXTRACT}particles.star --part_dir {EXTRACT} --extract --extract_size 100 "
    f"--scale 50 --norm --bg_radius 18 --white_dust -1 --black_dust -1 --invert_contrast --pipeline_control {EXTRACT}",
}
IMPORT = (
    "relion_import --do_movies --optics_group_name og1 --angpix 3.0 --kV 300 --Cs 2.7 --Q0 0.1 --beamtilt_x 0 "
    "--beamtilt_y 0 --i Movies/mic_*.mrcs --odir Import/job001/ --ofile movies.star"
)
IMAGES = (".mrc", ".mrcs", ".ctf")
LABEL = slice(224, 304)  # the first label of an MRC header: who wrote it, and when
OWN = ("run.out", "run.err", "run_submit.script", "job.star")


@pytest.fixture(scope="module")
def movies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven small movies and their gain."""
    folder = tmp_path_factory.mktemp("data")
    write(folder / "data", Settings(micrographs=7, size=512, particles=12, frames=6), lambda _line: None)
    return folder / "data/Movies"


def make(project: Path, movies: Path) -> None:
    """A RELION project with an Import that is done and the four jobs, as RELION's window writes them."""
    shutil.copytree(movies, project / "Movies")
    (project / "Import/job001").mkdir(parents=True)
    subprocess.run(IMPORT.split(), cwd=project, check=True, capture_output=True, timeout=60)
    two_groups(project / "Import/job001/movies.star")
    for folder, command in COMMANDS.items():
        window.add(project, folder, command)


def two_groups(path: Path) -> None:
    """The last movies in an optics group of their own."""
    text = path.read_text()
    (row,) = re.findall(r"^ *og1 .*\n", text, re.MULTILINE)
    text = text.replace(row, row + re.sub(r"og1( +)1 ", r"og2\g<1>2 ", row))
    path.write_text(re.sub(r"(mic_00[67]\.mrcs +)1", r"\g<1>2", text))


def bare(project: Path, folder: str) -> int:
    """Run a job's script here, as a shell would; its exit code."""
    with (project / folder / "run.out").open("ab") as out, (project / folder / "run.err").open("ab") as err:
        script = f"{folder}run_submit.script"
        environment = os.environ | Relion.environment | {"PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"}
        return subprocess.run(
            ["bash", script], cwd=project, stdout=out, stderr=err, timeout=300, env=environment
        ).returncode


@pytest.fixture
def home(tmp_path: Path, movies: Path) -> Iterator[Home]:
    made = Home(tmp_path)
    made.environment["PATH"] = f"{PROGRAM.parent}:{made.environment['PATH']}"  # our CTFFIND
    shutil.rmtree(made.project)
    made.project.mkdir()
    make(made.project, movies)
    yield made
    made.close()


def run(home: Home, folder: str, parts: int = 3) -> dict[str, object]:
    done = home.call("submit", f"{folder}run_submit.script", "--parts", str(parts))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"in {parts} parts\n")
    return home.ended(int(done.stdout.split()[2]))


def content(path: Path) -> bytes:
    """What of a file must be the same wherever it was made."""
    data = path.read_bytes()
    if path.suffix in IMAGES:
        return data[: LABEL.start] + data[LABEL.stop :]
    if path.name == "logfile.pdf":  # ghostscript writes when, and a digest of that
        return re.sub(rb"D:\d{14}|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S{0,6}|uuid:[0-9a-f-]+|/ID ?\[.*?\]", b"", data)
    return data


def files(folder: Path) -> dict[str, bytes | str]:
    """Every file of a job folder but our own; of a link, what it leads to."""
    found: dict[str, bytes | str] = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            assert path.exists(), f"{name} leads nowhere: {path.readlink()}"
            assert not path.readlink().is_absolute() or path.readlink().is_relative_to(folder.parent.parent), name
            found[name] = f"-> {path.resolve().relative_to(folder.parent.parent.resolve())}"
        elif path.is_file() and name not in OWN:
            found[name] = content(path)
    return found


def test_three_parts_leave_what_one_machine_leaves(home: Home, tmp_path: Path, movies: Path) -> None:
    alone = tmp_path / "alone"
    make(alone, movies)
    for folder in COMMANDS:
        assert bare(alone, folder) == 0, (alone / folder / "run.err").read_text()
        ended = run(home, folder)
        assert ended["state"] == "SUCCEEDED", (ended, (home.project / folder / "run.err").read_text())
        mine, theirs = files(home.project / folder), files(alone / folder)
        assert set(mine) == set(theirs)
        assert [name for name in theirs if mine[name] != theirs[name]] == []
    assert "og2" in (home.project / EXTRACT / "particles.star").read_text()
    out = (home.project / MOTION / "run.out").read_text()
    assert [out.index(f"cryoburst: part {n} of 3, SUCCEEDED") for n in (1, 2, 3)]
    assert "Written: MotionCorr/job002/logfile.pdf" in out
    of_parts = [path for path in (home.state / "store").rglob("manifest.json") if path.parent.parent.suffix]
    assert len(of_parts) == 3 * len(COMMANDS)
    assert [path for path in of_parts if b'logfile.pdf"' in path.read_bytes()] == []  # the join alone draws it
    home.assert_no_machines()


def test_a_broken_movie_fails_the_run_as_it_fails_relion_and_is_named(home: Home, tmp_path: Path, movies: Path) -> None:
    alone = tmp_path / "alone"
    make(alone, movies)
    for project in (home.project, alone):
        broken = project / "Movies/mic_004.mrcs"
        data = bytearray(broken.read_bytes())
        data[12:16] = (3).to_bytes(4, "little")  # MODE: complex numbers, which are no movie
        broken.write_bytes(data * 5)  # and as long as its header promises
    assert bare(alone, MOTION) == 1
    assert (alone / MOTION / "RELION_JOB_EXIT_FAILURE").exists()
    ended = run(home, MOTION)
    assert (ended["state"], ended["reason"]) == ("FAILED", "program_failed")
    assert "there is no output of Movies/mic_004.mrcs" in str(ended["explanation"])
    assert (home.project / MOTION / "RELION_JOB_EXIT_FAILURE").exists()
    errors = (home.project / MOTION / "run.err").read_text()
    said = [line for line in (alone / MOTION / "run.err").read_text().splitlines() if line.startswith("readMRC")]
    assert said
    assert said[0] in errors
    assert (home.project / MOTION / "Movies/mic_001.mrc").exists()  # what was made is at home
    assert not (home.project / MOTION / "corrected_micrographs.star").exists()


def test_a_micrograph_that_ctffind_can_not_fit_is_left_out_as_relion_leaves_it_out(
    home: Home, tmp_path: Path, movies: Path
) -> None:
    alone = tmp_path / "alone"
    make(alone, movies)
    stand_in = tmp_path / "ctffind"
    real = PROGRAM.with_name("cryoburst-ctffind")
    stand_in.write_text(
        f'#!/bin/sh\nread image\ncase "$image" in *mic_003*) exit 1;; esac\n(echo "$image"; cat) | {real}\n'
    )
    stand_in.chmod(0o755)
    for project in (home.project, alone):
        script = project / CTF / "run_submit.script"
        script.write_text(script.read_text().replace("--Box 256", f"--ctffind_exe {stand_in} --Box 256"))
        assert bare(project, MOTION) == 0
    assert bare(alone, CTF) == 0
    ended = run(home, CTF)
    assert ended["state"] == "SUCCEEDED"
    joined = (home.project / CTF / "micrographs_ctf.star").read_text()
    assert joined == (alone / CTF / "micrographs_ctf.star").read_text()
    assert "mic_003" not in joined
    assert "skipping, since cannot get CTF values for" in (home.project / CTF / "run.err").read_text()
    assert f"there is no output of {MOTION}Movies/mic_003.mrc" in home.call("show", "1").stdout
