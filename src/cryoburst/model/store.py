"""The contract of a store: a bucket or folder that both sides reach. Light to import, as every command needs it.

So its values are named tuples: ``dataclasses`` alone takes longer than a look whether anything has changed.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cryoburst.model.buffers import Buffer

if TYPE_CHECKING:
    from cryoburst.model.plugins import Finding

PART = 1 << 18  # bytes that a store gives at once: few enough to be in the processor's cache until they are written
UNFINISHED = ".cryoburst-"  # so begins the name of a file that is still being written, in a store and at home


class Stored(NamedTuple):
    """An object in a store: its key, size in bytes, time of writing (s since the epoch), and a tag of its state, which
    ``Store.find`` gives and ``Store.list`` need not."""

    key: str
    size: int
    modified: float
    tag: str = ""


class Polled(NamedTuple):
    """What ``Store.poll`` found: the object's bytes (None when there is no such object) and a tag of this state."""

    data: bytes | None
    tag: str


class Store(Protocol):
    """A bucket or folder that both sides reach. Keys are relative, with forward slashes.

    Every write is all or nothing: a reader sees the old object, the new one, or none. Nothing larger than a few tens of
    megabytes is written at once (``cryoburst.transfer`` cuts and packs), so a client needs no multipart uploads. Safe
    for many threads at once. Errors: ``StoreUnavailable`` (may work later), ``StoreFull``, ``StoreRefused`` (the
    credential or the bucket is wrong: asking again will not help), ``Corrupt``; a missing object is ``None`` or
    silence, as each verb says.
    """

    url: str
    metered: bool  # whether every request costs money: then runs are watched at a slower pace

    def create(self) -> None:
        """Make the store where there is none yet; no other verb ever does. Silent when it is there."""
        ...

    def put(self, key: str, data: Buffer) -> None:
        """Write an object, replacing the one there. The server checks what arrived where it can."""
        ...

    def get(self, key: str) -> bytes | None:
        """The object's bytes; None when there is none."""
        ...

    def find(self, key: str) -> Stored | None:
        """The object without its bytes, its tag as ``poll`` gives it; None when there is none."""
        ...

    def read(self, key: str, offset: int, size: int) -> Iterable[Buffer]:
        """Exactly ``size`` bytes from ``offset`` on, in parts of about ``PART`` bytes as they come.

        ``Corrupt`` when the object ends before, ``NotThere`` without one: at the call, or at any part.
        """
        ...

    def poll(self, key: str, tag: str) -> Polled | None:
        """The object, unless it is still in the state that ``tag`` names: then None, at the price of one small
        request. An empty tag is no state."""
        ...

    def list(self, prefix: str) -> Iterable[Stored]:
        """All objects under a prefix (which ends with a slash, or is empty), in the order of their keys."""
        ...

    def delete(self, *keys: str) -> None:
        """Remove objects. Silent about those that are not there."""
        ...

    def probe(self) -> "Sequence[Finding]":
        """What the server behind it can and can't do, tried on objects of its own below ``.probe/``, which go again."""
        ...

    def credential(self, read: Sequence[str], write: str, seconds: float) -> dict[str, str]:
        """What a machine needs to open this store, by the names of the client's own environment variables.

        It may read below the prefixes ``read`` (one with a slash before it counts from the bucket's root), read and
        write below the prefix ``write``, and nothing else; it lasts for ``seconds`` and not much longer. Empty when a
        machine needs none. ``StoreRefused`` when the server can't make one that lasts so long.
        """
        ...


def read_whole(store: Store, key: str, offset: int, size: int) -> bytes:
    """What ``Store.read`` gives, in one piece: for the small."""
    return b"".join(map(memoryview, store.read(key, offset, size)))
