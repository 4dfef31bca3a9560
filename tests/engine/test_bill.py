"""The arithmetic of bills and budgets: whatever the times, no cent is lost, doubled or free."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryoburst.engine import bill
from cryoburst.model.plugins import Offer
from cryoburst.model.price import FREE, GB, MONTH, Price, Requests, Tariff, times
from cryoburst.model.run import Machine, Run
from cryoburst.model.states import MachineState, RunState

S3 = Tariff(0.023, 0.005, 0.0004, 0.09)
RUN = Run(1, "u", "o", "/p", "j/", "t", "k", "relion", "s", "s3://b", "aws", "", None, 1, 1000.0)
MACHINE = Machine(
    "u-1", "u", 1, "aws", "c7i.4xlarge", 0.714, MachineState.UP, 1000.0, 90_000.0, "i-1", disk_usd_gb_month=0.08
)
TIMES = st.floats(0, 2e9, allow_nan=False)
SPANS = st.floats(0, 1e7, allow_nan=False)
USD = st.floats(0, 100, allow_nan=False)


@pytest.mark.parametrize(
    ("seconds", "billed"), [(0.0, 60), (0.4, 60), (59.9, 60), (60.0, 60), (60.1, 61), (3600.0, 3600), (3600.5, 3601)]
)
def test_by_the_second_with_a_minute_at_least(seconds: float, billed: int) -> None:
    gone = replace(MACHINE, state=MachineState.GONE, gone=1000.0 + seconds)
    begin, end = bill.paid(gone, 5000.0)
    assert end - begin == billed
    assert bill.machine_cost(gone, 5000.0).instance == pytest.approx(0.714 * billed / 3600)


def test_a_machine_that_was_never_made_costs_nothing() -> None:
    refused = replace(MACHINE, state=MachineState.GONE, provider_id="", gone=2000.0)
    assert bill.machine_cost(refused, 5000.0).usd == 0
    answered = replace(MACHINE, state=MachineState.REQUESTED, provider_id="", offer="")
    assert bill.machine_cost(answered, 5000.0).usd == 0


def test_a_request_whose_answer_was_lost_counts() -> None:
    lost = replace(MACHINE, state=MachineState.REQUESTED, provider_id="")
    assert bill.machine_cost(lost, 4600.0).instance == pytest.approx(0.714)


def test_a_disk_is_billed_by_whole_gb_and_its_share_of_a_month() -> None:
    gone = replace(MACHINE, state=MachineState.GONE, gone=1000.0 + MONTH, disk_bytes=100 * GB - 1)
    assert bill.machine_cost(gone, 0.0).disk == pytest.approx(8.0)


def test_an_unknown_price_is_never_free() -> None:
    unknown = replace(MACHINE, usd_per_hour=None)
    assert bill.machine_cost(unknown, 2000.0).usd is None
    assert bill.machine_cost(replace(MACHINE, disk_bytes=1, disk_usd_gb_month=None), 2000.0).usd is None
    assert (Price(instance=1.0) + Price(disk=None)).usd is None
    assert (Price(instance=1.0) + Price(disk=None)).known == 1.0


def test_an_unknown_price_hides_no_known_one() -> None:
    """Budgets count what is known: one machine without a price must not make the others free."""
    total = Price(instance=200.0, disk=1.0) + Price(instance=None) + Price(instance=22.0)
    assert (total.instance, total.usd) == (None, None)
    assert total.known == 223.0
    assert (total.known_of("instance"), total.known_of("disk")) == (222.0, 1.0)
    assert (Price(instance=None) + total).known == 223.0
    sent = replace(RUN, staged=1100.0, bytes_sent=GB, bytes_out=GB)
    cost = bill.run_cost(sent, (), Tariff(), 2000.0)
    assert (cost.storage, cost.requests, cost.egress) == (None, None, None)
    assert times(0, None) == 0


@given(TIMES, SPANS, st.lists(TIMES, max_size=6), USD, st.integers(0, 2**44))
def test_the_months_together_are_the_whole(begin: float, span: float, cuts: list[float], usd: float, disk: int) -> None:
    machine = replace(
        MACHINE, state=MachineState.GONE, requested=begin, gone=begin + span, usd_per_hour=usd, disk_bytes=disk
    )
    run = replace(
        RUN,
        state=RunState.SUCCEEDED,
        submitted=begin,
        staged=begin,
        started=begin,
        command_started=begin,
        ended=begin + span,
        bytes_sent=disk,
        bytes_out=disk // 3,
        bytes_left=disk // 5,
    )
    edges = [-math.inf, *sorted(cuts), math.inf]
    now = begin + span + 1e7
    whole = bill.run_cost(run, [machine], S3, now)
    parts = [bill.run_cost(run, [machine], S3, now, window) for window in pairwise(edges)]
    together = bill.total(parts)
    for name in ("instance", "disk", "storage", "requests", "egress"):
        assert getattr(together, name) == pytest.approx(getattr(whole, name), rel=1e-6, abs=1e-9)


@given(SPANS, SPANS)
def test_a_bill_never_falls(one: float, other: float) -> None:
    early, late = sorted((one, other))
    costs = [bill.machine_cost(MACHINE, 1000.0 + when).usd for when in (early, late)]
    assert costs[0] is not None
    assert costs[1] is not None
    assert costs[0] <= costs[1]


@given(SPANS, SPANS)
def test_what_is_promised_is_never_less_than_what_it_costs(now: float, end: float) -> None:
    machine = replace(MACHINE, power_off_at=1000.0 + end)
    promised = bill.promised_cost(machine, 1000.0 + now).known
    gone = replace(machine, state=MachineState.GONE, gone=1000.0 + max(now, end))
    assert promised >= bill.machine_cost(gone, 1e12).known - 1e-9


@given(st.floats(-10, 1e6, allow_nan=False), st.floats(1e-6, 1e3, allow_nan=False))
def test_the_allowed_seconds_are_paid_for(left: float, usd: float) -> None:
    seconds = bill.allowed_seconds(left, usd)
    assert seconds == 0 or seconds >= bill.LEAST
    assert seconds * usd / 3600 <= max(0.0, left) * (1 + 1e-12)
    if left > 0 and seconds:  # and a second more is not
        assert (seconds + 1) * usd / 3600 > left * (1 - 1e-12)


def test_allowed_seconds_at_the_ends() -> None:
    assert bill.allowed_seconds(1.0, 0.0) == math.inf
    assert bill.allowed_seconds(1.0, None) == 0
    assert bill.allowed_seconds(0.0, 0.0) == 0
    assert bill.allowed_seconds(60 / 3600, 1.0) == 60
    assert bill.allowed_seconds(59 / 3600, 1.0) == 0
    assert bill.allowed_seconds(1.0, 1.0) == 3600


def test_what_an_hour_costs_with_its_disk() -> None:
    offer = Offer("aws", "t", 1, 1, 0, 1.0, rented_disk_bytes=730 * GB, disk_usd_gb_month=0.08)
    assert bill.hourly(offer) == pytest.approx(1.08)
    assert bill.hourly(replace(offer, disk_usd_gb_month=None)) is None
    assert bill.hourly(replace(offer, disk_usd_gb_month=None, rented_disk_bytes=0)) == 1.0
    assert bill.hourly(replace(offer, usd_per_hour=None)) is None


def test_data_cost_until_gc_frees_them() -> None:
    run = replace(RUN, staged=0.0, ended=0.0, bytes_sent=GB, state=RunState.SUCCEEDED)
    month = bill.run_cost(run, (), S3, bill.KEPT).storage
    assert month == pytest.approx(0.023 * bill.KEPT / MONTH)
    assert bill.run_cost(run, (), S3, 100 * bill.KEPT).storage == month
    assert bill.run_cost(run, (), FREE, bill.KEPT).usd == 0


def test_a_draft_costs_nothing() -> None:
    assert bill.run_cost(RUN, (), S3, 1e9).usd == 0


def test_watching_a_day_costs_less_than_five_cents() -> None:
    asked = bill.requests(0, 0, 0, 0, 0, 24.0)
    assert isinstance(asked, Requests)
    assert asked.puts * 0.005 / 1000 + asked.gets * 0.0004 / 1000 < 0.05
