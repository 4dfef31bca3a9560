"""What a store costs, by its address."""

import pytest

from cryoburst.model.price import FREE, Tariff
from cryoburst.stores.tariff import tariff


@pytest.mark.parametrize(
    "url",
    ["file:///s", "s3://lab?endpoint=http://127.0.0.1:8080&region=us-east-1", "s3://lab?endpoint=https://rgw.uni.edu"],
)
def test_ones_own_costs_nothing(url: str) -> None:
    assert tariff(url) == FREE


def test_aws_by_region() -> None:
    found = tariff("s3://lab/p?region=eu-central-1")
    assert (found.gb_month, found.egress_gb, found.dated) == (0.0245, 0.09, "2025")
    assert tariff("s3://lab", "eu-central-1") == found
    assert tariff("s3://lab?endpoint=https://s3.eu-central-1.amazonaws.com&region=eu-central-1") == found


@pytest.mark.parametrize(
    "url",
    [
        "s3://lab",
        "s3://lab?region=mars-1",
        "gs://lab",
        "ftp://lab",
        "s3://lab?key=secret",
        "az://account/container",
        "s3://lab?endpoint=https://x.r2.cloudflarestorage.com&region=us-east-1",
    ],
)
def test_the_rest_is_unknown_never_free(url: str) -> None:
    assert tariff(url) == Tariff()
