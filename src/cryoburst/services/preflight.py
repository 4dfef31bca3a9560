"""The pre-flight: everything that can be known to be wrong with a job is found here, before anything is rented.

What is wrong with the job's own files its package says (``Package.examine``); here the machine is looked at: versions,
size, and the fit of MPI ranks and threads. All checks run; nothing is sent, rented or marked.
"""

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from cryoburst.agent import software
from cryoburst.engine import earlier, perform
from cryoburst.engine.perform import gigabytes
from cryoburst.engine.world import World
from cryoburst.model.errors import BadInput, Refused
from cryoburst.model.job import Input, Job, Resources
from cryoburst.model.plugins import Demand, Examined, Finding, Need, Offer, Package, Work
from cryoburst.model.run import Run
from cryoburst.model.split import AUTO, auto_parts

FORCE = "submit it with --force to go on all the same (RELION's window: add --force to 'Queue submit command')"


@dataclass(frozen=True)
class Preflight:
    """The job and its run as they would be sent: fitted to the machine, with what they need."""

    job: Job
    run: Run
    inputs: list[Input]
    findings: list[Finding]
    most: Demand
    offer: Offer | None  # None when no machine would do: then a finding says why
    work: Work = field(default_factory=Work)  # of all parts together


def examine(world: World, package: Package, job: Job, run: Run, parts: int = 1) -> Preflight:
    """Look at a job, in as many parts as are wished for, and at the machines that it could have. A list that is a stub
    here comes home to be read.

    Raises BadInput when an input is missing or the job can't be split, and the store's error when a list can't be
    brought.
    """
    findings = list(reach(world, run))
    series = Need(Resources(gpus=job.resources.gpus), job.software)
    try:
        # A machine with the cores that were typed comes first; where none has them, the job is fitted to the largest.
        offers = perform.candidates(world, job, run, series)
    except perform.NoOffer as error:
        offers = []
        findings.append(Finding("error", "machine", _said(error)))
    if offers:
        findings += versions(world, job, run, offers[0])
        if run.spot and not any(offer.spot for offer in offers):
            said = f"{run.provider} has no spot machines for this job: it goes to one that is not taken back"
            findings.append(Finding("info", "spot", said))
        cores = max(offer.cores for offer in offers)
        job, said = package.fit(job, cores)
        if said:
            findings.append(Finding("info", "cores", said))
            run = replace(run, fitted_to=cores)
    fitted = job
    examined = earlier.reading(world, run, lambda: package.examine(fitted))
    run = replace(run, script=job.script)
    run, said = split(package, job, run, parts, offers[0].cores if offers else 1)
    findings += [Finding("info", "parts", said)] if said else []
    examined = replace(examined, most=_of_part(examined.most, run), least=_of_part(examined.least, run))
    size = job.resources
    run = replace(run, processes=size.processes, threads=size.threads, gpus=size.most_gpus, units=examined.work.units)
    offer: Offer | None = None
    if offers:
        run, offer, told = _place(world, job, run, examined)
        findings += [*told, *quota(world, job, run)] if offer else told
    found = [*findings, *examined.findings]
    return Preflight(job, run, examined.inputs, found, examined.most, offer, examined.work)


def reach(world: World, run: Run) -> Iterable[Finding]:
    """The run's machines can open its store; error: known before anything is sent there."""
    if not world.provider(run.provider).reaches(run.store):
        advice = "choose a bucket with --store; cryoburst aws setup or cryoburst store add NAME URL gives one a name"
        yield Finding("error", "store", f"machines of {run.provider} can't reach the store {run.store}: {advice}")


def quota(world: World, job: Job, run: Run) -> Iterable[Finding]:
    """The account may have one of the machines that would do; error: it would wait for what never comes."""
    offers = perform.candidates(world, job, run, perform.need_of(job, run))
    if said := world.provider(run.provider).refuses(offers):
        yield Finding("error", "quota", said)


def split(package: Package, job: Job, run: Run, wanted: int, cores: int) -> tuple[Run, str]:
    """The run in as many parts as are wanted (``AUTO``: as its machines with so many cores are good for), and a
    sentence on what was chosen or adapted. Raises BadInput when somebody wants parts of a job that can't be split."""
    if wanted == 1:
        return run, ""
    cut = package.cut(job)
    if not cut.units:
        if wanted == AUTO:
            return run, f"it runs on one machine: {cut.refusal}"
        advice = "set Parts to 1 or auto, or leave --parts out"
        raise BadInput(f"this job can't be split: {cut.refusal}", where=job.folder, advice=advice)
    count = min(auto_parts(cut, cores) if wanted == AUTO else wanted, cut.units)
    said = ""
    if wanted == AUTO:
        chosen = "one part was" if count == 1 else f"{count} parts were"
        said = f"{chosen} chosen for {cut.units} {cut.unit} on machines of {cores} cores"
    elif count < wanted:
        said = f"{wanted} parts were asked for, and there are {cut.units} {cut.unit}: each is a part"
    if count == 1:
        return run, said
    join = package.part(job, 0, count)  # what the run itself does when its parts have ended
    return replace(run, parts=count, script=join.script, total=cut.units, unit=cut.unit), said


def _of_part(demand: Demand, run: Run) -> Demand:
    """What a part needs: as much memory as the whole, and of the disk its share."""
    return replace(demand, disk=math.ceil(demand.disk / run.parts))


def check(found: Preflight, *, force: bool) -> None:
    """Stop a job with errors, and one with warnings unless they are forced. Raises Refused with one sentence each."""
    if errors := [f for f in found.findings if f.level == "error"]:
        raise Refused([f.sentence for f in errors], where=found.run.job)
    if not force and (warnings := [f for f in found.findings if f.level == "warning"]):
        raise Refused([f"{f.sentence}: {FORCE}" for f in warnings], where=found.run.job)


def versions(world: World, job: Job, run: Run, offer: Offer) -> Iterable[Finding]:
    """The program's version in the project, on this computer and on the machine: they should be one."""
    here = world.provider(run.provider).here
    for name in job.software:
        there = offer.software.get(name, "")
        own = there if here else software.version(name, dict(os.environ)) or ""
        title = name.upper() if name == "relion" else name
        if job.version and there and not _may_be(there, job.version):
            said = f"the project was made with {title} {job.version}, and the machine has {there}"
            yield Finding("warning", "version", said)
        if own and there and not _may_be(there, own):
            level = "error" if own.split(".")[0] != there.split(".")[0] else "warning"
            yield Finding(level, "version", f"this computer has {title} {own}, and the machine has {there}")


def _may_be(one: str, other: str) -> bool:
    """Whether two versions can be the same: a provider, or a project, may know no more than ``3`` or ``3.1``."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _place(world: World, job: Job, run: Run, examined: Examined) -> tuple[Run, Offer | None, list[Finding]]:
    """The run with what its machine must have, and the offer: one that is enough for certain, else one that may be."""
    most, least = examined.most, examined.least
    sure = _needing(run, most)
    try:
        offer = perform.choose(world, job, sure)
    except perform.NoOffer as error:
        why = error.advice
    else:
        return sure, offer, list(_sizes(least, most, offer))
    unsure = _needing(run, least)
    try:
        offer = perform.choose(world, job, unsure)
    except perform.NoOffer as error:
        return unsure, None, [Finding("error", "machine", _said(error))]
    said = list(_doubts(least, most, offer)) or [Finding("warning", "machine", f"it may not fit: {why}")]
    return unsure, offer, [*said, *_sizes(least, most, offer)]


def _said(error: perform.NoOffer) -> str:
    return f"{error.what}: {error.advice}"


def _needing(run: Run, demand: Demand) -> Run:
    return replace(run, memory_bytes=demand.memory, gpu_memory_bytes=demand.gpu_memory, disk_bytes=demand.disk)


def _doubts(least: Demand, most: Demand, offer: Offer) -> Iterable[Finding]:
    """What the machine has not enough of if the job takes as much as it can; it may well take less."""
    for (what, taken, there), (_, begun, _) in zip(_rows(most, offer), _rows(least, offer), strict=True):
        if taken > there > 0:  # 0: not known
            said = f"it takes at least about {gigabytes(begun)} of {what} and may need up to {gigabytes(taken)}"
            yield Finding("warning", "machine", f"{said}; the machine has {gigabytes(there)}")


def _rows(demand: Demand, offer: Offer) -> tuple[tuple[str, int, int], ...]:
    return (
        ("memory", demand.memory, offer.memory_bytes),
        ("GPU memory", demand.gpu_memory, offer.gpu_memory_bytes),
        ("disk", demand.disk, offer.disk_bytes),
    )


def _sizes(least: Demand, most: Demand, offer: Offer) -> Iterable[Finding]:
    """What the job is predicted to take, beside what the machine has: the most, and the least where it is far less."""
    for (what, taken, there), (_, begun, _) in zip(_rows(most, offer), _rows(least, offer), strict=True):
        if taken:
            has = f"the machine has {gigabytes(there)}" if there else "what the machine has is not known"
            if what == "disk" and offer.rented_disk_bytes:
                has = f"a disk of {gigabytes(offer.rented_disk_bytes)} is rented with the machine"
            less = f", at least about {gigabytes(begun)}" if 0 < begun < taken / 2 else ""
            yield Finding("info", what, f"at most about {gigabytes(taken)}{less}; {has}")
