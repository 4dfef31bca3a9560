"""All that the engine touches outside itself, in one value: what a test replaces, a tick is given."""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from cryoburst.database.ledger import Ledger
from cryoburst.model.errors import BadInput
from cryoburst.model.job import Job
from cryoburst.model.patience import Limits, Terms
from cryoburst.model.plugins import Clock, Offer, Package, Provider, Store
from cryoburst.model.run import Run
from cryoburst.transfer import Line


@dataclass(frozen=True)
class World:
    """The ledger, the plug-ins, the clock, and the promises that every run gets."""

    ledger: Ledger
    owner: str  # whose machines and requests these are
    clock: Clock
    providers: Mapping[str, Provider]
    packages: Mapping[str, Package]
    open_store: Callable[[str], Store]
    archive: Callable[[str], tuple[bytes, str]]  # the agent that can open a store with this URL, and its checksum
    limits: Limits = field(default_factory=Limits)
    terms: Terms = field(default_factory=Terms)
    line: Callable[[], Line] = Line  # one for each transfer; what they share is in it
    hours: Callable[[Run, Offer], float] = lambda run, offer: 0.0  # how long a run takes on an offer; 0: unknown
    budget: Callable[[Run], float | None] = lambda run: None  # USD that its project and user have left; None: no end
    budget_run: float = math.inf  # USD that any run may cost, its parts included
    nearly: Callable[[Run], list[str]] = lambda run: []  # sentences on those of its budgets that are nearly used up

    def job(self, run: Run) -> Job:
        """The job of a run as its package reads it now, fitted as it was when the run began: of a part its own, of a
        split run the join. Raises BadInput."""
        job = self.whole_job(run)
        return job if run.parts == 1 else self.package(run).part(job, run.part, run.parts)

    def whole_job(self, run: Run) -> Job:
        """The job of a run, split or not, as its package reads it now, fitted as it was. Raises BadInput."""
        project, package = Path(run.project), self.package(run)
        job = package.read_job(project / run.target, project)
        return package.fit(job, run.fitted_to)[0] if run.fitted_to else job

    def package(self, run: Run) -> Package:
        """The package of a run. Raises BadInput when it isn't installed."""
        if run.package not in self.packages:
            raise BadInput(f"no package {run.package} is installed here", advice="see cryoburst doctor")
        return self.packages[run.package]

    def provider(self, name: str) -> Provider:
        """The provider with this name. Raises BadInput when there is none."""
        if name not in self.providers:
            known = ", ".join(sorted(self.providers))
            raise BadInput(f"there is no provider {name}", advice=f"choose one of {known}")
        return self.providers[name]

    def store(self, run: Run) -> Store:
        """The store of a run."""
        return self.open_store(run.store)


def request_key(owner: str, uid: str) -> str:
    """Where a run's request is in the store; one listing finds all runs of an owner."""
    return f"runs/{safe_name(owner)}/{uid}.json"


def closed_key(owner: str, uid: str) -> str:
    """Where the end of a run is noted in the store."""
    return f"runs/{safe_name(owner)}/{uid}.closed.json"


def safe_name(text: str) -> str:
    """The text as one component of a key."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_@") else "_" for c in text)


def place_at_home(project: Path, folder: str, path: str) -> Path:
    """Where an output goes at home.

    Raises BadInput when the path, which came from a machine, would leave the job folder: by ``..``, by being absolute,
    or through a symbolic link in the project.
    """
    parts = PurePosixPath(path).parts
    inside = path.startswith(folder) and ".." not in parts and not path.startswith("/") and "\0" not in path
    target = project / path
    if inside:
        real = os.path.realpath(target.parent)
        home = os.path.realpath(project / folder)
        inside = real == home or real.startswith(home + os.sep)
    if not inside:
        raise BadInput("the machine named an output outside its job folder", where=path, advice="it was left there")
    return target
