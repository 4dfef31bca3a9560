"""When the watcher looks."""

import time

import pytest

from .home import Home


@pytest.mark.slow
def test_a_machine_whose_store_is_a_folder_is_heard_at_once(home: Home) -> None:
    """However seldom the watcher looks at running jobs."""
    home.environment["CRYOBURST_POLL_SECONDS"] = "600"
    began = time.monotonic()
    home.submit(home.job(script="sleep 1"))
    assert home.ended()["state"] == "SUCCEEDED", home.log()
    assert time.monotonic() - began < 600
