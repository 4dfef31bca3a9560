"""Runs the agent as its archive does, with its times and its store's faults set from outside.

``driver.py SETTINGS VERB STORE_URL PREFIX ROOT TOKEN``: SETTINGS is a JSON object with ``pace`` (fields of Pace),
``fault`` (a file: while it exists, its one word is how the store fails), ``skip`` (a file: by how many seconds the
clock was moved on) and ``break`` (what does not work here).
"""

import errno
import json
import os
import sys
import time
from pathlib import Path

from cryoburst.agent import command, inputs, life, main
from cryoburst.agent.place import Pace
from cryoburst.model.errors import StoreFull, StoreUnavailable
from cryoburst.model.plugins import Store
from cryoburst.stores import open_store


class FaultyStore:
    """A store whose answers depend on the word in a file."""

    def __init__(self, store: Store, fault: Path) -> None:
        self._store, self._fault, self.url = store, fault, store.url

    def __getattr__(self, name: str) -> object:
        verb = getattr(self._store, name)

        def call(*arguments: object) -> object:
            word = self._fault.read_text().strip() if self._fault.exists() else ""
            if word == "unavailable":
                raise StoreUnavailable("the store is away")
            if word == "full" and name == "put":
                raise StoreFull("the store is full")
            if word == "disk_full" and name == "read":
                raise OSError(errno.ENOSPC, "No space left on device")
            if word == "slow" and name == "read":
                time.sleep(1.0)
            if word == "bug" and name == "read":
                raise ZeroDivisionError("a bug\nof two lines")
            return verb(*arguments)

        return call


def no_inotify(top: str) -> None:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), top)


def bug(*_attempt: object) -> None:
    raise ZeroDivisionError("a bug\nof two lines")


if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    main.open_store = lambda url: FaultyStore(open_store(url), Path(settings["fault"]))  # type: ignore[assignment]
    if settings["break"] == "inotify":
        command.Watch = no_inotify  # type: ignore[assignment,misc]
    if settings["break"] == "turns":  # one file in a turn
        inputs.FIRST, inputs.TURN = 1, 0.0
    if settings["break"] == "agent":
        life._fetch = bug

    def clock() -> float:
        skip = Path(settings["skip"])
        return time.time() + (float(skip.read_text() or 0) if skip.exists() else 0.0)

    sys.exit(main.main(sys.argv[2:], Pace(clock=clock, **settings["pace"])))
