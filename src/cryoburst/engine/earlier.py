"""What the earlier attempts of a run made, and how the next one goes on from it.

An attempt counts here once nothing of it will come any more; its outputs stay where it put them in the store, and a
later attempt reads them there. Nothing of this module asks a machine for anything.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from cryoburst.engine.leave import SMALL, is_whole
from cryoburst.engine.world import World
from cryoburst.model import documents
from cryoburst.model.documents import Batch, Manifest, Output, Place, Spec
from cryoburst.model.errors import BadInput, NeedHere
from cryoburst.model.job import Job, Resume
from cryoburst.model.plugins import Store
from cryoburst.model.run import Run
from cryoburst.model.stub import Stub, parse_stub
from cryoburst.transfer import Receiver, Wanted

T = TypeVar("T")


@dataclass(frozen=True)
class Made:
    """The outputs of some attempts, by path: those that count, and those of steps that were done again."""

    outputs: dict[str, Output] = field(default_factory=dict[str, Output])
    void: dict[str, Output] = field(default_factory=dict[str, Output])

    def without(self, void: Iterable[str]) -> "Made":
        """The same after an attempt began that does again what made these paths."""
        gone = {path: self.outputs[path] for path in void if path in self.outputs}
        return Made({p: o for p, o in self.outputs.items() if p not in gone}, self.void | gone)

    def then(self, outputs: Iterable[Output]) -> "Made":
        """The same after an attempt made these: a later output takes the place of an earlier one."""
        return Made(self.outputs | {o.path: o for o in outputs}, self.void)


def made(world: World, run: Run, last: int) -> Made:
    """What the attempts up to the one with this number made. Raises StoreError."""
    store = world.store(run)
    found = Made()
    for number in range(1, last + 1):
        prefix = f"{run.home_prefix}{number}/"
        if found.outputs and (data := store.get(prefix + "spec.json")) is not None:
            found = found.without(documents.load(Spec, data, prefix + "spec.json").void)
        data = store.get(prefix + "manifest.json")
        if data is not None:
            found = found.then(documents.load(Manifest, data, prefix + "manifest.json").outputs)
        else:
            found = found.then(journal(store, prefix))
    return found


def journal(store: Store, prefix: str) -> Iterator[Output]:
    """What an attempt without a manifest told of, in that order."""
    for key in sorted(found.key for found in store.list(f"{prefix}journal/")):
        data = store.get(key)
        if data is not None:
            yield from documents.load(Batch, data, key).outputs


def resume(world: World, run: Run, job: Job, before: Made) -> Resume | None:
    """How a job goes on from what was made before; None when it has to begin anew.

    What changed at home since does not count as made. Raises BadInput, StoreError, and OSError when home can't be
    written.
    """
    if job.script != run.script:  # another command than the one that made it
        return None
    here = frozenset(path for path, output in before.outputs.items() if is_there(run, output))
    return reading(world, run, lambda: world.package(run).resume(job, here), before) if here else None


def further(world: World, run: Run) -> bool:
    """Whether the next attempt would go on from a later point than this one did: its machine was not in vain. Raises
    StoreError."""
    done: list[int] = []
    try:
        job = world.job(run)
        for last in (run.attempt - 1, run.attempt):
            found = resume(world, run, job, made(world, run, last))
            done.append(found.done if found else 0)
    except BadInput:
        return False
    return done[1] > done[0]


def is_there(run: Run, output: Output) -> bool:
    """Whether an output is at home as it was made, or a stub stands there for it."""
    path = Path(run.project) / output.path
    if output.link:
        return path.is_symlink()
    return is_whole(path, output) or _stub(path) == Stub(output.checksum, output.size)


def places_of_stubs(run: Run, before: Made) -> dict[str, Place]:
    """Where the contents are of those outputs that are stubs at home."""
    return {
        output.checksum: Place(output.key, output.offset)
        for path, output in before.outputs.items()
        if _stub(Path(run.project) / path) is not None
    }


def reading(world: World, run: Run, read: Callable[[], T], before: Made = Made()) -> T:
    """What ``read`` returns. Lists that it has to read and that are stubs at home come from the store first: from
    where the ledger knows them, or from what was made ``before``."""
    brought: set[str] = set()
    while True:
        try:
            return read()
        except NeedHere as needed:
            if needed.path in brought or not (new := _bring(world, run, needed.path, before)):
                raise
            brought |= new


def _bring(world: World, run: Run, path: str, before: Made) -> set[str]:
    """Bring a stub's content home, with the small ones of its folder that end alike; the paths that came.

    Not the large ones: a refinement's folder has a list of all particles for every iteration.
    """
    project = Path(run.project)
    target = project / path
    places = places_of_stubs(run, before) | world.ledger.objects(run.store, run.store_folder)
    wanted: list[Wanted] = []
    for beside in sorted(target.parent.glob(f"*{target.suffix}")):
        stub = _stub(beside)
        if stub is not None and stub.checksum in places and (beside == target or stub.size <= SMALL):
            name = beside.relative_to(project).as_posix()
            mtime = beside.lstat().st_mtime_ns
            wanted.append(Wanted(name, str(beside), stub.size, stub.checksum, places[stub.checksum], mtime))
    failed = {each.wanted.name for each in Receiver(world.store(run), world.line()).receive(wanted)}
    return {each.name for each in wanted if each.name not in failed}


def _stub(path: Path) -> Stub | None:
    try:
        return parse_stub(os.readlink(path))  # noqa: PTH115 - a Path would make one slash of two
    except OSError:
        return None
