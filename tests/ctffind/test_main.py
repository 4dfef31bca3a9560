"""The program as RELION starts it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from cryoburst.ctffind.main import main
from cryoburst.simulate.dataset import Settings, _generator
from cryoburst.simulate.movie import make
from cryoburst.simulate.specimen import Projector, load

PROGRAM = Path(sys.executable).with_name("cryoburst-ctffind")


def dialogue(image: Path, output: Path, pixel: float, box: int = 512) -> str:
    """RELION 3.1's answers."""
    lines = [image, output, pixel, 300, 2.7, 0.1, box, 30, 6.5, 5000, 40000, 500, "no", "no", "yes", 500, "no", "no"]
    return "".join(f"{line}\n" for line in lines)


def call(answers: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Start the installed program."""
    return subprocess.run([PROGRAM, *options], input=answers, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def micrograph(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A small simulated micrograph (summed without drift) and its mean defocus in Å."""
    settings = Settings(size=768, frames=1, particles=20, dose=20.0 / 9 * 3)
    scene = replace(settings.scene, exposure=7.0)
    made = make(scene, Projector(load(), 3.0), np.ones((768, 768), np.float32), _generator(5, 1))
    path = tmp_path_factory.mktemp("ctf") / "mic.mrc"
    with mrcfile.new(path) as file:
        file.set_data(made.frames[0].astype(np.float32))
        file.voxel_size = 3.0
    return path, (made.defocus.u + made.defocus.v) / 2


@pytest.mark.slow
def test_output_is_what_relion_parses(micrograph: tuple[Path, float], tmp_path: Path) -> None:
    image, defocus = micrograph
    output = tmp_path / "mic_1.2.ctf"  # names with dots are common
    done = call(dialogue(image, output, 3.0))
    assert done.returncode == 0, done.stderr
    summary = next(line for line in done.stdout.splitlines() if "Summary of results" in line).split()[-1]
    assert summary == str(tmp_path / "mic_1.2.txt")
    lines = Path(summary).read_text().splitlines()
    head = next(line for line in lines if "acceleration voltage:" in line).split()
    assert [float(head[i]) for i in (3, 8, 13, 18)] == [3.0, 300.0, 2.7, 0.1]
    values = lines[next(i for i, line in enumerate(lines) if "Columns: " in line) + 1].split()
    assert len(values) == 7
    assert (float(values[1]) + float(values[2])) / 2 == pytest.approx(defocus, rel=0.02)
    assert 6 <= float(values[6]) < 15
    with mrcfile.open(output, permissive=True) as file:
        assert file.data is not None
        assert file.data.shape == (512, 512)
    rings = np.loadtxt(tmp_path / "mic_1.2_avrot.txt")
    assert rings.shape == (6, 256)
    assert rings[0, -1] == pytest.approx(255 / 512 / 3.0, rel=1e-3)


@pytest.mark.slow
def test_amplitude_spectrum_gives_the_same(micrograph: tuple[Path, float], tmp_path: Path) -> None:
    from cryoburst.ctffind.spectrum import read_image, tiled

    image, defocus = micrograph
    with mrcfile.new(tmp_path / "ps.mrc") as file:
        file.set_data(tiled(read_image(image), 512).astype(np.float32))
    done = call(dialogue(tmp_path / "ps.mrc", tmp_path / "ps.ctf", 3.0), "--amplitude-spectrum-input")
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    assert float(words[words.index(":") + 1]) == pytest.approx(defocus, rel=0.04)


def test_missing_image_is_one_sentence(tmp_path: Path) -> None:
    done = call(dialogue(tmp_path / "none.mrc", tmp_path / "none.ctf", 3.0))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "There is no such image" in done.stderr
    assert "none.mrc" in done.stderr


@pytest.mark.parametrize("answers", ["", "hello\n", "\n\n\n", "a\nb\nc\n"])
def test_garbage_is_one_sentence(answers: str) -> None:
    done = call(answers)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_bytes_that_are_no_text_are_one_sentence() -> None:
    done = subprocess.run([PROGRAM], input=b"\xff\xfe\n" * 20, capture_output=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("content", [b"", b"not an image", b"\0" * 4096])
def test_a_file_that_is_no_image_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.mrc").write_bytes(content)
    done = call(dialogue(tmp_path / "bad.mrc", tmp_path / "bad.ctf", 3.0))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.filterwarnings("ignore:Data array contains NaN")
@pytest.mark.parametrize(("value", "sentence"), [(0.0, "no signal"), (np.nan, "no signal")])
def test_an_image_without_signal_is_refused(value: float, sentence: str, tmp_path: Path) -> None:
    with mrcfile.new(tmp_path / "flat.mrc") as file:
        file.set_data(np.full((128, 128), value, np.float32))
    done = call(dialogue(tmp_path / "flat.mrc", tmp_path / "flat.ctf", 3.0, box=128))
    assert done.returncode == 2
    assert sentence in done.stderr


def test_output_that_cannot_be_written_is_one_sentence(micrograph: tuple[Path, float], tmp_path: Path) -> None:
    done = call(dialogue(micrograph[0], tmp_path / "no" / "such" / "x.ctf", 3.0))
    assert done.returncode == 2
    assert "can't be written" in done.stderr


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    for option, text in (("--version", "cryoburst-ctffind "), ("--help", "dialogue")):
        with pytest.raises(SystemExit) as end:
            main([option])
        assert end.value.code == 0
        assert text in capsys.readouterr().out


def test_start_is_quick() -> None:
    """RELION starts the program once per micrograph: it must not import what it does not need."""
    code = "import sys, cryoburst.ctffind.main, cryoburst.ctffind.fit; print([m for m in sys.modules if m == 'scipy'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
