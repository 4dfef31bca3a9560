"""What we would send, against what RELION 3.1.3 opened: nothing missing, and nothing sent in vain.

One test for each half of the pipeline, not one per job: with several workers each would build the project again.
"""

from typing import Any

import pytest

pytestmark = pytest.mark.slow

DEMO = {"import", "motioncorr", "ctffind", "ctffind_micrographs", "autopick", "extract", "class2d"}
REST = {
    "class2d_continued",
    "class3d",
    "ctfrefine",
    "import_other",
    "initialmodel",
    "joinstar",
    "localres",
    "maskcreate",
    "multibody",
    "polish",
    "postprocess",
    "refine3d",
    "refine3d_continued",
    "select",
    "subtract",
}


def differences(project: Any, names: set[str]) -> dict[str, tuple[set[str], set[str]]]:
    """Per job: what was sent in vain, and what was missing."""
    assert names <= set(project.watched)
    watched = {name: project.watched[name] for name in names}
    found = {name: (w.sent - w.opened, w.opened - w.sent) for name, w in watched.items()}
    return {name: pair for name, pair in found.items() if any(pair)}


def test_demo_jobs_get_exactly_what_relion_opens(relion_project: Any) -> None:
    assert differences(relion_project, DEMO) == {}
    movies = relion_project.watched["import"]
    assert [i.path for i in movies.inputs if i.listed] == [f"Movies/mic_00{n}.mrcs" for n in (1, 2, 3)]


def test_jobs_of_the_3d_pipeline_get_exactly_what_relion_opens(relion_project_full: Any) -> None:
    assert differences(relion_project_full, REST) == {}
    assert relion_project_full.watched["class2d_continued"].job.restart == "Class2D/job007/run_it001_optimiser.star"
