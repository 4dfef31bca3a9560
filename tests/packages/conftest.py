"""RELION projects for the tests in this folder: an empty one, and one that RELION processed."""

from pathlib import Path

import pytest

from .watched import EMPTY_PIPELINE, relion_project  # noqa: F401


@pytest.fixture
def empty_project(tmp_path: Path) -> Path:
    """A project folder of RELION 3.1 without jobs."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "default_pipeline.star").write_text(EMPTY_PIPELINE)
    return root
