"""Passive sync: what the providers list and what the markers in the store say. Changes nothing but caches.

A listing or a document that can't be read is unknown, and decides nothing in this tick.
"""

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from cryoburst.engine.lookers import Lookers
from cryoburst.engine.perform import machine_token
from cryoburst.engine.split import SENDING, is_turn
from cryoburst.engine.stage_out import log_sizes_home, read_spec
from cryoburst.engine.step import Seen
from cryoburst.engine.world import World
from cryoburst.model import documents
from cryoburst.model.documents import Exit, Heartbeat, Spec, Started
from cryoburst.model.errors import Corrupt, CryoburstError, NotThere, ProviderError
from cryoburst.model.patience import Rhythm
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

    if len(wanted) < 2:  # most people rent at one place, and a thread costs more than this computer's own list
        answers = {name: read(name) for name in wanted}
    else:
        with ThreadPoolExecutor(len(wanted)) as pool:
            answers = dict(zip(wanted, pool.map(read, wanted), strict=True))
    return Listings(
        machines={name: answer for name, answer in answers.items() if isinstance(answer, dict)},
        problems={name: answer for name, answer in answers.items() if isinstance(answer, str)},
        taken=taken,
    )


D = TypeVar("D")
SLOWER = 60.0  # a look may miss outputs for one part in so many of the time that none came


def next_look(quiet: float, rhythm: Rhythm) -> float:
    """Seconds between two looks at a heartbeat when the last look that found outputs is so many seconds ago."""
    return min(max(quiet / SLOWER, rhythm.look_least), rhythm.look_most)


@dataclass
class _Kept:
    """What is known of an attempt that a machine works on, and when it was last looked at (s since the epoch)."""

    state: RunState
    quiet_since: float  # when a look last found another step or more outputs
    looked: float = 0.0
    looked_for_exit: float = 0.0
    well: bool = False  # the last look could read the store
    tag: str = ""  # of the heartbeat
    heartbeat: Heartbeat | None = None
    heard: float | None = None
    started: float | None = None
    exit: Exit | None = None
    stop_written: bool = False
    near: Store | None = None  # its store, where a look costs next to nothing
    told: str = ""  # what ``told`` has seen last: the tag of a heartbeat, or the name of another document


class Observer:
    """Reads the store for runs, each as often as its store's rhythm says; keeps what it read in memory.

    While a machine works on a run, a look is one conditional read of its heartbeat; the heartbeat says what else to
    read. A machine that is gone, or a wish to stop, makes home look for the exit record at once.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._specs: dict[str, Spec] = {}
        self._kept: dict[str, _Kept] = {}  # by the attempt's prefix
        self._lookers: dict[str, Lookers] = {}  # by the store's URL
        self._listings = Listings({}, {})  # the newest

    def close(self) -> None:
        """Let the threads go, without waiting for a store that hangs."""
        for lookers in self._lookers.values():
            lookers.close()

    def look(self, runs: Iterable[Run], listings: Listings, seconds: float | None) -> Iterator[tuple[Run, Seen]]:
        """See runs, several at a time. Those that are not seen within the seconds are left for a later call, so that
        one slow store holds nobody up."""
        by_store: dict[str, list[Run]] = {}
        for run in runs:
            by_store.setdefault(run.store, []).append(run)
        self._listings = listings
        new = [future for url, rows in by_store.items() for future in self._of(url).start(rows)]
        all_ = [future for lookers in self._lookers.values() for future in lookers.working]
        wait(all_ if seconds is None else new, timeout=seconds)
        for future in all_:
            if future.done():
                future.result()  # a bug of ours is told
        for url, rows in by_store.items():
            found = self._of(url).take()
            yield from ((run, found[run.uid]) for run in rows if run.uid in found)

    def see(self, run: Run, listings: Listings, *, fresh: bool = False) -> Seen:
        """What is to be known of a run now; ``fresh``, whatever its rhythm is. Raises nothing: what can't be read is
        None."""
        known, machine = listings.find(run.provider, machine_token(run))
        now = self._world.clock()
        base = Seen(now=now, machine=machine, machine_known=known, listed=listings.taken)
        try:
            return self._read(run, base, fresh=fresh or (known and (machine is None or not machine.alive)))
        except Corrupt as error:  # it will not get better: as if it were not there
            log.warning("%s of %s: %s", run.title, run.job, error)
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

    def told(self) -> bool:
        """Whether a machine told something since the last look or call, of those whose store is a folder. Raises
        StoreError."""
        return any(self._has_told(prefix, kept) for prefix, kept in list(self._kept.items()))

    @staticmethod
    def _has_told(prefix: str, kept: _Kept) -> bool:
        if kept.near is None or kept.exit is not None:
            return False
        if kept.state is RunState.STARTING:
            name = "started.json"
            new = not kept.told and kept.started is None and kept.near.find(prefix + name) is not None
            kept.told = name if new else kept.told
            return new
        polled = kept.near.poll(f"{prefix}heartbeat.json", kept.told or kept.tag) if kept.tag else None
        if polled is None:
            return False
        kept.told = polled.tag
        return polled.tag != kept.tag

    def forget(self, run: Run) -> None:
        """Let go of what is kept of an attempt that ended."""
        self._specs.pop(run.prefix, None)
        self._kept.pop(run.prefix, None)

    def _of(self, url: str) -> Lookers:
        if url not in self._lookers:
            self._lookers[url] = Lookers(lambda run: self.see(run, self._listings))
        return self._lookers[url]

    def _read(self, run: Run, base: Seen, *, fresh: bool) -> Seen:
        if run.state is RunState.SPLIT:
            return replace(base, parts=tuple(self._world.ledger.parts_of(run)))
        if run.state in (RunState.STAGING_IN, RunState.WAITING):
            if base.now < run.retry_at:
                return base  # nothing is decided before
            if (
                run.part
                and run.state is RunState.STAGING_IN
                and not is_turn(run, self._world.ledger.numbers_of_parts(run, SENDING))
            ):
                return replace(base, turn=False)
            spec = self._world.store(run).get(run.prefix + "spec.json") is not None
            return replace(base, store_known=True, spec=spec)
        if run.state not in (RunState.STARTING, RunState.RUNNING):
            return replace(base, store_known=True)
        store = self._world.store(run)
        rhythm = self._world.terms.rhythm(metered=store.metered)
        kept = self._kept.get(run.prefix)
        if kept is None or kept.state is not run.state:
            near = store if run.store.startswith("file://") else None
            kept = self._kept[run.prefix] = _Kept(run.state, quiet_since=base.now, near=near)
        gap = rhythm.look_least if run.stop_wanted else next_look(base.now - kept.quiet_since, rhythm)
        if fresh or base.now >= kept.looked + gap:
            kept.looked, kept.well = base.now, False
            self._look_at(
                run, store, kept, base.now, fresh=fresh or base.now >= kept.looked_for_exit + rhythm.look_exit
            )
            kept.well = True
        if not kept.well:
            return base
        seen = partial(replace, base, store_known=True, exit=kept.exit, silence=rhythm.beat_most)
        if run.state is RunState.STARTING:
            return seen(started=kept.started)
        written = self._stop_written(run, store, kept) if run.stop_wanted else None
        news = kept.heartbeat is not None and kept.exit is None and self._news(run, kept.heartbeat)
        return seen(heartbeat=kept.heartbeat, heard=kept.heard, stop_written=written, news=news)

    def _look_at(self, run: Run, store: Store, kept: _Kept, now: float, *, fresh: bool) -> None:
        """One look at the store; with ``fresh`` also for an exit record that nobody tells of."""
        told = False
        if run.state is RunState.STARTING:
            started = load_document(store, Started, run.prefix + "started.json")
            kept.started = (kept.started or now) if started else None
        else:
            key = run.prefix + "heartbeat.json"
            polled = store.poll(key, kept.tag)
            if polled is not None:
                before, kept.heartbeat, kept.tag = kept.heartbeat, None, polled.tag
                kept.heard = now if polled.data else kept.heard
                beat = kept.heartbeat = documents.load(Heartbeat, polled.data, key) if polled.data else None
                if beat is not None and (before is None or (before.step, before.batches) != (beat.step, beat.batches)):
                    kept.quiet_since = now
            told = kept.heartbeat is not None and kept.heartbeat.exited
        if kept.exit is None and (told or fresh or run.stop_wanted):
            kept.looked_for_exit = now
            kept.exit = load_document(store, Exit, run.prefix + "exit.json")

    @staticmethod
    def _stop_written(run: Run, store: Store, kept: _Kept) -> bool:
        kept.stop_written = kept.stop_written or store.get(run.prefix + "stop.json") is not None
        return kept.stop_written

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
            if not (run.stop_wanted or run.part)
            and run.package in self._world.packages
            and self._world.packages[run.package].abort_wanted(Path(run.project), run.job)
        ]


def load_document(store: Store, kind: type[D], key: str) -> D | None:
    """A document of the store, or None when there is none. Raises Corrupt, StoreError."""
    data = store.get(key)
    return None if data is None else documents.load(kind, data, key)
