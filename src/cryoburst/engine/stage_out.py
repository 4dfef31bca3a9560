"""Stage out: log lines and whole outputs come home while the job runs; at its end all of them, verified.

An output reaches its final name only after its size and checksum are right. Markers are not outputs: the package
writes them when everything else is home.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cryoburst.engine.leave import leave, left, missing
from cryoburst.engine.world import World, place_at_home
from cryoburst.model import documents
from cryoburst.model.chunks import chunk_name, chunk_starts
from cryoburst.model.documents import Batch, Exit, Heartbeat, Manifest, Output, Place, Spec
from cryoburst.model.errors import Corrupt, NotThere
from cryoburst.model.plugins import UNFINISHED, Package, Store
from cryoburst.model.run import Run
from cryoburst.transfer import Receiver, Wanted, checksum_of

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


Wish = Callable[[Output], bool]


def sync(world: World, run: Run, spec: Spec, heartbeat: Heartbeat, wanted: Wish | None = None) -> dict[str, object]:
    """Bring home what is new since the last time; returns changes of the run's row. Safe to repeat.

    ``wanted`` says which outputs shall come; without it, those that the run's user did not wish to leave in the store.
    The others are stubs at home, unless they came before.

    An output that was replaced in the store since its batch was written is left for a later batch. Raises StoreError,
    and OSError when home can't be written.
    """
    package, store = world.package(run), world.store(run)
    _bring_logs(store, run, spec, heartbeat.log, heartbeat.tails)
    done, size, files = run.batches_home, run.bytes_out, run.files_out
    for number in range(run.batches_home + 1, heartbeat.batches + 1):
        data = store.get(f"{run.prefix}journal/{number:06d}.json")
        if data is None:
            break
        batch = documents.load(Batch, data, f"journal/{number:06d}.json")
        coming, staying = _parted(package, run, batch.outputs, wanted)
        leave(run, staying)
        before = _sizes_home(run, coming, heartbeat.command_started)
        brought = {path: found[0] for path, found, _ in _bring(world, store, package, run, coming, live=True)}
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


def fetch(
    world: World, run: Run, spec: Spec, exit_: Exit, wanted: Wish | None = None
) -> tuple[dict[str, object], Manifest | None]:
    """Bring everything of this attempt home and verify it; returns changes of the run's row, and the manifest.

    ``wanted`` is as in ``sync``. Without a manifest (the machine could not send every output) what the journal lists
    comes home; None is returned.

    What is home already with the right checksum is not read again. Raises Corrupt naming the output, StoreError, and
    OSError when home can't be written; then it can be called again.
    """
    package, store = world.package(run), world.store(run)
    _bring_logs(store, run, spec, exit_.log, {})
    data = store.get(run.prefix + "manifest.json")
    if data is None:
        last = _last_words(store, run, exit_)
        done = sync(world, run, spec, last, wanted) | count_left(world, run, last.batches)
        return done | _told_by(exit_), None
    manifest = documents.load(Manifest, data, run.prefix + "manifest.json")
    coming, staying = _parted(package, run, manifest.outputs, wanted)
    leave(run, staying)
    brought = _bring(world, store, package, run, coming, live=False)
    _clear(Path(run.project) / run.job)
    rows = [(path, *key, checksum) for path, key, checksum in brought]
    world.ledger.keep_checksums(run.project, rows)
    places = {o.checksum: Place(o.key, o.offset) for o in manifest.outputs if not o.link}
    world.ledger.keep_objects(run.store, run.store_folder, places)
    changes: dict[str, object] = {
        **counted(run, manifest.outputs),
        "command_started": exit_.command_started,
        **_told_by(exit_),
    }
    return changes | _progress(world, run), manifest


def _told_by(exit_: Exit) -> dict[str, object]:
    """Changes of the run's row that say what its command took."""
    return {"command_seconds": exit_.command_seconds, "peak_memory_bytes": exit_.peak_memory_bytes}


def count_left(world: World, run: Run, batches: int) -> dict[str, int]:
    """After the end of a run without a manifest: changes of its row that say what of its journal is at home."""
    if not run.leave:
        return {}
    store = world.store(run)
    told: dict[str, Output] = {}
    for number in range(1, batches + 1):
        data = store.get(f"{run.prefix}journal/{number:06d}.json")
        if data is not None:
            batch = documents.load(Batch, data, f"journal/{number:06d}.json")
            told |= {output.path: output for output in batch.outputs}
    return counted(run, list(told.values()))


def counted(run: Run, outputs: list[Output]) -> dict[str, int]:
    """What of an attempt's outputs is at home, and what stayed in the store."""
    stayed = missing(run, outputs)
    size = sum(o.size for o in stayed)
    return {
        "bytes_out": sum(o.size for o in outputs) - size,
        "files_out": len(outputs) - len(stayed),
        "bytes_left": size,
        "files_left": len(stayed),
    }


def _parted(
    package: Package, run: Run, outputs: list[Output], wanted: Wish | None
) -> tuple[list[Output], list[Output]]:
    """The outputs that come home, and those that stay in the store."""
    staying = [o for o in outputs if not (wanted(o) if wanted else not left(run, o)) and not _left_out(package, run, o)]
    paths = {o.path for o in staying}
    return [o for o in outputs if o.path not in paths], staying


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


def _bring_logs(store: Store, run: Run, spec: Spec, there: dict[str, int], tails: dict[str, str]) -> None:
    """Append the new bytes of each log, at the offset that they had on the machine: a repeated call changes nothing."""
    have = log_sizes_home(run, spec)
    if Path(run.project).is_dir():  # a job folder that was deleted comes back; a project on a lost disk does not
        (Path(run.project) / run.job).mkdir(parents=True, exist_ok=True)
    for name in spec.log_base:
        offset, end = have[name], there.get(name, 0)
        tail = tails.get(name, "").encode("latin-1", "replace")
        target = place_at_home(Path(run.project), run.job, run.job + name)
        target.touch()
        while offset < end:
            new = tail[offset - end :] if end - offset <= len(tail) else _chunk(store, run.prefix, name, offset)
            if not new:
                break
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                os.pwrite(descriptor, new, spec.log_base[name] + offset)
            finally:
                os.close(descriptor)
            offset += len(new)


def _chunk(store: Store, prefix: str, name: str, offset: int) -> bytes:
    """The bytes of a log from an offset to the end of their chunk; empty when the store has none."""
    for start in chunk_starts(offset):
        data = store.get(prefix + chunk_name(name, start)) or b""
        if len(data) > offset - start:
            return data[offset - start :]
    return b""


def _bring(
    world: World, store: Store, package: Package, run: Run, outputs: list[Output], *, live: bool
) -> list[tuple[str, tuple[int, int, int], str]]:
    """Fetch outputs; (path, (size, mtime_ns, inode), checksum) of each file that is home.

    With ``live`` an output that is damaged or missing is left out; else the first of them is raised.
    """
    known = world.ledger.checksums(run.project)
    wanted: list[Wanted] = []
    files: list[Output] = []
    for output in outputs:
        if _left_out(package, run, output):
            continue
        target = place_at_home(Path(run.project), run.job, output.path)
        if output.link:
            target.parent.mkdir(parents=True, exist_ok=True)
            _link(Path(run.project), target, output.link)
            continue
        files.append(output)
        if not _is_home(target, output, known):
            wanted.append(_wanted(run, output, target))
    failed = Receiver(store, world.line()).receive(wanted)
    for each in failed:
        if not live or isinstance(each.error, OSError):
            raise each.error
    left = {each.wanted.name for each in failed}
    rows: list[tuple[str, tuple[int, int, int], str]] = []
    for output in files:
        if output.path not in left:
            found = (Path(run.project) / output.path).stat()
            rows.append((output.path, (found.st_size, found.st_mtime_ns, found.st_ino), output.checksum))
    return rows


def _wanted(run: Run, output: Output, target: Path) -> Wanted:
    """Raises Corrupt when the machine named an object that is not its own."""
    if not output.key.startswith(run.prefix) or ".." in output.key.split("/"):
        raise Corrupt("the machine named an object outside its own prefix", where=output.path)
    place = Place(output.key, output.offset)
    return Wanted(output.path, str(target), output.size, output.checksum, place, output.mtime_ns)


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
    return checksum_of(target) == output.checksum


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
