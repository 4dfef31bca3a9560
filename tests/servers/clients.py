"""boto3 before one of the servers, as their own tests use it."""

import uuid
from typing import Any

from . import Server
from .proxy import Proxy


def connect(
    server: Server | Proxy, service: str = "s3", key: str = "", secret: str = "", token: str | None = None
) -> Any:
    """A client that tries once, as the first user unless told otherwise."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        service,
        endpoint_url=server.endpoint,
        region_name=server.region,
        aws_access_key_id=key or server.access_key,
        aws_secret_access_key=secret or server.secret_key,
        aws_session_token=token,
        config=Config(
            s3={"addressing_style": "path", "payload_signing_enabled": True},
            retries={"total_max_attempts": 1},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            connect_timeout=10,
            read_timeout=60,
            max_pool_connections=32,
        ),
    )


def new_bucket(server: Server | Proxy) -> str:
    name = f"test-{uuid.uuid4().hex}"
    connect(server).create_bucket(Bucket=name)
    return name
