"""Outputs that stay in the store: which they are, what stands for them at home, and how they come later."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from cryoburst.engine import leave
from cryoburst.model.documents import Output
from cryoburst.model.errors import BadInput
from cryoburst.model.run import Run
from cryoburst.model.stub import parse_stub

from .home import Home

JOB = "Class3D/job012/"
RUN = Run(1, "u", "me", "/p", JOB, JOB, "k", "relion", "", "s", "local", "", None, 1, 0.0)


def output(name: str, size: int = 1, link: str = "") -> Output:
    return Output(JOB + name, size, "" if link else "sha256:" + "0" * 64, "k", 0, 1, link)


@pytest.mark.parametrize(
    ("patterns", "name", "size", "stays"),
    [
        ("", "run_it025_class001.mrc", 1, False),
        ("*.mrc", "run_it025_class001.mrc", 1, True),
        ("*.mrc", "run_it025_data.star", 1, False),
        ("*.mrcs\n*.mrc", "Movies/deep/m1.mrc", 1, True),
        ("Movies/*", "run.mrc", 1, False),
        ("outputs", "run_it025_class001.mrc", 1, True),
        ("outputs", "run_it025_data.star", 2 << 20, False),
        ("outputs", "run_it025_data.star", (2 << 20) + 1, True),
        ("outputs", "logfile.pdf", 2 << 20, False),
        ("outputs", "logfile.pdf", (2 << 20) + 1, True),
        ("outputs", "RELION_JOB_EXIT_SUCCESS", 0, False),
        ("*", "empty", 0, False),
        ("[", "[", 1, True),
    ],
)
def test_which_outputs_stay(patterns: str, name: str, size: int, stays: bool) -> None:
    from dataclasses import replace

    run = replace(RUN, leave=patterns)
    assert leave.left(run, output(name, size)) is stays
    assert not leave.left(run, output(name, 0, link="Class3D/job012/x"))


@pytest.mark.parametrize("word", ["", "/etc/*", "../job001/*", "a\nb"])
def test_a_pattern_that_can_name_no_output_is_refused(word: str) -> None:
    with pytest.raises(BadInput):
        leave.patterns(["*.mrc", word])


SCRIPT = """
head -c 3000000 /dev/urandom > Script/job001/big.mrc
mkdir Script/job001/sub
head -c 5000 /dev/urandom > Script/job001/sub/small.mrc
echo data_ > Script/job001/out.star
ln -s big.mrc Script/job001/link.mrc
: > Script/job001/empty.mrc
for i in 1 2 3 4 5; do echo step $i of 5; sleep 0.3; done
sha256sum Script/job001/big.mrc Script/job001/sub/small.mrc
"""


def sums(folder: Path) -> dict[str, str]:
    """Of the outputs, as the machine's own sha256sum printed them."""
    lines = [line.split() for line in (folder / "out.log").read_text().splitlines() if "mrc" in line]
    return {path.removeprefix("Script/job001/"): digest for digest, path in lines}


def text(path: Path) -> str:
    return os.readlink(path)  # noqa: PTH115 - a Path would make one slash of two


@pytest.mark.slow
def test_outputs_that_were_left_come_when_they_are_fetched(home: Home) -> None:
    folder = home.project / home.job(script=SCRIPT)
    done = home.call("submit", "--job", "Script/job001", "--leave", "outputs", "--wait")
    assert done.returncode == 0, done.stderr + home.log()
    run = home.ended()
    assert (run["state"], run["files_left"], run["bytes_left"]) == ("SUCCEEDED", 2, 3_005_000)
    assert (run["files_out"], run["bytes_out"]) == (3, 6)
    assert (folder / "out.star").read_text() == "data_\n"
    assert (folder / "empty.mrc").read_bytes() == b""
    stub = parse_stub(text(folder / "big.mrc"))
    assert stub is not None
    assert stub.size == 3_000_000
    assert not (folder / "big.mrc").exists()
    assert text(folder / "link.mrc") == "big.mrc"
    shown = home.call("show", "1").stdout
    assert "2 outputs (3.0 MB) stay in the store: cryoburst fetch 1 brings them" in shown
    assert "2 files, 3.0 MB in the store" in shown

    none = home.call("fetch", "1", "--only", "sub/*.mrcs", "--only", "out.star")
    assert (none.returncode, none.stdout) == (2, "")
    assert none.stderr.startswith("cryoburst: no output of run 1 is like this (sub/*.mrcs): patterns are relative to")
    assert home.runs()[0]["files_left"] == 2

    some = home.call("fetch", "1", "--only", "sub/*")
    assert (some.returncode, some.stderr) == (0, "")
    assert some.stdout == "Run 1: 4 outputs are home and verified\n1 more (3.0 MB) stays in the store\n"
    assert (folder / "sub/small.mrc").stat().st_size == 5000
    assert parse_stub(text(folder / "big.mrc")) == stub
    assert home.runs()[0]["files_left"] == 1

    assert home.call("fetch", "1").stdout == "Run 1: 5 outputs are home and verified\n"
    wanted = sums(folder)
    assert {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in wanted} == wanted
    assert len(wanted) == 2
    assert not (folder / "big.mrc").is_symlink()
    run = home.runs()[0]
    assert (run["files_left"], run["bytes_left"], run["files_out"]) == (0, 0, 5)
    assert "stay in the store" not in home.call("fetch", "1").stdout


@pytest.mark.slow
def test_a_rebuilt_list_knows_what_was_left(home: Home) -> None:
    home.job(script=SCRIPT)
    assert home.call("submit", "--job", "Script/job001", "--leave", "*.mrc", "--wait").returncode == 0
    before = home.runs()[0]
    home.drop_database()
    after = home.runs()[0]
    for name in ("files_left", "bytes_left", "files_out", "bytes_out"):
        assert before[name] == after[name]
    assert before["files_left"] == 2
    assert home.call("fetch", "1").returncode == 0
    assert home.runs()[0]["files_left"] == 0


@pytest.mark.slow
def test_a_left_output_that_is_damaged_in_the_store_does_not_come(home: Home) -> None:
    folder = home.project / home.job(script=SCRIPT)
    assert home.call("submit", "--job", "Script/job001", "--leave", "*.mrc", "--wait").returncode == 0
    stub = text(folder / "big.mrc")
    for path in (home.state / "store").rglob("outputs/*/*"):
        if path.stat().st_size == 3_000_000:
            with path.open("r+b") as file:
                file.seek(1_000_000)
                file.write(os.urandom(64))
    done = home.call("fetch", "1")
    assert done.returncode == 2
    assert "big.mrc" in done.stderr
    assert text(folder / "big.mrc") == stub


@pytest.mark.slow
def test_a_wrong_pattern_is_refused_before_anything_is_sent(home: Home) -> None:
    home.job()
    done = home.call("submit", "--job", "Script/job001", "--leave", "../x")
    assert done.returncode == 2
    assert "not a pattern of outputs" in done.stderr
    assert home.runs() == []
    shown = json.loads(home.call("runs", "--json").stdout)
    assert shown == []


@pytest.mark.slow
def test_an_output_that_was_left_is_an_input_of_the_next_job(home: Home) -> None:
    home.job(script=SCRIPT)
    home.call("submit", "--job", "Script/job001", "--leave", "*.mrc", "--wait")
    left = home.project / "Script/job001/big.mrc"
    assert parse_stub(text(left))
    folder = home.job(2, script="# input Script/job001/big.mrc\nsha256sum Script/job001/big.mrc")
    done = home.call("submit", "--job", folder, "--wait")
    assert done.returncode == 0, done.stderr
    (run,) = (each for each in home.runs() if each["number"] == 2)
    assert (run["bytes_in"], run["bytes_sent"]) == (3_000_000 + 20_000, 0)
    assert (home.project / folder / "out.log").read_text().split()[-2] == sums(home.project / "Script/job001")[
        "big.mrc"
    ]
    assert left.is_symlink()  # it did not come home for that
