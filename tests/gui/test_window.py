"""RELION's real window under Xvfb, driven by mouse: Run sends the job away, and the window shows how it goes.

Positions are those of RELION 3.1.3's 800x800 window in the corner of the screen. A list is judged by its ink.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytestmark = [pytest.mark.slow, pytest.mark.alone]

SIZE = (1280, 1000)
SCHEDULED, RUNNING, FINISHED = (300, 575), (300, 465), (40, 465)  # the first line of each list
RUN = (741, 366)
JOB_ACTIONS, ABORT, CONFIRM = (145, 404), (155, 473), (342, 473)  # the dialog opens where the pointer is
LONG = "do_ctf_correction == No;nr_classes == 3;nr_iter == 500;particle_diameter == 250;psi_sampling == 4"
LISTS = {"finished": (14, 458, 256, 640), "running": (280, 458, 520, 535), "scheduled": (280, 568, 520, 645)}


class Window:
    """RELION's window on a screen of its own."""

    def __init__(self, project: Any, display: str) -> None:
        self.project = project
        self.environment = {**project.environment, "DISPLAY": display}
        self.log = (project.root.parent / "window.log").open("ab")
        self.process = subprocess.Popen(
            ["relion"],
            cwd=project.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )
        self.wait(lambda: self.process.poll() is not None or "RELION" in self._names(), "the window")
        self.wait(lambda: float(self._screen()[400:700, 14:250].mean()) > 200, "the window's lists")

    def click(self, place: tuple[int, int]) -> None:
        """Press the left button at a place."""
        subprocess.run(
            ["xdotool", "mousemove", str(place[0]), str(place[1]), "click", "1"],
            check=True,
            env=self.environment,
            timeout=10,
        )
        time.sleep(0.8)  # the window redraws on its own timer

    def shows(self, name: str) -> bool:
        """Whether a list has any line in it."""
        left, top, right, bottom = LISTS[name]
        return int((self._screen()[top:bottom, left:right].min(axis=2) < 100).sum()) > 30

    def red(self, name: str) -> bool:
        """Whether a list has a line in red, as failed and aborted jobs have."""
        left, top, right, bottom = LISTS[name]
        part = self._screen()[top:bottom, left:right].astype(int)
        return int(((part[..., 0] > 180) & (part[..., 1] < 90) & (part[..., 2] < 90)).sum()) > 20

    def until(self, what: str, seconds: float = 180) -> None:
        """Wait until a list has a line."""
        self.wait(lambda: self.shows(what), f"a line among the {what} jobs", seconds)

    def picture(self, path: Path) -> None:
        """Keep what the screen shows."""
        subprocess.run(["import", "-window", "root", str(path)], check=True, env=self.environment, timeout=20)

    def close(self) -> None:
        """End the window."""
        self.process.kill()
        self.process.wait()
        self.log.close()

    def _screen(self) -> NDArray[np.uint8]:
        done = subprocess.run(
            ["import", "-window", "root", "-depth", "8", "rgb:-"],
            check=True,
            capture_output=True,
            env=self.environment,
            timeout=20,
        )
        return np.frombuffer(done.stdout, np.uint8).reshape(SIZE[1], SIZE[0], 3)

    def _names(self) -> str:
        done = subprocess.run(
            ["xdotool", "search", "--name", "RELION", "getwindowname"],
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=10,
        )
        return done.stdout

    def wait(self, done: Callable[[], bool], what: str, seconds: float = 180) -> None:
        """Wait for a thing that the screen shows; keep a picture when it does not come."""
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                self.picture(self.project.root.parent / "failed.png")
                pytest.fail(f"waited {seconds:g} s in vain for {what}; see {self.project.root.parent}/failed.png")
            time.sleep(0.2)


@pytest.fixture(scope="session")
def display() -> Iterator[str]:
    """A screen that nobody sees."""
    read, write = os.pipe()
    with subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{SIZE[0]}x{SIZE[1]}x24", "-nolisten", "tcp"],
        pass_fds=[write],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        os.close(write)
        with os.fdopen(read) as pipe:
            number = pipe.readline().strip()
        yield f":{number}"
        server.terminate()


@pytest.fixture
def open_window(project: Any, display: str) -> Iterator[Any]:
    """A call that opens the project's window."""
    windows: list[Window] = []

    def open_() -> Window:
        windows.append(Window(project, display))
        return windows[-1]

    yield open_
    for window in windows:
        window.close()


def test_run_sends_the_job_and_the_window_shows_it_running_then_finished(project: Any, open_window: Any) -> None:
    _slow_down(project, "relion_run_motioncorr")
    movies = project.run("Import", "fn_in_raw == Movies/*.mrcs;angpix == 3.0")
    folder = project.add("MotionCorr", f"input_star_mics == {movies}movies.star;fn_gain_ref == Movies/gain.mrc")
    window = open_window()
    assert window.shows("scheduled")
    assert not window.shows("running")
    window.click(SCHEDULED)
    window.click(RUN)
    window.until("running")
    window.picture(project.root.parent / "running.png")
    (project.root.parent / "seen").touch()
    window.wait(lambda: not window.shows("running"), "the end of the job")
    window.picture(project.root.parent / "finished.png")
    assert project.statuses()[folder] == "succeeded"
    assert not window.red("finished")
    assert "Submitted run 2" in (project.root.parent / "window.log").read_text()


def test_a_job_that_cannot_be_sent_is_red_in_the_window(project: Any, open_window: Any) -> None:
    movies = project.run("Import", "fn_in_raw == Movies/*.mrcs;angpix == 3.0")
    folder = project.add("MotionCorr", f"input_star_mics == {movies}movies.star")
    (project.root / "Movies").unlink()
    window = open_window()
    assert not window.red("finished")
    window.click(SCHEDULED)
    window.click(RUN)
    window.wait(lambda: window.red("finished"), "a red line among the finished jobs")
    assert project.statuses()[folder] == "failed"
    assert "Movies/mic_001.mrcs" in project.text(f"{folder}run.err")
    window.picture(project.root.parent / "failed_job.png")


def test_abort_in_the_windows_menu_stops_the_run_and_its_machine(
    project: Any, particles: str, open_window: Any
) -> None:
    folder = project.add("Class2D", f"fn_img == {particles};{LONG}")
    with project.start(folder) as pipeliner:  # the window itself would take a scheduled Class2D for one that goes on
        end = time.monotonic() + 180
        while "iteration 2 of" not in project.text(f"{folder}run.out"):
            assert pipeliner.poll() is None
            assert time.monotonic() < end, project.text(f"{folder}run.err")
            time.sleep(0.1)
        pipeliner.kill()
    window = open_window()
    window.until("running")
    for place in (RUNNING, JOB_ACTIONS, ABORT, CONFIRM):
        window.click(place)
    window.wait(lambda: window.red("finished"), "a red line among the finished jobs")
    window.picture(project.root.parent / "aborted.png")
    assert not window.shows("running")
    assert project.statuses()[folder] == "aborted"
    assert (project.root / folder / "run_it001_optimiser.star").exists()
    assert [run["state"] for run in _json(project, "runs")] == ["STOPPED"]
    window.wait(lambda: not _json(project, "machines")["machines"], "the end of the machine")


def _slow_down(project: Any, program: str) -> None:
    """Let a program of RELION wait until it was seen to run: on two small movies it would be done before the window is
    drawn anew."""
    folder = project.root.parent / "bin"
    folder.mkdir()
    wait = f'case "$*" in *--version*) ;; *) until [ -e {folder.parent}/seen ]; do sleep 0.2; done;; esac'
    (folder / program).write_text(f'#!/bin/sh\n{wait}\nexec {shutil.which(program)} "$@"\n')
    (folder / program).chmod(0o755)
    project.environment["PATH"] = f"{folder}:{project.environment['PATH']}"


def _json(project: Any, command: str) -> Any:
    """What a command of cryoburst prints with --json."""
    program = Path(sys.executable).with_name("cryoburst")
    done = subprocess.run(
        [program, command, "--json"], env=project.environment, capture_output=True, text=True, timeout=60, check=True
    )
    return json.loads(done.stdout)
