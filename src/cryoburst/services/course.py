"""How a run goes and what can be drawn of it, as its package reads it from the job folder at home. Only reads.

The folder may meanwhile belong to a later run, or hold what an earlier one left: neither is ever taken for this run's.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from cryoburst.database.ledger import Ledger
from cryoburst.engine.sentences import PUT_BACK
from cryoburst.model.course import Course, Panel
from cryoburst.model.errors import BadInput, CryoburstError, NotThere, NotYet
from cryoburst.model.job import Job
from cryoburst.model.plugins import Package
from cryoburst.model.run import Run


def course(packages: Mapping[str, Package], ledger: Ledger, run: Run) -> Course | None:
    """How it goes; None when the files at home can't tell, or are not this run's."""
    try:
        return packages[run.package].course(_job(packages, ledger, run), run.since)
    except CryoburstError:
        return None


def panels(packages: Mapping[str, Package], ledger: Ledger, run: Run) -> Sequence[Panel]:
    """What can be drawn. Raises NotThere or BadInput, in one sentence."""
    try:
        return packages[run.package].panels(_job(packages, ledger, run), run.since)
    except NotYet:
        if not run.state.final:
            raise
        made = f"run {run.number} ended as {run.state} and made nothing that can be drawn"
        raise NotThere(made, where=run.job, advice=f"see cryoburst show {run.number}") from None


def _job(packages: Mapping[str, Package], ledger: Ledger, run: Run) -> Job:
    """The job as its folder says. Raises NotThere when the folder is not this run's, or gone."""
    if run.package not in packages:
        raise BadInput(f"no package {run.package} is installed here", advice="see cryoburst doctor")
    project = Path(run.project)
    if not (project / run.job).is_dir():
        raise NotThere("the job's folder is not there", where=str(project / run.job), advice=PUT_BACK)
    if (later := ledger.later_of(run)) is not None:
        raise NotThere(f"run {later.number} has used {run.job} since, so what is there is not of run {run.number}")
    if run.started is None and run.command_started is None and run.attempt == 1:
        raise NotThere(f"run {run.number} has not started yet, so there is nothing of it")
    return packages[run.package].read_job(project / run.target, project)
