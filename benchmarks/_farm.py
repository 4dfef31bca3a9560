"""Simulated machines for a split run: the engine's own decisions (``engine.step``), and a clock that no one waits for.

What takes time is an event: bytes on a link, a machine that boots, a program that works. What happens next is asked of
``step`` for every row, again and again, as the watcher does.
"""

import heapq
import itertools
import random
from dataclasses import dataclass, field, replace

from cryoburst.engine.split import SENDING, is_turn
from cryoburst.engine.step import Effect, Seen, step
from cryoburst.model.documents import Exit
from cryoburst.model.patience import METERED, Limits
from cryoburst.model.run import Machine, Run
from cryoburst.model.split import block
from cryoburst.model.states import MachineState, RunState


@dataclass(frozen=True)
class Work:
    """A job and where it runs; s and bytes."""

    units: int
    seconds: float  # of one unit on one machine
    spread: float  # of that, by chance, to either side
    bytes_in: float  # of one unit
    bytes_out: float
    boot: float  # from the order of a machine to its agent
    home: float  # bytes/s between home and the store
    machine: float  # bytes/s between the store and a machine
    join: float  # of the program in the join
    sent: bool  # whether the inputs are in the store before


@dataclass
class Times:
    """When things happened, s from the submission on."""

    sent: float = 0.0  # the last input reached the store
    ended: float = 0.0
    machine_seconds: float = 0.0  # of all machines together
    part_seconds: list[float] = field(default_factory=list[float])  # of each part, from its machine's order to its end


class Farm:
    """One run of some parts."""

    def __init__(self, work: Work, parts: int, seed: int = 1) -> None:
        chance = random.Random(seed)
        self.work, self.now, self.times = work, 0.0, Times()
        self._took = [work.seconds * (1 + work.spread * chance.uniform(-1, 1)) for _ in range(work.units)]
        self._events: list[tuple[float, int, str, str]] = []
        self._count = itertools.count()
        self._known: dict[str, set[str]] = {}  # uid -> what home can see of it
        self.machines: dict[str, Machine] = {}
        self._busy: set[str] = set()
        whole = Run(
            number=1, uid="run", owner="", project="/p", job="j/", target="", kind="", package="", script="", store="",
            provider="farm", machine="", max_price=None, parts=parts, submitted=0.0, total=work.units, unit="micro",
        )  # fmt: skip
        self.rows = {"run": whole}

    def run(self) -> Times:
        """Carry the run to its end."""
        while not self.rows["run"].state.final:
            while any(self._decide(uid) for uid in list(self.rows)):
                pass
            if self.rows["run"].state.final:
                break
            when, _, uid, what = heapq.heappop(self._events)
            look = METERED.look_least  # home sees it at its next look
            self.now = max(self.now, when + (look if what in ("started", "exit") else 0.0))
            self._busy.discard(uid)
            self._known.setdefault(uid, set()).add(what)
        self.times.ended = self.now
        return self.times

    def _later(self, uid: str, what: str, seconds: float) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._count), uid, what))

    def _decide(self, uid: str) -> bool:
        """What the engine does next with a row; whether it did anything."""
        run = self.rows[uid]
        if run.state.final or uid in self._busy:
            return False
        known = self._known.get(uid, set())
        parts = tuple(row for row in self.rows.values() if row.part)
        seen = Seen(
            now=self.now,
            store_known=True,
            spec="spec" in known,
            started=self.now if "started" in known else None,
            exit=Exit(self.now, "finished", 0, "", 0.0, {}) if "exit" in known else None,
            machine_known=False,
            parts=parts if run.state is RunState.SPLIT else None,
            turn=is_turn(run, (p.part for p in parts if p.state in SENDING)) if run.part else True,
        )
        decision = step(run, self.machines.get(uid), seen, Limits())
        if decision.state is not None:
            self._move(run, decision.state)
            return True
        return self._perform(run, decision.effect)

    def _move(self, run: Run, state: RunState) -> None:
        self.rows[run.uid] = replace(run, state=state)
        if state is RunState.STARTING:
            self._later(run.uid, "started", self.work.boot)
            self._busy.add(run.uid)
        if state is RunState.RUNNING:
            self._later(run.uid, "exit", self._works(run))
            self._busy.add(run.uid)

    def _works(self, run: Run) -> float:
        """Seconds from the agent's start to its exit record: inputs, program, the outputs that are not sent yet."""
        work, rows = self.work, self._rows_of(run)
        if run.parts > 1 and not run.part:
            return work.join
        program = sum(self._took[n] for n in rows)
        return len(rows) * work.bytes_in / work.machine + program + work.bytes_out / work.machine

    def _rows_of(self, run: Run) -> range:
        return block(self.work.units, run.part, run.parts) if run.part else range(self.work.units)

    def _perform(self, run: Run, effect: Effect) -> bool:
        work, uid = self.work, run.uid
        match effect:
            case Effect.REQUEST:
                split = run.parts > 1 and not run.part
                self._move(run, RunState.SPLIT if split else RunState.STAGING_IN)
            case Effect.SPLIT:
                for number in range(1, run.parts + 1):
                    part = replace(run, uid=f"{uid}.{number}", state=RunState.DRAFT)
                    self.rows[part.uid] = part
            case Effect.STAGE_IN:
                size = 0.0 if work.sent or (run.parts > 1 and not run.part) else len(self._rows_of(run)) * work.bytes_in
                self._later(uid, "spec", size / work.home)
                self._busy.add(uid)
                if size:
                    self.times.sent = max(self.times.sent, self.now + size / work.home)
            case Effect.CREATE:
                self.machines[uid] = Machine(f"{uid}-1", uid, 1, "farm", "", 1.0, MachineState.BOOTING, self.now, 1e9)
            case Effect.FETCH:
                took = self.now - self.machines[uid].requested
                self.times.machine_seconds += took
                if run.part:
                    self.times.part_seconds.append(took)
                self._move(run, RunState.SUCCEEDED)
            case _:
                return False
        return True
