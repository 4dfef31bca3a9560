"""Speaks to AWS through boto3, with time-outs; says what its errors mean. The one place that knows their codes.

A code that is not in these tables says nothing about capacity: it becomes ``ProviderUnavailable`` with AWS's own words.
boto3 is imported when the first call is made. No key, token or signature is ever in a message.
"""

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar, cast

from cryoburst.model.errors import (
    BadCredentials,
    BadInput,
    CryoburstError,
    NoCapacity,
    ProviderError,
    ProviderUnavailable,
    QuotaExceeded,
)

T = TypeVar("T")
Answer = dict[str, Any]
CONNECT, READ = 5, 10  # s: a tick waits for the listing
TRIES = 2  # of one call, with botocore's own pauses
ONCE = {"run_instances"}  # botocore takes a lack of capacity (HTTP 500) for something that a moment mends
SKEW = 240.0  # s that a clock may be wrong; AWS allows 300
LOGIN = "run aws configure or aws sso login, or set AWS_PROFILE"
POLICY = "ask for the rights that docs/aws.md lists"

# What AWS says -> what that is. From "Error codes for the Amazon EC2 API", and those of STS, SSM, IAM and S3.
CAPACITY = {
    "InsufficientInstanceCapacity",
    "InsufficientCapacity",
    "InsufficientHostCapacity",
    "InsufficientReservedInstanceCapacity",
    "InsufficientFreeAddressesInSubnet",
    "SpotMaxPriceTooLow",
    "UnfulfillableCapacity",
}
QUOTA = {
    "VcpuLimitExceeded",
    "InstanceLimitExceeded",
    "MaxSpotInstanceCountExceeded",
    "VolumeLimitExceeded",
    "MaxIOPSLimitExceeded",
}
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"}
SKEWED = {"RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture"}
UNKNOWN_KEY = {
    "AuthFailure",
    "InvalidClientTokenId",
    "InvalidAccessKeyId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
    "InvalidSignature",
    "IncompleteSignature",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
}
FORBIDDEN = {"UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "UnauthorizedAccess", "403"}
BUSY = {
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "Unavailable",
    "InternalError",
    "ServiceUnavailable",
}
NOT_ENABLED = {"OptInRequired", "Blocked"}
WRONG = {  # what was asked for is not there, or not possible: somebody must change it
    "InvalidAMIID.NotFound": "see cryoburst aws setup --image",
    "InvalidAMIID.Malformed": "see cryoburst aws setup --image",
    "InvalidAMIID.Unavailable": "see cryoburst aws setup --image",
    "InvalidGroup.NotFound": "run cryoburst aws setup again",
    "InvalidGroupId.Malformed": "run cryoburst aws setup again",
    "InvalidSubnetID.NotFound": "run cryoburst aws setup again",
    "VPCIdNotSpecified": "run cryoburst aws setup again",
    "InvalidInstanceType": "see cryoburst aws offers",
    "InvalidInstanceType.NotFound": "see cryoburst aws offers",
}


class Missing(ProviderError):
    """What was asked about is not there."""


class Taken(ProviderUnavailable):
    """This order was taken before, in other words: there is a machine for it, or there was."""


class Calls:
    """AWS's services, by region. Safe for many threads."""

    def __init__(self, profile: str = "") -> None:
        self._profile = profile
        self._lock = threading.Lock()
        self._session: Any = None
        self._clients: dict[tuple[str, str, int], Any] = {}

    def ask(self, service: str, region: str, operation: str, **arguments: object) -> Answer:
        """The answer to one call. Raises Missing, NoCapacity, QuotaExceeded, BadCredentials, BadInput for what can't
        be, and ProviderUnavailable for everything else."""
        where = f"{operation} in {region}" if region else operation
        tries = 1 if operation in ONCE else TRIES
        try:
            client = translated(lambda: self._client(service, region, tries), where)
            return translated(lambda: cast(Answer, getattr(client, operation)(**arguments)), where)
        except BadCredentials:
            with self._lock:  # whoever mends it at ~/.aws is heard: a client keeps what it was made with
                self._session = None
                self._clients.clear()
            raise

    def pages(self, service: str, region: str, operation: str, key: str, **arguments: object) -> Iterator[Answer]:
        """Each thing of a list that may come in pages; the list is whole, or this raises."""
        after: dict[str, object] = {}
        while True:
            page = self.ask(service, region, operation, **arguments, **after)
            if key not in page:
                raise ProviderUnavailable(f"the answer has no {key}", where=f"{operation} in {region}")
            yield from cast(list[Answer], page[key])
            token = page.get("NextToken")
            if not token:
                return
            if after.get("NextToken") == token:
                raise ProviderUnavailable("the list does not end", where=f"{operation} in {region}")
            after = {"NextToken": token}

    def regions(self) -> list[str]:
        """All regions of EC2 that this version of boto3 knows. Asks nobody."""
        session = translated(self._open, "the credentials")
        found: list[str] = []
        for partition in session.get_available_partitions():
            found += session.get_available_regions("ec2", partition_name=partition)
        return sorted(found)

    def default_region(self) -> str:
        """The region of the environment or the profile; empty when neither names one."""
        return str(translated(self._open, "the credentials").region_name or "")

    def _open(self) -> Any:
        with self._lock:
            if self._session is None:
                import logging

                import boto3.session  # pyright: ignore[reportMissingTypeStubs]

                # At level DEBUG botocore logs whole requests, and in a machine's user data may be a credential.
                logging.getLogger("botocore").setLevel(logging.ERROR)
                self._session = cast(Any, boto3.session).Session(profile_name=self._profile or None)
            return self._session

    def _client(self, service: str, region: str, tries: int) -> Any:
        session = self._open()
        with self._lock:
            key = (service, region, tries)
            if key not in self._clients:
                import botocore.config  # pyright: ignore[reportMissingTypeStubs]

                config = cast(Any, botocore.config).Config(
                    connect_timeout=CONNECT,
                    read_timeout=READ,
                    retries={"mode": "standard", "total_max_attempts": tries},
                    user_agent_extra="cryoburst",
                )
                # Services without regions (IAM) want one all the same.
                self._clients[key] = session.client(service, region_name=region or "us-east-1", config=config)
            return self._clients[key]


def translated(call: Callable[[], T], where: str) -> T:
    """The answer of boto3, its errors as ours."""
    import botocore.exceptions  # pyright: ignore[reportMissingTypeStubs]

    known: Any = botocore.exceptions
    try:
        return call()
    except known.ClientError as error:
        raise meaning(cast(Mapping[str, Any], error.response), where) from None
    except (known.ProfileNotFound, known.ConfigNotFound, known.ConfigParseError) as error:
        raise BadCredentials(_plain(str(error)), advice=LOGIN) from None
    except (known.NoCredentialsError, known.PartialCredentialsError):
        raise BadCredentials("there is no AWS credential", advice=LOGIN) from None
    except (known.InvalidRegionError, known.NoRegionError, known.UnknownEndpointError) as error:
        raise BadInput(_plain(str(error)), where=where, advice="name a region, such as --region eu-central-1") from None
    except (known.HTTPClientError, known.ConnectionError) as error:
        advice = "see whether this computer reaches AWS, and try again"
        raise ProviderUnavailable(f"AWS does not answer: {type(error).__name__}", where=where, advice=advice) from None
    except known.BotoCoreError as error:
        kind = type(error).__name__
        if any(word in kind for word in ("SSO", "Token", "Credential", "Login")):
            raise BadCredentials(f"the AWS login has ended: {_plain(str(error))}", advice="run aws sso login") from None
        raise ProviderUnavailable(f"{kind}: {_plain(str(error))}", where=where) from None


def code_of(response: Mapping[str, Any]) -> str:
    """AWS's own word for an error."""
    return str(response.get("Error", {}).get("Code", ""))


def meaning(response: Mapping[str, Any], where: str) -> CryoburstError:
    """The error of ours that an answer of AWS means."""
    code, words = code_of(response), _plain(str(response.get("Error", {}).get("Message", "")))
    said = f"{code}: {words}".rstrip(": .")
    skew = _skew(response)
    if code in CAPACITY or (code == "Unsupported" and "Availability Zone" in words):
        return NoCapacity(said, where=where)
    if code in QUOTA:
        return QuotaExceeded(said, where=where, advice="ask AWS for more in Service Quotas, or choose another region")
    if code == "IdempotentParameterMismatch":
        return Taken(said, where=where)
    if code in SKEWED or ("Signature" in words and ("expired" in words or "not yet current" in words)):
        return _clock(skew, where)
    if code in UNKNOWN_KEY:
        if abs(skew) > SKEW:  # EC2 then says no more than that it can't validate the credential
            return _clock(skew, where)
        return BadCredentials(f"AWS does not know the credential ({said})", where=where, advice=LOGIN)
    if code in EXPIRED:
        return BadCredentials("the AWS credential has expired", where=where, advice="log in again: aws sso login")
    if code in NOT_ENABLED:
        return BadCredentials(f"this account can't use it ({said})", where=where, advice="enable it in the AWS console")
    if code in FORBIDDEN:
        # Its long encoded text is for the account's administrators.
        short = re.sub(r"\s*Encoded authorization failure message:.*", "", words)
        return BadCredentials(f"this AWS user may not do it ({code}: {short})".strip(), where=where, advice=POLICY)
    if code in WRONG:
        return BadInput(said, where=where, advice=WRONG[code])
    if code == "InvalidParameterValue" and "InstanceType" in words:
        return BadInput(said, where=where, advice=WRONG["InvalidInstanceType"])
    if code.startswith("NoSuch") or code.endswith(("NotFound", "NotFoundException")) or code == "404":
        return Missing(said, where=where)
    advice = "try again in a minute" if code in BUSY else ""
    return ProviderUnavailable(said or "AWS did not do it", where=where, advice=advice)


def _clock(skew: float, where: str) -> BadCredentials:
    by = f" by {abs(skew) / 60:.0f} minutes" if abs(skew) > SKEW else ""
    return BadCredentials(
        f"this computer's clock differs from AWS's{by}", where=where, advice="set the clock (with NTP)"
    )


def _skew(response: Mapping[str, Any]) -> float:
    """Seconds by which AWS's clock is ahead of ours; 0 when the answer doesn't tell."""
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    try:
        return (parsedate_to_datetime(str(headers["date"])) - datetime.now(UTC)).total_seconds()
    except (KeyError, TypeError, ValueError):
        return 0.0


def _plain(text: str) -> str:
    """One short line without the address of a request, in which a signature may be."""
    line = " ".join(re.sub(r"(https?://[^\s?\"']*)\?\S*", r"\1", text).split())
    return (line if len(line) <= 300 else f"{line[:300]}...").rstrip(".")
