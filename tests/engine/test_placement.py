"""Which offer a run gets, as a table and as properties. No clock, no I/O."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryoburst.engine.placement import SPOT_LOSSES, in_reach, next_offer, noted, ranked, refused
from cryoburst.model.errors import BadInput
from cryoburst.model.plugins import Offer
from cryoburst.model.run import Machine, Run
from cryoburst.model.states import MachineState

RUN = Run(
    number=1, uid="u", owner="me", project="/p", job="Class2D/job001/", target="Class2D/job001", kind="k",
    package="relion", script="", store="s", provider="aws", machine="", max_price=None, parts=1, submitted=0.0,
)  # fmt: skip


def offer(name: str, usd: float | None, region: str = "eu", place: str = "eu-a", spot: bool = False) -> Offer:
    return Offer("aws", name, 8, 32 << 30, 0, usd, place, region=region, spot=spot)


SLOW, FAST, UNKNOWN = offer("slow", 1.0), offer("fast", 3.0), offer("unknown", None)
ELSEWHERE = offer("slow", 0.9, "us", "us-a")
SPOT = offer("slow", 0.3, spot=True)
ALL = [UNKNOWN, FAST, SLOW, ELSEWHERE, SPOT]
HOURS = {"slow": 10.0, "fast": 2.0, "unknown": 1.0}


def hours(each: Offer) -> float:
    return HOURS[each.name]


@pytest.mark.parametrize(
    ("wishes", "wanted"),
    [
        ({}, [ELSEWHERE, SLOW, FAST, UNKNOWN]),
        ({"spot": True}, [SPOT, ELSEWHERE, SLOW, FAST, UNKNOWN]),
        ({"spot": True, "interruptions": SPOT_LOSSES}, [ELSEWHERE, SLOW, FAST, UNKNOWN]),
        ({"region": "eu"}, [SLOW, FAST, UNKNOWN]),
        ({"machine": "fast"}, [FAST]),
        ({"max_price": 1.0}, [ELSEWHERE, SLOW]),  # an unknown price is under no cap
        ({"within_hours": 5.0}, [FAST, UNKNOWN]),
        ({"budget_usd": 7.0}, [FAST]),
        ({"budget_usd": 9.5, "region": "us"}, [ELSEWHERE]),
        ({"budget_usd": 10.0}, [FAST, ELSEWHERE, SLOW]),  # the fastest that it pays for
    ],
    ids=str,
)
def test_the_rule_is_the_users(wishes: dict[str, object], wanted: list[Offer]) -> None:
    assert ranked(ALL, replace(RUN, **wishes), hours) == wanted  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"region": "mars"}, "aws has no machine for this job in mars: choose one of eu, us"),
        ({"machine": "fastt"}, "aws has no machine fastt for this job: choose one of fast"),
        ({"machine": "huge"}, "aws has no machine huge for this job: choose one of unknown, fast, slow"),
        (
            {"max_price": 0.1},
            "no machine for this job costs at most 0.1 USD/h; the cheapest costs 0.90: raise --max-price",
        ),
        ({"within_hours": 0.5}, "no machine ends this job in 0.5 h; the fastest takes about 1.0: allow more"),
        ({"budget_usd": 1.0}, "1 USD do not pay for this job; the cheapest costs about 6.00: raise --budget"),
    ],
    ids=str,
)
def test_a_wish_that_leaves_nothing_is_told_in_one_sentence(wishes: dict[str, object], words: str) -> None:
    with pytest.raises(BadInput) as error:
        ranked(ALL, replace(RUN, **wishes), hours)  # type: ignore[arg-type]
    assert str(error.value).startswith(words)


def test_a_part_gets_what_its_share_of_the_budget_pays_for_with_its_disk() -> None:
    small, big = offer("slow", 0.5), offer("fast", 10.0)
    run = replace(RUN, parts=8, budget_usd=45.0)  # 5 each; fast takes 2 h
    assert ranked([small, big], run, hours) == [small]
    assert ranked([small, big], replace(run, parts=1), hours) == [big, small]
    disk = replace(big, usd_per_hour=2.0, rented_disk_bytes=730 * 2**30, disk_usd_gb_month=1.0)  # 1 USD/h more
    assert ranked([disk], replace(run, budget_usd=54.0), hours) == [disk]
    with pytest.raises(BadInput, match=r"45 USD, 5.00 for each of 8 parts and their join, do not .* costs about 6.00"):
        ranked([disk], run, hours)
    with pytest.raises(BadInput, match="45 USD do not pay for this job: raise"):  # an unknown disk fits under no budget
        ranked([replace(disk, disk_usd_gb_month=None)], replace(RUN, budget_usd=45.0), hours)


def test_without_a_forecast_a_rule_chooses_the_cheapest() -> None:
    assert ranked([FAST, SLOW], replace(RUN, within_hours=1.0)) == [SLOW, FAST]


def test_a_quota_speaks_of_all_that_count_against_it() -> None:
    """A CPU job climbed through 24 types of one quota, each refused with the same words."""
    small, large, other = (
        replace(offer(name, usd), cores=cores, quota=quota)
        for name, usd, cores, quota in (("small", 1.0, 8, "q"), ("large", 2.0, 16, "q"), ("other", 3.0, 8, "r"))
    )
    run = replace(RUN, tried=noted(RUN, small, "quota", "0 vCPU"))
    assert next_offer([small, large, other], run, None) == other
    assert next_offer([small, replace(large, region="us")], run, None) == replace(large, region="us")
    run = replace(RUN, tried=noted(RUN, large, "quota", "8 vCPU"))
    assert next_offer([large, small], run, None) == small, "a smaller one may still do"


def test_no_refusal_makes_a_job_many_times_as_dear() -> None:
    cheap, more, huge = offer("slow", 0.05), offer("fast", 0.2), offer("huge", 6.67)
    assert in_reach([cheap, more, huge, UNKNOWN]) == [cheap, more]
    spot = offer("slow", 0.004, spot=True)
    assert in_reach([spot, cheap, more, huge]) == [spot, cheap, more], "on-demand is the measure"
    assert in_reach([huge, more, cheap]) == [huge, more, cheap], "the fastest first, by a budget"
    assert in_reach([UNKNOWN, cheap]) == [UNKNOWN, cheap]
    assert in_reach([offer("here", 0.0)]) == [offer("here", 0.0)]
    assert in_reach([]) == []


def test_a_refusal_makes_room_for_the_next_and_a_quota_is_the_regions() -> None:
    zones = [offer("slow", 1.0, place="eu-a"), offer("slow", 1.0, place="eu-b"), FAST]
    run = replace(RUN, tried=noted(RUN, zones[0], "no_capacity", "none"))
    assert next_offer(zones, run, None) == zones[1]
    run = replace(RUN, tried=noted(RUN, zones[0], "quota", "0 vCPU"))
    assert next_offer(zones, run, None) == FAST
    run = replace(run, tried=noted(run, FAST, "no_capacity", "none"))
    assert next_offer(zones, run, None) is None
    assert [(each.offer, each.why) for each in refused(run)] == [("slow in eu-a", "0 vCPU"), ("fast in eu-a", "none")]


@given(
    offered=st.lists(st.integers(0, 4), min_size=1, unique=True),
    refused_=st.lists(st.integers(0, 4), unique=True),
    asked=st.sampled_from(ALL),
)
def test_an_order_whose_answer_is_not_known_comes_first_until_it_is_refused(
    offered: list[int], refused_: list[int], asked: Offer
) -> None:
    run, offers, refusals = RUN, [ALL[k] for k in offered], [ALL[k] for k in refused_]
    for each in refusals:
        run = replace(run, tried=noted(run, each, "no_capacity", ""))
    row = Machine("u-1", "u", 1, "aws", asked.name, asked.usd_per_hour, MachineState.REQUESTED, 0.0, 1.0,
                  region=asked.region, place=asked.place, spot=asked.spot)  # fmt: skip
    found = next_offer(offers, run, row)
    assert found not in refusals
    assert (found is None) == (not set(offered) - set(refused_))
    if asked in offers and asked not in refusals:
        assert found == asked
