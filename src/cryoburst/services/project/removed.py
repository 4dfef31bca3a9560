"""What is still here and was removed from the store's list by somebody else, until a person decides: no pull takes such
a name away unasked, and no push brings it back.

    <state>/projects/<id>/removed-<digest of the store and folder>     those names, as their last list had them

Losing it makes these names new ones; a name whose content was changed here since is one, too.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from cryoburst.model.errors import Corrupt
from cryoburst.model.plugins import UNFINISHED
from cryoburst.model.project import Entry, decode, encode
from cryoburst.model.run import project_id
from cryoburst.services.project.opened import Project, here_entry
from cryoburst.services.project.walk import Found


def read(project: Project) -> dict[str, Entry]:
    """These names; none where nothing is known of them."""
    path = _path(project)
    try:
        return decode(path.read_bytes(), str(path))
    except (OSError, Corrupt):
        return {}


def keep(project: Project, entries: Mapping[str, Entry]) -> None:
    """Write them anew."""
    path = _path(project)
    if not entries:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_name(f"{UNFINISHED}{os.getpid()}-{path.name}")
    with beside.open("wb") as file:
        file.write(encode(sorted(entries.items())))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def undecided(project: Project, found: Found, there: Mapping[str, Entry]) -> dict[str, Entry]:
    """Those that are here as they were and that the store's list doesn't have again. Reads what the ledger doesn't know
    and has the right size."""
    here = {path: entry for path, entry in read(project).items() if found.has(path) and path not in there}
    if not here:
        return {}
    known = project.known(found)
    checksums = {path: known.of(found.files[path]) or "" for path in here if path in found.files}
    unread = [path for path, checksum in checksums.items() if not checksum and found.files[path][0] == here[path].size]
    if unread:
        checksums |= project.hashed(unread, found)[0]
    mine = {path: here_entry(found, path, checksums.get(path, ""), None, entry) for path, entry in here.items()}
    return {path: entry for path, entry in here.items() if mine[path].same(entry)}


def _path(project: Project) -> Path:
    place = hashlib.sha256(f"{project.store_url}\n{project.folder}".encode()).hexdigest()[:24]
    return project.settings.state / "projects" / project_id(project.path) / f"removed-{place}"
