"""Stage out: log lines and whole outputs come home while the job runs; at its end all of them, verified.

An output reaches its final name only after its size and checksum are right. Markers are not outputs: the package
writes them when everything else is home.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import file_digest
from pathlib import Path

from cryoburst.engine.world import World, place_at_home
from cryoburst.model import documents
from cryoburst.model.documents import Batch, Exit, Heartbeat, Manifest, Output, Spec
from cryoburst.model.errors import Corrupt, NotThere
from cryoburst.model.plugins import UNFINISHED, Package, Store
from cryoburst.model.run import Run

PARALLEL = 4  # files at a time
LOG_TAIL = 64 * 1024  # bytes of a log in which progress is looked for


def read_spec(world: World, run: Run) -> Spec:
    """The spec of this attempt. Raises NotThere when it was never written."""
    data = world.store(run).get(run.prefix + "spec.json")
    if data is None:
        raise NotThere("the store has no spec of this attempt", where=run.prefix)
    return documents.load(Spec, data, run.prefix + "spec.json")


def log_sizes_home(run: Run, spec: Spec) -> dict[str, int]:
    """Bytes of each log that came home in this attempt."""
    folder = Path(run.project) / run.job
    sizes: dict[str, int] = {}
    for name, base in spec.log_base.items():
        try:
            sizes[name] = max(0, (folder / name).stat().st_size - base)
        except FileNotFoundError:
            sizes[name] = 0
    return sizes


def sync(world: World, run: Run, spec: Spec, heartbeat: Heartbeat) -> dict[str, object]:
    """Bring home what is new since the last time; returns changes of the run's row. Safe to repeat.

    An output that was replaced in the store since its batch was written is left for a later batch. Raises StoreError,
    and OSError when home can't be written.
    """
    package, store = world.package(run), world.store(run)
    _bring_logs(store, run, spec, heartbeat.log)
    done, size, files = run.batches_home, run.bytes_out, run.files_out
    for number in range(run.batches_home + 1, heartbeat.batches + 1):
        data = store.get(f"{run.prefix}journal/{number:06d}.json")
        if data is None:
            break
        batch = documents.load(Batch, data, f"journal/{number:06d}.json")
        before = _sizes_home(run, batch.outputs, heartbeat.command_started)
        brought = {path: found[0] for path, found, _ in _bring(world, store, package, run, batch.outputs, live=True)}
        size += sum(now - before.get(path, 0) for path, now in brought.items())
        files += sum(path not in before for path in brought)
        done = number
    changes: dict[str, object] = {"batches_home": done, "observed": heartbeat.time}
    if done != run.batches_home:
        changes |= {"bytes_out": max(0, size), "files_out": files}
    if heartbeat.command_started is not None:
        changes["command_started"] = heartbeat.command_started
    return changes | _progress(world, run)


def _sizes_home(run: Run, outputs: list[Output], since: float | None) -> dict[str, int]:
    """Of these outputs, the ones of which this attempt brought an earlier version home: path -> its size.

    They have the time that they got on the machine, so they are no older than the attempt's command.
    """
    sizes: dict[str, int] = {}
    for output in outputs:
        with suppress(OSError):
            found = (Path(run.project) / output.path).lstat()
            if since is not None and found.st_mtime >= since:
                sizes[output.path] = found.st_size
    return sizes


def fetch(world: World, run: Run, spec: Spec, exit_: Exit) -> tuple[dict[str, object], Manifest | None]:
    """Bring everything of this attempt home and verify it; returns changes of the run's row, and the manifest.

    Without a manifest (the machine could not send every output) what the journal lists comes home; None is returned.

    What is home already with the right checksum is not read again. Raises Corrupt naming the output, StoreError, and
    OSError when home can't be written; then it can be called again.
    """
    package, store = world.package(run), world.store(run)
    _bring_logs(store, run, spec, exit_.log)
    data = store.get(run.prefix + "manifest.json")
    if data is None:
        return sync(world, run, spec, _last_words(store, run, exit_)) | {"command_seconds": exit_.command_seconds}, None
    manifest = documents.load(Manifest, data, run.prefix + "manifest.json")
    brought = _bring(world, store, package, run, manifest.outputs, live=False)
    _clear(Path(run.project) / run.job)
    rows = [(path, *key, checksum) for path, key, checksum in brought]
    world.ledger.keep_checksums(run.project, rows)
    places = {o.checksum: f"{run.prefix}outputs/{o.path}" for o in manifest.outputs if not o.link}
    world.ledger.keep_objects(run.store, run.project, places)
    changes: dict[str, object] = {
        "bytes_out": sum(o.size for o in manifest.outputs),
        "files_out": len(manifest.outputs),
        "command_seconds": exit_.command_seconds,
        "command_started": exit_.command_started,
    }
    return changes | _progress(world, run), manifest


def _clear(folder: Path) -> None:
    """Take away what a killed process was still writing here: nobody else writes in this folder now."""
    for path in folder.rglob(f"{UNFINISHED}*"):
        path.unlink(missing_ok=True)


def _last_words(store: Store, run: Run, exit_: Exit) -> Heartbeat:
    """What a heartbeat would say now of a machine that has ended."""
    batches = sum(1 for _ in store.list(f"{run.prefix}journal/"))
    return Heartbeat(exit_.time, "outputs", exit_.log, batches, exit_.command_started)


def held_files(package: Package, run: Run, exit_: Exit) -> list[str]:
    """The markers that the program left on the machine."""
    return [name for name in exit_.markers if package.held(name)]


def _bring_logs(store: Store, run: Run, spec: Spec, there: dict[str, int]) -> None:
    """Append the new bytes of each log, at the offset that they had on the machine: a repeated call changes nothing."""
    have = log_sizes_home(run, spec)
    if Path(run.project).is_dir():  # a job folder that was deleted comes back; a project on a lost disk does not
        (Path(run.project) / run.job).mkdir(parents=True, exist_ok=True)
    for name in spec.log_base:
        offset, end = have[name], there.get(name, 0)
        place_at_home(Path(run.project), run.job, run.job + name).touch()
        while offset < end:
            chunk = _chunk(store, f"{run.prefix}log/", name, offset)
            if not chunk:
                break
            target = place_at_home(Path(run.project), run.job, run.job + name)
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                os.pwrite(descriptor, chunk, spec.log_base[name] + offset)
            finally:
                os.close(descriptor)
            offset += len(chunk)


def _chunk(store: Store, folder: str, name: str, offset: int) -> bytes:
    """The bytes of a log from an offset on; empty when the store has none."""
    exact = store.get(f"{folder}{name}.{offset:012d}")
    if exact is not None:
        return exact
    # home was killed in the middle of a chunk: find the one that holds this offset
    stem = f"{folder}{name}."
    starts = [int(found.key.removeprefix(stem)) for found in store.list(folder) if found.key.startswith(stem)]
    start = max((s for s in starts if s < offset), default=offset)
    return (store.get(f"{stem}{start:012d}") or b"")[offset - start :]


def _bring(
    world: World, store: Store, package: Package, run: Run, outputs: list[Output], *, live: bool
) -> list[tuple[str, tuple[int, int, int], str]]:
    """Fetch outputs in parallel; (path, (size, mtime_ns, inode), checksum) of each file that is home."""
    known = world.ledger.checksums(run.project)
    wanted = [o for o in outputs if not _left_out(package, run, o)]

    def bring(output: Output) -> tuple[str, tuple[int, int, int], str] | None:
        target = place_at_home(Path(run.project), run.job, output.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if output.link:
            _link(Path(run.project), target, output.link)
            return None
        if not _is_home(target, output, known):
            try:
                store.get_file(f"{run.prefix}outputs/{output.path}", target, output.size, output.checksum)
            except (Corrupt, NotThere):
                if live:
                    return None
                raise
            os.utime(target, ns=(output.mtime_ns, output.mtime_ns))
        found = target.stat()
        return output.path, (found.st_size, found.st_mtime_ns, found.st_ino), output.checksum

    with ThreadPoolExecutor(PARALLEL) as pool:
        return [row for row in pool.map(bring, wanted) if row is not None]


def _left_out(package: Package, run: Run, output: Output) -> bool:
    """Logs come by ``_bring_logs``; markers are written by the package, last."""
    name = output.path.removeprefix(run.job)
    return name in package.logs or package.held(name)


def _is_home(target: Path, output: Output, known: dict[str, tuple[int, int, int, str]]) -> bool:
    """Whether this very content is there: by the cache when the file is untouched since, else by reading it."""
    try:
        found = target.lstat()
    except FileNotFoundError:
        return False
    if target.is_symlink() or found.st_size != output.size or found.st_mtime_ns != output.mtime_ns:
        return False
    if known.get(output.path) == (found.st_size, found.st_mtime_ns, found.st_ino, output.checksum):
        return True
    with target.open("rb") as file:
        return f"sha256:{file_digest(file, 'sha256').hexdigest()}" == output.checksum


def _link(project: Path, target: Path, points_to: str) -> None:
    """A symbolic link inside the project, relative, so that the project can be moved."""
    place_at_home(project, "", points_to)
    content = os.path.relpath(project / points_to, target.parent)
    if target.is_symlink() and str(target.readlink()) == content:
        return
    beside = target.with_name(f"{UNFINISHED}{target.name}")
    beside.unlink(missing_ok=True)
    beside.symlink_to(content)
    beside.replace(target)


def _progress(world: World, run: Run) -> dict[str, object]:
    """How far the program is, from the log that is home."""
    log = Path(run.project) / run.job / world.package(run).logs[0]
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_TAIL))
            tail = file.read().decode("utf-8", "replace")
    except OSError:
        return {}
    found = world.package(run).progress(world.job(run), tail)
    return {"done": found.done, "total": found.total, "unit": found.unit} if found else {}
