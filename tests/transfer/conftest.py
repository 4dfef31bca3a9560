"""What the tests of files share."""

from pathlib import Path

import pytest

from cryoburst.transfer import content, receive, send

from .yard import PACKED, PIECE, Yard


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces and packs of kilobytes."""
    content.zeros.cache_clear()
    for module in (content, send, receive):
        monkeypatch.setattr(module, "PIECE", PIECE)
    for module in (content, send):
        monkeypatch.setattr(module, "PACKED", PACKED)


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    """An empty one."""
    return Yard(tmp_path)
