"""How many go at once: the decision as a table, and what comes of it on simulated lines."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryoburst.transfer.width import FIRST, HOLD, LEAST, MEMORY, REQUEST, Begun, Width, Window, next_width


def windows(*pairs: tuple[int, float | None]) -> list[Window]:
    """Windows of (width, speed); no speed: a refusal."""
    return [Window(width, speed or 0.0, refused=speed is None) for width, speed in pairs]


STEADY = windows((4, 40), (8, 80), (16, 80))
LONG = 7  # more windows than HOLD


@pytest.mark.parametrize(
    ("history", "width", "why"),
    [
        ([], FIRST, "the first"),
        (windows((4, 40)), 8, "one window says nothing: try more"),
        (windows((4, 40), (8, 80)), 16, "twice as fast: twice as many"),
        (windows((4, 40), (8, 65)), 16, "more than half of what could be hoped for"),
        (windows((4, 40), (8, 55)), 4, "less than half"),
        (windows((4, 40), (8, 30)), 4, "slower"),
        (windows((4, 40), (8, 80), (16, 160)), 16, "no more than most"),
        (STEADY, 8, "back to where it was as fast"),
        ([*STEADY, *windows((8, 80))], 8, "as fast as before: stay"),
        ([*STEADY, *windows((8, 60))], 8, "a little slower with half as many: stay"),
        ([*STEADY, *windows((8, 50))], 16, "it did pay after all"),
        ([*STEADY, *windows(*[(8, 80)] * HOLD)], 6, "after a while, try fewer"),
        ([*STEADY, *windows(*[(8, 80)] * HOLD, (6, 60))], 8, "that was slower"),
        ([*STEADY, *windows(*[(8, 80)] * HOLD, (6, 78))], 5, "that was as fast: even fewer"),
        ([*STEADY, *windows(*[(8, 80)] * HOLD, (6, 60), (8, 80))], 10, "then try more"),
        ([*STEADY, *windows(*[(8, 80)] * HOLD, (6, 60), (8, 80), (10, 80))], 8, "no faster"),
        (windows((4, 40), (2, 40), *[(2, 40)] * LONG), 3, "fewer than the least are not tried"),
        (windows((8, 80), (16, 160), *[(16, 160)] * LONG), 12, "more than most are not tried"),
        ([*STEADY, *windows((8, 80), (8, 40))], 6, "the line has become slower: fewer may do"),
        ([*STEADY, *windows((8, 80), (8, 40), (6, 40))], 5, "they do, so go on"),
        ([*STEADY, *windows((8, 80), (8, 40), (6, 20))], 8, "they do not"),
        ([*STEADY, *windows((8, 80), (8, 160))], 10, "the line has become faster: more may pay"),
        ([*STEADY, *windows((8, 80), (8, 70), (8, 90))], 8, "it only varies"),
        (windows((8, None)), 4, "refused: half"),
        (windows((5, None)), 2, "refused: half"),
        (windows((3, None)), LEAST, "never less than the least"),
        (windows((8, None), (4, 40)), 5, "one more at a time from then on"),
        (windows((8, None), (4, 40), (5, 50), (6, 60)), 7, "one more at a time"),
        (windows((8, None), (4, 40), (5, 50), (6, 60), (7, 70)), 7, "what was refused is not tried again soon"),
        (windows((8, None), (4, 40), (5, 41)), 4, "and only if it pays"),
        (windows((16, 160), (4, None), (2, None), (2, None), (2, 20)), 4, "an outage says nothing about the number"),
    ],
)
def test_the_decision(history: list[Window], width: int, why: str) -> None:
    assert next_width(history, 16) == width, why


any_window = st.builds(Window, st.integers(LEAST, 16), st.floats(0, 1e10), st.booleans())


@given(st.lists(any_window, max_size=MEMORY), st.integers(1, 40))
def test_any_history_gives_a_width_between_the_least_and_the_most(history: list[Window], most: int) -> None:
    assert min(LEAST, most) <= next_width(history, most) <= most
    if history and history[-1].refused and LEAST < history[-1].width <= most:
        assert next_width(history, most) < history[-1].width


# ------------------------------------------------------------------------------------------------ simulated lines


@dataclass
class Simulated:
    """A line of a capacity that all share and a speed that none exceeds (bytes/s), in its own time."""

    capacity: Callable[[float], float]
    each: float
    most_at_once: int = 1000  # the store refuses above
    noise: float = 0.0
    latency: float = 0.02
    size: int = 16 * 2**20
    seed: int = 1
    width: Width = field(default_factory=lambda: Width(16))
    now: float = 0.0
    active: list[tuple[Begun, list[float]]] = field(
        default_factory=list[tuple[Begun, list[float]]]
    )  # latency, bytes left
    carried: int = 0
    refused: int = 0
    course: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])

    def run(self, seconds: float) -> None:
        """Keep the line busy, as a long upload does."""
        chance = random.Random(self.seed)
        active, until = self.active, self.now + seconds
        while self.now < until:
            while self.width.under_way < self.width.now:
                begun = self.width.begin(self.now)
                if len(active) >= self.most_at_once:
                    self.refused += 1
                    self.width.refuse(begun, self.now)
                    self.width.end(begun, self.now, 0)
                else:
                    active.append((begun, [self.latency, self.size * chance.uniform(1 - self.noise, 1 + self.noise)]))
            speed = min(self.each, self.capacity(self.now) / len(active)) * chance.uniform(
                1 - self.noise, 1 + self.noise
            )
            step = min(0.05, *(left[0] + left[1] / speed for _, left in active), 1.0)
            for _, left in active:
                waited = min(step, left[0])
                left[0] -= waited
                left[1] -= speed * (step - waited)
            self.now += step
            for begun, _ in [one for one in active if one[1][1] <= 1]:
                self.width.end(begun, self.now, self.size)
                self.carried += self.size
            active[:] = [one for one in active if one[1][1] > 1]
            self.course.append((self.now, self.width.now))

    def mean(self, since: float) -> float:
        """The mean width from then on."""
        course = [one for one in self.course if one[0] >= since]
        held = sum(width * (after - when) for (when, width), (after, _) in pairwise(course))
        return held / (course[-1][0] - course[0][0])


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.2])
@pytest.mark.parametrize(("capacity", "each"), [(100e6, 50e6), (100e6, 20e6), (100e6, 12.5e6), (1e9, 100e6)])
def test_it_settles_near_the_knee(capacity: float, each: float, noise: float) -> None:
    line = Simulated(lambda _: capacity, each, noise=noise)
    line.run(200)
    knee = capacity / each
    assert 0.8 * knee <= line.mean(40) <= 1.25 * knee + 0.5
    assert line.carried / 200 >= 0.8 * capacity


@pytest.mark.parametrize("seed", range(10))
def test_a_noisy_line_is_used_well(seed: int) -> None:
    line = Simulated(lambda _: 200e6, 20e6, noise=0.2, seed=seed)
    line.run(200)
    assert 7 <= line.mean(40) <= 13
    assert line.carried / 200 >= 0.75 * 200e6


def test_one_connection_that_fills_the_line_leaves_the_least() -> None:
    line = Simulated(lambda _: 100e6, 100e6)
    line.run(120)
    assert line.mean(40) <= LEAST + 0.5


def test_connections_that_never_hinder_each_other_go_up_to_the_most() -> None:
    line = Simulated(lambda _: 1e12, 20e6)
    line.run(120)
    assert line.mean(20) >= 14


def test_it_makes_way_when_others_come_and_comes_back_when_they_go() -> None:
    line = Simulated(lambda now: 30e6 if 100 <= now < 250 else 120e6, 10e6)
    line.run(100)
    alone = line.mean(40)
    line.run(150)
    shared = line.mean(200)
    line.run(150)
    assert (alone, line.mean(340)) == (pytest.approx(12, abs=2.5), pytest.approx(12, abs=2.5))
    assert shared <= 5


@pytest.mark.parametrize("most", [3, 5, 6, 9, 12])
def test_a_store_that_refuses_above_a_number_is_asked_for_less(most: int) -> None:
    line = Simulated(lambda _: 1e12, 20e6, most_at_once=most)
    line.run(300)
    assert most * 0.7 <= line.mean(60) <= most
    assert line.refused <= 10
    assert sum(width > most for when, width in line.course if when > 60) < 0.1 * len(line.course)


def test_small_blobs_need_more_at_once_than_large_ones() -> None:
    small, large = (Simulated(lambda _: 100e6, 100e6, latency=0.05, size=size) for size in (REQUEST, 16 * 2**20))
    small.run(60)
    large.run(60)
    assert large.mean(20) < 4 < 9 < small.mean(20)


# --------------------------------------------------------------------------------------------------------- windows


def lockstep(width: Width, at_once: int, time: float, rounds: int, took: float = 1.0) -> float:
    """Rounds of transfers that begin and end together; the time after them."""
    for _ in range(rounds):
        begun = [width.begin(time) for _ in range(at_once)]
        time += took
        for each in begun:
            width.end(each, time, 1000)
    return time


def test_an_allowance_that_nobody_uses_is_not_kept() -> None:
    width = Width(16)
    time = 0.0
    while width.now < 16:
        time = lockstep(width, width.now, time, 1)
    lockstep(width, 3, time, 40)
    assert width.now == 3


def test_one_transfer_now_and_then_changes_nothing() -> None:
    width = Width(16)
    for n in range(100):
        lockstep(width, 1, n * 60.0, 1)
    assert width.now == FIRST


def test_a_window_with_a_pause_says_nothing() -> None:
    width = Width(16)
    begun = [width.begin(0.0) for _ in range(4)]
    width.spoil()
    for each in begun:
        width.end(each, 3600.0, 1000)
    for each in [width.begin(3600.0) for _ in range(4)]:
        width.end(each, 3601.0, 1000)
    assert width.now == FIRST
    lockstep(width, 4, 3601.0, 2)
    assert width.now == 2 * FIRST


def test_refusals_of_one_moment_halve_once() -> None:
    width = Width(16)
    time = 0.0
    while width.now < 16:
        time = lockstep(width, width.now, time, 1)
    begun = [width.begin(time) for _ in range(16)]
    for each in begun:
        width.refuse(each, time + 1)
        width.end(each, time + 1, 0)
    assert width.now == 8
