"""Jobs of the real RELION that begin before their inputs are on the machine make what they make elsewhere."""

from collections.abc import Iterator

import pytest
from tests import bare
from tests.patient_kernel import patient_kernel

from . import refinement
from .home import Home

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def patient(home: Home) -> Iterator[None]:
    home.environment["CRYOBURST_LATE_INPUTS_GIB"] = "1e-9"
    with patient_kernel():
        yield


def came_late(home: Home) -> list[str]:
    """What the run says of it."""
    return [line for line in home.call("show", "1").stdout.splitlines() if "came while it ran" in line]


@pytest.mark.parametrize("processes", [1, 3])
def test_a_refinement(home: Home, processes: int) -> None:
    refinement.project(home)
    kind = "Refine3D" if processes > 1 else "Class3D"
    few = " --auto_iter_max 3" if processes > 1 else ""  # what comes late has come when the first has begun
    folder = refinement.job(home, kind, refinement.COMMANDS[kind] + few, processes=processes)
    assert home.call("submit", f"{folder}/run_submit.script").returncode == 0
    assert home.ended()["state"] == "SUCCEEDED", home.log()
    alone = bare.run(home.project, folder, home.root / "alone", refinement.mpi(home))
    assert list(bare.differences(home.project / folder, alone)) == []
    assert len(came_late(home)) == 1
    home.assert_clean(1)


def test_a_machine_that_dies_meanwhile_leaves_nothing_wrong(home: Home) -> None:
    """Whatever RELION made of a stack that was not there is no output, and the next attempt makes all of it."""
    refinement.project(home)
    folder = refinement.job(home, "Class3D")
    assert home.call("submit", f"{folder}/run_submit.script").returncode == 0
    assert home.cut_when(lambda: True)
    run = home.ended()
    assert (run["state"], run["attempt"]) == ("SUCCEEDED", 2), home.log()
    alone = bare.run(home.project, folder, home.root / "alone", refinement.mpi(home))
    assert list(bare.differences(home.project / folder, alone)) == []
    home.assert_clean(2)


def test_never_where_the_user_says_so(home: Home) -> None:
    home.environment["CRYOBURST_LATE_INPUTS_GIB"] = "0"
    refinement.project(home)
    folder = refinement.job(home, "Class3D")
    assert home.call("submit", f"{folder}/run_submit.script", "--wait").returncode == 0
    assert came_late(home) == []
