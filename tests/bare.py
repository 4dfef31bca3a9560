"""The same job without us, and in what the folders of two jobs differ that should be the same."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

# What RELION's window writes when it submits a job, and what no two runs have in common.
SUBMITTED = {"job.star", "job_pipeline.star", "default_pipeline.star", "note.txt", "run_submit.script"}
LOGS = {"run.out", "run.err"}
DATED = (".pdf", ".log", ".lst")  # hold the time of day
LABELS = slice(224, 1024)  # of an MRC file: free text, in which RELION writes the time


def run(project: Path, job: str, beside: Path, environment: Mapping[str, str]) -> Path:
    """Run a job's script without us, in a project that is the same but for the job's own folder, which is returned."""
    kind, number = job.strip("/").split("/")
    (beside / kind / number).mkdir(parents=True)
    others = [each for each in project.iterdir() if each.name != kind]
    for other in [*others, *(each for each in (project / kind).iterdir() if each.name != number)]:
        (beside / other.relative_to(project)).symlink_to(other)
    folder = beside / kind / number
    for name in SUBMITTED:
        if (project / job / name).exists():
            shutil.copy(project / job / name, folder)
    with (folder / "run.out").open("wb") as out, (folder / "run.err").open("wb") as err:
        done = subprocess.run(
            ["bash", f"{kind}/{number}/run_submit.script"],
            cwd=beside,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            timeout=600,
        )
    assert done.returncode == 0, (folder / "run.err").read_text(errors="replace")
    return folder


def files(folder: Path) -> dict[str, Path]:
    """All files and links of a job folder but those of its submission, by name."""
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()}
    return {name: path for name, path in found.items() if name not in SUBMITTED}


def differences(mine: Path, bare: Path) -> Iterator[str]:
    """The files that only one of two job folders has, and those whose content differs where it must not."""
    ours, theirs = files(mine), files(bare)
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in ours or name not in theirs:
            yield f"{name} is only {'in ours' if name in ours else 'in the bare one'}"
        elif ours[name].is_symlink() or theirs[name].is_symlink():
            roots = (mine.parents[1], bare.parents[1])
            if _in_project(ours[name], roots) != _in_project(theirs[name], roots):
                yield f"{name} points elsewhere"
        elif name not in LOGS and not name.endswith(DATED) and content(ours[name]) != content(theirs[name]):
            yield f"{name} differs"


def _in_project(link: Path, roots: tuple[Path, Path]) -> Path:
    """Where a link leads, relative to whichever of two projects that is in."""
    real = link.resolve()
    return real.relative_to(next(root for root in roots if real.is_relative_to(root)))


def content(path: Path) -> bytes:
    """A file's bytes but for the time of day."""
    data = path.read_bytes()
    if path.suffix in (".mrc", ".mrcs", ".ctf"):
        return data[: LABELS.start] + data[LABELS.stop :]
    if path.suffix == ".eps":
        return re.sub(rb"%%CreationDate.*", b"", data)
    return data
