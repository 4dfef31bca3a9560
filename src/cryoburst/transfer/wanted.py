"""A file to fetch, and how it is written beside its target until all of it is verified."""
# ruff: noqa: PTH103, PTH104, PTH108, PTH120, PTH123 - plain strings, as thousands of small files go through here

import hashlib
import os
from dataclasses import dataclass

from cryoburst.model.documents import Place
from cryoburst.model.store import UNFINISHED


@dataclass(frozen=True)
class Wanted:
    """A file to fetch: what it must be, where it is in the store, and where it goes."""

    name: str  # for people
    target: str
    size: int
    checksum: str
    place: Place
    mtime_ns: int
    into: int = -1  # an open file whose content it becomes, when there is one at the target already
    aside: str = ""  # the folder in which it is written until it is verified; else the target's

    @property
    def beside(self) -> str:
        """The hidden name that it has while it is coming: of a fixed length, the same for the same name and content."""
        folder, _, name = self.target.rpartition("/")
        mark = hashlib.sha256(f"{name}\0{self.checksum}".encode("utf-8", "surrogateescape")).hexdigest()[:24]
        return f"{self.aside or folder}/{UNFINISHED}{mark}"

    def take(self, temporary: str) -> None:
        """Give a verified file its final name, or its content to the open file. Raises OSError."""
        if self.into < 0:
            os.rename(temporary, self.target)
            return
        with open(temporary, "rb") as file:
            done = 0
            while count := os.sendfile(self.into, file.fileno(), done, self.size - done):
                done += count
        os.utime(self.into, ns=(self.mtime_ns, self.mtime_ns))
        os.unlink(temporary)

    def make_folder(self) -> None:
        """Make the folder of its target. Silent when it is there."""
        os.makedirs(os.path.dirname(self.target), exist_ok=True)


def write_at(descriptor: int, data: memoryview, offset: int) -> int:
    """Write all of the data at an offset of an open file; how much that was."""
    size = len(data)
    while data:
        done = os.pwrite(descriptor, data, offset)
        data, offset = data[done:], offset + done
    return size
