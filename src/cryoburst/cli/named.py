"""Files that the user named on the command line: nobody meets a bare message of the system for one of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryoburst.model.errors import BadInput


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """While the file (or folder) of this name is written. Raises BadInput in place of OSError, with what to do."""
    if not path.parent.is_dir():
        raise BadInput("there is no such folder", where=str(path.parent), advice="make it, or name another place")
    try:
        yield
    except OSError as error:
        what = f"it can't be written: {error.strerror or error}"
        raise BadInput(what, where=str(path), advice="name another place, where there is room") from None
