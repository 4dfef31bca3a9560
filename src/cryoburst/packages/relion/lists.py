"""The list of movies or micrographs that a job takes one after the other: its rows, and the same file with some alone.

A list is cut as text, so that every other byte of it (optics, comments, the form of numbers) stays as it is.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from cryoburst.packages.relion import star


@dataclass(frozen=True)
class List:
    """What the rows name, in their order, and the line of each in the file's ``text``, counted from 0."""

    text: bytes
    names: list[str]
    lines: list[int]

    def only(self, wanted: Collection[int]) -> bytes:
        """The file with these rows alone, counted from 0."""
        keep = {self.lines[number] for number in wanted}
        drop = set(self.lines) - keep
        return b"".join(line for n, line in enumerate(self.text.splitlines(keepends=True)) if n not in drop)


def read(content: bytes | Path, name: str, label: str) -> List | None:
    """The rows of the table with a column ``label``; None when no table has one. Raises BadInput, naming the file."""
    text = content if isinstance(content, bytes) else content.read_bytes()
    for block in star.blocks(text, name):
        if label in block.labels:
            return List(text, block.column(label), [line - 1 for line in block.lines])
    return None
