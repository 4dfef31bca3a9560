"""The contracts of the four kinds of plug-in. The engine knows these Protocols and nothing behind them.

Entry points ``cryoburst.providers``, ``.schedulers``, ``.stores`` and ``.packages`` name the classes.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cryoburst.model.documents import Exit
from cryoburst.model.job import Input, Job, Progress, Resources, Resume, Verdict
from cryoburst.model.split import Cut
from cryoburst.model.store import UNFINISHED, Polled, Store, Stored

if TYPE_CHECKING:
    from cryoburst.model.course import Course, Panel, Past

__all__ = [
    "UNFINISHED",
    "Boot",
    "Clock",
    "Finding",
    "MachineRequest",
    "MachineSeen",
    "Need",
    "Offer",
    "Package",
    "Polled",
    "Provider",
    "Scheduler",
    "Store",
    "Stored",
]

# ---------------------------------------------------------------------------------------------------- providers


@dataclass(frozen=True)
class Need:
    """What a machine must have for a run."""

    resources: Resources
    software: dict[str, str] = field(default_factory=dict[str, str])  # {"relion": "3"}: any version of this series
    disk_bytes: int = 0


@dataclass(frozen=True)
class Offer:
    """A priced machine type in a place. A price of None is unknown, never free; this computer's is 0.0."""

    provider: str
    name: str  # the provider's own name of the type
    cores: int
    memory_bytes: int
    gpus: int
    usd_per_hour: float | None  # of the machine alone, without its disk
    place: str = ""  # within the region: a zone, or this computer's name
    disk_bytes: int = 0  # that it has, or can be given
    gpu_memory_bytes: int = 0  # of the smallest of its GPUs; 0: unknown
    software: dict[str, str] = field(default_factory=dict[str, str])
    region: str = ""
    spot: bool = False  # cheaper, and may be taken away
    gpu: str = ""  # what its GPUs are called
    local_disk_bytes: int = 0  # of the disks in the machine itself, which cost nothing more
    price_dated: str = ""  # the day of the price (ISO 8601); empty: it was asked for now
    rented_disk_bytes: int = 0  # of the disk that has to be rented with it for the need it was asked for
    disk_usd_gb_month: float | None = None  # of that disk; None: unknown, never free
    quota: str = ""  # by which an account's cores of it and its kin are limited in the region; empty: not known

    @property
    def where(self) -> str:
        """Type, place and market for people: ``g5.xlarge in eu-central-1a, spot``."""
        place = self.place or self.region
        return f"{self.name}{f' in {place}' if place else ''}{', spot' if self.spot else ''}"


@dataclass(frozen=True)
class Boot:
    """What a machine does when it is up: fetch the agent's archive, check it, run it on one prefix of the store."""

    store_url: str
    prefix: str  # <project>/<job>/<run>/<attempt>/
    archive_key: str
    archive_checksum: str
    credential: dict[str, str] = field(default_factory=dict[str, str], repr=False)  # see Store.credential; a secret


@dataclass(frozen=True)
class MachineRequest:
    """An order for one machine. The same token never makes a second one."""

    token: str
    owner: str
    run: str  # the run's uid
    attempt: int
    offer: Offer
    boot: Boot
    power_off_at: float  # s since the epoch; the machine ends itself then, whatever happens
    project: str = ""  # for people: the project's folder in the store, and the job's in the project
    job: str = ""
    disk_bytes: int = 0  # that the job needs
    max_price: float | None = None  # USD/h above which a spot machine is ended; None: as the provider has it


@dataclass(frozen=True)
class MachineSeen:
    """A machine of ours as the provider lists it.

    ``alive`` is False when the provider still knows it but it no longer runs (powered off, crashed): its disks may
    still cost until ``delete``.
    """

    id: str
    token: str
    owner: str
    run: str
    attempt: int
    alive: bool
    created: float
    note: str = ""
    offer: str = ""  # the type, with its place and market, as far as the provider tells
    region: str = ""
    place: str = ""
    spot: bool = False
    interrupted: bool = False  # it was, or is being, taken away by the provider: nobody's fault


@dataclass(frozen=True)
class Finding:
    """One line of a check: is it well, and if not, what to do."""

    level: str  # ok, info, warning, error
    subject: str
    sentence: str


@dataclass(frozen=True)
class Demand:
    """What a job takes of a machine, in bytes; 0 is unknown. GPU memory is that of each GPU."""

    memory: int = 0
    gpu_memory: int = 0
    disk: int = 0


@dataclass(frozen=True)
class Work:
    """How much a job has to do, in a unit to which its time is proportional: one of its kind's own. 0: unknown."""

    units: float = 0.0
    said: str = ""  # the same for people: "138,901 particles of 192 pixels, 200 classes, 25 iterations"


@dataclass(frozen=True)
class Examined:
    """What a package found out about a job before anything is rented.

    ``inputs`` are all that it reads. A machine that has ``most`` is enough, whatever the data turn out to be; one that
    has less than ``least`` can't be.
    """

    inputs: list[Input]
    findings: Sequence[Finding] = ()
    most: Demand = Demand()
    least: Demand = Demand()
    work: Work = Work()


class Provider(Protocol):
    """Rents machines. Five verbs; every one returns within ``seconds`` or raises ``ProviderUnavailable``.

    Unknown errors map to ``ProviderUnavailable`` with the provider's text, never to ``NoCapacity``.
    """

    name: str
    here: bool  # whether its machines are this computer: there the user's own credentials may be used

    def check(self) -> list[Finding]:
        """Whether this provider can be used from here; asks for nothing that costs.

        An error has to be mended before it can; an info says that nobody has set it up; a warning may pass by itself.
        """
        ...

    def offers(self, need: Need) -> list[Offer]:
        """The machine types that satisfy the need, cheapest first; empty when none does."""
        ...

    def create(self, request: MachineRequest) -> MachineSeen:
        """Make the machine, tagged with owner, run, attempt and token, its own death fixed at ``power_off_at``.

        A second call with the same token returns the same machine, or raises, and never makes a second one. Returns as
        soon as the provider has taken the order. Raises NoCapacity, QuotaExceeded, BadCredentials, ProviderUnavailable.
        """
        ...

    def machines(self, owner: str) -> list[MachineSeen]:
        """All machines with the owner's tag that the provider still knows, dead ones included."""
        ...

    def delete(self, machine_id: str) -> None:
        """End the machine and its disks. Silent when it is gone already; the machine may be listed for a while."""
        ...

    def reaches(self, store_url: str) -> bool:
        """Whether its machines can open such a store at all: a folder of this computer is none elsewhere. Asks
        nobody."""
        ...

    def lends(self, store_url: str) -> bool:
        """Whether its machines open this store by a right of their own (an instance role): then they are given no
        credential. Asks nobody."""
        ...

    def refuses(self, offers: "Sequence[Offer]") -> str:
        """Why the account can have none of these offers, however many are free (a quota of nothing), as a sentence
        with what to do; empty when it can have one, or when that is not known. Takes seconds at most. Raises nothing
        for want of an answer."""
        ...

    def console(self, machine_id: str) -> str:
        """The end of what the machine printed while it booted; empty when nothing is known. Raises nothing."""
        ...


# ---------------------------------------------------------------------------------------------------- schedulers


class Scheduler(Protocol):
    """Queues work on a cluster (Slurm): the same run, on machines that somebody else turns on."""

    name: str

    def render(self, request: MachineRequest) -> str:
        """The batch script of a run, deterministic."""
        ...

    def submit(self, script: str, name: str) -> str:
        """Queue the script under a name that ``find`` finds again; returns the queue's own id."""
        ...

    def poll(self, ids: Sequence[str]) -> dict[str, str]:
        """The state of every id in one call; an id the queue no longer knows is absent."""
        ...

    def cancel(self, queue_id: str) -> None:
        """Take it out of the queue or end it. Silent when it is gone."""
        ...

    def find(self, name: str) -> str | None:
        """The id of the queued script with this name, so that a lost reply never queues twice."""
        ...


# ---------------------------------------------------------------------------------------------------- stores

# The contract of a store has a file of its own (``model.store``): it is on the way of every command.


# ---------------------------------------------------------------------------------------------------- packages


class Package(Protocol):
    """An EM software package: reads its jobs, says what they need and how they ended."""

    name: str
    title: str  # what people call it: RELION
    site: str  # its address, for who reads a record of what it did
    environment: dict[str, str]  # what the program needs in its environment on a machine
    abort_file: str  # touched in the job folder to ask the program to end; empty when it has no such thing
    logs: tuple[str, str]  # where stdout and stderr of the script go, in the job folder

    def read_job(self, target: Path, cwd: Path) -> Job:
        """The job behind a submission script or a job folder. Raises BadInput with one sentence."""
        ...

    def inputs(self, job: Job) -> list[Input]:
        """The exact closure of the files that the job reads. Raises BadInput naming what is missing or escapes."""
        ...

    def fit(self, job: Job, cores: int) -> tuple[Job, str]:
        """The job for a machine with so many cores: as the user typed it when it fits, with an empty sentence; else
        with fewer threads and processes, and one sentence that says so and why. Its results stay the same but for the
        order in which numbers are added."""
        ...

    def examine(self, job: Job) -> Examined:
        """The pre-flight: ``inputs``, what is wrong with these files, and what the job will take, by reading lists and
        the headers of images only, each once. An error in a finding is one that fails the job for certain. Writes
        nothing. 100,000 particles in 10,000 stacks take less than a second on a local disk. Raises as ``inputs``."""
        ...

    def resume(self, job: Job, made: frozenset[str]) -> Resume | None:
        """How the job goes on on another machine after its own died; None when it has to begin anew.

        ``made`` are paths, relative to the project, of files that its earlier attempts wrote and that are whole, at
        home or as stubs; no other file of the job's folder may be counted on. Raises NeedHere.
        """
        ...

    def held(self, name: str) -> bool:
        """Whether this file of the job folder is a marker: it comes home last, or is written by ``mark``."""
        ...

    def cut(self, job: Job) -> Cut:
        """What the job can be split by, from its own lists here; quick. Raises BadInput when a list can't be read."""
        ...

    def part(self, job: Job, part: int, parts: int) -> Job:
        """A part of the job, from 1 on, which works on its ``block`` of the units alone; part 0 is the join.

        The join runs in the job folder when everything that the parts made is there, and leaves what the whole job
        would have left. A unit without outputs is worked on by the join itself, so that it ends as on one machine.
        ``inputs`` of either gives the exact closure. Reads nothing.
        """
        ...

    def joined(self, name: str) -> bool:
        """Whether this file of the job folder is about all units, so that only the join can write it: that of a part
        stays in the store."""
        ...

    def unmade(self, job: Job) -> list[str]:
        """The units of a job, or of its part, that have no outputs at home, in their order."""
        ...

    def progress(self, job: Job, log: str, since: float) -> Progress | None:
        """How far the program is, from the end of its log and the outputs at home; None when they do not say. Files
        from before ``since`` are not of this run. Never fewer of a unit than were told before in this run, unless
        the program itself begins anew."""
        ...

    def verdict(self, job: Job, exit_: Exit, markers: Iterable[str]) -> Verdict:
        """How the job ended, from the exit record and the held files that the machine left."""
        ...

    def mark(self, project: Path, folder: str, verdict: Verdict) -> None:
        """Write the marker into the job folder at home and tell the program's window. Safe to repeat."""
        ...

    def unmark(self, project: Path, folder: str) -> None:
        """Take old markers out of the job folder before a run starts, as the program's own queue would."""
        ...

    def course(self, job: Job, since: float) -> "Course":
        """How the job goes, from its files at home; those written before ``since`` (s since the epoch) are of an
        earlier run, unless the job goes on with them. An odd or missing file makes less to show, never an error."""
        ...

    def panels(self, job: Job, since: float) -> "Sequence[Panel]":
        """What can be drawn of the job now, from its files at home, ``since`` as above: a Montage, Slices, FscPanel,
        Drift, CtfFit or Picks each (``cryoburst.model.course``). Raises NotYet with one sentence when there is nothing
        so far, and NotThere when there never is."""
        ...

    def job_of(self, path: str) -> str:
        """The folder, with its slash, of the job that a path of the project belongs to; empty when it is of none."""
        ...

    def past(self, project: Path, folder: str) -> "Past":
        """What the project tells of one of its jobs, whoever ran it; little or nothing when it tells nothing."""
        ...

    def abort_wanted(self, project: Path, folder: str) -> bool:
        """Whether the user asked for the end of this job in the program's own window."""
        ...


Clock = Callable[[], float]  # s since the epoch
