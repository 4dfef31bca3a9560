"""``cryoburst show``: how a run goes, as text, picture and page, while it runs and after."""

import json
import os
import pty
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest

from .home import FOLDER, PROGRAM, Home

MODEL = f"""
data_model_general

_rlnCurrentResolution 21.5
_rlnPixelSize 3.5

data_model_classes

loop_
_rlnReferenceImage #1
_rlnClassDistribution #2
_rlnEstimatedResolution #3
000001@{FOLDER}run_it001_classes.mrcs 0.75 20.0
000002@{FOLDER}run_it001_classes.mrcs 0.25 40.0

"""
# Makes one iteration, and when it has a file to wait for, waits for it before it ends.
PROGRAM_TEXT = """#!/bin/sh
if [ "$1" = --version ]; then echo "RELION version: 3.1.3"; exit 0; fi
echo " Expectation iteration 1 of 25"
cp {made}/run_it001_classes.mrcs {made}/run_it001_model.star {folder}
while [ -e {root}/wait ]; do sleep 0.1; done
touch {folder}RELION_JOB_EXIT_SUCCESS
"""


@pytest.fixture
def home(home: Home) -> Home:
    """A home whose RELION makes one iteration of two classes."""
    made = home.root / "made"
    made.mkdir()
    (made / "run_it001_model.star").write_text(MODEL)
    with mrcfile.new(made / "run_it001_classes.mrcs") as file:
        file.set_data(np.random.default_rng(0).random((2, 16, 16)).astype(np.float32))
    program = home.programs / "relion_refine"
    program.write_text(PROGRAM_TEXT.format(made=made, folder=FOLDER, root=home.root))
    program.chmod(0o755)
    return home


def submit(home: Home) -> None:
    done = home.call("submit", f"{FOLDER}run_submit.script", "--wait")
    assert done.returncode == 0, (done.stdout, done.stderr)


def until(holds: Callable[[], Any]) -> Any:
    end = time.monotonic() + 180
    while time.monotonic() < end:
        if found := holds():
            return found
        time.sleep(0.1)
    raise AssertionError("it never came to that")


def on_terminal(home: Home, *words: str, columns: int = 100) -> str:
    """What a command prints on a terminal of so many columns."""
    main, other = pty.openpty()
    environment = home.environment | {"COLUMNS": str(columns), "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    process = subprocess.Popen(
        [PROGRAM, *words], cwd=home.project, env=environment, stdin=subprocess.DEVNULL, stdout=other, stderr=other
    )
    os.close(other)
    text = b""
    try:
        while data := os.read(main, 4096):
            text += data
    except OSError:  # the other end is closed
        pass
    os.close(main)
    assert process.wait(60) == 0
    return text.decode()


@pytest.mark.slow
def test_a_run_is_shown_while_it_runs(home: Home) -> None:
    (home.root / "wait").touch()
    assert home.call("submit", f"{FOLDER}run_submit.script").returncode == 0
    shown = until(lambda: (found := home.json("show", "1"))["course"] and found["course"]["iteration"] and found)
    assert shown["state"] == "RUNNING"
    assert shown["course"]["classes"] == [{"share": 0.75, "resolution": 20.0}, {"share": 0.25, "resolution": 40.0}]
    until((home.project / FOLDER / "run_it001_classes.mrcs").exists)
    done = home.call("show", "1", "--picture", "classes.png")
    assert (done.returncode, done.stdout) == (0, "wrote classes.png\n"), done.stderr
    assert (home.project / "classes.png").read_bytes().startswith(b"\x89PNG")
    (home.root / "wait").unlink()
    assert home.call("wait", "1").returncode == 0


@pytest.mark.slow
def test_a_run_that_has_ended_in_a_pipe_and_on_a_terminal(home: Home) -> None:
    submit(home)
    plain = home.call("show", "1").stdout
    assert "\x1b" not in plain
    assert re.search(r"^  iteration +1 finished$", plain, re.MULTILINE)
    assert re.search(r"^  resolution +21\.5 Å$", plain, re.MULTILINE)
    assert re.search(r"^  classes +1: 75\.0% 20\.0 Å, 2: 25\.0% 40\.0 Å$", plain, re.MULTILINE)
    drawn = on_terminal(home, "show", "1")
    assert "█" in drawn
    assert "\x1b[" in drawn
    assert "1: 75.0% 20.0 Å" in drawn
    course = home.json("show", "1")["course"]
    assert (course["iteration"], course["resolution"], course["fsc"]) == (1, 21.5, None)
    assert course["history"] == [{"iteration": 1, "resolution": 21.5, "shares": [0.75, 0.25]}]


@pytest.mark.slow
def test_the_page_of_a_run(home: Home) -> None:
    submit(home)
    done = home.call("show", "1", "--html", "run.html", "--picture", "run.png")
    assert (done.returncode, done.stdout) == (0, "wrote run.png\nwrote run.html\n"), done.stderr
    text = (home.project / "run.html").read_text()
    assert text.count("data:image/png;base64,") == 1
    for word in ("Class2D/<wbr>job003", "Succeeded", "21.5 Å", "3.1.3", "run_<wbr>it001_<wbr>model.star", "sha256"):
        assert word in text, word
    assert "Extract/<wbr>job002" in text  # the job behind it
    assert not re.search(r"https?://", text)


@pytest.mark.slow
def test_the_page_of_a_run_that_failed_has_its_last_words(home: Home) -> None:
    program = home.programs / "relion_refine"
    program.write_text(program.read_text().partition("cp ")[0] + "echo no particles left >&2\nexit 1\n")
    home.call("submit", f"{FOLDER}run_submit.script", "--wait")
    assert "  last words: no particles left\n" in home.call("show", "1").stdout
    assert home.call("show", "1", "--html", "run.html").returncode == 0
    assert "Last words: no particles left." in (home.project / "run.html").read_text()


@pytest.mark.slow
def test_a_narrow_terminal_shows_each_run_in_one_line(home: Home) -> None:
    program = home.programs / "relion_refine"
    program.write_text(program.read_text().partition("cp ")[0] + "kill -9 $$\n")
    home.call("submit", f"{FOLDER}run_submit.script", "--wait")
    plain = home.call("runs").stdout.splitlines()
    assert plain[1].endswith("a machine with more of it may do")  # whole, where nothing is cut
    for columns in (80, 100):
        drawn = on_terminal(home, "runs", columns=columns).splitlines()
        assert max(map(len, drawn)) <= columns
        assert len(drawn) == 2
        assert drawn[1].endswith("…")
        assert "WAIT" not in drawn[0] or columns == 100
    assert on_terminal(home, "runs", columns=400).splitlines() == plain


@pytest.mark.slow
def test_a_narrow_terminal_shortens_bars_and_never_words(home: Home) -> None:
    submit(home)
    for columns in (34, 40, 60, 100):
        drawn = re.sub(r"\x1b\[[0-9;]*m", "", on_terminal(home, "show", "1", columns=columns)).splitlines()
        classes = [line for line in drawn if re.search(r"\d: \d+\.\d% \d0\.0 Å$", line)]
        assert len(classes) == 2, drawn
        assert max(map(len, classes)) <= columns
        assert [line.count("█") for line in classes] != [0, 0] or columns == 34
    assert "2: 25.0% 40.0 Å" in classes[1]


@pytest.mark.slow
def test_a_command_with_markup_stays_text_on_the_page(home: Home) -> None:
    from .home import REFINE, script

    home.write(script(f"{REFINE} --note '<img src=x onerror=alert(1)>'"))
    submit(home)
    assert home.call("show", "1", "--html", "run.html").returncode == 0
    text = (home.project / "run.html").read_text()
    assert "<img src=x" not in text
    assert "&lt;img src=x" in text


@pytest.mark.slow
def test_what_was_left_in_the_store_is_named(home: Home) -> None:
    done = home.call("submit", f"{FOLDER}run_submit.script", "--leave", "*.mrcs", "--wait")
    assert done.returncode == 0, done.stderr
    assert home.json("show", "1")["course"]["iteration"] == 1
    sentence = home.fails("show", "1", "--picture", "x.png")
    assert sentence.startswith("the image file is not on this computer")
    assert "cryoburst fetch" in sentence
    assert not (home.project / "x.png").exists()
    assert home.call("show", "1", "--html", "x.html").returncode == 0
    assert "the image file is not on this computer" in (home.project / "x.html").read_text()
    assert home.call("fetch", "1").returncode == 0
    assert home.call("show", "1", "--picture", "x.png").returncode == 0


@pytest.mark.slow
def test_what_was_left_is_brought_by_the_newest_run_of_the_folder(home: Home) -> None:
    for number in "12":
        assert home.call("submit", f"{FOLDER}run_submit.script", "--leave", "*.mrcs", "--wait").returncode == 0
        assert f" in the store: cryoburst fetch {number}" in home.call("show", number).stdout
    assert " in the store: cryoburst fetch 2\n" in home.call("show", "1").stdout
    assert "brings what nothing has replaced" in home.fails("fetch", "1")
    assert home.call("fetch", "2").returncode == 0


@pytest.mark.slow
def test_what_a_later_run_made_is_not_shown_as_this_ones(home: Home) -> None:
    submit(home)
    submit(home)
    assert home.json("show", "1")["course"] is None
    assert home.json("show", "2")["course"]["iteration"] == 1
    assert home.fails("show", "1", "--picture", "x.png").startswith(f"run 2 has used {FOLDER} since")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--picture", "x.jpg"), "a picture is a PNG file (x.jpg): name it FILE.png"),
        (("--html", "x.txt"), "a page is an HTML file (x.txt): name it FILE.html"),
        (("--json", "--html", "x.html"), "--json prints and writes no file: leave it out, or --picture and --html"),
        (("--picture", "none/x.png"), "there is no such folder (none): make it, or name another place"),
        (("--html", "none/x.html"), "there is no such folder (none): make it, or name another place"),
        (
            ("--html", "/proc/x.html"),
            "it can't be written: No such file or directory (/proc/x.html): name another place, where there is room",
        ),
        (("--html", ""), "a page is an HTML file (.): name it FILE.html"),
    ],
)
@pytest.mark.slow
def test_words_that_make_no_sense(home: Home, words: tuple[str, ...], sentence: str) -> None:
    submit(home)
    assert home.fails("show", "1", *words) == sentence


@pytest.mark.slow
def test_nothing_to_draw_is_one_sentence(home: Home) -> None:
    (home.root / "made/run_it001_model.star").write_text("nothing")
    submit(home)
    assert home.fails("show", "1", "--picture", "x.png") == (
        "line 1 comes before the first data_ block: this is not a STAR file (run_it001_model.star)"
    )
    assert home.json("show", "1")["course"]["iteration"] is None
    assert home.call("show", "1").returncode == 0


@pytest.mark.slow
def test_of_a_run_that_failed_nobody_is_told_to_wait_for_a_picture(home: Home) -> None:
    program = home.programs / "relion_refine"
    program.write_text(program.read_text().partition("cp ")[0] + "exit 1\n")
    home.call("submit", f"{FOLDER}run_submit.script", "--wait")
    said = f"run 1 ended as FAILED and made nothing that can be drawn ({FOLDER}): see cryoburst show 1"
    assert home.fails("show", "1", "--picture", "x.png") == said


@pytest.mark.slow
def test_a_job_folder_that_is_gone_is_named(home: Home) -> None:
    submit(home)
    for path in sorted((home.project / FOLDER).iterdir()):
        path.unlink()
    Path(home.project / FOLDER).rmdir()
    assert home.json("show", "1")["course"] is None
    assert home.fails("show", "1", "--picture", "x.png").startswith("the job's folder is not there")
    assert home.call("show", "1", "--html", "x.html").returncode == 0
    assert json.loads(home.call("show", "1", "--json").stdout)["state"] == "SUCCEEDED"
