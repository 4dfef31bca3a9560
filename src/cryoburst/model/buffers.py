"""The type of what can be written to a store or a file without a copy: bytes, memoryview, mmap and a client's own."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer
else:
    Buffer = object  # collections.abc.Buffer comes with Python 3.12

__all__ = ["Buffer"]
