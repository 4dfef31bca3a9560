"""Machines whose clock is wrong by a day, with all that runs on them: nobody is misjudged, and nothing goes twice."""

import json
import random
import time
from datetime import datetime
from typing import Any

import pytest
from tests import wrong_clock
from tests.faults import wrong_provider

from . import refinement
from .home import PATIENCE, Home
from .test_go_on import assert_went_on, cut_after

pytestmark = pytest.mark.slow
UNITS = 6


@pytest.fixture(params=wrong_clock.WRONG, ids=["behind", "ahead"])
def ahead(request: pytest.FixtureRequest, home: Home) -> float:
    """By how many seconds the clock of every machine of this home is ahead."""
    entries = home.root / "plugin/cryoburst_script-1.dist-info/entry_points.txt"
    entries.write_text(entries.read_text() + wrong_provider.ENTRY_POINT)
    wrong = wrong_clock.environment(home.root / "clock", request.param)
    home.environment |= {"CRYOBURST_PROVIDER": "wrong", "WRONG_CLOCK": json.dumps(wrong)}
    home.machines = home.machines / "wrong"
    return request.param


def ended(home: Home) -> dict[str, Any]:
    """The run's values at its end; never was a machine taken for lost."""
    lost: list[object] = []
    run = home.until(lambda run: lost.append(run["lost_since"]) or run["state"] in ("SUCCEEDED", "FAILED"))
    assert not any(lost)
    return run


def assert_in_time(home: Home, began: float) -> None:
    """All times that are told of the run are right."""
    shown = json.loads(home.call("show", "1", "--json").stdout)
    times = [shown["submitted"], shown["ended"], *(event["time"] for event in shown["events"])]
    assert all(began <= each <= time.time() for each in times)
    assert 0 <= shown["wait_seconds"] <= time.time() - began
    assert 0 < shown["run_seconds"] <= time.time() - began


def test_class3d_whose_machine_dies(home: Home, ahead: float) -> None:
    began = time.time()
    refinement.project(home)
    folder = refinement.job(home, "Class3D")
    assert home.call("submit", f"{folder}/run_submit.script").returncode == 0
    assert cut_after(home, folder, 2, random.Random(6))
    newest = refinement.newest(home, folder)
    run = ended(home)
    assert (run["state"], run["attempt"]) == ("SUCCEEDED", 2), home.log()
    assert_went_on(home, [newest])
    assert refinement.names(home, folder) == refinement.alone(home, folder)
    assert run["files_out"] == len(refinement.names(home, folder))
    assert_in_time(home, began)
    label = (home.project / folder / "run_it006_class001.mrc").read_bytes()[224:304].decode("latin-1")
    days = {f"{datetime.fromtimestamp(each + ahead):%d-%b-%y}" for each in (began, time.time())}
    assert any(day in label for day in days), label  # RELION's own clock
    home.assert_clean(2)


def test_parts_of_which_one_dies(home: Home, ahead: float) -> None:
    began = time.time()
    folder = home.split_job(units=UNITS, sleep=1.0)
    home.submit(folder, "--parts", "3")
    out = home.project / folder / "out"
    assert home.cut_when(lambda: out.is_dir() and len(list(out.iterdir())) >= 2)
    run = ended(home)
    assert run["state"] == "SUCCEEDED", home.log()
    home.assert_split(folder, UNITS)
    assert run["files_out"] == UNITS + 1
    assert_in_time(home, began)


def test_the_deadline_comes_when_it_should(home: Home, ahead: float) -> None:
    home.environment["CRYOBURST_WALLTIME_HOURS"] = "0.002"  # 7 s
    began = time.time()
    home.submit(home.job(script="sleep 600"))
    run = ended(home)
    assert (run["state"], run["reason"]) == ("FAILED", "deadline")
    assert 7 < time.time() - began < PATIENCE  # and not a day
    home.assert_no_machines()
