"""What all tests share: how patient hypothesis is, and a private PostgreSQL that starts when a test asks for one and
never outlives the tests."""

import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is slow, and that says nothing of the code. A test that suppresses more names this one, too.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

if (Path(__file__).parent / "servers").is_dir():  # house/test_postgres.py runs a copy of this file alone
    from .servers.fixtures import moto, proxied, radosgw_server, s3_server, swift_server  # noqa: F401

START = 180.0  # s that a server may take to answer on a loaded machine
# The server ends with the pipe on its keeper's standard input, so killing the tests leaves no server and no folder.
KEEPER = '"$@" 2>"$PGFOLDER/server.log" & cat >/dev/null; kill -QUIT $!; wait; rm -rf -- "$PGFOLDER"'


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server's ``postgres`` database: ``CRYOBURST_TEST_POSTGRES``, or an own server.

    The own server (one for each pytest worker) listens on a socket in its own folder and on no port.
    """
    if given := os.environ.get("CRYOBURST_TEST_POSTGRES"):
        yield given
        return
    programs = postgres_programs()
    # PostgreSQL refuses to run as root, and a socket's path has at most 107 bytes.
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="cryoburst-pg-", dir="/tmp"))
    if user:
        shutil.chown(folder, user, user)
    groups: list[str] | None = [] if user else None
    initdb = [programs / "initdb", "-D", folder / "data", "-U", "cryoburst", "-A", "trust", "-E", "UTF8", "--no-sync"]
    subprocess.run(
        [*initdb, "--locale=C.UTF-8"],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=START,
        cwd="/",
        user=user,
        group=user,
        extra_groups=groups,
    )
    settings = [f"-cunix_socket_directories={folder}", "-clisten_addresses=", "-cfsync=off", "-cshared_buffers=16MB"]
    server = [programs / "postgres", "-D", folder / "data", *settings]
    url = f"postgresql://cryoburst@/postgres?host={folder}"
    keeper = subprocess.Popen(
        ["sh", "-c", KEEPER, "keeper", *server],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PGFOLDER": str(folder)},
        cwd="/",
        start_new_session=True,
        user=user,
        group=user,
        extra_groups=groups,
    )
    try:
        wait_for_postgres(url, keeper, folder / "server.log")
        yield url
    finally:
        keeper.communicate(timeout=START)  # closes its standard input, and so ends the server


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of a new, empty PostgreSQL database that is dropped after the test."""
    import psycopg
    from psycopg import sql

    database = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        yield postgres_server.replace("/postgres?", f"/{database}?", 1)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))


def postgres_programs() -> Path:
    """The folder of ``initdb``: Debian keeps it off PATH. Fails the test when there is none."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not versions:
        pytest.fail("PostgreSQL is not installed; script/setup installs it", pytrace=False)
    return versions[-1].parent


def wait_for_postgres(url: str, keeper: "subprocess.Popen[bytes]", log: Path) -> None:
    """Return when the server answers. Raises RuntimeError with its log when it ends or stays silent."""
    import psycopg

    end = time.monotonic() + START
    while True:
        try:
            psycopg.connect(url, connect_timeout=5).close()
            return
        except psycopg.OperationalError as error:
            if keeper.poll() is not None or time.monotonic() > end:
                text = log.read_text(errors="replace") if log.exists() else ""
                raise RuntimeError(f"PostgreSQL did not start: {error}\n{text}") from error
        time.sleep(0.05)
