"""The demo's pipelines on next to nothing: every job does what it does, within seconds, and nothing can be seen."""

from dataclasses import replace

from cryoburst.demo import pipelines
from cryoburst.demo.steps import Scale, Step
from cryoburst.simulate.dataset import Settings

TINY = Scale(
    Settings(micrographs=3, particles=12, size=512, frames=6),
    box=112,
    small=28,  # 12 Å per pixel
    classes=2,
    rounds_2d=2,
    initial=(1, 1, 1),
    subsets=(10, 10),
    rounds_3d=2,
    start=60,
    sampling="30 degrees",
    local="30 degrees",
    first_sampling="30 degrees",
    first_finest=60,
    ctf_box=256,
    threads=1,
)
FINE = "3.7 degrees"  # so that a refinement, which goes on until its steps are fine, takes few of them


def quick(step: Step) -> Step:
    """The same job; a refinement looks only around what it begins with."""
    options = {"Refine3D": ("sampling", "auto_local_sampling"), "MultiBody": ("sampling",)}
    return replace(step, options=step.options | dict.fromkeys(options.get(step.kind, ()), FINE))


ADVANCED = tuple(map(quick, pipelines.advanced(TINY)))
COMMON = tuple(map(quick, pipelines.common(TINY)))
