"""The rows of the ledger as frozen values: a run, its machines and its events. Times are seconds since the epoch."""

from dataclasses import dataclass

from cryoburst.model.project import project_id
from cryoburst.model.states import MachineState, RunState
from cryoburst.model.store import UNFINISHED


@dataclass(frozen=True)
class Run:
    """One request to carry a job out. ``attempt`` counts tries; each has its own prefix in the store.

    A part of a split run is a run as well, with its own attempts, machines and prefixes. Its uid is that of the whole
    run, a dot and the number of the part, so that whoever sees it (a machine's tag, a key in a store) knows the part;
    its own number is negative, for nobody types it.
    """

    number: int
    uid: str
    owner: str
    project: str  # absolute path at home
    job: str  # folder in the project, with its slash
    target: str  # what was submitted: a script or the job folder, relative to the project
    kind: str
    package: str
    script: str
    store: str  # URL
    provider: str
    machine: str  # wish: the name of an offer
    max_price: float | None
    parts: int
    submitted: float
    state: RunState = RunState.DRAFT
    reason: str = ""  # a code of model.reasons
    detail: str = ""  # one sentence with the particulars
    attempt: int = 1
    failures: int = 0  # in a row, of the kind that is tried again
    retry_at: float = 0.0
    stop_wanted: str = ""  # why the user wants its end; empty when nobody does
    stop_since: float = 0.0
    lost_since: float = 0.0  # no word from a machine that the provider says is alive
    staged: float | None = None
    started: float | None = None  # the agent
    command_started: float | None = None
    command_seconds: float | None = None
    ended: float | None = None
    observed: float | None = None  # when the machine was last heard of
    bytes_in: int = 0  # all inputs
    late_bytes: int = 0  # of them, what was not on the machine yet when its command began
    bytes_to_send: int = 0  # of them, what was not in the store yet
    bytes_sent: int = 0  # of those, what is there now
    bytes_out: int = 0
    files_in: int = 0
    files_out: int = 0
    done: int = 0
    total: int = 0
    unit: str = ""
    batches_home: int = 0  # of this attempt
    folder: str = ""  # of the project in the store; empty: the one that belongs to its path
    leave: str = ""  # patterns, one a line, of outputs that stay in the store until they are fetched
    bytes_left: int = 0  # of the outputs that stayed there
    files_left: int = 0
    processes: int = 1  # MPI ranks and threads as they are run: what the user typed, or adapted to the machine
    threads: int = 1
    gpus: int = 0  # that the command uses, where there are so many; 0: none, or not known
    fitted_to: int = 0  # cores of the machine for which they were adapted; 0: they are as typed
    memory_bytes: int = 0  # that the command is predicted to need; 0: unknown
    gpu_memory_bytes: int = 0  # the same, of each GPU
    disk_bytes: int = 0  # for inputs and outputs together; 0: unknown
    peak_memory_bytes: int = 0  # that it had at most; 0: unknown
    spot: bool = False  # wish: machines that are cheaper and may be taken away
    region: str = ""  # wish
    within_hours: float | None = None  # wish: the cheapest machine that ends it in so many hours
    budget_usd: float | None = None  # wish: what the whole run may cost, its parts included
    forecast_hours: float = 0.0  # of one machine, as it was foretold at the submission; 0: unknown
    forecast_usd: float | None = None
    forecast_data_usd: float = 0.0  # what of it is known of storage, requests and egress
    units: float = 0.0  # of work, in its kind's own unit (model/plugins.py, Work); 0: unknown
    interruptions: int = 0  # by the provider, of spot machines; after two it goes on-demand
    placed: str = ""  # the offer that its newest machine is
    bytes_home: int = 0  # that came home, of all attempts and versions of outputs: never becomes less
    tried: str = ""  # JSON: the offers that refused this attempt, and why (engine/placement.py)

    @property
    def whole(self) -> str:
        """The uid of the run that this is a part of; its own for one that is no part."""
        return self.uid.partition(".")[0]

    @property
    def part(self) -> int:
        """Which part of a split run this is, from 1 on; 0 for one that is no part."""
        return int(self.uid.partition(".")[2] or 0)

    @property
    def since(self) -> float:
        """Files of its folder from before this are not of this run (s since the epoch). The machine's clock may be
        behind ours, and its files have its time."""
        return min(self.submitted, self.command_started or self.submitted) - 1.0

    @property
    def title(self) -> str:
        """What people call it, where its job is named beside."""
        return f"part {self.part} of {self.parts}" if self.part else f"run {self.number}"

    def log_name(self, name: str) -> str:
        """Where a log of the program is at home, in the job folder: that of a part stays hidden until the parts are
        told in their order."""
        return f"{UNFINISHED}part{self.part}.{name}" if self.part else name

    @property
    def prefix(self) -> str:
        """Where this attempt lives in the store."""
        return f"{self.home_prefix}{self.attempt}/"

    @property
    def home_prefix(self) -> str:
        """Where all attempts of this run live in the store."""
        return f"{self.store_folder}/{self.job.rstrip('/').replace('/', '.')}/{self.uid}/"

    @property
    def store_folder(self) -> str:
        """The project's folder in the store, without a slash at its end."""
        return self.folder or project_id(self.project)


@dataclass(frozen=True)
class Machine:
    """One machine that was asked for. It outlives its run until the provider says that it is gone."""

    token: str
    run: str  # uid
    attempt: int
    provider: str
    offer: str
    usd_per_hour: float | None
    state: MachineState
    requested: float
    power_off_at: float
    provider_id: str = ""
    up: float | None = None
    gone: float | None = None
    note: str = ""
    region: str = ""
    place: str = ""
    spot: bool = False
    disk_bytes: int = 0  # rented with it
    interrupted: bool = False  # the provider took it away
    disk_usd_gb_month: float | None = None  # of the disk; None: unknown
    answered: float | None = None  # when its provider said that it is made; None: not yet, or to nobody who noted it


@dataclass(frozen=True)
class Event:
    """One thing that happened to a run."""

    run: str
    time: float
    text: str
