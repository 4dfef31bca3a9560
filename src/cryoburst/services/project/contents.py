"""What a store has of a project's contents, as far as it can be believed: asked of the store before it is relied on.

The ledger remembers where contents are. Another computer may have freed them since, so what no list of the project
names is looked up before a new list counts on it.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Mapping

from cryoburst.model.documents import Place
from cryoburst.model.project import Entry
from cryoburst.model.store import Store, read_whole
from cryoburst.services.project.opened import Project
from cryoburst.transfer.content import DIGEST, LARGE, PIECE, SMALL, blob_key, digest_of, pieces_of
from cryoburst.transfer.packs import contents_of

TELL = 0.3  # s between two notes in the ledger of what was sent


class Contents:
    """Where contents are; safe for threads."""

    def __init__(self, project: Project, clock: Callable[[], float]) -> None:
        self._project, self._clock = project, clock
        self._places = project.ledger.objects(project.store_url, project.folder)
        self._sure: set[str] = set()  # keys that a list of the project names, or that were sent just now
        self._listed: dict[str, frozenset[str]] = {}  # what was looked up
        self._lock, self._told = threading.Lock(), clock()
        self._new: dict[str, Place] = {}
        self.lost: set[str] = set()  # checksums whose contents are gone from the store

    def trust(self, entries: Iterable[Entry]) -> None:
        """Believe what the newest list of the project says: nobody frees that."""
        for entry in entries:
            if entry.key:
                self._places[entry.checksum] = Place(entry.key, entry.offset)
                self._sure.add(entry.key)

    def learn(self) -> None:
        """Read from the store itself what it has: the ledger may have been told too little, or too much."""
        folder = f"{self._project.folder}/inputs/"
        there = contents_of(self._project.store, folder)
        gone = [each for each, place in self._places.items() if place.key.startswith(folder) and each not in there]
        ledger = self._project.ledger
        ledger.forget_objects(self._project.store_url, self._project.folder, gone)
        for checksum in gone:
            del self._places[checksum]
        self._places = there | self._places
        ledger.keep_objects(self._project.store_url, self._project.folder, there)
        self._sure |= {place.key for place in there.values()}

    def forget(self, checksums: Collection[str]) -> None:
        """Count on these no longer: they are sent again."""
        for checksum in checksums:
            self._places.pop(checksum, None)
        self._project.ledger.forget_objects(self._project.store_url, self._project.folder, checksums)

    def place(self, checksum: str) -> Place | None:
        """Where a content is; None when the store does not have it."""
        place = self._places.get(checksum)
        if place is None or place.key in self._sure or self._there(place.key):
            return place
        with self._lock:
            self._places.pop(checksum, None)
            self._new.pop(checksum, None)
            self.lost.add(checksum)
        return None

    def keep(self, new: Mapping[str, Place]) -> None:
        """What the store took just now."""
        with self._lock:
            self._places.update(new)
            self._new.update(new)
            self._sure.update(place.key for place in new.values())
            due = self._clock() - self._told >= TELL
        if due:
            self.tell()

    def tell(self) -> None:
        """Have the ledger keep what is new, and forget what is gone."""
        with self._lock:
            new, self._new, self._told = self._new, {}, self._clock()
            lost, self.lost = self.lost, set()
        if lost:
            self._project.ledger.forget_objects(self._project.store_url, self._project.folder, lost)
        self._project.ledger.keep_objects(self._project.store_url, self._project.folder, new)

    def _there(self, key: str) -> bool:
        above = f"{key.rpartition('/')[0]}/"
        if above not in self._listed:
            self._listed[above] = frozenset(found.key for found in self._project.store.list(above))
        return key in self._listed[above]


def examine(store: Store, folder: str, entries: Iterable[Entry]) -> set[str]:
    """The checksums of those contents, and pieces, whose blobs are not in the store with the sizes that they must have.

    One listing; of each large file its list of pieces is read. It finds what is missing or cut short; what has the
    right size and wrong bytes is found where it is fetched.
    """
    sizes: dict[str, int] = {}

    def size_of(key: str) -> int:
        above = key.removeprefix(f"{folder}/").partition("/")[0]
        if above not in listed_:
            listed_.add(above)
            sizes.update((found.key, found.size) for found in store.list(f"{folder}/{above}/"))
        return sizes.get(key, -1)

    listed_: set[str] = set()
    wrong: set[str] = set()
    for entry in entries:
        if not entry.is_file:
            continue
        digest, there = digest_of(entry.checksum), size_of(entry.key)
        if entry.size > PIECE:
            pieces = _wrong_pieces(store, entry, size_of) if there == pieces_of(entry.size) * DIGEST else None
            wrong |= pieces or set()
            good = pieces == set()
        elif entry.key.endswith(digest):
            good = there == entry.size
        else:
            good = there >= entry.offset + entry.size
        if not good:
            wrong.add(entry.checksum)
    return wrong


def _wrong_pieces(store: Store, entry: Entry, size_of: Callable[[str], int]) -> set[str] | None:
    """The checksums of a large file's pieces that are not there with their sizes; None when its list is wrong."""
    import hashlib

    count = pieces_of(entry.size)
    data = read_whole(store, entry.key, 0, count * DIGEST)
    if LARGE + hashlib.sha256(data).hexdigest() != entry.checksum:
        return None
    above = entry.key.rsplit("/", 2)[0] + "/"
    digests = [data[n * DIGEST : (n + 1) * DIGEST].hex() for n in range(count)]
    return {
        SMALL + digest
        for number, digest in enumerate(digests)
        if size_of(blob_key(above, digest)) != min(PIECE, entry.size - number * PIECE)
    }


def pieces_in(store: Store, entry: Entry) -> set[str]:
    """The checksums of the pieces of a large file, as far as its list can be read: what is sent again with it."""
    count = pieces_of(entry.size)
    data = store.get(entry.key) or b""
    return {SMALL + data[n * DIGEST : (n + 1) * DIGEST].hex() for n in range(min(count, len(data) // DIGEST))}
