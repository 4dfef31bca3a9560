"""Sends or fetches one file slowly, so that a test can kill it: ``driver.py send|get STORE_URL PATH LEDGER REST``.

LEDGER keeps what the store has taken, a JSON object a line; REST is [checksum, key, offset, size] of the file to fetch.
Prints, at the end, what the other verb needs and how many bytes crossed the wire.
"""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from cryoburst.model.buffers import Buffer
from cryoburst.model.documents import Place
from cryoburst.stores.folder import FolderStore
from cryoburst.transfer import Line, Receiver, Sender, Sent, Source, Wanted


class Slow(FolderStore):
    """A store with a long way to it."""

    def put(self, key: str, data: Buffer) -> None:
        time.sleep(0.05)
        super().put(key, data)

    def read(self, key: str, offset: int, size: int) -> Iterator[bytes]:
        time.sleep(0.05)
        return super().read(key, offset, size)


def main(verb: str, url: str, path: str, ledger: Path, rest: str) -> None:
    wire: list[int] = []

    def moved(size: int, crossed: bool) -> None:
        wire.append(size if crossed else 0)

    def keep(new: Mapping[str, Place]) -> None:
        with ledger.open("a") as out:
            out.write(json.dumps(new) + "\n")

    def done(sent: list[Sent]) -> None:
        print(json.dumps([sent[0].checksum, *sent[0].place, sum(wire)]))

    if verb == "send":
        known: dict[str, Place] = {}
        for line in ledger.read_text().splitlines() if ledger.exists() else []:
            known |= {checksum: Place(*place) for checksum, place in json.loads(line).items()}
        stat = Path(path).stat()
        source = Source("f", path, stat.st_size, stat.st_mtime_ns)
        Sender(Slow(url), "p/inputs/", Line(2), known.get, keep, moved).send([source], done)
    else:
        checksum, key, offset, size = json.loads(rest)
        wanted = Wanted("f", path, size, checksum, Place(key, offset), 5)
        Receiver(Slow(url), Line(2), moved).receive([wanted])
        print(sum(wire))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]), sys.argv[5])
