"""What tests/conftest.py hands to all tests: the two servers, once for a test run, and proxies before any of them.

Nothing starts until a test asks for it, and nothing of a server is imported until then. Tests that ask for a server
carry ``@pytest.mark.slow``.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from . import Server

if TYPE_CHECKING:
    from .proxy import Proxy


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
