"""Stage out: log lines and whole outputs come home while the job runs; at its end all of them, verified.

An output reaches its final name only after its size and checksum are right. Markers are not outputs: the package
writes them when everything else is home.
"""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from cryoburst.engine.earlier import made
from cryoburst.engine.leave import leave, left, missing, stands
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
    sizes: dict[str, int] = {}
    for name, base in spec.log_base.items():
        try:
            sizes[name] = max(0, Path(run.project, run.job, run.log_name(name)).stat().st_size - base)
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
        know(world, run, batch.outputs)
        coming, staying = _parted(package, run, batch.outputs, wanted)
        leave(run, staying)
        before = _sizes_home(run, coming, heartbeat.command_started)
        brought = _bring(world, store, package, run, coming, live=True)
        size += sum(now - before.get(path, 0) for path, now in brought.items())
        files += sum(path not in before for path in brought)
        done = number
    now = world.clock()
    changes: dict[str, object] = {"batches_home": done, "observed": now}
    if done != run.batches_home:
        changes |= {"bytes_out": max(0, size), "files_out": files}
    if heartbeat.command_started is not None and not _counts_from_its_parts(run):
        changes["command_started"] = by_our_clock(run, heartbeat.command_started, heartbeat.time, now)
    return changes


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
    """Bring everything of the run home and verify it; returns changes of the run's row, and the manifest.

    What earlier attempts made and this one did not make again comes too; what they made for nothing goes. ``wanted`` is
    as in ``sync``. Without a manifest (the machine could not send every output) what the journal lists comes home; None
    is returned.

    What is home already with the right checksum is not read again. Raises Corrupt naming the output, StoreError, and
    OSError when home can't be written; then it can be called again.
    """
    package, store = world.package(run), world.store(run)
    _bring_logs(store, run, spec, exit_.log, {})
    data = store.get(run.prefix + "manifest.json")
    if data is None:
        last = _last_words(store, run, exit_.time, exit_.log, exit_.command_started)
        done = sync(world, run, spec, last, wanted) | gather(world, run, wanted)
        return done | _times(world, run, exit_) | progress(world, run), None
    manifest = documents.load(Manifest, data, run.prefix + "manifest.json")
    whole = made(world, run, run.attempt - 1).without(spec.void).then(manifest.outputs)
    outputs = list(whole.outputs.values())
    know(world, run, outputs)
    coming, staying = _parted(package, run, outputs, wanted)
    leave(run, staying)
    _bring(world, store, package, run, coming, live=False)
    _clear(world, run, {*whole.void, *manifest.gone} - set(whole.outputs))
    changes = added(world, run, counted(run, own(package, run, outputs))) | _times(world, run, exit_)
    return changes | progress(world, run), manifest


def took(run: Run, ended: float) -> dict[str, object]:
    """What a split run took, when it has ended: from the first part's command to its own end. A rebuilt list has no
    other times to tell it by. Nothing of other runs, whose machine told."""
    if not _counts_from_its_parts(run) or run.command_started is None:
        return {}
    return {"command_seconds": ended - run.command_started}


def _times(world: World, run: Run, exit_: Exit) -> dict[str, object]:
    """When the command began and what it took; of a split run, ``took`` says it."""
    if _counts_from_its_parts(run):
        return {}
    began = exit_.command_started
    if began is not None:
        began = by_our_clock(run, began, exit_.time, world.clock())
    took = {"command_seconds": exit_.command_seconds, "peak_memory_bytes": exit_.peak_memory_bytes}
    return {**took, "command_started": began}


def _counts_from_its_parts(run: Run) -> bool:
    """Whether the command of a split run began with that of its first part."""
    return run.parts > 1 and not run.part and run.command_started is not None


def by_our_clock(run: Run, began: float, told: float, now: float) -> float:
    """When a command began, as its machine told: on a machine whose clock is wrong, as near as can be known."""
    return min(max(began, run.submitted), now - max(0.0, told - began))


def salvage(world: World, run: Run, spec: Spec, heartbeat: Heartbeat | None) -> dict[str, object]:
    """After the loss of a machine: bring home all that it left in the store; changes of the run's row.

    It may have told of more in its journal than in its last heartbeat. Raises StoreError, OSError.
    """
    beat = heartbeat or Heartbeat(spec.deadline, "command", {}, 0, None)
    last = _last_words(world.store(run), run, beat.time, beat.log, beat.command_started)
    return sync(world, run, spec, replace(last, tails=beat.tails)) | gather(world, run) | progress(world, run)


def gather(world: World, run: Run, wanted: Wish | None = None) -> dict[str, int]:
    """Bring home what all attempts told of, but for what is damaged; changes of the run's row that count it."""
    package, outputs = world.package(run), list(made(world, run, run.attempt).outputs.values())
    coming, staying = _parted(package, run, outputs, wanted)
    leave(run, staying)
    _bring(world, world.store(run), package, run, coming, live=True)
    return added(world, run, counted(run, own(package, run, outputs)))


def own(package: Package, run: Run, outputs: Iterable[Output]) -> list[Output]:
    """The outputs without a part's own versions of what the join writes for all."""
    return [output for output in outputs if not _of_all(package, run, output)]


def added(world: World, run: Run, counts: dict[str, int]) -> dict[str, int]:
    """What the join moved and what the parts did, together; of any other run, what it did."""
    parts = [] if run.part else world.ledger.parts_of(run)
    return {name: value + sum(int(getattr(part, name)) for part in parts) for name, value in counts.items()}


def bring_stubs(world: World, run: Run, wanted: Wish) -> int:
    """Bring what a run left in the store and whose stubs still stand at home, though a later run has used the folder
    since; how many came. Raises Corrupt, StoreError, and OSError when home can't be written."""
    outputs = list(made(world, run, run.attempt).outputs.values())
    coming = [o for o in outputs if stands(run, o) and wanted(o)]
    _bring(world, world.store(run), world.package(run), run, coming, live=False)
    if coming:
        world.ledger.change(run, dict[str, object](counted(run, outputs)))
    return len(coming)


def counted(run: Run, outputs: list[Output]) -> dict[str, int]:
    """What of a run's outputs is at home, and what stayed in the store."""
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


def know(world: World, run: Run, outputs: Iterable[Output]) -> None:
    """Note where contents are: whoever needs them next finds them in the store."""
    places = {o.checksum: Place(o.key, o.offset) for o in outputs if not o.link}
    world.ledger.keep_objects(run.store, run.store_folder, places)


def clear(folder: Path) -> None:
    """Take away what a killed process was still writing here: nobody else writes in this folder now."""
    for path in folder.rglob(f"{UNFINISHED}*"):
        path.unlink(missing_ok=True)


def _clear(world: World, run: Run, gone: Iterable[str]) -> None:
    """Take away what a killed process was still writing here, unless another part may be at work; and what came while
    the job ran and is no output of it in the end: files that the program took away again, or those of a step that was
    done again without making them (a refinement that then converged)."""
    if not run.part:
        clear(Path(run.project) / run.job)
    names = list(gone)
    known = world.ledger.checksums(run.project, names)
    for name in names:
        target = place_at_home(Path(run.project), run.job, name)
        with suppress(OSError):
            found = target.lstat()
            if target.is_symlink() or known.get(name, ())[:3] == (found.st_size, found.st_mtime_ns, found.st_ino):
                target.unlink()


def _last_words(store: Store, run: Run, time: float, log: dict[str, int], command_started: float | None) -> Heartbeat:
    """What a heartbeat would say now of a machine that has ended."""
    batches = sum(1 for _ in store.list(f"{run.prefix}journal/"))
    return Heartbeat(time, "outputs", log, batches, command_started)


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
        target = place_at_home(Path(run.project), run.job, run.job + run.log_name(name))
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
) -> dict[str, int]:
    """Fetch outputs; the size of each file that is home, by its path.

    With ``live`` an output that is damaged or missing is left out; else the first of them is raised.
    """
    known = world.ledger.checksums(run.project, [output.path for output in outputs])
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
    left = {each.wanted.name for each in failed}
    if came := sum(each.size for each in wanted if each.name not in left):
        world.ledger.came_home(run, came)
    for each in failed:
        if not live or isinstance(each.error, OSError):
            raise each.error
    rows: list[tuple[str, int, int, int, str]] = []
    for output in files:
        if output.path not in left:
            found = (Path(run.project) / output.path).stat()
            rows.append((output.path, found.st_size, found.st_mtime_ns, found.st_ino, output.checksum))
    world.ledger.keep_checksums(run.project, rows)
    return {path: size for path, size, *_ in rows}


def _wanted(run: Run, output: Output, target: Path) -> Wanted:
    """Raises Corrupt when the machine named an object that is not the run's own."""
    if not output.key.startswith(run.home_prefix) or ".." in output.key.split("/"):
        raise Corrupt("the machine named an object outside its own prefix", where=output.path)
    place = Place(output.key, output.offset)
    return Wanted(output.path, str(target), output.size, output.checksum, place, output.mtime_ns)


def _of_all(package: Package, run: Run, output: Output) -> bool:
    """Whether it is a part's own version of what the join writes for all."""
    return run.part > 0 and package.joined(output.path.removeprefix(run.job))


def _left_out(package: Package, run: Run, output: Output) -> bool:
    """Logs come by ``_bring_logs``; markers are written by the package, last; a part knows nothing of the others."""
    name = output.path.removeprefix(run.job)
    return name in package.logs or package.held(name) or _of_all(package, run, output)


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


def progress(world: World, run: Run) -> dict[str, object]:
    """How far the program is, from what is home, as changes of the run's row. The join has next to nothing to do: its
    parts counted."""
    if run.parts > 1 and not run.part:
        return {}
    log = Path(run.project) / run.job / run.log_name(world.package(run).logs[0])
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_TAIL))
            tail = file.read().decode("utf-8", "replace")
    except OSError:
        return {}
    found = world.package(run).progress(world.job(run), tail, run.since)
    return {"done": found.done, "total": found.total, "unit": found.unit} if found else {}
