"""Whether somebody means to bring a folder to a store: a slip must not send a home folder, with all its keys."""

import os

from cryoburst.model.errors import BadInput
from cryoburst.services.project.opened import PIPELINE
from cryoburst.services.project.walk import Found

MANY, LARGE = 100_000, 20e9  # names, bytes: more than a folder that is no project has without somebody knowing


def refuse_home(path: str) -> None:
    """Raise BadInput for a home folder, and for every folder that one is in; unless RELION's own list is there."""
    home = os.path.realpath(os.path.expanduser("~"))  # noqa: PTH111 - a path that can't be expanded stays as it is
    if f"{home}/".startswith(f"{path.rstrip('/')}/") and not _is_project(path):
        what = "this is your home folder" if path == home else "your home folder is in this one"
        raise BadInput(f"{what}, and no project", where=path, advice="name the project's folder, or go there")


def refuse_strange(path: str, found: Found) -> None:
    """Raise BadInput for a very large folder that is no RELION project."""
    size = sum(identity[0] for identity in found.files.values())
    if (found.count > MANY or size > LARGE) and not _is_project(path):
        raise BadInput(
            f"this is no RELION project (no {PIPELINE}), and has {found.count:,} names and {size / 1e9:.1f} GB",
            where=path,
            advice="see what would be sent with --dry-run; --force sends it",
        )


def _is_project(path: str) -> bool:
    return os.path.isfile(f"{path}/{PIPELINE}")  # noqa: PTH113 - plain strings, as all around it
