"""Opens a store by its URL. The scheme names the client; clients are plug-ins and never import one another.

``file`` is known without looking, because the agent's archive on a machine has no entry points; every other scheme is
found through the entry points ``cryoburst.stores``.
"""

from collections.abc import Callable
from typing import cast

from cryoburst.model.errors import BadInput
from cryoburst.model.plugins import Store
from cryoburst.stores.folder import FolderStore

__all__ = ["open_store"]


def open_store(url: str) -> Store:
    """The store behind a URL such as ``file:///data/store``; touches nothing there yet.

    Raises ``BadInput`` when the URL has no scheme, or no client is installed for it.
    """
    scheme, mark, _ = url.partition("://")
    if not mark or not scheme:
        raise BadInput("a store's address needs a scheme", where=url, advice="write it like file:///data/store")
    if scheme == "file":
        return FolderStore(url)
    return _plugin(scheme, url)(url)


def _plugin(scheme: str, url: str) -> Callable[[str], Store]:
    from importlib.metadata import entry_points  # slow to import, and not needed for folders

    found = entry_points(group="cryoburst.stores", name=scheme)
    for entry in found:
        return cast(Callable[[str], Store], entry.load())
    raise BadInput(f"no client for {scheme}:// stores is installed", where=url)
