"""The whole path to a rented machine and back, by the command line: setup, submit, boot, job, results, power-off."""

import pytest
from tests.services.home import Home

from .fixtures import EmulatedCloud

pytestmark = pytest.mark.slow


def test_a_job_goes_and_comes_back(home: Home, cloud: EmulatedCloud) -> None:
    folder = home.job()
    home.submit(folder, "--to", "aws", "--store", "aws")
    run = home.ended()
    assert run["state"] == "SUCCEEDED", home.log()
    assert (home.project / folder / "two.bin").read_bytes() == (home.project / "in.bin").read_bytes()
