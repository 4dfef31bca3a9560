"""What a RELION project tells of a job that anybody ran: type and edges from default_pipeline.star, the commands and
their time from note.txt. Only reads; what is not told is left empty, for a chain must not break at one odd job.
"""

import re
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from cryoburst.model.course import Past
from cryoburst.model.errors import BadInput
from cryoburst.packages.relion import star
from cryoburst.packages.relion.jobtypes import known_label, label_of
from cryoburst.packages.relion.markers import MARKERS
from cryoburst.packages.relion.project import PIPELINE, read_job_star

FOLDER = re.compile(r"[^/]+/job\d{3,}/")
STARTED = re.compile(r"\+\+\+\+ (?:Executing new|Continuing) job on (.+)")  # 3.1 to 5.0, src/pipeline_jobs.cpp
TIME = "%a %b %d %H:%M:%S %Y"  # ctime(3), in the time of this computer


def job_of(path: str) -> str:
    """The job's folder that a path begins with; empty when it is of none, or leaves the project."""
    found = FOLDER.match(path)
    return found[0] if found and ".." not in path.split("/") else ""


def past(project: Path, folder: str) -> Past:
    """All that is told of the job in ``folder`` (with its slash)."""
    kind = ""
    with suppress(BadInput):
        kind = read_job_star(project, folder).label
    tables = _pipeline(project)
    inputs = [node for node, process in tables.get("input", []) if process == folder]
    outputs = [node for process, node in tables.get("output", []) if process == folder]
    began, commands = _note(project / folder / "note.txt")
    ended, outcome = _end(project / folder)
    if not kind:
        kind = next((label for name, label in tables.get("kind", []) if name == folder), "")
    return Past(folder, kind, tuple(commands), tuple(inputs), tuple(outputs), began, ended, outcome)


def _pipeline(project: Path) -> dict[str, list[tuple[str, str]]]:
    """Pairs of the tables of the pipeline: (node, process), (process, node) and (process, label of its type)."""
    try:
        found = {b.name: b for b in star.blocks(project / PIPELINE, PIPELINE)}
    except BadInput:
        return {}

    def pairs(block: str, first: str, second: str) -> list[tuple[str, str]]:
        table = found.get(f"pipeline_{block}")
        return list(zip(table.column(first), table.column(second), strict=False)) if table else []

    names = pairs("processes", "rlnPipeLineProcessName", "rlnPipeLineProcessTypeLabel")
    numbers = pairs("processes", "rlnPipeLineProcessName", "rlnPipeLineProcessType")
    kinds = [(name, known_label(label) or label) for name, label in names]
    kinds += [(name, label_of(int(number)) or "") for name, number in numbers if number.isdigit()]
    return {
        "input": pairs("input_edges", "rlnPipeLineEdgeFromNode", "rlnPipeLineEdgeProcess"),
        "output": pairs("output_edges", "rlnPipeLineEdgeProcess", "rlnPipeLineEdgeToNode"),
        "kind": kinds,
    }


def _end(folder: Path) -> tuple[float | None, str]:
    """When and how the job ended, by its marker."""
    for name, outcome in MARKERS.items():
        with suppress(OSError):
            return (folder / name).stat().st_mtime, outcome
    return None, ""


def _note(path: Path) -> tuple[float | None, list[str]]:
    """When the job was last run, and the commands then; RELION appends to the note whenever a job is run."""
    began: float | None = None
    commands: list[str] = []
    taking = False
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return None, []
    for line in lines:
        if found := STARTED.search(line):
            began, commands = _time(found[1]), []
        elif "with the following command" in line:
            taking = True
        elif line.strip() == "++++":
            taking = False
        elif taking and line.strip():
            commands.append(line.strip())
    return began, commands


def _time(text: str) -> float | None:
    with suppress(ValueError):
        return datetime.strptime(text.strip(), TIME).astimezone().timestamp()
    return None
