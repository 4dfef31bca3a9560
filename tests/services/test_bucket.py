"""Runs whose store is a bucket of a real server: OpenStack Swift and Ceph radosgw, from submit to the files at home."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from cryoburst.model.errors import StoreRefused
from cryoburst.stores import open_store

from .home import Home

if TYPE_CHECKING:
    from tests.servers import Server
    from tests.servers.proxy import Proxy

pytestmark = pytest.mark.slow


@pytest.fixture
def bucket_home(s3_server: "Server", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A user whose default store is a new bucket."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    with_store = Home(tmp_path)
    bucket = f"runs-{os.getpid()}-{time.monotonic_ns()}"
    with_store.environment["CRYOBURST_STORE"] = s3_server.url(bucket, "lab")
    open_store(with_store.environment["CRYOBURST_STORE"]).create()
    yield with_store
    with_store.close()


def secrets_in(folder: Path, *secrets: str) -> list[Path]:
    """The files below a folder that hold one of these."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if any(s.encode() in path.read_bytes() for s in secrets)]


def test_a_run_through_a_bucket(bucket_home: Home, s3_server: "Server") -> None:
    home = bucket_home
    data = os.urandom(40 << 20)  # above the size of a piece
    (home.project / "in.bin").write_bytes(data)
    folder = home.job(script="env; cp in.bin Script/job001/two.bin; seq 3000 > Script/job001/numbers")
    home.submit(folder)
    run = home.ended()
    assert run["state"] == "SUCCEEDED", (run, home.log())
    assert (home.project / folder / "two.bin").read_bytes() == data
    assert run["bytes_sent"] == len(data)
    log = (home.project / folder / "out.log").read_text()
    assert "AWS_" not in log  # the job sees no credential
    assert secrets_in(home.root, s3_server.secret_key) == []
    store = open_store(home.environment["CRYOBURST_STORE"])
    assert not any(s3_server.secret_key.encode() in (store.get(each.key) or b"") for each in store.list(""))

    # What the first run sent and made is not sent again.
    home.job(2, script="cp in.bin Script/job002/three.bin")
    home.submit("Script/job002")
    again = home.ended(2)
    assert again["state"] == "SUCCEEDED"
    assert again["bytes_to_send"] == 0


def test_the_machine_gets_a_credential_of_its_own(
    radosgw_server: "Server", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = radosgw_server
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    home = Home(tmp_path)
    url = server.url(f"runs-{os.getpid()}-{time.monotonic_ns()}", "lab")
    url += f"&sts={server.endpoint}&role={quote(server.role or '', safe=':/')}"
    home.environment |= {
        "CRYOBURST_STORE": url,
        "CRYOBURST_WALLTIME_HOURS": "0.5",  # the role allows an hour
        "CRYOBURST_GRACE_MINUTES": "10",
    }
    open_store(url).create()
    try:
        folder = home.job(script=f"{home.held()}cp in.bin Script/job001/two.bin\n")
        home.submit(folder)
        home.until(lambda run: run["state"] == "RUNNING")
        (kept,) = home.machines.glob("m-*/credential.json")
        assert kept.stat().st_mode & 0o777 == 0o600
        credential = json.loads(kept.read_text())
        assert credential["AWS_ACCESS_KEY_ID"] != server.access_key
        home.let_go()
        run = home.ended()
        assert run["state"] == "SUCCEEDED", (run, home.log())
        assert (home.project / folder / "two.bin").read_bytes() == (home.project / "in.bin").read_bytes()
        home.assert_clean(1)
        assert secrets_in(home.root, server.secret_key, credential["AWS_SECRET_ACCESS_KEY"]) == []
        for name, value in credential.items():
            monkeypatch.setenv(name, value)
        machines_own = open_store(url)
        with pytest.raises(StoreRefused):
            machines_own.put("runs/me_here/other.json", b"not its business")
        with pytest.raises(StoreRefused):
            list(machines_own.list("runs/"))
    finally:
        home.close()


@pytest.mark.parametrize("silent", [True, False])
def test_a_network_that_is_cut_while_a_run_goes_on(
    swift_server: "Server",
    proxied: Callable[..., "Proxy"],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    silent: bool,
) -> None:
    """A laptop that sleeps, a cable that is out: nothing is lost, and no second machine is made."""
    for name, value in swift_server.environment.items():
        monkeypatch.setenv(name, value)
    proxy = proxied(swift_server)
    home = Home(tmp_path)
    home.environment["CRYOBURST_STORE"] = url = proxy.url(f"cut-{os.getpid()}-{time.monotonic_ns()}")
    open_store(url).create()
    try:
        folder = home.job(
            script=f"seq 1 20000 > Script/job001/o1; {home.held()}"
            "for i in 2 3 4 5 6; do seq $i 20000 > Script/job001/o$i; sleep 0.5; done"
        )
        home.submit(folder)
        home.until(lambda run: run["state"] == "RUNNING" and run["files_out"])
        with proxy.outage(silent=silent):
            home.let_go()
            time.sleep(6)  # real: the job goes on and ends while nothing can be sent
        run = home.ended()
        assert run["state"] == "SUCCEEDED", (run, home.log())
        for number in range(1, 7):
            lines = (home.project / folder / f"o{number}").read_text().split()
            assert lines == [str(n) for n in range(number, 20001)]
        home.assert_clean(1)
    finally:
        home.close()


def test_flips_and_refusals_on_the_way_change_nothing(
    swift_server: "Server", proxied: Callable[..., "Proxy"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in swift_server.environment.items():
        monkeypatch.setenv(name, value)
    proxy = proxied(swift_server, seed=7)
    home = Home(tmp_path)
    home.environment["CRYOBURST_STORE"] = url = proxy.url(f"bad-{os.getpid()}-{time.monotonic_ns()}")
    open_store(url).create()
    data = os.urandom(20 << 20)
    (home.project / "in.bin").write_bytes(data)
    try:
        proxy.fail(503, "SlowDown", probability=0.05)
        proxy.fail(500, "InternalError", probability=0.03)
        proxy.reset(side="request", probability=0.03)
        proxy.truncate(after=100, method="GET", probability=0.03)
        proxy.flip(method="GET", key="*/inputs/*", times=2)
        proxy.flip(side="request", method="PUT", key="*/inputs/*", times=1)
        folder = home.job()
        home.submit(folder)
        run = home.ended()
        assert run["state"] == "SUCCEEDED", (run, home.log())
        assert (home.project / folder / "two.bin").read_bytes() == data
    finally:
        proxy.clear()
        home.close()


def test_an_object_in_the_bucket_is_an_input_where_it_is(bucket_home: Home) -> None:
    home = bucket_home
    url = home.environment["CRYOBURST_STORE"]
    data = os.urandom(20 << 20)
    bucket = url.partition("//")[2].partition("/")[0]
    theirs = open_store(f"s3://{bucket}?{url.partition('?')[2]}")
    theirs.put("microscope/m 1.mrcs", data[: 10 << 20])
    (home.project / "in.bin").unlink()
    (home.project / "in.bin").symlink_to(f"s3://{bucket}/microscope/m%201.mrcs")
    folder = home.job()
    home.submit(folder)
    run = home.ended()
    assert run["state"] == "SUCCEEDED", (run, home.log())
    assert (run["bytes_in"], run["bytes_sent"]) == (10 << 20, 0)
    assert (home.project / folder / "two.bin").read_bytes() == data[: 10 << 20]
    theirs.delete("microscope/m 1.mrcs")
    home.job(2)
    home.submit("Script/job002")
    run = home.ended(2)
    assert run["state"] == "FAILED"
    assert "not in its bucket" in run["explanation"]
