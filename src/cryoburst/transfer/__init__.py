"""Moves files between a disk and a store: exactly, resumably, nothing twice. Home and the agent use the same code.

What crosses the wire is a *blob*: an object of at most 16 MiB (``PIECE``), named for its own SHA-256. Small files go
together in a pack, a middle file is a blob, a large one is cut into pieces; the list of the pieces' digests is a blob
too. So a transfer that was cut goes on with the blobs that are missing, an upload needs no multipart of the server's,
and every blob is verified where it arrives. Standard library only: the agent carries it.
"""

from cryoburst.model.documents import Place
from cryoburst.transfer.content import PIECE, checksum_of
from cryoburst.transfer.line import Line
from cryoburst.transfer.receive import Receiver, Unreceived
from cryoburst.transfer.send import Sender, Sent, Source, Unsent
from cryoburst.transfer.wanted import Wanted

__all__ = [
    "PIECE",
    "Line",
    "Place",
    "Receiver",
    "Sender",
    "Sent",
    "Source",
    "Unreceived",
    "Unsent",
    "Wanted",
    "checksum_of",
]
