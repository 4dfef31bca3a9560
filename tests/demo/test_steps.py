"""The tables of the demo's jobs."""

import re

import pytest

from cryoburst.demo.pipelines import PIPELINES, Pipeline
from cryoburst.demo.run import fill
from cryoburst.demo.steps import DIAMETER, FACTS
from cryoburst.simulate.specimen import BOX as SPECIMEN

every_pipeline = pytest.mark.parametrize("pipeline", PIPELINES.values(), ids=PIPELINES)


@every_pipeline
def test_a_step_names_earlier_steps_only(pipeline: Pipeline) -> None:
    earlier = set(FACTS)
    for step in pipeline.steps:
        for value in step.options.values():
            assert set(re.findall(r"{(\w+)}", value)) <= earlier, step.name
            assert ";" not in value
            assert "==" not in value
        assert step.name not in earlier
        earlier.add(step.name)


def test_the_short_demo_is_the_beginning_of_the_full_one() -> None:
    short, full = PIPELINES["classes"], PIPELINES["map"]
    assert full.steps[: len(short.steps)] == short.steps
    assert short.steps[-1].kind == "Class2D"


def test_the_advanced_pipeline_has_every_type_of_job_that_needs_no_window() -> None:
    kinds = (
        "Import MotionCorr CtfFind AutoPick Extract Class2D Select InitialModel Class3D Refine3D MaskCreate "
        "PostProcess CtfRefine Polish LocalRes JoinStar Subtract MultiBody External"
    )
    assert {step.kind for step in PIPELINES["advanced"].steps} == set(kinds.split())


def test_options_are_filled_in() -> None:
    known = {"extract": "Extract/job005/", "initial": "InitialModel/job007/"}
    refine = next(step for step in PIPELINES["map"].steps if step.name == "refine")
    filled = fill(refine.options, known)
    assert filled["fn_img"] == "Extract/job005/particles.star"
    assert filled["fn_ref"].startswith("InitialModel/job007/run_it")


def test_an_unknown_step_is_an_error() -> None:
    with pytest.raises(KeyError):
        fill({"fn_img": "{nothing}x"}, {})


@every_pipeline
def test_last_iteration_of_the_initial_model_is_the_reference(pipeline: Pipeline) -> None:
    references = [step.options.get("fn_ref", "") for step in pipeline.steps]
    after = [name for name in references if name.startswith("{initial}")]
    assert after == [f"{{initial}}run_it{sum(pipeline.scale.initial):03d}_class001.mrc"] * len(after)
    assert after or pipeline.steps[-1].kind == "Class2D"


@every_pipeline
def test_boxes_hold_the_specimen(pipeline: Pipeline) -> None:
    scale = pipeline.scale
    assert scale.box % 2 == scale.small % 2 == 0
    assert scale.box * scale.data.pixel_size > DIAMETER
    assert scale.box * scale.data.pixel_size >= SPECIMEN
