"""Asks an S3 server to take a write whose bytes are not those that were signed: a good server refuses it.

``obstore`` can't send such a request, so botocore signs it. Only ``probe`` uses this, on an object of its own.
"""

import hashlib
from typing import Protocol, cast

from cryoburst.model.errors import StoreRefused, StoreUnavailable
from cryoburst.stores import clients, credentials
from cryoburst.stores.address import Address

__all__ = ["refused"]


class _Answer(Protocol):
    status_code: int


class _Signer(Protocol):
    def add_auth(self, request: object) -> None: ...


class _Web(Protocol):
    def send(self, request: object) -> _Answer: ...


def refused(address: Address, wire: str) -> bool:
    """Whether the server refuses the write. ``StoreRefused`` when this can't be tried: without botocore or keys."""
    from urllib.parse import quote

    chain = credentials.session(address)
    import botocore.auth  # pyright: ignore[reportMissingTypeStubs]
    import botocore.awsrequest  # pyright: ignore[reportMissingTypeStubs]
    import botocore.exceptions  # pyright: ignore[reportMissingTypeStubs]
    import botocore.httpsession  # pyright: ignore[reportMissingTypeStubs]

    found = chain.get_credentials()
    if found is None:
        raise StoreRefused("no credential was found", where=address.name)

    class Signer(botocore.auth.S3SigV4Auth):
        """Signs the checksum of other bytes than those that are sent."""

        def payload(self, request: object) -> str:
            return hashlib.sha256(b"these bytes were signed").hexdigest()

    place = credentials.region(address)
    server = clients.endpoint(address) or f"https://s3.{place}.amazonaws.com"
    url = f"{server}/{address.bucket}/{quote(wire)}"
    request = botocore.awsrequest.AWSRequest(method="PUT", url=url, data=b"these bytes were not signed")
    try:
        cast(_Signer, Signer(found.get_frozen_credentials(), "s3", place)).add_auth(request)
        web = cast(_Web, botocore.httpsession.URLLib3Session(timeout=(credentials.CONNECT, credentials.READ)))
        got = web.send(request.prepare())
    except botocore.exceptions.BotoCoreError as error:
        raise StoreUnavailable(f"no answer: {type(error).__name__}", where=address.name) from None
    return got.status_code >= 400
