"""An environment with a credential for the S3 server inside the test process (moto), and nobody else's."""

import os
import uuid
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from cryoburst.stores.objects import ObjectStore

from .canned import Canned, Said

KEY, SECRET = "AKIDOFTESTS", "the-secret-of-tests"


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without any cloud's credential."""
    for name in os.environ:
        if name.startswith(("AWS_", "GOOGLE_", "AZURE_")):
            monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", "/nonexistent")


@pytest.fixture
def user(nobody: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment with an S3 credential."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.fixture
def store(moto: str, user: None) -> ObjectStore:
    """An empty store in a bucket of its own, below a prefix with letters that need care."""
    made = ObjectStore(f"s3://b-{uuid.uuid4().hex}/{quote('a préfix+%41')}?endpoint={quote(moto)}")
    made.create()
    return made


@pytest.fixture
def server() -> Iterator[Canned]:
    """One that takes everything and has nothing."""
    made = Canned(lambda request: Said(200, b"", {"ETag": '"e"'}))
    yield made
    made.close()


@pytest.fixture
def bucket(server: Canned, user: None) -> ObjectStore:
    """A store on it."""
    return ObjectStore(f"s3://bucket/base?endpoint={server.url}")
