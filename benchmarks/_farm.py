"""A job of many movies on simulated machines, in one part or in many: the engine as it is, around what ``_simulation``
simulates, with every movie a file and every part a run."""

import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

from _bucket import BEGIN, SCALE
from _replay import Replay
from _simulation import Made, Simulation, is_join, units_of
from _simulation import Work as MachineWork
from _studies import Stage, Study
from papers import MEMORY, Wish, carry_out

from cryoburst.model.documents import Spec
from cryoburst.model.patience import METERED
from cryoburst.model.plugins import Offer
from cryoburst.model.run import Run

FOLDER = "Align/job001/"
AT_ONCE = 1e18  # bytes/s: of a line that takes no time


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


@dataclass(frozen=True)
class Times:
    """When things happened, s from the submission on."""

    sent: float  # the last input reached the store
    ended: float
    parts: list[float]  # of each part, from its machine's order to its end
    machines: int


class Laws:
    """How long the machines take; the same movie takes the same in one part and in many."""

    def __init__(self, work: Work, seed: int = 1) -> None:
        chance = random.Random(seed)
        self._work = work
        self._took = [work.seconds * (1 + work.spread * chance.uniform(-1, 1)) for _ in range(work.units)]

    def hours(self, run: Run, offer: Offer) -> float:
        """Of the program alone; of a join it is not known."""
        return 0.0 if is_join(run) else sum(self._took[n] for n in units_of(run, self._work.units)) / 3600

    def work(self, run: Run, spec: Spec, offer: Offer) -> MachineWork:
        """Of a part, or of the join; a movie's output is sent while the next one is at work."""
        work = self._work
        fetch = SCALE * sum(i.size for i in spec.inputs if i.key) / work.machine
        if is_join(run):
            return MachineWork(fetch, work.join, 0.0, [Made(f"{FOLDER}joined.star", 1e6)])
        units = units_of(run, work.units)
        program = sum(self._took[n] for n in units)
        makes = [Made(f"{FOLDER}m{n:05d}.mic", work.bytes_out, comes=False) for n in units]
        return MachineWork(fetch, program, work.bytes_out / work.machine, makes, program)


def farm(work: Work, parts: int, *, sent: bool = True) -> Times:
    """Carry the job out in so many parts; with ``sent`` its movies are in the store before."""
    stage = Stage("Movie alignment", FOLDER, (), work.units, True, ("Movies/m{}.mrc",), stays=("*",))
    line = AT_ONCE if sent else work.home
    study = Study(
        name="split",
        rows={},
        stages=[stage],
        kinds={},
        line=line,
        movies=work.units,
        movie=work.bytes_in,
        together=1,
        used=frozenset(),
        beside=0.0,
    )
    offer = Offer(
        provider="cloud",
        name="machine",
        cores=64,
        memory_bytes=1 << 40,
        gpus=0,
        usd_per_hour=1.0,
        disk_bytes=16 * 10**12,
        disk_usd_gb_month=0.0,
    )
    with tempfile.TemporaryDirectory(prefix="cryoburst-bench-", dir=MEMORY) as folder:
        simulation = Simulation(
            Path(folder), Replay(), [offer], Laws(work), line, AT_ONCE, boot=work.boot, told=METERED.look_least
        )
        hours = carry_out(simulation, study, study.stages, {stage.step: Wish(parts)}, budget=None)
        rented = simulation.provider.rented
        arrived = max(end for _, end in simulation.store.up.busy) - BEGIN
        parts_took = [each.sent - each.ordered for each in rented if each.part]
        return Times(arrived, hours * 3600, parts_took, len(rented))
