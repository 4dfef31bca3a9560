"""`cryoburst simulate` as typed."""

import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest

from cryoburst.cli import simulate
from cryoburst.cli.main import main, parser
from cryoburst.simulate.dataset import Settings

SMALL = [
    "--micrographs",
    "1",
    "--particles",
    "1",
    "--size",
    "256",
    "--frames",
    "3",
    "--dose",
    "12",
    "--pixel-size",
    "4",
]


@pytest.mark.slow
def test_writes_a_set_and_a_line_per_movie(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", str(tmp_path / "set"), *SMALL]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("simulating 1 movie, ")
    assert lines[1].startswith("movie 1 of 1: 1 particle, ")
    assert lines[-1].startswith("1 particle in 1 movie; ")
    assert (tmp_path / "set/Movies/mic_001.mrcs").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_its_processes_end_with_it(tmp_path: Path, number: int) -> None:
    program = Path(sys.executable).with_name("cryoburst")
    words = [program, "simulate", tmp_path / "set", "--micrographs", "24", "--particles", "10"]
    running = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background are deaf to it
    )

    def others() -> list[str]:
        found = [path.parent for path in Path("/proc").glob("[0-9]*/stat")]
        return [each.name for each in found if session(each) == running.pid and each.name != str(running.pid)]

    end = time.monotonic() + 120
    while len(others()) < 3 and time.monotonic() < end:  # two at work, and what tracks their resources
        time.sleep(0.05)
    time.sleep(1.0)  # they have begun
    running.send_signal(number)
    _, said = running.communicate(timeout=120)
    end = time.monotonic() + 60
    while others() and time.monotonic() < end:
        time.sleep(0.05)
    assert others() == []
    if number != signal.SIGKILL:
        assert running.returncode == 130, said
        assert said == "cryoburst: interrupted; runs go on in the background, see cryoburst runs\n"


def session(process: Path) -> int:
    """The session of a process; 0 when it is gone, or waits to be collected."""
    try:
        state, _, _, found, *_ = (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if state == "Z" else int(found)


def test_a_full_folder_is_one_sentence_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x").write_text("")
    assert main(["simulate", str(tmp_path), *SMALL]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "is not an empty folder" in told


def test_numbers_out_of_range_are_named_by_an_option_that_exists(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = set(vars(parser("simulate").parse_args(["simulate", "DIR"])))
    for option in ("micrographs", "particles", "seed", "size", "frames", "pixel-size", "dose", "voltage", "cs"):
        assert option.replace("-", "_") in known
        assert main(["simulate", str(tmp_path / "set"), f"--{option}", "-1"]) == 2
        assert f"--{option} -1" in capsys.readouterr().err


def test_defaults_are_those_of_the_settings() -> None:
    options = vars(parser("simulate").parse_args(["simulate", "DIR"]))
    known = {field.name: field.default for field in fields(Settings)}
    for name, value in options.items():
        own = {"cs": "aberration"}.get(name, name)
        if own in known:
            assert value == known[own], name
    assert simulate.run.__doc__
