"""Two published studies as stages with sizes, and how long a stage takes on another machine.

The rows, the machines and their prices are tables in ``published/``; docs/papers.md says where each number is from.
Sizes are in bytes of the real data.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from _bucket import SCALE  # pyright: ignore[reportMissingImports]
from _simulation import Made, Work, is_join, units_of  # pyright: ignore[reportMissingImports]

from cryoburst.engine.forecast import published_fit
from cryoburst.engine.power import power
from cryoburst.model.documents import Spec
from cryoburst.model.plugins import Offer
from cryoburst.model.price import Tariff
from cryoburst.model.run import Run

TABLES = Path(__file__).parent / "published"
EBS_MOST = 16 * 10**12  # bytes of disk that a machine can be given
DATED = "2017"

# S3 Standard and EBS gp2 of 2017: the studies' own figures (30 TB for a month are 690 USD, 10 TB for 36.7 h 55.53 USD),
# with requests and egress as ever since; docs/papers.md has the sources.
S3_2017 = Tariff(gb_month=0.023, put_1000=0.005, get_1000=0.0004, egress_gb=0.09, dated=DATED)
GP2 = {"us-east-1": 0.10, "eu-west-1": 0.11}


@dataclass(frozen=True)
class Row:
    """A published stage; hours and USD. ``data`` is 0 where the study does not tell it apart."""

    step: str
    total: float
    data: float
    run: float
    machines: int
    machine: str
    usd_per_hour: float  # of each machine, as it was billed
    usd: float


G2_8XLARGE = 2.808  # USD/h: what TRPV1's table is by, though it names g2.2xlarge (103 USD for 36.7 h)


def rows(study: str) -> dict[str, Row]:
    """The stages of a study by the name of their step, in their order."""
    found: dict[str, Row] = {}
    with (TABLES / "runs.csv").open(newline="") as file:
        for line in csv.DictReader(file):
            if line["study"] == study and line["machine_type"]:
                total, data = float(line["total_hours"]), float(line["data_hours"] or 0)
                numbers = (int(line["machines"]), line["machine_type"], float(line["usd_per_machine_hour"] or 0))
                run = float(line["run_hours"] or total - data)
                found[line["step"]] = Row(line["step"], total, data, run, *numbers, float(line["cost_usd"] or 0))
    return found


@dataclass(frozen=True)
class Kind:
    """A machine type of 2017, and the bytes/s between it and the store."""

    offer: Offer
    rate: float


def kinds(region: str) -> dict[str, Kind]:
    """The types of a region, by name."""
    with (TABLES / "machines-2017.csv").open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["region"] == region]
    return {
        line["machine_type"]: Kind(
            Offer(
                provider="cloud",
                name=line["machine_type"],
                cores=int(line["cores"]),
                memory_bytes=int(line["memory_gib"]) << 30,
                gpus=int(line["gpus"]),
                usd_per_hour=float(line["usd_per_hour"]),
                disk_bytes=EBS_MOST,
                region=region,
                gpu=line["gpu"],
                local_disk_bytes=int(line["local_disk_gb"]) * 10**9,
                price_dated=DATED,
                disk_usd_gb_month=GP2[region],
            ),
            float(line["store_mb_per_s"]) * 1e6,
        )
        for line in lines
    }


@dataclass(frozen=True)
class Stage:
    """A stage and its data. Files of units (micrographs) have ``{}`` for a number in their names."""

    step: str
    folder: str
    after: tuple[str, ...] = ()  # steps
    units: int = 0
    cut: bool = False  # whether the splitter may cut it by its units
    reads: tuple[str, ...] = ()
    makes: Mapping[str, float] = field(default_factory=dict[str, float])  # name in the folder -> bytes of each
    gpus: int = 0
    passes: int = 1  # over all that it reads, in equal shares of its time
    stays: tuple[str, ...] = ()  # patterns of outputs that home never fetches
    ends: tuple[str, ...] = ()  # ends of the names of what nobody reads after this stage: it goes from the store


@dataclass(frozen=True)
class Study:
    """A study, its line, and its stages in their order."""

    name: str
    rows: Mapping[str, Row]
    stages: Sequence[Stage]
    kinds: Mapping[str, Kind]
    line: float  # bytes/s from home to the store
    movies: int  # files that stand for them
    movie: float  # bytes of each
    together: int  # movies that one stands for, as 1,536 names of each kind would only take time
    used: frozenset[str]  # the machine types of the study
    beside: float  # USD that it prints beside its machines
    stored: float = 0.0  # bytes that it kept in S3 for a month
    disks: tuple[float, float] = (0.0, 0.0)  # GB that it rented for its first stage, and for each later one

    @property
    def upload(self) -> float:
        """Hours that the movies take."""
        return self.movies * self.movie / self.line / 3600


# ------------------------------------------------------------------------------------------- beta-galactosidase

MOVIES, MOVIE = 1536, 12e12 / 1536  # published: 12 TB
MICROGRAPH = 7676 * 7420.0  # 7676 x 7420 in super-resolution, 4 bytes; binned by 2, as particles are at 0.637 A
FRAMES = MOVIE / (7676 * 7420 * 4)  # 34, if pixels have 4 bytes
BOX = 384 * 384 * 4  # bytes of a particle at 0.637 A
ITERATIONS = 25  # published for both classifications; a refinement has about as many
PICKED, CLEAN, LAST = 138_901, 119_443, 106_237  # particles


def betagal(together: int = 8) -> Study:
    """The study of 2018 with cryoem-cloud-tools: EMPIAR-10061 at 2.2 A. One file stands for so many movies."""
    map_, n = 384**3 * 4.0, MOVIES // together
    stages = (
        Stage(
            "Movie alignment", "Align/job001/", (), n, True, ("Movies/m{}.mrc",),
            {"m{}.mic": MICROGRAPH * together, "m{}.mov": MOVIE * together}, stays=("*.mov",), ends=(".mrc",),
        ),
        Stage("Autopick", "Pick/job002/", ("Movie alignment",), n, True, ("Align/job001/m{}.mic",),
              {"m{}.box": 20e3 * together}, gpus=1),
        Stage("CTF estimation", "Ctf/job003/", ("Movie alignment",), n, True, ("Align/job001/m{}.mic",),
              {"m{}.ctf": 1e6 * together}, gpus=1),
        Stage(
            "Extract", "Extract/job004/", ("Autopick", "CTF estimation"), n, True,
            ("Align/job001/m{}.mic", "Pick/job002/m{}.box", "Ctf/job003/m{}.ctf"),
            {"m{}.192": PICKED * BOX / 4 / n, "m{}.384": PICKED * BOX / n}, ends=(".mic",),
        ),
        Stage("2D classification", "Class2D/job005/", ("Extract",), n, False, ("Extract/job004/m{}.192",),
              {"classes.mrcs": 200 * 192 * 192 * 4.0, "data.star": 60e6}, gpus=1, passes=ITERATIONS),
        Stage("3D autorefine 1", "Refine/job006/", ("2D classification",), n, False, ("Extract/job004/m{}.384",),
              {"map.mrc": 3 * map_, "data.star": 60e6}, gpus=1, passes=ITERATIONS),
        Stage(
            "Movie extract", "Extract/job007/", ("3D autorefine 1",), n, True,
            ("Align/job001/m{}.mov",), {"m{}.mst": CLEAN * FRAMES * BOX / n}, stays=("*.mst",), ends=(".mov",),
        ),
        Stage("Movie refine", "Refine/job008/", ("Movie extract",), n, False, ("Extract/job007/m{}.mst",),
              {"data.star": 2e9}),
        Stage(
            "Polish", "Polish/job009/", ("Movie refine",), n, False,
            ("Extract/job007/m{}.mst", "Refine/job008/data.star"), {"shiny.mrcs": float(CLEAN * BOX)}, ends=(".mst",),
            passes=2,
        ),
        Stage("3D classification", "Class3D/job010/", ("Polish",), 0, False, ("Polish/job009/shiny.mrcs",),
              {"maps.mrc": 8 * map_, "data.star": 60e6}, gpus=1, passes=ITERATIONS),
        Stage("3D autorefine 2", "Refine/job011/", ("3D classification",), 0, False, ("Polish/job009/shiny.mrcs",),
              {"map.mrc": 3 * map_, "data.star": 60e6}, gpus=1, passes=ITERATIONS),
    )  # fmt: skip
    published = rows("betagal-2018")
    used = frozenset(row.machine for row in published.values())
    return Study(
        "betagal-2018",
        published,
        stages,
        kinds("us-east-1"),
        350e6,
        n,
        MOVIE * together,
        together,
        used,
        690.0,
        stored=30e12,
    )


# -------------------------------------------------------------------------------------------------------- TRPV1


def trpv1(together: int = 7) -> Study:
    """The study of 2017 with ScipionCloud on AWS: EMPIAR-10005. One file stands for so many movies."""
    n, particles = 966 // together, 25e9
    first, name = "Align/job001/", "Movie transfer + align + CTF (streamed)"
    stack = ("Extract/job002/m{}.box",)

    def later(step: str, folder: str, after: str, gpus: int = 0) -> Stage:
        return Stage(step, folder, (after,), n, False, stack, {"result.mrc": 1e9}, gpus=gpus, passes=ITERATIONS)

    stages = (
        Stage(name, first, (), n, True, ("Movies/m{}.mrc",), {"m{}.mic": 8000 * 8000 * 4.0 * together}, gpus=1,
              stays=("*.mic",), ends=(".mrc",)),
        Stage("Extract particles", "Extract/job002/", (name,), n, True, (f"{first}m{{}}.mic",),
              {"m{}.box": particles / n}, ends=(".mic",)),
        later("2D classification", "Class2D/job003/", "Extract particles", 1),
        later("Initial volume", "Initial/job004/", "2D classification"),
        later("3D classification", "Class3D/job005/", "Initial volume", 1),
        later("3D autorefine", "Refine/job006/", "3D classification", 1),
        Stage("Postprocessing", "Post/job007/", ("3D autorefine",), 0, False, ("Refine/job006/result.mrc",),
              {"map.mrc": 0.3e9}),
    )  # fmt: skip
    published = rows("trpv1-2017-aws")
    used = frozenset(row.machine for row in published.values())
    for step, row in published.items():
        if row.machine == "g2.2xlarge":
            published[step] = replace(row, usd_per_hour=G2_8XLARGE)
    disks = (10_000.0, 2_000.0)
    return Study(
        "trpv1-2017-aws",
        published,
        stages,
        kinds("eu-west-1"),
        75e6,
        n,
        6e9 * together,
        together,
        used,
        57.78,
        disks=disks,
    )


# ---------------------------------------------------------------------------------------- how long things take


@dataclass
class Laws:
    """How long the stages of a study take on machines of 2017, by the forecast's own exponents; of a join, ``join`` s.

    Parts take their share: micrographs are independent, and so are machines.
    """

    study: Study
    join: float = 30.0

    def __post_init__(self) -> None:
        self._stages = {stage.folder: stage for stage in self.study.stages}

    def hours(self, run: Run, offer: Offer) -> float:
        """Of the program, for the planner; of a join it is not known."""
        return 0.0 if is_join(run) else self._program(run, offer)

    def _program(self, run: Run, offer: Offer) -> float:
        stage = self._stages[run.job]
        row, gpu = self.study.rows[stage.step], stage.gpus > 0
        paper = self.study.kinds[row.machine].offer
        faster = (power(offer, gpu=gpu) / power(paper, gpu=gpu)) ** published_fit().exponent(gpu=gpu)
        return row.run * row.machines / faster * len(units_of(run, max(1, stage.units))) / max(1, stage.units)

    def work(self, run: Run, spec: Spec, offer: Offer) -> Work:
        """What the machine does: its inputs, then the program, while outputs go up; then what is left of them."""
        stage = self._stages[run.job]
        rate = self.study.kinds[offer.name].rate
        fetch = SCALE * sum(i.size for i in spec.inputs if i.key) / rate
        if is_join(run):
            return Work(fetch, self.join, 0.0, [Made(f"{run.job}joined.star", 1e6)])
        program = self._program(run, offer) * 3600
        makes = made(stage, units_of(run, max(1, stage.units)))
        last = sum(stage.makes.values()) / rate  # of the last micrograph, or of a stage that is one
        last /= self.study.together if stage.cut else 1
        rest = max(last, sum(each.size for each in makes) / rate - program)
        return Work(fetch, program, rest, makes, program / stage.passes)


def made(stage: Stage, units: range) -> list[Made]:
    """What comes of some units of a stage, or of one that can't be cut."""
    return [
        Made(stage.folder + name.format(f"{n:05d}"), size, not any(fnmatchcase(name, each) for each in stage.stays))
        for name, size in stage.makes.items()
        for n in (units if "{}" in name else range(1))
    ]
