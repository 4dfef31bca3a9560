"""Folders that nobody means to push."""

from pathlib import Path

import pytest

from cryoburst.model.errors import BadInput
from cryoburst.services.project.sensible import LARGE, MANY, refuse_home, refuse_strange
from cryoburst.services.project.walk import Found


def found(count: int, size: int) -> Found:
    made = Found()
    made.files = {str(number): (size, 0, number, False) for number in range(count)}
    return made


@pytest.mark.parametrize(("count", "size"), [(MANY + 1, 0), (2, int(LARGE / 2) + 1)])
def test_a_large_folder_that_is_no_project(tmp_path: Path, count: int, size: int) -> None:
    with pytest.raises(BadInput, match=r"no RELION project .*--dry-run"):
        refuse_strange(str(tmp_path), found(count, size))
    refuse_strange(str(tmp_path), found(count - 1, size - 1 if size else 0))


def test_a_large_project_is_fine(tmp_path: Path) -> None:
    (tmp_path / "default_pipeline.star").touch()
    refuse_strange(str(tmp_path), found(MANY + 1, 10**6))


@pytest.mark.parametrize(
    ("path", "refused"), [("/", True), ("/home", True), ("/home/me", True), ("/home/me/p", False), ("/home/m", False)]
)
def test_homes(monkeypatch: pytest.MonkeyPatch, path: str, refused: bool) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    if not refused:
        refuse_home(path)
        return
    with pytest.raises(BadInput, match="no project"):
        refuse_home(path)
