"""Opens a store by its URL. The scheme names the client; clients are plug-ins and never import one another.

Our own schemes are known without looking, because the agent's archive on a machine has no entry points; every other one
is found through the entry points ``cryoburst.stores``.
"""

from collections.abc import Callable
from typing import cast

from cryoburst.model.errors import BadInput
from cryoburst.model.store import Store
from cryoburst.stores.folder import FolderStore

__all__ = ["open_store", "own_credential"]

OBJECTS = ("s3", "gs", "az")


def open_store(url: str) -> Store:
    """The store behind a URL such as ``file:///data/store`` or ``s3://bucket/prefix``; touches nothing there yet.

    Raises ``BadInput`` when the URL has no scheme, or no client is installed for it.
    """
    scheme, mark, _ = url.partition("://")
    if not mark or not scheme:
        raise BadInput("a store's address needs a scheme", where=url, advice="write it like file:///data/store")
    if scheme == "file":
        return FolderStore(url)
    if scheme in OBJECTS:
        from cryoburst.stores.objects import ObjectStore  # a folder needs none of it

        return ObjectStore(url)
    return _plugin(scheme, url)(url)


def own_credential(url: str) -> dict[str, str]:
    """What a process on this computer, without the cloud's own tools, needs in its environment to open this store.

    For the agent of a machine that is this computer. Raises ``StoreRefused`` when the user has no credential.
    """
    if url.partition("://")[0] not in OBJECTS:
        return {}
    from cryoburst.stores import address, credentials

    return credentials.own(address.parse(url))


def _plugin(scheme: str, url: str) -> Callable[[str], Store]:
    from importlib.metadata import entry_points  # slow to import, and not needed for folders

    found = entry_points(group="cryoburst.stores", name=scheme)
    for entry in found:
        return cast(Callable[[str], Store], entry.load())
    raise BadInput(f"no client for {scheme}:// stores is installed", where=url)
