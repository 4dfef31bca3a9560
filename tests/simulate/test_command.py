"""`cryoburst simulate` as typed."""

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


def test_writes_a_set_and_a_line_per_movie(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", str(tmp_path / "set"), *SMALL]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("simulating 1 movie, ")
    assert lines[1].startswith("movie 1 of 1: 1 particle, ")
    assert lines[-1].startswith("1 particle in 1 movie; ")
    assert (tmp_path / "set/Movies/mic_001.mrcs").is_file()


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
