"""A disk with files and a store, with pieces so small that the tests are quick."""

import random
from pathlib import Path

from cryoburst.model.documents import Place
from cryoburst.model.plugins import UNFINISHED
from cryoburst.stores.folder import FolderStore
from cryoburst.transfer import Line, Receiver, Sender, Sent, Source, Unsent, Wanted, content

PIECE, PACKED = 1 << 16, 1 << 13  # bytes: small ones, so that the tests are quick; real ones where a test says so
REAL_PIECE = content.PIECE
FOLDER = "p/inputs/"
SIZES = [0, 1, PACKED - 1, PACKED, PACKED + 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 1]


class Yard:
    """A disk with files, a store, and what the store is known to have."""

    def __init__(self, root: Path) -> None:
        self.here, self.there = root / "here", root / "there"
        self.here.mkdir()
        self.store = FolderStore((root / "store").as_uri())
        self.store.create()
        self.places: dict[str, Place] = {}
        self.sent: dict[str, Sent] = {}
        self.wire = 0  # bytes that crossed it

    def write(self, name: str, data: bytes) -> Source:
        path = self.here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return self.source(name)

    def source(self, name: str) -> Source:
        stat = (self.here / name).stat()
        return Source(name, str(self.here / name), stat.st_size, stat.st_mtime_ns)

    def send(self, *sources: Source, line: Line | None = None) -> list[Unsent]:
        sender = Sender(self.store, FOLDER, line or Line(), self.places.get, self.places.update, self._moved)
        return sender.send(sources, self._done)

    def _done(self, sent: list[Sent]) -> None:
        self.sent.update({each.source.name: each for each in sent})

    def _moved(self, size: int, wire: bool) -> None:
        self.wire += size if wire else 0

    def wanted(self, name: str) -> Wanted:
        sent = self.sent[name]
        target = str(self.there / name)
        return Wanted(name, target, sent.source.size, sent.checksum, sent.place, sent.source.mtime_ns)

    def receive(self, *names: str, line: Line | None = None) -> dict[str, str]:
        """Fetch; name -> error of what did not come."""
        failed = Receiver(self.store, line or Line()).receive(self.wanted(name) for name in names or self.sent)
        return {each.wanted.name: f"{type(each.error).__name__}: {each.error}" for each in failed}

    def keys(self) -> dict[str, int]:
        return {each.key: each.size for each in self.store.list("")}

    def unfinished(self) -> list[Path]:
        return list(self.there.rglob(f"{UNFINISHED}*"))


def data_of(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)
