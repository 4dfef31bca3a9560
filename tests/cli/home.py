"""A user's home with a RELION project, and ``cryoburst`` called as the user does: what it says, and what it leaves.

RELION itself is a stand-in on PATH unless a test takes the real one: it notes how it was called and says that all is
well, so that nothing here waits for science.
"""

import json
import os
import sqlite3
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests import window

PROGRAM = Path(sys.executable).with_name("cryoburst")
FOLDER = "Class2D/job003/"
STAR, STACK = "Extract/job002/particles.star", "Extract/job002/Movies/a.mrcs"
REFINE = f"`which relion_refine` --o {FOLDER}run --i {STAR} --K 2 --pipeline_control {FOLDER}"
PARTICLES = f"""
# version 30001

data_optics

loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
_rlnVoltage #3
_rlnSphericalAberration #4
_rlnAmplitudeContrast #5
_rlnImagePixelSize #6
_rlnImageSize #7
_rlnImageDimensionality #8
opticsGroup1            1  300  2.7  0.1  3.0  8  2


# version 30001

data_particles

loop_
_rlnImageName #1
_rlnMicrographName #2
_rlnOpticsGroup #3
000001@{STACK} MotionCorr/job001/Movies/a.mrc 1
000002@{STACK} MotionCorr/job001/Movies/a.mrc 1

"""
STAND_IN = """#!/bin/sh
if [ "$1" = --version ]; then echo "RELION version: {version}"; exit 0; fi
printf '%s\\n' "$@" > {folder}called
touch {folder}RELION_JOB_EXIT_SUCCESS
"""
MARKED = {".pipeline_has_changed", f"{FOLDER}run.err", f"{FOLDER}RELION_JOB_EXIT_FAILURE"}  # all that a refusal writes


def script(command: str = REFINE, **changes: Any) -> str:
    """The submission script as RELION writes it."""
    return window.script(FOLDER, command, **changes)


def mrc(path: Path, missing: int = 0) -> None:
    """Two images of 8 x 8 pixels, or less than the header promises."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<256i", 8, 8, 2, 2, *([0] * 252)) + b"\0" * (512 - missing))


class Home:
    """Everything below ``root``: state, settings, programs, and the project with one Class2D job to submit."""

    def __init__(self, root: Path) -> None:
        self.root, self.state, self.project, self.programs = root, root / "state", root / "project", root / "programs"
        self.config = root / "config/cryoburst/config.toml"
        self.programs.mkdir(parents=True)
        self.relion("3.1.3")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("CRYOBURST_", "RELION_"))}
        self.environment = clean | {
            "HOME": str(root),
            "XDG_CONFIG_HOME": str(root / "config"),
            "CRYOBURST_STATE": str(self.state),
            "CRYOBURST_IDLE_SECONDS": "1",
            "PATH": f"{self.programs}:/usr/bin:/bin",
            "TMPDIR": str(root),
        }
        window.add(self.project, FOLDER, REFINE)
        mrc(self.project / STACK)
        (self.project / STAR).write_text(PARTICLES)

    def relion(self, version: str) -> None:
        """Put a RELION of this version first on PATH."""
        program = self.programs / "relion_refine"
        program.write_text(STAND_IN.format(version=version, folder=FOLDER))
        program.chmod(0o755)

    def write(self, text: str) -> None:
        """Write the job's submission script."""
        (self.project / FOLDER / "run_submit.script").write_bytes(text.encode("utf-8", "surrogateescape"))

    def call(self, *words: str, seconds: float = 180.0) -> "subprocess.CompletedProcess[str]":
        """One command in the project folder."""
        return subprocess.run(
            [PROGRAM, *words],
            cwd=self.project,
            env=self.environment,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=seconds,
            stdin=subprocess.DEVNULL,
        )

    def json(self, *words: str) -> Any:
        """What a command prints with --json."""
        done = self.call(*words, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    def fails(self, *words: str) -> str:
        """The one sentence with which a command says that its input is wrong."""
        done = self.call(*words)
        assert (done.returncode, done.stdout) == (2, ""), (done.returncode, done.stdout, done.stderr)
        assert done.stderr.startswith("cryoburst: "), done.stderr
        assert done.stderr.endswith("\n")
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert "an error of cryoburst itself" not in done.stderr
        return done.stderr.removeprefix("cryoburst: ").rstrip("\n")

    def refused(self, *words: str) -> str:
        """The sentence with which a submission is refused: nothing is written, rented, damaged or executed."""
        before = self.files()
        sentence = self.fails("submit", *(words or (f"{FOLDER}run_submit.script",)))
        after = self.files()
        assert {name: after.get(name) for name in before} == before, "a file of the project was changed"
        assert set(after) - set(before) <= MARKED
        if f"{FOLDER}run.err" in after:
            assert after[f"{FOLDER}run.err"].decode().count("\n") == 1
        assert self.rows("runs") == self.rows("machines") == 0
        assert not list((self.state / "machines").glob("m-*"))
        assert not (self.root / "pwned").exists()
        return sentence

    def succeeds(self, *words: str) -> list[str]:
        """Submit a job that must succeed; the words with which its program was called on the machine."""
        done = self.call("submit", *(words or (f"{FOLDER}run_submit.script",)), "--wait")
        assert done.returncode == 0, (done.stdout, done.stderr, self.files().get(f"{FOLDER}run.err"))
        assert (self.project / FOLDER / "RELION_JOB_EXIT_SUCCESS").exists()
        assert not (self.root / "pwned").exists()
        return (self.project / FOLDER / "called").read_text("utf-8", "surrogateescape").splitlines()

    def no_machine(self) -> None:
        """Wait until the machine of a run that has ended is gone."""
        end = time.monotonic() + 180
        while list((self.state / "machines").glob("m-*")) and time.monotonic() < end:
            time.sleep(0.05)
        while left := self.json("machines")["machines"]:
            assert time.monotonic() < end, left
            time.sleep(0.1)

    def files(self) -> dict[str, bytes]:
        """Every file of the project with its content; a link with its target."""
        found: dict[str, bytes] = {}
        for path in self.project.rglob("*"):
            if path.is_symlink():
                found[str(path.relative_to(self.project))] = os.fsencode(path.readlink())
            elif path.is_file():
                found[str(path.relative_to(self.project))] = path.read_bytes()
        return found

    def rows(self, table: str) -> int:
        """Rows of a table of the database; 0 without a database."""
        file = self.state / "cryoburst.db"
        if not file.exists():
            return 0
        connection = sqlite3.connect(file, timeout=20)
        try:
            return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        finally:
            connection.close()
