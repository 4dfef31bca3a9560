"""The replay of two published studies: it comes out as printed, ours adds up, and what is claimed of it holds."""

import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from _bucket import Clock, SimulatedStore  # pyright: ignore[reportMissingImports]
from _studies import betagal, rows, trpv1  # pyright: ignore[reportMissingImports]
from papers import OURS, at_once, length, measure, our_plan, published_usd, union  # pyright: ignore[reportMissingImports]

STUDIES = {"betagal-2018": betagal(together=96), "trpv1-2017-aws": trpv1(together=69)}  # few files, and few parts
PRINTED = {"betagal-2018": (54.5, 1378.15), "trpv1-2017-aws": (44.1, 215.32)}  # h and USD: the tables' own sums


@cache
def measured(study: str) -> dict[str, Any]:
    return dict(measure(STUDIES[study], most=3))


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES)
def test_the_papers_own_plan_comes_out_as_printed(study: str) -> None:
    values = measured(study)
    hours, usd = PRINTED[study]
    assert values["paper_hours"] == pytest.approx(hours, rel=0.05)
    assert values["paper_usd"] == pytest.approx(usd, rel=0.05)


@pytest.mark.parametrize("study", STUDIES)
def test_the_tables_sums_are_those_of_their_rows(study: str) -> None:
    hours, usd = PRINTED[study]
    assert sum(row.total for row in rows(study).values()) == pytest.approx(hours, rel=0.001)
    assert published_usd(STUDIES[study]) == pytest.approx(usd, rel=0.001)


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("plan", ["ours", "free_choice"])
def test_the_parts_of_a_plan_are_the_whole(study: str, plan: str) -> None:
    values = measured(study)
    told = values[plan]
    assert sum(told["hours_parts"].values()) == pytest.approx(values[f"{plan}_hours"], abs=0.03)
    assert sum(told["usd_parts"].values()) == pytest.approx(values[f"{plan}_usd"], abs=0.03)
    assert min(told["hours_parts"].values()) >= 0
    assert told["usd_by_started_hours"] > values[f"{plan}_usd"]


@pytest.mark.parametrize("study", STUDIES)
def test_spot_halves_the_machines_and_nothing_else(study: str) -> None:
    values = measured(study)
    saved = values["ours_usd"] - values["ours_usd_spot"]
    assert saved == pytest.approx(values["ours"]["usd_parts"]["instance"] / 2, abs=0.02)


@pytest.mark.parametrize("study", STUDIES)
def test_the_movies_are_sent_once_and_work_begins_before_all_are_there(study: str) -> None:
    values = measured(study)
    assert values["ours"]["hours_parts"]["upload"] == pytest.approx(values["upload_hours"], rel=0.005)
    first = next(iter(values["ours"]["stages"].values()))
    assert first["from"] == pytest.approx(values["upload_hours"] / 3, rel=0.2)  # of three parts


@pytest.mark.slow
def test_what_is_claimed_of_betagal() -> None:
    study = betagal()
    ours = our_plan(
        study, study.used, OURS[study.name], most=32
    )  # half as many parts as docs/papers.md: a third of the time
    assert ours.hours <= 43
    assert ours.usd() <= 760
    assert ours.usd(spot=True) <= 400
    assert ours.hidden(study) >= 0.9


@pytest.mark.slow
def test_what_is_claimed_of_trpv1() -> None:
    study = trpv1()
    ours = our_plan(study, study.used, OURS[study.name])
    assert ours.hours <= 30
    assert ours.usd() <= 120
    assert ours.hidden(study) >= 0.9


def test_spans() -> None:
    assert union([(5, 6), (0, 2), (1, 3), (3, 3)]) == [(0, 3), (5, 6)]
    assert length([(0, 3), (5, 6)]) == 4
    assert at_once([(0, 2), (1, 3), (2, 4)]) == 2


def test_a_store_holds_an_object_until_it_expires() -> None:
    clock = Clock()
    store = SimulatedStore("file:///x", clock, 1e6, 1e6)
    store.place("a", b"12", 2, clock.now, name="one.mov")
    clock.expect(clock.now + 10)
    assert clock.jump()
    store.expire((".mov",))
    clock.expect(clock.now + 10)
    assert clock.jump()
    assert store.get("a") is None
    assert store.byte_seconds() == 2 * 100_000 * 10
    assert not clock.jump()
