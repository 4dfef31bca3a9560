"""Two published studies on AWS, as they were and as cryoburst would carry them out, in hours and dollars of 2017.

    script/bench papers [--json]

Each study has a key: betagal-2018 (cryoem-cloud-tools) and trpv1-2017-aws (ScipionCloud). The same stages, sizes,
speeds and prices go through the engine as it is, around a clock, lines, a store and machines that are simulated:

paper_hours, paper_usd   the study's own plan: one stage after the other, data in, run, data out, on its own machines.
                         They must come out as printed (published_hours, published_usd), which validates the replay.
ours_hours, ours_usd     ours on the machine types of the study; ours_usd_spot with machines at half the price
free_choice_hours        with all machine types of 2017 that the table has; free_choice_usd beside it
hidden_data_fraction     of the data time beside the first upload, how much does not lengthen the whole
started_hours            ours as one would cut it where each started hour is paid: until 2 October 2017

"ours" and "free_choice" tell the rest. What was assumed is in docs/papers.md.
"""

import argparse
import json
import math
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from _bucket import BEGIN, SCALE
from _replay import STAGE, Replay
from _simulation import Rented, Simulation, Work
from _studies import S3_2017, Kind, Laws, Row, Stage, Study, betagal, made, trpv1

from cryoburst.engine import forecast
from cryoburst.engine.bill import BLOB
from cryoburst.model.documents import Output, Spec
from cryoburst.model.job import Wishes
from cryoburst.model.plugins import Offer
from cryoburst.model.price import GB, MONTH, PARTS, Price, Requests
from cryoburst.model.run import Run

BUDGET = 400.0  # USD that a stage may cost at most: the planner takes the fastest machine within it
SPOT = 0.5  # of the price of a machine
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # where thousands of names cost little

Span = tuple[float, float]


@dataclass(frozen=True)
class Wish:
    """What the user says of a stage: parts, and a type where the fastest within the budget is not meant."""

    parts: int = 1
    machine: str = ""


OURS: Mapping[str, Mapping[str, Wish]] = {
    "betagal-2018": {
        "Movie alignment": Wish(64),
        "Autopick": Wish(8),
        "CTF estimation": Wish(4),
        "Extract": Wish(8),
        "Movie extract": Wish(32),
    },
    "trpv1-2017-aws": {
        "Movie transfer + align + CTF (streamed)": Wish(69, "g2.2xlarge"),
        "Extract particles": Wish(8, "g2.2xlarge"),
    },
}

# Where started hours are paid: parts of almost an hour.
COARSE: Mapping[str, Mapping[str, Wish]] = {
    "betagal-2018": {"Movie alignment": Wish(16), "Movie extract": Wish(8)},
    "trpv1-2017-aws": {
        "Movie transfer + align + CTF (streamed)": Wish(69, "g2.2xlarge"),
        "Extract particles": Wish(2, "g2.2xlarge"),
    },
}


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="nothing: it takes seconds as it is")
    parser.add_argument("--json", action="store_true", help="the default, and the only form")
    parser.parse_args()
    print(json.dumps({study.name: measure(study) for study in (betagal(), trpv1())}, indent=1))


def measure(study: Study, most: int = 1000) -> dict[str, object]:
    """All numbers of a study; no stage in more parts than ``most``."""
    paper = paper_plan(study)
    ours = our_plan(study, study.used, OURS[study.name], most)
    free = our_plan(study, frozenset(study.kinds), OURS[study.name], most)
    coarse = our_plan(study, study.used, COARSE[study.name], most)
    return {
        "published_hours": round(sum(row.total for row in study.rows.values()), 2),
        "published_usd": round(published_usd(study), 2),
        "paper_hours": round(paper.hours, 2),
        "paper_usd": round(paper.usd, 2),
        "ours_hours": round(ours.hours, 2),
        "ours_usd": round(ours.usd(), 2),
        "ours_usd_spot": round(ours.usd(spot=True), 2),
        "free_choice_hours": round(free.hours, 2),
        "free_choice_usd": round(free.usd(), 2),
        "hidden_data_fraction": round(ours.hidden(study), 3),
        "upload_hours": round(study.upload, 2),
        "started_hours": {"hours": round(coarse.hours, 2), "usd": round(coarse.usd(started_hours=True), 2)},
        "ours": ours.told(study),
        "free_choice": free.told(study),
    }


# ------------------------------------------------------------------------------------------------ the study's own plan


@dataclass(frozen=True)
class Outcome:
    """How long a plan took, and what it cost by the study's own accounting."""

    hours: float
    usd: float


@dataclass
class PaperLaws:
    """The machines of a stage are one block, which takes what is printed: its data, then its program."""

    study: Study

    def hours(self, run: Run, offer: Offer) -> float:
        """Not asked for."""
        return 0.0

    def work(self, run: Run, spec: Spec, offer: Offer) -> Work:
        """The data time of the first stage without the upload, which the line takes."""
        stage = next(each for each in self.study.stages if each.folder == run.job)
        row = self.study.rows[stage.step]
        data = row.data - (self.study.upload if stage is self.study.stages[0] and row.data else 0.0)
        return Work(data * 3600, row.run * 3600, 0.0, made(stage, range(max(1, stage.units))))


def paper_plan(study: Study) -> Outcome:
    """One stage after the other on the study's machines."""
    stages: list[Stage] = []
    for stage in study.stages:
        before = (stages[-1].step,) if stages else ()
        streamed = not stages and not study.rows[stage.step].data  # its movies come to its machine while it works
        stages.append(replace(stage, after=before, cut=False, reads=() if streamed else stage.reads))
    blocks = {_block(row): _as_block(study.kinds[row.machine].offer, row) for row in study.rows.values()}
    wishes = {step: Wish(1, _block(row)) for step, row in study.rows.items()}
    with tempfile.TemporaryDirectory(prefix="cryoburst-bench-", dir=MEMORY) as folder:
        simulation = Simulation(
            Path(folder), Replay(), list(blocks.values()), PaperLaws(study), study.line, study.line,
            boot=0.0, told=0.0, off=0.0,
        )  # fmt: skip
        carry_out(simulation, study, stages, wishes)
        rented = simulation.provider.rented
        return Outcome(simulation.hours, sum(_paper_usd(study, each) for each in rented) + _kept_usd(study))


def _block(row: Row) -> str:
    return f"{row.machines} x {row.machine}"


def _as_block(offer: Offer, row: Row) -> Offer:
    return replace(offer, name=_block(row), usd_per_hour=row.usd_per_hour * row.machines)


def _paper_usd(study: Study, machine: Rented) -> float:
    """By the study's accounting: hours and their parts; of movie alignment in beta-galactosidase the program alone."""
    stage = next(each for each in study.stages if each.folder == machine.job)
    row = study.rows[stage.step]
    first = stage is study.stages[0]
    hours = (machine.ended - machine.fetched if first and row.data else machine.off - machine.ordered) / 3600
    disk = study.disks[0 if first else 1] * (study.kinds[row.machine].offer.disk_usd_gb_month or 0.0)
    return hours * ((machine.offer.usd_per_hour or 0.0) + disk * 3600 / MONTH)


def _kept_usd(study: Study) -> float:
    return study.stored / 1e9 * (S3_2017.gb_month or 0.0)


def published_usd(study: Study) -> float:
    """What the study prints, its disks and its storage included."""
    return sum(row.usd for row in study.rows.values()) + study.beside


# --------------------------------------------------------------------------------------------------------------- ours


@dataclass
class Ours:
    """How our plan went; s since its beginning."""

    hours: float
    rented: list[Rented]
    uploads: list[Span]
    downloads: list[Span]
    stored: float  # byte seconds
    sent: float  # bytes from home, and to it
    fetched: float

    def price(self, *, started_hours: bool = False) -> Price:
        """By the second, or by started hours as until 2 October 2017."""
        total = Price()
        for machine in self.rented:
            hours = (machine.off - machine.ordered) / 3600
            hours = float(math.ceil(hours)) if started_hours else hours
            disk = int(machine.read + machine.made)
            disk = disk if disk > machine.offer.local_disk_bytes else 0
            total += forecast.price(machine.offer, hours, disk, 0, Requests(), 0, S3_2017)
        made_there = sum(machine.made for machine in self.rented)
        read_there = sum(machine.read for machine in self.rented)
        asked = Requests(math.ceil((self.sent + made_there) / BLOB), math.ceil((read_there + self.fetched) / BLOB))
        store = forecast.price(
            replace(self.rented[0].offer, usd_per_hour=0.0), 0.0, 0, 0, asked, int(self.fetched), S3_2017
        )
        return total + store + Price(storage=self.stored / GB / MONTH * (S3_2017.gb_month or 0.0))

    def usd(self, *, spot: bool = False, started_hours: bool = False) -> float:
        """All of it."""
        price = self.price(started_hours=started_hours)
        return price.known - (price.instance or 0.0) * (1 - SPOT) * spot

    @property
    def programs(self) -> list[Span]:
        """When programs were at work, and did not wait for data."""
        return [(each.begun, each.ended) for each in self.rented]

    @property
    def moves(self) -> list[Span]:
        """When data moved, but for the first upload."""
        moved = [span for each in self.rented for span in ((each.started, each.fetched), (each.ended, each.sent))]
        return moved + self.downloads

    @property
    def exposed(self) -> float:
        """Hours in which data moved, no program ran, and the first upload was over."""
        busy = union([*self.programs, *self.uploads])
        return (length(union([*busy, *self.moves])) - length(busy)) / 3600

    def other(self, study: Study) -> float:
        """Hours of data beside the first upload: the study's own, or where it does not tell, ours one after another."""
        told = sum(row.data for row in study.rows.values())
        return told - study.upload if told else sum(end - begin for begin, end in self.moves) / 3600

    def hidden(self, study: Study) -> float:
        """The share of that which does not lengthen the whole."""
        return 1 - self.exposed / self.other(study)

    def told(self, study: Study) -> dict[str, object]:
        """What explains the numbers."""
        total = self.price()
        price = {part: round(total.known_of(part), 2) for part in PARTS}
        program_only = length(union([*self.programs, *self.uploads])) - length(union(self.uploads))
        uploads = length(union(self.uploads)) / 3600
        return {
            "usd_parts": price,
            "usd_by_started_hours": round(self.usd(started_hours=True), 2),
            "hours_parts": {
                "upload": round(uploads, 2),
                "programs": round(program_only / 3600, 2),
                "data": round(self.exposed, 2),
                "waiting": round(self.hours - uploads - program_only / 3600 - self.exposed, 2),
            },
            "other_data_hours": round(self.other(study), 2),
            "machines": len(self.rented),
            "machines_at_once": at_once([(each.ordered, each.off) for each in self.rented]),
            "stages": {stage.step: self._stage(stage) for stage in study.stages},
        }

    def _stage(self, stage: Stage) -> dict[str, object]:
        mine = [each for each in self.rented if each.job == stage.folder]
        work = [each for each in mine if each.part or len(mine) == 1]
        hours = sum(each.off - each.ordered for each in mine) / 3600
        return {
            "from": round((min(each.ordered for each in mine) - BEGIN) / 3600, 2),
            "to": round((max(each.off for each in mine) - BEGIN) / 3600, 2),
            "machine": f"{len(work)} x {work[0].offer.name}",
            "machine_hours": round(hours, 2),
        }


def our_plan(study: Study, types: frozenset[str], wishes: Mapping[str, Wish], most: int = 1000) -> Ours:
    """All stages, each as soon as what it reads is there; none in more parts than ``most``."""
    kinds: list[Kind] = [kind for name, kind in study.kinds.items() if name in types]
    with tempfile.TemporaryDirectory(prefix="cryoburst-bench-", dir=MEMORY) as folder:
        offers = [kind.offer for kind in kinds]
        simulation = Simulation(Path(folder), Replay(), offers, Laws(study), study.line, study.line)
        cut = {step: replace(wish, parts=min(wish.parts, most)) for step, wish in wishes.items()}
        hours = carry_out(simulation, study, study.stages, cut)
        store = simulation.store
        return Ours(
            hours=hours,
            rented=simulation.provider.rented,
            uploads=store.up.busy,
            downloads=store.down.busy,
            stored=store.byte_seconds(),
            sent=store.up.bytes,
            fetched=store.down.bytes + store.later.bytes,
        )


# ------------------------------------------------------------------------------------------------------------- the user


def carry_out(
    simulation: Simulation,
    study: Study,
    stages: Sequence[Stage],
    wishes: Mapping[str, Wish],
    budget: float | None = BUDGET,
) -> float:
    """Submit each stage when those before it have ended; the hours until the last has, before what is fetched later."""
    write_project(simulation.project, study, stages)
    waiting, at_work, done = list(stages), dict[str, tuple[Stage, Run]](), set[str]()
    with simulation.running():
        while waiting or at_work:
            for stage in [each for each in waiting if done.issuperset(each.after)]:
                wish = wishes.get(stage.step, Wish())
                wanted = Wishes(parts=wish.parts, machine=wish.machine, budget=budget, leave=("outputs",))
                at_work[stage.step] = (stage, simulation.submit(stage.folder, wanted))
                waiting.remove(stage)
            simulation.settle()
            ended = [stage for stage, run in at_work.values() if simulation.finished(run)]
            for stage in ended:
                _, run = at_work.pop(stage.step)
                done.add(stage.step)
                simulation.fetch_later(run, partial(_comes, stage))
                simulation.store.expire(stage.ends)
            if not ended and not simulation.clock.jump():
                raise RuntimeError(f"nothing happens any more, and {', '.join(at_work)} have not ended")
        hours = simulation.hours
        simulation.finish()
    return hours


def _comes(stage: Stage, output: Output) -> bool:
    return not any(fnmatchcase(output.path, pattern) for pattern in stage.stays)


def write_project(project: Path, study: Study, stages: Sequence[Stage]) -> None:
    """The folders of the stages, and stand-ins for the movies, which differ in their first bytes and are holes."""
    (project / "Movies").mkdir()
    for number in range(study.movies):
        with (project / f"Movies/m{number:05d}.mrc").open("wb") as file:
            file.write(f"{study.name} {number}".encode())
            file.truncate(round(study.movie / SCALE))
    for stage in stages:
        (project / stage.folder).mkdir(parents=True)
        values = {"units": stage.units, "cut": stage.cut, "reads": stage.reads, "gpus": stage.gpus}
        (project / stage.folder / STAGE).write_text(json.dumps(values))


# --------------------------------------------------------------------------------------------------------------- spans


def union(spans: Sequence[Span]) -> list[Span]:
    """The same time, as spans that don't touch."""
    found: list[Span] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        elif end > begin:
            found.append((begin, end))
    return found


def length(spans: Sequence[Span]) -> float:
    """Of spans that don't touch."""
    return sum(end - begin for begin, end in spans)


def at_once(spans: Sequence[Span]) -> int:
    """The most that overlap."""
    ends = sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans])
    most = now = 0
    for _, change in ends:
        now += change
        most = max(most, now)
    return most


if __name__ == "__main__":
    main()
