"""The pre-flight of a RELION job: checks of its files, and what it will take. Reads lists and heads of images only."""

from cryoburst.model.job import Job
from cryoburst.model.plugins import Examined
from cryoburst.packages.relion import closure
from cryoburst.packages.relion.preflight.checks import CHECKS
from cryoburst.packages.relion.preflight.demand import demands, unknown
from cryoburst.packages.relion.preflight.facts import facts_of
from cryoburst.packages.relion.preflight.work import work

__all__ = ["examine"]


def examine(job: Job) -> Examined:
    """See ``Package.examine``."""
    files = closure.close(job)
    inputs = files.finish()
    facts = facts_of(job, files)
    findings = [finding for each in facts for check in CHECKS for finding in check(each)]
    findings += unknown(facts)
    most, least = demands(facts)
    return Examined(inputs, tuple(findings), most, least, work(facts))
