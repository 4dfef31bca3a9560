"""What AWS's errors mean, and that no page of a list is left out."""

import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import botocore.exceptions
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryoburst.model.errors import (
    BadCredentials,
    BadInput,
    NoCapacity,
    ProviderError,
    ProviderUnavailable,
    QuotaExceeded,
)
from cryoburst.providers.aws import calls
from cryoburst.providers.aws.calls import Answer, Calls, Missing, Taken, meaning, translated


def said(code: str, words: str = "words", ahead: float = 0.0) -> dict[str, Any]:
    """An error as boto3 hands it over; ``ahead`` is by how much AWS's clock is ahead."""
    headers = {"date": formatdate(time.time() + ahead, usegmt=True)}
    return {"Error": {"Code": code, "Message": words}, "ResponseMetadata": {"HTTPHeaders": headers}}


@pytest.mark.parametrize(
    ("code", "words", "kind", "sentence"),
    [
        ("InsufficientInstanceCapacity", "none", NoCapacity, "InsufficientInstanceCapacity: none"),
        ("InsufficientFreeAddressesInSubnet", "none", NoCapacity, ""),
        ("SpotMaxPriceTooLow", "too low", NoCapacity, ""),
        ("Unsupported", "p5 is not supported in your requested Availability Zone", NoCapacity, ""),
        ("Unsupported", "The requested configuration is currently not supported", ProviderUnavailable, ""),
        ("VcpuLimitExceeded", "0 vCPUs", QuotaExceeded, "Service Quotas"),
        ("MaxSpotInstanceCountExceeded", "max", QuotaExceeded, ""),
        ("InstanceLimitExceeded", "max", QuotaExceeded, ""),
        ("RequestLimitExceeded", "slow down", ProviderUnavailable, ""),
        ("Throttling", "slow down", ProviderUnavailable, ""),
        ("UnauthorizedOperation", "no. Encoded authorization failure message: abcdef", BadCredentials, "docs/aws.md"),
        ("AccessDenied", "no", BadCredentials, "docs/aws.md"),
        ("AuthFailure", "could not validate", BadCredentials, "aws configure"),
        ("ExpiredToken", "old", BadCredentials, "log in again"),
        ("RequestExpired", "old", BadCredentials, "set the clock"),
        ("InvalidSignatureException", "Signature expired: 2026 is now earlier", BadCredentials, "set the clock"),
        ("OptInRequired", "region", BadCredentials, "enable it"),
        ("InvalidAMIID.NotFound", "ami-1", BadInput, "--image"),
        ("InvalidParameterValue", "Invalid value 'x9.big' for InstanceType", BadInput, "aws offers"),
        ("InvalidInstanceID.NotFound", "i-1", Missing, ""),
        ("IdempotentParameterMismatch", "differs", Taken, ""),
        ("InternalError", "oops", ProviderUnavailable, ""),
    ],
)
def test_meaning(code: str, words: str, kind: type[Exception], sentence: str) -> None:
    error = meaning(said(code, words), "run_instances in eu-central-1")
    assert type(error) is kind
    assert sentence in str(error)
    assert "Encoded" not in str(error)


def test_ec2_says_no_more_of_a_wrong_clock_than_that_it_can_not_validate() -> None:
    error = meaning(said("AuthFailure", "could not validate", ahead=1800), "here")
    assert isinstance(error, BadCredentials)
    assert "clock differs from AWS's by 30 minutes" in str(error)


@given(st.text(), st.text())
def test_what_is_not_known_is_never_capacity(code: str, words: str) -> None:
    if code in calls.CAPACITY or code in calls.QUOTA or code == "Unsupported":
        return
    assert not isinstance(meaning(said(code, words), "here"), NoCapacity | QuotaExceeded)


def test_no_signature_in_a_message() -> None:
    url = "https://s3.amazonaws.com/b/k?X-Amz-Signature=deadbeef"
    assert "deadbeef" not in str(meaning(said("Odd", f"at {url}"), "here"))


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (botocore.exceptions.NoCredentialsError(), BadCredentials, "aws configure"),
        (botocore.exceptions.ProfileNotFound(profile="lab"), BadCredentials, "lab"),
        (botocore.exceptions.UnauthorizedSSOTokenError(), BadCredentials, "aws sso login"),
        (botocore.exceptions.CredentialRetrievalError(provider="sso", error_msg="x"), BadCredentials, "aws sso login"),
        (botocore.exceptions.EndpointConnectionError(endpoint_url="https://x"), ProviderUnavailable, "does not answer"),
        (botocore.exceptions.ReadTimeoutError(endpoint_url="https://x"), ProviderUnavailable, "does not answer"),
        (botocore.exceptions.InvalidRegionError(region_name="no where"), BadInput, "--region"),
    ],
)
def test_boto3s_own_errors(error: Exception, kind: type[Exception], sentence: str) -> None:
    def call() -> None:
        raise error

    with pytest.raises(kind, match=sentence):
        translated(call, "here")


class Paged(Calls):
    """Answers one page after the other."""

    def __init__(self, answer: Callable[[object], Answer]) -> None:
        super().__init__()
        self._answer = answer

    def ask(self, service: str, region: str, operation: str, **arguments: object) -> Answer:
        return self._answer(arguments.get("NextToken"))


def test_all_pages() -> None:
    pages = {None: {"Xs": [{"n": 1}], "NextToken": "a"}, "a": {"Xs": [], "NextToken": "b"}, "b": {"Xs": [{"n": 2}]}}
    paged = Paged(lambda token: pages[token])  # type: ignore[index]
    assert [x["n"] for x in paged.pages("ec2", "here", "list", "Xs")] == [1, 2]


@pytest.mark.parametrize(
    "answer", [lambda token: {}, lambda token: {"Xs": [], "NextToken": "a"}], ids=["no list", "no end"]
)
def test_a_list_that_is_not_whole_is_none(answer: Callable[[object], Answer]) -> None:
    with pytest.raises(ProviderError):
        list(Paged(answer).pages("ec2", "here", "list", "Xs"))
