"""How a job goes and what it looks like, in values that say nothing of the program: a package reads them from the job's
files at home, and whoever prints or draws needs to know no more.

Resolutions are in Å, frequencies in 1/Å, shares between 0 and 1; what is not known is None. A ``Panel`` is one picture:
it names image files on this disk, which may be missing (left in the store, say), and never holds their pixels.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Class:
    """One class of an iteration: its share of the particles, and its resolution."""

    share: float
    resolution: float | None


@dataclass(frozen=True)
class Iteration:
    """One finished iteration of a refinement or classification."""

    number: int
    resolution: float | None
    classes: tuple[Class, ...]


@dataclass(frozen=True)
class Curve:
    """A named curve over an axis that its owner has."""

    label: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Fsc:
    """Fourier shell correlation over frequency. The first curve is the one from which the resolution is taken."""

    frequency: tuple[float, ...]
    curves: tuple[Curve, ...]
    resolution: float | None


@dataclass(frozen=True)
class Micrographs:
    """Micrographs (or movies) that are done; ``total`` 0 is unknown. ``per_minute`` is of the last hundred."""

    done: int
    total: int
    per_minute: float | None


@dataclass(frozen=True)
class Course:
    """What the job's files at home say of how it goes. ``total`` iterations 0 is unknown."""

    iterations: tuple[Iteration, ...] = ()
    total: int = 0
    fsc: Fsc | None = None
    micrographs: Micrographs | None = None

    @property
    def resolution(self) -> float | None:
        """The newest, in Å."""
        last = self.iterations[-1].resolution if self.iterations else None
        return self.fsc.resolution if self.fsc else last

    @property
    def known(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.iterations or self.fsc or (self.micrographs and self.micrographs.done))


# ---------------------------------------------------------------------------------------------------- what to draw


@dataclass(frozen=True)
class Montage:
    """Images of an MRC stack, by their places in it (from 0), each with a caption or none."""

    title: str
    note: str
    stack: Path
    places: tuple[int, ...]
    captions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Slices:
    """The three central slices of each of some maps. ``unit`` is set when a map's values mean something: then they are
    drawn in colours with a scale."""

    title: str
    note: str
    maps: tuple[tuple[str, Path], ...]  # label, file
    unit: str = ""


@dataclass(frozen=True)
class FscPanel:
    """FSC curves, with what else is known of the map."""

    title: str
    note: str
    fsc: Fsc


@dataclass(frozen=True)
class Drift:
    """The way of a specimen during its exposure: position (Å) in each frame; ``dose`` in e⁻/Å² per frame."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    dose: float


@dataclass(frozen=True)
class CtfProfile:
    """A power spectrum along its rings, the fitted CTF, and how well both agree, over frequency."""

    frequency: tuple[float, ...]
    spectrum: tuple[float, ...]
    fitted: tuple[float, ...]
    agreement: tuple[float, ...]


@dataclass(frozen=True)
class CtfFit:
    """The CTF of a micrograph: half spectrum, half fit in ``image``; defocus in Å, azimuth in degrees, pixel in Å."""

    name: str
    image: Path
    pixel: float
    defocus: tuple[float, float]
    azimuth: float
    score: float
    resolution: float
    profile: CtfProfile | None


@dataclass(frozen=True)
class Picks:
    """Positions (in pixels) of particles in a micrograph; ``diameter`` of the circles in Å. None: the image alone."""

    name: str
    micrograph: Path
    x: tuple[float, ...] | None = None
    y: tuple[float, ...] = ()
    diameter: float = 0.0


Panel = Montage | Slices | FscPanel | Drift | CtfFit | Picks


# ---------------------------------------------------------------------------------------------------- its past


@dataclass(frozen=True)
class Past:
    """What a project tells of one of its jobs, whoever ran it: paths are relative to the project.

    ``commands`` are the newest that were run, as text. Times are in s since the epoch.
    """

    folder: str  # with its slash
    kind: str = ""
    commands: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    began: float | None = None
    ended: float | None = None
    outcome: str = ""  # succeeded, failed, aborted; empty when not known
