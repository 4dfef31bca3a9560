"""What a key and a prefix are, for every store alike. Pure: it must never touch a store.

A key is a relative path: what one store takes, a folder and a bucket hold under the same name. So a key has no empty
part, no ``.`` and ``..``, no part that begins like a file that is still being written, and no part of more than 255
bytes (the longest name that a file may have).
"""

import os

from cryoburst.model.errors import BadInput
from cryoburst.model.store import UNFINISHED

__all__ = ["check_key", "check_prefix"]


def check_key(key: str) -> None:
    """``BadInput`` when the key could lead elsewhere, or no file system could hold it."""
    for part in key.split("/"):
        if part in ("", ".", "..") or part.startswith(UNFINISHED) or "\0" in part:
            raise BadInput("not a key", where=key, advice="keys are relative paths without empty parts or ..")
        try:
            if len(part) > 63 and len(os.fsencode(part)) > 255:
                raise BadInput("a part of this key is longer than 255 bytes", where=key)
            if not part.isascii():
                os.fsencode(part)
        except UnicodeEncodeError:
            raise BadInput("a key that no file name can hold", where=key) from None


def check_prefix(prefix: str) -> None:
    """``BadInput`` when this is neither empty nor a key with a slash behind it."""
    if not prefix:
        return
    if not prefix.endswith("/"):
        raise BadInput("a prefix ends with a slash", where=prefix)
    check_key(prefix[:-1])
