"""Stop, wait for, and fetch again what runs have made."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from cryoburst.database.ledger import Ledger
from cryoburst.engine import leave, parts, stage_out
from cryoburst.engine.observe import load_document
from cryoburst.engine.sentences import PUT_BACK
from cryoburst.engine.world import World
from cryoburst.model.documents import Exit, Heartbeat, Output
from cryoburst.model.errors import BadInput, NotThere
from cryoburst.model.reasons import REASONS, Fault
from cryoburst.model.run import Run

LOOK = 0.1  # s between two looks at the row, or at whether it changed
ENSURE = 10  # looks between two at whether a watcher runs
_MENDED_BY_HAND = {each.code for each in REASONS.values() if each.fault in (Fault.STORE, Fault.CREDENTIALS)}
_COUNTS = ("files_out", "bytes_out", "files_left", "bytes_left")


def stop(ledger: Ledger, number: int, why: str, now: float) -> Run:
    """Want the end of a run; the watcher does it. A second call changes nothing. Raises BadInput when it has ended."""
    run = ledger.run(number)
    if run.state.final:
        raise BadInput(f"run {number} has ended already", where=str(run.state))
    ledger.want_stop(run, why, now)
    return ledger.run(number)


def try_now(ledger: Ledger, now: float) -> list[Run]:
    """Somebody says that the store, the credential or the disk is mended: what waits for one of them is tried again
    now, with all its patience. Returns these runs."""
    waiting = [run for run in ledger.runs(unfinished=True) if run.retry_at > now and run.reason in _MENDED_BY_HAND]
    changed = (ledger.change(run, {"retry_at": now, "failures": 0}) for run in waiting)
    return [run for run in changed if run is not None]


def wait(
    ledger: Ledger,
    number: int,
    seen: Callable[[Run], None] = lambda _run: None,
    sleep: Callable[[float], None] = time.sleep,
    ensure: Callable[[], None] = lambda: None,
) -> Run:
    """Wait until a run is final; ``seen`` gets its row whenever it was read. Raises NotThere.

    ``ensure`` is called now and then: whoever waits keeps a watcher alive, also one that is killed meanwhile. The row
    is read when the database changed: a wait may be long, and shares the computer with the job.
    """
    version, looks = None, 0
    while True:
        reopened, newest = ledger.reopened(), ledger.connection.version()
        if reopened or newest != version or newest < 0:  # below zero, the database can't tell
            version = newest
            run = _row(ledger, number)
            if run is not None:
                seen(run)
                if run.state.final:
                    return run
        if looks % ENSURE == 0:
            ensure()
        looks += 1
        sleep(LOOK)


def look(ledger: Ledger, number: int) -> Run | None:
    """The run's row now; None while the database was deleted and is not rebuilt yet. Raises NotThere."""
    ledger.reopened()
    return _row(ledger, number)


def _row(ledger: Ledger, number: int) -> Run | None:
    try:
        return ledger.run(number)
    except NotThere:
        if ledger.complete:
            raise
        return None


def fetch(world: World, number: int, only: Sequence[str] = ()) -> int:
    """Bring the outputs of a run home from the store once more; how many files are home.

    Of the outputs that were left in the store all come, or those that a pattern of ``only`` names, and with them those
    that earlier runs of the same job folder left and whose stubs still stand. What is home and right is not read again;
    nothing newer is asked of a machine. Raises NotThere when the store has nothing of it, and,
    after all others came, when a pattern names no output; BadInput while another run is at work in the same job folder,
    or when a later one has used it.
    """
    leave.patterns(only)
    run = world.ledger.run(number)
    busy = world.ledger.unfinished_of(run.project, run.job)
    if busy is not None and busy.uid != run.uid:
        raise BadInput(f"run {busy.number} is at work on {run.job}", advice=f"fetch when it has ended: run {number}")
    if not run.state.final:
        raise BadInput(f"run {number} is {run.state}: its outputs come home by themselves")
    later = world.ledger.later_of(run)
    if later is not None:
        raise BadInput(
            f"run {later.number} has used {run.job} since, and the outputs of run {number} would replace its own",
            advice=f"fetch {later.number} brings what nothing has replaced; all of them are under {run.prefix}outputs/",
        )
    if not Path(run.project).is_dir():
        raise NotThere("the project is not there", where=run.project, advice=PUT_BACK)
    (Path(run.project) / run.job).mkdir(parents=True, exist_ok=True)
    unmatched = dict.fromkeys(only)
    each = world.ledger.parts_of(run)
    for part in each:
        with suppress(NotThere):  # it never began
            _fetch(world, part, only, unmatched)
    try:
        count = _fetch(world, run, only, unmatched)
    except NotThere:
        if not each:
            raise
        counts = dict[str, object](stage_out.added(world, run, dict.fromkeys(_COUNTS, 0)))
        count = (world.ledger.change(run, counts) or run).files_out
    finally:
        parts.tidy(run)
    for older in world.ledger.runs_of(run.project, run.job):  # a run that only went on made only what was missing
        if older.number < run.number and older.files_left:
            count += stage_out.bring_stubs(world, older, lambda output: _named(only, run.job, output, unmatched))
    if unmatched:
        raise NotThere(
            f"no output of run {number} is like this",
            where=", ".join(unmatched),
            advice="patterns are relative to the job folder, and * also matches a slash",
        )
    return count


def _fetch(world: World, run: Run, only: Sequence[str], unmatched: dict[str, None]) -> int:
    """Bring the outputs of a run, or of a part of one, home from the store; how many files of it are home.

    Patterns that match any are taken out of ``unmatched``.
    """
    ended = load_document(world.store(run), Exit, run.prefix + "exit.json")
    heartbeat = load_document(world.store(run), Heartbeat, run.prefix + "heartbeat.json")
    if ended is None and heartbeat is None and run.attempt == 1:
        raise NotThere(f"the store has no outputs of {run.title}")

    def wanted(output: Output) -> bool:
        return _named(only, run.job, output, unmatched) or not leave.left(run, output)

    if ended is not None:
        spec = stage_out.read_spec(world, run)
        changes, _ = stage_out.fetch(world, replace(run, batches_home=0), spec, ended, wanted)
        counted = {name: changes[name] for name in _COUNTS if name in changes}
    else:
        if heartbeat is not None:
            spec = stage_out.read_spec(world, run)
            stage_out.sync(world, replace(run, batches_home=0), spec, heartbeat, wanted)
        counted = dict[str, object](stage_out.gather(world, run, wanted))
    return ((world.ledger.change(run, counted) if counted else None) or run).files_out


def _named(only: Sequence[str], job: str, output: Output, unmatched: dict[str, None]) -> bool:
    """Whether a pattern names this output, or there is none; those that do are taken out of ``unmatched``."""
    matched = [word for word in only if leave.matches([word], job, output)]
    for word in matched:
        unmatched.pop(word, None)
    return bool(matched) or not only
