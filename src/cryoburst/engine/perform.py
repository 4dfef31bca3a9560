"""Effects that touch a provider or write small documents: each safe to repeat, each after its written intent."""

from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from cryoburst.engine import bill, budget, record
from cryoburst.engine.elsewhere import folders_to_read
from cryoburst.engine.placement import in_reach, is_of, next_offer, noted, ranked, refused
from cryoburst.engine.stage_in import archive_key
from cryoburst.engine.stage_out import read_spec
from cryoburst.engine.world import World, closed_key, request_key
from cryoburst.model import documents
from cryoburst.model.chunks import CHUNK
from cryoburst.model.documents import Closed, Request, Spec, Stop
from cryoburst.model.errors import (
    BadInput,
    NoCapacity,
    ProviderError,
    ProviderUnavailable,
    QuotaExceeded,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from cryoburst.model.job import Job, Resources, Verdict
from cryoburst.model.money import money
from cryoburst.model.plugins import Boot, MachineRequest, Need, Offer
from cryoburst.model.reasons import REASONS, sentence
from cryoburst.model.run import Machine, Run
from cryoburst.model.states import MachineState, RunState

ASK_FOR_LESS = "see cryoburst machines, and ask for less or choose another provider with --to"
STALE_SPEC = 60.0  # s that a spec may wait for its machine without a new deadline
BILLED = ("usd_per_hour", "disk_usd_gb_month", "requested", "power_off_at")  # what of it says what it costs
ORDERED = ("offer", "region", "place", "spot", "disk_bytes")  # what of a machine's row says which offer it is
MANY = 8  # earlier attempts from which on a machine may read the whole project: a credential names few folders


def write_request(world: World, run: Run) -> None:
    """Put what the user asked for into the store, from where ``recover`` can rebuild the row."""
    names = set(Request.__dataclass_fields__) - {"format"}
    row = asdict(run)
    document = Request(**{name: row[name] for name in names})
    world.store(run).put(request_key(run.owner, run.uid), documents.dump(document))


def candidates(world: World, job: Job, run: Run, need: Need) -> list[Offer]:
    """The offers that satisfy a need and the user's wishes, the best first. Raises NoOffer saying why there is
    none, and BadInput for a wish that can't be."""
    provider = world.provider(run.provider)
    offers = provider.offers(need)
    if not offers:
        why = _why_none(provider.offers(Need(resources=Resources())), job, need)
        raise NoOffer(f"no machine of {run.provider} can run this job", where=run.job, advice=why)
    if job.is_join:  # that is small: any machine will do
        run = replace(run, machine="", within_hours=None, budget_usd=None)
    return ranked(offers, run, lambda offer: world.hours(run, offer))


def choose(world: World, job: Job, run: Run) -> Offer:
    """The cheapest offer that satisfies what the run needs and the user's wishes. Raises NoOffer."""
    return candidates(world, job, run, need_of(job, run))[0]


def need_of(job: Job, run: Run) -> Need:
    """What a run's machine must have, as the pre-flight left it in the run's row; next to nothing for a join."""
    if job.is_join:
        return Need(Resources(gpus=job.resources.gpus), job.software)
    resources = Resources(run.processes, run.threads, run.memory_bytes, job.resources.gpus, run.gpu_memory_bytes)
    return Need(resources, job.software, run.disk_bytes)


class NoOffer(BadInput):
    """No machine that can be had would do."""


def _why_none(all_offers: list[Offer], job: Job, need: Need) -> str:
    """What the machines lack: a program, its version, or size."""
    for name, series in need.software.items():
        has = sorted({o.software[name] for o in all_offers if name in o.software})
        if not has:
            return f"{name} is not there; install it, on this computer so that it is on PATH"
        if series and not any(f"{found}.".startswith(f"{series}.") for found in has):
            return f"the project was made with {name} {job.version or series}, and {name} {', '.join(has)} is there"
    wanted = need.resources
    sizes = (
        (wanted.memory_bytes, max((o.memory_bytes for o in all_offers), default=0), "of memory"),
        (need.disk_bytes, max((o.disk_bytes for o in all_offers), default=0), "of disk"),
        (wanted.gpu_memory_bytes, max((o.gpu_memory_bytes for o in all_offers), default=0), "of memory on each GPU"),
    )
    gpus = max((o.gpus for o in all_offers), default=0)
    if wanted.gpus > gpus:
        return f"it asks for {wanted.gpus} GPU{'s' * (wanted.gpus > 1)}, and there are {gpus} at most; {ASK_FOR_LESS}"
    for asked, there, what in sizes:
        if asked > there:
            return f"it needs {gigabytes(asked)} {what}, and there are {gigabytes(there)} at most; {ASK_FOR_LESS}"
    return f"it asks for {wanted.gpus} GPUs and {wanted.cores} cores; {ASK_FOR_LESS}"


def gigabytes(size: int) -> str:
    """A size for people, in GB."""
    return f"{size / 1e9:.2g} GB" if size < 100e9 else f"{size / 1e9:.0f} GB"


def create(world: World, run: Run) -> None:
    """Ask for the machine of this attempt: the intent first, then the call; the same token never makes two.

    An offer that is refused makes room for the next one at once; the run remembers it. Raises NoCapacity or
    QuotaExceeded when all were refused, BudgetUsed when no money is left, and what else the provider raises; then the
    row stays REQUESTED and the same call is made again.
    """
    token, job = machine_token(run), world.job(run)
    need = need_of(job, run)
    every = candidates(world, job, run, need)
    offers = in_reach(every)
    while True:
        row = world.ledger.machine(token)
        asked = row if row is not None and row.state is MachineState.REQUESTED and row.offer else None
        offer = next_offer(offers, run, asked)
        if offer is None:
            raise _all_refused(world, run, next((each for each in every if each not in offers), None))
        _wait_for_answer(world, run, asked, offer)
        try:
            _order(world, run, offer, token, need.disk_bytes)
        except (NoCapacity, QuotaExceeded) as error:
            reason = "quota" if isinstance(error, QuotaExceeded) else "no_capacity"
            said = f"{_of(run)}{offer.where}: {REASONS[reason].sentence} ({error.what})"
            world.ledger.event(run.whole, world.clock(), said)
            run = world.ledger.change(run, {"tried": noted(run, offer, reason, error.what)}) or run
            if (row := world.ledger.machine(token)) is not None:
                world.ledger.change_machine(row, {"offer": ""})  # that order is answered
        else:
            return


def _of(run: Run) -> str:
    return f"{run.title}: " if run.part else ""


def _all_refused(world: World, run: Run, dear: Offer | None) -> ProviderError:
    """The error that says so, and which one was too dear to stand in for them; the next time all are asked again."""
    tried = refused(run)
    world.ledger.change(run, {"tried": ""})
    said = f"{len(tried)} offers were refused; the last, {tried[-1].offer}: {tried[-1].why}" if tried else ""
    if tried and dear is not None and dear.usd_per_hour is not None:
        said += f"; {dear.where} for {money(dear.usd_per_hour)} USD/h was not asked for, name it with --machine"
    return QuotaExceeded(said) if all(each.reason == "quota" for each in tried) else NoCapacity(said)


def _wait_for_answer(world: World, run: Run, asked: Machine | None, offer: Offer) -> None:
    """Ask for no other offer while the answer to an order is not known, and its machine may not be listed yet."""
    if asked is not None and not is_of(asked, offer) and world.clock() - asked.requested < world.limits.settle:
        raise ProviderUnavailable(f"the answer to the order of {asked.offer} in {asked.place} is not known yet")


def _order(world: World, run: Run, offer: Offer, token: str, disk_bytes: int) -> None:
    """Order one machine, intent first, with the disk that the offer was priced for."""
    spec = read_spec(world, run)
    with world.ledger.promising():  # what is left of a budget is promised to one machine at a time
        row = world.ledger.machine(token)
        if row is not None and row.state is not MachineState.REQUESTED:
            return
        wanted = _timed(world, run, offer, spec)
        power_off_at = wanted.deadline + wanted.grace
        intent = Machine(
            token=token,
            run=run.uid,
            attempt=run.attempt,
            provider=run.provider,
            offer=offer.name,
            usd_per_hour=offer.usd_per_hour,
            state=MachineState.REQUESTED,
            requested=world.clock(),
            power_off_at=power_off_at,
            region=offer.region,
            place=offer.place,
            spot=offer.spot,
            disk_bytes=offer.rented_disk_bytes,
            disk_usd_gb_month=offer.disk_usd_gb_month,
        )
        world.ledger.add_machine(intent)
        # Of a row that is there, the age counts from this call.
        again = {name: getattr(intent, name) for name in (*BILLED, *ORDERED)}
        row = world.ledger.change_machine(intent, again)
    if row is None:
        return
    if wanted != spec:
        world.store(run).put(run.prefix + "spec.json", documents.dump(wanted))
        spec = wanted
    _, checksum = world.archive(run.store)
    provider = world.provider(run.provider)
    lent = provider.lends(run.store)
    credential = {} if lent else _credential(world, run, spec, power_off_at - world.clock())
    boot = Boot(run.store, run.prefix, archive_key(checksum), checksum, credential)
    request = MachineRequest(
        token,
        world.owner,
        run.uid,
        run.attempt,
        offer,
        boot,
        power_off_at,
        project=run.store_folder,
        job=run.job,
        disk_bytes=disk_bytes,
        max_price=run.max_price,
    )
    made = provider.create(request)
    begun = bill.begun(run, row, made.created)
    answer: dict[str, object] = {"provider_id": made.id, "requested": begun, "answered": world.clock()}
    if world.ledger.change_machine(row, {"state": MachineState.BOOTING, **answer}) is None:
        listed = world.ledger.machine(token)  # a listing showed the machine before the order was answered
        if listed is not None and listed.state is MachineState.BOOTING:
            world.ledger.change_machine(listed, answer)
    world.ledger.change(run, {"placed": offer.name})


def _credential(world: World, run: Run, spec: Spec, seconds: float) -> dict[str, str]:
    """What the machine needs to open the store: to read the run's inputs, and to write below the attempt's prefix.

    Raises StoreRefused when the server can't make one, unless the machine is this computer, where the user's own
    credential does.
    """
    inputs = f"{run.store_folder}/inputs/"
    others = {key[: key.index("/outputs/") + len("/outputs/")] for i in spec.inputs if "/outputs/" in (key := i.key)}
    read = ["agent/", inputs, *sorted(others)] if len(others) < MANY else ["agent/", f"{run.store_folder}/"]
    read += sorted(folders_to_read(spec.inputs, run.store))
    try:
        return world.store(run).credential(read, run.prefix, seconds)
    except StoreRefused:
        if not world.provider(run.provider).here:
            raise
        return {}


def _timed(world: World, run: Run, offer: Offer, spec: Spec) -> Spec:
    """The spec of this attempt; its walltime begins anew when it waited for its machine, and ends with the budget."""
    deadline, grace = world.clock() + world.terms.walltime, world.terms.grace
    seconds = budget.seconds(world, run, offer)
    if seconds < deadline + grace - world.clock():
        grace = min(grace, seconds * budget.FOR_OUTPUTS)
        deadline = world.clock() + seconds - grace
    if 0 <= deadline - spec.deadline < STALE_SPEC and spec.grace == grace:
        return spec
    return replace(spec, deadline=deadline, grace=grace)


def machine_token(run: Run) -> str:
    """The same for the same attempt, whoever asks."""
    return f"{run.uid}-{run.attempt}"


def write_stop(world: World, run: Run) -> None:
    """Ask the agent to end the command."""
    stop = Stop(time=world.clock(), why=run.stop_wanted)
    world.store(run).put(run.prefix + "stop.json", documents.dump(stop))


def try_store(world: World, run: Run) -> None:
    """Write an object of our own, as large as a heartbeat may be, and take it away. Raises StoreFull; whatever else
    there is says nothing."""
    store, key = world.store(run), f".probe/room-{run.uid}"
    with suppress(StoreUnavailable, StoreRefused):
        store.put(key, bytes(4 * CHUNK))  # the ends of a few logs
        store.delete(key)


def mark(world: World, run: Run, state: RunState, reason: str, detail: str, verdict: Verdict | None = None) -> float:
    """Write the markers into the job folder, and the end and the record into the store. Truth first: the row follows,
    with the time of the end that is returned.

    Raises OSError when home can't be written. A success must also be noted in the store (StoreError); an end for which
    the store itself may be to blame is told by the marker at home alone.
    """
    if verdict is None:
        outcome = {RunState.SUCCEEDED: "succeeded", RunState.STOPPED: "aborted"}.get(state, "failed")
        verdict = Verdict(outcome, sentence(reason, detail, ended=True, log=True))
    if not run.part and (Path(run.project) / run.job).is_dir():  # the folder is the whole run's
        world.package(run).mark(Path(run.project), run.job, verdict)
    now = world.clock()
    closed = Closed(run.uid, str(state), reason, detail, now, run.attempt)
    try:
        world.store(run).put(closed_key(run.owner, run.uid), documents.dump(closed))
        record.write(world, replace(run, state=state, reason=reason, detail=detail, ended=now))
    except StoreError:
        if state is RunState.SUCCEEDED:
            raise
    return now


def keep_console(world: World, run: Run) -> str:
    """Keep what a machine whose agent never started printed, beside its attempt in the store; the end of it, in one
    line."""
    machine = world.ledger.machine(machine_token(run))
    printed = world.provider(run.provider).console(machine.provider_id) if machine is not None else ""
    if not printed.strip():
        return ""
    with suppress(StoreError):
        world.store(run).put(run.prefix + "console.txt", printed.encode())
    return " / ".join(printed.split("\n")[-4:])[-400:].strip(" /")
