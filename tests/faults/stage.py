"""A world in one process whose clock, provider and store do what a test says; the ledger and the folder store are real.

The test plays the machine: it writes what an agent would write, when it says so. Nothing here waits.
"""

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryoburst.database.ledger import Ledger
from cryoburst.engine.reconcile import Reconciler
from cryoburst.engine.step import Limits
from cryoburst.engine.world import Terms, World
from cryoburst.model import documents
from cryoburst.model.documents import Batch, Exit, Heartbeat, Manifest, Output, Spec, Started
from cryoburst.model.errors import ProviderUnavailable, StoreUnavailable
from cryoburst.model.job import Wishes
from cryoburst.model.plugins import Finding, MachineRequest, MachineSeen, Need, Offer
from cryoburst.model.run import Run
from cryoburst.model.states import MachineState, RunState
from cryoburst.services.recover import Recovered, recover
from cryoburst.services.settings import Settings
from cryoburst.services.submit import submit
from cryoburst.stores.folder import FolderStore

from .script_package import Script

JOB = "Script/job001/"
OFFER = Offer("fake", "small", 2, 4 << 30, 0, 1.0)
LIMITS = Limits(retry_delays=(30.0, 300.0, 1200.0), boot=600.0, lost=60.0, abort=120.0, settle=30.0)


class FakeProvider:
    """Rents machines that are only entries. Counts the calls, and fails as it is told."""

    name = "fake"
    here = True

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.calls: Counter[str] = Counter()  # create, by token
        self.known: dict[str, MachineSeen] = {}
        self.refusals: list[Exception] = []  # one for each of the next calls of create
        self.offered = [OFFER]
        self.asked: list[str] = []  # Offer.where of each call of create
        self.disks: dict[str, tuple[int, int]] = {}  # by token: bytes that were ordered, and that were priced
        self.caps: list[float | None] = []  # USD/h, of each order
        self.none_of: dict[str, Exception] = {}  # Offer.where -> what create raises for it
        self.printed = ""  # on the console of every machine
        self.lost_replies = 0  # so many of the next calls do it and lose the answer
        self.unlisted = False  # a listing that lags behind shows nothing
        self.blind = False  # the listing can't be read
        self.stubborn = False  # nothing is deleted
        self.on_create: Callable[[], None] = lambda: None
        self.deletes = 0

    def check(self) -> list[Finding]:
        return []

    def offers(self, need: Need) -> list[Offer]:
        return [replace(offer, rented_disk_bytes=offer.rented_disk_bytes or need.disk_bytes) for offer in self.offered]

    def create(self, request: MachineRequest) -> MachineSeen:
        with self._lock:
            self.calls[request.token] += 1
            self.asked.append(request.offer.where)
            self.disks[request.token] = (request.disk_bytes, request.offer.rented_disk_bytes)
            self.caps.append(request.max_price)
            if self.refusals:
                raise self.refusals.pop(0)
            if request.offer.where in self.none_of:
                raise self.none_of[request.offer.where]
            made = MachineSeen(
                f"id-{request.token}",
                request.token,
                request.owner,
                request.run,
                request.attempt,
                alive=True,
                created=self._clock(),
            )
            made = self.known.setdefault(request.token, made)
            self.on_create()
            if self.lost_replies:
                self.lost_replies -= 1
                raise ProviderUnavailable("the connection was cut")
            return made

    def machines(self, owner: str) -> list[MachineSeen]:
        if self.blind:
            raise ProviderUnavailable("no answer")
        with self._lock:
            return [] if self.unlisted else [m for m in self.known.values() if m.owner == owner]

    def delete(self, machine_id: str) -> None:
        self.deletes += 1
        if self.stubborn:
            raise ProviderUnavailable("it does not end")
        with self._lock:
            self.known = {token: m for token, m in self.known.items() if m.id != machine_id}

    def reaches(self, store_url: str) -> bool:
        return True

    def lends(self, store_url: str) -> bool:
        return False

    def refuses(self, offers: Sequence[Offer]) -> str:
        return ""

    def console(self, machine_id: str) -> str:
        return self.printed

    def take_back(self) -> None:
        """The provider needs its spot machines itself."""
        self.known = {token: replace(m, alive=False, interrupted=True) for token, m in self.known.items()}

    def die(self) -> None:
        """All machines lose their power."""
        self.known = {token: replace(m, alive=False) for token, m in self.known.items()}


class Gate:
    """A store that home can't reach while ``shut``, that waits at ``held`` before it gives a file, or ``hung``."""

    def __init__(self, inner: FolderStore) -> None:
        self._inner = inner
        self.shut = False
        self.held: threading.Event | None = None
        self.hung: threading.Event | None = None  # every call waits for it

    def __getattr__(self, name: str) -> Any:
        found: Any = getattr(self._inner, name)
        if not callable(found):
            return found

        def call(*given: Any) -> Any:
            if self.shut:
                raise StoreUnavailable("no way to the store")
            if self.hung is not None:
                assert self.hung.wait(30)
            if name == "read" and self.held is not None:
                assert self.held.wait(30)
            return found(*given)

        return call


@dataclass
class Stage:
    """The world of one test."""

    root: Path
    url: str
    now: float = 1_700_000_000.0

    def __post_init__(self) -> None:
        self.project = self.root / "project"
        self.folder = self.project / JOB
        self.folder.mkdir(parents=True)
        (self.project / "script.project").touch()
        (self.project / "in.txt").write_text("input\n")
        (self.folder / "job.sh").write_text("# input in.txt\ncp in.txt Script/job001/out.txt\n")
        self.settings = Settings(
            state=self.root, database=self.url, store=(self.root / "store").as_uri(), owner="me", provider="fake"
        )
        self.inside = FolderStore(self.settings.store)
        self.inside.create()
        self.gate = Gate(self.inside)
        self.provider = FakeProvider(lambda: self.now)
        self.limits, self.terms = LIMITS, Terms()
        self.world = self.new_world()
        self.reconciler = self.new_reconciler(self.world)

    def new_world(self) -> World:
        """Another process's view of the same things."""
        store: Any = self.gate
        archive = (b"agent", f"sha256:{hashlib.sha256(b'agent').hexdigest()}")
        return World(
            ledger=Ledger(self.url),
            owner="me",
            clock=lambda: self.now,
            providers={"fake": self.provider},
            packages={"script": Script()},
            open_store=lambda _url: store,
            archive=lambda _url: archive,
            limits=self.limits,
            terms=self.terms,
        )

    def new_reconciler(self, world: World) -> Reconciler:
        """Another process's tick."""
        return Reconciler(world, lambda: recover(world, [self.settings.store]).complete)

    def recover(self) -> Recovered:
        """As ``cryoburst recover`` does."""
        return recover(self.world, [self.settings.store])

    def submit(self, job: str = JOB, wishes: Wishes = Wishes()) -> Run:  # noqa: B008 - it is frozen
        """A new run."""
        return submit(self.world, self.settings, Path(job), self.project, wishes).run

    @property
    def run(self) -> Run:
        """The newest run."""
        return self.world.ledger.runs()[0]

    @property
    def states(self) -> list[str]:
        """What the run's machines are."""
        return [str(m.state) for m in self.world.ledger.machines_of(self.run.uid)]

    def tick(self, later: float = 0.0, times: int = 3) -> Run:
        """Some ticks, the first of them so many seconds later; the run after them."""
        self.now += later
        for _ in range(times):
            self.reconciler.tick(finish=True)
        return self.run

    def to(self, state: RunState) -> Run:
        """A run that has come to this state, undisturbed."""
        self.submit()
        if state is not RunState.DRAFT:
            self.tick()
        if state in (RunState.RUNNING, RunState.STAGING_OUT):
            self.agent_starts()
            self.tick()
        if state is RunState.STAGING_OUT:
            self.agent_ends()
        return self.run

    # ------------------------------------------------------------------------------------------ the machine

    def write(self, name: str, document: object) -> None:
        """A document of the run's attempt, as its agent writes it."""
        self.inside.put(self.run.prefix + name, documents.dump(document))

    @property
    def spec(self) -> Spec:
        """The spec of the run's attempt."""
        data = self.inside.get(self.run.prefix + "spec.json")
        assert data is not None
        return documents.load(Spec, data, "spec.json")

    def agent_starts(self) -> None:
        """The agent has its spec and has begun the command."""
        self.write("started.json", Started(self.now, "host", f"{self.run.uid}-{self.run.attempt}"))
        self.beat()

    def beat(self, log: int = 0, batches: int = 0) -> None:
        """A heartbeat."""
        self.write("heartbeat.json", Heartbeat(self.now, "command", {"out.log": log}, batches, self.now))

    def output(self, name: str, data: bytes, batch: int = 0) -> Output:
        """An output in the store; with a number also in that batch of the journal."""
        path = JOB + name
        digest = hashlib.sha256(data).hexdigest()
        key = f"{self.run.prefix}outputs/{digest[:2]}/{digest}"
        self.inside.put(key, data)
        output = Output(path, len(data), f"sha256:{digest}", key, 0, 1_600_000_000_000_000_000)
        if batch:
            self.write(f"journal/{batch:06d}.json", Batch([output]))
        return output

    def agent_ends(self, ended: str = "finished", code: int | None = 0) -> None:
        """Outputs, manifest, exit record."""
        self.write("manifest.json", Manifest([self.output("out.txt", b"input\n")], []))
        self.write("exit.json", Exit(self.now, ended, code, f"it ended: {ended}", 1.0, {"out.log": 0}))

    def assert_over(self, machines: int) -> None:
        """Nothing is left: so many machines were made, and all are gone."""
        assert self.reconciler.tick(finish=True) == 0
        assert not self.provider.known
        assert self.states == [MachineState.GONE] * machines
        assert len(self.provider.calls) == machines
