"""MPI processes and threads, fitted to the cores of a machine."""

from pathlib import Path

import pytest
from tests import window

from cryoburst.model.job import Job
from cryoburst.packages.relion import Relion

FOLDER = "Class3D/job001/"


def job_of(root: Path, number: int, program: str, processes: int, threads: int) -> Job:
    """A job as RELION's window scripts it."""
    command = f"`which {program}` --o {FOLDER}run --i p.star --j {threads} --pool 8"
    script = window.add(root, FOLDER, command, processes, threads, number)
    return Relion().read_job(script.relative_to(root), root)


@pytest.mark.parametrize(
    ("number", "program", "typed", "cores", "fitted"),
    [
        (9, "relion_refine", (1, 4), 4, (1, 4)),
        (9, "relion_refine", (1, 8), 4, (1, 4)),
        (9, "relion_refine", (1, 2), 64, (1, 2)),  # what is typed is never raised
        (9, "relion_refine_mpi", (5, 4), 16, (5, 4)),  # the first process only hands out work
        (9, "relion_refine_mpi", (5, 4), 8, (5, 2)),
        (9, "relion_refine_mpi", (5, 4), 2, (3, 1)),
        (9, "relion_refine_mpi", (3, 1), 1, (2, 1)),
        (10, "relion_refine_mpi", (5, 4), 3, (3, 1)),  # two half sets: an even number of working processes
        (10, "relion_refine_mpi", (3, 1), 1, (3, 1)),  # fewer can't be
        (1, "relion_run_motioncorr_mpi", (4, 2), 4, (4, 1)),
        (1, "relion_run_motioncorr_mpi", (4, 2), 2, (2, 1)),
        (20, "relion_motion_refine_mpi", (4, 2), 8, (4, 2)),
        (20, "relion_motion_refine", (1, 16), 6, (1, 6)),
    ],
)
def test_processes_and_threads(
    tmp_path: Path, number: int, program: str, typed: tuple[int, int], cores: int, fitted: tuple[int, int]
) -> None:
    job = job_of(tmp_path, number, program, *typed)
    made, said = Relion().fit(job, cores)
    assert (made.resources.processes, made.resources.threads) == fitted
    assert bool(said) == (fitted != typed)
    words = made.commands[0]
    assert words[words.index("--j") + 1] == str(fitted[1])
    assert words[words.index("--pool") + 1] == "8"
    assert f'MPI="mpirun -n {fitted[0]}"' in made.script
    if not said:
        assert made == job


def test_the_words(tmp_path: Path) -> None:
    _, said = Relion().fit(job_of(tmp_path, 9, "relion_refine_mpi", 5, 4), 8)
    assert said == "asked for 5 processes of 4 threads for 8 cores: it runs with 5 processes of 2 threads"
