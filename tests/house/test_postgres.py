"""The tests' own PostgreSQL: every test gets an empty database, and a killed test run leaves no server behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

HERE = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.slow


def test_each_database_is_new(postgres_url: str, postgres_server: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)
        assert connection.info.dbname != "postgres"
    with psycopg.connect(postgres_server) as connection:
        assert connection.info.dbname == "postgres"


def test_killed_tests_leave_no_server(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text((HERE / "conftest.py").read_text())
    (tmp_path / "test_it.py").write_text(
        "import pathlib, time\n"
        "def test_it(postgres_url):\n"
        "    pathlib.Path(__file__).with_name('url').write_text(postgres_url)\n"
        "    time.sleep(600)\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "CRYOBURST_TEST_POSTGRES"))}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--rootdir", tmp_path, tmp_path]
    tests = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
    try:
        wait_until((tmp_path / "url").exists, tests)
        folder = Path((tmp_path / "url").read_text().partition("host=")[2])
        assert (folder / "data/postmaster.pid").exists()
    finally:
        tests.send_signal(signal.SIGKILL)
        tests.wait(timeout=60)
    wait_until(lambda: not folder.exists())


def wait_until(true: object, process: "subprocess.Popen[bytes] | None" = None) -> None:
    assert callable(true)
    end = time.monotonic() + 180
    while not true():
        assert time.monotonic() < end
        assert process is None or process.poll() is None
        time.sleep(0.05)
