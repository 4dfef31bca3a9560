"""The engine as it is, around a clock, lines, a store and machines that are simulated.

Submission, pre-flight, placement, the states, splitting, stage in, stage out and the ledger are cryoburst's own:
nothing here decides anything for them. What takes time outside them is an event: bytes on a line, a machine that boots,
fetches, works and sends. Nobody waits: the clock jumps to the next event when every thread has nothing to do before it.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from _bucket import BEGIN, FOR_EVER, SCALE, Clock, SimulatedStore

from cryoburst.database.ledger import Ledger
from cryoburst.engine import reconcile
from cryoburst.engine.leave import left
from cryoburst.engine.reconcile import Reconciler
from cryoburst.engine.stage_out import bring_stubs
from cryoburst.engine.world import World
from cryoburst.model import documents
from cryoburst.model.documents import Exit, Manifest, Output, Spec, Started
from cryoburst.model.job import Wishes
from cryoburst.model.patience import METERED, Limits, Terms
from cryoburst.model.plugins import Finding, MachineRequest, MachineSeen, Need, Offer, Package
from cryoburst.model.run import Run
from cryoburst.model.split import block
from cryoburst.model.states import RunState
from cryoburst.services.settings import Settings
from cryoburst.services.submit import submit


@dataclass(frozen=True)
class Made:
    """A file that a job makes; bytes of the real data."""

    path: str
    size: float
    comes: bool = True  # whether home ever fetches it


@dataclass(frozen=True)
class Work:
    """What a machine does for a run, or for a part of it; s."""

    fetch: float  # its inputs, from the store
    program: float
    send: float  # what of its outputs is not sent yet when the program ends
    makes: Sequence[Made]
    first: float = 0.0  # of the program: in which it reads each of its inputs for the first time, one after the other


def units_of(run: Run, units: int) -> range:
    """Which of so many units a run works on: a part on its own."""
    return block(units, run.part, run.parts) if run.part else range(units)


def is_join(run: Run) -> bool:
    """Whether a run joins what its parts made."""
    return run.parts > 1 and not run.part


class Laws(Protocol):
    """How long things take: what the simulated machines obey, and what the planner is told."""

    def work(self, run: Run, spec: Spec, offer: Offer) -> Work:
        """Of a run, a part, or a join."""
        ...

    def hours(self, run: Run, offer: Offer) -> float:
        """Of the program alone; 0 is unknown."""
        ...


@dataclass
class Rented:
    """A machine, and when it did what; s on the clock, and bytes of the real data."""

    job: str
    part: int
    offer: Offer
    ordered: float
    started: float
    begun: float  # the program is at work, and from now on waits for nothing
    fetched: float  # all inputs are there
    ended: float  # the program
    sent: float
    off: float
    read: float  # bytes from the store
    made: float  # and to it


class SimulatedProvider:
    """Rents machines that are only entries; each does its work as the laws say, and powers itself off."""

    here = False

    def __init__(self, name: str, offers: Sequence[Offer], simulation: "Simulation", boot: float) -> None:
        self.name, self._offers, self._simulation, self._boot = name, offers, simulation, boot
        self._known: dict[str, MachineSeen] = {}
        self.rented: list[Rented] = []

    def check(self) -> list[Finding]:
        """Nothing."""
        return []

    def offers(self, need: Need) -> list[Offer]:
        """Those that are large enough."""
        wanted = need.resources
        large = [
            o
            for o in self._offers
            if o.cores >= wanted.cores and o.gpus >= wanted.gpus and o.disk_bytes >= need.disk_bytes
        ]
        return sorted(large, key=lambda o: o.usd_per_hour or 0.0)

    def create(self, request: MachineRequest) -> MachineSeen:
        """The machine; all that it will do is written down now, to be seen when it has happened."""
        if request.token not in self._known:
            now = self._simulation.clock.now
            self._known[request.token] = MachineSeen(
                request.token, request.token, request.owner, request.run, request.attempt, alive=True, created=now
            )
            self.rented.append(self._simulation.carry_out(request, now + self._boot))
        return self._known[request.token]

    def machines(self, owner: str) -> list[MachineSeen]:
        """All that were not deleted."""
        return list(self._known.values())

    def delete(self, machine_id: str) -> None:
        """Forget it."""
        self._known.pop(machine_id, None)

    def reaches(self, store_url: str) -> bool:
        """They do."""
        return True

    def lends(self, store_url: str) -> bool:
        """Its machines may open the bucket."""
        return True

    def refuses(self, offers: Sequence[Offer]) -> str:
        """Nothing."""
        return ""

    def console(self, machine_id: str) -> str:
        """Nothing."""
        return ""


@dataclass
class Simulation:
    """One user's computer, bucket and cloud. A file below ``folder`` is real, and so is the ledger."""

    folder: Path
    package: Package
    offers: Sequence[Offer]
    laws: Laws
    up: float  # bytes/s from home to the store
    down: float
    boot: float = 120.0  # s from a machine's order to its agent's start
    told: float = METERED.look_most  # s until home sees what a machine told
    off: float = 10.0  # s from a machine's last word to its end
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.project = self.folder / "project"
        self.project.mkdir(parents=True)
        url = (self.folder / "store").as_uri()
        self.store = SimulatedStore(url, self.clock, self.up, self.down)
        self.provider = SimulatedProvider("cloud", self.offers, self, self.boot)
        self.settings = Settings(
            state=self.folder, database=f"sqlite:///{self.folder}/ledger.db", store=url, owner="me", provider="cloud"
        )
        archive = (b"agent", f"sha256:{hashlib.sha256(b'agent').hexdigest()}")
        self.world = World(
            ledger=Ledger(self.settings.database),
            owner="me",
            clock=self.clock,
            providers={"cloud": self.provider},
            packages={self.package.name: self.package},
            open_store=lambda _url: self.store,
            archive=lambda _url: archive,
            limits=Limits(boot=FOR_EVER, lost=FOR_EVER),  # a machine that works is silent here
            terms=Terms(walltime=100 * 3600.0),
            hours=self.laws.hours,
        )
        self._reconciler = Reconciler(self.world)
        self._later: list[threading.Thread] = []

    @property
    def hours(self) -> float:
        """Since the beginning."""
        return (self.clock.now - BEGIN) / 3600

    @contextmanager
    def running(self) -> Iterator["Simulation"]:
        """Let go of everything at the end."""
        patience, reconcile.LOOK = reconcile.LOOK, 60.0  # so that a busy computer does not change what happens
        try:
            with closing(self._reconciler), closing(self.world.ledger.connection):
                yield self
        finally:
            reconcile.LOOK = patience

    def submit(self, job: str, wishes: Wishes) -> Run:
        """A new run of a job folder."""
        return submit(self.world, self.settings, Path(job), self.project, wishes).run

    def settle(self) -> None:
        """Do all that can be done now."""
        began: dict[str, object] = {}
        while True:
            self._reconciler.tick()
            at_work = self._reconciler._busy
            while sum(not future.done() for future in at_work.values()) + self._fetching > self.clock.asleep:
                time.sleep(0.0002)
            if at_work == began:  # the last tick began nothing
                return
            began = dict(at_work)

    def finished(self, run: Run) -> bool:
        """Whether a run has ended well. Raises RuntimeError when it ended otherwise."""
        now = self.world.ledger.run_by_uid(run.uid) or run
        if now.state.final and now.state is not RunState.SUCCEEDED:
            raise RuntimeError(f"{now.job} {now.state}: {now.reason} {now.detail}")
        return now.state is RunState.SUCCEEDED

    @property
    def _fetching(self) -> int:
        self._later = [thread for thread in self._later if thread.is_alive()]
        return len(self._later)

    def fetch_later(self, run: Run, wanted: Callable[[Output], bool]) -> None:
        """``cryoburst fetch`` of what the run left in the store, while other runs go on."""

        def fetch() -> None:
            for each in (*self.world.ledger.parts_of(run), run):
                bring_stubs(self.world, each, wanted)
            self.clock.sleep_until(self.store.later.free)

        self._later.append(threading.Thread(target=fetch))
        self._later[-1].start()

    def finish(self) -> None:
        """Wait for what is still fetched."""
        self.settle()
        while self._fetching and self.clock.jump():
            self.settle()

    # ------------------------------------------------------------------------------------------- the machine

    def carry_out(self, request: MachineRequest, started: float) -> Rented:
        """Write down what the machine of a request will do and say, from its agent's start on."""
        prefix = request.boot.prefix
        spec = documents.load(Spec, self.store.get(f"{prefix}spec.json") or b"", prefix)
        run = self.world.ledger.run_by_uid(request.run)
        assert run is not None
        work = self.laws.work(run, spec, request.offer)
        fetched = started + work.fetch
        begun = started + _waits(spec, work)
        ended = begun + work.program
        exited = ended + work.send
        self._tell(f"{prefix}started.json", Started(started, "machine", request.token), started)
        outputs = [self._output(prefix, run, made, exited) for made in work.makes]
        self._tell(f"{prefix}manifest.json", Manifest(outputs, []), exited)
        logs = dict.fromkeys(spec.logs, 0)
        self._tell(f"{prefix}exit.json", Exit(exited, "finished", 0, "", work.program, logs, begun), exited)
        return Rented(
            job=run.job,
            part=run.part,
            offer=request.offer,
            ordered=self.clock.now,
            started=started,
            begun=begun,
            fetched=fetched,
            ended=ended,
            sent=exited,
            off=exited + self.off,
            read=SCALE * sum(i.size for i in spec.inputs if i.key),
            made=sum(made.size for made in work.makes),
        )

    def _tell(self, key: str, document: object, when: float) -> None:
        data = documents.dump(document)
        self.store.place(key, data, len(data), when + self.told)

    def _output(self, prefix: str, run: Run, made: Made, when: float) -> Output:
        name = made.path.encode()
        size = max(len(name), round(made.size / SCALE))  # so that no two have the same content
        content = (name * (size // len(name) + 1))[:size] if made.comes else None
        digest = hashlib.sha256(content or name).hexdigest()
        key = f"{prefix}outputs/{digest[:2]}/{digest}"
        output = Output(made.path, size, f"sha256:{digest}", key, 0, int(when * 1e9))
        self.store.place(key, content, size, when, late=left(run, output), name=made.path)
        return output


def _waits(spec: Spec, work: Work) -> float:
    """How long a program does nothing but wait for its inputs, s.

    Where they are large they come while it runs (``cryoburst.agent.inputs``): it waits for the first file, and then for
    as long as they take longer than its first pass over them.
    """
    sizes = [each.size for each in spec.inputs if each.key]
    if not spec.late or SCALE * sum(sizes) < spec.late:
        return work.fetch
    first = work.fetch * max(sizes) / sum(sizes)
    return first + max(0.0, work.fetch - first - work.first)
