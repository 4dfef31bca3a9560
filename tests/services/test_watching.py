"""When the watcher looks."""

import time

import pytest

from .home import PATIENCE, Home


@pytest.mark.slow
def test_who_says_that_it_watches_is_the_watcher(home: Home) -> None:
    """Else a command that comes at once would start another, which is not the one that somebody looks at."""
    watching = home.start("watch")
    try:
        assert watching.stdout is not None
        assert watching.stdout.readline().startswith("Watching")
        assert int((home.state / "watch.lock").read_text()) == watching.pid
    finally:
        watching.terminate()
        watching.communicate(timeout=PATIENCE)


@pytest.mark.slow
def test_a_machine_whose_store_is_a_folder_is_heard_at_once(home: Home) -> None:
    """However seldom the watcher looks at running jobs."""
    home.environment["CRYOBURST_POLL_SECONDS"] = "600"
    began = time.monotonic()
    home.submit(home.job(script="sleep 1"))
    assert home.ended()["state"] == "SUCCEEDED", home.log()
    assert time.monotonic() - began < 600
