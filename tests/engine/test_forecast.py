"""The forecast: what it says of the published stages, of a user's own runs, and of prices."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryoburst.engine.forecast import Fit, Hours, cross_validate, fit, hours, price, published_fit, transfer
from cryoburst.engine.power import CARDS, Uses, power
from cryoburst.engine.published import ROWS, Row
from cryoburst.model.plugins import Offer
from cryoburst.model.price import FREE, GB, MONTH, Requests, Tariff

CPU = Offer("aws", "c7i.4xlarge", 16, 32 << 30, 0, 0.714, disk_usd_gb_month=0.08)
GPU = Offer("aws", "g5.12xlarge", 48, 192 << 30, 4, 5.672, gpu="A10G", disk_usd_gb_month=0.08)
CLASS2D = 100_000 * 25 * 50 * 200**2 / 1e6
KINDS = sorted({row.kind for row in ROWS})


def own(kind: str, units: float, took: float, machine: str = "local", cores: int = 16) -> Row:
    return Row(kind, "mine", machine, False, cores, took, units)


def test_the_published_stages_are_within_the_range() -> None:
    """Of those with known sizes, four of five lie within the range that is given for their own machine."""
    known = [row for row in ROWS if row.units]
    inside = 0
    for row in known:
        cards = round(row.power / CARDS["K80"])
        offer = Offer("x", row.machine, round(row.power), 1, cards if row.gpu else 0, 1.0, gpu="K80")
        found = hours(row.kind, row.units, offer)
        assert found is not None
        inside += found.low <= row.hours <= found.high
    assert inside / len(known) >= 0.8


def test_cross_validation_leaves_every_stage_out() -> None:
    errors = cross_validate()
    assert errors.machine is not None
    assert errors.data is not None
    assert errors.machines == len(ROWS) - 1  # the one extraction of betagal has no second machine
    assert 1.0 < errors.machine < 2.5
    assert 1.0 < errors.data < 4.0
    assert (errors.own, errors.owns) == (None, 0)


def test_what_is_not_known_is_none() -> None:
    assert hours("relion.class2d", 0, GPU) is None
    assert hours("relion.import", 10, CPU) is None


@pytest.mark.parametrize("kind", KINDS)
def test_more_work_takes_longer_and_a_larger_machine_less(kind: str) -> None:
    small, large = replace(GPU, gpus=1, cores=8), replace(GPU, gpus=8, cores=96)
    one, two, quick = (hours(kind, units, offer) for units, offer in ((100, small), (200, small), (100, large)))
    assert one is not None
    assert two is not None
    assert quick is not None
    assert two.best == pytest.approx(2 * one.best)
    assert quick.best < one.best


@given(
    st.sampled_from(KINDS),
    st.floats(1e-3, 1e12),
    st.integers(1, 400),
    st.integers(0, 16),
    st.sampled_from(sorted(CARDS)),
)
def test_a_range_holds_its_best(kind: str, units: float, cores: int, gpus: int, card: str) -> None:
    found = hours(kind, units, Offer("x", "t", cores, 1, gpus, 1.0, gpu=card))
    assert found is not None
    assert 0 < found.low < found.best < found.high < math.inf


def test_one_own_run_outweighs_the_studies() -> None:
    before = hours("relion.motioncorr", 100, CPU)
    model = fit([own("relion.motioncorr", 100, 7.0, CPU.name)])
    after = hours("relion.motioncorr", 100, CPU, model=model)
    assert before is not None
    assert after is not None
    assert not 5.5 < before.best < 8.5
    assert after.best == pytest.approx(7.0, rel=0.2)
    assert after.high / after.low < before.high / before.low


def test_more_own_runs_are_more_certain_and_exact() -> None:
    several = fit([own("relion.extract", 100, 2.0 + 0.02 * n, CPU.name) for n in range(8)])
    found = hours("relion.extract", 100, CPU, model=several)
    one = hours("relion.extract", 100, CPU, model=fit([own("relion.extract", 100, 2.0, CPU.name)]))
    assert found is not None
    assert one is not None
    assert found.best == pytest.approx(2.07, rel=0.05)
    assert found.high / found.low < one.high / one.low
    assert cross_validate(several.own).own == pytest.approx(1.05, abs=0.06)


def test_own_runs_make_an_unknown_kind_known() -> None:
    model = fit([own("relion.localres", 10, 1.0, CPU.name)])
    found = hours("relion.localres", 20, CPU, model=model)
    assert found is not None
    assert found.best == pytest.approx(2.0)


def test_a_tiny_run_says_less_of_a_large_one() -> None:
    def width(units: float) -> float:
        found = hours("relion.localres", 1000, CPU, model=fit([own("relion.localres", units, 1.0, CPU.name)]))
        assert found is not None
        return found.high / found.low

    assert width(0.01) > width(10) > width(1000)


def test_on_cores_a_gpu_kind_is_a_guess_and_own_runs_mend_it() -> None:
    on_cards, on_cores = hours("relion.class2d", CLASS2D, GPU), hours("relion.class2d", CLASS2D, GPU, uses=Uses(gpus=0))
    assert on_cards is not None
    assert on_cores is not None
    assert on_cores.best > 5 * on_cards.best
    assert on_cores.high / on_cores.low > on_cards.high / on_cards.low


def test_a_job_that_names_fewer_gpus_or_cores_is_not_quicker_on_more() -> None:
    large = replace(GPU, gpus=8)
    two = Uses(gpus=2)
    assert hours("relion.refine3d", 1e4, GPU, uses=two) == hours("relion.refine3d", 1e4, large, uses=two)
    assert power(replace(CPU, cores=64), gpu=False, uses=Uses(cores=4)) == 4
    assert power(replace(CPU, cores=2), gpu=False, uses=Uses(cores=4)) == 2


def test_the_exponents_are_between_nothing_and_all() -> None:
    known = published_fit()
    assert isinstance(known, Fit)
    assert 0.3 <= known.core_exponent < 1.0
    assert 0.3 <= known.gpu_exponent <= 1.0
    assert known.scatter > 0


def test_transfer_turns_the_range_round() -> None:
    assert transfer(int(3.6e9), Hours(1e6, 2e6, 4e6)) == pytest.approx((0.25, 0.5, 1.0))


def test_a_price_has_its_parts() -> None:
    tariff = Tariff(0.023, 0.005, 0.0004, 0.09)
    found = price(CPU, 20.0, 730 * GB, 100 * GB, Requests(1000, 2000), 10 * GB, tariff)
    assert found.instance == pytest.approx(14.28)
    assert found.disk == pytest.approx(2 * 730 * 0.08 * 10 / 730)
    assert found.storage == pytest.approx(2.3)
    assert found.requests == pytest.approx(0.0058)
    assert found.egress == pytest.approx(0.9)
    assert found.usd == pytest.approx(sum((14.28, 1.6, 2.3, 0.0058, 0.9)))
    assert price(CPU, 1.0, 0, GB, Requests(), 0, tariff, stored_hours=MONTH / 7200).storage == pytest.approx(0.0115)


def test_a_price_with_something_unknown_is_unknown() -> None:
    unpriced = replace(CPU, usd_per_hour=None)
    assert price(unpriced, 1.0, 0, 0, Requests(), 0, FREE).usd is None
    assert price(CPU, 1.0, 1, 0, Requests(), 0, FREE).usd is not None
    assert price(CPU, 1.0, 0, 1, Requests(), 0, Tariff()).usd is None
    some = price(CPU, 1.0, 0, None, Requests(), None, Tariff(0.02, 0.0, 0.0, 0.09))
    assert (some.storage, some.egress, some.usd) == (None, None, None), "of an unknown size"
    assert some.known == CPU.usd_per_hour
    assert price(CPU, 1.0, 0, None, Requests(), None, FREE).usd is not None
    local = Offer("local", "local", 4, 1, 0, 0.0, disk_usd_gb_month=0.0)
    assert price(local, 5.0, GB, GB, Requests(5, 5), GB, FREE).usd == 0
