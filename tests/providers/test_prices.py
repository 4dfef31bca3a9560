"""AWS's prices of now, from a server that answers as AWS does; and the snapshot's wherever that fails."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cryoburst.model.job import Resources
from cryoburst.model.plugins import Need
from cryoburst.providers.aws import catalogue, prices

from .canned_aws import CannedAws, serving

NEED = Need(Resources(processes=16, memory_bytes=32 << 30))
REGION = "us-east-1"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[CannedAws]:
    prices._kept.clear()
    with serving(CannedAws()) as made:
        for name in ("AWS_ENDPOINT_URL_PRICING", "AWS_ENDPOINT_URL_EC2"):
            monkeypatch.setenv(name, made.url)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA0")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_SESSION_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        yield made
    prices._kept.clear()


def test_the_price_list_goes_before_the_snapshot(aws: CannedAws) -> None:
    aws.on_demand["c7i.4xlarge", REGION] = "0.0500000000"
    board = prices.board(NEED, [REGION], spot=False)
    assert board.note == ""
    first = board.offers[0]
    assert (first.name, first.usd_per_hour, first.price_dated) == ("c7i.4xlarge", 0.05, "")
    others = [offer for offer in board.offers if offer.name != "c7i.4xlarge"]
    assert {offer.price_dated for offer in others} == {catalogue.dated()} == {board.dated}


def test_spot_is_by_zone_and_the_newest(aws: CannedAws) -> None:
    aws.spot = [
        ("c7i.4xlarge", "us-east-1a", "0.0100", "2026-11-28T08:00:00.000Z"),
        ("c7i.4xlarge", "us-east-1a", "0.0900", "2026-11-28T07:00:00.000Z"),
        ("c7i.4xlarge", "us-east-1x", "0.0001", "2026-11-28T08:00:00.000Z"),  # a zone that the account has not
    ]
    offers = prices.board(NEED, [REGION], spot=True).offers
    assert (offers[0].name, offers[0].place, offers[0].usd_per_hour) == ("c7i.4xlarge", "use1-az6", 0.01)
    elsewhere = next(offer for offer in offers if offer.name == "c7i.4xlarge" and offer.place == "use1-az1")
    assert elsewhere.price_dated == catalogue.dated()


@pytest.mark.parametrize("usd", ["0.0000000000", "not a number"])
def test_a_price_of_nothing_is_none(aws: CannedAws, usd: str) -> None:
    aws.on_demand["c7i.4xlarge", REGION] = usd
    board = prices.board(NEED, [REGION], spot=False)
    assert all(offer.price_dated and offer.usd_per_hour for offer in board.offers)


@pytest.mark.parametrize(
    ("action", "code"),
    [("GetProducts", "AccessDeniedException"), ("DescribeSpotPriceHistory", "UnauthorizedOperation")],
)
def test_a_refusal_leaves_the_snapshot_and_says_so(aws: CannedAws, action: str, code: str) -> None:
    aws.refusals[action] = (400, code)
    board = prices.board(NEED, [REGION])
    assert code in board.note
    assert board.dated == catalogue.dated()
    assert [offer.name for offer in board.offers] == [offer.name for offer in catalogue.offers(NEED, [REGION])]


def test_who_does_not_answer_is_not_waited_for(aws: CannedAws) -> None:
    aws.hang = threading.Event()
    live = prices.ask({REGION: ["c7i.4xlarge"]}, seconds=0.3)
    assert live.prices == {}
    assert "did not answer within" in live.trouble


@pytest.mark.slow
def test_answers_are_used_again_for_a_while(aws: CannedAws) -> None:
    now = [1e9]
    prices.board(NEED, [REGION], clock=lambda: now[0])
    asked = len(aws.asked)
    assert asked
    prices.board(NEED, [REGION], clock=lambda: now[0] + 1)
    assert len(aws.asked) == asked
    now[0] += prices.KEPT + 1
    prices.board(NEED, [REGION], clock=lambda: now[0])
    assert len(aws.asked) > asked


def test_without_credentials_nobody_is_asked(aws: CannedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    board = prices.board(NEED, [REGION])
    assert board.offers == catalogue.offers(NEED, [REGION])
    assert board.note == "no AWS credentials were found"
    assert aws.asked == []


def test_the_profile_that_was_named_is_asked_with(
    aws: CannedAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Not AWS's own choice, which may be another account or none at all."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    aws.on_demand["c7i.4xlarge", REGION] = "0.0500000000"
    file = tmp_path / "elsewhere"
    file.write_text("[profile lab]\naws_access_key_id = AKIDLAB\naws_secret_access_key = secret\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    assert prices.board(NEED, [REGION], spot=False, profile="lab").offers[0].usd_per_hour == 0.05
    assert aws.keys == {"AKIDLAB"}
    assert "nobody" in prices.board(NEED, [REGION], spot=False, profile="nobody").note
