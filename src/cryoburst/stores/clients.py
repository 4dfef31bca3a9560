"""Opens ``obstore`` clients for an address, with a time-out on every request.

Three clients for one bucket. What ``obstore`` calls a read time-out also runs while a request is being sent: it finds
a line that went silent, but would cut a large upload on a slow line, so large writes have a client without it. And
deletes of a thousand objects, which some servers don't know and others work on for half a minute, have their own.
No request is unsigned, and none is retried for longer than a few seconds: the callers do that, and they know why.
"""

import os
from collections.abc import Callable
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from cryoburst.model.errors import StoreRefused
from cryoburst.stores import credentials
from cryoburst.stores.address import Address

if TYPE_CHECKING:
    from obstore.store import AzureConfig, AzureStore, ClientConfig, GCSConfig, GCSStore, RetryConfig, S3Config, S3Store

    Client = S3Store | GCSStore | AzureStore

__all__ = ["Clients", "connect", "endpoint"]

CONNECT, SILENT, WHOLE = 10, 30, 300  # s: to connect, without a byte of an answer, for a request from end to end
RETRIES = 2


class Clients:
    """The same bucket three times; see above. Each is made when it is first used: that reads all of the computer's
    certificates. Raises ``StoreRefused`` where one can't be made."""

    def __init__(self, address: Address, make: "Callable[[int, bool], Client]") -> None:
        self._name, self._make = address.name, make

    @cached_property
    def small(self) -> "Client":
        """All but large writes; deletes objects one at a time."""
        return self._made(SILENT)

    @cached_property
    def large(self) -> "Client":
        """Writes of megabytes."""
        return self._made(WHOLE)

    @cached_property
    def bulk(self) -> "Client":
        """Deletes a thousand objects at a time."""
        return self._made(WHOLE, bulk=True)

    def _made(self, silent: int, *, bulk: bool = False) -> "Client":
        from obstore.exceptions import BaseError

        try:
            return self._make(silent, bulk)
        except (BaseError, ValueError) as error:
            said = str(error).partition("\n")[0]
            raise StoreRefused(f"the store can't be opened: {said[:200]}", where=self._name) from None


def endpoint(address: Address) -> str:
    """The server's address: the store's, or the one that AWS's own variables name."""
    if address.endpoint or address.kind != "s3":
        return address.endpoint
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def connect(address: Address) -> Clients:
    """The clients of a bucket. Asks the credential chain, not the bucket. ``StoreRefused`` without a credential."""
    return Clients(address, _MAKER[address.kind](address))


def _s3(address: Address) -> "Callable[[int, bool], S3Store]":
    from obstore.store import S3Store

    server, scheme = endpoint(address), ""
    virtual = address.addressing == "virtual" or not (address.addressing or server or "." in address.bucket)
    if virtual and server:
        scheme, _, host = server.partition("://")
        server = f"{scheme}://{address.bucket}.{host}"
    config: S3Config = {
        "region": credentials.region(address),
        "virtual_hosted_style_request": virtual,
        "unsigned_payload": False,  # the server compares what arrived with the SHA-256 that was signed
        "disable_bulk_delete": True,
    }
    if server:
        config["endpoint"] = server
    provider = credentials.s3(address)

    def make(silent: int, bulk: bool) -> S3Store:
        return S3Store(
            address.bucket,
            config={**config, "disable_bulk_delete": not bulk},
            client_options=_options(server, silent),
            retry_config=_retries(),
            credential_provider=provider,
        )

    return make


def _gs(address: Address) -> "Callable[[int, bool], GCSStore]":
    from obstore.store import GCSStore

    config: GCSConfig = {"base_url": address.endpoint} if address.endpoint else {}
    provider = credentials.google(address)
    return lambda silent, _: GCSStore(
        address.bucket,
        config=config,
        client_options=_options(address.endpoint, silent),
        retry_config=_retries(),
        credential_provider=provider,
    )


def _az(address: Address) -> "Callable[[int, bool], AzureStore]":
    from obstore.store import AzureStore

    config: AzureConfig = {"account_name": address.account}
    if address.endpoint:
        config["endpoint"] = address.endpoint
    provider = credentials.azure(address)
    return lambda silent, _: AzureStore(
        address.bucket,
        config=config,
        client_options=_options(address.endpoint, silent),
        retry_config=_retries(),
        credential_provider=provider,
    )


_MAKER = {"s3": _s3, "gs": _gs, "az": _az}


def _options(server: str, silent: int) -> "ClientConfig":
    return {
        "connect_timeout": timedelta(seconds=CONNECT),
        "read_timeout": timedelta(seconds=silent),
        "timeout": timedelta(seconds=WHOLE),
        "allow_http": server.startswith("http://"),
        "user_agent": "cryoburst",
    }


def _retries() -> "RetryConfig":
    return {
        "max_retries": RETRIES,
        "retry_timeout": timedelta(seconds=10),
        "backoff": {
            "init_backoff": timedelta(milliseconds=100),
            "max_backoff": timedelta(seconds=2),
            "base": 2,
        },
    }
