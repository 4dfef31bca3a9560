"""Names for what is in a bucket already: one link for each object, whose text is the object's address.

Nothing is sent or fetched. A job that reads such a name has the content fetched by its machine, from where it is.
"""

import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from cryoburst.model.errors import BadInput, NotThere
from cryoburst.model.project import stays
from cryoburst.model.stub import is_remote
from cryoburst.services.project.opened import Outcome
from cryoburst.services.project.walk import Left


def link(url: str, folder: Path) -> Outcome:
    """Make a link in ``folder`` for every object below the prefix that ``url`` names; what stands there stays.

    Raises BadInput when the address is none of a bucket, NotThere when no object is there, and the store's errors.
    """
    from cryoburst.stores import open_store

    address, mark, options = url.partition("?")
    if not is_remote(f"{address.rstrip('/')}/x"):
        open_store(url)  # says better what is wrong with it, and never repeats a secret
        raise BadInput("not the address of a bucket and a prefix", advice="write it like s3://bucket/movies/")
    store = open_store(url)
    outcome = Outcome(str(folder), url, "")
    outcome.counts = {"linked": 0, "already": 0, "bytes": 0}
    found = False
    for entry in store.list(""):
        found = True
        text = f"{address.rstrip('/')}/{quote(entry.key, safe=SAFE)}{mark}{options}"
        target = folder / entry.key
        if not stays("x", entry.key) or not is_remote(text):
            outcome.left.append(Left(entry.key, "a key that can be no name here"))
            continue
        try:
            if _make(folder, target, text):
                outcome.counts["linked"] += 1
            else:
                outcome.counts["already"] += 1
            outcome.counts["bytes"] += entry.size
        except OSError as error:
            outcome.left.append(Left(entry.key, (error.strerror or str(error)).lower()))
    if not found:
        raise NotThere("there is no object below this address", where=url)
    return outcome


SAFE = "/!$&'()*+,;=:@ ~"  # what stands in an address as it is; ? # and % do not


def _make(folder: Path, target: Path, text: str) -> bool:
    """Make a link; False when it is there already. Raises OSError when something else stands there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not Path(os.path.realpath(target.parent)).is_relative_to(os.path.realpath(folder)):
        raise NotADirectoryError(0, "its folder is a link to a place elsewhere")
    try:
        target.symlink_to(text)
    except FileExistsError:
        with suppress(OSError):
            if os.readlink(target) == text:  # noqa: PTH115
                return False
        raise
    return True
