"""Submit and plan: everything that can be known to be wrong is said here, before anything is sent or rented."""

import os
import secrets
import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread

from cryoburst.engine import perform, stage_in
from cryoburst.engine.leave import patterns
from cryoburst.engine.world import World, request_key
from cryoburst.model.errors import BadInput, CryoburstError, StoreRefused, StoreUnavailable
from cryoburst.model.job import Job, Verdict, Wishes
from cryoburst.model.plugins import Finding, Package
from cryoburst.model.run import Run
from cryoburst.services import budgets, preflight
from cryoburst.services.forecast import Forecast, cautions, foretell
from cryoburst.services.house import Plugins
from cryoburst.services.preflight import Preflight
from cryoburst.services.settings import Settings
from cryoburst.services.stores import known_stores, store_url

TO_BE = "s3://cryoburst"  # a bucket that a plan assumes, in the region of its machines: nothing is asked of it
STORE_WAIT = 5.0  # s: AWS's chain takes 2 s to find that there is no credential, or more on a busy computer
NOTED = ("cores", "parts", "spot")  # subjects of findings that are events of the run, whatever their level


@dataclass(frozen=True)
class Planned:
    """What a run would send, and where; nothing is sent or rented."""

    preflight: Preflight
    sending: stage_in.Plan
    forecast: Forecast | None = None  # None when no machine would do


@dataclass(frozen=True)
class Submitted:
    """The run that was written, and what the pre-flight found."""

    run: Run
    findings: list[Finding]


def submit(
    world: World,
    settings: Settings,
    target: Path,
    cwd: Path,
    wishes: Wishes,
    tell: Callable[[str], None] = lambda _: None,
    *,
    force: bool = False,
) -> Submitted:
    """Write a run for a submission script or a job folder and return it; the work is the watcher's.

    Warnings of the pre-flight stop it unless they are forced. A job that can't be sent raises BadInput (or what the
    provider raised, or StoreRefused) and is marked as failed in its own folder, because the program's queue ignores our
    exit code; unless another run is at work there. A store that does not answer may do so later: the run waits for it,
    and ``tell`` gets a sentence.
    """
    package = _package(world, target, cwd)
    try:
        job, run, wanted = _draft(world, settings, package, target, cwd, wishes)
        _check_free(world, run)
    except BadInput as error:
        _refuse(world, package, target, cwd, error)
        raise
    except CryoburstError as error:  # the database can't be read
        refuse_unopened(target, cwd, error)
        raise
    looking = _Asking(lambda: world.store(run).get(request_key(run.owner, run.uid)))
    try:
        found = preflight.examine(world, package, job, run, wanted)
        preflight.check(found, force=force or settings.warnings == "pass")
        _check_provider(world, run)
        # As if all of its inputs had to be sent: nothing is hashed now.
        size = sum(each.size for each in found.inputs if not each.listed)
        forecast = foretell(world, settings, found, size, size)
        told = [*_budgets(world, settings, found), *cautions(world, settings, run, forecast)]
        for sentence in told:
            tell(f"warning: {sentence}")
        trouble = looking.trouble()
        if isinstance(trouble, StoreRefused):
            raise trouble
    except CryoburstError as error:
        _tell_window(package, job.project, job.folder, error)
        raise
    try:
        package.unmark(job.project, job.folder)
    except OSError as error:
        what = f"the job folder can't be written: {error.strerror}"
        where = error.filename or job.folder
        raise BadInput(what, where=str(where), advice="send the job as the user whose project it is") from None
    try:
        added = world.ledger.add(_foretold(found.run, forecast), alone=True)
    except CryoburstError as error:  # no room for the row, say
        package.mark(job.project, job.folder, Verdict("failed", str(error)))
        raise
    if added.uid != run.uid:
        raise _busy(added)  # another submission of this job came between
    run = added
    _note(world, run, "DRAFT")
    for finding in found.findings:
        if finding.level == "warning" or finding.subject in NOTED:
            _note(world, run, f"{finding.level}: {finding.sentence}")
    for sentence in told:
        _note(world, run, f"warning: {sentence}")
    trouble = trouble or _Asking(lambda: perform.write_request(world, run)).trouble()  # from there it can be recovered
    if trouble:  # then the watcher writes it
        _note(world, run, f"the request waits for the store: {trouble}")
        tell(f"run {run.number} waits for its store: {trouble}")
    return Submitted(run, found.findings)


def _budgets(world: World, settings: Settings, found: Preflight) -> list[str]:
    """A sentence for each budget of which most is used. Raises BadInput when one is used up; what is free is free."""
    free = found.offer is not None and found.offer.usd_per_hour == 0
    return [] if free else budgets.check(world.ledger, settings, found.run, world.clock())


def _foretold(run: Run, forecast: Forecast | None) -> Run:
    """The run with what it should take and cost."""
    if forecast is None:
        return run
    hours = forecast.machine_hours.best if forecast.machine_hours else 0.0
    usd = forecast.usd.best if forecast.usd else None
    return replace(run, forecast_hours=hours, forecast_usd=usd, forecast_data_usd=forecast.data_usd)


def _note(world: World, run: Run, text: str) -> None:
    """Note an event of a run that is written already: no room for that is no reason to say that it was not."""
    with suppress(CryoburstError):
        world.ledger.event(run.uid, world.clock(), text)


class _Asking:
    """A request to the store in a thread of its own: one that hangs must not hold the program's window for long."""

    def __init__(self, ask: Callable[[], object]) -> None:
        self._ask = ask
        self._error: CryoburstError | None = None
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def trouble(self) -> CryoburstError | None:
        """Why it was not done, waiting ``STORE_WAIT`` s at most; None when it was."""
        self._thread.join(STORE_WAIT)
        return StoreUnavailable("it is slow") if self._thread.is_alive() else self._error

    def _run(self) -> None:
        try:
            self._ask()
        except CryoburstError as error:
            self._error = error


def plan(world: World, settings: Settings, target: Path, cwd: Path, wishes: Wishes) -> Planned:
    """What submit would do with the same arguments; marks nothing. What the pre-flight found is told, not raised."""
    package = _package(world, target, cwd)
    job, run, wanted = _draft(world, settings, package, target, cwd, wishes, planning=True)
    found = preflight.examine(world, package, job, run, wanted)
    if run.store == TO_BE:
        said = f"there is none yet that machines of {run.provider} reach: a bucket beside them is assumed"
        found.findings.append(Finding("info", "store", said))
    sending = stage_in.plan(world, run, found.inputs)
    forecast = foretell(world, settings, found, sending.bytes_to_send, sending.bytes_in)
    try:
        told = [*_budgets(world, settings, found), *cautions(world, settings, found.run, forecast)]
        found.findings.extend(Finding("info", "limits", sentence) for sentence in told)
    except BadInput as error:
        found.findings.append(Finding("error", "limits", str(error)))
    return Planned(found, sending, forecast)


def _package(world: World, target: Path, cwd: Path) -> Package:
    """The package whose job this is: the only one installed, or the first that can read it."""
    try:
        os.path.realpath(cwd / target).encode()
    except UnicodeEncodeError:
        advice = "rename the folder: its name can be written in no document"
        raise BadInput("the path of the job is not UTF-8", where=str(cwd / target), advice=advice) from None
    packages = [world.packages[name] for name in world.packages]
    if not packages:
        raise BadInput("no package is installed", advice="see cryoburst doctor")
    for package in packages[:-1]:
        try:
            package.read_job(target, cwd)
        except BadInput:
            continue
        return package
    return packages[-1]


def _draft(
    world: World,
    settings: Settings,
    package: Package,
    target: Path,
    cwd: Path,
    wishes: Wishes,
    *,
    planning: bool = False,
) -> tuple[Job, Run, int]:
    """The job, a run of it on one machine, and the number of parts that is wished for."""
    job = package.read_job(target, cwd)
    wishes = wishes.over(job.wishes)
    pushed, folder = world.ledger.project_place(str(job.project))
    store = wishes.store or pushed
    store = store_url(settings, store) if store else _fitting(world, settings, wishes.provider, planning=planning)
    if store not in (*known_stores(settings), TO_BE):
        advice = "give it a name first, so that its runs are found again: cryoburst store add NAME URL"
        raise BadInput("this store is not known here", where=store, advice=advice)
    run = Run(
        number=0,
        uid=secrets.token_hex(8),
        owner=world.owner,
        project=str(job.project),
        job=job.folder,
        target=os.path.relpath(cwd / target, job.project),
        kind=job.kind,
        package=job.package,
        script=job.script,
        store=store,
        folder=folder,
        provider=wishes.provider or settings.provider,
        machine=wishes.machine,
        max_price=wishes.max_price,
        parts=1,
        leave=patterns(wishes.leave),
        submitted=world.clock(),
        spot=bool(wishes.spot),
        region=wishes.region,
        within_hours=wishes.within_hours,
        budget_usd=wishes.budget,
    )
    world.store(run)  # an address that is none is told now
    return job, run, 1 if wishes.parts is None else wishes.parts


def _fitting(world: World, settings: Settings, name: str, *, planning: bool) -> str:
    """The store without a word: the default, or the provider's own where its machines can't open that one. A plan may
    assume a bucket that is not there yet."""
    store, provider = store_url(settings), world.provider(name or settings.provider)
    if provider.reaches(store):
        return store
    theirs = next((url for url in known_stores(settings) if provider.lends(url)), "")
    return theirs or (TO_BE if planning and provider.reaches(TO_BE) else store)


def _check_free(world: World, run: Run) -> None:
    """No other run is at work in this job folder, by this name of the project or by another. Raises JobBusy."""
    other = world.ledger.unfinished_of(run.project, run.job)
    if other is not None:
        raise _busy(other)
    for other in world.ledger.runs(unfinished=True):
        if (other.owner, other.job) != (run.owner, run.job):  # of others we don't know what is on their computers
            continue
        there = Path(other.project)
        if there.is_dir():
            if there.samefile(run.project):
                raise _busy(other)
        elif other.parts > 1 or other.script == run.script:
            link = shlex.join(("ln", "-s", run.project, other.project))
            raise JobBusy(
                f"run {other.number} is at work on this job of {other.project}, which is not there",
                where=other.job,
                advice=f"if that was moved here, put a link in its place ({link}); else cryoburst stop {other.number}",
            )


def _check_provider(world: World, run: Run) -> None:
    """Whether the account can be used at all. One that does not answer may do so later: the run waits for it."""
    provider = world.provider(run.provider)
    wrong = [] if provider.here else [each for each in provider.check() if each.level in ("error", "info")]
    if wrong:
        raise BadInput(f"{run.provider} can't be used: {wrong[0].sentence}", where=run.job)


class JobBusy(BadInput):
    """Another run is at work in this job folder: it must not be marked."""


def _busy(other: Run) -> JobBusy:
    return JobBusy(
        f"run {other.number} is at work on this job",
        where=other.job,
        advice=f"wait for it (cryoburst wait {other.number}) or stop it (cryoburst stop {other.number})",
    )


def refuse_unopened(target: Path, cwd: Path, error: CryoburstError) -> None:
    """Tell the program's window why nothing runs when not even the settings or the database can be opened.

    Nobody can say then which runs are at work, so only a job folder without any output is marked.
    """
    for package in Plugins("packages").values():
        with suppress(BadInput, OSError):
            job = package.read_job(target, cwd)
            if not any((job.project / job.folder / name).exists() for name in package.logs):
                _tell_window(package, job.project, job.folder, error)
            return


def _refuse(world: World, package: Package, target: Path, cwd: Path, error: BadInput) -> None:
    """Tell the program's window why nothing runs, when the job folder is plain from the target alone."""
    if isinstance(error, JobBusy):
        return
    full = cwd / target
    folder = full if full.is_dir() else full.parent
    project = folder.parent.parent
    known = (project / "default_pipeline.star").is_file() and (folder / "job.star").is_file()
    if not known or world.ledger.unfinished_of(str(project), f"{folder.relative_to(project)}/"):
        return
    _tell_window(package, project, f"{folder.relative_to(project)}/", error)


def _tell_window(package: Package, project: Path, folder: str, error: CryoburstError) -> None:
    """Mark a job that can't be sent as failed, for its window ignores our exit code.

    A job with a marker has ended: the program takes old ones away before it calls us, so somebody typed this command,
    and a wrong word on the command line must not change what the job was.
    """
    with suppress(OSError):  # somebody else's project: then the command line alone tells it
        names = (entry.name for entry in (project / folder).iterdir())
        if not any(package.held(name) and name != package.abort_file for name in names):
            package.mark(project, folder, Verdict("failed", str(error)))
