"""What we would send, against what RELION 3.1.3 opened: nothing missing, and nothing sent in vain."""

from typing import Any

import pytest

pytestmark = pytest.mark.slow

JOBS = ["import", "motioncorr", "ctffind", "ctffind_micrographs", "autopick", "extract", "class2d"]


@pytest.mark.parametrize("name", JOBS)
def test_closure_is_exactly_what_relion_opened(relion_project: Any, name: str) -> None:
    watched = relion_project.watched[name]
    assert watched.sent - watched.opened == set(), "sent in vain"
    assert watched.opened - watched.sent == set(), "missing on the machine"
