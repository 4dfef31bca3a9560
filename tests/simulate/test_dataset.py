"""The files of a data set."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
import starfile

from cryoburst.model.errors import BadInput
from cryoburst.simulate.dataset import Settings, write

TINY = Settings(micrographs=2, particles=3, size=256, frames=3, dose=12.0, pixel_size=4.0)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set") / "tiny"
    write(folder, TINY, cores=1)
    return folder


@pytest.mark.slow
def test_same_seed_same_bytes_on_any_number_of_cores(tiny: Path, tmp_path: Path) -> None:
    write(tmp_path / "again", TINY, cores=2)
    assert contents(tmp_path / "again") == contents(tiny)


@pytest.mark.slow
def test_another_seed_is_another_set(tiny: Path, tmp_path: Path) -> None:
    write(tmp_path / "other", replace(TINY, seed=2, micrographs=1), cores=1)
    one, other = contents(tiny), contents(tmp_path / "other")
    assert one["Movies/mic_001.mrcs"] != other["Movies/mic_001.mrcs"]
    assert one["Movies/gain.mrc"] != other["Movies/gain.mrc"]
    assert one["truth/map.mrc"] == other["truth/map.mrc"]


@pytest.mark.slow
def test_a_micrograph_does_not_depend_on_how_many_there_are(tiny: Path, tmp_path: Path) -> None:
    write(tmp_path / "fewer", replace(TINY, micrographs=1), cores=1)
    name = "Movies/mic_001.mrcs"
    assert contents(tmp_path / "fewer")[name] == contents(tiny)[name]


def test_movies_hold_the_dose_as_counts(tiny: Path) -> None:
    with mrcfile.open(tiny / "Movies/mic_001.mrcs") as file:
        assert file.data is not None
        assert file.data.dtype == np.int8
        assert file.data.shape == (3, 256, 256)
        assert float(file.voxel_size.x) == pytest.approx(4.0)
        assert file.data.min() >= 0
        # The specimen takes little away; phase contrast has a mean of zero, amplitude contrast a few per cent.
        assert file.data.mean() == pytest.approx(12 / 3 * 16, rel=0.1)


def test_gain_flattens_the_movies(tiny: Path) -> None:
    total = np.zeros((256, 256))
    for path in sorted((tiny / "Movies").glob("*.mrcs")):
        with mrcfile.open(path) as file:
            assert file.data is not None
            total += file.data.sum(axis=0)
    with mrcfile.open(tiny / "Movies/gain.mrc") as file:
        assert file.data is not None
        gain = np.asarray(file.data)
    assert (total * gain).std() < total.std()


def table(path: Path, name: str) -> dict[str, np.ndarray]:
    """Columns of one block, read by starfile."""
    tables: Any = starfile.read(path, always_dict=True)
    return {str(label): np.atleast_1d(np.asarray(values)) for label, values in tables[name].items()}


def test_truth_is_read_by_the_fields_own_reader(tiny: Path) -> None:
    assert table(tiny / "truth/particles.star", "optics")["rlnVoltage"] == [300]
    assert 2 <= len(table(tiny / "truth/particles.star", "particles")["rlnAngleRot"]) <= 6
    defocus = table(tiny / "truth/micrographs.star", "micrographs")
    assert list(defocus["rlnMicrographName"]) == ["Movies/mic_001.mrcs", "Movies/mic_002.mrcs"]
    assert np.all(defocus["rlnDefocusU"] > defocus["rlnDefocusV"])
    assert len(table(tiny / "truth/drift.star", "drift")["rlnMicrographShiftX"]) == 6


def test_no_labels_carry_a_date(tiny: Path) -> None:
    for path in tiny.rglob("*.mrc*"):
        assert path.read_bytes()[224:1024].rstrip(b"\0 ") == b"cryoburst simulate"


def test_refuses_a_folder_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(BadInput, match="is not an empty folder"):
        write(tmp_path, TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_refuses_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BadInput, match="is not an empty folder"):
        write(tmp_path / "file", TINY)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"micrographs": 100}, "would take 1[0-9]{3} MB, more than 300 MB"),
        ({"micrographs": 0}, "^--micrographs 0: it must be between 1 and 999$"),
        ({"size": 513}, "is odd"),
        ({"dose": 200.0, "frames": 5}, "do not fit"),
        ({"dose": float("nan")}, "^--dose nan: it must be"),
        ({"pixel_size": 0.1}, "^--pixel-size 0.1: it must be between 1 and 6$"),
    ],
)
def test_refuses_numbers_that_make_no_set(change: dict[str, float], sentence: str, tmp_path: Path) -> None:
    settings = replace(Settings(), **change)  # pyright: ignore[reportArgumentType]
    with pytest.raises(BadInput, match=sentence):
        write(tmp_path / "new", settings)
    assert not (tmp_path / "new").exists()


def test_force_lifts_the_limit_of_size_only() -> None:
    replace(Settings(), micrographs=100, force=True).check()


def test_default_set_is_as_large_as_it_says(tiny: Path) -> None:
    files = sum(len(data) for name, data in contents(tiny).items() if not name.endswith(".star"))
    assert TINY.bytes == pytest.approx(files, abs=5000)
    assert Settings().bytes < 200e6


def test_preferred_views_are_a_share_of_the_particles() -> None:
    from cryoburst.simulate.movie import VIEW_SPREAD, VIEWS, _orientation
    from cryoburst.simulate.optics import rotation

    random = np.random.default_rng(0)
    axes = np.array([rotation(rot, tilt, 0)[2] for rot, tilt in VIEWS])

    def near(preferred: float) -> float:
        scene = replace(TINY, preferred=preferred).scene
        seen = np.array([rotation(*_orientation(scene, random))[2] for _ in range(400)])
        return float(np.mean((seen @ axes.T).max(axis=1) > np.cos(np.deg2rad(3 * VIEW_SPREAD))))

    # Seven caps of 15° cover 12 % of the sphere.
    assert near(0.0) == pytest.approx(0.12, abs=0.06)
    assert near(0.7) == pytest.approx(0.7 + 0.3 * 0.12, abs=0.06)
