"""What a file is called by its content, and where in a store that content is.

The checksum of a file of at most ``PIECE`` bytes is ``sha256:`` and the SHA-256 of its bytes, as sha256sum prints it. A
larger file's is ``sha256-16m:`` and the SHA-256 of the concatenated SHA-256 digests of its 16 MiB pieces: pieces can be
hashed, sent, fetched and verified each on its own, in any order and on several cores. (S3 calls the same construction a
composite checksum: https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html.)

Those digests together are the large file's *list of pieces*. Its SHA-256 is the file's checksum, so the list is itself
stored by content; its pieces lie in the same folder.
"""

import errno
import hashlib
import os
from functools import cache
from pathlib import Path

from cryoburst.model.buffers import Buffer

PIECE = 16 * 2**20  # bytes; part of the checksum's definition, and what is in memory of one transfer
PACKED = 2 * 2**20  # bytes; files up to this size travel together in packs of at most PIECE
SMALL, LARGE = "sha256:", "sha256-16m:"
DIGEST = 32  # bytes


def checksum_of(path: Path | str) -> str:
    """The checksum of a file on this disk. Raises OSError."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - hot path
        first = file.read(PIECE)
        while len(first) < PIECE and (more := file.read(PIECE - len(first))):
            first += more
        if len(first) < PIECE:
            return small(first)
        digests = [hashlib.sha256(first).digest()]
        offset = PIECE
        while data := os.pread(file.fileno(), PIECE, offset):
            digests.append(hashlib.sha256(data).digest())
            offset += len(data)
        return LARGE + hashlib.sha256(b"".join(digests)).hexdigest() if len(digests) > 1 else SMALL + digests[0].hex()


def small(data: Buffer) -> str:
    """The checksum of a content of at most ``PIECE`` bytes."""
    return SMALL + hashlib.sha256(data).hexdigest()


@cache
def zeros() -> tuple[bytes, bytes]:
    """A piece of nothing but zeros, and its digest: a hole in a sparse file is neither read nor sent nor fetched."""
    piece = bytes(PIECE)
    return piece, hashlib.sha256(piece).digest()


def is_hole(descriptor: int, offset: int, size: int) -> bool:
    """Whether a range of an open file holds no data on the disk (lseek(2), SEEK_DATA). Moves the file's position."""
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA) >= offset + size
    except OSError as error:
        return error.errno == errno.ENXIO  # nothing but a hole up to the end


def digest_of(checksum: str) -> str:
    """The 64 hexadecimal digits of a checksum; ``ValueError`` when it is none."""
    name, _, digits = checksum.partition(":")
    if f"{name}:" not in (SMALL, LARGE) or len(digits) != 2 * DIGEST or not set(digits) <= set("0123456789abcdef"):
        raise ValueError(f"not a checksum: {checksum[:100]!r}")
    return digits


def blob_key(folder: str, digest: str) -> str:
    """Where the blob with this SHA-256 (hexadecimal) lies in a folder of blobs, which ends with a slash."""
    return f"{folder}{digest[:2]}/{digest}"


def pieces_of(size: int) -> int:
    """How many pieces a file of this size has."""
    return max(1, -(-size // PIECE))
