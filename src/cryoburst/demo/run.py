"""The driver: simulate, then one RELION job after the other; a second call goes on where the first one stopped.

What is done is kept in DIR/.demo.json (step to job folder); a job counts as done when RELION's success marker is there.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cryoburst.model.errors import BadInput

from .project import Project
from .queue import queue_environment, relion_environment
from .steps import DATA, STEPS, VOLUME, Step

RECORD = ".demo.json"


@dataclass
class Record:
    """What a demo folder holds: seed of its data, whether they are whole, job folder of each step, seconds it took."""

    seed: int
    simulated: bool
    jobs: dict[str, str]
    seconds: dict[str, float]

    def save(self, folder: Path) -> None:
        """Write the record, whole or not at all."""
        new = folder / (RECORD + ".new")
        new.write_text(json.dumps(vars(self), indent=1))
        new.replace(folder / RECORD)


def load(folder: Path) -> Record | None:
    """Return the record of a demo in `folder`, or None where there is none."""
    try:
        return Record(**json.loads((folder / RECORD).read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise BadInput(
            "The demo's record can't be read", where=str(folder / RECORD), advice="name a new folder"
        ) from error


def demo(
    folder: Path,
    *,
    full: bool = False,
    seed: int | None = None,
    say: Callable[[str], None] = print,
    queue: Callable[[Path], dict[str, str]] = queue_environment,
    clock: Callable[[], float] = time.monotonic,
) -> Record:
    """Carry out the demo in `folder`; about 4 minutes on two cores, `full` about 15.

    A folder that holds a demo is gone on with: finished jobs are kept, with the seed that made them. Raises BadInput
    for a folder that holds anything else or another seed's data, JobFailed when a job does not succeed.
    """
    folder = folder.absolute()
    record = _simulate(folder, seed, say, clock)
    project = Project(folder, {**relion_environment(), **queue(folder)})
    project.make()
    for step in STEPS:
        if step.full and not full:
            continue
        job = record.jobs.get(step.name)
        if job and project.succeeded(job):
            say(f"{job} is there already")
            continue
        if job and project.under_way(job):
            say(f"{job} is under way ...")
            project.wait(job, step.limit)
            say(f"{job} succeeded")
            continue
        _carry_out(project, step, record, say, clock)
    return record


def _simulate(folder: Path, seed: int | None, say: Callable[[str], None], clock: Callable[[], float]) -> Record:
    """Write the movies, or find them there."""
    from cryoburst.simulate.dataset import write

    record = load(folder)
    if record and record.simulated:
        if seed is not None and seed != record.seed:
            what = f"This demo was made with seed {record.seed}, not {seed}"
            raise BadInput(what, where=str(folder), advice="name a new folder")
        say(f"going on with the demo in {folder} (seed {record.seed})")
        return record
    start = clock()
    record = Record(DATA.seed if seed is None else seed, False, {}, {})
    write(folder, replace(DATA, seed=record.seed), say)
    record.simulated = True
    record.seconds["simulate"] = clock() - start
    record.save(folder)
    return record


def _carry_out(
    project: Project, step: Step, record: Record, say: Callable[[str], None], clock: Callable[[], float]
) -> None:
    """Add one job, run it, and note it."""
    known = dict(record.jobs)
    if any("{threshold}" in value for value in step.options.values()):
        known["threshold"] = f"{density_threshold(project.folder / record.jobs['refine'] / 'run_class001.mrc'):.5f}"
    job = project.add(step, fill(step.options, known))
    record.jobs[step.name] = job
    record.save(project.folder)
    say(f"{job} ...")
    start = clock()
    project.run(job, step.limit)
    record.seconds[step.name] = clock() - start
    record.save(project.folder)
    say(f"{job} succeeded after {record.seconds[step.name]:.0f} s")


def fill(options: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """Return the options with the folders of earlier steps put in."""
    return {name: value.format_map(known) for name, value in options.items()}


def density_threshold(path: Path, volume: float = VOLUME) -> float:
    """Density that encloses `volume` (Å³) in a map low-pass filtered to 20 Å."""
    import mrcfile
    import numpy as np

    with mrcfile.open(path) as file:
        data, voxel = np.asarray(file.data, np.float64), float(file.voxel_size.x)
    frequency = np.fft.fftfreq(len(data), voxel)
    k2 = frequency[:, None, None] ** 2 + frequency[None, :, None] ** 2 + frequency[None, None, :] ** 2
    smooth = np.fft.ifftn(np.fft.fftn(data) * np.exp(-k2 * 20.0**2)).real
    ranked = np.sort(smooth, axis=None)[::-1]
    return float(ranked[min(len(ranked) - 1, int(volume / voxel**3))])
