"""What the demo shows at its end: the table of its jobs, the pictures, and the map's agreement with the truth."""

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cryoburst.model.course import FscPanel, Montage, Panel
from cryoburst.model.errors import BadInput

from .pipelines import PIPELINES
from .queue import program
from .run import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = "pictures"
DIAMETER = 280.0  # Å of the circles around picks
SHOWN = "mic_005"  # the micrograph whose pictures are drawn


def runs(folder: Path) -> list[dict[str, object]]:
    """Return what `cryoburst runs --json` says of this project; BadInput when it says nothing that can be read."""
    try:
        done = subprocess.run(
            [program("cryoburst"), "runs", "--json"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        rows = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise BadInput("`cryoburst runs --json` gave no list of runs", where=str(error)[:200]) from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadInput("`cryoburst runs --json` gave no list of runs")
    return [row for row in rows if row.get("project", str(folder)) == str(folder)]


def size(count: object) -> str:
    """Bytes for people, in powers of 1000; nothing for nothing known."""
    if not isinstance(count, (int, float)):
        return ""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return ""


def seconds(value: object) -> str:
    """Seconds for people; nothing for nothing known."""
    return f"{value:.1f}" if isinstance(value, (int, float)) else ""


def show(rows: Sequence[Mapping[str, object]], jobs: Sequence[str]) -> None:
    """Print one row per run of these jobs (folders with their slash), in the order of the jobs."""
    from rich.console import Console
    from rich.table import Table

    order = {job.rstrip("/"): place for place, job in enumerate(jobs)}
    table = Table(title=None, box=None, pad_edge=False)
    for name in ("job", "state", "machine"):
        table.add_column(name)
    for name in ("bytes in", "bytes out", "wait s", "run s"):
        table.add_column(name, justify="right")
    mine = [row for row in rows if str(row.get("job", "")).rstrip("/") in order]
    for row in sorted(mine, key=lambda row: order[str(row["job"]).rstrip("/")]):
        words = [str(row.get(key) or "") for key in ("job", "state", "machine")]
        words += [size(row.get("bytes_in")), size(row.get("bytes_out"))]
        table.add_row(*words, seconds(row.get("wait_seconds")), seconds(row.get("run_seconds")))
    Console().print(table)


def draw(folder: Path, record: Record, say: Callable[[str], None]) -> list[Path]:
    """Draw a picture of every finished step into DIR/pictures, and say what the truth says; return the PNGs' paths."""
    from cryoburst.pictures import classes, paper

    pixel_size = PIPELINES[record.pipeline].scale.data.pixel_size
    job = {name: folder / place for name, place in record.jobs.items()}
    drawn = _micrograph(folder, job, pixel_size, say) if "motion" in job else {}
    drawn["classes"] = classes.draw(next(p for p in _panels(folder, job["classes"]) if isinstance(p, Montage)))
    if "post" in job:
        drawn["fsc"] = _map(folder, job["refine"], job["post"], pixel_size, say)
    if "post_polished" in job:
        say("after CtfRefine and Polish:")
        drawn["fsc_polished"] = _map(folder, job["refine_polished"], job["post_polished"], pixel_size, say)
    return [paper.save(figure, folder / PICTURES / f"{name}.png") for name, figure in drawn.items()]


def _panels(folder: Path, job: Path) -> list[Panel]:
    """What RELION's job has to show."""
    from cryoburst.packages.relion import Relion

    return Relion().panels(Relion().read_job(job, folder), 0.0)


def _micrograph(
    folder: Path, job: Mapping[str, Path], pixel_size: float, say: Callable[[str], None]
) -> "dict[str, Figure]":
    """Pictures of one micrograph's drift, Thon rings and picks; and how far the defocus is off."""
    from cryoburst.packages.relion import panels
    from cryoburst.pictures import ctf, drift, picks
    from cryoburst.simulate.check import columns, numbers

    truth = folder / "truth"
    names = [Path(name).stem for name in columns(truth / "micrographs.star", "micrographs", "MicrographName")[0]]
    shown = SHOWN if SHOWN in names else names[0]
    values = numbers(truth / "micrographs.star", "micrographs", "DefocusU DefocusV DefocusAngle")
    u, v, azimuth = (float(value) for value in values[:, names.index(shown)])
    drifts = numbers(truth / "drift.star", "drift", "MicrographShiftX MicrographShiftY")
    mine = [Path(name).stem == shown for name in columns(truth / "drift.star", "drift", "MicrographName")[0]]
    movies, found = job["motion"] / "Movies", job["pick"] / "Movies" / f"{shown}_autopick.star"
    fit = panels.ctf_fit(job["ctf"] / "Movies" / f"{shown}_PS.ctf")
    say(_defocus(job["ctf"] / "micrographs_ctf.star", truth / "micrographs.star"))
    return {
        "drift": drift.draw(panels.drift(movies / f"{shown}.star"), -drifts[:, mine] * pixel_size),
        "ctf": ctf.draw(fit, (u, v, azimuth)),
        "micrograph": picks.draw(panels.picks(found, movies / f"{shown}.mrc", DIAMETER)),
    }


def _map(folder: Path, refined: Path, post: Path, pixel_size: float, say: Callable[[str], None]) -> "Figure":
    """The FSC curve of a refined map; its resolution, and its agreement with the truth. pixel_size: of the movies."""
    import numpy as np

    from cryoburst.pictures import fsc
    from cryoburst.simulate.check import compare

    compared = compare(post / "postprocess.mrc", refined / "run_data.star", folder / "truth", pixel_size)
    curves = next(p for p in _panels(folder, post) if isinstance(p, FscPanel))
    say(f"half maps: {curves.fsc.resolution or np.nan:.2f} Å at FSC = {fsc.GOLD}")
    say(compared.sentence())
    return fsc.draw(curves, compared)


def _defocus(found: Path, truth: Path) -> str:
    """How far the estimated defocus lies from the true one, in one sentence."""
    import numpy as np

    from cryoburst.simulate.check import columns, numbers

    def means(star: Path) -> dict[str, float]:
        names = columns(star, "micrographs", "MicrographName")[0]
        u, v = numbers(star, "micrographs", "DefocusU DefocusV")
        return {Path(name).stem: float(value) for name, value in zip(names, (u + v) / 2, strict=True)}

    true, mine = means(truth), means(found)
    off = np.abs([mine[name] - true[name] for name in mine])
    share = off / np.array([true[name] for name in mine])
    return (
        f"defocus against the truth: median error {np.median(off):.0f} Å ({np.median(share):.2%}), "
        f"at most {off.max():.0f} Å, {len(mine)} of {len(true)} micrographs"
    )
