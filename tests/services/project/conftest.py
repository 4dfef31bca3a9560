"""Two computers that share a store."""

from pathlib import Path

import pytest

from .computer import Computer


@pytest.fixture
def here(tmp_path: Path) -> Computer:
    """A computer with an empty project."""
    made = Computer(tmp_path / "here", tmp_path / "store")
    made.project.mkdir()
    return made


@pytest.fixture
def there(tmp_path: Path, here: Computer) -> Computer:
    """Another computer with the same store, and no project yet."""
    return Computer(tmp_path / "there", here.store, "clone")
