"""Finds the user's own credentials for a bucket, and makes the short-lived ones that a machine gets.

At home the cloud's own chain decides (botocore's, google-auth's, azure-identity's): profiles, single sign-on, roles.
On a machine none of these is installed, and ``obstore`` itself reads the environment or the machine's own role. Nothing
is imported before a store is used, and no secret is ever kept in a message, a log or an address.
"""

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from cryoburst.model.errors import StoreError, StoreRefused, StoreUnavailable
from cryoburst.stores.address import Address
from cryoburst.stores.refusals import ADVICE

if TYPE_CHECKING:
    from obstore.store import AzureCredentialProvider, GCSCredentialProvider, S3Credential

__all__ = [
    "Frozen",
    "Session",
    "azure",
    "client",
    "google",
    "made",
    "narrowed",
    "own",
    "policy",
    "region",
    "s3",
    "session",
]

T = TypeVar("T")
POLICY_BYTES = 2048  # AWS's limit for a session policy
HOUR = 3600  # s
SHORTEST, LONGEST_USER, LONGEST_ROLE = 900, 129_600, 43_200  # s, AWS's limits
FRESH = timedelta(minutes=6)  # botocore renews a credential ten minutes before its end, so one is good for as long
CONNECT, READ = 10.0, 30.0  # s


class Frozen(Protocol):
    """A credential as botocore hands it out."""

    access_key: str
    secret_key: str
    token: str | None


class Credentials(Protocol):
    """botocore's credential, which renews itself."""

    def get_frozen_credentials(self) -> Frozen: ...


class Client(Protocol):
    """The calls that are made through botocore's clients for STS and S3."""

    def assume_role(self, **arguments: object) -> Mapping[str, Mapping[str, str]]: ...
    def get_federation_token(self, **arguments: object) -> Mapping[str, Mapping[str, str]]: ...
    def create_bucket(self, **arguments: object) -> object: ...


class Session(Protocol):
    """What is used of ``botocore.session.Session``."""

    @property
    def available_profiles(self) -> list[str]: ...
    def get_credentials(self) -> Credentials | None: ...
    def get_config_variable(self, name: str) -> object: ...
    def create_client(self, service: str, **arguments: object) -> Client: ...


def session(address: Address) -> Session:
    """botocore's session for this address. ``StoreRefused`` without botocore, or without the profile."""
    if not _installed("botocore"):
        raise StoreRefused("this needs boto3", where=address.name, advice="pip install boto3")
    import logging

    import botocore.session  # pyright: ignore[reportMissingTypeStubs]

    # At level DEBUG botocore logs the server's whole answers: those of STS are credentials. Its warnings say, with a
    # traceback, what our own error says in a sentence.
    logging.getLogger("botocore").setLevel(logging.ERROR)
    found = cast(Session, botocore.session.Session())
    if not address.profile:
        return found
    if address.profile in found.available_profiles:
        return cast(Session, botocore.session.Session(profile=address.profile))
    if "AWS_ACCESS_KEY_ID" in os.environ:
        return found  # a machine: the profile's name came with the address, the credential with the environment
    raise StoreRefused(
        f"there is no AWS profile {address.profile}", where=address.name, advice="run aws configure --profile with it"
    )


def s3(address: Address) -> "Callable[[], S3Credential] | None":
    """What ``obstore`` asks for an S3 credential; None when it finds one in the environment by itself.

    ``StoreRefused`` when botocore's chain has none.
    """
    own = {"AWS_ACCESS_KEY_ID", "AWS_SKIP_SIGNATURE"} & os.environ.keys()  # comes first in botocore's chain, too
    if (own and not address.profile) or not _installed("botocore"):
        return None
    chain = session(address)

    def look() -> Credentials | None:
        return chain.get_credentials()

    found = _asked(look, address)
    if found is None:
        raise StoreRefused("no credential was found", where=address.name, advice=ADVICE["s3"])

    def provide() -> "S3Credential":
        frozen = _asked(found.get_frozen_credentials, address)
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + FRESH,
        }

    return provide


def own(address: Address) -> dict[str, str]:
    """The user's own S3 credential as it is now, by the names of the environment variables, for a process on this
    computer that has no botocore. Empty where the environment has it already, or ``obstore`` finds it by itself."""
    if address.kind != "s3" or (provide := s3(address)) is None:
        return {}
    found = provide()
    names = {"AWS_ACCESS_KEY_ID": found["access_key_id"], "AWS_SECRET_ACCESS_KEY": found["secret_access_key"]}
    token = found.get("token")
    return names | ({"AWS_SESSION_TOKEN": token} if token else {}) | {"AWS_REGION": region(address)}


def google(address: Address) -> "GCSCredentialProvider | None":
    """What ``obstore`` asks for a Google token; None when it finds one by itself."""
    own = {"GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_BEARER_TOKEN", "GOOGLE_SKIP_SIGNATURE"}
    if own & os.environ.keys() or address.endpoint or not _installed("google.auth", "requests"):
        return None
    from obstore.auth.google import GoogleCredentialProvider

    try:
        return GoogleCredentialProvider()
    except Exception:  # noqa: BLE001 - google-auth's own errors can't be named without importing it
        raise StoreRefused("no credential was found", where=address.name, advice=ADVICE["gs"]) from None


def azure(address: Address) -> "AzureCredentialProvider | None":
    """What ``obstore`` asks for an Azure token; None when it finds one by itself."""
    own = any(name.startswith("AZURE_") for name in os.environ)
    if own or address.endpoint or not _installed("azure.identity"):
        return None
    from obstore.auth.azure import AzureCredentialProvider

    return AzureCredentialProvider()


def region(address: Address) -> str:
    """The region that requests are signed for: the address's, the environment's, the profile's, or us-east-1."""
    said = address.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not said and not address.endpoint and _installed("botocore"):
        said = session(address).get_config_variable("region")
    return str(said or "us-east-1")


def client(service: str, address: Address, endpoint: str) -> Client:
    """botocore's client with our time-outs; ``StoreRefused`` when there is no credential."""
    chain = session(address)
    import botocore.config  # pyright: ignore[reportMissingTypeStubs]

    if _asked(chain.get_credentials, address) is None:
        raise StoreRefused("no credential was found", where=address.name, advice=ADVICE["s3"])
    style = address.addressing or ("path" if address.endpoint else "auto")
    config = botocore.config.Config(
        connect_timeout=CONNECT,
        read_timeout=READ,
        retries={"total_max_attempts": 2},
        s3={"addressing_style": style},
    )
    return _asked(
        lambda: chain.create_client(service, region_name=region(address), endpoint_url=endpoint or None, config=config),
        address,
    )


def policy(bucket: str, read: Sequence[str], write: str, partition: str = "aws") -> str:
    """The policy of a machine's credential, as JSON: read and list below ``read``, everything below ``write``.

    All are prefixes in the bucket, each ending with a slash or empty (the whole bucket). Listing is tied to the prefix
    that is asked for, so a listing without one is not allowed; and AWS answers 403, not 404, for a missing object.
    """
    arn = f"arn:{partition}:s3:::{bucket}"
    folders = list(dict.fromkeys([*read, write]))
    statements = [
        _statement(["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], [f"{arn}/{_literal(write)}*"]),
        _statement(["s3:ListBucket"], [arn], [f"{_literal(each)}*" for each in folders]),
    ]
    if only := [each for each in folders if each != write]:
        statements.insert(0, _statement(["s3:GetObject"], [f"{arn}/{_literal(each)}*" for each in only]))
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"), ensure_ascii=False)


def narrowed(address: Address, read: Sequence[str], write: str, seconds: float) -> dict[str, str]:
    """A short-lived S3 credential for prefixes of the bucket, by the names of the environment variables.

    AssumeRole when the address names a role, GetFederationToken otherwise; it lasts for ``seconds`` at least.
    """
    if address.endpoint and not address.sts:
        raise StoreRefused(
            "a credential for a machine needs this server's STS",
            where=address.name,
            advice="add ?sts=... if it has one",
        )
    place = region(address)
    partition = "aws-cn" if place.startswith("cn-") else "aws-us-gov" if place.startswith("us-gov-") else "aws"
    document = policy(address.bucket, read, write, partition)
    if len(document) > POLICY_BYTES:
        raise StoreRefused(
            f"a policy for {len(read)} prefixes is longer than AWS allows", where=address.name, advice="read from fewer"
        )
    service = client("sts", address, address.sts)
    longest = LONGEST_ROLE if address.role else LONGEST_USER
    if seconds > longest:
        raise _too_long(address, seconds, f"the longest is {longest / 3600:.0f} h")
    made = _made(service, address, document, math.ceil(max(seconds, SHORTEST)))
    names = {"AWS_ACCESS_KEY_ID": "AccessKeyId", "AWS_SECRET_ACCESS_KEY": "SecretAccessKey"}
    found = {name: made[key] for name, key in (names | {"AWS_SESSION_TOKEN": "SessionToken"}).items()}
    return found | {"AWS_REGION": place}


def made(service: Client, address: Address, here: Mapping[str, str]) -> None:
    """Make the bucket, in the region that ``here`` names where the server wants one."""
    more: dict[str, object] = {"CreateBucketConfiguration": here} if here else {}
    _asked(lambda: service.create_bucket(Bucket=address.bucket, **more), address)


def _made(service: Client, address: Address, document: str, seconds: int) -> Mapping[str, str]:
    if not address.role:
        return _asked(
            lambda: service.get_federation_token(Name="cryoburst", Policy=document, DurationSeconds=seconds), address
        )["Credentials"]

    try:
        return _asked(
            lambda: service.assume_role(
                RoleArn=address.role, RoleSessionName="cryoburst", Policy=document, DurationSeconds=seconds
            ),
            address,
        )["Credentials"]
    except StoreRefused as error:
        if seconds > HOUR:  # a role allows an hour unless somebody raised it, and does not tell
            raise _too_long(address, seconds, f"the role may allow less: {error.what}") from None
        raise


def _too_long(address: Address, seconds: float, why: str) -> StoreRefused:
    """A credential that ends before its machine would keep the results from the store."""
    return StoreRefused(
        f"the server gives no machine a credential for {seconds / 3600:.1f} h ({why})",
        where=address.name,
        advice="raise the role's longest session, or lower walltime_hours and grace_minutes",
    )


def _asked(call: Callable[[], T], address: Address) -> T:
    """The answer of botocore, its errors as ours."""
    import botocore.exceptions  # pyright: ignore[reportMissingTypeStubs]

    unreachable = (botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError)
    try:
        return call()
    except botocore.exceptions.ClientError as error:
        raise _said(cast(Mapping[str, Mapping[str, object]], error.response), address) from None
    except unreachable as error:
        raise StoreUnavailable(f"no answer: {type(error).__name__}", where=address.name) from None
    except botocore.exceptions.BotoCoreError as error:
        advice = "run aws sso login" if "SSO" in type(error).__name__ or "Token" in type(error).__name__ else ""
        raise StoreRefused(f"no credential: {error}".rstrip("."), where=address.name, advice=advice) from None


def _said(response: Mapping[str, Mapping[str, object]], address: Address) -> StoreError:
    """What a refusal by STS or S3 means."""
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code, words = (str(response.get("Error", {}).get(name, "")) for name in ("Code", "Message"))
    if isinstance(status, int) and ((status >= 500 and status != 501) or status == 429):
        return StoreUnavailable(f"the server did not do it: {code or status}", where=address.name)
    advice = ""
    if code in ("AccessDenied", "AccessDeniedException") and not address.role:
        advice = (
            "an IAM user's own keys may do this; with a role or single sign-on add ?role=ARN to the store's address"
        )
    if status in (404, 405, 501) or code in ("NotImplemented", "InvalidAction", "MethodNotAllowed"):
        advice = "the server seems to have no such service"
    code = code or f"error {status}"
    return StoreRefused(f"the server refused: {code}: {words}".rstrip(": ")[:300], where=address.name, advice=advice)


def _statement(actions: list[str], resources: list[str], prefixes: list[str] | None = None) -> dict[str, object]:
    made: dict[str, object] = {"Effect": "Allow", "Action": actions, "Resource": resources}
    if prefixes is not None:
        made["Condition"] = {"StringLike": {"s3:prefix": prefixes}}
    return made


def _literal(text: str) -> str:
    """The text in a policy, where ``*``, ``?`` and ``$`` mean something else."""
    return "".join(f"${{{each}}}" if each in "*?$" else each for each in text)


def _installed(*modules: str) -> bool:
    from importlib.util import find_spec

    try:
        return all(find_spec(module) is not None for module in modules)
    except ModuleNotFoundError:  # the package around the module
        return False
