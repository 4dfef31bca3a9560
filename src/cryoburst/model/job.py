"""What a package reads out of a job folder: the job, its inputs and how it ended."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Resources:
    """What the command needs of a machine; 0 means no wish."""

    processes: int = 1  # MPI ranks
    threads: int = 1  # per process
    memory_bytes: int = 0
    gpus: int = 0
    gpu_memory_bytes: int = 0  # of each GPU
    more_gpus: bool = False  # it uses all that there are, when there are more

    @property
    def cores(self) -> int:
        """Processes times threads."""
        return self.processes * self.threads

    @property
    def most_gpus(self) -> int:
        """How many GPUs it can use: one for each thread, when it takes all that there are."""
        return max(self.gpus, self.cores) if self.more_gpus else self.gpus


@dataclass(frozen=True)
class Wishes:
    """What the user asked for with flags, or in the extra fields of RELION's window; empty means no wish."""

    provider: str = ""  # --to
    machine: str = ""  # --machine: the name of an offer
    max_price: float | None = None  # --max-price, USD/h
    parts: int | None = None  # --parts; AUTO leaves their number to us
    store: str = ""  # --store: the name or address of a store
    leave: tuple[str, ...] = ()  # --leave: patterns of outputs that stay in the store
    spot: bool | None = None  # --spot or --on-demand
    region: str = ""  # --region
    within_hours: float | None = None  # --within: the cheapest machine that ends the job in so many hours
    budget: float | None = None  # --budget, USD: of the whole run; the fastest machine that stays below

    def over(self, other: "Wishes") -> "Wishes":
        """These wishes where they are set, else the other's (flags win over the script's header)."""
        return Wishes(
            provider=self.provider or other.provider,
            machine=self.machine or other.machine,
            max_price=other.max_price if self.max_price is None else self.max_price,
            parts=other.parts if self.parts is None else self.parts,
            store=self.store or other.store,
            leave=self.leave or other.leave,
            spot=other.spot if self.spot is None else self.spot,
            region=self.region or other.region,
            within_hours=other.within_hours if self.within_hours is None else self.within_hours,
            budget=other.budget if self.budget is None else self.budget,
        )


@dataclass(frozen=True)
class Job:
    """One job of a project, as its package understands it.

    ``folder`` is relative to ``project`` and ends with a slash (``Class2D/job012/``); ``script`` is the exact text
    that a shell (``bash``) will run on the machine with the project root as its working directory.
    """

    package: str
    kind: str  # the package's own label, e.g. relion.class2d
    project: Path
    folder: str
    script: str
    commands: tuple[tuple[str, ...], ...] = ()  # the program lines of the script, split into words
    resources: Resources = field(default_factory=Resources)
    software: dict[str, str] = field(default_factory=dict[str, str])  # needed on the machine: {"relion": "3"}, a series
    environment: dict[str, str] = field(default_factory=dict[str, str])  # its own, besides that of its package
    version: str = ""  # of the program that made the project, as far as the project says: "3.1"
    wishes: Wishes = field(default_factory=Wishes)
    patient: bool = False  # whether its programs, all of them, open files so that they can be made to wait for one
    restart: str = ""  # the file that --continue starts from; empty for a fresh job
    made: frozenset[str] | None = None  # of its own folder, what it goes on from; None: whatever is there
    part: int = 0  # of a split job: which part, from 1 on; 0 is the join of what the parts made
    parts: int = 1  # 1: the job is not split

    @property
    def is_join(self) -> bool:
        """Whether it makes of what the parts made what the whole job would have left."""
        return self.parts > 1 and not self.part


@dataclass(frozen=True)
class Input:
    """One file that the job reads.

    ``path`` is where the program expects it, relative to the project; ``source`` is the file on this disk (they differ
    when a symbolic link leads outside). A ``listed`` file must exist on the machine but its content is never read
    (Import only lists movies): no byte of it is sent. A ``stub`` is not on this disk: its content, of this checksum, is
    in the project's store. A ``remote`` one is an object at this address in a bucket; its size is not known from here.
    ``content`` is what the machine gets in place of the file on this disk: a part's own rows of a list.
    """

    path: str
    source: Path
    size: int
    mtime_ns: int
    inode: int
    listed: bool = False
    stub: str = ""
    remote: str = ""
    content: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Resume:
    """How a job goes on from what its earlier attempts made."""

    job: Job  # with the script that goes on; its inputs are those of that script
    done: int  # in the program's own units; more is further
    sentence: str  # where it goes on, for people: "after iteration 7"
    settled: frozenset[str] = frozenset()  # outputs that stay as they are, though the program will write them again
    void: frozenset[str] = frozenset()  # outputs of a step that is done again: should it not make them, they go


@dataclass(frozen=True)
class Progress:
    """How far a program is, in its own units (iterations, micrographs); ``total`` 0 means unknown."""

    done: int
    total: int
    unit: str


@dataclass(frozen=True)
class Verdict:
    """How a job ended in its package's view. ``outcome`` is one of ``succeeded``, ``failed``, ``aborted``."""

    outcome: str
    sentence: str = ""
