"""The stage on SQLite, and on both databases."""

from collections.abc import Iterator
from pathlib import Path

import pytest

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
