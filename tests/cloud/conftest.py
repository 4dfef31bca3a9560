"""The emulated cloud's fixtures, for the tests in this folder, and a user who has set it up."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.services.home import Home

from .fixtures import EmulatedCloud, cloud, cloud_server  # noqa: F401


@pytest.fixture
def home(tmp_path: Path, cloud: EmulatedCloud) -> Iterator[Home]:  # noqa: F811
    """A home whose user called ``cryoburst aws setup``, with a bucket and a name that no other test has."""
    made = Home(tmp_path)
    made.look = 0.4  # the machine boots on the same cores
    one = uuid.uuid4().hex[:12]
    made.environment |= cloud.environment | {"CRYOBURST_OWNER": f"{one}@here"}
    done = made.call("aws", "setup", "--region", cloud.region, "--bucket", f"cryoburst-{one}", "--yes")
    assert (done.returncode, done.stderr) == (0, ""), done
    yield made
    made.close()
