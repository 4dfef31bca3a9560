"""What we would send, against what RELION 3.1.3 opened: nothing missing, and nothing sent in vain.

One test for each half of the pipeline, not one per job: with several workers each would build the project again.
"""

from typing import Any

import pytest
from tests.demo.tiny import ADVANCED, TINY
from tests.packages.variants import VARIANTS

from cryoburst.demo import pipelines
from cryoburst.packages.relion.jobtypes import TYPES

pytestmark = pytest.mark.slow

FIRST = {step.name for step in pipelines.to_classes(TINY)} | {"ctf_of_micrographs"}
REST = {step.name for step in ADVANCED} - FIRST
REST |= {"import_particles", "classes_continued", "refine_continued"} | {step.name for step in VARIANTS}


def differences(project: Any, names: set[str]) -> dict[str, tuple[set[str], set[str]]]:
    """Per job: what was sent in vain, and what was missing."""
    assert names <= set(project.watched)
    watched = {name: project.watched[name] for name in names}
    found = {name: (w.sent - w.opened, w.opened - w.sent) for name, w in watched.items()}
    return {name: pair for name, pair in found.items() if any(pair)}


def test_jobs_up_to_class_averages_get_exactly_what_relion_opens(relion_project: Any) -> None:
    assert differences(relion_project, FIRST) == {}
    movies = relion_project.watched["import"]
    assert [i.path for i in movies.inputs if i.listed] == [f"Movies/mic_00{n}.mrcs" for n in (1, 2, 3)]


def test_jobs_of_the_whole_pipeline_get_exactly_what_relion_opens(relion_project_full: Any) -> None:
    assert differences(relion_project_full, REST) == {}
    continued = relion_project_full.watched["classes_continued"].job.restart
    assert continued == f"{relion_project_full.jobs['classes']}run_it001_optimiser.star"
    kinds = {watched.job.kind for watched in relion_project_full.watched.values()}
    windows = {"relion.manualpick"}
    assert kinds == {each.label for each in TYPES if each.since == "3.1"} - windows
