"""What tests/conftest.py hands to all tests: the servers, once for a test run, and proxies before any of them.

Nothing starts until a test asks for it, and nothing of a server is imported until then. Tests that ask for a server
other than moto carry ``@pytest.mark.slow``.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from . import Server

if TYPE_CHECKING:
    from .proxy import Proxy

# moto reads these when it is imported, which any test may do first.
for _each in ("INSTANCE_TYPE", "AMI", "KEYPAIR"):  # or nonsense is taken
    os.environ.setdefault(f"MOTO_EC2_ENABLE_{_each}_VALIDATION", "true")
    os.environ.setdefault(f"MOTO_ENABLE_{_each}_VALIDATION", "true")
os.environ.setdefault("MOTO_AMIS_PATH", str(Path(__file__).with_name("images.json")))  # not the 1285 that it knows


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """The address of AWS's imitation inside the test process, ended with the session.

    moto checks neither signatures nor checksums nor policies: it shows that requests are made and answers are read as
    they should be. The other servers mind.
    """
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # or a line for each request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def swift_server() -> Iterator[Server]:
    """OpenStack Swift with s3api; about 4 s, 230 MB."""
    from .swift import swift

    with swift() as server:
        yield server


@pytest.fixture(scope="session")
def radosgw_server() -> Iterator[Server]:
    """Ceph radosgw with STS; about 10 s, 500 MB."""
    from .radosgw import radosgw

    with radosgw() as server:
        yield server


@pytest.fixture(params=["swift_server", "radosgw_server"])
def s3_server(request: pytest.FixtureRequest) -> Server:
    """Each of the servers in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def proxied() -> Iterator[Callable[..., "Proxy"]]:
    """``proxied(server, seed=0)`` is a proxy before that server, gone after the test."""
    from .proxy import Proxy

    with ExitStack() as stack:
        yield lambda server, seed=0: stack.enter_context(Proxy(server, seed))
