"""A project's list in a store: what ``cryoburst project push`` writes and ``clone`` reads. Pure.

    projects/<folder>/<generation>-<uid>.json     a ``documents.Head``; the newest is the project as it was last pushed
    <folder>/project/<sha256>                     its parts: the entries, in the order of their paths

A part is a JSON object, compressed by zlib, of lists with one value for each entry: ``paths``, ``kinds``, ``sizes``,
``mtimes`` (ns), ``checksums``, ``keys`` (the index of the blob in ``blobs``), ``offsets``, ``targets``. The list is cut
where a path's CRC-32 says so, so that a change in one place leaves the other parts, which are stored by content, as
they are. A name that is not UTF-8 stands in it with a lone surrogate for each odd byte (PEP 383), which JSON escapes.

Whoever writes a list may be somebody else: nothing that it says leads out of the project's folder (``check``).
"""

import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, cast

from cryoburst.model.errors import Corrupt
from cryoburst.model.store import UNFINISHED
from cryoburst.model.stub import is_remote

FILE, PROGRAM, LINK, FOLDER = "f", "x", "l", "d"  # PROGRAM is a file with its owner's x bit, FOLDER one that is empty
FORMAT = 1  # of a part; raised when a column changes its meaning
CUT, MOST = 0x3FFF, 0x10000  # entries in a part: 16,384 on average, 65,536 at most
BOMB = 512 * 2**20  # bytes that a part may unfold to


class Entry(NamedTuple):
    """One name of a project. Only files have a size, checksum and place (``key`` and ``offset``); links a target."""

    kind: str
    size: int = 0
    mtime_ns: int = 0
    checksum: str = ""
    key: str = ""
    offset: int = 0
    target: str = ""

    @property
    def is_file(self) -> bool:
        """Whether it has a content."""
        return self.kind in (FILE, PROGRAM)

    def same(self, other: "Entry | None") -> bool:
        """Whether both are the same to a program: times and places do not count."""
        return (
            other is not None
            and self.kind == other.kind
            and self.checksum == other.checksum
            and self.target == other.target
        )


@lru_cache(maxsize=256)  # asked at every look at every run
def project_id(project: str) -> str:
    """The project's folder in the store: its own name for people, and a digest of its path so that two don't meet."""
    name = project.rstrip("/").rsplit("/", 1)[-1]
    readable = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in name)[:40] or "project"
    return f"{readable}-{hashlib.sha256(project.encode('utf-8', 'surrogateescape')).hexdigest()[:10]}"


def cut(entries: Mapping[str, Entry]) -> Iterator[list[tuple[str, Entry]]]:
    """The entries in the order of their paths, in parts."""
    part: list[tuple[str, Entry]] = []
    for path in sorted(entries):
        part.append((path, entries[path]))
        if len(part) >= MOST or zlib.crc32(os.fsencode(path)) & CUT == 0:
            yield part
            part = []
    if part:
        yield part


def encode(part: Iterable[tuple[str, Entry]], level: int = 6) -> bytes:
    """A part as it is stored; the same entries give the same bytes. ``level`` is zlib's."""
    paths: list[str] = []
    entries: list[Entry] = []
    for path, entry in part:
        paths.append(path)
        entries.append(entry)
    blobs: dict[str, int] = {}
    keys = [blobs.setdefault(entry.key, len(blobs)) for entry in entries]
    columns = list(zip(*entries, strict=True)) or [()] * len(Entry._fields)
    kinds, sizes, mtimes, checksums, _, offsets, targets = columns
    value = {
        "format": FORMAT,
        "blobs": list(blobs),
        "paths": paths,
        "kinds": "".join(cast(tuple[str, ...], kinds)),
        "sizes": sizes,
        "mtimes": mtimes,
        "checksums": checksums,
        "keys": keys,
        "offsets": offsets,
        "targets": targets,
    }
    return zlib.compress(json.dumps(value, separators=(",", ":")).encode(), level)


_COLUMNS: dict[str, type] = {
    "paths": str,
    "sizes": int,
    "mtimes": int,
    "checksums": str,
    "keys": int,
    "offsets": int,
    "targets": str,
}


def decode(data: bytes, where: str) -> dict[str, Entry]:
    """The entries of a part. Raises ``Corrupt`` naming ``where`` when it is not exactly one."""
    try:
        unfold = zlib.decompressobj()
        text = unfold.decompress(data, BOMB)
        if unfold.unconsumed_tail or not unfold.eof:
            raise ValueError("it does not end where it should")
        return _entries(json.loads(text))
    except (ValueError, TypeError, KeyError, IndexError, zlib.error) as error:
        raise Corrupt(f"not a part of a project's list: {error}", where=where) from None


def _entries(value: dict[str, Any]) -> dict[str, Entry]:
    if set(value) != {"format", "blobs", "kinds", *_COLUMNS} or value["format"] != FORMAT:
        raise ValueError("written by another version of cryoburst")
    count = len(value["paths"])
    for name, kind in _COLUMNS.items():
        if len(value[name]) != count or not {kind}.issuperset(map(type, value[name])):
            raise ValueError(f"the column {name} is wrong")
    kinds, blobs = str(value["kinds"]), [str(blob) for blob in value["blobs"]]
    if len(kinds) != count or not set(kinds) <= {FILE, PROGRAM, LINK, FOLDER}:
        raise ValueError("the column kinds is wrong")
    if count and (min(value["keys"]) < 0 or min(value["sizes"]) < 0 or min(value["offsets"]) < 0):
        raise ValueError("a number is negative")
    keys = [blobs[at] for at in cast(list[int], value["keys"])]
    columns = (kinds, value["sizes"], value["mtimes"], value["checksums"], keys, value["offsets"], value["targets"])
    entries = dict(zip(value["paths"], map(Entry._make, zip(*columns, strict=True)), strict=True))
    if len(entries) != count:
        raise ValueError("a path stands in it twice")
    return entries


def check(entries: Mapping[str, Entry], where: str) -> None:
    """``Corrupt`` when a path or a link's target could lead out of the project's folder, or stands in another's way.

    So no name is below a link, and a link's target climbs only at its beginning, where the folders are real.
    """
    fine: set[str] = set()
    for path, entry in entries.items():
        for part in path.split("/"):
            if part in ("", ".", "..") or part.startswith(UNFINISHED) or "\0" in part:
                raise _unsafe("a path that leads out of the project", path, where)
        if not path.isascii():
            try:
                os.fsencode(path)
            except UnicodeEncodeError:
                raise _unsafe("a path that no file can have", path, where) from None
        folder = path.rpartition("/")[0]
        above: list[str] = []
        while folder and folder not in fine:
            if folder in entries:
                raise _unsafe("a path that leads through something that is no folder", path, where)
            above.append(folder)
            folder = folder.rpartition("/")[0]
        fine.update(above)
        if entry.kind == LINK and not (stays(path, entry.target) or is_remote(entry.target)):
            raise _unsafe("a link that leads out of the project", path, where)


def stays(path: str, target: str) -> bool:
    """Whether a link at ``path`` with this text can't leave the project, whatever other links of the project say."""
    if not target or target.startswith("/") or "\0" in target:
        return False
    depth, down = path.count("/"), False
    for part in target.split("/"):
        if part == "..":
            depth -= 1
            if down or depth < 0:
                return False
        elif part not in ("", "."):
            down = True
    return True


def _unsafe(what: str, path: str, where: str) -> Corrupt:
    shown = path.encode("utf-8", "backslashreplace").decode()
    return Corrupt(f"the project's list in the store names {what}: {shown}", where=where, advice="nothing was written")
