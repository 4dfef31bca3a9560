"""RELION 3.1.3 as a user has it after ``cryoburst relion setup``: real queue, real watcher, the local provider."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cryoburst.packages.relion.setup import environment, write_template

EMPTY_PIPELINE = "\n# version 30001\n\ndata_pipeline_general\n\n_rlnPipeLineJobCounter                       1\n \n"
SIMULATE = """
import sys
from pathlib import Path
from cryoburst.simulate.dataset import Settings, write
write(Path(sys.argv[1]), Settings(micrographs=2, particles=12, size=512, frames=4, dose=20.0), print)
"""
STATUS = {"0": "running", "1": "scheduled", "2": "succeeded", "3": "failed", "4": "aborted"}


@dataclass
class Project:
    """A RELION project whose queue is ``cryoburst submit``."""

    root: Path
    environment: dict[str, str]

    def pipeliner(self, *words: str, seconds: float = 180) -> None:
        """Run relion_pipeliner to its end."""
        log = self.root.parent / "pipeliner.log"
        with log.open("ab") as out:
            done = subprocess.run(
                ["relion_pipeliner", *words],
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                timeout=seconds,
                env=self.environment,
            )
        assert done.returncode == 0, log.read_text(errors="replace")[-3000:]

    def add(self, kind: str, options: str) -> str:
        """Add a job as scheduled; returns its folder."""
        self.pipeliner("--addJob", kind, "--addJobOptions", options)
        return list(self.statuses())[-1]

    def run(self, kind: str, options: str, seconds: float = 360) -> str:
        """Add a job and run it through the queue until RELION says that it has ended."""
        folder = self.add(kind, options)
        self.pipeliner("--RunJobs", folder, "--sec_wait_after", "1", seconds=seconds)
        return folder

    def start(self, folder: str) -> "subprocess.Popen[bytes]":
        """Run a job through the queue without waiting for its end."""
        return subprocess.Popen(
            ["relion_pipeliner", "--RunJobs", folder, "--sec_wait_after", "1"],
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self.environment,
        )

    def statuses(self) -> dict[str, str]:
        """What RELION itself believes of every job, in order."""
        text = (self.root / "default_pipeline.star").read_text()
        processes = text.partition("data_pipeline_processes")[2].partition("data_pipeline_nodes")[0]
        rows = re.findall(r"^(\S+/job\d+/)\s+\S+\s+\d+\s+(\d)", processes, re.MULTILINE)
        return {name: STATUS[status] for name, status in rows}

    def text(self, name: str) -> str:
        """A file of the project as text; empty when it isn't there."""
        path = self.root / name
        return path.read_text(errors="replace") if path.exists() else ""


@pytest.fixture(scope="session")
def movies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small movies and a gain."""
    data = tmp_path_factory.mktemp("movies") / "data"
    subprocess.run([sys.executable, "-c", SIMULATE, str(data)], check=True, stdout=subprocess.DEVNULL, timeout=300)
    return data / "Movies"


@pytest.fixture
def project(tmp_path: Path, movies: Path) -> Iterator[Project]:
    """An empty project with movies, and a cryoburst of its own that ends with the test."""
    root, template = tmp_path / "project", tmp_path / "template.sh"
    root.mkdir()
    (root / "Movies").symlink_to(movies)
    (root / ".gui_projectdir").touch()
    (root / "default_pipeline.star").write_text(EMPTY_PIPELINE)
    write_template(template)
    program = Path(sys.executable).with_name("cryoburst")
    mine = {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "CRYOBURST_STATE": str(tmp_path / "state"),
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    }
    here = {name: value for name, value in os.environ.items() if not name.startswith(("RELION_", "CRYOBURST_"))}
    (tmp_path / "config/cryoburst").mkdir(parents=True)
    (tmp_path / "config/cryoburst/config.toml").write_text("idle_seconds = 2.0\n")
    all_ = {**here, **environment(program, template), **mine}
    yield Project(root, all_)
    runs = subprocess.run(
        [program, "runs", "--json"], cwd=root, env=all_, timeout=60, capture_output=True, text=True, check=True
    )
    for run in json.loads(runs.stdout):
        if run["state"] not in ("SUCCEEDED", "FAILED", "STOPPED"):
            subprocess.run([program, "stop", str(run["number"]), "--wait"], env=all_, timeout=60, capture_output=True)


@pytest.fixture
def particles(project: Project) -> str:
    """A particle list that Class2D takes: 60 noisy discs of 32 pixels in two stacks; returns its path."""
    import mrcfile
    import numpy as np

    folder = project.root / "Particles"
    folder.mkdir()
    random = np.random.default_rng(1)
    y, x = np.mgrid[-16:16, -16:16]
    disc = np.where(np.hypot(x * 1.5, y) < 9, 2.0, 0.0)
    for name in ("a", "b"):
        stack = (disc + random.normal(0, 1, (30, 32, 32))).astype(np.float32)
        around = stack[:, np.hypot(x, y) > 13]  # RELION refuses images whose background is not 0 ± 1
        stack = (stack - around.mean(axis=1)[:, None, None]) / around.std(axis=1)[:, None, None]
        with mrcfile.new(folder / f"{name}.mrcs") as file:
            file.set_data(stack.astype(np.float32))
            file.voxel_size = 10.0
    optics = ["rlnOpticsGroupName", "rlnOpticsGroup", "rlnImagePixelSize", "rlnImageSize", "rlnImageDimensionality"]
    optics += ["rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast"]
    text = "\ndata_optics\n\nloop_\n" + "".join(f"_{label} #{n}\n" for n, label in enumerate(optics, 1))
    text += "one 1 10.0 32 2 300 2.7 0.1\n\n\ndata_particles\n\nloop_\n"
    text += "_rlnImageName #1\n_rlnMicrographName #2\n_rlnOpticsGroup #3\n"
    text += "".join(f"{n:06d}@Particles/{s}.mrcs Mics/{s}.mrc 1\n" for s in "ab" for n in range(1, 31))
    (folder / "particles.star").write_text(text + "\n")
    return "Particles/particles.star"
