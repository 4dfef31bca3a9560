"""The estimator on simulated micrographs, astigmatism and all."""

from dataclasses import replace

import numpy as np
import pytest

from cryoburst.ctffind.dialogue import Search
from cryoburst.ctffind.fit import fit
from cryoburst.ctffind.spectrum import polar, tiled
from cryoburst.simulate.dataset import Settings, _generator
from cryoburst.simulate.movie import make
from cryoburst.simulate.specimen import Projector, load

MICROGRAPHS = [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]  # seed of the data, number


@pytest.mark.slow
def test_median_defocus_error_is_below_one_per_cent() -> None:
    settings = Settings(particles=40)
    # One frame of the whole dose: what perfect motion correction would leave.
    scene = replace(settings.scene, frames=1, exposure=6.0)
    response = np.ones((settings.size, settings.size), np.float32)
    projector = Projector(load(), settings.pixel_size)
    search = Search(30, 6.5, 5000, 40000, 500, 500.0)
    errors: list[float] = []
    vectors: list[float] = []
    for seed, number in MICROGRAPHS:
        made = make(scene, projector, response, _generator(seed, number))
        found = fit(polar(tiled(made.frames.astype(np.float32), 512), settings.pixel_size), scene.optics, search)
        mean = (made.defocus.u + made.defocus.v) / 2
        errors.append(abs((found.defocus.u + found.defocus.v) / 2 - mean) / mean)
        true, mine = ((d.u - d.v) * np.exp(2j * np.deg2rad(d.azimuth)) for d in (made.defocus, found.defocus))
        vectors.append(float(abs(true - mine)))
        assert 6.0 <= found.resolution < 12
    assert np.median(errors) < 0.01
    assert max(errors) < 0.02
    assert np.median(vectors) < 250
