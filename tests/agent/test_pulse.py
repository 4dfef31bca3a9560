"""The beat of an agent under a clock that the test moves: when it tells, of what, and what it costs to be told."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryoburst.agent.outputs import Outputs
from cryoburst.agent.place import Pace
from cryoburst.agent.prefix import Patience, Prefix
from cryoburst.agent.pulse import Log, Pulse, next_beat
from cryoburst.model import documents
from cryoburst.model.chunks import CHUNK, LARGE, chunk_name, chunk_size, chunk_starts
from cryoburst.model.documents import Heartbeat, Spec, Stop
from cryoburst.model.errors import StoreUnavailable
from cryoburst.model.patience import METERED, Rhythm

from .stage import JOB, Stage, wait_for

FREE = Rhythm()


@pytest.mark.parametrize(
    ("rhythm", "outputs", "logs", "age", "gap"),
    [
        (METERED, True, True, 9999.0, 1.0),
        (METERED, False, True, 5.0, 2.0),
        (METERED, False, True, 600.0, 10.0),
        (METERED, False, True, 86_400.0, 30.0),
        (METERED, False, False, 5.0, 60.0),
        (FREE, True, False, 9999.0, 0.2),
        (FREE, False, True, 1.0, 0.8),
        (FREE, False, True, 9999.0, 1.0),
        (FREE, False, False, 1.0, 2.0),
    ],
)
def test_when_the_next_beat_is_due(rhythm: Rhythm, outputs: bool, logs: bool, age: float, gap: float) -> None:
    least, most = rhythm.beat_least, rhythm.beat_most
    assert next_beat(100.0, outputs=outputs, logs=logs, age=age, least=least, most=most) == pytest.approx(100.0 + gap)


@given(st.floats(0, 1e7), st.booleans(), st.booleans(), st.floats(0.05, 5), st.floats(0.05, 500))
def test_no_beat_comes_too_soon_or_too_late(age: float, outputs: bool, logs: bool, least: float, more: float) -> None:
    most = 2 * least + more
    due = next_beat(0.0, outputs=outputs, logs=logs, age=age, least=least, most=most)
    assert least <= due <= most


@given(st.lists(st.integers(1, 3 * LARGE), max_size=8), st.integers(0, 3 * LARGE))
def test_every_byte_of_a_log_is_in_the_chunk_that_its_offset_names(grows: list[int], offset: int) -> None:
    chunks: dict[int, int] = {}
    start = size = 0
    for more in grows:
        size += more
        while length := chunk_size(start, size - start):
            chunks[start] = length
            start += length
    assert size - start < CHUNK
    if offset < start:
        assert any(begin in chunks and offset < begin + chunks[begin] for begin in chunk_starts(offset))


class Kept:
    """A store in memory that counts requests; ``refuse`` makes it away, though it may have taken what it got."""

    url, metered = "memory://", True

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.puts: list[str] = []
        self.gets: list[str] = []
        self.refuse = False

    def put(self, key: str, data: bytes) -> None:
        self.objects[key] = bytes(data)
        self.puts.append(key)
        if self.refuse:
            raise StoreUnavailable("the answer was lost")

    def get(self, key: str) -> bytes | None:
        self.gets.append(key)
        if self.refuse:
            raise StoreUnavailable("away")
        return self.objects.get(key)


@dataclass
class Sent:
    """What of ``Outputs`` the pulse reads."""

    batches: int = 0
    full: bool = False
    bytes: int = 0
    files: int = 0


@dataclass
class Told:
    """A pulse, its clock and its store."""

    folder: Path
    rhythm: Rhythm = METERED
    now: float = 1_700_000_000.0
    store: Kept = field(default_factory=Kept)
    outputs: Sent = field(default_factory=Sent)

    def __post_init__(self) -> None:
        heartbeat, least = self.rhythm.beat_most, self.rhythm.beat_least
        spec = Spec("u", 1, "me", JOB, "", {}, {}, [], ["run.out"], {}, "", 0, 0, heartbeat, least)
        prefix: Prefix = Prefix(self.store, "p/")  # type: ignore[arg-type]
        outputs: Outputs = self.outputs  # type: ignore[assignment]
        self.pace = Pace(clock=lambda: self.now)
        self.pulse = Pulse(prefix, outputs, spec, self.pace)
        self.pulse.logs["run.out"] = Log(prefix, "run.out", str(self.folder / "run.out"), 0, 0)

    def say(self, text: bytes) -> None:
        """The command says something."""
        with (self.folder / "run.out").open("ab") as log:
            log.write(text)

    def wait(self, seconds: float, step: float = 0.5) -> None:
        """So much later."""
        for _ in range(round(seconds / step)):
            self.now += step
            self.pulse.turn()

    @property
    def beats(self) -> int:
        return self.store.puts.count("p/heartbeat.json")

    @property
    def beat(self) -> Heartbeat:
        return documents.load(Heartbeat, self.store.objects["p/heartbeat.json"], "")


@pytest.fixture
def told(tmp_path: Path) -> Told:
    made = Told(tmp_path)
    made.pulse.turn()
    assert made.beats == 1
    return made


def test_outputs_are_told_at_once_and_silence_seldom(told: Told) -> None:
    told.wait(30)
    assert told.beats == 1
    told.outputs.batches, told.outputs.files = 1, 3
    told.wait(0.5)
    assert told.beats == 2
    assert (told.beat.batches, told.beat.moved.files_out) == (1, 3)
    told.outputs.batches = 2
    told.pulse.step = "outputs"
    told.wait(1)
    assert told.beats == 3
    told.wait(600)
    assert told.beats == 3 + 10


def test_a_log_grows_at_home_without_objects_of_its_own(told: Told) -> None:
    told.say(b"one\r\xff\n")
    told.wait(2)
    assert told.beat.tails["run.out"].encode("latin-1") == b"one\r\xff\n"
    assert told.beat.log == {"run.out": 6}
    told.say(b"x" * CHUNK)
    told.wait(2)
    assert told.store.objects["p/log/run.out.000000000000"] == b"one\r\xff\n" + b"x" * (CHUNK - 6)
    assert (told.beat.log, told.beat.tails) == ({"run.out": CHUNK + 6}, {"run.out": "x" * 6})
    told.pulse.end(Patience(told.pace, told.now + 1))
    told.pulse.tell_exit()
    assert told.store.objects[f"p/{chunk_name('run.out', CHUNK)}"] == b"x" * 6
    assert told.pulse.log_sizes() == told.beat.log == {"run.out": CHUNK + 6}
    assert told.beat.exited
    assert not told.beat.tails


def test_a_log_that_grows_fast_goes_in_large_pieces(told: Told) -> None:
    told.say(b"y" * (3 * LARGE + 5))
    told.wait(2)
    assert len([key for key in told.store.puts if "log/" in key]) == 3
    assert told.beat.log == {"run.out": 3 * LARGE + 5}


def test_a_refused_chunk_is_sent_again_as_it_was(told: Told) -> None:
    told.say(b"a" * 10)
    told.wait(2)
    told.store.refuse = True
    told.say(b"b" * CHUNK)
    told.wait(10)
    first = told.store.objects["p/log/run.out.000000000000"]  # home may have it though the answer was lost
    told.say(b"c" * CHUNK)
    told.store.refuse = False
    told.wait(10)
    assert told.store.objects["p/log/run.out.000000000000"] == first == b"a" * 10 + b"b" * (CHUNK - 10)
    assert told.beat.log == {"run.out": 10 + 2 * CHUNK}


def test_a_refused_beat_is_tried_again_and_not_too_often(told: Told) -> None:
    told.store.refuse = True
    told.outputs.batches = 1
    told.wait(60)
    assert 50 <= told.beats <= 62
    told.store.refuse = False
    told.wait(1)
    assert told.beat.batches == 1


def test_the_wish_to_stop_is_looked_for_seldom_and_found(told: Told) -> None:
    told.store.gets.clear()
    told.wait(600)
    assert len(told.store.gets) == 60
    told.store.objects["p/stop.json"] = documents.dump(Stop(told.now, "me"))
    told.wait(10)
    assert told.pulse.stopped.is_set()
    told.wait(600)
    assert len(told.store.gets) == 61


def test_without_a_price_news_come_within_a_second(tmp_path: Path) -> None:
    told = Told(tmp_path, FREE)
    told.pulse.turn()
    told.say(b"one")
    told.wait(0.9, 0.1)
    assert told.beat.log == {"run.out": 3}
    told.wait(0.2, 0.1)
    told.outputs.batches = 1
    told.wait(0.2, 0.1)
    assert told.beat.batches == 1
    told.wait(10, 0.1)
    assert told.beats == pytest.approx(3 + 5, abs=1)
    assert len(told.store.gets) == pytest.approx(11, abs=1)


def test_a_guard_goes_on_where_a_killed_agents_chunks_end(tmp_path: Path) -> None:
    told = Told(tmp_path)
    told.say(b"z" * (2 * CHUNK + 9))
    told.pulse.end(Patience(told.pace, told.now + 1))
    guards = Log(Prefix(told.store, "p/"), "run.out", str(tmp_path / "run.out"), 0, 2 * CHUNK + 9)  # type: ignore[arg-type]
    told.say(b"!")
    guards.read(whole=True)
    assert guards.chunked == 2 * CHUNK + 10
    assert told.store.objects[f"p/{chunk_name('run.out', 2 * CHUNK)}"] == b"z" * 9 + b"!"


@pytest.mark.slow
def test_without_inotify_a_file_written_in_place_again_and_again_is_never_sent_half(stage: Stage) -> None:
    script = (
        f"for round in 1 2 3; do exec 3>{JOB}map.mrc\n"
        "for i in 1 2 3 4 5 6; do printf %1000s $round >&3; sleep 0.1; done; exec 3>&-\n"
        "until [ -e seen$round ]; do sleep 0.02; done; done"
    )
    whole = [b"".join([b"%1000d" % number] * 6) for number in (1, 2, 3)]
    stage.spec(script)
    agent = stage.start(broken="inotify")
    seen: set[bytes] = set()
    while agent.poll() is None:
        seen.add(found := stage.outputs().get("map.mrc", b""))
        if found in whole:  # while it runs, and not only at the end
            (stage.project / f"seen{whole.index(found) + 1}").touch()
        time.sleep(0.005)
    assert stage.end(agent)[0] == 0
    assert seen - {b""} == set(whole)
    assert stage.outputs()["map.mrc"] == whole[-1]


def test_the_last_heartbeat_tells_of_the_exit(stage: Stage) -> None:
    stage.spec("echo said; until [ -e go ]; do sleep 0.02; done")
    agent = stage.start()
    wait_for(lambda: stage.heartbeat and stage.heartbeat.tails)
    assert not stage.has("log/run.out.000000000000")
    (stage.project / "go").touch()
    assert stage.end(agent)[0] == 0
    assert stage.heartbeat is not None
    assert stage.heartbeat.exited
    assert stage.log() == b"said\n"
    assert stage.exit.log["run.out"] == 5
