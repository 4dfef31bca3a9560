"""A real RELION job (a small Class2D) through power cuts, killed watchers, a deleted database, and a stop."""

import json
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from tests import window

from cryoburst.agent import processes

from .home import PATIENCE, Home, send

pytestmark = pytest.mark.slow
JOB = "Class2D/job001"
SUCCESS, FAILURE, ABORTED = (f"RELION_JOB_EXIT_{name}" for name in ("SUCCESS", "FAILURE", "ABORTED"))


def project(home: Home, iterations: int) -> None:
    """A project of RELION 3.1 with a Class2D of 60 particles, scripted as RELION's window does."""
    import mrcfile

    rng = np.random.default_rng(1)
    y, x = np.mgrid[-16:16, -16:16]
    blob = np.exp(-(x**2 + (2 * y) ** 2) / 40)
    images = np.stack([np.rot90(blob, k % 4) for k in range(60)]) + rng.normal(0, 0.5, (60, 32, 32))
    with mrcfile.new(home.project / "particles.mrcs", data=images.astype(np.float32)) as file:
        file.voxel_size = 4.0
    rows = [(f"{k + 1:06d}@particles.mrcs", 1) for k in range(60)]
    window.particles(home.project / "particles.star", "ImageName OpticsGroup", rows, 32, 4.0)
    command = (
        f"`which relion_refine` --o {JOB}/run --i particles.star --K 2 --iter {iterations} --particle_diameter 100 "
        "--tau2_fudge 2 --psi_step 24 --offset_range 2 --offset_step 2 --oversampling 1 --norm --scale --zero_mask "
        f"--dont_combine_weights_via_disc --pool 3 --pad 2 --flatten_solvent --j 1 --random_seed 1 "
        f"--pipeline_control {JOB}/"
    )
    window.add(home.project, f"{JOB}/", command)


def submit(home: Home) -> None:
    done = home.call("submit", f"{JOB}/run_submit.script")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Submitted run 1\n", "")


def outputs(home: Home) -> dict[str, bytes]:
    """The files that RELION's outputs are: without logs, scripts and markers."""
    left_out = ("run.out", "run.err", "job.star", "run_submit.script", SUCCESS)
    return {p.name: p.read_bytes() for p in (home.project / JOB).iterdir() if p.name not in left_out}


def agents(home: Home) -> list[int]:
    """The agents of all machines."""
    found: list[int] = []
    for token in home.tokens():
        for pid in processes.tagged("CRYOBURST_MACHINE", token):
            with suppress(OSError):  # it has ended meanwhile
                found += [pid] if b"agent.pyz\0run" in Path(f"/proc/{pid}/cmdline").read_bytes() else []
    return found


def iteration(home: Home, number: int) -> bool:
    """Whether an iteration's optimiser is at home."""
    return (home.project / JOB / f"run_it{number:03d}_optimiser.star").exists()


@pytest.mark.parametrize("fault", ["watcher", "database", "agent", "power"])
def test_class2d_that_meets_a_fault_in_its_middle_ends_as_it_does_alone(home: Home, fault: str) -> None:
    project(home, iterations=12)
    submit(home)
    held = home.hold(lambda project: (project / JOB / "run_it003_optimiser.star").exists())
    home.until(lambda run: run["state"] == "RUNNING" and iteration(home, 2))
    if fault == "watcher":
        assert home.kill_watcher()
    elif fault == "database":
        home.drop_database()
    elif fault == "agent":
        for pid in agents(home):
            os.kill(pid, signal.SIGKILL)
    else:
        assert home.cut_power()
    send(held, signal.SIGCONT)
    run = home.ended()
    attempts = 1 if fault in ("watcher", "database") else 2
    assert (run["state"], run["attempt"]) == ("SUCCEEDED", attempts)
    assert (home.project / JOB / SUCCESS).exists()
    assert not (home.project / JOB / FAILURE).exists()
    assert home.runs()[0]["progress"]["done"] == 12
    mine = outputs(home)
    home.assert_clean(attempts)
    alone = home.project / "alone"
    alone.mkdir()
    command = next(
        line for line in (home.project / JOB / "run_submit.script").read_text().splitlines() if "--o" in line
    )
    words = command.replace("$MPI", "").replace("`which relion_refine`", "relion_refine")
    words = words.replace(f"--o {JOB}/run", "--o alone/run").replace(f"--pipeline_control {JOB}/", "")
    subprocess.run(words.split(), cwd=home.project, check=True, capture_output=True, timeout=120)
    maps = sorted(alone.glob("run_it*_classes.mrcs"))
    assert len(maps) == 13
    assert set(mine) == {path.name for path in alone.iterdir()}
    if attempts == 2:  # RELION's --continue gives no identical maps
        assert " cryoburst: goes on after iteration " in (home.project / JOB / "run.out").read_text()
        return
    for path in maps:
        assert mine[path.name][1024:] == path.read_bytes()[1024:], path.name  # its header holds the time


def test_stop_of_a_class2d_brings_home_what_it_has_and_says_aborted(home: Home) -> None:
    project(home, iterations=400)
    submit(home)
    home.until(lambda run: run["state"] == "RUNNING" and iteration(home, 1))
    (home.project / JOB / "RELION_JOB_ABORT_NOW").touch()  # as RELION's window does
    run = home.ended()
    assert (run["state"], run["reason"]) == ("STOPPED", "aborted")
    assert (home.project / JOB / ABORTED).exists()
    assert not (home.project / JOB / "RELION_JOB_ABORT_NOW").exists()
    assert not (home.project / JOB / SUCCESS).exists()
    home.assert_clean(1)


def test_fetch_brings_back_outputs_that_were_deleted_at_home(home: Home) -> None:
    project(home, iterations=2)
    submit(home)
    assert home.ended()["state"] == "SUCCEEDED"
    before = outputs(home)
    gone = sorted((home.project / JOB).glob("run_it*"))
    for path in gone[::2]:
        path.unlink()
    gone[1].write_bytes(b"damaged")
    done = home.call("fetch", "1")
    assert done.returncode == 0, done.stderr
    assert outputs(home) == before
    home.drop_database()
    gone[0].unlink()
    assert home.call("fetch", "1").returncode == 0
    assert outputs(home) == before


def test_logs_follow_and_wait_end_with_the_run(home: Home) -> None:
    project(home, iterations=3)
    submit(home)
    following = home.start("logs", "1", "-f")
    waiting = home.start("wait", "1")
    said = following.communicate(timeout=PATIENCE)[0]
    assert following.returncode == 0
    said = said.removeprefix("cryoburst: run 1 has not started yet, so it has no output\n")  # on standard error
    assert said == (home.project / JOB / "run.out").read_text()
    assert "Maximization" in said
    assert waiting.communicate(timeout=PATIENCE)[0].splitlines()[-1].startswith("Run 1 SUCCEEDED")
    assert waiting.returncode == 0


def test_a_real_class2d_is_shown_drawn_and_exported(home: Home) -> None:
    project(home, iterations=20)
    submit(home)
    held = home.hold(lambda project: (project / JOB / "run_it003_optimiser.star").exists())
    home.until(lambda run: run["state"] == "RUNNING" and iteration(home, 2))
    live = json.loads(home.call("show", "1", "--json").stdout)["course"]
    send(held, signal.SIGCONT)
    assert live["iteration"] >= 2
    assert (live["iterations"], len(live["classes"])) == (20, 2)
    assert home.ended()["state"] == "SUCCEEDED"
    course = json.loads(home.call("show", "1", "--json").stdout)["course"]
    assert [each["iteration"] for each in course["history"]] == list(range(1, 21))
    assert abs(sum(each["share"] for each in course["classes"]) - 1) < 0.01
    done = home.call("show", "1", "--picture", "classes.png", "--html", "run.html")
    assert (done.returncode, done.stderr) == (0, "")
    assert (home.project / "classes.png").read_bytes().startswith(b"\x89PNG")
    text = (home.project / "run.html").read_text()
    assert text.count("data:image/png;base64,") == 2  # the averages, and the iterations
    assert "3.1.3" in text
    done = home.call("export", "1", "--out", "crate", "--with-data")
    assert (done.returncode, done.stderr) == (0, "")
    graph = json.loads((home.project / "crate/ro-crate-metadata.json").read_text())["@graph"]
    (action,) = (entity for entity in graph if entity["@type"] == "CreateAction")
    assert {f"data/{JOB}/{name}" for name in outputs(home)} <= {link["@id"] for link in action["result"]}
    assert next(e for e in graph if e["@type"] == "SoftwareApplication")["softwareVersion"] == "3.1.3"
    home.assert_clean(1)
