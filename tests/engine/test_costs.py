"""What watching a run costs at S3's prices, counted over a simulated day: the agent's beat and home's looks, both real.

https://aws.amazon.com/s3/pricing/ (us-east-1, Standard, 2026): a PUT or LIST costs 0.005 USD per 1,000, a GET 0.0004.
"""

import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cryoburst.agent.place import Pace
from cryoburst.agent.prefix import Patience, Prefix
from cryoburst.agent.pulse import Log, Pulse
from cryoburst.database.ledger import Ledger
from cryoburst.engine import stage_out
from cryoburst.engine.observe import Listings, Observer, next_look
from cryoburst.engine.perform import machine_token
from cryoburst.engine.step import Effect, after_loss, step
from cryoburst.engine.world import World
from cryoburst.model import documents
from cryoburst.model.documents import Batch, Exit, Output, Spec, Started
from cryoburst.model.errors import StoreUnavailable
from cryoburst.model.patience import METERED, Limits, Rhythm, Terms
from cryoburst.model.plugins import MachineSeen, Polled, Stored
from cryoburst.model.run import Machine, Run
from cryoburst.model.states import MachineState, RunState

PUT, GET = 0.005 / 1000, 0.0004 / 1000  # USD
MOST = 0.05  # USD a day
TICK = 0.5  # s, the watcher's
JOB = "Class3D/job012/"
NAMES = [f"run_it%03d_{name}" for name in ("data.star", "model.star", "optimiser.star", "sampling.star")]
NAMES += [f"run_it%03d_class{number:03d}.mrc" for number in (1, 2, 3, 4)]


class Counted:
    """A store in memory that counts what it is asked, but for the outputs' own blobs."""

    url = "memory://"

    def __init__(self, *, metered: bool = True) -> None:
        self.metered = metered
        self.objects: dict[str, tuple[bytes, str]] = {}
        self.asked: Counter[str] = Counter()
        self.away = False

    def put(self, key: str, data: bytes) -> None:
        self._count("PUT", key)
        self.objects[key] = bytes(data), f'"{len(self.objects)}-{self.asked.total()}"'

    def get(self, key: str) -> bytes | None:
        self._count("GET", key)
        return self.objects[key][0] if key in self.objects else None

    def read(self, key: str, offset: int, size: int) -> list[bytes]:
        self._count("GET", key)
        return [self.objects[key][0][offset : offset + size]]

    def poll(self, key: str, tag: str) -> Polled | None:
        self._count("GET", key)
        data, now = self.objects.get(key, (None, "absent"))
        return None if now == tag else Polled(data, now)

    def list(self, prefix: str) -> Iterator[Stored]:
        self._count("PUT", prefix)  # a LIST costs as much
        return iter([Stored(key, len(data), 0.0) for key, (data, _) in self.objects.items() if key.startswith(prefix)])

    def _count(self, what: str, key: str) -> None:
        if self.away:
            raise StoreUnavailable("away")
        if "/outputs/" not in key:
            self.asked[what] += 1
            self.asked[f"{what} {key.rsplit('/', 1)[-1].split('.')[0].rstrip('0123456789')}"] += 1

    @property
    def usd(self) -> float:
        return self.asked["PUT"] * PUT + self.asked["GET"] * GET


class Program:
    """A package as far as bringing things home needs one."""

    name, environment, abort_file, logs = "program", dict[str, str](), "", ("run.out", "run.err")

    def read_job(self, *_given: object) -> None: ...

    def held(self, name: str) -> bool:
        return False

    def progress(self, *_given: object) -> None: ...


@dataclass
class Sent:
    """What of the agent's ``Outputs`` its pulse reads."""

    batches: int = 0
    bytes: int = 0
    files: int = 0
    full: bool = False


class Day:
    """Home, a store and a machine under one clock; the agent's pulse, home's observer and sync are the real ones."""

    def __init__(self, folder: Path, *, metered: bool = True) -> None:
        self.now = self.began = 1_700_000_000.0
        self.store, self.project, self.root = Counted(metered=metered), folder / "home", folder / "machine"
        for top in (self.project, self.root):
            (top / JOB).mkdir(parents=True)
        store: Any = self.store
        packages: Any = {"program": Program()}
        self.world = World(
            ledger=Ledger(f"sqlite://{folder}/ledger.db"),
            owner="me",
            clock=lambda: self.now,
            providers={},
            packages=packages,
            open_store=lambda _url: store,
            archive=lambda _store: (b"", ""),
        )
        self.run = Run(
            1, "u", "me", str(self.project), JOB, JOB, "kind", "program", "", "memory://", "aws", "", None, 1, self.now
        )
        self.run = replace(self.run, state=RunState.STARTING)
        token = machine_token(self.run)
        self.machine = Machine(token, "u", 1, "aws", "", 1.0, MachineState.BOOTING, self.now, self.now + 1e6)
        self.listed = MachineSeen("i-1", token, "me", "u", 1, alive=True, created=self.now)
        self.observer = Observer(self.world)
        rhythm = self.world.terms.rhythm(metered=metered)
        spec = Spec("u", 1, "me", JOB, "", {}, {}, [], ["run.out"], {"run.out": 0}, "", 0, 0, rhythm.beat_most)
        self.spec = replace(spec, beat_least=rhythm.beat_least)
        self.store.put(self.run.prefix + "spec.json", documents.dump(self.spec))
        self.outputs = Sent()
        self.came: list[float] = []  # s from an output's line in the journal until it was whole at home
        self.due: dict[int, float] = {}
        self.pulse: Pulse | None = None

    def begin(self) -> None:
        """The agent's first word, and its command."""
        prefix: Prefix = Prefix(self.store, self.run.prefix)  # type: ignore[arg-type]
        prefix.write("started.json", Started(self.now, "host", "token"))
        outputs: Any = self.outputs
        self.pulse = Pulse(prefix, outputs, self.spec, Pace(clock=lambda: self.now))
        self.pulse.logs["run.out"] = Log(prefix, "run.out", str(self.root / JOB / "run.out"), 0, 0)
        self.pulse.step, self.pulse.command_started = "command", self.now

    def say(self, text: str) -> None:
        with (self.root / JOB / "run.out").open("a") as log:
            log.write(text)

    def output(self, name: str) -> None:
        """An output is whole: its blob, then its line in the journal."""
        data = name.encode()
        key = f"{self.run.prefix}outputs/{name}"
        self.store.put(key, data)
        checksum = documents_checksum(data)
        whole = Output(JOB + name, len(data), checksum, key, 0, int(self.now * 1e9))
        self.outputs.batches += 1
        self.store.put(f"{self.run.prefix}journal/{self.outputs.batches:06d}.json", documents.dump(Batch([whole])))
        self.due[self.outputs.batches] = self.now

    def turn(self) -> None:
        """Half a second: the agent's turn, then the watcher's tick."""
        self.now += TICK
        if self.pulse is not None:
            self.pulse.turn()
        seen = self.observer.see(self.run, self.listings)
        decision = step(self.run, self.machine, seen, self.world.limits)
        if decision.effect is Effect.SYNC:
            assert seen.heartbeat is not None
            changes: Any = stage_out.sync(self.world, self.run, self.spec, seen.heartbeat)
            self.run = replace(self.run, **changes)
        if decision.effect is Effect.SALVAGE:
            changes = stage_out.salvage(self.world, self.run, self.spec, seen.heartbeat)
            self.run = replace(self.run, **changes)
            decision = after_loss(self.run, seen, self.world.limits, further=False)
        if changes := decision.changes:
            self.run = replace(self.run, **changes)
        if decision.state is not None:
            self.run = replace(self.run, state=decision.state)
        for number in [number for number in self.due if number <= self.run.batches_home]:
            self.came.append(self.now - self.due.pop(number))

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK)):
            self.turn()

    @property
    def listings(self) -> Listings:
        return Listings({"aws": {self.listed.token: self.listed}}, {}, self.now)

    @property
    def home(self) -> bytes:
        return (self.project / JOB / "run.out").read_bytes()

    def iteration(self, number: int, *, talks: bool) -> None:
        """Ten minutes of Class3D: eight outputs within half a minute, and a log that may grow every five seconds."""
        names = [name % number for name in NAMES]
        for second in range(0, 600, 5):
            if talks:
                self.say(".........,")
            if second < 5 * len(names):
                self.output(names[second // 5])
            self.wait(5)


def documents_checksum(data: bytes) -> str:
    from cryoburst.transfer.content import small

    return small(data)


@pytest.mark.slow
def test_watching_a_day_of_class3d_costs_less_than_five_cents(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    day = Day(tmp_path)
    day.wait(300)  # the machine boots
    day.begin()
    for number in range(108):
        day.iteration(number, talks=True)
    busy, before = day.store.usd, day.now
    for number in range(108, 120):
        day.iteration(number, talks=False)
    silent, after = day.store.usd - busy, day.now
    day.wait(86_400 - (day.now - day.began))  # the last hours: it works, and neither says nor makes anything
    quiet = day.store.usd - busy - silent
    median = statistics.median(day.came)
    with capsys.disabled():
        rates = [paid * 86_400 / seconds for paid, seconds in (
            (busy, before - day.began), (silent, after - before), (quiet, day.now - after)
        )]  # fmt: skip
        print(f"\n{dict(day.store.asked.most_common())}")
        print(f"{day.store.usd:.4f} USD a day; an output's line was acted on after {median:.1f} s (median), "
              f"at most {max(day.came):.1f} s")  # fmt: skip
        print(
            "a day of nothing but: a log that grows and outputs {:.4f}, outputs {:.4f}, silence {:.4f} USD".format(
                *rates
            )
        )
    assert day.store.usd <= MOST
    assert max(rates) <= MOST  # nor does a day without any rest
    assert median <= 2
    assert max(day.came) <= 5
    assert len(day.came) == 120 * len(NAMES)
    assert day.home == (day.root / JOB / "run.out").read_bytes()
    assert not day.run.lost_since
    assert day.store.asked["PUT heartbeat"] < 86_400 / 30 + 2 * len(day.came) + 100


def test_a_machine_that_is_silent_for_long_is_flagged_and_one_that_is_well_is_not(tmp_path: Path) -> None:
    day = Day(tmp_path)
    day.begin()
    day.wait(600)
    assert not day.run.lost_since
    day.pulse = None
    day.wait(100)
    assert not day.run.lost_since
    day.wait(100)
    assert day.run.lost_since


def test_an_exit_record_is_found_though_no_heartbeat_tells_of_it(tmp_path: Path) -> None:
    day = Day(tmp_path)
    day.begin()
    day.wait(120)
    asked = day.store.asked["GET exit"]
    assert asked <= 4
    day.store.put(day.run.prefix + "exit.json", documents.dump(Exit(day.now, "killed", None, "", 1.0, {})))
    day.wait(61)
    assert day.run.state is RunState.STAGING_OUT


def test_an_exit_record_is_found_at_once_when_told_or_when_the_machine_is_gone(tmp_path: Path) -> None:
    for told in (True, False):
        day = Day(tmp_path / str(told))
        day.begin()
        assert day.pulse is not None
        day.say("last words")
        day.wait(70)
        day.say("!")
        day.pulse.end(Patience(Pace(clock=lambda: 0.0), 1))
        ended = Exit(day.now, "finished", 0, "", 1.0, day.pulse.log_sizes())
        day.store.put(day.run.prefix + "exit.json", documents.dump(ended))
        if told:
            day.pulse.tell_exit()
        else:
            day.listed = replace(day.listed, alive=False)
        day.pulse = None
        day.wait(4 if told else TICK)
        assert day.run.state is RunState.STAGING_OUT
        stage_out.fetch(day.world, day.run, day.spec, day.observer.exit(day.run))
        assert day.home == b"last words!"


def test_the_log_of_a_machine_that_died_is_home_as_far_as_it_told(tmp_path: Path) -> None:
    day = Day(tmp_path)
    day.begin()
    day.say("all that it said")
    day.wait(1)
    day.wait(2)
    day.listed = replace(day.listed, alive=False)
    day.pulse = None
    day.wait(5)
    assert day.run.state is RunState.WAITING
    assert day.home == b"all that it said"


def test_home_that_was_away_catches_up_with_a_log_from_its_chunks(tmp_path: Path) -> None:
    day = Day(tmp_path)
    day.begin()
    assert day.pulse is not None
    for _ in range(30):
        day.say("x" * 3000)
        for _ in range(6):
            day.now += 5
            day.pulse.turn()
    lists = day.store.asked["PUT "]
    day.wait(40)
    assert len(day.home) == 90_000
    assert day.store.asked["PUT "] == lists  # the names of the chunks are known


@pytest.mark.parametrize(("quiet", "gap"), [(0, 1), (59, 1), (120, 2), (180, 3), (1e6, 3)])
def test_when_the_next_look_is_due(quiet: float, gap: float) -> None:
    assert next_look(quiet, METERED) == gap
    assert next_look(quiet, Rhythm()) == 0


def test_without_a_price_every_tick_looks(tmp_path: Path) -> None:
    day = Day(tmp_path, metered=False)
    day.begin()
    day.wait(10)
    day.output("a.mrc")
    day.wait(1)
    assert day.came == [TICK]
    assert Terms().rhythm(metered=False).look_most == 0


def test_a_store_that_hangs_holds_no_other_up(tmp_path: Path) -> None:
    """Forty runs, half of them in a store that does not answer: the others are seen at once."""
    import threading
    import time

    day, gate = Day(tmp_path), threading.Event()
    hung: Any = Counted()
    hung.poll = lambda *_given: gate.wait(120)
    good: Any = day.store
    world = replace(day.world, open_store=lambda url: hung if url == "hung" else good)
    observer = Observer(world)
    runs = [
        replace(day.run, uid=f"u{number}", store="hung" if number % 2 else "good", state=RunState.RUNNING)
        for number in range(40)
    ]
    for _ in range(2):
        seen: list[str] = []
        end = time.monotonic() + 30  # on a busy computer it may take more than one look
        while len(seen) < 20 and time.monotonic() < end:
            left = [run for run in runs if run.uid not in seen]
            found = list(observer.look(left, day.listings, 0.5))
            assert all(run.store == "good" and of.store_known for run, of in found)
            seen += [run.uid for run, _ in found]
        assert len(seen) == 20
    gate.set()
    observer.close()


def test_limits_are_longer_than_a_healthy_silence() -> None:
    assert 3 * METERED.beat_most > Limits.lost
