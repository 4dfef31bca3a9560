"""Fits a job's MPI ranks and threads to the cores of a machine. Changes two numbers of the script, and nothing else."""

import re
from dataclasses import replace

from cryoburst.model.errors import BadInput
from cryoburst.model.job import Job
from cryoburst.packages.relion.script import understand

HALVES = ("relion.refine3d", "relion.multibody")  # two half sets: an even number of working processes
REFINE = "relion_refine_mpi"  # its first process only hands out work (ml_optimiser_mpi.cpp), so it needs no core
RANKS = re.compile(r"(\bmpirun -n )(\d+)")
THREADS = re.compile(r"(\s--j )(\d+)")


def fit(job: Job, cores: int) -> tuple[Job, str]:
    """See ``Package.fit``."""
    asked = job.resources
    processes, threads = numbers(job, cores)
    if (processes, threads) == (asked.processes, asked.threads):
        return job, ""
    text = RANKS.sub(lambda found: f"{found[1]}{min(int(found[2]), processes)}", job.script)
    text = THREADS.sub(lambda found: f"{found[1]}{min(int(found[2]), threads)}", text)
    wanted = replace(asked, processes=processes, threads=threads)
    try:
        script = understand(text, job.folder, job.folder, job.kind)
    except BadInput:  # cannot be: the same text but for two numbers
        return job, ""
    if script.resources != wanted or len(script.commands) != len(job.commands):
        return job, ""  # a script of another form: it runs as it was typed
    said = f"{_words(asked.processes, asked.threads)} for {_count(cores, 'core')}: it runs with"
    return (
        replace(job, script=text, commands=script.commands, resources=wanted),
        f"asked for {said} {_words(processes, threads)}",
    )


def numbers(job: Job, cores: int) -> tuple[int, int]:
    """The processes and threads that a machine with so many cores can run at once, at most those that were typed.

    Threads go first: they cost nothing but time. Processes only go when there are more of them than cores.
    """
    processes, threads = job.resources.processes, job.resources.threads
    idle = int(processes > 1 and any(words[0] == REFINE for words in job.commands))
    working = processes - idle
    if working * threads <= cores:
        return processes, threads
    if working > cores:
        halves = idle and job.kind in HALVES
        least = 2 if halves else 1
        fewer = max(least, cores - cores % 2 if halves else cores)
        working = min(working, fewer)
        processes = max(2, working + idle) if processes > 1 else 1
    return processes, min(threads, max(1, cores // working))


def _words(processes: int, threads: int) -> str:
    return f"{_count(processes, 'process')} of {_count(threads, 'thread')}"


def _count(number: int, thing: str) -> str:
    ending = "" if number == 1 else "es" if thing.endswith("s") else "s"
    return f"{number} {thing}{ending}"
