"""Reads the address of an object store: ``s3://``, ``gs://`` or ``az://``. Pure; an address never holds a secret.

    s3://bucket/prefix?endpoint=http://127.0.0.1:8080&region=us-east-1&addressing=path
    gs://bucket/prefix
    az://account/container/prefix

An address is written into settings, the ledger, logs and what a machine is told: whatever looks like a password in it
is refused, and no message here repeats it.
"""

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from cryoburst.model.errors import BadInput
from cryoburst.stores.keys import check_prefix

__all__ = ["Address", "metered", "parse"]

# Their servers bill every request; a university's or one's own do not.
METERED = (".amazonaws.com", ".amazonaws.com.cn", ".googleapis.com", ".core.windows.net", ".r2.cloudflarestorage.com")
OPTIONS = {
    "s3": ("endpoint", "region", "addressing", "profile", "role", "sts"),
    "gs": ("endpoint",),
    "az": ("endpoint",),
}
_SECRET = re.compile(r"key|secret|token|passw|pwd|sas|sig|cred|auth", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_EXAMPLE = {"s3": "s3://bucket/prefix", "gs": "gs://bucket/prefix", "az": "az://account/container/prefix"}


class Address(NamedTuple):
    """Where a store is, and how its server wants to be spoken to. An empty option is the cloud's own default."""

    kind: str  # s3, gs, az
    bucket: str  # on Azure the container
    prefix: str  # ends with a slash, or is empty
    account: str = ""  # Azure's
    endpoint: str = ""
    region: str = ""
    addressing: str = ""  # path or virtual: where the bucket's name stands in a request
    profile: str = ""  # of ~/.aws/config, at home
    role: str = ""  # ARN of the role that machines take on
    sts: str = ""  # endpoint of the service that makes short-lived credentials

    @property
    def name(self) -> str:
        """The address without its options, for messages."""
        place = f"{self.account}/{self.bucket}" if self.account else self.bucket
        return f"{self.kind}://{place}/{self.prefix}".rstrip("/")


def metered(server: str) -> bool:
    """Whether each request to this server costs money; an empty one is the cloud's own."""
    return not server or f".{urlsplit(server).hostname}".endswith(METERED)


def parse(url: str) -> Address:
    """The parts of the URL of an object store. Raises ``BadInput`` with a sentence that never repeats a secret."""
    kind = url.partition("://")[0]
    example = _EXAMPLE.get(kind, "s3://bucket/prefix")
    if kind not in _EXAMPLE or not url.isprintable():
        raise BadInput("not the address of an object store", advice=f"write it like {example}")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise BadInput("not the address of an object store", advice=f"write it like {example}") from None
    if "@" in parts.netloc or ":" in parts.netloc:
        raise _secret(f"a {kind}:// address")
    if parts.fragment:
        raise BadInput("a store's address has no #", where=f"{kind}://{parts.netloc}", advice="write %23 in a prefix")
    account, path = "", parts.path.strip("/")
    bucket = parts.netloc
    if kind == "az":
        account = bucket
        bucket, _, path = path.partition("/")
    if not _NAME.fullmatch(bucket) or (kind == "az" and not _NAME.fullmatch(account)):
        raise BadInput(
            "not the address of an object store", where=f"{kind}://{parts.netloc}", advice=f"write it like {example}"
        )
    prefix = f"{unquote(path, errors='surrogateescape')}/" if path else ""
    check_prefix(prefix)
    return Address(kind, bucket, prefix, account, **_options(kind, bucket, parts.query))


def _options(kind: str, bucket: str, query: str) -> dict[str, str]:
    where = f"{kind}://{bucket}"
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in OPTIONS[kind]:
            if _SECRET.search(name):
                raise _secret(where)
            known = ", ".join(OPTIONS[kind])
            raise BadInput(f"a store's address has no option {name}", where=where, advice=f"it takes {known}")
        if not value or name in options:
            raise BadInput(f"the option {name} of a store's address is given once, with a value", where=where)
        options[name] = value
    for name in ("endpoint", "sts"):
        if name in options:
            options[name] = _server(name, options[name], where)
    if options.get("addressing", "path") not in ("path", "virtual"):
        raise BadInput("the option addressing of a store's address is path or virtual", where=where)
    if "role" in options and not re.fullmatch(r"arn:[\w-]*:iam:[\w-]*:\w*:role/[\w+=,.@/-]+", options["role"]):
        raise BadInput("the option role of a store's address is the ARN of a role", where=where)
    if any(not re.fullmatch(r"[\w .+=,@-]+", options.get(name, "x")) for name in ("region", "profile")):
        raise BadInput("the region or profile of a store's address is not a name", where=where)
    return options


def _server(name: str, value: str, where: str) -> str:
    """The URL of a server, without a slash at its end."""
    advice = f"write it like {name}=https://s3.example.org"
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise BadInput(f"the option {name} of a store's address is not a server", where=where, advice=advice) from None
    if "@" in parts.netloc:
        raise _secret(where)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or port == 0:
        raise BadInput(f"the option {name} of a store's address is not a server", where=where, advice=advice)
    return value.rstrip("/")


def _secret(where: str) -> BadInput:
    return BadInput(
        "a store's address never holds a secret",
        where=where,
        advice="leave credentials to the environment or to the cloud's own settings (for S3: aws configure)",
    )
