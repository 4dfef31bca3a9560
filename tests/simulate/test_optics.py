"""The microscope's formulas against published numbers and independent code."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from cryoburst.simulate.check import matrices
from cryoburst.simulate.optics import Defocus, Optics, contrast_transfer, damage, frequencies, phase, rotation

DEGREES = st.floats(-180, 180)


@pytest.mark.parametrize(("voltage", "wavelength"), [(100, 0.03701), (200, 0.02508), (300, 0.01969)])
def test_wavelength_is_that_of_the_tables(voltage: float, wavelength: float) -> None:
    assert Optics(voltage).wavelength == pytest.approx(wavelength, abs=1e-5)


@pytest.mark.parametrize(("voltage", "interaction"), [(100, 9.244e-4), (200, 7.288e-4), (300, 6.526e-4)])
def test_interaction_is_that_of_the_tables(voltage: float, interaction: float) -> None:
    assert Optics(voltage).interaction == pytest.approx(interaction, rel=1e-3)


def test_first_zero_lies_where_defocus_puts_it() -> None:
    optics = Optics(300, 0.0, 0.0)
    zero = 1 / np.sqrt(optics.wavelength * 15000)
    assert np.sin(phase(optics, 15000.0, np.array([zero**2])))[0] == pytest.approx(0, abs=1e-9)


def test_azimuth_is_the_direction_of_the_larger_defocus() -> None:
    defocus = Defocus(12000, 11000, 30)
    assert defocus.along(np.deg2rad([30.0, 120.0, 210.0])) == pytest.approx([12000, 11000, 12000])


def test_contrast_transfer_starts_at_the_amplitude_contrast() -> None:
    transfer = contrast_transfer(Optics(), Defocus(15000, 15000, 0), 64, 3.0, 0.0)
    assert transfer.shape == (64, 33)
    assert transfer[0, 0] == pytest.approx(0.1)


def test_frequencies_end_at_nyquist() -> None:
    y, x = frequencies(64, 2.0)
    assert x[0, -1] == pytest.approx(0.25)
    assert np.abs(y).max() == pytest.approx(0.25)


def test_damage_takes_fine_detail_first() -> None:
    left = damage(np.array([1 / 20, 1 / 10, 1 / 4]), 30, 300)
    assert np.all(np.diff(left) < 0)
    # Grant & Grigorieff: critical exposure at 4 Å is 5.3 e⁻/Å²
    assert left[2] == pytest.approx(np.exp(-15 / 5.27), rel=0.02)


@given(DEGREES, DEGREES, DEGREES)
def test_rotation_is_the_zyz_of_relion(rot: float, tilt: float, psi: float) -> None:
    mine = rotation(rot, tilt, psi)
    assert mine == pytest.approx(Rotation.from_euler("ZYZ", [rot, tilt, psi], degrees=True).as_matrix().T, abs=1e-9)
    assert matrices(*(np.array([angle]) for angle in (rot, tilt, psi)))[0] == pytest.approx(mine, abs=1e-12)
