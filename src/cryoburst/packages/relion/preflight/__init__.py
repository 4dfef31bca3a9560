"""The pre-flight of a RELION job: checks of its files, and what it will take. Reads lists and heads of images only."""

from collections.abc import Sequence

from cryoburst.model.job import Input, Job
from cryoburst.model.plugins import Examined
from cryoburst.packages.relion.preflight.checks import CHECKS
from cryoburst.packages.relion.preflight.demand import demands
from cryoburst.packages.relion.preflight.facts import facts_of
from cryoburst.packages.relion.preflight.work import work

__all__ = ["examine"]


def examine(job: Job, inputs: Sequence[Input]) -> Examined:
    """See ``Package.examine``."""
    facts = facts_of(job, inputs)
    findings = [finding for each in facts for check in CHECKS for finding in check(each)]
    most, least = demands(facts)
    return Examined(tuple(findings), most, least, work(facts))
