"""Names that stand for a content that is not on this disk: symbolic links whose text is no path. Pure.

A *stub* is what a clone leaves where a large file was not fetched: ``cryoburst://<checksum>/<size>``, with the checksum
as everywhere (``sha256:`` or ``sha256-16m:``, ``cryoburst.transfer.content``). It needs nothing else to be understood,
and ``cp -a``, rsync and tar carry it along. A *remote* link is the address of an object, as a user writes it with
``ln -s s3://bucket/movies/m1.mrcs Movies/m1.mrcs``. To a program both are links that lead nowhere: their names are
listed, and opening them fails.
"""

import re
from typing import NamedTuple
from urllib.parse import unquote

_STUB = re.compile(r"cryoburst://(sha256(?:-16m)?:[0-9a-f]{64})/(0|[1-9][0-9]{0,17})")
_BUCKET = r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}"
_REMOTE = re.compile(rf"((?:s3|gs)://{_BUCKET}|az://{_BUCKET}/{_BUCKET})/([^\0?]*[^/\0?])(\?[^\0]*)?")


class Stub(NamedTuple):
    """A content that is in a store: its checksum and its size in bytes."""

    checksum: str
    size: int

    @property
    def text(self) -> str:
        """The text of the link that stands for it."""
        return f"cryoburst://{self.checksum}/{self.size}"


def parse_stub(text: str) -> Stub | None:
    """The stub that a link's text is; None when it is any other link."""
    found = _STUB.fullmatch(text) if text.startswith("cryoburst://") else None
    return Stub(found[1], int(found[2])) if found else None


def split_remote(text: str) -> tuple[str, str] | None:
    """The bucket's URL and the object's key that a link's text is the address of; None when it is none.

    As in any address ``?`` begins the options of the store and ``%`` an escape. One with a part ``..`` is no address:
    the text is also a path, and must not become one that leads somewhere.
    """
    found = _REMOTE.fullmatch(text)
    if found is None or {".", ".."} & set(unquote(text).split("/")):
        return None
    return found[1] + (found[3] or ""), unquote(found[2])


def is_remote(text: str) -> bool:
    """Whether a link's text is the address of an object in a bucket."""
    return split_remote(text) is not None
