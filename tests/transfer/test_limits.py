"""The rule of the bandwidth, what it does to several threads and processes, retries, and the file of a pause."""

import contextlib
import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryoburst.model.errors import BadInput, StoreRefused, StoreUnavailable
from cryoburst.transfer.limits import (
    BURST,
    POLL,
    SLICE,
    Bandwidth,
    OwnTurns,
    Rule,
    SharedTurns,
    Span,
    parse,
    pause_file,
    retry,
)
from cryoburst.transfer.line import Line

HOUR, MB = 3600, 10**6
DAYTIME = "08:00-18:00 20 MB/s, 18:00-23:00 100 MB/s"


class Clock:
    """A time that only sleeping moves on, whoever sleeps."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self._lock = threading.Lock()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        with self._lock:
            self.now += seconds


# ----------------------------------------------------------------------------------------------------- the rule


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("50 MB/s", 50e6),
        ("50MB/s", 50e6),
        (" 2.5 GB/s ", 2.5e9),
        ("800 kB/s", 8e5),
        ("400 Mbit/s", 50e6),
        ("1 Gbit/s", 125e6),
        ("80 kbit/s", 1e4),
        ("off", None),
        ("OFF", None),
        ("", None),
        ("  ", None),
    ],
)
def test_one_amount_holds_all_day(text: str, rate: float | None) -> None:
    rule = parse(text)
    assert [rule.at(second) for second in (0, 12 * HOUR, 24 * HOUR - 1, 30 * HOUR)] == [rate] * 4


@pytest.mark.parametrize(
    ("text", "hours", "rates"),
    [
        (DAYTIME, (7.99, 8, 17.99, 18, 22.99, 23, 0), (None, 20e6, 20e6, 100e6, 100e6, None, None)),
        ("22:30-06:15 1 MB/s", (22, 22.5, 23.99, 0, 6.24, 6.25), (None, 1e6, 1e6, 1e6, 1e6, None)),
        ("18:00-24:00 1 MB/s", (17.99, 18, 23.99, 0), (None, 1e6, 1e6, None)),
        ("18:00-00:00 1 MB/s", (17.99, 18, 23.99, 0), (None, 1e6, 1e6, None)),
        ("00:00-24:00 1 MB/s", (0, 12, 23.99), (1e6, 1e6, 1e6)),
        ("8:00–9:00 1 MB/s,9:00-8:00 off", (8, 9, 7), (1e6, None, None)),
    ],
)
def test_times_of_day(text: str, hours: tuple[float, ...], rates: tuple[float | None, ...]) -> None:
    assert tuple(parse(text).at(hour * HOUR) for hour in hours) == rates


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("fast", "the bandwidth is not understood (fast)"),
        ("50", "the bandwidth is not understood (50)"),
        ("-5 MB/s", "the bandwidth is not understood (-5 MB/s)"),
        ("nan MB/s", "the bandwidth is not understood (nan MB/s)"),
        ("٥ MB/s", "the bandwidth is not understood (٥ MB/s)"),
        ("50 mb/s", "the bandwidth has an unknown unit (50 mb/s): the units are kB/s, MB/s"),
        ("50 MiB/s", "the bandwidth has an unknown unit"),
        ("0 MB/s", "the bandwidth is less than 1 kB/s (0 MB/s): cryoburst pause stops all transfers"),
        ("50 MB/s, 60 MB/s", "a part of the bandwidth is no time of day with an amount (50 MB/s)"),
        ("08:00-18:00 20 MB/s,", "a part of the bandwidth is no time of day with an amount: write it as"),
        ("08:00-18:00", "the bandwidth is not understood (08:00-18:00)"),
        ("08:00-18:00 quick", "the bandwidth is not understood (quick)"),
        ("25:00-26:00 1 MB/s", "a time of the bandwidth is none of a day (25:00-26:00 1 MB/s)"),
        ("08:60-09:00 1 MB/s", "a time of the bandwidth is none of a day"),
        ("24:00-08:00 1 MB/s", "a time of the bandwidth is none of a day"),
        ("08:00-24:01 1 MB/s", "a time of the bandwidth is none of a day"),
        ("08:00-08:00 1 MB/s", "a time of the bandwidth ends when it begins"),
        ("08:00-18:00 1 MB/s, 17:00-19:00 2 MB/s", "two times of day of the bandwidth overlap"),
        ("22:00-06:00 1 MB/s, 05:00-07:00 2 MB/s", "two times of day of the bandwidth overlap"),
        ("08:00-18:00 1 MB/s, 09:00-10:00 2 MB/s", "two times of day of the bandwidth overlap"),
        ("22:00-06:00 1 MB/s, 23:00-05:00 2 MB/s", "two times of day of the bandwidth overlap"),
    ],
)
def test_wrong_texts_are_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(BadInput) as raised:
        parse(text)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


@given(st.text(alphabet="0123456789:-, .kMGBbits/off", max_size=60))
def test_any_text_is_a_rule_or_a_sentence(text: str) -> None:
    with contextlib.suppress(BadInput):
        rule = parse(text)
        assert all(rate is None or rate >= 1e3 for rate in map(rule.at, range(0, 24 * HOUR, 600)))


minute = st.integers(0, 24 * 60 - 1)


@given(minute, minute.filter(lambda m: m > 0), minute)
def test_a_span_is_as_long_as_it_says(start: int, length: int, now: int) -> None:
    end = (start + length) % (24 * 60)
    text = f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02} 1 MB/s"
    assert (parse(text).at(now * 60) is not None) == ((now - start) % (24 * 60) < length)


# ------------------------------------------------------------------------------------------------- the bandwidth


def simulated(text: str, start: float = 0.0) -> tuple[Bandwidth, Clock]:
    """A bandwidth whose day begins ``start`` s after midnight."""
    clock = Clock()
    begun = clock.now
    return Bandwidth(parse(text), None, clock, clock.sleep, lambda: start + clock.now - begun), clock


class Wire:
    """Many threads that put and get through one line until a simulated time; the moments at which transfers began."""

    def __init__(
        self, bandwidth: Bandwidth, clock: Clock, seconds: float, sizes: tuple[int, ...], took: float = 0.0
    ) -> None:
        self.line = Line(bandwidth=bandwidth, clock=clock, sleep=clock.sleep)
        self.begun: list[tuple[float, int]] = []
        self.directions: set[str] = set()
        self._clock, self._start, self._sizes, self._took = clock, clock.now, sizes, took
        self._end = clock.now + seconds
        self.line.each([self._task(direction) for direction in ("put", "get") * 4])

    def _task(self, direction: str) -> Callable[[], None]:
        def go() -> None:
            n = 0
            while self._clock() < self._end:
                size = self._sizes[n % len(self._sizes)]
                self.line.carry(size, lambda size=size: self._transfer(direction, size))
                n += 1

        return go

    def _transfer(self, direction: str, size: int) -> None:
        self.begun.append((self._clock() - self._start, size))
        self.directions.add(direction)
        end = time.monotonic() + 10
        time.sleep(1e-5)  # so that the other threads come to their turn, too
        while len(self.directions) < 2 and time.monotonic() < end:
            time.sleep(1e-4)  # however busy the computer is
        if self._took:
            self._clock.sleep(self._took)

    def average(self, since: float, until: float) -> float:
        """Bytes/s that began from one second to before another."""
        return sum(size for when, size in self.begun if since <= when < until) / (until - since)


@pytest.mark.parametrize("sizes", [(MB,), (16 * 2**20,), (100, 2_000_000, 16 * 2**20, 40_000)])
@pytest.mark.parametrize("rate", [20, 200])
def test_the_average_over_a_minute_is_the_limit_for_both_directions_together(rate: int, sizes: tuple[int, ...]) -> None:
    wire = Wire(*simulated(f"{rate} MB/s"), 60.0, sizes)
    assert 0.97 * rate * MB <= wire.average(0, 60) <= 1.01 * rate * MB
    assert wire.directions == {"put", "get"}


@pytest.mark.parametrize("sizes", [(MB,), (16 * 2**20,), (100, 2_000_000, 40_000)])
def test_no_stretch_of_time_has_more_than_the_limit_a_burst_and_a_blob(sizes: tuple[int, ...]) -> None:
    wire = Wire(*simulated("40 MB/s"), 30.0, sizes)
    for since in (0.0, 3.3, 10.0, 17.1):
        for seconds in (0.5, 1.0, 5.0):
            moved = wire.average(since, since + seconds) * seconds
            assert moved <= 40e6 * (seconds + BURST) + max(sizes) + 1


@pytest.mark.parametrize(("before", "after"), [("1 MB/s", "50 MB/s"), ("50 MB/s", "1 MB/s"), ("100 kB/s", "off")])
def test_a_change_of_the_time_of_day_takes_effect_within_a_second(before: str, after: str) -> None:
    bandwidth, clock = simulated(f"07:00-08:00 {before}, 08:00-09:00 {after}", 8 * HOUR - 10)
    first, then = parse(before).at(0) or 0.0, parse(after).at(0)
    wire = Wire(bandwidth, clock, 20.0 if then else 11.0, (50_000,), took=0.0 if then else 0.001)
    assert wire.average(1, 10) == pytest.approx(first, rel=0.1)
    if then is None:
        assert wire.average(10.25, 11) > 40e6  # as many as go in a millisecond each
        return
    assert wire.average(11, 20) == pytest.approx(then, rel=0.05)
    assert wire.average(10, 11) <= max(first, then) * 1.05


def test_a_large_blob_that_waits_goes_when_the_limit_ends() -> None:
    bandwidth, clock = simulated("07:00-08:00 1 kB/s", 8 * HOUR - 30)
    bandwidth.pay(16 * 2**20)  # four and a half hours at this rate
    assert 1030 <= clock.now <= 1030 + SLICE


def test_without_a_limit_nobody_waits() -> None:
    bandwidth, clock = simulated("")
    bandwidth.pay(10**12)
    assert clock.now == 1000
    assert bandwidth.limit() is None


def test_an_idle_line_catches_up_on_half_a_second_only() -> None:
    bandwidth, clock = simulated("1 MB/s")
    bandwidth.pay(MB)
    clock.sleep(3600)
    begin = clock.now
    bandwidth.pay(10 * MB)
    assert clock.now - begin == pytest.approx(10 - BURST, abs=0.01)


# ---------------------------------------------------------------------------------------------------- processes


def test_two_processes_share_a_limit_in_turn(tmp_path: Path) -> None:
    """Simulated: each of three has its own value in memory and only the file in common."""
    turns = [SharedTurns(tmp_path / "bandwidth") for _ in range(3)]
    ends = [turns[n % 3].take(100.0, SLICE) for n in range(9)]
    assert ends == pytest.approx([100 - BURST + (n + 1) * SLICE for n in range(9)])


OTHER = """
import sys, time
from pathlib import Path
from cryoburst.transfer.limits import Bandwidth, SharedTurns, parse
bandwidth, end, moved = Bandwidth(parse("2 MB/s"), SharedTurns(Path(sys.argv[1]))), time.monotonic() + 2.0, 0
while time.monotonic() < end:
    bandwidth.pay(50_000)
    moved += 50_000
print(moved)
"""


@pytest.mark.slow
def test_real_processes_share_a_limit(tmp_path: Path) -> None:
    words = [sys.executable, "-c", OTHER, str(tmp_path / "bandwidth")]
    running = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    begun = time.monotonic()
    moved = [int(process.communicate(timeout=60)[0]) for process in running]
    assert sum(moved) <= 2e6 * (time.monotonic() - begun + BURST) + 3 * 50_000
    assert min(moved) > 0


@pytest.mark.parametrize("left", [b"", b"short", b"\xff" * 8, b"\0" * 8, b"\0\0\0\0\0\0\xf0\x7f", b"x" * 100])
def test_what_another_boot_left_in_the_file_does_not_hold_us_up(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "bandwidth").write_bytes(left)
    assert SharedTurns(tmp_path / "bandwidth").take(50.0, 1.0) == 50 - BURST + 1


def test_a_file_that_cannot_be_had_leaves_the_own_limit(tmp_path: Path) -> None:
    turns, own = SharedTurns(tmp_path / "nowhere/bandwidth"), OwnTurns()
    assert [turns.take(9.0, 1.0) for _ in range(3)] == [own.take(9.0, 1.0) for _ in range(3)]


def test_a_process_that_keeps_the_lock_holds_nobody_up_for_long(tmp_path: Path) -> None:
    clock = Clock()
    descriptor = os.open(tmp_path / "bandwidth", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert SharedTurns(tmp_path / "bandwidth", clock.sleep).take(9.0, 1.0) == 9 - BURST + 1
    finally:
        os.close(descriptor)
    assert clock.now <= 1001.01


# ----------------------------------------------------------------------------------------------- again; a pause


def test_retry_waits_longer_each_time_and_raises_the_last_error() -> None:
    waited: list[float] = []
    errors = iter("abcd")

    def refuse() -> None:
        raise StoreUnavailable(next(errors))

    with pytest.raises(StoreUnavailable, match="d"):
        retry(sleep=waited.append)(refuse)
    assert waited == [0.5, 2.0, 8.0]


def test_retry_ends_with_the_first_success() -> None:
    answers = iter([StoreUnavailable("slow down"), None])
    waited: list[float] = []

    def answer() -> str:
        if error := next(answers):
            raise error
        return "done"

    assert retry(sleep=waited.append)(answer) == "done"
    assert waited == [0.5]


@pytest.mark.parametrize("error", [StoreRefused("no"), OSError(5, "read error"), KeyboardInterrupt()])
def test_retry_is_for_an_unavailable_store_only(error: BaseException) -> None:
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        retry(sleep=lambda _: pytest.fail("waited"))(fail)
    assert len(calls) == 1


def test_a_pause_is_seen_within_half_a_second(tmp_path: Path) -> None:
    clock = Clock()
    paused = pause_file(tmp_path / "paused", clock)
    assert not paused()
    (tmp_path / "paused").touch()
    assert not paused()  # looked at a moment ago
    clock.sleep(POLL)
    assert paused()
    (tmp_path / "paused").unlink()
    clock.sleep(POLL)
    assert not paused()


def test_a_pause_that_cannot_be_looked_at_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not pause_file(tmp_path / "file/paused")()


def test_a_rule_is_a_value() -> None:
    assert parse("1 MB/s") == Rule((Span(0, 24 * HOUR, 1e6),))
    assert parse("off") == parse("") == Rule()
