"""The line with real threads: all tasks are done or their first error is raised, and nobody is held for ever."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from cryoburst.model.errors import StoreRefused, StoreUnavailable
from cryoburst.transfer.limits import POLL, Bandwidth, parse, retry
from cryoburst.transfer.line import AHEAD, Line

WAIT = 20.0  # s that anything here may take on a busy computer


def nap(_: float) -> None:
    """Sleep for a moment, whatever was asked for."""
    time.sleep(0.001)


def within(seconds: float, done: Callable[[], bool]) -> bool:
    """Whether something comes true within a time."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


class AtOnce:
    """Counts how many are in it at the same time; the first wait until there were so many ``together``."""

    def __init__(self, seconds: float = 0.002, refuse_above: int = 1000, together: int = 0) -> None:
        self.now = self.most = self.done = self.refused = 0
        self._seconds, self._above, self._together = seconds, refuse_above, together
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
            refused = self.now > self._above
            self.refused += refused
        within(WAIT, lambda: self.most >= self._together)
        time.sleep(self._seconds)
        with self._lock:
            self.now -= 1
            self.done += not refused
        if refused:
            raise StoreUnavailable("503 SlowDown")


def each(line: Line, count: int, task: Callable[[], None]) -> None:
    """Do the same task so many times."""
    line.each(task for _ in range(count))


# ---------------------------------------------------------------------------------------------------------- each


def test_all_tasks_are_done() -> None:
    line, done = Line(), AtOnce()
    each(line, 500, lambda: line.carry(10, done))
    assert (done.done, line.bytes) == (500, 5000)


def test_no_tasks_need_no_thread() -> None:
    before = threading.active_count()
    Line().each([])
    assert threading.active_count() == before


def test_threads_are_started_when_they_are_needed() -> None:
    threads: set[int] = set()
    line = Line()
    line.each((lambda: threads.add(threading.get_ident())) if n == 0 else (lambda: None) for n in range(1))
    assert len(threads) == 1
    at_once = AtOnce(together=5)
    each(Line(most=5), 50, at_once)  # tasks that carry nothing, such as reading what the store has already
    assert at_once.most == 5


def test_the_next_task_is_asked_for_when_there_is_a_thread_for_it() -> None:
    line, go, asked = Line(), threading.Event(), [0]

    def wait() -> None:
        go.wait(WAIT)

    def tasks() -> Iterator[Callable[[], None]]:
        for _ in range(100):
            asked[0] += 1
            yield lambda: line.carry(1, wait)

    thread = threading.Thread(target=lambda: line.each(tasks()))
    thread.start()
    assert within(WAIT, lambda: asked[0] >= line.width + AHEAD)
    time.sleep(0.05)
    assert asked[0] <= line.width + AHEAD + 1  # not all 16 threads read files for which there is no turn yet
    go.set()
    thread.join(WAIT)
    assert asked[0] == 100


@pytest.mark.parametrize("error", [OSError("disk"), StoreRefused("no"), KeyboardInterrupt()])
def test_the_first_error_is_raised_and_no_task_begins_after_it(error: BaseException) -> None:
    line, begun = Line(), [0]

    def task() -> None:
        begun[0] += 1
        if begun[0] == 30:
            raise error
        time.sleep(0.001)

    with pytest.raises(type(error)):
        each(line, 10_000, task)
    assert 30 <= begun[0] <= 30 + line.most


def test_an_error_of_whoever_makes_the_tasks_ends_all() -> None:
    def tasks() -> Iterator[Callable[[], None]]:
        yield lambda: time.sleep(0.01)
        raise ValueError("the list is wrong")

    with pytest.raises(ValueError, match="the list"):
        Line().each(tasks())


def test_two_callers_at_once_do_not_end_each_other() -> None:
    line, done = Line(), AtOnce()

    def fail() -> None:
        raise OSError

    def failing() -> None:
        with pytest.raises(OSError):
            each(line, 1, fail)

    threads = [threading.Thread(target=lambda: each(line, 200, lambda: line.carry(1, done)))]
    threads += [threading.Thread(target=failing) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert done.done == 200


# ------------------------------------------------------------------------------------------------------ at once


def test_no_more_at_once_than_the_width_and_never_more_than_most() -> None:
    line, at_once = Line(most=6), AtOnce(0.05, together=4)
    each(line, 150, lambda: line.carry(10**6, at_once))
    assert 4 <= at_once.most <= 6


def test_a_store_that_refuses_above_a_number_takes_all_in_the_end() -> None:
    line = Line(insist=retry((0.0,) * 50, nap))
    at_once = AtOnce(0.02, refuse_above=5)
    each(line, 300, lambda: line.carry(10**6, at_once))
    assert at_once.done == 300
    assert line.width <= 6  # one more than it takes is tried now and then
    assert at_once.refused < 60


def test_memory_is_bounded_by_the_room() -> None:
    line, in_use, most, lock = Line(memory=100), 0, 0, threading.Lock()

    def task() -> None:
        nonlocal in_use, most
        with line.room(30):
            with lock:
                in_use += 30
                most = max(most, in_use)
            line.carry(30, lambda: time.sleep(0.001))
            with lock:
                in_use -= 30

    each(line, 200, task)
    assert 30 <= most <= 90


def test_what_is_larger_than_all_room_goes_alone() -> None:
    line = Line(memory=100)
    with line.room(1000):
        pass
    with line.room(100):
        pass


# -------------------------------------------------------------------------------------------------------- retry


def test_every_try_is_made_by_insist_and_counts_once() -> None:
    answers = iter([StoreUnavailable("slow"), StoreUnavailable("slow"), None])
    line = Line(insist=retry(sleep=nap))

    def answer() -> str:
        if error := next(answers):
            raise error
        return "stored"

    assert line.carry(7, answer) == "stored"
    assert line.bytes == 7


def test_without_insist_an_error_is_the_callers() -> None:
    line = Line()

    def refuse() -> None:
        raise StoreUnavailable("no")

    with pytest.raises(StoreUnavailable):
        line.carry(7, refuse)
    assert line.bytes == 0


def test_listeners_hear_of_success_only_and_while_they_listen() -> None:
    line, heard = Line(), list[int]()

    def refuse() -> None:
        raise StoreUnavailable("no")

    with line.told(heard.append):
        line.carry(5, lambda: None)
        with pytest.raises(StoreUnavailable):
            line.carry(6, refuse)
    line.carry(7, lambda: None)
    assert heard == [5]


# -------------------------------------------------------------------------------------------------------- pauses


def test_a_pause_holds_all_and_loses_nothing() -> None:
    paused, resumed, begun, asked = threading.Event(), threading.Event(), AtOnce(0.001), list[float]()

    def sleep(seconds: float) -> None:
        asked.append(seconds)
        time.sleep(0.001)

    def begin() -> None:
        begun()
        if begun.done >= 50 and not resumed.is_set():
            paused.set()

    line = Line(paused=paused.is_set, sleep=sleep)
    thread = threading.Thread(target=lambda: each(line, 300, lambda: line.carry(1, begin)))
    thread.start()
    assert within(WAIT, paused.is_set)
    assert within(WAIT, lambda: begun.now == 0 and bool(asked))  # what was under way has ended
    held = begun.done
    assert 50 <= held <= 50 + line.most
    time.sleep(0.1)
    assert begun.done == held
    resumed.set()
    paused.clear()
    thread.join(WAIT)
    assert begun.done == 300
    assert set(asked) == {POLL}


def test_a_pause_while_a_large_blob_waits_for_its_bandwidth() -> None:
    paused, done = threading.Event(), threading.Event()
    clock = [0.0]

    def sleep(seconds: float) -> None:
        time.sleep(0.001)
        if not paused.is_set():
            clock[0] += seconds
        if 5 < clock[0] < 5.6:
            paused.set()

    bandwidth = Bandwidth(parse("1 MB/s"), None, lambda: clock[0], sleep, lambda: 0.0)
    line = Line(bandwidth=bandwidth, paused=paused.is_set, clock=lambda: clock[0], sleep=sleep)
    thread = threading.Thread(target=lambda: line.carry(16 * 10**6, done.set))
    thread.start()
    assert within(WAIT, paused.is_set)
    time.sleep(0.05)
    assert not done.is_set()
    clock[0] = 6.0
    paused.clear()
    thread.join(WAIT)
    assert done.is_set()
    assert clock[0] == pytest.approx(16, abs=1.5)


@pytest.mark.parametrize("held_by", ["pause", "bandwidth", "room"])
def test_an_error_frees_those_that_wait(held_by: str) -> None:
    """So that control-C ends a push that is paused, or slower than anyone's patience."""
    slow = Bandwidth(parse("1 kB/s"), sleep=nap)
    line = Line(
        memory=100,
        bandwidth=slow if held_by == "bandwidth" else None,
        paused=lambda: held_by == "pause",
        sleep=nap,
    )
    never = pytest.fail if held_by != "room" else lambda _: time.sleep(0.2)

    def task() -> None:
        with line.room(60):
            line.carry(10**9, lambda: never("it went"))

    def tasks() -> Iterator[Callable[[], None]]:
        yield task
        yield task
        time.sleep(0.05)
        raise KeyboardInterrupt

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        line.each(tasks())
    assert time.monotonic() - begun < WAIT / 2
    assert threading.active_count() < 10


def test_the_limit_in_force_is_told() -> None:
    assert Line().limit is None
    assert Line(bandwidth=Bandwidth(parse("2 MB/s"))).limit == 2e6


def test_a_check_is_made_before_every_transfer_and_again_and_again_in_a_pause() -> None:
    class Ended(Exception):
        pass

    asked: list[int] = []

    def check() -> None:
        asked.append(1)
        if len(asked) == 5:
            raise Ended

    line = Line(paused=lambda: len(asked) > 1, sleep=lambda _: None)
    with line.checked(check):
        assert line.carry(1, lambda: "carried") == "carried"
        with pytest.raises(Ended):
            line.carry(1, lambda: pytest.fail("the pause has not ended"))
    assert len(asked) == 5
    line.paused = lambda: False
    line.carry(1, lambda: None)
    assert len(asked) == 5
