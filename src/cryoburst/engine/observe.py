"""Passive sync: what the providers list and what the markers in the store say. Changes nothing but caches.

A listing or a document that can't be read is unknown, and decides nothing in this tick.
"""

import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from cryoburst.engine.perform import machine_token
from cryoburst.engine.stage_out import log_sizes_home, read_spec
from cryoburst.engine.step import Seen
from cryoburst.engine.world import World
from cryoburst.model import documents
from cryoburst.model.documents import Exit, Heartbeat, Spec, Started
from cryoburst.model.errors import Corrupt, CryoburstError, NotThere, ProviderError
from cryoburst.model.plugins import MachineSeen, Store
from cryoburst.model.run import Run
from cryoburst.model.states import RunState

log = logging.getLogger("cryoburst")


@dataclass(frozen=True)
class Listings:
    """Each provider's machines by token; a provider that could not be read is absent."""

    machines: dict[str, dict[str, MachineSeen]]
    problems: dict[str, str]
    taken: float = 0.0  # when the reading began: what was made later may be missing

    def find(self, provider: str, token: str) -> tuple[bool, MachineSeen | None]:
        """Whether the provider could be read, and its machine with this token."""
        found = self.machines.get(provider)
        return found is not None, (found or {}).get(token)


def list_machines(world: World, names: Iterable[str]) -> Listings:
    """One listing per provider, concurrently."""
    wanted = sorted(set(names) & set(world.providers))
    taken = world.clock()

    def read(name: str) -> dict[str, MachineSeen] | str:
        try:
            return {m.token: m for m in world.providers[name].machines(world.owner)}
        except ProviderError as error:
            return str(error)

    with ThreadPoolExecutor(max(1, len(wanted))) as pool:
        answers = dict(zip(wanted, pool.map(read, wanted), strict=True))
    return Listings(
        machines={name: answer for name, answer in answers.items() if isinstance(answer, dict)},
        problems={name: answer for name, answer in answers.items() if isinstance(answer, str)},
        taken=taken,
    )


D = TypeVar("D")


class Observer:
    """Reads the store for runs. Keeps the specs of running attempts, which never change, in memory."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._specs: dict[str, Spec] = {}

    def see(self, run: Run, listings: Listings) -> Seen:
        """What is to be known of a run now. Raises nothing: what can't be read is None."""
        known, machine = listings.find(run.provider, machine_token(run))
        base = Seen(now=self._world.clock(), machine=machine, machine_known=known, listed=listings.taken)
        try:
            return self._read(run, replace(base, store_known=True))
        except Corrupt as error:  # it will not get better: as if it were not there
            log.warning("run %d: %s", run.number, error)
            return replace(base, store_known=True)
        except (CryoburstError, OSError):
            return base

    def spec(self, run: Run) -> Spec:
        """The spec of the run's attempt. Raises NotThere, StoreError."""
        if run.prefix not in self._specs:
            self._specs[run.prefix] = read_spec(self._world, run)
        return self._specs[run.prefix]

    def exit(self, run: Run) -> Exit:
        """The exit record of the run's attempt. Raises NotThere, StoreError."""
        found = load_document(self._world.store(run), Exit, run.prefix + "exit.json")
        if found is None:
            raise NotThere("the store has no exit record of this attempt", where=run.prefix)
        return found

    def forget(self, run: Run) -> None:
        """Let go of what is kept of an attempt that ended."""
        self._specs.pop(run.prefix, None)

    def _read(self, run: Run, base: Seen) -> Seen:
        store = self._world.store(run)
        if run.state in (RunState.STAGING_IN, RunState.WAITING):
            return replace(base, spec=store.get(run.prefix + "spec.json") is not None)
        if run.state is RunState.STARTING:
            started = load_document(store, Started, run.prefix + "started.json")
            ended = load_document(store, Exit, run.prefix + "exit.json")
            return replace(base, started=started.time if started else None, exit=ended)
        if run.state is RunState.RUNNING:
            heartbeat = load_document(store, Heartbeat, run.prefix + "heartbeat.json")
            ended = load_document(store, Exit, run.prefix + "exit.json")
            written = store.get(run.prefix + "stop.json") is not None if run.stop_wanted else None
            news = heartbeat is not None and ended is None and self._news(run, heartbeat)
            return replace(base, heartbeat=heartbeat, exit=ended, stop_written=written, news=news)
        return base

    def _news(self, run: Run, heartbeat: Heartbeat) -> bool:
        """Whether the heartbeat counts more than home has."""
        if heartbeat.batches > run.batches_home or (run.command_started is None and heartbeat.command_started):
            return True
        if not any(heartbeat.log.values()):
            return False
        home = log_sizes_home(run, self.spec(run))
        return any(size > home.get(name, 0) for name, size in heartbeat.log.items())

    def aborts(self, runs: Iterable[Run]) -> list[Run]:
        """The runs whose end the user asked for in the program's own window."""
        return [
            run
            for run in runs
            if not run.stop_wanted
            and run.package in self._world.packages
            and self._world.packages[run.package].abort_wanted(Path(run.project), run.job)
        ]


def load_document(store: Store, kind: type[D], key: str) -> D | None:
    """A document of the store, or None when there is none. Raises Corrupt, StoreError."""
    data = store.get(key)
    return None if data is None else documents.load(kind, data, key)
