"""What RELION's window leaves in a project when a user presses Run, and a small particle list: written without it."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from cryoburst.packages.relion.jobtypes import TYPES
from cryoburst.packages.relion.script import TEMPLATE
from cryoburst.simulate.dataset import write_table
from cryoburst.simulate.particles import OPTICS

PIPELINE = "\n# version 30001\n\ndata_pipeline_general\n\n_rlnPipeLineJobCounter                       2\n \n"
JOB_STAR = "\n# version 30001\n\ndata_job\n\n_rlnJobType {number}\n_rlnJobIsContinue 0\n"
NUMBERS = {each.folder: each.number for each in TYPES if each.since == "3.1"}


def script(folder: str, command: str, processes: int = 1, threads: int = 1, **extra: str) -> str:
    """The submission script of a job; ``extra1`` to ``extra3`` are the fields of the Running tab."""
    words = {"extra1": "", "extra2": "", "extra3": "1"} | extra
    words |= {"name": folder, "command": command, "mpinodes": f"{processes}", "threads": f"{threads}"}
    return re.sub(r"XXX([a-z]+\d?)XXX", lambda word: words[word[1]], TEMPLATE)


def add(project: Path, folder: str, command: str, processes: int = 1, threads: int = 1, number: int = -1) -> Path:
    """A job's folder with job.star and the script, whose path is returned; the type is the folder's, or ``number``."""
    (project / folder).mkdir(parents=True, exist_ok=True)
    if not (project / "default_pipeline.star").exists():
        (project / "default_pipeline.star").write_text(PIPELINE)
    number = NUMBERS[folder.split("/")[0]] if number < 0 else number
    (project / folder / "job.star").write_text(JOB_STAR.format(number=number))
    path = project / folder / "run_submit.script"
    path.write_text(script(folder, command, processes, threads))
    return path


def particles(path: Path, columns: str, rows: Iterable[Sequence[object]], box: int, pixel: float) -> None:
    """A particle list in RELION 3.1's form, of one optics group. Columns without _rln; pixel in Å."""
    write_table(path, "optics", OPTICS.split(), [("opticsGroup1", 1, 300, 2.7, 0.1, pixel, box, 2)])
    write_table(path, "particles", columns.split(), rows)
