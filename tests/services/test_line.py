"""The line that the settings ask for."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cryoburst.model.errors import BadInput
from cryoburst.services.line import open_line
from cryoburst.services.settings import Settings


def test_without_settings_there_is_no_limit_and_no_file(tmp_path: Path) -> None:
    line = open_line(Settings(tmp_path / "state"))
    line.carry(10**9, lambda: None)
    assert line.limit is None
    assert not list(tmp_path.iterdir())


def test_two_lines_of_a_state_folder_share_the_limit(tmp_path: Path) -> None:
    settings = replace(Settings(tmp_path), bandwidth="10 MB/s")
    lines = [open_line(settings) for _ in range(2)]
    begun = time.monotonic()
    lines[0].carry(5 * 10**6, lambda: None)  # what an idle line may catch up on
    for line in lines:
        line.carry(2 * 10**6, lambda: None)
    assert time.monotonic() - begun >= 0.39


def test_the_pause_of_a_state_folder_holds_its_lines(tmp_path: Path) -> None:
    settings = Settings(tmp_path)
    settings.pause_file.touch()
    line, done = open_line(settings), threading.Event()
    thread = threading.Thread(target=lambda: line.carry(1, done.set))
    thread.start()
    assert not done.wait(0.2)
    settings.pause_file.unlink()
    assert done.wait(20)
    thread.join()


def test_a_wrong_bandwidth(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        open_line(replace(Settings(tmp_path), bandwidth="fast"))
