"""From an output's closing on the machine until it is whole at home, through a real S3 server, at the pace of a store
that bills every request and of one that doesn't."""

import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cryoburst.engine.reconcile import Reconciler
from cryoburst.engine.world import World
from cryoburst.model.job import Wishes
from cryoburst.model.states import RunState
from cryoburst.services.house import open_world
from cryoburst.services.settings import Settings
from cryoburst.services.submit import submit
from cryoburst.stores import open_store

from .script_package import Script

if TYPE_CHECKING:
    from tests.servers import Server

pytestmark = [pytest.mark.slow, pytest.mark.alone]
JOB = "Script/job001/"
MOST = 3.0  # s, median
SCRIPT = """for i in 1 2 3 4 5; do
echo step $i of 5
for class in a b; do head -c 200000 /dev/urandom > Script/job001/it$i$class.mrc; done
sleep %s
done
"""


@pytest.fixture
def world(radosgw_server: "Server", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name, value in radosgw_server.environment.items():
        monkeypatch.setenv(name, value)
    state = tmp_path / "state"
    url = radosgw_server.url(f"live-{os.getpid()}-{time.monotonic_ns()}", "lab")
    open_store(url).create()
    settings = Settings(
        state=state, database=f"sqlite://{state}/c.db", store=url, owner="me@live", machines=state / "machines"
    )
    made = replace(open_world(settings), packages={"script": Script()})
    folder = tmp_path / "project" / JOB
    folder.mkdir(parents=True)
    (tmp_path / "project/script.project").touch()
    (folder / "job.sh").write_text(SCRIPT % 4.3)
    submit(made, settings, Path(JOB), tmp_path / "project", Wishes())
    yield made
    made.ledger.connection.close()


@pytest.mark.parametrize("bills", [True, False])
def test_an_output_is_home_soon_after_it_was_closed(world: World, bills: bool) -> None:
    if bills:
        world = replace(world, terms=replace(world.terms, free=world.terms.metered))
    reconciler = Reconciler(world)
    folder = Path(world.ledger.runs()[0].project) / JOB
    delays: dict[str, float] = {}
    tick, end = 0.0, time.monotonic() + 120
    while world.ledger.runs(unfinished=True):
        assert time.monotonic() < end, world.ledger.runs()
        if time.monotonic() >= tick:
            reconciler.tick()
            tick = time.monotonic() + 0.5  # as the watcher does
        for path in folder.glob("*.mrc"):
            if path.name not in delays:
                assert path.stat().st_size == 200_000
                delays[path.name] = time.time() - path.stat().st_mtime
        time.sleep(0.02)
    while reconciler.tick(finish=True):
        assert time.monotonic() < end
        time.sleep(0.1)
    reconciler.close()
    assert world.ledger.runs()[0].state is RunState.SUCCEEDED
    assert len(delays) == 10
    median = statistics.median(delays.values())
    print(
        f"{len(delays)} outputs were whole at home after {median:.2f} s (median), at most {max(delays.values()):.2f} s"
    )
    assert 0 < median <= MOST
