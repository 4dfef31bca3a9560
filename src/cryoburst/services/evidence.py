"""What the documents in a store say about what is still needed there: of all owners, never of one ledger.

Unknown decides nothing: where a document can't be read, everything that it may speak of is needed, and it is named.
"""

import json
import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar, cast

from cryoburst.model import documents, project
from cryoburst.model.documents import Closed, Head, Heartbeat, Place, Request, Spec
from cryoburst.model.errors import Corrupt, NotThere
from cryoburst.model.plugins import Clock
from cryoburst.model.run import Run
from cryoburst.model.states import RunState
from cryoburst.model.store import Store, Stored, read_whole
from cryoburst.services import layout
from cryoburst.services.layout import ARCHIVE, INPUTS, PROBE, RUN, blob_folder, part_of
from cryoburst.transfer.content import DIGEST, PIECE, blob_key, pieces_of

FRESH = 3600.0  # s; what is younger is always needed: somebody may be about to name it
READERS = 16  # documents that are read at a time
T = TypeVar("T")
R = TypeVar("R")
EVERYTHING = ""  # as a project: all of them


@dataclass(frozen=True)
class Known:
    """A run as its documents show it. ``closed`` is None while it is unfinished."""

    request: Request
    closed: Closed | None
    key: str  # of the request

    @property
    def prefix(self) -> str:
        """Where its attempts lie."""
        return self._row.home_prefix

    @property
    def project(self) -> str:
        """The project's folder in the store."""
        return self._row.store_folder

    @property
    def state(self) -> str:
        """How it ended, or unfinished."""
        return self.closed.state if self.closed else "unfinished"

    @property
    def _row(self) -> Run:
        values = {name: getattr(self.request, name) for name in Request.__dataclass_fields__ if name != "format"}
        return Run(**values, store="")


class Evidence:
    """What is needed in one store. ``older`` in s: what was used within that time stays, though nobody names it now.

    ``look`` reads what is new since the last look. What was needed once stays needed, and ages are counted to the first
    look, so that what is free can only become less. It raises the store's errors; then nothing may be concluded. What
    the project ``leaving`` itself needs does not count.
    """

    def __init__(self, store: Store, older: float, clock: Clock = time.time, leaving: str = "") -> None:
        self._store, self._older, self._clock, self._leaving = store, older, clock, leaving
        self.now = clock()
        self.runs: dict[str, Known] = {}  # prefix -> run
        self._problems: set[str] = set()
        self._whole: set[str] = set()  # projects of which everything is needed
        self._named: set[int] = set()  # hashes of the keys that are named; a collision only keeps more
        self._held: set[int] = set()  # of those that lists of pieces name which stay themselves
        self._read: dict[str, tuple[tuple[int, float], object]] = {}  # key -> its state, what was read
        self._specs: dict[str, tuple[str, array[int]]] = {}  # key -> tag, hashes of the keys that it names
        self._parts: dict[str, array[int]] = {}  # of projects' lists, which never change: key -> the same
        self._archive = ""  # the newest

    def look(self) -> None:
        """Read the documents of all runs and projects as they are now."""
        listed = list(self._store.list("runs/"))
        at_once(self._read_document, [f for f in listed if self._read.get(f.key, _UNREAD)[0] != (f.size, f.modified)])
        self.runs = self._runs({found.key: self._read[found.key][1] for found in listed})
        at_once(self._of_run, [run for run in self.runs.values() if self._counts(run)])
        self._of_projects()
        archives = sorted((found.modified, found.key) for found in self._store.list("agent/"))
        self._archive = archives[-1][1] if archives else ""

    @property
    def problems(self) -> list[str]:
        """Sentences about documents that can't be read, so that everything in their project is needed."""
        return sorted(self._problems)

    @property
    def unfinished(self) -> list[Known]:
        """The runs that have not ended."""
        return [run for run in self.runs.values() if run.closed is None]

    def whole(self, project: str) -> bool:
        """Whether everything in a project's folder is needed."""
        return EVERYTHING in self._whole or project in self._whole

    def free(self, found: Stored) -> bool:
        """Whether nobody needs this object any more. False for whatever is not understood."""
        age = self.now - found.modified
        part = part_of(found.key)
        if age < FRESH:
            return False
        if part.kind == PROBE:
            return True
        if part.kind == ARCHIVE:  # which archive a run needs is written nowhere
            idle = not self.unfinished and EVERYTHING not in self._whole
            return age >= self._older and idle and found.key != self._archive
        if part.kind not in (INPUTS, RUN) or self.needed(found.key):
            return False
        return age >= self._older if part.kind == INPUTS else self.over(part.run)

    def over(self, prefix: str) -> bool:
        """Whether a run ended long ago and left nothing that is only in the store."""
        run = self.runs.get(prefix)
        return (
            run is not None
            and run.closed is not None
            and not run.request.leave
            and self.now - run.closed.ended >= self._older
        )

    def needed(self, key: str) -> bool:
        """Whether an unfinished run, a recent one or a pushed project names this object, or needs its whole project."""
        name = hash(key)
        return self.whole(part_of(key).project) or name in self._named or name in self._held

    def hold(self, keys: Iterable[str]) -> None:
        """Need these objects from now on: a list of pieces that stays names them."""
        self._held.update(map(hash, keys))

    # -------------------------------------------------------------------------------------------------- documents

    def _read_document(self, found: Stored) -> None:
        """Read a document below ``runs/``: itself, or what is wrong with it, or None when it went meanwhile."""
        data = self._store.get(found.key)
        value: object = None
        if data is not None:
            kind: type[object] = Closed if found.key.endswith(".closed.json") else Request
            try:
                value = documents.load(kind, data, found.key)
                if isinstance(value, Closed):
                    RunState(value.state)
            except (Corrupt, ValueError) as error:
                value = _Unread(str(error), _project_in(data))
        self._read[found.key] = ((found.size, found.modified), value)

    def _runs(self, read: dict[str, object]) -> dict[str, Known]:
        runs: dict[str, Known] = {}
        for key, value in read.items():
            if isinstance(value, _Unread):
                self._problems.add(value.sentence)
                if not key.endswith(".closed.json"):
                    self._whole.add(value.project)
            if isinstance(value, Request):
                closed = read.get(f"{key.removesuffix('.json')}.closed.json")
                run = Known(value, closed if isinstance(closed, Closed) else None, key)
                other = runs.get(run.prefix)
                if other is None or other.closed is not None:
                    runs[run.prefix] = run
        return runs

    def _counts(self, run: Known) -> bool:
        """Whether what a run names is needed: it is unfinished, or ended lately."""
        recent = run.closed is None or self.now - run.closed.ended < self._older
        return recent and run.project != self._leaving

    def _of_run(self, run: Known) -> None:
        """Note what a run needs. Called from several threads: a set takes what it is given at one go."""
        if run.closed is not None:
            self._named.update(*(self._spec(run, number) or () for number in range(1, run.closed.attempt + 1)))
            return
        number = 0
        while (names := self._spec(run, number + 1)) is not None:
            self._named.update(names)
            number += 1
        if not self._at_work(run, number):
            # It may stage its inputs again, or for the first time, and count on whatever its ledger knows of.
            self._whole.add(run.project)

    def _spec(self, run: Known, number: int) -> "array[int] | None":
        """Hashes of the keys that the spec of an attempt names; None when there is none."""
        key = f"{run.prefix}{number}/spec.json"
        tag, names = self._specs.get(key, ("", array("q")))
        if run.closed is not None and tag:
            return names
        polled = self._store.poll(key, tag)
        if polled is None:
            return names
        if polled.data is None:
            return None
        try:
            spec = documents.load(Spec, polled.data, key)
            places = [(i.size, Place(i.key, i.offset)) for i in spec.inputs if i.key]
            names = array("q", map(hash, self._with_pieces(places)))
        except (Corrupt, NotThere) as error:
            self._problems.add(str(error))
            self._whole.add(run.project)
            return array("q")
        self._specs[key] = (polled.tag, names)
        return names

    def _with_pieces(self, places: Iterable[tuple[int, Place]]) -> Iterable[str]:
        """The keys of contents of these sizes (bytes); for a large file its pieces too."""
        for size, place in places:
            yield place.key
            if size > PIECE:
                data = read_whole(self._store, place.key, 0, pieces_of(size) * DIGEST)
                yield from pieces_in(place.key, data)

    def _of_projects(self) -> None:
        """Note what pushed projects consist of: as they are, and as they were within the time that things stay."""
        for folder, found in groupby(self._store.list("projects/"), key=lambda found: part_of(found.key).project):
            heads = list(found)
            if folder == self._leaving:
                continue
            last = heads[-1].key.rpartition("/")[2].partition("-")[0]  # several pushes may have made the newest
            for head, after in zip(heads, [*heads[1:], None], strict=True):
                generation = head.key.rpartition("/")[2].partition("-")[0]
                if after is not None and generation != last and self.now - after.modified >= self._older:
                    continue
                read = self._head(head)
                if isinstance(read, Head):
                    for names in at_once(lambda key, folder=folder: self._part(folder, key), read.parts):
                        self._named.update(names)
                else:
                    self._problems.add(read)
                    self._whole.add(folder)

    def _head(self, found: Stored) -> "Head | str":
        """A head, or what is wrong with it."""
        data = self._store.get(found.key)
        if data is None:
            return f"it went while it was read ({found.key})"
        try:
            return documents.load(Head, data, found.key)
        except Corrupt as error:
            return str(error)

    def _part(self, folder: str, key: str) -> "array[int]":
        """Hashes of the keys that a part of a project's list names, and of its own."""
        if key not in self._parts:
            try:
                data = self._store.get(key)
                if data is None:
                    raise NotThere("a part of a project's list is missing", where=key)
                entries = project.decode(data, key).values()
                places = ((entry.size, Place(entry.key, entry.offset)) for entry in entries if entry.key)
                self._parts[key] = array("q", map(hash, [key, *self._with_pieces(places)]))
            except (Corrupt, NotThere) as error:
                self._problems.add(str(error))
                self._whole.add(folder)
                return array("q")
        return self._parts[key]

    def _at_work(self, run: Known, number: int) -> bool:
        """Whether a machine was at work on this attempt within the last hour, and is not done."""
        if not number or self._store.get(f"{run.prefix}{number}/exit.json") is not None:
            return False
        key = f"{run.prefix}{number}/heartbeat.json"
        data = self._store.get(key)
        try:
            return data is not None and abs(self._clock() - documents.load(Heartbeat, data, key).time) < FRESH
        except Corrupt:
            return False


@dataclass(frozen=True)
class _Unread:
    """A document that can't be read, and the project that it may speak of; ``EVERYTHING`` when it doesn't say."""

    sentence: str
    project: str


_UNREAD = ((-1, 0.0), None)


def _project_in(data: bytes) -> str:
    """The project's folder in a request of another version."""
    try:
        found: object = json.loads(data)
    except ValueError:
        return EVERYTHING
    values = cast(dict[str, object], found) if isinstance(found, dict) else {}
    folder = values.get("folder")
    return folder if isinstance(folder, str) and "/" not in folder else EVERYTHING


def pieces_in(key: str, data: bytes) -> list[str]:
    """The keys of the pieces that a list names, which is stored under ``key``."""
    folder = blob_folder(key)
    if folder is None:
        raise Corrupt("a list of pieces lies outside the blobs", where=key)
    return [blob_key(folder, data[n : n + DIGEST].hex()) for n in range(0, len(data), DIGEST)]


def pieces_named(store: Store, found: Stored) -> list[str]:
    """The keys of the pieces, when this blob is a list of pieces that are there; else none.

    A list has nothing that tells it from other bytes, but that its first digest is the name of a blob.
    """
    try:
        data = store.get(found.key)
        if data is None or not layout.may_list(Stored(found.key, len(data), 0.0)):
            return []
        keys = pieces_in(found.key, data)
        read_whole(store, keys[0], 0, 1)
    except (NotThere, Corrupt):
        return []
    return keys


def at_once(do: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """The results for all items, several at a time: most of the time is the store's."""
    if len(items) < 2:
        return [do(item) for item in items]
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(do, items))
