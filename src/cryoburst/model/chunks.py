"""How a log that grows lies in the store: full chunks are objects of ``log/``, the rest rides in the heartbeat.

A chunk begins at a multiple of its size, so whoever lacks a byte can name the object that holds it and need not list.
Only the last chunk of a log, written when nothing follows, is shorter.
"""

CHUNK = 16 * 2**10  # bytes; at most so much of each log is sent again with every heartbeat
LARGE = 2**20  # bytes; of a log that grows fast


def chunk_name(log: str, start: int) -> str:
    """The object, below the attempt's prefix, of the chunk of a log that begins at a byte."""
    return f"log/{log}.{start:012d}"


def chunk_size(start: int, there: int) -> int:
    """How long the chunk is that begins at a byte when so many bytes are there from it on; 0 while they are too few."""
    if start % LARGE == 0 and there >= LARGE:
        return LARGE
    return CHUNK if there >= CHUNK else 0


def chunk_starts(offset: int) -> tuple[int, ...]:
    """Where the chunk that holds a byte may begin, the likely one first."""
    small, large = offset - offset % CHUNK, offset - offset % LARGE
    return (small,) if small == large else (small, large)
