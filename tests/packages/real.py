"""Jobs of the real RELION 3.1.3 on small made-up data: what our package predicted of each, and what it took.

Every job runs in ``Class3D/job001`` of a project, by the script that our template gives, as on a machine.
"""

import contextlib
import os
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import window

from cryoburst.agent import processes
from cryoburst.model.plugins import Examined
from cryoburst.packages.relion import Relion, closure
from cryoburst.packages.relion.preflight.facts import Facts, facts_of

JOB = "Class3D/job001/"
PIXEL = 3.0  # Å
OPTICS = """
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
opticsGroup1 1 300 2.7 0.1 3.0 {box} 2


# version 30001

data_particles

loop_
_rlnImageName #1
_rlnMicrographName #2
_rlnOpticsGroup #3
_rlnDefocusU #4
_rlnDefocusV #5
_rlnDefocusAngle #6
"""
OF_MICROGRAPHS = OPTICS.partition("_rlnImagePixelSize")[0]


@dataclass(frozen=True)
class Ran:
    """What was said before, and what was: bytes of memory at the peak, and of files in the fullest job folder."""

    said: Examined
    memory: int
    written: int
    facts: Facts  # of the program

    @property
    def ratio(self) -> float:
        """Predicted memory over measured."""
        return self.said.most.memory / self.memory

    @property
    def disk(self) -> float:
        """Predicted outputs over those written."""
        return (self.said.most.disk - self.said.least.disk) / self.written


def run(folder: Path, line: str, processes_: int = 1, threads: int = 1) -> Ran:
    """Carry a job out. What an earlier one left in its folder is moved to ``before/`` first."""
    job_folder = folder / JOB
    if job_folder.exists():
        job_folder.rename(folder / "before")
    script = window.add(folder, JOB, f"{line} --pipeline_control {JOB}", processes_, threads)
    job = Relion().read_job(script, folder)
    said, facts = Relion().examine(job), facts_of(job, closure.close(job))[0]
    assert not [f for f in said.findings if f.level == "error"], said.findings
    peak = fullest = 0
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            ["bash", f"{JOB}run_submit.script"],
            cwd=folder,
            env={**os.environ, **Relion.environment, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            stdout=log,
            stderr=subprocess.STDOUT,
        ) as running,
    ):
        while running.poll() is None:
            peak = max(peak, processes.peak_memory([running.pid, *processes.descendants(running.pid)]))
            fullest = max(fullest, _size(job_folder))
            time.sleep(0.02)
    assert running.returncode == 0, (folder / "log").read_text()[-2000:]
    return Ran(said, peak, max(fullest, _size(job_folder)), facts)


def _size(folder: Path) -> int:
    """Bytes of the files in a folder to which a program writes."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() and not path.is_symlink() else 0
    return total


def head(x: int, y: int, z: int, mode: int = 2) -> bytes:
    """The header of an MRC file of 3 Å/px."""
    made = bytearray(1024)
    struct.pack_into("<4i", made, 0, x, y, z, mode)
    struct.pack_into("<3i", made, 28, x, y, z)
    struct.pack_into("<6f", made, 40, PIXEL * x, PIXEL * y, PIXEL * z, 90, 90, 90)
    struct.pack_into("<3i", made, 64, 1, 2, 3)
    made[208:216] = b"MAP DA\0\0"
    return bytes(made)


def write(path: Path, data: Any) -> None:
    """An image, a stack or a map of floats."""
    sizes = (*data.shape[::-1], 1, 1)[:3]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head(*sizes) + data.astype("<f4").tobytes())


def ball(box: int, radius: float) -> Any:
    """A sphere of ones, radius in boxes."""
    import numpy as np

    axis = np.arange(box) - box // 2
    return sum(part**2 for part in np.meshgrid(axis, axis, axis)) < (radius * box) ** 2


def data(folder: Path, box: int, count: int, spread: int = 4, noise: float = 0.0) -> None:
    """map.mrc with signal at every resolution and particles.star of projections of it, on ``spread`` micrographs, with
    so many times as much noise; without a count, a map and one particle with the right headers only."""
    import numpy as np

    path = folder / "map.mrc"
    if not count:
        path.write_bytes(head(box, box, box))
        with path.open("ab") as file:
            file.truncate(1024 + 4 * box**3)
        stack = folder / "proj.mrcs"
        stack.write_bytes(head(box, box, 1))
        with stack.open("ab") as file:
            file.truncate(1024 + 4 * box**2)
        names = ["000001@proj.mrcs"]
    else:
        signal = np.random.default_rng(box).standard_normal((box, box, box)) * ball(box, 0.3)
        write(path, signal)
        words = ["relion_project", "--i", "map.mrc", "--o", "proj", "--nr_uniform", str(count), "--angpix", "3"]
        subprocess.run(words, cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=120)
        names = [f"{n + 1:06d}@proj.mrcs" for n in range(count)]
        if noise:
            images = _stack(folder / "proj.mrcs", box)
            random = np.random.default_rng(count).standard_normal(images.shape)
            write(folder / "proj.mrcs", images + noise * images.std() * random)
    rows = "".join(f"{name} m{n % spread}.mrc 1 9000 9000 0\n" for n, name in enumerate(names))
    (folder / "particles.star").write_text(OPTICS.format(box=box) + rows + "\n")


def bodies(folder: Path, box: int, count: int, overlap: float = 0.05) -> None:
    """bodies.star and the masks of so many bodies: slices of a ball that overlap by a part of the box, or do not."""
    import numpy as np

    whole = ball(box, 0.32)
    axis = (np.arange(box) - box // 2)[:, None, None] / box
    edges = np.linspace(-0.33, 0.33, count + 1)
    labels = ("BodyMaskName", "BodyRotateRelativeTo", "BodySigmaAngles", "BodySigmaOffsetAngst")
    text = "\ndata_\n\nloop_\n" + "".join(f"_rln{label}\n" for label in labels)
    for n in range(count):
        inside = (axis >= edges[n] - overlap / 2) & (axis < edges[n + 1] + overlap / 2)
        write(folder / f"body{n + 1}.mrc", (whole & inside).astype(float))
        text += f"body{n + 1}.mrc {2 if n == 0 else 1} 10 2\n"
    (folder / "bodies.star").write_text(f"{text}\n")


def halves(folder: Path, box: int) -> None:
    """Two noisy half maps, and a mask."""
    import numpy as np

    random = np.random.default_rng(box)
    signal = random.standard_normal((box, box, box)) * ball(box, 0.3)
    axis = np.fft.fftfreq(box)
    far = sum(part**2 for part in np.meshgrid(axis, axis, np.fft.rfftfreq(box), indexing="ij"))
    for n in (1, 2):
        noise = random.standard_normal((box, box, box))  # then more of it at high resolution
        noise = np.fft.irfftn(np.fft.rfftn(noise) * np.sqrt(far) * 4, noise.shape, (0, 1, 2))
        write(folder / f"run_half{n}_class001_unfil.mrc", signal + noise)
    write(folder / "mask.mrc", ball(box, 0.32).astype(float))


def micrographs(folder: Path, x: int, y: int, count: int = 1) -> None:
    """Noise, and micrographs.star with its CTF."""
    import numpy as np

    random = np.random.default_rng(x)
    names = [f"Mics/m{n}.mrc" for n in range(count)]
    for name in names:
        write(folder / name, random.standard_normal((y, x)))
    rows = "".join(f"{name} 1 9000 9000 0\n" for name in names)
    labels = ("rlnMicrographName", "rlnOpticsGroup", "rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")
    table = (
        f"_rlnMicrographPixelSize #6\n_rlnMicrographOriginalPixelSize #7\nopticsGroup1 1 300 2.7 0.1 {PIXEL} {PIXEL}\n"
    )
    text = f"{OF_MICROGRAPHS}{table}\n\ndata_micrographs\n\nloop_\n" + "".join(f"_{label}\n" for label in labels)
    (folder / "micrographs.star").write_text(f"{text}{rows}\n")


def picks(folder: Path, x: int, y: int, each: int, count: int = 1) -> None:
    """Coordinates of so many particles on each micrograph, as AutoPick writes them."""
    (folder / "Picks/Mics").mkdir(parents=True)
    labels = ("rlnCoordinateX", "rlnCoordinateY", "rlnClassNumber", "rlnAutopickFigureOfMerit", "rlnAnglePsi")
    text = "\n# version 30001\n\ndata_\n\nloop_ \n" + "".join(f"_{label} #{n} \n" for n, label in enumerate(labels, 1))
    for m in range(count):
        rows = "".join(
            f"{37.0 * n % x:12.6f} {53.0 * n % y:12.6f} {-999:12d} {1.0:12.6f} {-999.0:12.6f} \n" for n in range(each)
        )
        (folder / f"Picks/Mics/m{m}_pick.star").write_text(f"{text}{rows} \n")


def movies(folder: Path, x: int, y: int, frames: int, count: int = 1) -> None:
    """Movies of counted electrons, the gain, and movies.star."""
    import numpy as np

    (folder / "Movies").mkdir()
    names = [f"Movies/m{n}.mrcs" for n in range(count)]
    for n, name in enumerate(names):
        counts = np.random.default_rng(n).poisson(1.0, (frames, y, x)).astype("i1")
        (folder / name).write_bytes(head(x, y, frames, mode=0) + counts.tobytes())
    write(folder / "gain.mrc", np.ones((y, x)))
    table = "_rlnMicrographOriginalPixelSize #6\nopticsGroup1 1 300 2.7 0.1 3.0\n"
    rows = "".join(f"{name} 1\n" for name in names)
    listed = f"\n\ndata_movies\n\nloop_\n_rlnMicrographMovieName #1\n_rlnOpticsGroup #2\n{rows}\n"
    (folder / "movies.star").write_text(OF_MICROGRAPHS + table + listed)


def placed(folder: Path, corrected: str, box: int, x: int, y: int) -> None:
    """particles.star once more, with orientations, half sets, and coordinates on the micrographs of ``corrected``."""
    from cryoburst.packages.relion import star

    table = star.block(folder / corrected, corrected, "micrographs")
    angles = star.blocks(folder / "proj.star", "proj.star")[-1]
    assert table
    mics = table.column("rlnMicrographName")
    more = ("CoordinateX", "CoordinateY", "RandomSubset", "AngleRot", "AngleTilt", "AnglePsi", "OriginXAngst")
    more = (*more, "OriginYAngst", "GroupNumber", "ClassNumber", "NormCorrection")
    text = OPTICS.format(box=box) + "".join(f"_rln{label}\n" for label in more)
    euler = zip(*(angles.column(f"rlnAngle{name}") for name in ("Rot", "Tilt", "Psi")), strict=True)
    for n, (rot, tilt, psi) in enumerate(euler):
        place = f"{box + n * 31 % (x - 2 * box)} {box + n * 47 % (y - 2 * box)}"
        name = f"{n // len(mics) + 1:06d}@Stacks/m{n % len(mics)}.mrcs {mics[n % len(mics)]}"
        text += f"{name} 1 9000 9000 0 {place} {n // len(mics) % 2 + 1} {rot} {tilt} {psi} 0 0 1 1 1\n"
    (folder / "particles.star").write_text(f"{text}\n")
    images = _stack(folder / "proj.mrcs", box)
    for m in range(len(mics)):
        write(folder / f"Stacks/m{m}.mrcs", images[m :: len(mics)])


def _stack(path: Path, box: int) -> Any:
    import numpy as np

    return np.frombuffer(path.read_bytes()[1024:], "<f4").reshape(-1, box, box)
