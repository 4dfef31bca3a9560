"""Stage in: every input into the store, once per project and content; then spec.json, last (rule 6)."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

from cryoburst.engine import earlier, elsewhere
from cryoburst.engine.stage_out import added
from cryoburst.engine.world import World
from cryoburst.model import documents
from cryoburst.model.documents import Place, Spec, SpecInput
from cryoburst.model.errors import BadInput, StoreError
from cryoburst.model.job import Input
from cryoburst.model.plugins import Store
from cryoburst.model.run import Run
from cryoburst.transfer import Sender, Sent, Source, Unsent, checksum_of
from cryoburst.transfer.packs import contents_of

PARALLEL = 4  # files that are hashed at a time
TELL = 0.5  # s between two notes of what was sent: what a kill here can cost
NAMED = 5  # files that a refusal names


@dataclass(frozen=True)
class Plan:
    """What a run would send: every input, and of those the ones whose content the store does not have yet."""

    inputs: list[Input]
    checksums: dict[str, str]  # path -> checksum
    to_send: list[Input]

    @property
    def bytes_in(self) -> int:
        """Bytes that the machine will read."""
        return _bytes_in(self.inputs)

    @property
    def bytes_to_send(self) -> int:
        """Bytes that have to go to the store first."""
        return sum(i.size for i in self.to_send)


def plan(world: World, run: Run, inputs: list[Input]) -> Plan:
    """Work out what has to be sent. Reads each file whose checksum isn't cached; sends nothing. Raises BadInput."""
    remote = elsewhere.look_up(world, run, inputs)
    inputs = [replace(i, size=remote[i.path].size) if i.remote else i for i in inputs]
    known, fresh = _checksums(world, run, inputs)
    with ThreadPoolExecutor(PARALLEL) as pool:
        new = dict(zip((i.path for i in fresh), pool.map(_checksum, fresh), strict=True))
    world.ledger.keep_checksums(run.project, [(i.path, i.size, i.mtime_ns, i.inode, new[i.path]) for i in fresh])
    checksums = known | new
    there = _places(world, run)
    missing = {checksums[i.path]: i for i in inputs if i.path in checksums and checksums[i.path] not in there}
    _check_stubs(missing.values())
    return Plan(inputs, checksums, list(missing.values()))


def stage_in(world: World, run: Run) -> Run | None:
    """Send what is missing, then write the spec of this attempt. Safe to repeat: what is there is not sent again.

    A file is read at most once: hashed and sent in one go. Returns the run with what was sent, or None when another
    took the row meanwhile. Raises BadInput naming the inputs that are missing or change while they are sent,
    StoreError when the store doesn't take them.
    """
    package, store = world.package(run), world.store(run)
    job = world.job(run)
    before = earlier.made(world, run, run.attempt - 1)
    resume = earlier.resume(world, run, job, before)
    if resume is not None:
        job = resume.job
    inputs = earlier.reading(world, run, lambda: package.inputs(job), before)
    remote = elsewhere.look_up(world, run, inputs)
    checksums, fresh = _checksums(world, run, inputs)
    places = earlier.places_of_stubs(run, before) | _places(world, run)
    missing = fresh + [i for i in inputs if i.path in checksums and checksums[i.path] not in places]
    _check_stubs(missing)
    sizes = {
        "bytes_in": _bytes_in(inputs) + sum(each.size for each in remote.values()),
        "files_in": sum(not i.listed for i in inputs),
    }
    sizes = added(world, run, sizes)
    if run.attempt > 1:  # one that goes on needs less; what the run has read is no less for that
        sizes = {name: max(size, int(getattr(run, name))) for name, size in sizes.items()}
    sending = _Sending(world, run, places, sum(i.size for i in missing))
    if world.ledger.change(run, {**sizes, **sending.counts()}) is None:
        return None
    try:
        with TemporaryDirectory(prefix="cryoburst-") as folder:
            checksums |= sending.send(store, [_on_disk(i, Path(folder)) for i in missing])
    except StopWanted:
        return None  # the next tick ends the run; what was sent stays in the store
    _send_archive(world, store, run.store)
    now = world.clock()
    rhythm = world.terms.rhythm(metered=store.metered)
    spec = Spec(
        uid=run.uid,
        attempt=run.attempt,
        owner=run.owner,
        job=run.job,
        script=resume.job.script if resume else run.script,
        environment={**package.environment, **job.environment},
        software=dict(job.software),
        inputs=[remote.get(i.path) or _spec_input(i, checksums, places) for i in inputs],
        logs=list(package.logs),
        log_base={name: _size(Path(run.project) / run.job / run.log_name(name)) for name in package.logs},
        abort_file=package.abort_file,
        deadline=now + world.terms.walltime,
        grace=world.terms.grace,
        heartbeat=rhythm.beat_most,
        beat_least=rhythm.beat_least,
        settled=sorted(resume.settled) if resume else [],
        void=sorted(resume.void) if resume else [],
        late=world.terms.late if job.patient else 0,
    )
    store.put(run.prefix + "spec.json", documents.dump(spec))
    if resume is not None:
        goes_on = f"attempt {run.attempt} goes on {resume.sentence}"
        world.ledger.event(run.whole, now, f"{run.title}: {goes_on}" if run.part else goes_on)
    sent = sending.counts()
    if resume is None:  # what comes is counted from the beginning
        sent |= added(world, run, {"bytes_out": 0, "files_out": 0})
    return world.ledger.change(run, {**sent, "staged": now})


def _on_disk(item: Input, folder: Path) -> Input:
    """An input as a file that can be sent: what stands for another's content is written into ``folder``."""
    if item.content is None:
        return item
    source = folder / hashlib.sha256(item.path.encode("utf-8", "surrogateescape")).hexdigest()
    source.write_bytes(item.content)
    seen = source.stat()
    return replace(item, source=source, mtime_ns=seen.st_mtime_ns, inode=seen.st_ino)


def forget_inputs(world: World, run: Run) -> None:
    """After a machine could not fetch its inputs: forget what the store lost; everything, when it lost nothing.

    Then what is forgotten is sent again.
    """
    known = world.ledger.objects(run.store, run.store_folder)
    there = {found.key for found in world.store(run).list(f"{run.store_folder}/")}
    lost = [checksum for checksum, place in known.items() if place.key not in there]
    world.ledger.forget_objects(run.store, run.store_folder, lost or list(known))


class StopWanted(Exception):
    """The user ended the run while its inputs were on their way."""


class _Sending:
    """Sends the files of one run, noting in the row how far it is and in the ledger what the store has."""

    def __init__(self, world: World, run: Run, places: dict[str, Place], size: int) -> None:
        """``size`` is what has to be handled, in bytes."""
        self._world, self._run = world, run
        self._places = places  # what the store has; grows
        self._lock = Lock()
        self._new: dict[str, Place] = {}  # of those, what the ledger was not told yet
        self._told = self._looked = world.clock()
        self._checksums: dict[str, str] = {}
        self._rows: list[tuple[str, int, int, int, str]] = []
        self._left = size  # bytes that are not handled yet
        self._sent = run.bytes_sent  # bytes, with those of earlier attempts and of the parts of a join

    def send(self, store: Store, inputs: list[Input]) -> dict[str, str]:
        """Send inputs; path -> checksum. Raises BadInput naming those that could not be sent."""
        if not inputs:
            return {}
        by_path = {i.path: i for i in inputs}
        folder = f"{self._run.store_folder}/inputs/"
        line = self._world.line()
        sender = Sender(store, folder, line, self._places.get, self._keep, self._moved)
        sources = (Source(i.path, str(i.source), i.size, i.mtime_ns) for i in inputs)
        try:
            with line.checked(self._check_stop):
                unsent = sender.send(sources, lambda sent: self._done(by_path, sent))
        finally:
            self._tell()
        if unsent:
            raise _refusal(unsent)
        return self._checksums

    def _check_stop(self) -> None:
        """``StopWanted`` when the user has ended the run since. The row is looked at now and then."""
        with self._lock:
            if (now := self._world.clock()) - self._looked < TELL:
                return
            self._looked = now
        row = self._world.ledger.run_by_uid(self._run.uid)
        if row is not None and row.stop_wanted:
            raise StopWanted

    def _keep(self, new: Mapping[str, Place]) -> None:
        with self._lock:
            self._places.update(new)
            self._new.update(new)
            due = self._world.clock() - self._told >= TELL
        if due:
            self._tell()

    def _done(self, inputs: Mapping[str, Input], sent: list[Sent]) -> None:
        with self._lock:
            for each in sent:
                found = inputs[each.source.name]
                self._checksums[found.path] = each.checksum
                if found.content is not None:
                    continue  # it is no file of the project
                self._rows.append((found.path, found.size, found.mtime_ns, found.inode, each.checksum))

    def _moved(self, size: int, wire: bool) -> None:
        with self._lock:
            self._left -= size
            self._sent += size if wire else 0

    def counts(self) -> dict[str, int]:
        """What of the run's row says how far it is: what is sent never becomes less."""
        return {"bytes_to_send": self._sent + max(0, self._left), "bytes_sent": self._sent}

    def _tell(self) -> None:
        with self._lock:
            new, self._new = self._new, {}
            rows, self._rows = self._rows, []
            counts, self._told = self.counts(), self._world.clock()
        self._world.ledger.keep_objects(self._run.store, self._run.store_folder, new)
        self._world.ledger.keep_checksums(self._run.project, rows)
        self._world.ledger.change(self._run, dict[str, object](counts))


def _checksums(world: World, run: Run, inputs: list[Input]) -> tuple[dict[str, str], list[Input]]:
    """What the ledger knows of inputs that were not touched since (path -> checksum), and the inputs that it doesn't.

    A file that was renamed or hard-linked keeps its inode, size and time, and is known by them.
    """
    known = world.ledger.checksums(run.project)
    by_inode = {row[:3]: row[3] for row in known.values()}
    found: dict[str, str] = {}
    fresh: list[Input] = []
    for each in inputs:
        if each.stub:
            found[each.path] = each.stub
        if each.listed or each.stub or each.remote:
            continue
        if each.content is not None:
            fresh.append(each)
            continue
        identity = (each.size, each.mtime_ns, each.inode)
        row = known.get(each.path)
        checksum = row[3] if row is not None and row[:3] == identity else by_inode.get(identity)
        if checksum is None:
            fresh.append(each)
        else:
            found[each.path] = checksum
    return found, fresh


def _places(world: World, run: Run) -> dict[str, Place]:
    """Where the store has contents of this project. Asked of the store itself when the ledger knows of none: it may
    have been deleted. A store that can't be read has none."""
    known = world.ledger.objects(run.store, run.store_folder)
    if known or run.attempt > 1:  # a second attempt may be there because what the store has is damaged
        return known
    try:
        known = contents_of(world.store(run), f"{run.store_folder}/inputs/")
    except StoreError:
        return {}
    world.ledger.keep_objects(run.store, run.store_folder, known)
    return known


def _check_stubs(missing: Iterable[Input]) -> None:
    for each in missing:
        if each.stub:
            advice = "submit to the store that the project was cloned from, or pull the file first"
            raise BadInput("an input is neither on this computer nor in the store", where=each.path, advice=advice)


def _checksum(item: Input) -> str:
    try:
        return checksum_of(item.source)
    except OSError as error:
        raise BadInput(f"an input can't be read: {error.strerror}", where=item.path) from None


def _refusal(unsent: list[Unsent]) -> BadInput:
    """One sentence on everything that could not be sent."""
    named = "; ".join(f"{each.source.name}: {each.why}" for each in unsent[:NAMED])
    more = f"; and {len(unsent) - NAMED} more" if len(unsent) > NAMED else ""
    what = "an input" if len(unsent) == 1 else f"{len(unsent)} inputs"
    return BadInput(f"{what} could not be sent", where=named + more, advice="run the job when they are there and still")


def _send_archive(world: World, store: Store, url: str) -> None:
    """Put the agent's archive, once per version."""
    data, checksum = world.archive(url)
    key = archive_key(checksum)
    if not any(found.key == key and found.size == len(data) for found in store.list("agent/")):
        store.put(key, data)


def archive_key(checksum: str) -> str:
    """Where this version of the agent is in the store."""
    return f"agent/{checksum.removeprefix('sha256:')}.pyz"


def _spec_input(item: Input, checksums: dict[str, str], places: dict[str, Place]) -> SpecInput:
    if item.listed:
        return SpecInput(item.path, item.size, "", "", 0, item.mtime_ns)
    place = places[checksums[item.path]]
    return SpecInput(
        item.path,
        item.size,
        checksums[item.path],
        place.key,
        place.offset,
        item.mtime_ns,
        instead=item.content is not None,
    )


def _bytes_in(inputs: list[Input]) -> int:
    return sum(i.size for i in inputs if not i.listed)


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return 0
