"""Frees what nobody needs in a store that several people share.

Everything is decided by what the store itself says (``evidence``), read again right before each deletion. It must never
delete what an unfinished run or a pushed project names, nor what it does not understand; and wherever it is killed, no
list of pieces is left whose pieces are gone, for whoever finds such a list takes the file for there.
"""

import os
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from cryoburst.engine.record import record_key
from cryoburst.model.errors import StoreError
from cryoburst.model.plugins import UNFINISHED, Store, Stored
from cryoburst.services.evidence import FRESH, Evidence, Known, at_once, pieces_named
from cryoburst.services.layout import RUNS, Line, Part, may_list, measure, part_of
from cryoburst.services.stores import bucket_of
from cryoburst.stores.folder import SIGN, FolderStore

if TYPE_CHECKING:
    from cryoburst.stores.bucket import Bucket, Upload

DAY = 86_400.0  # s
BATCH = 1000  # objects that a server deletes with one request

UPLOAD, HIDDEN = "unfinished upload", "unfinished file"


@dataclass(frozen=True)
class Leftover:
    """What is in a store and no listing of its objects shows. ``end`` takes it away; silent when it is gone."""

    kind: str  # UPLOAD or HIDDEN
    name: str
    size: int  # bytes
    since: float  # s since the epoch
    end: Callable[[], None]


@dataclass(frozen=True)
class Found:
    """What can go, or what went: lines with something to free, leftovers, and what can't be told."""

    lines: list[Line]
    leftovers: list[Leftover]
    problems: list[str]  # sentences: documents that can't be read, and so keep their project
    unfinished: list[Known]

    @property
    def objects(self) -> int:
        """How many objects and leftovers."""
        return sum(line.free_objects for line in self.lines) + len(self.leftovers)

    @property
    def bytes(self) -> int:
        """How much they hold."""
        return sum(line.free_bytes for line in self.lines) + sum(each.size for each in self.leftovers)


def survey(store: Store, evidence: Evidence) -> Found:
    """What can go; deletes nothing. The lines are those of everything in the store. Two listings of all of it."""
    evidence.look()
    _hold_pieces(store, evidence)
    leftovers, problems = left_over(store, evidence.now)
    lines = measure(store.list(""), evidence.free)
    return Found(lines, leftovers, evidence.problems + problems, evidence.unfinished)


def collect(store: Store, evidence: Evidence, *, forget_runs: bool = False) -> Found:
    """Delete what can go; returns what went. Safe to kill and to repeat.

    With ``forget_runs`` the documents of runs that ended long ago go too, when nothing else of them is left.
    """
    evidence.look()
    _hold_pieces(store, evidence)
    leftovers, problems = left_over(store, evidence.now)
    lines = delete(store, evidence, lambda: store.list(""), evidence.free)
    if forget_runs:
        lines += forget(store, [run for run in evidence.runs.values() if evidence.over(run.prefix)])
    for each in leftovers:
        each.end()
    return Found(lines, leftovers, evidence.problems + problems, evidence.unfinished)


def _hold_pieces(store: Store, evidence: Evidence) -> None:
    """Whatever list of pieces stays, its pieces stay with it: they may be older, or of another's upload."""
    staying = (
        found
        for found in store.list("")
        if may_list(found) and not evidence.free(found) and not evidence.whole(part_of(found.key).project)
    )
    for batch in _batches(staying):
        for keys in _lists(store, batch):
            evidence.hold(keys)


def _lists(store: Store, blobs: Sequence[Stored]) -> list[list[str]]:
    """Of each blob, the pieces that it names."""
    return at_once(lambda found: pieces_named(store, found), blobs)


def _batches(objects: Iterator[Stored]) -> Iterator[list[Stored]]:
    while batch := list(islice(objects, BATCH)):
        yield batch


def store_clock(store: Store) -> Callable[[], float]:
    """The store's own time, in which its objects have their ages: by an object that is written and goes again.

    The difference to this computer's is measured once.
    """
    key = f".probe/clock-{secrets.token_hex(8)}"
    before = time.time()
    store.put(key, b"")
    try:
        written = [found.modified for found in store.list(".probe/") if found.key == key]
    finally:
        store.delete(key)
    behind = before - written[0] if written else 0.0
    return lambda: time.time() - behind


# ---------------------------------------------------------------------------------------------------------- deletion


def delete(
    store: Store, evidence: Evidence, listing: Callable[[], Iterable[Stored]], goes: Callable[[Stored], bool]
) -> list[Line]:
    """Delete what goes of a listing, lists of pieces before their pieces; returns what went.

    Before each batch the store's documents are read again, and what does not go any more stays.
    """
    gone: dict[Part, Line] = {}

    def end(batch: list[Stored]) -> None:
        if batch:
            store.delete(*(found.key for found in batch))
        for found in batch:
            part = part_of(found.key)
            gone.setdefault(part, Line(*part)).add(found, free=True)

    for batch in _batches(found for found in listing() if may_list(found) and goes(found)):
        lists = [(found, keys) for found, keys in zip(batch, _lists(store, batch), strict=True) if keys]
        evidence.look()
        for found, keys in lists:
            if not goes(found):
                evidence.hold(keys)
        end([found for found, _ in lists if goes(found)])
    for batch in _batches(found for found in listing() if goes(found)):
        evidence.look()
        end([found for found in batch if goes(found)])
    return list(gone.values())


def forget(store: Store, runs: Sequence[Known]) -> list[Line]:
    """Delete the documents of runs of which nothing else is left, the record too. A request goes before the word that
    its run ended: alone, it would be an unfinished run."""
    line = Line(RUNS)
    for run in runs:
        if any(True for _ in store.list(run.prefix)):
            continue
        record = record_key(run.request.owner, run.request.uid)
        for key in (run.key, f"{run.key.removesuffix('.json')}.closed.json", record):
            data = store.get(key)
            store.delete(key)
            if data is not None:
                line.add(Stored(key, len(data), 0.0), free=True)
    return [line] if line.objects else []


# --------------------------------------------------------------------------------------------------------- leftovers


def left_over(store: Store, now: float) -> tuple[list[Leftover], list[str]]:
    """Uploads that were begun more than a day ago and never finished, and files of writers that are dead since an hour;
    and a sentence when they can't be looked for."""
    if isinstance(store, FolderStore):
        return list(_hidden(store, now)), []
    try:
        bucket = bucket_of(store.url)
        if bucket is None:
            return [], []
        uploads = [each for each in bucket.uploads() if now - each.begun > DAY]
    except StoreError as error:
        return [], [f"unfinished uploads can't be looked for: {error}"]
    return [_upload(bucket, each) for each in uploads], []


def _upload(bucket: "Bucket", upload: "Upload") -> Leftover:
    return Leftover(UPLOAD, upload.key, upload.size, upload.begun, lambda: bucket.end(upload))


def _hidden(store: FolderStore, now: float) -> Iterator[Leftover]:
    for folder, _, names in os.walk(store.root):
        for name in names:
            path = os.path.join(folder, name)  # noqa: PTH118 - a store has many files
            if not name.startswith(UNFINISHED) or path == f"{store.root}/{SIGN}":
                continue
            with suppress(FileNotFoundError):
                seen = os.lstat(path)
                if stat.S_ISREG(seen.st_mode) and now - seen.st_mtime > FRESH:
                    relative = os.path.relpath(path, store.root)
                    yield Leftover(HIDDEN, relative, seen.st_size, seen.st_mtime, lambda path=path: _unlink(path))


def _unlink(path: str) -> None:
    Path(path).unlink(missing_ok=True)
