"""Where a result came from: the record of a run, and the chain of the jobs behind it, whoever ran them. Only reads.

A file of the chain is said to come from a run only when its content is what that run made; by name alone it may have
been made again, elsewhere, since.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryoburst.database.ledger import Ledger
from cryoburst.engine.record import gather, record_key
from cryoburst.model import documents
from cryoburst.model.course import Past
from cryoburst.model.documents import Record, Try
from cryoburst.model.errors import Corrupt, CryoburstError
from cryoburst.model.plugins import Package, Store
from cryoburst.model.run import Run

OpenStore = Callable[[str], Store]


@dataclass(frozen=True)
class Link:
    """One job of a chain. ``record`` is None for a job that was run elsewhere, or of which the store says nothing.

    ``given`` are the files that later jobs of the chain took from it (path -> checksum, empty when not known), and
    ``sources`` the job folders that its own inputs come from. ``notes`` are sentences on what is not known. ``later``
    is the number of the run of the same folder that went on from these files (RELION's Continue); 0 for all others.
    """

    folder: str
    past: Past
    run: Run | None
    record: Record | None
    given: Mapping[str, str]
    sources: tuple[str, ...]
    notes: tuple[str, ...] = ()
    later: int = 0

    @property
    def name(self) -> str:
        """What no other job of the chain is called: its folder, with the run's number where a later one went on."""
        return f"{self.folder}run-{self.run.number}/" if self.later and self.run else self.folder

    @property
    def kind(self) -> str:
        """The package's own name of the kind of job; empty when nobody tells it."""
        return self.record.kind if self.record else self.past.kind


_Place = tuple[str, int]  # in a chain: a job folder, and the run that went on there


@dataclass
class _Wanted:
    """A job folder that is still to be looked at, before which of its runs (0: all count), and what is wanted of it."""

    folder: str
    later: int = 0
    given: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def place(self) -> _Place:
        return self.folder, self.later


def latest(record: Record) -> list[Try]:
    """The newest attempt of a run; of a split one that of each part, and then of the join."""
    return list({each.part: each for each in record.tries}.values())


def began(record: Record) -> float | None:
    """When the command began; of a split run, that of the first part."""
    return min((t.command_started for t in latest(record) if t.command_started is not None), default=None)


def ended(record: Record) -> float | None:
    """When the command ended, or the last of them; None while the run goes on."""
    ends = [
        each.command_started + each.command_seconds
        for each in latest(record)
        if each.command_started is not None and each.command_seconds is not None
    ]
    return max(ends, default=None) if record.ended is not None else None


def record_of(open_store: OpenStore, ledger: Ledger, run: Run) -> Record:
    """The record of a run: as it was written at its end, else from what the store's documents tell now.

    Raises StoreError when the store does not answer.
    """
    store = open_store(run.store)
    key = record_key(run.owner, run.uid)
    data = store.get(key)
    if data is not None and run.state.final:
        try:
            return documents.load(Record, data, key)
        except Corrupt:  # of another version
            pass
    return gather(store, ledger, run)


def chain(open_store: OpenStore, ledger: Ledger, package: Package, run: Run) -> list[Link]:
    """The run's job, and all jobs behind it: each before those that its inputs come from."""
    waiting = [_Wanted(run.job)]
    links: dict[_Place, Link] = {}
    while waiting:
        wanted = waiting.pop(0)
        link = _link(open_store, ledger, package, run, wanted)
        if wanted.later and link.run is None:  # what it went on from was not made by a run that we know
            continue
        links[wanted.place] = link
        for place, given in _asked(package, link).items():
            # A job that is met again, by another way, is asked for more of its files.
            known = dict(links[place].given) if place in links else {}
            ahead = next((w for w in waiting if w.place == place), None)
            if ahead is not None:
                ahead.given |= given
            elif place not in links or given.keys() - known.keys():
                waiting.append(_Wanted(*place, known | given))
    return _ordered(links, (run.job, 0))


def _ordered(links: Mapping[_Place, Link], first: _Place) -> list[Link]:
    """Consumers before what they took from."""
    done: list[_Place] = []

    def visit(place: _Place, above: tuple[_Place, ...]) -> None:
        if place in done or place in above:
            return
        for source in _sources(links[place]):
            if source in links:
                visit(source, (*above, place))
        done.append(place)

    visit(first, ())
    return [links[place] for place in reversed(done)]


def _sources(link: Link) -> list[_Place]:
    """Where in a chain the inputs of a job may come from: other folders, and earlier runs of its own."""
    return [*((folder, 0) for folder in link.sources), *([(link.folder, link.run.number)] if link.run else [])]


def _asked(package: Package, link: Link) -> dict[_Place, dict[str, str]]:
    """What a job took from others, and from earlier runs in its own folder: place -> path -> checksum."""
    taken: dict[_Place, dict[str, str]] = {place: {} for place in _sources(link)}
    for content in link.record.inputs if link.record else ():
        folder = package.job_of(content.path)
        place = (folder, link.run.number if link.run and folder == link.folder else 0)
        if place in taken:
            taken[place][content.path] = content.checksum
    for path in link.past.inputs:
        if (place := (package.job_of(path), 0)) in taken:
            taken[place].setdefault(path, "")
    return {place: given for place, given in taken.items() if given or not place[1]}


def _link(open_store: OpenStore, ledger: Ledger, package: Package, end: Run, wanted: _Wanted) -> Link:
    folder = wanted.folder
    past = package.past(Path(end.project), folder)
    if folder == end.job and not wanted.given:
        run, record, notes = _of(open_store, ledger, end)
    else:
        run, record, notes = _maker(open_store, ledger, end, wanted)
    paths = [content.path for content in record.inputs] if record else []
    sources = dict.fromkeys(package.job_of(path) for path in (*paths, *past.inputs))
    return Link(
        folder,
        past,
        run,
        record,
        wanted.given,
        tuple(source for source in sources if source not in ("", folder)),
        notes,
        wanted.later,
    )


def _of(open_store: OpenStore, ledger: Ledger, run: Run) -> tuple[Run, Record | None, tuple[str, ...]]:
    """The record of one run, with a sentence on what is missing."""
    try:
        record = record_of(open_store, ledger, run)
    except CryoburstError as error:
        return run, None, (f"what run {run.number} was can't be read: {error}",)
    if not record.inputs and not record.outputs:
        return run, record, (f"the store no longer has the lists of inputs and outputs of run {run.number}",)
    return run, record, ()


def _maker(
    open_store: OpenStore, ledger: Ledger, end: Run, wanted: _Wanted
) -> tuple[Run | None, Record | None, tuple[str, ...]]:
    """The run of a folder whose outputs are the wanted contents; none when it was run elsewhere."""
    runs = [run for run in ledger.runs_of(end.project, wanted.folder) if run.state.final]
    named = {path: checksum for path, checksum in wanted.given.items() if checksum}
    unread: tuple[str, ...] = ()
    for run in runs:
        if run.number > end.number or (wanted.later and run.number >= wanted.later):
            continue
        _, record, notes = _of(open_store, ledger, run)
        if record is None:
            unread = notes
            continue
        made = {content.path: content.checksum for content in record.outputs}
        if not named or any(made.get(path) == checksum for path, checksum in named.items()):
            changed = sorted(path for path, checksum in named.items() if made.get(path) != checksum)
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            odd = (f"{changed[0]}{more} is not as run {run.number} made it",) if changed else ()
            return run, record, notes + odd
    if runs and not unread:
        unread = (f"what later jobs took from it was made by none of its runs here ({_numbers(runs)})",)
    return None, None, unread


def _numbers(runs: list[Run]) -> str:
    return ", ".join(str(run.number) for run in sorted(runs, key=lambda run: run.number))
