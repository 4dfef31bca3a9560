"""The form of a pack: small contents in one blob, and behind them a table by which a lost database is rebuilt."""

import struct
from collections.abc import Mapping

from cryoburst.model.documents import Place
from cryoburst.model.store import Store, read_whole
from cryoburst.transfer.content import DIGEST, LARGE, SMALL

MAGIC = b"cryoburst pack 1"
_ENTRY = struct.Struct("<32sQQ")  # digest, offset, size
_TAIL = struct.Struct(f"<Q{len(MAGIC)}s")  # number of entries, magic


def table_size(files: int) -> int:
    """Bytes of the table of a pack of so many files."""
    return files * _ENTRY.size + _TAIL.size


def pack_table(contents: Mapping[str, tuple[int, int]]) -> bytes:
    """What stands behind the contents of a pack, given as checksum -> (offset, size).

    So a lost database is rebuilt from the packs alone: an entry of digest (32 bytes), offset and size (64 bits,
    little-endian) each, then their number, then the mark above.
    """
    table = [_ENTRY.pack(bytes.fromhex(checksum.removeprefix(SMALL)), *where) for checksum, where in contents.items()]
    return b"".join([*table, _TAIL.pack(len(table), MAGIC)])


def unpack_table(store: Store, key: str, size: int) -> dict[str, Place]:
    """What a pack of this size holds: checksum -> place; empty when it is not a pack. Raises the store's errors."""
    if size < _TAIL.size:
        return {}
    count, magic = _TAIL.unpack(read_whole(store, key, size - _TAIL.size, _TAIL.size))
    length = count * _ENTRY.size
    if magic != MAGIC or length > size - _TAIL.size:
        return {}
    table = read_whole(store, key, size - _TAIL.size - length, length)
    return {SMALL + digest.hex(): Place(key, offset) for digest, offset, _ in _ENTRY.iter_unpack(table)}


def contents_of(store: Store, folder: str) -> dict[str, Place]:
    """What a folder of blobs holds, by the names of its blobs and the tables of its packs: checksum -> place.

    A blob may be a content or a list of pieces; it is named as both, and only a content of that checksum asks for it.
    """
    found: dict[str, Place] = {}
    for entry in store.list(folder):
        kind, _, digest = entry.key.removeprefix(folder).partition("/")
        if kind == "packs":
            found |= unpack_table(store, entry.key, entry.size)
        elif len(digest) == 2 * DIGEST and digest.startswith(kind):
            found |= dict.fromkeys((SMALL + digest, LARGE + digest), Place(entry.key, 0))
    return found
