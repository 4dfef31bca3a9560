"""Rebuild the ledger from outside: the requests and markers in the stores, and the tags of the machines."""

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from cryoburst.engine import earlier, stage_out
from cryoburst.engine.observe import load_document
from cryoburst.engine.reaper import machine_row
from cryoburst.engine.record import record_key
from cryoburst.engine.split import totals
from cryoburst.engine.stage_out import by_our_clock
from cryoburst.engine.world import World, closed_key, safe_name
from cryoburst.model import documents
from cryoburst.model.documents import Closed, Exit, Heartbeat, Record, Request, Spec, Started, Stop, Try
from cryoburst.model.errors import Corrupt, CryoburstError, NotSetUp, ProviderError, StoreFull, StoreUnavailable
from cryoburst.model.plugins import Store
from cryoburst.model.run import Machine, Run
from cryoburst.model.split import block
from cryoburst.model.states import MachineState, RunState
from cryoburst.services.logs import ending
from cryoburst.services.reap import is_used


@dataclass(frozen=True)
class Recovered:
    """What recover found: runs and machines that the ledger did not know, and what could not be read.

    ``complete`` when every store answered: then a run that the ledger does not know is known nowhere.
    """

    runs: list[Run]
    machines: int
    problems: list[str]
    complete: bool


def recover(world: World, stores: Iterable[str]) -> Recovered:
    """Add every run and machine that is known outside and not in the ledger. Changes nothing that is there.

    A store or provider that can't be read is reported, and its runs are left for the next time.
    """
    runs: list[Run] = []
    rented: list[Machine] = []
    problems: list[str] = []
    complete = True
    for url in stores:
        try:
            found, machines = _from_store(world, url, problems)
        except CryoburstError as error:
            complete = False
            problems.append(str(error))
        else:
            runs += found
            rented += machines
    added = [_add(world, run) for run in sorted(runs, key=lambda r: (r.number, r.submitted))]
    for machine in rented:
        world.ledger.add_machine(machine)
    if complete:
        world.ledger.completed(world.clock())
    return Recovered(added, _machines(world, problems, complete), problems, complete)


def _from_store(world: World, url: str, problems: list[str]) -> tuple[list[Run], list[Machine]]:
    store = world.open_store(url)
    folder = f"runs/{safe_name(world.owner)}/"
    found: list[Run] = []
    for entry in store.list(folder):
        if entry.key.endswith(".closed.json"):
            continue
        uid = entry.key.rsplit("/", 1)[-1].removesuffix(".json")
        if world.ledger.run_by_uid(uid) is not None:
            continue
        try:
            data = store.get(entry.key)
            if data is not None:
                found.append(_rebuild(world, store, url, documents.load(Request, data, entry.key)))
        except (StoreUnavailable, StoreFull):
            raise
        except CryoburstError as error:
            problems.append(str(error))
    return _recorded(store, found)


def _rebuild(world: World, store: Store, url: str, request: Request) -> Run:
    """The row of a run as the store shows it."""
    values = {name: getattr(request, name) for name in Request.__dataclass_fields__ if name != "format"}
    run = _with_units(world, Run(**values, store=url))
    data = store.get(closed_key(run.owner, run.uid))
    if data is not None:
        closed = documents.load(Closed, data, closed_key(run.owner, run.uid))
        run = replace(
            run,
            state=RunState(closed.state),
            reason=closed.reason,
            detail=closed.detail,
            ended=closed.ended,
            attempt=closed.attempt,
        )
    else:
        attempts = {int(part) for s in store.list(run.home_prefix) if (part := _attempt(run, s.key)).isdigit()}
        run = replace(run, attempt=max(attempts, default=1))
    return _with_marks(world, store, run)


def _with_units(world: World, run: Run) -> Run:
    """How much a split run or its part has to do, as far as its lists at home still say."""
    if run.parts == 1:
        return run
    try:
        cut = world.package(run).cut(world.whole_job(run))
    except CryoburstError:
        return run
    total = len(block(cut.units, run.part, run.parts)) if run.part else cut.units
    return replace(run, total=total, unit=cut.unit)


def _attempt(run: Run, key: str) -> str:
    return key.removeprefix(run.home_prefix).split("/", 1)[0]


def _with_marks(world: World, store: Store, run: Run) -> Run:
    """State, times and sizes as the documents of the last attempt show them."""
    spec = load_document(store, Spec, run.prefix + "spec.json")
    started = load_document(store, Started, run.prefix + "started.json")
    ended = load_document(store, Exit, run.prefix + "exit.json")
    if spec is not None:
        contents = [i for i in spec.inputs if i.key]
        run = replace(run, bytes_in=sum(i.size for i in contents), files_in=len(contents))
    if started is not None:
        run = replace(run, started=started.time)
    if ended is not None:
        run = replace(run, command_seconds=ended.command_seconds, peak_memory_bytes=ended.peak_memory_bytes)
    if run.state.final:
        told = ended or load_document(store, Heartbeat, run.prefix + "heartbeat.json")
        if told is not None and told.command_started is not None:
            began = by_our_clock(run, told.command_started, told.time, run.ended or world.clock())
            run = replace(run, command_started=began)
        run = _with_progress(world, store, run)
        outputs = stage_out.own(world.package(run), run, earlier.made(world, run, run.attempt).outputs.values())
        if run.leave:
            stage_out.know(world, run, outputs)  # a stub at home says what it stands for, and not where that is
        return replace(run, **stage_out.counted(run, outputs))
    stop = load_document(store, Stop, run.prefix + "stop.json")
    if stop is not None:
        run = replace(run, stop_wanted=stop.why, stop_since=stop.time)
    if spec is None and not run.part and _marked_at_home(world, run):
        return replace(run, state=RunState.FAILED, detail="it had ended; how is told by the marker in its job folder")
    if ended is not None:
        return replace(run, state=RunState.STAGING_OUT)
    if started is not None:
        return replace(run, state=RunState.RUNNING, observed=time.time())
    if spec is None and run.parts > 1 and not run.part:
        return replace(run, state=RunState.SPLIT)
    return replace(run, state=RunState.STAGING_IN)


def _recorded(store: Store, runs: list[Run]) -> tuple[list[Run], list[Machine]]:
    """The same with the offers that the machines of their last attempts were, and rows for the machines of those that
    have ended, as their records tell: what they cost counts on, and so do budgets. One that is still there is found by
    its tags, and ended."""
    machines: list[Machine] = []
    for run in runs:
        data = None if run.part or not run.state.final else store.get(record_key(run.owner, run.uid))
        with suppress(Corrupt):  # of another version
            record = documents.load(Record, data, run.uid) if data is not None else None
            machines += [_rented(run, each, record.ended) for each in record.tries] if record is not None else []
    offers = {(machine.run, machine.attempt): machine.offer for machine in machines}
    placed = [replace(run, placed=offers.get((run.uid, run.attempt), "")) for run in runs]
    return placed, [machine for machine in machines if machine.requested]


def _rented(run: Run, try_: Try, ended: float | None) -> Machine:
    """The machine of one try."""
    uid = f"{run.uid}.{try_.part}" if try_.part else run.uid
    token = f"{uid}-{try_.attempt}"
    return Machine(
        token=token,
        run=uid,
        attempt=try_.attempt,
        provider=try_.provider,
        offer=try_.offer,
        usd_per_hour=try_.usd_per_hour,
        state=MachineState.GONE,
        requested=try_.requested or 0.0,
        power_off_at=0.0,
        provider_id=token,  # its own is not in the record
        gone=try_.gone or ended,
        note="by the record of its run",
        region=try_.region,
        spot=try_.spot,
        disk_bytes=try_.disk_bytes,
        disk_usd_gb_month=try_.disk_usd_gb_month,
    )


def _with_progress(world: World, store: Store, run: Run) -> Run:
    """How far a run came that has ended; what can't be known is not told as 0."""
    if run.parts == 1 or run.part:
        found = None
        with suppress(CryoburstError):
            package = world.package(run)
            log = ending(store, run, package.logs[0]).decode("utf-8", "replace")
            found = package.progress(world.job(run), log, run.since)
        if found is not None:
            run = replace(run, done=found.done, total=found.total, unit=found.unit)
        elif run.state is not RunState.SUCCEEDED and run.started is not None:
            return replace(run, unit="")
    return replace(run, done=run.total or run.done) if run.state is RunState.SUCCEEDED else run


def _marked_at_home(world: World, run: Run) -> bool:
    folder = Path(run.project) / run.job
    package = world.package(run)
    return folder.is_dir() and any(package.held(entry.name) for entry in folder.iterdir())


def _add(world: World, run: Run) -> Run:
    if run.parts > 1 and not run.part:  # its parts were added before: their numbers are negative
        run = _with_parts(world, run)
    added = world.ledger.add(run)
    world.ledger.event(added.uid, world.clock(), f"found again in the store as {added.state}")
    return added


def _with_parts(world: World, run: Run) -> Run:
    """What of a split run's row its parts tell, as the engine adds it up."""
    sums = totals(run, world.ledger.parts_of(run))
    run = replace(run, command_started=cast(float | None, sums.get("command_started", run.command_started)))
    if not run.state.final:
        return run
    if run.command_seconds is not None and run.ended is not None and run.command_started is not None:
        run = replace(run, command_seconds=run.ended - run.command_started)
    if run.state is not RunState.SUCCEEDED:
        run = replace(run, done=cast(int, sums["done"]))
    counts = {name: int(getattr(run, name)) for name in ("bytes_in", "files_in", "bytes_out", "files_out")}
    return replace(run, **stage_out.added(world, run, counts))


def _machines(world: World, problems: list[str], complete: bool) -> int:
    """Rows for the machines that the providers list; how many were not known.

    While a store can't be read, a machine may belong to a run that only that store knows: it gets no row yet, because
    a machine whose run is unknown is ended.
    """
    new = 0
    for name in world.providers:
        try:
            listed = world.providers[name].machines(world.owner)
        except ProviderError as error:
            if not isinstance(error, NotSetUp) or is_used(world.ledger, name):
                problems.append(str(error))
            continue
        for seen in listed:
            row = world.ledger.machine(seen.token)
            if row is not None and row.state is MachineState.GONE:  # by the record of its run, written before its end
                world.ledger.change_machine(row, {"state": MachineState.DELETING, "provider_id": seen.id})
            elif row is None and (complete or world.ledger.run_by_uid(seen.run) is not None):
                world.ledger.add_machine(machine_row(world, name, seen))
                new += 1
    return new
