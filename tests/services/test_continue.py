"""What a user continues, and RELION's other jobs that go on: real ones."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests import bare, window

from . import refinement
from .home import Home
from .test_go_on import cut_after

pytestmark = pytest.mark.slow
SIMULATE = """
import sys
from pathlib import Path
from cryoburst.simulate.dataset import Settings, write
write(Path(sys.argv[1]), Settings(micrographs=6, particles=4, size=512, frames=6), print)
"""
MOTION = "MotionCorr/job002"
COMMAND = (
    f"`which relion_run_motioncorr` --i movies.star --o {MOTION}/ --first_frame_sum 1 --last_frame_sum -1 --use_own "
    "--j 1 --bin_factor 1 --bfactor 150 --dose_per_frame 6 --preexposure 0 --patch_x 1 --patch_y 1 --dose_weighting "
    f"--grouping_for_ps 2  --pipeline_control {MOTION}/"
)


def continue_(home: Home, folder: str, after: int) -> None:
    """What RELION's window does on Continue: another --o, and the optimiser to go on from."""
    words = refinement.COMMANDS["Class3D"].replace("--iter 6", "--iter 5")
    start = f"--continue {folder}/run_it{after:03d}_optimiser.star --o {folder}/run_ct{after}"
    refinement.write(home, folder, f"{start} {words}")


@pytest.mark.parametrize("leave", [(), ("--leave", "*")])
def test_a_stopped_class3d_is_continued(home: Home, leave: tuple[str, ...]) -> None:
    """The optimiser and its files are at home, or only in the store."""
    refinement.project(home)
    folder = refinement.job(home, "Class3D", refinement.COMMANDS["Class3D"].replace("--iter 6", "--iter 60"))
    assert home.call("submit", f"{folder}/run_submit.script", *leave).returncode == 0
    home.wait(lambda: refinement.newest(home, folder) >= 3, "the third iteration")
    assert home.call("stop", "1", "--wait").stdout == "Run 1 STOPPED\n"
    after = 3
    assert (home.project / folder / f"run_it{after:03d}_optimiser.star").is_symlink() == bool(leave)
    continue_(home, folder, after)
    done = home.call("submit", f"{folder}/run_submit.script", *leave)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    run = home.ended(2)
    assert run["state"] == "SUCCEEDED", home.log()
    assert run["bytes_sent"] == 0  # all of it was in the store
    found = refinement.names(home, folder)
    assert {f"run_ct3_it{n:03d}_optimiser.star" for n in (3, 4, 5)} <= found
    assert "run_ct3_it005_class002.mrc" in found
    if leave:
        assert (home.project / folder / "run_it003_class001.mrc").is_symlink()  # it went from store to machine


def test_where_a_continued_map_came_from_is_told_back_to_its_first_reference(home: Home) -> None:
    """The run that went on reads no reference: only the one before it does."""
    refinement.project(home)
    folder = refinement.job(home, "Class3D", refinement.COMMANDS["Class3D"])
    assert home.call("submit", f"{folder}/run_submit.script", "--wait").returncode == 0
    continue_(home, folder, 3)
    assert home.call("submit", f"{folder}/run_submit.script", "--wait").returncode == 0
    done = home.call("export", "2", "--out", "crate", "--json")
    assert [(job["job"], job["run"]) for job in json.loads(done.stdout)["jobs"][:2]] == [(folder, 2), (folder, 1)]
    crate = home.project / "crate"
    entities = {e["@id"]: e for e in json.loads((crate / "ro-crate-metadata.json").read_text())["@graph"]}
    went_on, began = entities[f"#job-{folder}"], entities[f"#job-{folder}/run-1"]
    assert went_on["identifier"] != began["identifier"]
    made = {file["@id"] for file in began["result"]}
    assert {file["@id"] for file in went_on["object"]} & made  # the optimiser and its maps
    assert "--ref " in (crate / f"jobs/{folder}/run-1/script.sh").read_text()
    assert "--continue " in (crate / f"jobs/{folder}/script.sh").read_text()


def test_a_continued_class3d_whose_machine_dies_goes_on_under_its_own_name(home: Home) -> None:
    refinement.project(home)
    folder = refinement.job(home, "Class3D", refinement.COMMANDS["Class3D"].replace("--iter 6", "--iter 2"))
    assert home.call("submit", f"{folder}/run_submit.script", "--wait").returncode == 0
    continue_(home, folder, 2)
    assert home.call("submit", f"{folder}/run_submit.script").returncode == 0
    home.hold(lambda project: 4 in refinement.begun(project / folder))  # the run would be over soon
    assert home.cut_when((home.project / folder / "run_ct2_it003_optimiser.star").exists)
    run = home.ended(2)
    assert (run["state"], run["attempt"]) == ("SUCCEEDED", 2), home.log()
    names = refinement.names(home, folder)
    assert {f"run_ct2_it{n:03d}_optimiser.star" for n in (2, 3, 4, 5)} <= names
    assert not [name for name in names if "_ct3" in name or "_ct2_ct" in name]


def test_initialmodel_whose_machines_die(home: Home) -> None:
    """RELION writes every second iteration here: so many a loss may cost."""
    import random

    refinement.project(home)
    folder = refinement.job(home, "InitialModel")
    assert home.call("submit", f"{folder}/run_submit.script").returncode == 0
    losses = sum(cut_after(home, folder, iteration, random.Random(5)) for iteration in (2, 4))
    run = home.ended()
    assert (run["state"], run["attempt"]) == ("SUCCEEDED", losses + 1), home.log()
    assert len(home.goes_on()) == losses >= 1
    assert refinement.names(home, folder) == refinement.alone(home, folder)


def motioncorr(home: Home) -> None:
    """A project with six movies."""
    subprocess.run(
        [sys.executable, "-c", SIMULATE, str(home.root / "data")], check=True, capture_output=True, timeout=300
    )
    (home.project / "Movies").symlink_to(home.root / "data/Movies")
    words = "--do_movies --optics_group_name one --angpix 3 --kV 300 --Cs 2.7 --Q0 0.1 --beamtilt_x 0 --beamtilt_y 0"
    words = [*words.split(), "--i", "Movies/*.mrcs", "--odir", "./", "--ofile", "movies.star"]
    subprocess.run(["relion_import", *words], cwd=home.project, check=True, capture_output=True, timeout=60)
    window.add(home.project, f"{MOTION}/", COMMAND)


def test_motioncorr_whose_machine_dies_does_no_movie_twice_that_was_whole(home: Home) -> None:
    motioncorr(home)
    home.gate("relion_run_motioncorr")
    home.begin(1)
    assert home.call("submit", f"{MOTION}/run_submit.script").returncode == 0
    movies = home.project / MOTION / "Movies"
    home.hold(lambda project: len(list((project / MOTION / "Movies").glob("*_shifts.eps"))) >= 3)
    assert home.cut_when(lambda: len(list(movies.glob("*_shifts.eps"))) >= 2)
    home.until(lambda run: run["attempt"] == 2)
    whole = whole_movies(movies)
    before = {path: path.stat().st_mtime_ns for stem in whole for path in movies.glob(f"{stem}*")}
    home.begin(2)
    run = home.ended()
    assert (run["state"], run["attempt"]) == ("SUCCEEDED", 2), home.log()
    assert len(whole) >= 1
    assert len(whole_movies(movies)) == 6
    assert {path: path.stat().st_mtime_ns for path in before} == before
    (said,) = home.goes_on()
    assert f"{len(whole)} are done" in said or "one micrograph is done" in said
    alone = bare.run(home.project, MOTION, home.root / "alone", refinement.mpi(home))
    assert list(bare.differences(home.project / MOTION, alone)) == []


def whole_movies(folder: Path) -> list[str]:
    """The movies of which all files are at home."""
    ends = (".mrc", ".star", "_PS.mrc", "_shifts.eps", ".log")
    return sorted(
        path.stem for path in folder.glob("*.star") if all((folder / f"{path.stem}{end}").exists() for end in ends)
    )
