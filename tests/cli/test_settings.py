"""Settings and folders that can't work: said in one sentence, before anything is sent."""

import os
import subprocess
import time

import pytest

from cryoburst.services import watcher
from cryoburst.services.settings import load

from .home import FOLDER, MARKED, Home

SCRIPT = f"{FOLDER}run_submit.script"
READERS = (("runs",), ("show", "1"), ("machines",), ("plan", SCRIPT), ("submit", SCRIPT))


def assert_told(home: Home, before: dict[str, bytes], words: tuple[str, ...]) -> None:
    """RELION's window was told why a submission failed, and no other file was touched."""
    assert set(home.files()) - set(before) == (MARKED if words[0] == "submit" else set())
    assert before.items() <= home.files().items()


@pytest.mark.parametrize("words", READERS)
def test_the_state_folder_is_a_file(home: Home, words: tuple[str, ...]) -> None:
    home.state.write_text("mine")
    before = home.files()
    assert str(home.state) in home.fails(*words)
    assert home.state.read_text() == "mine"
    assert_told(home, before, words)


@pytest.mark.parametrize("words", READERS)
def test_the_state_folder_lies_below_a_file(home: Home, words: tuple[str, ...]) -> None:
    (home.root / "file").write_text("mine")
    home.environment["CRYOBURST_STATE"] = str(home.root / "file/state")
    before = home.files()
    assert str(home.root / "file") in home.fails(*words)
    assert_told(home, before, words)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("provider = local\n", "the settings are not TOML"),
        ("[", "the settings are not TOML"),
        ('colour = "red"\n', "unknown setting colour"),
        ('walltime_hours = "long"\n', "the setting walltime_hours has a wrong value"),
        ("poll_seconds = -1\n", "the setting poll_seconds has a wrong value"),
        ("retry_delays = [1, -5]\n", "the setting retry_delays has a wrong value"),
        ('retry_delays = ["soon"]\n', "the setting retry_delays has a wrong value"),
        ("poll_seconds = nan\n", "the setting poll_seconds has a wrong value"),
        ('store = "nonsense"\n', "nonsense"),
        ('database = "mysql://x"\n', "unknown database"),
        ('provider = "nowhere"\n', "nowhere"),
        ('machines = "here"\n', "the setting machines has a wrong value"),
    ],
)
def test_settings_that_cannot_work(home: Home, text: str, sentence: str) -> None:
    home.config.parent.mkdir(parents=True)
    home.config.write_text(text)
    assert sentence in home.refused()
    assert (home.project / FOLDER / "RELION_JOB_EXIT_FAILURE").exists()


def test_a_job_that_may_be_running_is_not_marked_for_wrong_settings(home: Home) -> None:
    home.config.parent.mkdir(parents=True)
    home.config.write_text("[")
    (home.project / FOLDER / "run.out").write_text("Expectation iteration 1 of 25\n")
    before = home.files()
    assert "the settings are not TOML" in home.fails("submit", "--job", FOLDER)
    assert home.files() == before


def test_settings_that_are_not_text(home: Home) -> None:
    home.config.parent.mkdir(parents=True)
    home.config.write_bytes(b"\xff\xfe\x00")
    assert "the settings are not TOML" in home.refused()


def test_a_number_in_the_environment_that_is_none(home: Home) -> None:
    home.environment["CRYOBURST_POLL_SECONDS"] = "often"
    assert "CRYOBURST_POLL_SECONDS is not a number (often)" in home.refused()


@pytest.mark.slow
def test_the_disk_of_the_state_folder_is_full(home: Home) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk")
    home.state.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(home.state)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a disk can be mounted only with more rights than these: {done.stderr.strip()}")
    try:
        subprocess.run(
            ["dd", "if=/dev/zero", f"of={home.state}/full", "bs=4096"], capture_output=True
        )  # until it is full
        before = home.files()
        for words in READERS:
            assert "full" in home.fails(*words) or "room" in home.fails(*words)
        assert_told(home, before, READERS[-1])
        (home.state / "full").unlink()
        subprocess.run(["mount", "-o", "remount,size=8m", str(home.state)], check=True)
        home.succeeds()
        home.no_machine()
        end = time.monotonic() + 180
        while watcher.running(load(home.environment)) is not None:  # what it frees at its end would be room
            assert time.monotonic() < end
            time.sleep(0.05)
        subprocess.run(["dd", "if=/dev/zero", f"of={home.state}/full", "bs=4096"], capture_output=True)
        for name in ("run.out", "run.err", "RELION_JOB_EXIT_SUCCESS"):  # as RELION itself does before it submits
            (home.project / FOLDER / name).unlink()
        said = home.fails("submit", SCRIPT)
        assert (home.project / FOLDER / "RELION_JOB_EXIT_FAILURE").exists(), said
        assert not (home.project / FOLDER / "RELION_JOB_EXIT_SUCCESS").exists()
    finally:
        subprocess.run(["umount", "-l", str(home.state)], check=True)


def test_relions_template_is_beside_the_settings(home: Home) -> None:
    done = home.call("relion", "setup")
    assert done.returncode == 0
    template = home.config.parent / "relion_template.sh"
    assert template.is_file()
    assert f"export RELION_QSUB_TEMPLATE={template}\n" in done.stdout
    assert not (home.root / ".config").exists()
