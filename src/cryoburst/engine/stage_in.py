"""Stage in: every input into the store, once per project and content; then spec.json, last (rule 6)."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from threading import Lock

from cryoburst.engine.world import World
from cryoburst.model import documents
from cryoburst.model.documents import Spec, SpecInput
from cryoburst.model.errors import BadInput, Corrupt, StoreError
from cryoburst.model.job import Input
from cryoburst.model.plugins import Store
from cryoburst.model.run import Run, project_id

PARALLEL = 4  # files at a time
TELL = 0.5  # s between two notes of how much was sent


@dataclass(frozen=True)
class Plan:
    """What a run would send: every input, and of those the ones whose content the store does not have yet."""

    inputs: list[Input]
    checksums: dict[str, str]  # path -> checksum
    to_send: list[Input]
    places: dict[str, str]  # checksum -> key of what the store has

    @property
    def bytes_in(self) -> int:
        """Bytes that the machine will read."""
        return sum(i.size for i in self.inputs if not i.listed)

    @property
    def bytes_to_send(self) -> int:
        """Bytes that have to go to the store first."""
        return sum(i.size for i in self.to_send)


def plan(world: World, run: Run, inputs: list[Input]) -> Plan:
    """Work out what has to be sent. Reads each file whose checksum isn't cached; sends nothing. Raises BadInput.

    When the ledger knows no object of the project, the store is asked once; one that can't be read knows nothing.
    """
    known = world.ledger.checksums(run.project)
    there = world.ledger.objects(run.store, run.project)
    contents = [i for i in inputs if not i.listed]
    fresh = [i for i in contents if known.get(i.path, ())[:3] != (i.size, i.mtime_ns, i.inode)]
    checksums = {i.path: known[i.path][3] for i in contents if i not in set(fresh)}
    with ThreadPoolExecutor(PARALLEL) as pool:
        checksums |= dict(zip((i.path for i in fresh), pool.map(checksum_of, fresh), strict=True))
    rows = [(i.path, i.size, i.mtime_ns, i.inode, checksums[i.path]) for i in fresh]
    world.ledger.keep_checksums(run.project, rows)
    if not there and run.attempt == 1:  # a second attempt may be there because what the store has is damaged
        there = _listed(world, run, {checksums[i.path]: i.size for i in contents})
        world.ledger.keep_objects(run.store, run.project, there)
    missing = {checksums[i.path]: i for i in contents if checksums[i.path] not in there}
    return Plan(inputs, checksums, list(missing.values()), there)


def _listed(world: World, run: Run, sizes: dict[str, int]) -> dict[str, str]:
    """What the store has of the project's inputs, by their names: checksum -> key. A wrong size is none."""
    try:
        listed = list(world.store(run).list(f"{project_id(run.project)}/inputs/"))
    except StoreError:
        return {}
    found = {f"sha256:{entry.key.rpartition('/')[2]}": entry for entry in listed}
    return {
        checksum: entry.key
        for checksum, entry in found.items()
        if entry.key == input_key(run.project, checksum) and entry.size == sizes.get(checksum, entry.size)
    }


def stage_in(world: World, run: Run) -> Run | None:
    """Send what is missing, then write the spec of this attempt. Safe to repeat: what is there is not sent again.

    Returns the run with what was sent, or None when another took the row meanwhile. Raises BadInput for an input that
    is missing or changes while it is sent, StoreError when the store doesn't take it.
    """
    package, store = world.package(run), world.store(run)
    job = world.job(run)
    planned = plan(world, run, package.inputs(job))
    sizes: dict[str, object] = {
        "bytes_in": planned.bytes_in,
        "files_in": sum(not i.listed for i in planned.inputs),
        "bytes_to_send": planned.bytes_to_send,
        "bytes_sent": 0,
    }
    if world.ledger.change(run, sizes) is None:
        return None
    new = _send(world, store, run, planned)
    world.ledger.keep_objects(run.store, run.project, new)
    where = planned.places | new  # not read back: the database may have been deleted meanwhile
    _send_archive(world, store)
    now = world.clock()
    spec = Spec(
        uid=run.uid,
        attempt=run.attempt,
        owner=run.owner,
        job=run.job,
        script=run.script,
        environment=dict(package.environment),
        software=dict(job.software),
        inputs=[_spec_input(i, planned, where) for i in planned.inputs],
        logs=list(package.logs),
        log_base={name: _size(Path(run.project) / run.job / name) for name in package.logs},
        abort_file=package.abort_file,
        deadline=now + world.terms.walltime,
        grace=world.terms.grace,
        heartbeat=world.terms.heartbeat,
    )
    store.put(run.prefix + "spec.json", documents.dump(spec))
    return world.ledger.change(run, {"bytes_sent": planned.bytes_to_send, "staged": now})


def forget_inputs(world: World, run: Run, spec: Spec) -> None:
    """After a machine could not fetch its inputs: have those sent again that the store lost; all, when it has all."""
    store, keys = world.store(run), {i.key: i for i in spec.inputs if i.key}
    folders = {key.rpartition("/")[0] + "/" for key in keys}
    there = {(found.key, found.size) for folder in folders for found in store.list(folder)}
    lost = [i for i in keys.values() if (i.key, i.size) not in there]
    for each in lost or keys.values():
        world.ledger.forget_object(run.store, run.project, each.checksum)


def checksum_of(item: Input) -> str:
    """``sha256:…`` of a file at home. Raises BadInput when it can't be read."""
    try:
        with item.source.open("rb") as file:
            return f"sha256:{file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        raise BadInput(f"an input can't be read: {error.strerror}", where=item.path) from None


def input_key(project: str, checksum: str) -> str:
    """Where content that came from home lives in the store."""
    digest = checksum.removeprefix("sha256:")
    return f"{project_id(project)}/inputs/{digest[:2]}/{digest}"


def _send(world: World, store: Store, run: Run, planned: Plan) -> dict[str, str]:
    """Put every missing content, noting in the row how far it is; checksum -> key of what was put."""
    lock, sent, told = Lock(), 0, world.clock()

    def count(size: int) -> None:
        nonlocal sent, told
        with lock:
            sent += size
            due = world.clock() - told >= TELL
            told = world.clock() if due else told
        if due:
            world.ledger.change(run, {"bytes_sent": sent})

    def send(item: Input) -> tuple[str, str]:
        checksum = planned.checksums[item.path]
        key = input_key(run.project, checksum)
        try:
            size, put = store.put_file(key, item.source)
        except Corrupt:
            size, put = 0, ""
        except OSError as error:
            raise BadInput(f"an input can't be read: {error.strerror}", where=item.path) from None
        if put != checksum:
            store.delete(key)
            raise BadInput("an input changed while it was sent", where=item.path, advice="run the job when it is still")
        count(size)
        return checksum, key

    with ThreadPoolExecutor(PARALLEL) as pool:
        return dict(pool.map(send, planned.to_send))


def _send_archive(world: World, store: Store) -> None:
    """Put the agent's archive, once per version."""
    data, checksum = world.archive()
    key = archive_key(checksum)
    if not any(found.key == key and found.size == len(data) for found in store.list("agent/")):
        store.put(key, data)


def archive_key(checksum: str) -> str:
    """Where this version of the agent is in the store."""
    return f"agent/{checksum.removeprefix('sha256:')}.pyz"


def _spec_input(item: Input, planned: Plan, where: dict[str, str]) -> SpecInput:
    if item.listed:
        return SpecInput(item.path, item.size, "", "", item.mtime_ns)
    checksum = planned.checksums[item.path]
    return SpecInput(item.path, item.size, checksum, where[checksum], item.mtime_ns)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
