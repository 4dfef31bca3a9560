"""How long cryoburst keeps a user waiting: from submit to the running command, and at the prompt.

    script/bench launch [--quick] [--json]

added_seconds   submit's first instruction -> the job's command runs, on the local provider, with the watcher at work;
                median. added_first_seconds: the same when the watcher has to start.
run_seconds     submit's first instruction -> outputs and marker are home; ratio_bare: over the same command run bare.
ratio_rclone    what of run_seconds is not the bare command, over `rclone copy` of the same inputs there and the same
                outputs back.
help_ms         cryoburst --help; runs_ms: cryoburst runs with 1,000 runs in the database; medians. python_ms: a Python
                that does nothing, for scale.
tick_1000_s     one tick over 1,000 running runs, with a provider that lists 1,000 machines; median.

Everything happens in a folder of its own, with an own state folder; load is the load average while it ran.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

RUNS = 1000
BIN = Path(sys.executable).parent
WAIT = 300.0  # s that one run may take here


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--json", action="store_true", help="the default, and the only form")
    options = parser.parse_args()
    os.environ["PATH"] = f"{BIN}:{os.environ['PATH']}"
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else every start compiles cryoburst anew
    with tempfile.TemporaryDirectory(prefix="cryoburst-bench-", dir="/tmp") as folder:
        print(json.dumps(measure(Path(folder), rounds=3 if options.quick else 9)))


def measure(folder: Path, rounds: int) -> dict[str, float]:
    """All numbers; times in the unit that the key names."""
    environment = own_environment(folder / "state")
    try:
        values = launch(folder, environment, rounds)
    finally:
        end_watcher(environment)
    ended, running = own_environment(folder / "ended"), own_environment(folder / "running")
    fill(folder / "ended runs", ended, running=False)
    fill(folder / "running runs", running, running=True)
    values |= prompt(ended, rounds * 3)
    values["tick_1000_s"] = tick(running, rounds)
    values["load"] = round(os.getloadavg()[0], 2)
    return values


def end_watcher(environment: dict[str, str]) -> None:
    """End the watcher of this state folder and wait until it has ended."""
    from cryoburst.services import watcher
    from cryoburst.services.settings import load

    settings = load(environment)
    pid = watcher.running(settings)
    if pid:
        os.kill(pid, signal.SIGTERM)
        while watcher.running(settings) is not None:
            time.sleep(0.05)


def own_environment(state: Path) -> dict[str, str]:
    """The environment of a user who has no settings, and the state in ``state``."""
    mine = {k: v for k, v in os.environ.items() if not k.startswith("CRYOBURST_")}
    state.mkdir(parents=True, exist_ok=True)
    return {**mine, "CRYOBURST_STATE": str(state), "XDG_CONFIG_HOME": str(state), "CRYOBURST_IDLE_SECONDS": "60"}


# ------------------------------------------------------------------------------------------------------- launch


@dataclass(frozen=True)
class Took:
    """One run: seconds from submit to the running command and to its end at home."""

    added: float
    total: float


def launch(folder: Path, environment: dict[str, str], rounds: int) -> dict[str, float]:
    """Submit the same small job ``rounds`` times, each time anew in a project that the store has not seen."""
    first = send(make_project(folder / "first", 1), environment)
    runs, bare, rclone = list[Took](), list[float](), list[float]()
    for number in range(rounds):
        project = make_project(folder / f"project{number}", 1)
        runs.append(send(project, environment))
        bare.append(run_bare(make_project(folder / f"bare{number}", 1)))
        rclone.append(run_rclone(project, folder / f"there{number}", folder / f"back{number}"))
    added, total = statistics.median(r.added for r in runs), statistics.median(r.total for r in runs)
    return {
        "added_seconds": round(added, 3),
        "added_first_seconds": round(first.added, 3),
        "run_seconds": round(total, 3),
        "bare_seconds": round(statistics.median(bare), 3),
        "rclone_seconds": round(statistics.median(rclone), 3),
        "ratio_bare": round(total / statistics.median(bare), 2),
        "ratio_rclone": round((total - statistics.median(bare)) / statistics.median(rclone), 2),
    }


def send(project: Path, environment: dict[str, str]) -> Took:
    """Send the project's job and wait for its end. Raises RuntimeError when it doesn't succeed."""
    start = time.time()
    script = "MaskCreate/job001/run_submit.script"
    number = call(["cryoburst", "submit", script], project, environment).split()[-1]
    # The ledger's own record says when the command started and when all was home: a poller would only add its pauses.
    call(["cryoburst", "wait", number], project, environment)
    shown = json.loads(call(["cryoburst", "show", number, "--json"], project, environment))
    if shown["state"] != "SUCCEEDED":
        raise RuntimeError(f"run {number} ended as {shown['state']}: {shown['explanation']}")
    if shown["run_seconds"] is None or shown["wait_seconds"] >= shown["ended"] - shown["submitted"]:
        raise RuntimeError(f"run {number} does not say when its command started")
    return Took(shown["submitted"] + shown["wait_seconds"] - start, shown["ended"] - start)


def run_bare(project: Path) -> float:
    """Seconds that the same script takes without us."""
    start = time.perf_counter()
    call(["bash", "MaskCreate/job001/run_submit.script"], project, dict(os.environ))
    return time.perf_counter() - start


def run_rclone(project: Path, there: Path, back: Path) -> float:
    """Seconds that rclone takes to copy the job's inputs there, and its outputs back."""
    inputs = ["--include", "/map.mrc", "--include", "/MaskCreate/job001/run_submit.script"]
    start = time.perf_counter()
    call(["rclone", "copy", "--config", "/dev/null", *inputs, str(project), str(there)], project, dict(os.environ))
    sent = time.perf_counter() - start
    shutil.copytree(project / "MaskCreate", there / "MaskCreate", dirs_exist_ok=True)
    start = time.perf_counter()
    call(["rclone", "copy", "--config", "/dev/null", str(there / "MaskCreate"), str(back)], project, dict(os.environ))
    return sent + time.perf_counter() - start


def call(words: Sequence[str], folder: Path, environment: dict[str, str]) -> str:
    """A program's standard output. Raises RuntimeError with its own words when it fails."""
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=WAIT)
    if done.returncode != 0:
        raise RuntimeError(f"{words[0]} {words[1]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


# ------------------------------------------------------------------------------------------- the prompt and the tick


def prompt(environment: dict[str, str], rounds: int) -> dict[str, float]:
    """Milliseconds of the commands that a user types most."""
    commands = {
        "python_ms": [sys.executable, "-c", ""],
        "help_ms": ["cryoburst", "--help"],
        "runs_ms": ["cryoburst", "runs"],
    }
    times: dict[str, list[float]] = {key: [] for key in commands}
    for _ in range(rounds):  # in turn, so that what else the machine does falls on all alike
        for key, words in commands.items():
            start = time.perf_counter()
            call(words, Path("/"), environment)
            times[key].append((time.perf_counter() - start) * 1000)
    medians = {key: round(statistics.median(seen), 1) for key, seen in times.items()}
    listed = call(["cryoburst", "runs", "--json"], Path("/"), environment)
    if len(json.loads(listed)) != RUNS:
        raise RuntimeError(f"cryoburst runs lists {len(json.loads(listed))} runs of {RUNS}")
    return medians


def fill(project: Path, environment: dict[str, str], *, running: bool) -> None:
    """A database with 1,000 runs, ended or running; with the running ones come machines and documents in the store."""
    from cryoburst.engine.perform import machine_token
    from cryoburst.model.documents import Heartbeat, Spec, Started, dump
    from cryoburst.model.run import Machine, Run
    from cryoburst.model.states import MachineState, RunState
    from cryoburst.services.house import prepare
    from cryoburst.services.ledger import open_ledger
    from cryoburst.services.settings import load
    from cryoburst.stores import open_store

    settings = load(environment)
    prepare(settings)
    store, ledger, now = open_store(settings.store), open_ledger(settings), time.time()
    make_project(project, RUNS)
    for number in range(1, RUNS + 1):
        run = Run(
            number=number,
            uid=f"{number:016x}",
            owner=settings.owner,
            project=str(project),
            job=f"MaskCreate/job{number:03d}/",
            target=f"MaskCreate/job{number:03d}/run_submit.script",
            kind="relion.maskcreate",
            package="relion",
            script="",
            store=settings.store,
            provider="fake",
            machine="fake",
            max_price=None,
            parts=1,
            submitted=now,
            state=RunState.RUNNING if running else RunState.SUCCEEDED,
            staged=now,
            started=now,
            command_started=now,
            ended=None if running else now + 60,
        )
        ledger.add(run)
        if not running:
            continue
        token = machine_token(run)
        ledger.add_machine(
            Machine(token, run.uid, 1, "fake", "fake", 0.0, MachineState.UP, now, now + 86400, f"m{number}")
        )
        logs = ["run.out", "run.err"]
        base = dict.fromkeys(logs, 0)
        spec = Spec(run.uid, 1, run.owner, run.job, "", {}, {}, [], logs, base, "", now + 80000, 3600.0, 1.0)
        store.put(f"{run.prefix}spec.json", dump(spec))
        store.put(f"{run.prefix}started.json", dump(Started(now, "here", token)))
        store.put(f"{run.prefix}heartbeat.json", dump(Heartbeat(now + 3600, "command", base, 0, now)))
    ledger.connection.close()


def tick(environment: dict[str, str], rounds: int) -> float:
    """Median seconds of one tick; the first, which reads every spec, is left out."""
    from dataclasses import replace

    from cryoburst.engine.reconcile import Reconciler
    from cryoburst.services.house import open_world
    from cryoburst.services.settings import load

    world = open_world(load(environment))
    world = replace(world, providers={"fake": Fake([m.token for m in world.ledger.machines()], world.owner)})
    reconciler = Reconciler(world)
    times = list[float]()
    for _ in range(rounds + 1):
        start = time.perf_counter()
        left = reconciler.tick(finish=True)
        times.append(time.perf_counter() - start)
        if left != 2 * RUNS:
            raise RuntimeError(f"the tick left {left} runs and machines of {2 * RUNS}")
    reconciler.close()
    world.ledger.connection.close()
    return round(statistics.median(times[1:]), 3)


class Fake:
    """A provider that answers at once and does nothing."""

    name = "fake"

    def __init__(self, tokens: Sequence[str], owner: str) -> None:
        from cryoburst.model.plugins import MachineSeen

        self._seen = [MachineSeen(f"m{n}", token, owner, token, 1, True, 0.0) for n, token in enumerate(tokens)]

    def machines(self, owner: str) -> list[object]:
        """All of them."""
        return list(self._seen)


# ------------------------------------------------------------------------------------------------------ projects


def make_project(folder: Path, jobs: int) -> Path:
    """A RELION project with one map of 1 MB and MaskCreate jobs, as RELION's window leaves them for the queue."""
    import mrcfile
    import numpy as np

    folder.mkdir()
    z, y, x = np.mgrid[:64, :64, :64] - 32.0
    with mrcfile.new(folder / "map.mrc") as file:
        file.set_data(np.exp(-(x * x + y * y + z * z) / 200).astype("f4"))
        file.voxel_size = 3.0
    (folder / "default_pipeline.star").write_text(f"\ndata_pipeline_general\n\n_rlnPipeLineJobCounter {jobs + 1}\n\n")
    for name, files in job_files(jobs):
        (folder / name).mkdir(parents=True)
        for file_name, text in files.items():
            (folder / name / file_name).write_text(text)
    return folder


def job_files(jobs: int) -> Iterator[tuple[str, dict[str, str]]]:
    """Each job's folder and the texts in it."""
    from cryoburst.packages.relion.script import TEMPLATE

    options = "loop_\n_rlnJobOptionVariable #1\n_rlnJobOptionValue #2\ndo_queue Yes\nfn_in map.mrc\n\n"
    star = f"\ndata_job\n\n_rlnJobType 12\n_rlnJobIsContinue 0\n\ndata_joboptions_values\n\n{options}"
    for number in range(1, jobs + 1):
        name = f"MaskCreate/job{number:03d}/"
        command = (
            f"`which relion_mask_create` --i map.mrc --o {name}mask.mrc --angpix 3 --ini_threshold 0.1"
            f" --extend_inimask 8 --width_soft_edge 8 --j 1 --pipeline_control {name}"
        )
        script = TEMPLATE
        for word, value in (("name", name), ("mpinodes", "1"), ("threads", "1"), ("command", command)):
            script = script.replace(f"XXX{word}XXX", value)
        yield name, {"job.star": star, "run_submit.script": script}


if __name__ == "__main__":
    main()
