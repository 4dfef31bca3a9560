"""What splitting a job costs and gains.

    script/bench split [--quick] [--json]

overhead_1, overhead_2   a real MotionCorr job whose bare command takes about two minutes (RELION's own, one thread):
                         what submit --wait, in one part and in two on this computer, takes longer than the bare command
                         with as many processes, as a share of those two minutes; 0.05 is 5 %.
slower_1, slower_2       the same as a share of the bare command with as many processes: of two, half the time.
                         Medians of four rounds, for a computer may be fast in one and slow in the next; every second
                         one begins with what we send, for it may also become slower all the time. bare_1_seconds,
                         bare_2_seconds, split_1_seconds and split_2_seconds are the medians of the times.
efficiency_8, _64        1,500 movies whose times are published, on a simulated clock with the engine's own decisions:
                         T(1) / (N T(N)), with the movies in the store. overlap_8, _64: the time from the last movie's
                         arrival to the end, over that of one part, with the movies still at home.
merge_10000_s            home's part of a join of 10,000 micrographs: the closure, what is in the store already, and the
                         spec. merge_fetch_10000_s: the same files onto the join's machine; merge_relion_10000_s: what
                         RELION itself takes to join them there.
load                     the load average while it ran: on a busy computer the overheads mean nothing.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryoburst.engine.world import World
    from cryoburst.model.run import Run
    from cryoburst.transfer import Sent

BIN = Path(sys.executable).parent
sys.path.insert(0, str(Path(__file__).parent))

from _farm import Work, farm  # noqa: E402 - files beside this one
from launch import end_watcher, own_environment  # noqa: E402

# Movie alignment of the beta-galactosidase study with cryoem-cloud-tools (Cianfrocco et al. 2018, Table 1): 1,536
# movies of together 12 TB took 2.20 h on five x1.32xlarge, after an upload at 350 MB/s over a link of 10 Gb/s.
PUBLISHED = Work(
    units=1500,
    seconds=2.20 * 3600 * 5 / 1536,
    spread=0.2,  # ours: the table has the sum alone
    bytes_in=12e12 / 1536,
    bytes_out=230e6,  # a micrograph of 7676 x 7420 in 4 bytes
    boot=60.0,  # ours, as is what is between the store and a machine
    home=350e6,
    machine=1.25e9,
    join=5.0,  # RELION's own took 1.7 s for 10,000 micrographs (merge_relion_10000_s)
)
SIZE, PATCHES = 512, 5  # pixels of a movie's edge, and patches along it: much work for few bytes
DISTINCT = 4  # movies that are simulated; the others are copies that differ in a byte
TRIED = 16  # movies of which the time for one is taken
TARGET = 120.0  # s that the bare command shall take, with one process
ROUNDS = 4  # even, so that as many begin with the bare command as with ours
MERGED = 10_000


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a job of some seconds, once, and a join of 500")
    parser.add_argument("--json", action="store_true", help="the default, and the only form")
    options = parser.parse_args()
    os.environ["PATH"] = f"{BIN}:{os.environ['PATH']}"
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory(prefix="cryoburst-bench-", dir="/tmp") as folder:
        print(json.dumps(measure(Path(folder), quick=options.quick)))


def measure(folder: Path, *, quick: bool) -> dict[str, float | bool]:
    """All numbers."""
    values: dict[str, float | bool] = dict(simulated())
    values |= merge(folder / "merge", 500 if quick else MERGED)
    values |= overhead(folder / "overhead", target=8.0 if quick else TARGET, rounds=1 if quick else ROUNDS)
    values["load"] = round(os.getloadavg()[0], 2)
    values["quick"] = quick
    return values


# ------------------------------------------------------------------------------------------------------ simulated


def simulated(work: Work = PUBLISHED) -> dict[str, float]:
    """Efficiency and overlap of 8 and 64 parts."""
    one = farm(work, 1).ended
    values: dict[str, float] = {}
    for parts in (8, 64):
        values[f"efficiency_{parts}"] = round(one / (parts * farm(work, parts).ended), 3)
        times = farm(work, parts, sent=False)
        values[f"overlap_{parts}"] = round((times.ended - times.sent) / statistics.median(times.parts), 2)
    return values


# ------------------------------------------------------------------------------------------------------- overhead


def overhead(folder: Path, target: float, rounds: int) -> dict[str, float]:
    """The real job in one part and in two, over the bare command with one and two processes."""
    folder.mkdir()
    count = movies(folder / "movies", target)
    environment = own_environment(folder / "state")
    times: dict[str, list[float]] = {}

    def bare(name: str, parts: int) -> None:
        project = make_project(folder / f"bare{name}", folder / "movies", processes=parts)
        times.setdefault(f"bare_{parts}", []).append(run_bare(project))
        shutil.rmtree(project)

    def sent(name: str, parts: int) -> None:
        project = make_project(folder / f"sent{name}", folder / "movies", processes=1)
        times.setdefault(f"split_{parts}", []).append(send(project, environment, parts))
        shutil.rmtree(project)

    for number in range(rounds):
        for parts in (1, 2):
            for once in (bare, sent) if number % 2 == 0 else (sent, bare):
                once(f"{number}{parts}", parts)
        print({name: round(seen[-1], 1) for name, seen in times.items()}, file=sys.stderr, flush=True)
    end_watcher(environment)
    values = {f"{name}_seconds": round(statistics.median(seen), 1) for name, seen in times.items()}
    for parts in (1, 2):
        alone = times[f"bare_{parts}"]
        longer = [ours - theirs for ours, theirs in zip(times[f"split_{parts}"], alone, strict=True)]
        values[f"overhead_{parts}"] = share(longer, times["bare_1"])
        values[f"slower_{parts}"] = share(longer, alone)
    return values | {"movies": count}


def share(longer: Sequence[float], of: Sequence[float]) -> float:
    """What times are of others, round by round: the median."""
    return round(statistics.median(each / whole for each, whole in zip(longer, of, strict=True)), 3)


def movies(folder: Path, target: float) -> int:
    """Write as many movies as take ``target`` seconds; how many that are."""
    from cryoburst.simulate.dataset import Settings, write

    write(folder.with_name("simulated"), Settings(micrographs=DISTINCT, size=SIZE, particles=12), lambda _line: None)
    source = folder.with_name("simulated") / "Movies"
    folder.mkdir()
    shutil.copy(source / "gain.mrc", folder)
    first = sorted(source.glob("mic_*"))
    for movie in first:
        shutil.copy(movie, folder)
    trial(folder)  # what is read for the first time takes longer
    few = trial(folder)
    copy(first, folder, range(DISTINCT, TRIED))
    each = (trial(folder) - few) / (TRIED - DISTINCT)  # without the start and the end
    count = max(TRIED, round((target - few) / each) + DISTINCT)
    copy(first, folder, range(TRIED, count))
    return count


def copy(first: Sequence[Path], folder: Path, numbers: Iterable[int]) -> None:
    """Write movies that differ in a pixel, so that each is sent."""
    for number in numbers:
        data = bytearray(first[number % DISTINCT].read_bytes())
        data[-1], data[-2] = number % 100, number // 100
        (folder / f"copy_{number:04d}{first[0].suffix}").write_bytes(data)


def trial(movies: Path) -> float:
    """Seconds of the bare command on the movies that are there."""
    project = make_project(movies.with_name("trial"), movies, processes=1)
    took = run_bare(project)
    shutil.rmtree(project)
    return took


def make_project(folder: Path, source: Path, processes: int) -> Path:
    """A RELION project with a MotionCorr job of all movies, which are links to ``source``."""
    from cryoburst.packages.relion.script import TEMPLATE

    name = "MotionCorr/job002/"
    (folder / name).mkdir(parents=True)
    (folder / "Import/job001").mkdir(parents=True)
    (folder / "Movies").symlink_to(source)
    (folder / "default_pipeline.star").write_text("\ndata_pipeline_general\n\n_rlnPipeLineJobCounter 3\n\n")
    (folder / name / "job.star").write_text("\ndata_job\n\n_rlnJobType 1\n_rlnJobIsContinue 0\n")
    rows = "".join(f"Movies/{path.name} 1\n" for path in sorted(source.iterdir()) if path.name != "gain.mrc")
    (folder / "Import/job001/movies.star").write_text(MOVIES.format(rows=rows))
    program = "relion_run_motioncorr" + ("_mpi" if processes > 1 else "")
    command = (
        f"`which {program}` --i Import/job001/movies.star --o {name} --first_frame_sum 1 --last_frame_sum -1 --use_own"
        f" --j 1 --bin_factor 1 --bfactor 150 --dose_per_frame 3.6 --preexposure 0 --patch_x {PATCHES} --patch_y"
        f" {PATCHES} --gainref Movies/gain.mrc --gain_rot 0 --gain_flip 0 --dose_weighting --grouping_for_ps 4"
        f" --pipeline_control {name}"
    )
    script = TEMPLATE
    for word, value in (("name", name), ("mpinodes", str(processes)), ("threads", "1"), ("command", command)):
        script = script.replace(f"XXX{word}XXX", value)
    (folder / name / "run_submit.script").write_text(script)
    return folder


MOVIES = """
# version 30001

data_optics

loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
_rlnMicrographOriginalPixelSize #3
_rlnVoltage #4
_rlnSphericalAberration #5
_rlnAmplitudeContrast #6
opticsGroup1 1 3.000000 300.000000 2.700000 0.100000


# version 30001

data_movies

loop_
_rlnMicrographMovieName #1
_rlnOpticsGroup #2
{rows}
"""
SCRIPT = "MotionCorr/job002/run_submit.script"


def run_bare(project: Path) -> float:
    """Seconds that the script takes without us, where the job's own machine would run it."""
    from cryoburst.packages.relion import Relion

    start = time.perf_counter()
    call(["bash", SCRIPT], project, os.environ | Relion.environment)
    return time.perf_counter() - start


def send(project: Path, environment: dict[str, str], parts: int) -> float:
    """Seconds of ``submit --wait``, with a watcher that runs already; the store has none of the movies."""
    shutil.rmtree(Path(environment["CRYOBURST_STATE"]) / "store", ignore_errors=True)
    for file in Path(environment["CRYOBURST_STATE"]).glob("cryoburst.db*"):
        file.unlink()
    start = time.perf_counter()
    call(["cryoburst", "submit", SCRIPT, "--parts", str(parts), "--wait"], project, environment)
    took = time.perf_counter() - start
    joined = project / "MotionCorr/job002/corrected_micrographs.star"
    if joined.read_text().count("MotionCorr/job002/Movies/") < 3:
        raise RuntimeError(f"{joined} holds no micrographs")
    return took


def call(words: Sequence[str], folder: Path, environment: dict[str, str]) -> str:
    """A program's standard output. Raises RuntimeError with its own words when it fails."""
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=3600)
    if done.returncode != 0:
        raise RuntimeError(f"{words[0]} {words[1]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


# ---------------------------------------------------------------------------------------------------------- merge


def merge(folder: Path, count: int) -> dict[str, float]:
    """A join of so many micrographs, whose outputs are at home and in the store."""
    from cryoburst.engine.stage_in import stage_in
    from cryoburst.engine.stage_out import read_spec
    from cryoburst.model.documents import Place
    from cryoburst.model.job import Wishes
    from cryoburst.model.states import RunState
    from cryoburst.services.house import open_world
    from cryoburst.services.settings import load
    from cryoburst.services.submit import submit
    from cryoburst.transfer import Line, Receiver, Wanted

    folder.mkdir()
    source = folder / "movies"
    source.mkdir()
    for number in range(count):
        (source / f"mic_{number:05d}.mrcs").write_bytes(b"\0" * 2048)
    (source / "gain.mrc").write_bytes(b"\0" * 2048)
    project = make_project(folder / "project", source, processes=1)
    settings = load(own_environment(folder / "state"))
    world = open_world(settings)
    run = submit(world, settings, project / SCRIPT, project, Wishes(parts=64)).run
    write_outputs(project, count)
    world.ledger.change(run, {"state": RunState.SPLIT})
    run = world.ledger.change(world.ledger.run(run.number), {"state": RunState.STAGING_IN})
    assert run is not None
    keep(world, run)  # as after the parts' outputs came home

    start = time.perf_counter()
    staged = stage_in(world, run)
    took = time.perf_counter() - start
    assert staged is not None
    spec = read_spec(world, run)
    there = folder / "machine"
    wanted = [
        Wanted(i.path, str(there / i.path), i.size, i.checksum, Place(i.key, i.offset), i.mtime_ns)
        for i in spec.inputs
        if i.key
    ]
    start = time.perf_counter()
    if failed := Receiver(world.store(run), Line()).receive(wanted):
        raise RuntimeError(str(failed[0].error))
    for each in spec.inputs:
        if not each.key:
            (there / each.path).parent.mkdir(parents=True, exist_ok=True)
            with (there / each.path).open("wb") as file:
                file.truncate(each.size)
    fetched = time.perf_counter() - start
    (there / SCRIPT).write_text(run.script)
    joined = run_bare(there)
    rows = (there / "MotionCorr/job002/corrected_micrographs.star").read_text().count("_PS.mrc")
    if rows != count:
        raise RuntimeError(f"RELION joined {rows} micrographs of {count}")
    world.ledger.connection.close()
    name = f"merge_{count}"
    return {
        f"{name}_s": round(took, 2),
        f"merge_fetch_{count}_s": round(fetched, 2),
        f"merge_relion_{count}_s": round(joined, 2),
    }


def write_outputs(project: Path, count: int) -> None:
    """What the parts made of the movies, as RELION's own MotionCorr leaves it; the images are empty."""
    folder = project / "MotionCorr/job002/Movies"
    folder.mkdir()
    for number in range(count):
        root = folder / f"mic_{number:05d}"
        movie = f"Movies/{root.name}.mrcs"
        root.with_suffix(".star").write_text(MODEL.format(movie=movie, shift=number % 7))
        root.with_name(f"{root.name}_shifts.eps").write_text("%!PS-Adobe-2.0 EPSF-1.2\n%%BoundingBox: 0 0 9 9\n%%EOF\n")
        for image in (".mrc", "_PS.mrc"):
            root.with_name(root.name + image).touch()


MODEL = """
data_general

_rlnImageSizeX 512
_rlnImageSizeY 512
_rlnImageSizeZ 3
_rlnMicrographMovieName {movie}
_rlnMicrographGainName Movies/gain.mrc
_rlnMicrographBinning 1.000000
_rlnMicrographOriginalPixelSize 3.000000
_rlnMicrographDoseRate 3.600000
_rlnMicrographPreExposure 0.000000
_rlnVoltage 300.000000
_rlnMicrographStartFrame 1
_rlnMotionModelVersion 0


data_global_shift

loop_
_rlnMicrographFrameNumber #1
_rlnMicrographShiftX #2
_rlnMicrographShiftY #3
1 0.000000 0.000000
2 {shift}.100000 0.200000
3 {shift}.300000 0.400000

"""


def keep(world: "World", run: "Run") -> None:
    """Have the outputs in the store, and the ledger know of them, as when they came from the parts' machines."""
    from cryoburst.transfer import Line, Sender, Source

    inputs = {i.path: i for i in world.package(run).inputs(world.job(run)) if not i.listed}
    rows: list[tuple[str, int, int, int, str]] = []

    def done(sent: "list[Sent]") -> None:
        for each in sent:
            found = inputs[each.source.name]
            rows.append((found.path, found.size, found.mtime_ns, found.inode, each.checksum))
            world.ledger.keep_objects(run.store, run.store_folder, {each.checksum: each.place})

    sources = [Source(i.path, str(i.source), i.size, i.mtime_ns) for i in inputs.values()]
    if unsent := Sender(world.store(run), f"{run.home_prefix}1/outputs/", Line()).send(sources, done):
        raise RuntimeError(unsent[0].why)
    world.ledger.keep_checksums(run.project, rows)


if __name__ == "__main__":
    main()
