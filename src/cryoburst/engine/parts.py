"""What a split run does with its parts: makes them, ends them together, and tells what they said, in their order.

Each part is a run of its own, so whatever the engine promises for a run holds for a part. A part is known by its number
alone: it may be made, looked at and told of any number of times, and is always the same one.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from cryoburst.engine.stage_out import clear
from cryoburst.engine.world import World, place_at_home
from cryoburst.model.run import Run
from cryoburst.model.split import block
from cryoburst.model.states import RunState


def make(world: World, run: Run) -> None:
    """Write the rows of the parts. Those that are there stay as they are."""
    job, package = world.whole_job(run), world.package(run)
    if not world.ledger.parts_of(run):
        tidy(run)  # of what an earlier run of this job left
        say(world, run, opening(run))
    for number in range(1, run.parts + 1):
        part = replace(
            run,
            uid=f"{run.uid}.{number}",
            script=package.part(job, number, run.parts).script,
            state=RunState.DRAFT,
            total=len(block(run.total, number, run.parts)),
            reason="",
            detail="",
        )
        world.ledger.add(part)


def opening(run: Run) -> str:
    """The first sentence of a split run in the log at home."""
    return f"{run.title} in {run.parts} parts: {run.total} {run.unit}"


def stop(world: World, parts: Sequence[Run], why: str) -> None:
    """Want the end of all parts."""
    for part in parts:
        if not part.state.final:
            world.ledger.want_stop(part, why, world.clock())


def say(world: World, run: Run, sentence: str) -> None:
    """A line of our own in the log that the program's window shows. Raises OSError."""
    with _log(run, world.package(run).logs[0]).open("ab") as log:
        log.write(f"cryoburst: {sentence}\n".encode())


def tell_all(world: World, run: Run, parts: Sequence[Run]) -> None:
    """Put what the parts said into the run's own logs, one after the other. A repeated call changes nothing.

    Raises OSError when home can't be written.
    """
    mark = f"cryoburst: what the parts said, one after the other ({run.uid})\n".encode()
    for name in world.package(run).logs:
        texts = [(part, _text(part, name)) for part in parts]
        said = [heading(part).encode() + text for part, text in texts if text]
        if not said:
            continue
        target = _log(run, name)
        descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "r+b") as log:
            old = log.read()
            log.seek(old.rfind(mark) if mark in old else len(old))
            log.truncate()
            log.write(mark + b"".join(said))


def heading(part: Run) -> str:
    """The line before what a part said."""
    ended = f", {part.state}" if part.state.final else ""
    return f"cryoburst: {part.title}{ended}\n"


def tidy(run: Run) -> None:
    """Take away the parts' own logs, and what killed processes were still writing: no part is at work any more."""
    with suppress(OSError):
        clear(Path(run.project) / run.job)


def _log(run: Run, name: str) -> Path:
    project = Path(run.project)
    if project.is_dir():
        (project / run.job).mkdir(parents=True, exist_ok=True)
    return place_at_home(project, run.job, run.job + run.log_name(name))


def _text(part: Run, name: str) -> bytes:
    try:
        text = _log(part, name).read_bytes()
    except FileNotFoundError:
        return b""
    return text if not text or text.endswith(b"\n") else text + b"\n"
