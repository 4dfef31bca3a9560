"""Write a data set: movies, gain reference and the truth about them. Same settings, same bytes, on any number of cores.

    Movies/mic_001.mrcs ...   counts, signed bytes (MRC mode 0), one section per frame
    Movies/gain.mrc           multiply the movies by it
    truth/map.mrc             the potential less ice, V
    truth/particles.star      positions (pixels, first frame), angles, defocus of every particle
    truth/micrographs.star    defocus of every micrograph
    truth/drift.star          global drift, pixels, in RELION's sign: the shift that brings a frame back onto the first

Nothing is written into a folder that already holds something.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryoburst.model.errors import BadInput

from .movie import MOST_COUNTS, Defocus, Micrograph, Scene, make, sensitivity
from .optics import Optics
from .specimen import Projector, load, potential

LARGEST = 300_000_000  # bytes that are written without being asked twice
LONGEST = 1800  # s that one micrograph may take
NAME = "mic_{:03d}"


@dataclass(frozen=True)
class Settings:
    """What to simulate. size in pixels, pixel_size in Å, dose in e⁻/Å² for the whole movie, voltage in kV, Cs in mm.

    preferred: share of the particles that lie in one of seven views (see `movie.VIEWS`), the others being uniform.
    """

    micrographs: int = 16
    particles: int = 60
    seed: int = 1
    size: int = 1024
    frames: int = 10
    pixel_size: float = 3.0
    dose: float = 36.0
    voltage: float = 300.0
    aberration: float = 2.7
    amplitude_contrast: float = 0.1
    preferred: float = 0.0
    force: bool = False

    @property
    def bytes(self) -> int:
        """Size of the files that will be written, without the few kB of text."""
        from .specimen import box_size

        movies = self.micrographs * (self.frames * self.size**2 + 1024)
        return movies + 4 * self.size**2 + 4 * box_size(self.pixel_size) ** 3

    @property
    def scene(self) -> Scene:
        """The part that a micrograph is made with."""
        optics = Optics(self.voltage, self.aberration, self.amplitude_contrast)
        exposure = self.dose / self.frames
        return Scene(optics, self.size, self.frames, self.pixel_size, exposure, self.particles, self.preferred)

    def check(self) -> None:
        """Raise BadInput where the numbers make no data set, or one of more than LARGEST bytes without `force`."""
        limits: Sequence[tuple[str, float, float, float]] = (
            ("micrographs", self.micrographs, 1, 999),
            ("particles", self.particles, 0, 2000),
            ("seed", self.seed, 0, 2**63),
            ("size", self.size, 256, 8192),
            ("frames", self.frames, 1, 200),
            ("pixel-size", self.pixel_size, 1.0, 6.0),
            ("dose", self.dose, 0.1, 200),
            ("voltage", self.voltage, 80, 400),
            ("cs", self.aberration, 0, 10),
            ("preferred", self.preferred, 0, 1),
        )
        for option, value, low, high in limits:
            if not low <= value <= high:
                raise BadInput(f"--{option} {value}: it must be between {low:g} and {high:g}")
        if self.size % 2:
            raise BadInput(f"The size of {self.size} pixels is odd", advice="choose an even one")
        counts = self.dose / self.frames * self.pixel_size**2
        if counts > 0.55 * MOST_COUNTS:
            what = f"{counts:.0f} electrons per pixel and frame do not fit into the movies' signed bytes"
            raise BadInput(what, advice="choose more frames, a smaller dose or a smaller pixel size")
        if self.bytes > LARGEST and not self.force:
            what = f"This data set would take {self.bytes / 1e6:.0f} MB, more than {LARGEST / 1e6:.0f} MB"
            raise BadInput(what, advice="choose fewer micrographs or frames, or say --force")


def _generator(seed: int, part: int) -> np.random.Generator:
    """Return the random numbers of one part of the set: 0 the detector, 1.. the micrographs."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, part])))


def write_mrc(path: Path, data: NDArray[np.generic], pixel_size: float) -> None:
    """Write an MRC file with a fixed label: mrcfile's own holds the date, and equal data would not be equal bytes."""
    import mrcfile

    with mrcfile.new(path) as file:
        file.set_data(data)
        if path.suffix == ".mrcs":
            file.set_image_stack()
        file.voxel_size = pixel_size
        header = file.header
        assert header is not None
        header.nlabl = 1
        header.label[0] = b"cryoburst simulate"


def write_table(path: Path, block: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Append one loop to a STAR file; columns without _rln."""
    lines = ["", f"data_{block}", "", "loop_"]
    lines += [f"_rln{column} #{number}" for number, column in enumerate(columns, 1)]
    for row in rows:
        lines.append(" ".join(f"{cell:12.4f}" if isinstance(cell, float) else str(cell) for cell in row))
    with path.open("a") as file:
        file.write("\n".join(lines) + "\n\n")


@dataclass
class _Shared:
    """What every micrograph of a process needs; made once per process."""

    settings: Settings
    projector: Projector
    response: NDArray[np.float32]


_shared: _Shared | None = None


def _prepare(settings: Settings) -> None:
    """Make the projector and the detector of this process."""
    global _shared
    parent = parent_process()
    if parent is not None:  # one of several: Ctrl-C is the parent's to hear, and nobody outlives it
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    projector = Projector(load(), settings.pixel_size)
    _shared = _Shared(settings, projector, sensitivity(settings.size, _generator(settings.seed, 0)))


def _end_with(sentinel: int) -> None:
    """Wait for the end of the parent, however it came, and follow at once: a pool's process would wait for ever."""
    wait([sentinel])
    os._exit(1)


def _one(number: int, path: Path) -> Micrograph:
    """Make micrograph `number` (from 1), write its movie, and return the truth (its frames emptied)."""
    assert _shared is not None
    settings = _shared.settings
    truth = make(settings.scene, _shared.projector, _shared.response, _generator(settings.seed, number))
    write_mrc(path, truth.frames, settings.pixel_size)
    return replace(truth, frames=truth.frames[:0])


def _movies(settings: Settings, paths: Sequence[Path], cores: int, say: Callable[[str], None]) -> list[Micrograph]:
    """Make all movies, in processes of their own where that saves time."""
    numbers = range(1, len(paths) + 1)
    done: list[Micrograph] = []

    def report(truth: Micrograph) -> None:
        done.append(truth)
        mean = (truth.defocus.u + truth.defocus.v) / 2e4
        say(
            f"movie {len(done)} of {len(paths)}: {_count(len(truth.particles), 'particle')}, defocus {mean:.2f} µm, "
            f"drift {np.hypot(*truth.drift[-1]) * settings.pixel_size:.0f} Å"
        )

    if min(cores, len(paths)) < 2:
        _prepare(settings)
        for number, path in zip(numbers, paths, strict=True):
            report(_one(number, path))
        return done
    # Fresh processes: a forked copy of a program with threads may hang.
    context = get_context("spawn")
    aloud = threading.excepthook
    try:
        with ProcessPoolExecutor(min(cores, len(paths)), context, _prepare, (settings,)) as pool:
            try:
                for truth in pool.map(_one, numbers, paths, timeout=LONGEST * len(paths)):
                    report(truth)
            except BaseException:
                threading.excepthook = lambda _: None  # the pool's own thread may trip over its dead processes
                for child in active_children():  # else the pool waits for what nobody wants any more
                    child.terminate()
                raise
    finally:
        threading.excepthook = aloud
    return done


def write(
    folder: Path, settings: Settings, say: Callable[[str], None] = lambda line: None, cores: int | None = None
) -> None:
    """Write the data set into `folder`, which is made, or is there and empty.

    The default set takes about half a minute on two cores and 172 MB. Raises BadInput when the folder holds anything
    or the settings make no sense; an interrupted call leaves a folder that a second call refuses.
    """
    settings.check()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"{folder} is not an empty folder", advice="name a new one")
    movies, truth = folder / "Movies", folder / "truth"
    try:
        movies.mkdir(parents=True)
        truth.mkdir()
    except OSError as error:
        raise BadInput(f"{folder} can't be made: {error.strerror}") from error
    say(f"simulating {_count(settings.micrographs, 'movie')}, {settings.bytes / 1e6:.0f} MB, in {folder}")
    write_mrc(movies / "gain.mrc", 1 / sensitivity(settings.size, _generator(settings.seed, 0)), settings.pixel_size)
    write_mrc(truth / "map.mrc", potential(load(), settings.pixel_size), settings.pixel_size)

    names = [NAME.format(number) + ".mrcs" for number in range(1, settings.micrographs + 1)]
    cores = cores or len(os.sched_getaffinity(0))
    made = _movies(settings, [movies / name for name in names], cores, say)
    _write_truth(truth, settings, dict(zip([f"Movies/{name}" for name in names], made, strict=True)))
    particles = _count(sum(len(one.particles) for one in made), "particle")
    say(f"{particles} in {_count(len(made), 'movie')}; the truth is in {truth}")


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _write_truth(folder: Path, settings: Settings, made: dict[str, Micrograph]) -> None:
    """Write the three STAR files of the truth, in RELION's columns."""
    optics = (
        "OpticsGroup OpticsGroupName ImagePixelSize Voltage SphericalAberration AmplitudeContrast ImageDimensionality"
    )
    values = (1, "opticsGroup1", settings.pixel_size, settings.voltage, settings.aberration)
    row = (*values, settings.amplitude_contrast, 2)

    def angles(defocus: Defocus) -> tuple[float, float, float]:
        return defocus.u, defocus.v, defocus.azimuth

    for name in ("particles", "micrographs"):
        write_table(folder / f"{name}.star", "optics", optics.split(), [row])
    columns = "MicrographName CoordinateX CoordinateY AngleRot AngleTilt AnglePsi DefocusU DefocusV DefocusAngle"
    particles = (
        (name, one.x, one.y, one.rot, one.tilt, one.psi, *angles(one.defocus), 1)
        for name, truth in made.items()
        for one in truth.particles
    )
    write_table(folder / "particles.star", "particles", [*columns.split(), "OpticsGroup"], particles)
    columns = "MicrographName DefocusU DefocusV DefocusAngle OpticsGroup"
    micrographs = ((name, *angles(truth.defocus), 1) for name, truth in made.items())
    write_table(folder / "micrographs.star", "micrographs", columns.split(), micrographs)
    columns = "MicrographName MicrographFrameNumber MicrographShiftX MicrographShiftY"
    drift = (
        (name, frame, float(-x), float(-y))
        for name, truth in made.items()
        for frame, (x, y) in enumerate(truth.drift, 1)
    )
    write_table(folder / "drift.star", "drift", columns.split(), drift)
