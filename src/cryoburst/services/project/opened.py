"""A project on this computer with its store: where it is, what is known of it, what stands in which file."""

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cryoburst.model.errors import BadInput
from cryoburst.model.project import FILE, FOLDER, LINK, PROGRAM, Entry, project_id
from cryoburst.model.store import Store
from cryoburst.model.stub import parse_stub
from cryoburst.services.places import default_store
from cryoburst.services.project.base import Base
from cryoburst.services.project.walk import Found, Identity, Left

if TYPE_CHECKING:
    from cryoburst.database.ledger import Ledger
    from cryoburst.model.documents import Place
    from cryoburst.services.settings import Settings

PIPELINE = "default_pipeline.star"
FRESH = 2_000_000_000  # ns: a file that was written so short a time ago may change and keep its time
HASHING = 4  # files at once


class Project:
    """One project. Raises nothing before it is asked for something.

    ``path`` is absolute and real, ``folder`` is the project's in the store. What is slow to import or to open is there
    when it is first asked for: a project that is in step needs none of it.
    """

    def __init__(self, path: str, store_url: str, folder: str, base: Base) -> None:
        self.path, self.store_url, self.folder, self.base = path, store_url, folder, base

    @cached_property
    def settings(self) -> "Settings":
        """The settings in force. Raises BadInput."""
        from cryoburst.services.settings import load

        return load()

    @cached_property
    def store(self) -> Store:
        """Its store."""
        from cryoburst.stores import open_store

        return open_store(self.store_url)

    @cached_property
    def ledger(self) -> "Ledger":
        """The ledger."""
        from cryoburst.services.ledger import open_ledger

        return open_ledger(self.settings)

    @property
    def in_step(self) -> bool:
        """Whether the base is about this place in this store."""
        return bool(self.base.head) and (self.base.store, self.base.folder) == (self.store_url, self.folder)

    def known(self, found: Found) -> "Checksums":
        """What the ledger knows of those files that are not as they were when they were in step."""
        then = self.base.found.files if self.in_step else {}
        wanted = {path: identity for path, identity in found.files.items() if then.get(path) != identity}
        return Checksums(self.ledger.checksums(self.path) if wanted else {}, wanted)

    def entries(self) -> dict[str, Entry]:
        """The list that was in step last; empty when it was of another place."""
        return self.base.entries if self.in_step else {}

    def hashed(self, paths: Sequence[str], found: Found) -> tuple[dict[str, str], list[Left]]:
        """Read files for their checksums, and have the ledger keep them; those that can't be read are left."""
        from concurrent.futures import ThreadPoolExecutor

        from cryoburst.transfer import checksum_of

        def read(path: str) -> str | OSError:
            try:
                return checksum_of(f"{self.path}/{path}")
            except OSError as error:
                return error

        new: dict[str, str] = {}
        left: list[Left] = []
        with ThreadPoolExecutor(HASHING) as pool:
            for path, result in zip(paths, pool.map(read, paths), strict=True):
                if isinstance(result, OSError):
                    left.append(Left(path, (result.strerror or str(result)).lower()))
                else:
                    new[path] = result
        self.keep_checksums({path: found.files[path] for path in new}, new)
        return new, left

    def keep_checksums(self, identities: Mapping[str, Identity], checksums: Mapping[str, str]) -> None:
        """Have the ledger keep what was read of files that are at rest."""
        rows = [
            (path, size, mtime_ns, inode, checksums[path])
            for path, (size, mtime_ns, inode, _) in identities.items()
            if at_rest(mtime_ns) and utf8(path)
        ]
        self.ledger.keep_checksums(self.path, rows)


class Checksums:
    """What the ledger knows of files: by size, time and inode, which a renamed file keeps and hard links share."""

    def __init__(self, rows: Mapping[str, tuple[int, int, int, str]], wanted: Mapping[str, Identity]) -> None:
        seen = {identity[:3] for identity in wanted.values()}  # few of many rows: the rest needs no memory
        self._inodes = {row[:3]: row[3] for row in rows.values() if row[:3] in seen}

    def of(self, identity: Identity) -> str | None:
        """The checksum of a file that was not touched since; None when it is not known."""
        return self._inodes.get(identity[:3])


class Outcome:
    """What a command did, for people and programs."""

    def __init__(self, project: str, store: str, folder: str) -> None:
        self.project, self.store, self.folder = project, store, folder
        self.counts: dict[str, int] = {}
        self.left: list[Left] = []
        self.warnings: list[str] = []
        self.names: dict[str, list[str]] = {}  # what was or would be done -> paths
        self.generation = 0


def open_project(state: Path, path: Path, store: str = "", *, search: bool = False) -> Project:
    """The project in a folder; with ``search`` the one around it. ``store`` is a URL or name instead of the one it has.

    Raises BadInput when there is no such folder, or its name can be written in no document.
    """
    real = os.path.realpath(path)
    if not Path(real).is_dir():
        raise BadInput("there is no such folder", where=str(path))
    if not utf8(real):
        raise BadInput("the path of the project is not UTF-8", where=real, advice="rename the folder")
    base = Base(state, real)
    if search and not base.store:
        real, base = _around(state, real, base)
    project = Project(real, base.store, base.folder, base)
    if not base.store or store not in ("", base.store):
        from cryoburst.services.stores import store_url

        place, own = project.ledger.project_place(real)
        project.store_url, project.folder = base.store or place, base.folder or own
        if store or not project.store_url:
            project.store_url = store_url(project.settings, store)
    project.folder = project.folder or project_id(real)
    if project.store_url == default_store(state) and not (state / "store").is_dir():
        from cryoburst.services.house import prepare

        prepare(project.settings)
    return project


def _around(state: Path, real: str, base: Base) -> tuple[str, Base]:
    """The project that a folder is inside: one that was pushed, or RELION's; else the folder itself."""
    above = real
    while above != "/":
        found = Base(state, above)
        if found.store or os.path.isfile(f"{above}/{PIPELINE}"):  # noqa: PTH113
            return above, found
        above = os.path.dirname(above)  # noqa: PTH120
    return real, base


def here_entry(found: Found, path: str, checksum: str, place: "Place | None", before: Entry | None) -> Entry:
    """What is here by a name, as an entry; ``checksum`` and ``place`` are for files, ``before`` for a stub."""
    if path in found.files:
        size, mtime_ns, _, executable = found.files[path]
        key, offset = place if place is not None else ("", 0)
        return Entry(PROGRAM if executable else FILE, size, mtime_ns, checksum, key, offset)
    if path in found.links:
        return Entry(LINK, target=found.links[path])
    if path in found.stubs:
        stub = parse_stub(found.stubs[path])
        assert stub is not None
        key, offset = place if place is not None else ("", 0)
        if before is not None and before.checksum == stub.checksum:
            return before
        return Entry(FILE, stub.size, 0, stub.checksum, key, offset)
    return Entry(FOLDER)


def untouched(found: Found, then: Found, path: str) -> bool:
    """Whether a name is here as it was when it was in step."""
    if path in then.files:
        return found.files.get(path) == then.files[path]
    if path in then.links:
        return found.links.get(path) == then.links[path]
    if path in then.stubs:
        return found.stubs.get(path) == then.stubs[path]
    return path in then.folders and path in found.folders


def at_rest(mtime_ns: int) -> bool:
    """Whether a file was written long enough ago that a change now would change its time."""
    import time

    return mtime_ns < time.time_ns() - FRESH


def settled(found: Found, paths: Iterable[str]) -> Found:
    """What can be recognised later as untouched: of ``found`` those names, without files that were just written."""
    kept = Found()
    for path in paths:
        if path in found.files:
            if at_rest(found.files[path][1]):
                kept.files[path] = found.files[path]
        elif path in found.links:
            kept.links[path] = found.links[path]
        elif path in found.stubs:
            kept.stubs[path] = found.stubs[path]
        elif path in found.folders:
            kept.folders.add(path)
    return kept


def utf8(path: str) -> bool:
    """Whether a path can be written to a database."""
    if path.isascii():
        return True
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
