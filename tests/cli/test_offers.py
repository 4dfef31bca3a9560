"""``cryoburst aws offers``, without a network."""

import pytest

from .home import Home

GPU = ("aws", "offers", "--cores", "8", "--memory", "30", "--gpus", "1", "--gpu-memory", "20", "--disk", "500")


def test_the_list_is_cheapest_first_and_says_its_date(home: Home) -> None:
    found = home.json(*GPU, "--region", "eu-central-1")
    assert found["prices_dated"] == "2026"
    assert found["note"] == "no AWS credentials were found"
    offers = found["offers"]
    assert offers
    prices = [offer["usd_per_hour"] for offer in offers]
    assert prices == sorted(prices)
    assert min(prices) > 0
    for offer in offers:
        assert offer["cores"] >= 8
        assert offer["memory_gib"] >= 30
        assert offer["gpus"] >= 1
        assert offer["gpu_memory_gib"] >= 20
        assert (offer["region"], offer["spot"]) == ("eu-central-1", False)
        assert offer["zone"].startswith("euc1-az")


def test_spot_offers_are_spot_and_cheaper(home: Home) -> None:
    on_demand, spot = (home.json(*GPU, "--region", "us-east-1", *more)["offers"] for more in ((), ("--spot",)))
    assert all(offer["spot"] for offer in spot)
    assert spot[0]["usd_per_hour"] < on_demand[0]["usd_per_hour"]


def test_several_regions(home: Home) -> None:
    regions = ("us-west-2", "eu-west-1")
    found = home.json("aws", "offers", *(word for region in regions for word in ("--region", region)))
    assert {offer["region"] for offer in found["offers"]} == set(regions)


def test_people_get_a_table_with_the_date(home: Home) -> None:
    done = home.call(*GPU, "--offline")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split()[:3] == ["TYPE", "USD/H", "CORES"]
    assert lines[-1] == "Prices are of 2026, without disk and traffic."
    done = home.call(*GPU)
    assert done.stderr == "cryoburst: prices are of 2026: no AWS credentials were found\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--region", "mars-1"), "no prices of a region mars-1 are known: choose one of ap-southeast-2, eu-central-1"),
        (("--gpus", "20"), "the largest machine has 8 GPUs, and 20 GPUs are asked for"),
        (("--gpus", "20", "--spot", "--region", "us-east-1"), "AWS has no such spot machines in us-east-1"),
        (("--memory", "1e6"), "GiB of memory, and 1e+06 GiB of memory are asked for"),
        (("--cores", "0"), "not an amount that a machine can have (--cores 0)"),
        (("--memory", "nan"), "not an amount that a machine can have (--memory nan)"),
        (("--disk", "-1"), "not an amount that a machine can have (--disk -1)"),
        (("--cores", "many"), "--cores"),
    ],
)
def test_bad_input_is_one_sentence(home: Home, words: tuple[str, ...], said: str) -> None:
    assert said in home.fails("aws", "offers", *words)
