"""The comparison with the truth."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from cryoburst.model.errors import BadInput
from cryoburst.simulate.check import MIRROR, Comparison, common_rotation, compare, crossing
from cryoburst.simulate.dataset import write_mrc, write_table
from cryoburst.simulate.specimen import load, potential


def euler(matrix: np.ndarray) -> np.ndarray:
    """RELION's angles of a matrix."""
    return Rotation.from_matrix(np.swapaxes(matrix, -1, -2)).as_euler("ZYZ", degrees=True)


@given(st.integers(0, 2**32), st.booleans())
@settings(max_examples=20)
def test_common_rotation_is_found_among_wrong_poses(seed: int, mirrored: bool) -> None:
    random = np.random.default_rng(seed)
    true = Rotation.random(60, rng=random).as_matrix()
    turn = Rotation.random(rng=random).as_matrix()
    noise = Rotation.from_rotvec(random.normal(0, 0.01, (60, 3))).as_matrix()
    seen = MIRROR @ true @ MIRROR if mirrored else true
    refined = seen @ turn @ noise
    refined[::3] = Rotation.random(20, rng=random).as_matrix()
    found, angles = common_rotation(refined, seen)
    assert np.trace(found @ turn.T) == pytest.approx(3, abs=0.01)
    assert 36 <= (angles < 10).sum() <= 44


def test_crossing_lies_between_shells() -> None:
    frequency = np.array([0.01, 0.02, 0.03, 0.04])
    assert crossing(frequency, np.array([1.0, 1.0, 0.75, 0.25]), 0.5) == pytest.approx(1 / 0.035)
    assert crossing(frequency, np.ones(4), 0.5) == pytest.approx(25)


def project(folder: Path, mirrored: bool) -> Path:
    """Write a truth and a 'refined' map that is it, turned, shifted and on a coarser grid."""
    random = np.random.default_rng(3)
    (folder / "truth").mkdir(parents=True)
    volume = potential(load(), 6.0)
    write_mrc(folder / "truth/map.mrc", volume, 6.0)
    true = Rotation.random(40, rng=random).as_matrix()
    turn = Rotation.random(rng=random).as_matrix()
    refined = (MIRROR @ true @ MIRROR if mirrored else true) @ turn
    into = (MIRROR @ turn) if mirrored else turn
    size, voxel = 44, 8.0
    axis = (np.arange(size) - size // 2) * voxel
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    place = into @ np.stack([x.ravel() - 5.0, y.ravel() + 3.0, z.ravel()]) / 6.0 + len(volume) // 2
    mine = map_coordinates(volume, place[::-1], order=3).reshape(x.shape).astype(np.float32)
    write_mrc(folder / "refined.mrc", mine, voxel)
    labels = ["MicrographName", "CoordinateX", "CoordinateY", "AngleRot", "AngleTilt", "AnglePsi"]
    for name, matrices in (("truth/particles.star", true), ("run_data.star", refined)):
        rows = [("mic_001.mrc", 100.0 * i, 50.0, *map(float, angles)) for i, angles in enumerate(euler(matrices))]
        write_table(folder / name, "particles", labels, rows)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("mirrored", "hand"), [(False, "same"), (True, "mirrored")])
def test_both_hands_are_told_apart(mirrored: bool, hand: str, tmp_path: Path) -> None:
    folder = project(tmp_path, mirrored)
    found = compare(folder / "refined.mrc", folder / "run_data.star", folder / "truth", 3.0)
    assert found.hand == hand
    assert found.matched == found.found == 40
    assert found.angle < 0.01
    assert found.resolution < 20
    assert hand in found.sentence()


def test_noise_agrees_with_nothing(tmp_path: Path) -> None:
    folder = project(tmp_path, mirrored=False)
    with mrcfile.open(folder / "refined.mrc", mode="r+") as file:
        assert file.data is not None
        file.set_data(np.random.default_rng(0).standard_normal(file.data.shape).astype(np.float32))
    found = compare(folder / "refined.mrc", folder / "run_data.star", folder / "truth", 3.0)
    assert isinstance(found, Comparison)
    assert found.resolution > 100


def test_strangers_are_not_matched(tmp_path: Path) -> None:
    folder = project(tmp_path, mirrored=False)
    star = folder / "run_data.star"
    star.write_text(star.read_text().replace("mic_001", "mic_002"))
    with pytest.raises(BadInput, match="Fewer than 3 particles"):
        compare(folder / "refined.mrc", star, folder / "truth", 3.0)


@pytest.mark.slow
def test_missing_column_is_named(tmp_path: Path) -> None:
    folder = project(tmp_path, mirrored=False)
    star = folder / "run_data.star"
    star.write_text(star.read_text().replace("_rlnAngleTilt", "_rlnAngleTiltPrior"))
    with pytest.raises(BadInput, match="lacks one of the columns"):
        compare(folder / "refined.mrc", star, folder / "truth", 3.0)
