"""One sync of a file system for all who ask while another is under way, and never one that began too early."""

import threading
import time

import pytest

from cryoburst.transfer import disk as disk_


class Disk:
    """A file system whose sync takes until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun: list[int] = []
        self.go = threading.Semaphore(0)
        self.error: OSError | None = None
        monkeypatch.setattr(disk_, "_syncfs", self._sync)
        self.it = disk_.Disk()

    def _sync(self, descriptor: int) -> None:
        self.begun.append(descriptor)
        assert self.go.acquire(timeout=10)
        if self.error:
            raise self.error

    def ask(self, number: int, errors: list[OSError]) -> threading.Thread:
        def sync() -> None:
            try:
                self.it.sync(number)
            except OSError as error:
                errors.append(error)

        thread = threading.Thread(target=sync)
        thread.start()
        return thread


def until(true: object) -> None:
    assert callable(true)
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_those_who_ask_during_a_sync_share_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    first = disk.ask(0, [])
    until(lambda: disk.begun == [0])
    others = [disk.ask(number, []) for number in range(1, 9)]
    until(lambda: disk.it._asked == 9)
    disk.go.release()  # the first, which says nothing about the others
    until(lambda: len(disk.begun) == 2)
    assert not first.is_alive() or first.join(10) is None
    assert all(thread.is_alive() for thread in others)
    disk.go.release()
    for thread in others:
        thread.join(10)
    assert len(disk.begun) == 2
    assert not any(thread.is_alive() for thread in others)


def test_a_sync_that_fails_satisfies_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    disk, errors = Disk(monkeypatch), list[OSError]()
    disk.error = OSError(5, "Input/output error")
    threads = [disk.ask(number, errors) for number in range(3)]
    until(lambda: disk.it._asked == 3)
    for _ in threads:
        disk.go.release()
    for thread in threads:
        thread.join(10)
    assert len(errors) == len(disk.begun) == 3
