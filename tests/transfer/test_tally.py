"""What a transfer says of itself, in a time of its own."""

import json
import threading

import pytest

from cryoburst.transfer.limits import Bandwidth, parse
from cryoburst.transfer.line import Line
from cryoburst.transfer.tally import FEW, RECENT, Tally, Values

MB = 10**6


class Clock:
    """A time that the test sets."""

    def __init__(self) -> None:
        self.now = 5000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def move(tally: Tally, clock: Clock, seconds: float, rate: float, step: float = 0.5) -> None:
    """Bytes at an even rate (bytes/s)."""
    for _ in range(round(seconds / step)):
        clock.now += step
        tally.moved(round(rate * step))


def test_the_names_are_those_that_are_documented(clock: Clock) -> None:
    values = Tally(Line(), clock).values()
    assert set(values) == set(Values.__annotations__)
    assert json.loads(json.dumps(values)) == values


def test_before_anything_is_known(clock: Clock) -> None:
    values = Tally(None, clock).values()
    assert values["bytes"] == values["bytes_total"] == values["files"] == values["files_total"] == 0
    assert values["bytes_per_second"] is values["eta_seconds"] is values["width"] is None


def test_half_way(clock: Clock) -> None:
    tally = Tally(None, clock)
    tally.expect(100 * MB, files=10)
    move(tally, clock, 10, 5 * MB)
    tally.finished(50 * MB, files=5)
    values = tally.values()
    assert (values["bytes"], values["files"]) == (50 * MB, 5)
    assert values["bytes_per_second"] == pytest.approx(5 * MB, rel=0.05)
    assert values["eta_seconds"] == pytest.approx(10, rel=0.05)
    assert tally.overall() == pytest.approx(5 * MB)


def test_at_the_end(clock: Clock) -> None:
    tally = Tally(None, clock)
    tally.expect(10 * MB, files=2)
    tally.skipped(4 * MB)
    move(tally, clock, 3, 2 * MB)
    tally.finished(6 * MB)
    values = tally.values()
    assert values["eta_seconds"] == 0
    assert (values["bytes"], values["bytes_skipped"], values["files"], values["files_skipped"]) == (
        6 * MB,
        4 * MB,
        1,
        1,
    )


def test_what_is_there_already_is_not_waited_for_and_not_counted_as_speed(clock: Clock) -> None:
    tally = Tally(None, clock)
    tally.expect(1000 * MB, files=10)
    tally.skipped(900 * MB, files=9)
    move(tally, clock, 5, 10 * MB)
    values = tally.values()
    assert values["eta_seconds"] == pytest.approx(5)
    assert values["bytes_per_second"] == pytest.approx(10 * MB)


def test_the_speed_is_that_of_the_last_ten_seconds(clock: Clock) -> None:
    tally = Tally(None, clock)
    tally.expect(10_000 * MB)
    move(tally, clock, 600, 1 * MB)
    move(tally, clock, RECENT + 1, 20 * MB)
    assert tally.speed() == pytest.approx(20 * MB, rel=0.02)
    assert tally.overall() == pytest.approx((600 + 220) / 611 * MB, rel=0.01)


def test_a_line_that_has_stopped_is_told_as_slower_and_slower(clock: Clock) -> None:
    tally = Tally(None, clock)
    tally.expect(1000 * MB)
    move(tally, clock, 20, 10 * MB)
    speeds = []
    for _ in range(5):
        clock.now += 20
        speeds.append(tally.speed() or 0)
    assert speeds == sorted(speeds, reverse=True)
    assert speeds[-1] < MB
    move(tally, clock, RECENT + 1, 10 * MB)
    assert tally.speed() == pytest.approx(10 * MB, rel=0.05)


def test_the_speed_of_a_slow_line_does_not_jump_between_its_large_blobs(clock: Clock) -> None:
    tally = Tally(None, clock)
    tally.expect(10_000 * MB)
    speeds = []
    for n in range(40):
        for _ in range(13):
            clock.now += 1
            speeds.append(tally.speed()) if n > FEW + 1 else None
        tally.moved(13 * MB)  # one blob in 13 s
    assert all(speed == pytest.approx(MB, rel=0.15) for speed in speeds)


def test_many_small_transfers_are_cheap_to_keep(clock: Clock) -> None:
    tally = Tally(None, clock)
    for _ in range(100_000):
        clock.now += 0.0001
        tally.moved(1000)
    assert tally.speed() == pytest.approx(10 * MB, rel=0.02)
    assert len(tally._recent) < 200  # pyright: ignore[reportPrivateUsage] - which is what this is about


def test_what_the_wire_carries_beside_the_files_is_not_told_of(clock: Clock) -> None:
    tally = Tally(None, clock)
    tally.expect(10)
    move(tally, clock, 5, 100)
    assert (tally.values()["bytes"], tally.values()["eta_seconds"]) == (10, 0)


def test_files_that_came_in_parts_of_packs_count_with_their_sizes(clock: Clock) -> None:
    tally = Tally(None, clock)
    tally.expect(1000, files=2)
    tally.moved(100)
    tally.finished(1000, files=2)  # two of the same content: it was sent once
    assert (tally.values()["bytes"], tally.values()["eta_seconds"]) == (1000, 0)


def test_only_empty_files(clock: Clock) -> None:
    tally = Tally(None, clock)
    tally.expect(0, files=3)
    assert tally.values()["eta_seconds"] is None
    tally.finished(0, files=3)
    assert tally.values()["eta_seconds"] == 0


def test_the_state_of_the_line_is_told(clock: Clock) -> None:
    line = Line(bandwidth=Bandwidth(parse("2 MB/s")), paused=lambda: True)
    tally = Tally(line, clock)
    tally.expect(100 * MB)
    move(tally, clock, 5, MB)
    values = tally.values()
    assert (values["width"], values["paused"], values["limit_bytes_per_second"]) == (line.width, True, 2e6)
    assert values["eta_seconds"] is None


def test_several_threads_count_exactly() -> None:
    line = Line()
    tally = Tally(line)
    with line.told(tally.moved):
        line.each((lambda: line.carry(3, lambda: tally.finished(3))) for _ in range(2000))
    values = tally.values()
    assert (values["bytes"], values["files"]) == (6000, 2000)
    assert threading.active_count() < 10
