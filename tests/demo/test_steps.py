"""The table of the demo's jobs."""

import re

import pytest

from cryoburst.demo.run import fill
from cryoburst.demo.steps import BOX, DATA, DIAMETER, SMALL, STEPS, Step
from cryoburst.simulate.specimen import BOX as SPECIMEN


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_a_step_names_earlier_steps_only(step: Step) -> None:
    earlier = {before.name for before in STEPS[: STEPS.index(step)]} | {"threshold"}
    for value in step.options.values():
        assert set(re.findall(r"{(\w+)}", value)) <= earlier
        assert ";" not in value
        assert "==" not in value


def test_short_demo_comes_first_and_stands_alone() -> None:
    full = [step.full for step in STEPS]
    assert full == sorted(full)
    assert STEPS[full.index(True) - 1].kind == "Class2D"


def test_options_are_filled_in() -> None:
    known = {"extract": "Extract/job005/", "initial": "InitialModel/job007/"}
    refine = next(step for step in STEPS if step.name == "refine")
    filled = fill(refine.options, known)
    assert filled["fn_img"] == "Extract/job005/particles.star"
    assert filled["fn_ref"].startswith("InitialModel/job007/run_it")


def test_an_unknown_step_is_an_error() -> None:
    with pytest.raises(KeyError):
        fill({"fn_img": "{nothing}x"}, {})


def test_last_iteration_of_the_initial_model_is_the_reference() -> None:
    initial, refine = (next(step for step in STEPS if step.name == name) for name in ("initial", "refine"))
    last = sum(int(initial.options[f"sgd_{phase}_iter"]) for phase in ("ini", "inbetween", "fin"))
    assert f"run_it{last:03d}_class001.mrc" in refine.options["fn_ref"]


def test_boxes_hold_the_specimen() -> None:
    assert BOX % 2 == SMALL % 2 == 0
    assert BOX * DATA.pixel_size > DIAMETER
    assert BOX * DATA.pixel_size >= SPECIMEN
