"""What a run was and made, gathered from the documents of its attempts, and written down when it ends.

The record outlives what gc takes from the store, and a lost database. Nothing is decided by it.
"""

from dataclasses import replace
from typing import TypeVar

from cryoburst.database.ledger import Ledger
from cryoburst.engine.world import World, safe_name
from cryoburst.model import documents
from cryoburst.model.documents import Batch, Content, Exit, Host, Manifest, Output, Record, Spec, Started, Try
from cryoburst.model.errors import Corrupt
from cryoburst.model.plugins import Store
from cryoburst.model.run import Machine, Run

D = TypeVar("D")


def record_key(owner: str, uid: str) -> str:
    """Where the record of a run is in the store."""
    return f"records/{safe_name(owner)}/{uid}.json"


def write(world: World, run: Run) -> None:
    """Write the record of a run, as it ended; what its parts were and made is told of the whole one. Safe to repeat.
    Raises StoreError."""
    if run.part:
        return
    record = gather(world.store(run), world.ledger, run)
    world.store(run).put(record_key(run.owner, run.uid), documents.dump(record))


def gather(store: Store, ledger: Ledger, run: Run) -> Record:
    """The record as the documents of the attempts tell it now, with those of its parts; what they don't tell is left
    empty. Raises StoreError when the store does not answer."""
    own = _gather(store, run, ledger.machines_of(run.uid))
    parts = [_gather(store, part, ledger.machines_of(part.uid)) for part in ledger.parts_of(run)]
    if not parts:
        return own
    # Of a list only the join reads the whole, and of what a part made the joined files are the join's.
    lists = {i.path for i in own.inputs}
    inputs = {i.path: i for part in parts for i in part.inputs if i.path not in lists}
    joined = {o.path for o in own.outputs}
    outputs = {o.path: o for part in parts for o in part.outputs if o.path not in joined}
    return replace(
        own,
        environment=own.environment or parts[0].environment,
        tries=[
            *(each for record in parts for each in record.tries),
            *(each for each in own.tries if each.started is not None or each.requested is not None),  # it may not join
        ],
        inputs=[*inputs.values(), *(i for i in own.inputs if i.path not in outputs)],
        outputs=sorted([*outputs.values(), *own.outputs], key=lambda output: output.path),
    )


def _gather(store: Store, run: Run, machines: list[Machine]) -> Record:
    spec = _load(store, Spec, run.prefix + "spec.json")
    rented = {machine.attempt: machine for machine in machines}
    return Record(
        uid=run.uid,
        number=run.number,
        owner=run.owner,
        project=run.project,
        job=run.job,
        kind=run.kind,
        package=run.package,
        script=run.script,
        environment=spec.environment if spec else {},
        submitted=run.submitted,
        state=str(run.state),
        reason=run.reason,
        detail=run.detail,
        ended=run.ended,
        tries=[_try(store, run, n, rented.get(n)) for n in range(1, run.attempt + 1)],
        inputs=[
            Content(i.path, -1, "")
            if i.instead
            else Content(i.path, i.size, i.checksum, f"{i.store}/{i.key}" if i.store else "")
            for i in (spec.inputs if spec else ())
        ],
        outputs=[Content(o.path, o.size, o.checksum) for o in _outputs(store, run) if not o.link],
    )


def _try(store: Store, run: Run, attempt: int, machine: Machine | None) -> Try:
    prefix = f"{run.home_prefix}{attempt}/"
    started = _load(store, Started, prefix + "started.json")
    exit_ = _load(store, Exit, prefix + "exit.json")
    return Try(
        part=run.part,
        attempt=attempt,
        provider=run.provider,
        offer=machine.offer if machine else run.placed if attempt == run.attempt else "",
        region=machine.region if machine else "",
        spot=machine.spot if machine else False,
        usd_per_hour=machine.usd_per_hour if machine else None,
        disk_bytes=machine.disk_bytes if machine else 0,
        disk_usd_gb_month=machine.disk_usd_gb_month if machine else None,
        requested=machine.requested if machine else None,
        gone=machine.gone if machine else None,
        host=_load(store, Host, prefix + "host.json"),
        started=started.time if started else None,
        command_started=exit_.command_started if exit_ else None,
        command_seconds=exit_.command_seconds if exit_ else None,
        ended=exit_.ended if exit_ else "",
        code=exit_.code if exit_ else None,
    )


def _outputs(store: Store, run: Run) -> list[Output]:
    """What the last attempt made: its manifest, or what its journal lists when it never came to one."""
    manifest = _load(store, Manifest, run.prefix + "manifest.json")
    if manifest is not None:
        return manifest.outputs
    told: dict[str, Output] = {}
    for number in range(1, run.batches_home + 1):
        batch = _load(store, Batch, f"{run.prefix}journal/{number:06d}.json")
        told |= {output.path: output for output in (batch.outputs if batch else ())}
    return [told[path] for path in sorted(told)]


def _load(store: Store, kind: type[D], key: str) -> D | None:
    """A document; None when there is none, or when it is one of another version: a record tells what it can."""
    data = store.get(key)
    try:
        return None if data is None else documents.load(kind, data, key)
    except Corrupt:
        return None
