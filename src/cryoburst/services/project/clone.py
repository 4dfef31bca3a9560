"""Clone: a project of a store in a new folder. STAR and small files come first; a large one is a stub at first."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from cryoburst.model.documents import Head
from cryoburst.model.errors import BadInput, NotThere, StoreError
from cryoburst.services.project import heads
from cryoburst.services.project.base import Base
from cryoburst.services.project.opened import Outcome, Project, utf8
from cryoburst.services.project.pull import Wishes, pull
from cryoburst.services.project.walk import Found
from cryoburst.services.settings import Settings
from cryoburst.services.stores import store_url

if TYPE_CHECKING:
    from cryoburst.transfer.tally import Tally


def clone(
    settings: Settings,
    source: str,
    folder: Path,
    wishes: Wishes,
    show: Callable[["Tally"], AbstractContextManager[object]] = nullcontext,
) -> Outcome:
    """Bring a project (``STORE/PROJECT``) into a folder that is new or empty, or that a cut clone of it left.

    Raises BadInput naming the projects when the source is a store only.
    """
    url, name = locate(settings, source)
    if not name:
        known = ", ".join(projects(url)) or "it has none"
        raise BadInput("this is a store, and no project in it", where=source, advice=f"add one of: {known}")
    real = os.path.realpath(folder)
    if not utf8(real):
        raise BadInput("the path of the new project is not UTF-8", where=real)
    base = Base(settings.state, real)
    empty = not os.path.lexists(real) or (Path(real).is_dir() and not any(Path(real).iterdir()))
    if not empty and (base.store, base.folder, base.head) != (url, name, ""):
        raise BadInput("a clone needs a new or an empty folder", where=str(folder))
    project = Project(real, url, name, base)
    if not heads.newest(project.store, name):
        raise unknown(url, name)
    Path(real).mkdir(parents=True, exist_ok=True)
    if empty:
        base.keep(url, name, "", {}, Found())  # so that a clone that is cut can go on, as a pull or a clone
    return pull(project, wishes, show)


def locate(settings: Settings, source: str) -> tuple[str, str]:
    """The store's URL and the project's folder that a word means; the folder is empty when it means a store only."""
    if "://" not in source:
        name, _, folder = source.partition("/")
        return store_url(settings, name), folder.strip("/")
    address, mark, options = source.partition("?")
    above, _, last = address.rstrip("/").rpartition("/")
    parent = f"{above}{mark}{options}"
    if last and above.partition("://")[2].strip("/"):
        from cryoburst.stores import open_store

        folder = unquote(last)
        try:
            store = open_store(parent)
            fine = "/" not in folder and folder not in (".", "..")
            if fine and (heads.newest(store, folder) or (heads.folders(store) and not _has_projects(source))):
                return parent, folder
        except (StoreError, BadInput):
            return source, ""
    return source, ""


def _has_projects(url: str) -> bool:
    """Whether an address is that of a store with projects."""
    from cryoburst.stores import open_store

    try:
        return bool(heads.folders(open_store(url)))
    except StoreError:
        return False


def projects(url: str) -> dict[str, Head]:
    """The projects of a store: folder -> the newest head. Raises the store's error."""
    from cryoburst.stores import open_store

    store = open_store(url)
    found: dict[str, Head] = {}
    for folder in heads.folders(store):
        if name := heads.newest(store, folder):
            found[folder] = heads.read_head(store, folder, name)
    return found


def unknown(url: str, name: str) -> NotThere:
    """The error that says which projects there are instead."""
    known = ", ".join(projects(url))
    advice = f"it has {known}" if known else "it has none"
    return NotThere("there is no such project in the store", where=f"{name} in {url}", advice=advice)
