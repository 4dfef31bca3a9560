"""The stage, and a split run on it, on SQLite and on both databases."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .split import Split
from .stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A world on SQLite."""
    made = Stage(tmp_path, f"sqlite://{tmp_path}/cryoburst.db")
    yield made
    made.reconciler.close()
    made.world.ledger.connection.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """A world on each database."""
    sqlite = f"sqlite://{tmp_path}/cryoburst.db"
    made = Stage(tmp_path, sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url"))
    yield made
    made.reconciler.close()
    made.world.ledger.connection.close()


@pytest.fixture
def split(stage: Stage) -> Split:
    """A split run on SQLite."""
    return Split(stage)


@pytest.fixture
def split_on_both(shared: Stage) -> Split:
    """A split run on each database."""
    return Split(shared)
