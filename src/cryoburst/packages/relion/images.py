"""The heads of image files: MRC (MRC2014), and TIFF and EER as far as size and number of frames. Reads no pixel."""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MODE_BITS = {0: 8, 1: 16, 2: 32, 3: 32, 4: 64, 6: 16, 7: 32, 12: 16, 101: 4}  # bits of a pixel by MODE
MRC = (".mrc", ".mrcs", ".map", ".st")
TIFF = (".tif", ".tiff", ".eer")
HEAD = 96  # bytes of an MRC file that say what it holds
MOST_FRAMES = 20_000  # directories of a TIFF or EER file that are followed: an EER of minutes has fewer


@dataclass(frozen=True)
class Image:
    """Columns, rows and sections (images of a stack, frames of a movie); Å per pixel, 0 when the file does not say."""

    x: int
    y: int
    z: int
    pixel: float = 0.0
    promised: int = 0  # bytes that the header promises; 0 when it does not


def read(path: Path) -> Image | None:
    """The head of an image; None when it can't be read or is of no kind that is known."""
    try:
        if path.suffix.lower() in MRC:
            return mrc(beginning(path))
        if path.suffix.lower() not in TIFF:
            return None
        with path.open("rb") as file:
            return _tiff(file)
    except (OSError, struct.error):
        return None


def beginning(path: str | Path) -> bytes:
    """As much of an MRC file as ``mrc`` looks at. Raises OSError."""
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # a third of the calls of open(): a job may have 10,000 stacks
    try:
        return os.read(opened, HEAD)
    finally:
        os.close(opened)


def mrc(head: bytes) -> Image | None:
    """What the first ``HEAD`` bytes of an MRC file say, in either order of bytes; None when they are no such header."""
    if len(head) < HEAD:
        return None
    for order in ("<", ">"):
        nx, ny, nz, mode = struct.unpack_from(f"{order}4i", head)
        (sampling,) = struct.unpack_from(f"{order}i", head, 28)
        (cell,) = struct.unpack_from(f"{order}f", head, 40)
        (extended,) = struct.unpack_from(f"{order}i", head, 92)
        if mode in MODE_BITS and nx > 0 and ny > 0 and nz > 0 and extended >= 0:
            row = (nx * MODE_BITS[mode] + 7) // 8
            pixel = cell / sampling if sampling > 0 and 0 < cell < 1e9 else 0.0
            return Image(nx, ny, nz, pixel, 1024 + extended + row * ny * nz)
    return None


def _tiff(file: BinaryIO) -> Image | None:
    """Width and height of the first image, and how many there are (TIFF 6.0 section 2; BigTIFF)."""
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None:
        return None
    (version,) = struct.unpack_from(f"{order}H", head, 2)
    if version == 42:
        counter, entry, offset, at = "H", 12, "I", struct.unpack_from(f"{order}I", head, 4)[0]
    elif version == 43:
        counter, entry, offset, at = "Q", 20, "Q", struct.unpack_from(f"{order}Q", head, 8)[0]
    else:
        return None
    size: dict[int, int] = {}
    frames = 0
    while at and frames < MOST_FRAMES:
        frames += 1
        file.seek(at)
        (entries,) = struct.unpack(f"{order}{counter}", file.read(struct.calcsize(counter)))
        table = file.read(entries * entry + struct.calcsize(offset))
        if frames == 1:
            for n in range(entries):
                tag, kind = struct.unpack_from(f"{order}HH", table, n * entry)
                if tag in (256, 257):
                    size[tag] = struct.unpack_from(
                        f"{order}{'H' if kind == 3 else 'I'}", table, (n + 1) * entry - struct.calcsize(offset)
                    )[0]
        (at,) = struct.unpack_from(f"{order}{offset}", table, entries * entry)
    return Image(size[256], size[257], frames) if {256, 257} <= set(size) else None
