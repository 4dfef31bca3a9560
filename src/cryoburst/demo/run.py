"""The driver: simulate, then one RELION job after the other; a second call goes on where the first one stopped.

What is done is kept in DIR/.demo.json (step to job folder); a job counts as done when RELION's success marker is there.
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cryoburst.model.errors import BadInput

from . import bodies, facts
from .pipelines import PIPELINES, SCRIPT, Pipeline
from .project import JobFailed, Project
from .queue import queue_environment, relion_environment
from .steps import Step

RECORD = ".demo.json"
SUCCEEDED = 2  # in RELION's pipeline


@dataclass
class Record:
    """What a demo folder holds: seed of its data, whether they are whole, job folder of each step, seconds it took.

    pipeline: a name of PIPELINES.
    """

    seed: int
    simulated: bool
    jobs: dict[str, str]
    seconds: dict[str, float]
    pipeline: str = "classes"

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
    pipeline: str = "classes",
    seed: int | None = None,
    say: Callable[[str], None] = print,
    queue: Callable[[Path], dict[str, str]] = queue_environment,
    clock: Callable[[], float] = time.monotonic,
) -> Record:
    """Carry out the pipeline of that name in `folder`.

    A folder that holds a demo is gone on with: finished jobs are kept, with the seed that made them. Raises BadInput
    for a folder that holds anything else, another seed's data or another pipeline, JobFailed when a job does not
    succeed.
    """
    folder = folder.absolute()
    chosen = PIPELINES[pipeline]
    record = _simulate(folder, pipeline, seed, say, clock)
    project = Project(folder, {**relion_environment(), **queue(folder)})
    project.make()
    _add_script(folder)
    for step in chosen.steps:
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
    _check_pipeline(project, record)
    return record


def _simulate(
    folder: Path, pipeline: str, seed: int | None, say: Callable[[str], None], clock: Callable[[], float]
) -> Record:
    """Write the data, or find them there."""
    from cryoburst.simulate import dataset, particles

    chosen = PIPELINES[pipeline]
    record = load(folder)
    if record and record.simulated:
        _check_same(folder, record, pipeline, seed)
        record.pipeline = pipeline
        say(f"going on with the demo in {folder} (seed {record.seed})")
        return record
    start = clock()
    settings = chosen.scale.data if seed is None else replace(chosen.scale.data, seed=seed)
    record = Record(settings.seed, False, {}, {}, pipeline)
    dataset.write(folder, settings, say)
    if chosen.extracted:
        count = particles.extract(folder, settings, chosen.scale.box, chosen.scale.small)
        say(f"{count} particles are extracted in {folder / particles.FOLDER}")
    record.simulated = True
    record.seconds["simulate"] = clock() - start
    record.save(folder)
    return record


def _check_same(folder: Path, record: Record, pipeline: str, seed: int | None) -> None:
    """Raise BadInput when the folder's demo has other data, or other jobs, than are wanted."""
    if seed is not None and seed != record.seed:
        what = f"This demo was made with seed {record.seed}, not {seed}"
        raise BadInput(what, where=str(folder), advice="name a new folder")
    there, wanted = PIPELINES.get(record.pipeline), PIPELINES[pipeline]
    if there is None or not _begins_alike(there, wanted):
        what = f"This demo's pipeline is {record.pipeline}, not {pipeline}"
        raise BadInput(what, where=str(folder), advice="name a new folder")


def _begins_alike(one: Pipeline, other: Pipeline) -> bool:
    """Whether one of two pipelines is the beginning of the other: then either can be gone on with."""
    alike = all(a == b for a, b in zip(one.steps, other.steps, strict=False))
    return alike and (one.scale, one.extracted) == (other.scale, other.extracted)


def _add_script(folder: Path) -> None:
    """The user's own program, as a project may have one."""
    script = folder / SCRIPT
    if not script.exists():
        script.parent.mkdir(exist_ok=True)
        shutil.copyfile(bodies.__file__, script)


def _carry_out(
    project: Project, step: Step, record: Record, say: Callable[[str], None], clock: Callable[[], float]
) -> None:
    """Add one job, run it, and note it."""
    known = {**record.jobs, **facts.found(project.folder, record.jobs, step)}
    job = project.add(step, fill(step.options, known))
    record.jobs[step.name] = job
    record.save(project.folder)
    say(f"{job} ...")
    start = clock()
    project.run(job, step.limit)
    record.seconds[step.name] = clock() - start
    record.save(project.folder)
    say(f"{job} succeeded after {record.seconds[step.name]:.0f} s")


def _check_pipeline(project: Project, record: Record) -> None:
    """Raise JobFailed when RELION's own list does not show every job as finished, as its window would."""
    project.look()
    statuses = project.statuses()
    if others := [job for job in record.jobs.values() if statuses.get(job) != SUCCEEDED]:
        raise JobFailed(f"RELION does not list {others[0]} as finished", where=str(project.folder))


def fill(options: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """Return the options with the folders of earlier steps put in."""
    return {name: value.format_map(known) for name, value in options.items()}
