"""``cryoburst pause`` and ``cryoburst resume``, and the setting of the bandwidth."""

import pytest

from .home import Home


@pytest.mark.slow
def test_pause_and_resume(home: Home) -> None:
    assert home.call("pause").stdout == (
        "Paused: this computer sends and fetches no files until cryoburst resume; running jobs go on\n"
    )
    assert (home.state / "paused").exists()
    done = home.call("pause")
    assert (done.returncode, done.stderr) == (0, "")
    assert home.call("resume").stdout == "Transfers go on\n"
    assert not (home.state / "paused").exists()
    assert home.call("resume").stdout == "No transfer was paused\n"


def test_pause_in_a_state_folder_that_cannot_be(home: Home) -> None:
    home.state.write_text("mine")
    assert str(home.state) in home.fails("pause")
    assert str(home.state) in home.fails("resume")


@pytest.mark.parametrize("text", ["50 MB/s", "off", "08:00-18:00 20 MB/s, 18:00-08:00 100 MB/s"])
def test_a_bandwidth(home: Home, text: str) -> None:
    home.environment["CRYOBURST_BANDWIDTH"] = text
    assert home.call("runs").returncode == 0


@pytest.mark.slow
def test_a_wrong_bandwidth_is_one_sentence(home: Home) -> None:
    home.config.parent.mkdir(parents=True)
    home.config.write_text('bandwidth = "50 mb/s"\n')
    assert home.fails("runs") == (
        "the setting bandwidth has a wrong value: the bandwidth has an unknown unit "
        f"(50 mb/s, in {home.config}): the units are kB/s, MB/s, GB/s, kbit/s, Mbit/s, Gbit/s"
    )
    home.config.write_text("bandwidth = 50\n")
    assert "the setting bandwidth has a wrong value" in home.fails("runs")
    home.config.unlink()
    home.environment["CRYOBURST_BANDWIDTH"] = "fast"
    assert "the bandwidth is not understood (fast, in the environment)" in home.fails("runs")
