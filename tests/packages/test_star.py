"""The STAR reader: what RELION and others write, what nobody should, and a million rows."""

import json
import re
import string
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryoburst.model.errors import BadInput
from cryoburst.packages.relion import star

WORDS = st.text(string.ascii_letters + string.digits + "_./-:@#", min_size=1).filter(lambda w: w[0] not in "#_\"'")
VALUES = WORDS | st.text(string.ascii_letters + string.digits + " é→", max_size=12)


def quote(value: str) -> str:
    return f'"{value}"' if not value or " " in value else value


def without_number(name: str) -> str:
    return re.sub(r"^[0-9]*@", "", name)


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    labels = draw(st.lists(st.text(string.ascii_letters, min_size=1), min_size=1, max_size=5, unique=True))
    rows = draw(st.lists(st.lists(VALUES, min_size=len(labels), max_size=len(labels)), max_size=8))
    rows = [row for row in rows if not row[0].startswith(("data_", "_", "#"))]
    return labels, rows


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(table=tables(), end=st.sampled_from(["\n", "\r\n"]))
def test_round_trip(tmp_path: Path, table: tuple[list[str], list[list[str]]], end: str) -> None:
    labels, rows = table
    lines = ["", "# version 30001", "", "data_x", "", "loop_", *(f"_{name} #{n}" for n, name in enumerate(labels, 1))]
    lines += ["  ".join(map(quote, row)) + " " for row in rows] + [" ", "", "data_y", "", "_other9   1", ""]
    path = write(tmp_path / "a.star", end.join(lines))
    first, second = star.blocks(path, "a.star")
    assert first.labels == tuple(labels)
    assert [list(row) for row in first.rows] == rows
    assert second.pairs == {"other9": "1"}
    found = star.summary(path, "a.star", labels)
    for n, label in enumerate(labels):
        assert found.values[label] == list(dict.fromkeys(without_number(row[n]) for row in rows))
    assert found.rows == {"x": len(rows), "y": 0}


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300))
def test_garbage_never_gives_a_traceback(tmp_path: Path, data: bytes) -> None:
    path = write(tmp_path / "a.star", data)
    for text in (data, b"data_\nloop_\n_a #1\n_b #2\n" + data):
        write(path, text)
        for read in (lambda: star.blocks(path, "a.star"), lambda: star.summary(path, "a.star", ["a", "b"])):
            try:
                read()
            except BadInput as error:
                sentence = str(error)
                if "a.star" not in sentence or "\n" in sentence:
                    pytest.fail(sentence)


def test_agrees_with_starfile(tmp_path: Path) -> None:
    starfile = import_module("starfile")  # in the lock: without it the setup is wrong

    write_particles(tmp_path / "p.star", rows=50)
    theirs = starfile.read(tmp_path / "p.star", always_dict=True)
    ours = {b.name: b for b in star.blocks(tmp_path / "p.star", "p.star")}
    for name, frame in theirs.items():
        assert list(frame.columns) == list(ours[name].labels)
        assert [str(v) for v in frame["rlnOpticsGroup"]] == ours[name].column("rlnOpticsGroup")
    assert list(theirs["particles"]["rlnImageName"]) == ours["particles"].column("rlnImageName")


def test_fast_and_slow_ways_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p.star"
    write_particles(path, rows=300, per=7)
    for chunk in (100, 1000, 10_000, 1 << 20):
        monkeypatch.setattr(star, "CHUNK", chunk)
        monkeypatch.setattr(star, "QUICK", 0)
        fast = star.summary(path, "p.star", ["rlnImageName", "rlnMicrographName", "rlnMtfFileName", "rlnNone"])
        monkeypatch.setattr(star._Reader, "_fast", lambda self, chunk: False)
        slow = star.summary(path, "p.star", ["rlnImageName", "rlnMicrographName", "rlnMtfFileName", "rlnNone"])
        monkeypatch.undo()
        assert fast == slow
        assert fast.rows == {"optics": 1, "particles": 300}
        assert len(fast.values["rlnImageName"]) == 43
        assert "rlnNone" not in fast.values


ROWS = "1 a.mrc\n2 b.mrc\n" * 20


@pytest.mark.parametrize(
    "odd",
    [
        "3 c.mrc\r\n",
        "3\tc.mrc \t\n",
        "3\vc.mrc\f\n",
        "3 c\x01d\n",
        "3\x1fc d\n",
        "3\x01c\n",
        "3\x0b c.mrc\r4 d.mrc\n",
        "3\rc.mrc\n",
        "3\nc.mrc 4 d.mrc\n",
        "3 c.mrc 4\nd.mrc\n",
        "\n",
        "  \n3 c.mrc 4 d.mrc\n",
        "data_x y\n",
        " data_x y\n",
        "data_\n\nloop_\n_b\n_a\n7 8\n",
        "date x\n",
        "3 data_x\n",
        "3 é.mrc\n",
        "3\u00a0 c.mrc\n",
        "000012@s.mrcs 000013@t.mrcs\n",
        "# 3\n",
        "3 'c d'\n",
        "3\n",
        "3 c d\n",
    ],
)
@pytest.mark.parametrize("labels", ["_a\n_b\n", "_a\n"])
def test_both_ways_agree_on_odd_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: str, labels: str) -> None:
    rows = ROWS if labels == "_a\n_b\n" else "1\n2\n" * 40
    path = tmp_path / "a.star"
    path.write_bytes(f"data_\nloop_\n{labels}{rows}{rows}{odd}{rows}".encode())

    def read() -> star.Summary | str:
        try:
            return star.summary(path, "a.star", ["a", "b"])
        except BadInput as error:
            return str(error)

    slow = read()  # a small file is read line by line
    monkeypatch.setattr(star, "QUICK", 0)
    for chunk in (64, 300, star.CHUNK):
        monkeypatch.setattr(star, "CHUNK", chunk)
        assert read() == slow


def test_the_first_empty_line_ends_a_loop_as_in_relion(tmp_path: Path) -> None:
    path = write(tmp_path / "a.star", "data_\nloop_\n_a #1\n_b #2\n1 2\n3 4\n \n5 6\n")
    assert star.summary(path, "a.star", ["a"]).values == {"a": ["1", "3"]}
    assert star.summary(path, "a.star", ["a"]).rows == {"": 2}


def test_empty_loop_has_labels_and_no_rows(tmp_path: Path) -> None:
    found = star.summary(write(tmp_path / "a.star", "data_x\n\nloop_\n_a #1\n_b #2\n \n"), "a.star", ["a"])
    assert found == star.Summary({"a": []}, {"a", "b"}, {"x": 0}, columns={"x": ("a", "b")})


def test_ten_megabyte_line(tmp_path: Path) -> None:
    long = "x" * 10_000_000
    path = write(tmp_path / "a.star", f"data_\nloop_\n_a #1\n_b #2\n1 {long}.mrc\n2 b.mrc\n")
    assert star.summary(path, "a.star", ["b"]).values["b"] == [f"{long}.mrc", "b.mrc"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "this is not a STAR file: it has no data_ block (a.star)"),
        ("hello\n", "line 1 comes before the first data_ block: this is not a STAR file (a.star)"),
        ("data_\nloop_\n_a\n_b\n1 2\n3", "line 6 stops before column b: 1 values for 2 columns (a.star)"),
        ("data_\r\nloop_\r\n_a\r\n_b\r\n1 2\r\n3", "line 6 stops before column b: 1 values for 2 columns (a.star)"),
        (
            "data_\nloop_\n_a\n_b\n1 my file.mrc\n",
            "line 5 goes on after column b: 3 values for 2 columns (a.star): a value with spaces needs quotes",
        ),
        ("data_\nloop_\n_a\n_b\n1 \0\0\n", "line 5 holds a NUL byte: this is not a text file (a.star)"),
        (b"data_\nloop_\n_a\n_b\n1 2\n1 \xff\xfe.mrc\n", "line 6, column b: the value is not UTF-8 text (a.star)"),
        ('data_\nloop_\n_a\n_b\n1 "open\n', "line 5 opens a quote in column b that never closes (a.star)"),
        ("data_\n_a\n", "line 2 has no value for a (a.star)"),
        ("data_\nwhat is this\n", "line 2 is neither a label nor a row of a table (a.star)"),
    ],
)
def test_bad_star_is_one_sentence_with_file_line_and_column(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    path = write(tmp_path / "a.star", text)
    with pytest.raises(BadInput) as caught:
        star.summary(path, "a.star", ["a", "b"])
    assert str(caught.value) == sentence


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"missing \(a.star\)"):
        star.summary(tmp_path / "a.star", "a.star", [])
    with pytest.raises(BadInput, match="folder"):
        star.blocks(tmp_path, "a.star")


LABELS = " ".join(
    (
        "rlnCoordinateX rlnCoordinateY rlnAutopickFigureOfMerit rlnClassNumber rlnAnglePsi rlnImageName",
        "rlnMicrographName rlnOpticsGroup rlnCtfMaxResolution rlnCtfFigureOfMerit rlnDefocusU rlnDefocusV",
        "rlnDefocusAngle rlnCtfBfactor rlnCtfScalefactor rlnPhaseShift rlnGroupNumber rlnAngleRot",
        "rlnAngleTilt rlnAngleTiltPrior rlnAnglePsiPrior rlnOriginXAngst rlnOriginYAngst rlnNormCorrection",
        "rlnLogLikeliContribution rlnMaxValueProbDistribution rlnNrOfSignificantSamples rlnRandomSubset",
        "rlnCtfAstigmatism rlnHelicalTubeID",
    )
).split()


def write_particles(path: Path, rows: int, per: int = 100) -> None:
    """A particle STAR as Refine3D of 3.1 writes it: an optics table, then 30 columns, 12 characters each."""
    head = "\n# version 30001\n\ndata_optics\n\nloop_ \n"
    for n, label in enumerate(["rlnOpticsGroupName", "rlnOpticsGroup", "rlnMtfFileName", "rlnVoltage"], 1):
        head += f"_{label} #{n} \n"
    head += "opticsGroup1            1 MTF/k3.star   300.000000 \n \n\n# version 30001\n\ndata_particles\n\nloop_ \n"
    numbers = "".join(f" {n * 1.234567:10.6f}" for n in range(22))
    with path.open("w") as file:
        file.write(head + "".join(f"_{label} #{n} \n" for n, label in enumerate(LABELS, 1)))
        for row in range(rows):
            name = f"Movies/FoilHole_{row // per:06d}"
            file.write(f" {row % 4096:10.4f} {row % 4093:10.4f} {row % 97:4d}.123 {row % 50:4d} {row % 360:8.3f} ")
            file.write(f"{row % per + 1:06d}@Extract/job006/{name}.mrcs MotionCorr/job002/{name}.mrc 1{numbers} \n")
        file.write(" \n")


@pytest.mark.slow
@pytest.mark.alone
def test_a_million_particles_in_a_second_and_a_half_and_half_a_gigabyte(tmp_path: Path) -> None:
    path = tmp_path / "particles.star"
    write_particles(path, rows=1_000_000)
    assert path.stat().st_size > 340e6
    # A process of its own, and the kernel's count of its own memory: getrusage counts what held the memory before exec.
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, path], capture_output=True, text=True, timeout=120, check=True
    )
    found = json.loads(done.stdout)
    assert (found["stacks"], found["rows"]) == (10_000, 1_000_000)
    assert min(found["seconds"]) <= 1.5
    assert found["memory"] <= 500e6


MEASURED = r"""
import json, re, sys, time
from pathlib import Path
from cryoburst.packages.relion import star

seconds = []
for _ in range(3):
    began = time.process_time()  # of this process: others on the same cores don't count
    found = star.summary(Path(sys.argv[1]), "particles.star", ["rlnImageName", "rlnMtfFileName"])
    seconds.append(time.process_time() - began)
memory = 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])
stacks = len(found.values["rlnImageName"])
print(json.dumps({"seconds": seconds, "memory": memory, "stacks": stacks, "rows": found.rows["particles"]}))
"""


@pytest.mark.parametrize("rows", [50, 60_000])
def test_the_highest_number_of_each_stack_and_a_block_that_is_kept(tmp_path: Path, rows: int) -> None:
    """Both ways of reading: line by line, and many lines at once."""
    body = "".join(f"{n // 10 + 1:06d}@Extract/job001/Movies/{n % 10}.mrcs {n % 2}\n" for n in range(rows))
    path = tmp_path / "particles.star"
    path.write_text(
        "\ndata_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnVoltage #2\n0 300\n1 200\n\n"
        f"\ndata_particles\n\nloop_\n_rlnImageName #1\n_rlnOpticsGroup #2\n{body}\n"
    )
    found = star.summary(path, "particles.star", ("rlnOpticsGroup",), keep=("optics",), highest="rlnImageName")
    assert found.highest == {f"Extract/job001/Movies/{n}.mrcs": rows // 10 for n in range(10)}
    assert found.kept["optics"].column("rlnVoltage") == ["300", "200"]
    assert found.values["rlnOpticsGroup"] == ["0", "1"]
    assert found.rows == {"optics": 2, "particles": rows}


def test_first_values_of_each_group(tmp_path: Path) -> None:
    rows = "".join(f"{n:06d}@s{n % 7}.mrcs {1 + n // 50}\n" for n in range(120))
    (tmp_path / "p.star").write_text(
        "data_optics\n\nloop_\n_rlnOpticsGroup #1\n1\n2\n3\n\n"
        f"data_particles\n\nloop_\n_rlnImageOriginalName #1\n_rlnOpticsGroup #2\n{rows}\n"
    )
    found = star.firsts(tmp_path / "p.star", "p.star", "rlnImageOriginalName", "rlnOpticsGroup")
    assert found == ["000000@s0.mrcs", "000050@s1.mrcs", "000100@s2.mrcs"]
    assert star.firsts(tmp_path / "p.star", "p.star", "rlnNothing", "rlnOpticsGroup") == []
