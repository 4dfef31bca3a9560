"""Every picture is drawn, from files as RELION and cryoburst-ctffind write them, without a screen."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest

from cryoburst.ctffind import files
from cryoburst.ctffind.dialogue import Request, Search
from cryoburst.ctffind.fit import fit
from cryoburst.ctffind.spectrum import polar
from cryoburst.model.errors import BadInput
from cryoburst.pictures import classes, ctf, drift, fsc, picks
from cryoburst.simulate.check import Comparison
from cryoburst.simulate.optics import Optics, phase


def png_size(path: Path) -> tuple[int, int]:
    """Width and height from a PNG's header."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def write(path: Path, data: np.ndarray, voxel: float) -> Path:
    with mrcfile.new(path) as file:
        file.set_data(data.astype(np.float32))
        file.voxel_size = voxel
    return path


def test_classes_leaves_out_empty_ones(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    write(tmp_path / "run_it020_classes.mrcs", random.random((8, 32, 32)), 5.0)
    share = [0.3, 0.2, 0.2, 0.1, 0.1, 0.1, 0.0, 0.0]
    rows = [f"{i:06d}@Class2D/job006/run_it020_classes.mrcs {s} 18.5" for i, s in enumerate(share, 1)]
    model = tmp_path / "run_it020_model.star"
    labels = "_rlnReferenceImage #1\n_rlnClassDistribution #2\n_rlnEstimatedResolution #3\n"
    model.write_text("data_model_classes\n\nloop_\n" + labels + "\n".join(rows) + "\n\n")
    narrow = png_size(classes.draw(model, tmp_path / "out" / "classes.png", across=6))
    taller = png_size(classes.draw(model, tmp_path / "all.png", across=6, least=0.0))
    assert narrow[0] == taller[0]
    assert narrow[1] < taller[1]


def test_ctf(tmp_path: Path) -> None:
    y, x = np.mgrid[:128, :128] - 64
    k2 = (x * x + y * y) / (128 * 3.0) ** 2
    noise = np.random.default_rng(0).gamma(50, 1 / 50, k2.shape)
    amplitude = np.sqrt((1 + 0.5 * np.sin(phase(Optics(), 12000.0, k2)) ** 2) * noise)
    search = Search(30, 6.5, 5000, 40000, 500)
    request = Request(tmp_path / "a_PS.mrc", 0, tmp_path / "a_PS.ctf", 3.0, 300, 2.7, 0.1, 128, search)
    files.write(request, fit(polar(amplitude, 3.0), Optics(), search), amplitude)
    made = ctf.draw(tmp_path / "a_PS.ctf", tmp_path / "ctf.png", (12000, 12000, 0))
    assert png_size(made)[0] > 1000


def motion(folder: Path, name: str) -> Path:
    """A per-micrograph STAR file of MotionCorr."""
    star = folder / f"{name}.star"
    star.write_text(
        "data_general\n\n_rlnMicrographOriginalPixelSize 3.0\n_rlnMicrographDoseRate 3.6\n\n"
        "data_global_shift\n\nloop_\n_rlnMicrographFrameNumber #1\n_rlnMicrographShiftX #2\n_rlnMicrographShiftY #3\n"
        "1 0 0\n2 -1 0.5\n3 -1.5 0.7\n\n"
    )
    return star


def test_drift_with_and_without_truth(tmp_path: Path) -> None:
    star = motion(tmp_path, "mic_002")
    truth = tmp_path / "drift.star"
    labels = "MicrographName MicrographFrameNumber MicrographShiftX MicrographShiftY"
    head = "".join(f"_rln{label}\n" for label in labels.split())
    rows = "".join(f"Movies/mic_00{m}.mrcs {f} {-0.5 * f} 0.2\n" for m in (1, 2) for f in (1, 2, 3))
    truth.write_text("data_drift\n\nloop_\n" + head + rows + "\n")
    assert png_size(drift.draw(star, tmp_path / "a.png"))[0] > 1000
    assert png_size(drift.draw(star, tmp_path / "b.png", truth))[0] > 1000


def test_drift_of_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.star").write_text("data_optics\n\n_rlnVoltage 300\n\n")
    with pytest.raises(BadInput, match="not one of MotionCorr"):
        drift.draw(tmp_path / "x.star", tmp_path / "x.png")


def post(folder: Path) -> Path:
    """A postprocess.star."""
    labels = (
        "Resolution FourierShellCorrelationCorrected FourierShellCorrelationUnmaskedMaps "
        "FourierShellCorrelationMaskedMaps"
    )
    head = "".join(f"_rln{label} #{i}\n" for i, label in enumerate(labels.split(), 1))
    rows = "".join(f"{i * 0.003} {1 / (1 + np.exp(i - 20))} 0.5 0.6\n" for i in range(30))
    star = folder / "postprocess.star"
    star.write_text("data_general\n\n_rlnFinalResolution 12.5\n\ndata_fsc\n\nloop_\n" + head + rows + "\n")
    return star


def test_fsc_with_and_without_truth(tmp_path: Path) -> None:
    star = post(tmp_path)
    frequency = np.linspace(0.003, 0.09, 30)
    truth = Comparison("mirrored", 900, 850, 0.8, frequency, np.linspace(1, 0, 30), 22.0)
    assert fsc.resolution(star) == 12.5
    assert png_size(fsc.draw(star, tmp_path / "a.png"))[0] > 1000
    assert png_size(fsc.draw(star, tmp_path / "b.png", truth))[0] > 1000


def test_fsc_of_another_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not a postprocess"):
        fsc.resolution(motion(tmp_path, "m"))


def test_picks(tmp_path: Path) -> None:
    image = write(tmp_path / "mic.mrc", np.random.default_rng(0).random((128, 128)), 3.0)
    star = tmp_path / "mic_autopick.star"
    star.write_text("data_\n\nloop_\n_rlnCoordinateX #1\n_rlnCoordinateY #2\n10 20\n100 60\n\n")
    assert png_size(picks.draw(image, star, tmp_path / "picks.png"))[0] > 1000


def test_same_files_give_the_same_picture(tmp_path: Path) -> None:
    star = post(tmp_path)
    one, other = (fsc.draw(star, tmp_path / f"{name}.png").read_bytes() for name in "ab")
    assert one == other
