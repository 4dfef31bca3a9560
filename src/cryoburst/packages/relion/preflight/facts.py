"""What the checks look at: the options of a job's program, its particle list, and the heads of its images.

Everything is read at most once, and only when a check asks for it; what the closure read is known already. What is not
on this disk (a stub, an object in a bucket) is unknown, never wrong.
"""

import math
from dataclasses import dataclass
from functools import cached_property

from cryoburst.model.errors import BadInput
from cryoburst.model.job import Job
from cryoburst.packages.relion import images, star
from cryoburst.packages.relion.closure import NONE, Line, image
from cryoburst.packages.relion.files import Files
from cryoburst.packages.relion.jobtypes import program

CLOSE = 0.001  # Å/px: RELION takes two pixel sizes for the same within this (MlModel::initialiseFromImages)


@dataclass(frozen=True)
class Optics:
    """One row of the optics table. 0 is a value that the table has not, or that is 0 there."""

    group: str
    name: str
    pixel: float  # Å/px, of the particles
    box: int  # pixels
    complete: bool  # voltage, spherical aberration and some pixel size are there


@dataclass(frozen=True)
class Particles:
    """A particle list: its size, columns, optics, and how far each stack is used."""

    path: str
    count: int
    labels: frozenset[str]  # of any table
    grouped: bool  # each particle names its optics group
    has_optics: bool
    optics: tuple[Optics, ...]
    groups: tuple[str, ...]  # optics groups that particles name
    highest: dict[str, int]  # stack -> the highest number in rlnImageName


class Facts:
    """The facts of one program line of a job."""

    def __init__(self, job: Job, words: tuple[str, ...], files: Files) -> None:
        self.job, self.files, self.inputs = job, files, files.found
        self.line = Line(words, files, job.version)
        known = program(words[0])
        self.rule = known.rule if known else ""

    def get(self, option: str) -> str:
        """The value of an option that names a file; empty when it names none."""
        value = self.line.get(option)
        return "" if value in NONE else image(value)

    def number(self, option: str, default: float) -> float:
        """The value of an option, a number; the default when it is absent or none."""
        return _number(self.line.get(option), default)

    def kept(self, option: str, label: str, default: float) -> float:
        """The value of an option, a number; when it is absent, what the optimiser that is continued says."""
        return self.number(option, _number(self.optimiser.get(label, ""), default))

    def on(self, option: str, label: str) -> bool:
        """Whether an option is given, or was given to what is continued."""
        return self.has(option) or self.optimiser.get(label) == "1"

    def has(self, option: str) -> bool:
        """Whether the option is given."""
        return self.line.has(option)

    def here(self, path: str) -> bool:
        """Whether the content of an input can be read on this disk."""
        return self.files.here(path)

    def head(self, path: str) -> images.Image | None:
        """The head of an image that is an input; None when it is unknown."""
        return self.files.head(path)

    @cached_property
    def optimiser(self) -> dict[str, str]:
        """What the optimiser says that a refinement continues from, or that particles are subtracted with, and its
        model and sampling; empty for a fresh refinement."""
        path = {"refine": self.get("continue"), "subtract": self.get("i")}.get(self.rule, "")
        found: dict[str, str] = {}
        for name, label in (
            ("optimiser_general", ""),
            ("model_general", "rlnModelStarFile"),
            ("sampling_general", "rlnOrientSamplingStarFile"),
        ):
            each = found.get(label, "") if label else path
            if each and self.here(each):
                for block in star.first(self.job.project / each, each, (name,)).values():
                    found |= block.pairs
        return found

    @cached_property
    def particles(self) -> Particles | None:
        """The particle list; None for a program that has none, and when it is not on this disk."""
        if self.rule not in ("refine", "ctf_refine", "motion_refine", "subtract", "flex_analyse"):
            return None
        path = self.get("data") if self.rule in ("subtract", "flex_analyse") else ""
        path = path or self.optimiser.get("rlnExperimentalDataStarFile", "") or self.get("i")
        if not path.endswith(".star") or not self.here(path):
            return None
        return _particles(self.files, path)

    @property
    def first(self) -> Optics | None:
        """The first optics group: what RELION compares with the reference."""
        return self.particles.optics[0] if self.particles and self.particles.optics else None

    @cached_property
    def reference(self) -> str:
        """The map or the stack of class averages that a refinement starts from; empty without one."""
        path = "" if self.optimiser else self.get("ref")
        if not path.endswith(".star"):
            return path
        values = (
            self.line.get("ref")
            and self.here(path)
            and star.summary(self.job.project / path, path, ("rlnReferenceImage",)).values.get("rlnReferenceImage")
        )
        return image(values[0]) if values else ""

    @cached_property
    def halves(self) -> str:
        """The first half map that CtfRefine, Polish, PostProcess or LocalRes reads; empty when there is none."""
        if self.rule == "postprocess":
            return self.get("i")
        return self.get("m1") or self._postprocessed("rlnUnfilteredMapHalf1")

    @cached_property
    def mask(self) -> str:
        """The mask that the program multiplies maps with; empty without one."""
        if self.rule == "refine":
            return self.get("solvent_mask")
        return self.get("mask") or self._postprocessed("rlnMaskName")

    def _postprocessed(self, label: str) -> str:
        """A file that postprocess.star names; empty when there is none."""
        path = self.get("f")
        if not path or not self.here(path):
            return ""
        found = star.summary(self.job.project / path, path, (label,)).values.get(label) or [""]
        return "" if found[0] in NONE else image(found[0])


def _number(text: str, default: float) -> float:
    try:
        found = float(text or default)
    except ValueError:
        return default
    return found if math.isfinite(found) else default


def facts_of(job: Job, files: Files) -> list[Facts]:
    """The facts of every program of a job."""
    return [Facts(job, words, files) for words in job.commands]


def _particles(files: Files, path: str) -> Particles:
    found = files.particles(path)
    table = found.kept.get("optics")
    rows = {name: count for name, count in found.rows.items() if name != "optics"}
    groups = found.values.get("rlnOpticsGroup", [])
    grouped = any("rlnOpticsGroup" in labels for name, labels in found.columns.items() if name != "optics")
    return Particles(
        path=path,
        count=max(rows.values(), default=0),
        labels=frozenset(found.labels),
        grouped=grouped,
        has_optics=table is not None,
        optics=tuple(_optics(table, path)) if table else (),
        groups=tuple(groups),
        highest={image(stack): number for stack, number in found.highest.items()},
    )


def _optics(table: star.Block, path: str) -> list[Optics]:
    names = ("rlnOpticsGroup", "rlnOpticsGroupName", "rlnImagePixelSize", "rlnImageSize")
    count = len(table.rows) or 1
    columns = [table.column(name) or [""] * count for name in names]
    sizes = ("rlnImagePixelSize", "rlnMicrographPixelSize", "rlnMicrographOriginalPixelSize")
    complete = any(table.column(name) for name in sizes) and all(
        table.column(name) for name in ("rlnVoltage", "rlnSphericalAberration")
    )
    found: list[Optics] = []
    for group, name, pixel, box in zip(*columns, strict=True):
        try:
            found.append(Optics(group, name, float(pixel or 0), round(float(box or 0)), complete))
        except ValueError:
            raise BadInput(
                f"the optics table has {pixel!r} and {box!r} for sizes of group {group}", where=path
            ) from None
    return found
