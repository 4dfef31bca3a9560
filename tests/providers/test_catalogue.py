"""The offers of AWS from the snapshot: what fits, in which order, and that the sizes are AWS's own."""

import gzip
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoburst.model.job import Resources
from cryoburst.model.plugins import Need
from cryoburst.providers.aws import catalogue

GIB = 2**30
RECORDS = files("moto.ec2") / "resources/instance_types.json.gz"
REGIONS = sorted({quote.region for quote in catalogue.snapshot()})
NEEDS = st.builds(
    Need,
    st.builds(
        Resources,
        st.integers(1, 200),
        st.just(1),
        st.integers(0, 2**41),
        st.integers(0, 9),
        st.integers(0, 2**38),
    ),
    st.just({}),
    st.integers(0, 2**45),
)


@pytest.mark.slow
@settings(max_examples=50)
@given(NEEDS, st.lists(st.sampled_from(REGIONS), unique=True), st.sampled_from([None, True, False]))
def test_every_offer_fits_and_the_cheapest_is_first(need: Need, regions: list[str], spot: bool | None) -> None:
    found = catalogue.offers(need, regions, spot=spot)
    wanted = need.resources
    for offer in found:
        assert offer.cores >= wanted.cores
        assert offer.memory_bytes >= wanted.memory_bytes
        assert offer.gpus >= wanted.gpus
        assert offer.gpu_memory_bytes >= wanted.gpu_memory_bytes
        assert offer.disk_bytes >= need.disk_bytes
        assert not regions or offer.region in regions
        assert spot is None or offer.spot is spot
        assert offer.price_dated == catalogue.dated()
        assert offer.usd_per_hour != 0
    prices = [offer.usd_per_hour for offer in found]
    known = [price for price in prices if price is not None]
    assert known == sorted(known)
    assert prices[: len(known)] == known, "unknown prices come last"
    assert len({(o.name, o.region, o.place, o.spot) for o in found}) == len(found)
    assert found or catalogue.why_none(need)


def test_nothing_that_fits_is_left_out() -> None:
    found = catalogue.offers(Need(Resources()), [])
    assert {offer.name for offer in found} == set(catalogue.types())
    assert len(found) == len(catalogue.snapshot())


def test_software_of_the_recipe() -> None:
    assert catalogue.offers(Need(Resources(), {"relion": "3"}), ["us-east-1"])
    assert catalogue.offers(Need(Resources(), {"relion": ""}), ["us-east-1"])
    later = Need(Resources(), {"relion": "5"})
    assert catalogue.offers(later, ["us-east-1"]) == []
    assert "relion 5" in catalogue.why_none(later)
    assert catalogue.offers(later, ["us-east-1"], software={"relion": "5.0.1"})
    assert catalogue.offers(Need(Resources(), {"relion": "3.10"}), []) == []


def test_an_empty_cell_is_unknown() -> None:
    quotes = [catalogue.Quote("c7i.4xlarge", "us-east-1", "use1-az1", False, None, "2026")]
    (offer,) = catalogue.offers(Need(Resources()), [], quotes=quotes)
    assert offer.usd_per_hour is None
    spot = {quote.type for quote in catalogue.snapshot() if quote.spot and quote.zone == "use1-az6"}
    assert "hpc7a.12xlarge" not in spot, "a type without a spot price is no spot offer"


@pytest.mark.slow
def test_the_sizes_are_those_that_aws_tells() -> None:
    """moto carries AWS's own DescribeInstanceTypes records."""
    told: Mapping[str, Any] = json.loads(gzip.decompress(RECORDS.read_bytes()))
    checked = 0
    for one in catalogue.types().values():
        if (record := told.get(one.name)) is None:
            continue
        checked += 1
        gpus = record.get("GpuInfo", {}).get("Gpus", [])
        disk = record.get("InstanceStorageInfo", {}).get("TotalSizeInGB", 0)
        assert one.cores == record["VCpuInfo"]["DefaultVCpus"], one.name
        assert one.memory_bytes == record["MemoryInfo"]["SizeInMiB"] * 2**20, one.name
        assert one.gpus == sum(gpu["Count"] for gpu in gpus), one.name
        assert one.local_disk_bytes == disk * 10**9, one.name
        assert "x86_64" in record["ProcessorInfo"]["SupportedArchitectures"], one.name
        if gpus:
            assert abs(one.gpu_memory_bytes / 2**20 - gpus[0]["MemoryInfo"]["SizeInMiB"]) <= 1, one.name
    assert checked > 110


@pytest.mark.parametrize(
    ("need", "said"),
    [
        (Need(Resources(gpus=9)), "8 GPUs"),
        (Need(Resources(processes=500)), "192 cores"),
        (Need(Resources(memory_bytes=2**45)), "2048 GiB"),
        (Need(Resources(), disk_bytes=10**15), "GB of disk"),
        (Need(Resources(gpus=8, gpu_memory_bytes=200 * GIB)), "141"),
    ],
)
def test_why_nothing_fits_names_the_largest(need: Need, said: str) -> None:
    assert catalogue.offers(need, []) == []
    assert said in catalogue.why_none(need)


def test_a_job_leaves_memory_for_the_system() -> None:
    need = catalogue.with_system(Need(Resources(memory_bytes=10_000_000)))
    offers = catalogue.offers(need, ["us-east-1"])
    assert min(offer.memory_bytes for offer in offers) == 2 * GIB
    assert all(offer.memory_bytes > need.resources.memory_bytes for offer in offers)


@pytest.mark.parametrize(
    ("needed", "gib"), [(0, 120), (100 * GIB, 130), (10**15, 16384)], ids=["unknown", "with something to spare", "most"]
)
def test_the_rented_disk_is_in_the_offer(needed: int, gib: int) -> None:
    assert catalogue.scratch(needed, 0) == (False, gib)
    offers = catalogue.offers(Need(Resources(), disk_bytes=needed), ["us-east-1"])
    assert all(offer.rented_disk_bytes in (gib * GIB, 20 * GIB) for offer in offers)
