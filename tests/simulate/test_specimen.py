"""The specimen that ships, and its projections."""

from importlib import resources

import numpy as np
import pytest

from cryoburst.simulate.optics import rotation
from cryoburst.simulate.specimen import BOX, Projector, Specimen, box_size, load, potential, quick_size

PIXEL = 6.0


@pytest.fixture(scope="module")
def ribosome() -> Specimen:
    return load()


def test_ribosome_is_whole_and_centred(ribosome: Specimen) -> None:
    assert ribosome.positions.shape == (165_175, 3)
    assert np.abs(ribosome.positions.mean(axis=0)).max() < 0.1
    assert np.linalg.norm(ribosome.positions, axis=1).max() < BOX / 2
    counts = dict(zip(ribosome.elements, np.bincount(ribosome.kinds), strict=True))
    assert counts["P"] == 3911
    assert counts["C"] == 88_361


def test_specimen_file_is_small() -> None:
    packed = resources.files("cryoburst.simulate") / "specimen" / "6zu5.xz"
    assert len(packed.read_bytes()) < 500_000


def test_neighbours_are_a_bond_apart(ribosome: Specimen) -> None:
    steps = np.linalg.norm(np.diff(ribosome.positions, axis=0), axis=1)
    assert 1.2 < np.median(steps) < 2.6


@pytest.mark.slow
def test_projection_is_the_sum_of_the_map(ribosome: Specimen) -> None:
    volume = potential(ribosome, PIXEL)
    image = Projector(ribosome, PIXEL).project(np.eye(3))
    assert volume.shape == (box_size(PIXEL),) * 3
    assert image == pytest.approx(volume.sum(axis=0) * PIXEL, abs=0.01)


def test_projection_from_behind_is_the_mirror_image(ribosome: Specimen) -> None:
    projector = Projector(ribosome, PIXEL)
    front, back = projector.project(rotation(20, 40, 0)), projector.project(rotation(20, 40, 0) * [[1], [-1], [-1]])
    assert back[1:] == pytest.approx(front[:0:-1], abs=1e-6)


@pytest.mark.slow
def test_protein_and_rna_stand_out_of_the_ice(ribosome: Specimen) -> None:
    volume = potential(ribosome, PIXEL)
    inside = volume[volume > 0.25 * volume.max()]
    # 2.3 MDa fill about 2.5 million Å³ at 3 to 5 V above ice
    assert 1.5e6 < inside.size * PIXEL**3 < 4e6
    assert 2 < inside.mean() < 6


def test_quick_sizes_are_even_and_smooth() -> None:
    assert [quick_size(n) for n in (2, 57, 112, 113, 251)] == [2, 60, 120, 120, 256]
