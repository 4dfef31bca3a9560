"""The fit, on spectra whose CTF is known."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoburst.ctffind.dialogue import Search
from cryoburst.ctffind.fit import fit, simplex
from cryoburst.ctffind.spectrum import polar, tiled
from cryoburst.model.errors import BadInput
from cryoburst.simulate.optics import Array, Defocus, Optics, phase

PIXEL, SIZE = 2.0, 384
SEARCH = Search(30, 5, 5000, 40000, 500, 500.0)


def spectrum(defocus: Defocus, optics: Optics, *, strength: float = 0.4, decay: float = 100.0, seed: int = 0) -> Array:
    """Amplitudes (n, n), centred: a falling background, rings with an envelope (B in Å²), and noise of 1 in √20."""
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE // 2
    k2 = (x * x + y * y) / (SIZE * PIXEL) ** 2
    transfer = np.sin(phase(optics, defocus.along(np.arctan2(y, x)), k2)) ** 2
    background = 1 + 30 * np.exp(-k2 * 60**2)
    power = background + strength * transfer * np.exp(-0.5 * decay * k2)
    noise = np.random.default_rng(seed).gamma(20, 1 / 20, k2.shape)
    return np.sqrt(power * noise)


def half_difference(defocus: Defocus) -> complex:
    """Astigmatism as a vector: opposite azimuths are one."""
    return complex((defocus.u - defocus.v) / 2 * np.exp(2j * np.deg2rad(defocus.azimuth)))


@pytest.mark.parametrize("mean", [8000, 15000, 28000])
@pytest.mark.parametrize(("astigmatism", "azimuth"), [(0, 0), (400, 25), (900, 130)])
def test_defocus_and_astigmatism_are_found(mean: float, astigmatism: float, azimuth: float) -> None:
    true = Defocus(mean + astigmatism / 2, mean - astigmatism / 2, azimuth)
    found = fit(polar(spectrum(true, Optics()), PIXEL), Optics(), SEARCH).defocus
    assert (found.u + found.v) / 2 == pytest.approx(mean, rel=0.01)
    assert abs(half_difference(found) - half_difference(true)) < 100
    assert found.u >= found.v
    assert -90 <= found.azimuth <= 90


@pytest.mark.slow
@given(st.floats(7000, 35000), st.sampled_from([120.0, 200.0, 300.0]), st.floats(0.0, 2.7), st.integers(0, 1000))
@settings(max_examples=15)
def test_defocus_is_found_for_any_microscope(mean: float, voltage: float, cs: float, seed: int) -> None:
    optics = Optics(voltage, cs, 0.1)
    true = Defocus(mean + 100, mean - 100, 60)
    found = fit(polar(spectrum(true, optics, seed=seed), PIXEL), optics, SEARCH).defocus
    assert (found.u + found.v) / 2 == pytest.approx(mean, rel=0.02)


def test_phase_shift_is_found() -> None:
    true = Defocus(12000, 11800, 10)
    search = replace(SEARCH, phase_shifts=(0.0, 3.1, 0.2))
    found = fit(polar(spectrum(true, replace(Optics(), phase_shift=1.3)), PIXEL), Optics(), search)
    assert found.phase_shift == pytest.approx(1.3, abs=0.25)
    assert found.defocus.u == pytest.approx(12000, rel=0.03)


def test_known_astigmatism_is_kept() -> None:
    true = Defocus(15200, 14800, 45)
    search = replace(SEARCH, known_astigmatism=(400.0, 45.0))
    found = fit(polar(spectrum(true, Optics()), PIXEL), Optics(), search).defocus
    assert found.u - found.v == pytest.approx(400)
    assert found.azimuth == pytest.approx(45)
    assert found.u == pytest.approx(15200, rel=0.01)


@pytest.mark.slow
def test_resolution_follows_where_rings_end() -> None:
    """The reference estimator's resolution said little at low defocus; ours must mean the same at any."""
    true = [Defocus(mean, mean, 0) for mean in (8000, 20000)]
    far, near = (
        [fit(polar(spectrum(d, Optics(), decay=decay), PIXEL), Optics(), SEARCH).resolution for d in true]
        for decay in (20.0, 300.0)
    )
    assert max(far) < 4.6
    assert all(4.6 < value < 9 for value in near)


def test_noise_alone_scores_low() -> None:
    noise = spectrum(Defocus(15000, 15000, 0), Optics(), strength=0.0)
    rings = fit(polar(spectrum(Defocus(15000, 15000, 0), Optics()), PIXEL), Optics(), SEARCH)
    nothing = fit(polar(noise, PIXEL), Optics(), SEARCH)
    assert nothing.score < 0.5 * rings.score
    assert nothing.resolution > rings.resolution


def test_too_few_rings_are_refused() -> None:
    flat = polar(spectrum(Defocus(15000, 15000, 0), Optics()), PIXEL)
    with pytest.raises(BadInput, match="fewer than 8 rings"):
        fit(flat, Optics(), replace(SEARCH, lowest_resolution=40, highest_resolution=39))


def test_tiles_make_the_whole_plane_of_a_real_image() -> None:
    image = np.random.default_rng(1).standard_normal((300, 200)).astype(np.float32)
    full = tiled(image, 128)
    assert full.shape == (128, 128)
    # Friedel: amplitude at −k equals that at k, around pixel [64, 64]
    assert full[1:, 1:] == pytest.approx(full[:0:-1, :0:-1])


def test_tiles_of_one_wave_peak_at_its_frequency() -> None:
    y, x = np.mgrid[:256, :256]
    image = np.cos(2 * np.pi * (10 * x + 20 * y) / 128).astype(np.float32)
    full = tiled(image, 128)
    assert {tuple(place) for place in np.argwhere(full > 0.9 * full.max())} == {(84, 74), (44, 54)}


def test_movies_are_summed_as_asked() -> None:
    frames = np.random.default_rng(1).standard_normal((4, 128, 128)).astype(np.float32)
    assert tiled(frames, 128) == pytest.approx(tiled(frames.sum(axis=0), 128), rel=1e-4)
    pairs = np.sqrt(sum(tiled(frames[i : i + 2].sum(axis=0), 128) ** 2 for i in (0, 2)))
    assert tiled(frames, 128, 2) == pytest.approx(pairs, rel=1e-4)


def test_simplex_finds_a_minimum() -> None:
    found = simplex(lambda p: float((p[0] - 3) ** 2 + 10 * (p[1] + p[0]) ** 2), np.zeros(2))
    assert found == pytest.approx([3, -3], abs=0.02)
