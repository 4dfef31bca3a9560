"""Fetches an object that somebody else put into a bucket. It has no checksum of ours; its state's tag stands for it.

The object is read in pieces at once. It counts only when it is in the same state after as it was when it was named.
"""
# ruff: noqa: PTH103, PTH104, PTH108, PTH120 - plain strings, as everywhere in transfer

import os
from functools import partial

from cryoburst.model.errors import Corrupt, NotThere
from cryoburst.model.store import PART, UNFINISHED, Store, Stored
from cryoburst.transfer.content import PIECE, pieces_of
from cryoburst.transfer.line import Line
from cryoburst.transfer.wanted import write_at


def fetch_object(store: Store, line: Line, found: Stored, target: str) -> None:
    """Write an object, as ``Store.find`` saw it, to ``target``: beside it, synced, renamed.

    Raises NotThere, Corrupt when it is in another state now, OSError of this disk, and the store's errors.
    """
    os.makedirs(os.path.dirname(target), exist_ok=True)
    beside = f"{os.path.dirname(target)}/{UNFINISHED}{os.urandom(8).hex()}"
    descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:

        def piece(number: int) -> None:
            offset = number * PIECE
            size = min(PIECE, found.size - offset)

            def write() -> None:
                at = offset
                for part in store.read(found.key, offset, size):
                    at += write_at(descriptor, memoryview(part), at)

            if size:
                with line.room(min(size, PART)):
                    line.carry(size, write)

        line.each(partial(piece, number) for number in range(pieces_of(found.size)))
        now = line.carry(0, lambda: store.find(found.key))
        if now is None:
            raise NotThere("the object is no longer in the bucket", where=found.key)
        if (now.size, now.tag) != (found.size, found.tag):
            raise Corrupt("the object in the bucket changed", where=found.key)
        modified = int(found.modified * 1e9)
        os.utime(descriptor, ns=(modified, modified))
        os.fsync(descriptor)
        os.rename(beside, target)
    except BaseException:
        os.unlink(beside)
        raise
    finally:
        os.close(descriptor)
