"""Ten thousand things that go wrong at AWS, before the real provider and the engine's own tick."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryoburst.engine.reconcile import Reconciler
from cryoburst.model.plugins import Offer
from cryoburst.model.states import RunState
from cryoburst.providers.aws import AwsProvider, images, notes
from cryoburst.providers.aws.notes import Notes, Region
from cryoburst.services.reap import end, unneeded
from cryoburst.services.recover import recover

from .ec2 import Ec2
from .stage import Stage

HERE, THERE = "eu-central-1", "us-east-1"
EXAMPLES, FAULTS = 175, 10_000
WAITS = (0.0, 1.0, 4.0, 31.0, 400.0)  # s between two ticks
STEPS = ("tick", "tick", "tick", "starts", "ends", "dies", "taken", "stop", "restart")
found: Counter[str] = Counter()
made: Counter[str] = Counter()


class Scene:
    """A user with a project, an account with a bad day, and what has to hold all the time."""

    def __init__(self, root: Path) -> None:
        self.stage = Stage(root, f"sqlite://{root}/cryoburst.db")
        self.stage.settings = replace(self.stage.settings, store=f"s3://lab/store?region={HERE}")
        limits = replace(self.stage.limits, retry_delays=(1.0,) * 8)
        self.stage.world = replace(self.stage.world, limits=limits)
        made = Notes("1", "", "lab", HERE, prefix="", role="lab", regions={r: Region("v", "sg") for r in (HERE, THERE)})
        notes.write(root / "aws", made)
        self.ec2 = Ec2(lambda: self.stage.now, [HERE, THERE])
        self.restart()

    def restart(self) -> None:
        """Another process goes on."""
        stage = self.stage
        provider = AwsProvider(stage.root / "machines", self.ec2, lambda: stage.now)
        provider._images = {(region, "debian-12"): images.Image("ami-1", "/dev/xvda", 8) for region in (HERE, THERE)}  # pyright: ignore[reportPrivateUsage]
        offers = [
            Offer("fake", "c5.large", 2, 4 << 30, 0, 0.1, f"{region}a", region=region) for region in (HERE, THERE)
        ]
        provider.offers = lambda need: offers  # type: ignore[method-assign]
        stage.world = replace(stage.world, providers={"fake": provider})
        stage.reconciler.close()
        world = stage.world
        stage.reconciler = Reconciler(world, lambda: recover(world, [stage.settings.store]).complete)

    def tick(self, later: float) -> int:
        """Some time passes, and the watcher looks."""
        self.stage.now += later
        self.ec2.pass_time()
        return self.stage.reconciler.tick(finish=True)

    def step(self, what: str) -> None:
        stage, living = self.stage, self.ec2.living
        live = [run for run in stage.world.ledger.runs() if not run.state.final]
        if not live:
            stage.submit()
        elif what == "stop" and live:
            stage.world.ledger.want_stop(live[0], "a test", stage.now)
        elif what == "restart":
            self.restart()
        elif what in ("starts", "ends") and live and live[0].state in (RunState.STARTING, RunState.RUNNING):
            stage.agent_starts()
            if what == "ends":
                stage.agent_ends()
        elif what in ("dies", "taken") and living:
            why = "Client.InstanceInitiatedShutdown" if what == "dies" else "Server.SpotInstanceTermination"
            self.ec2.take(living[0], why)

    def check(self) -> None:
        """Never two machines for one attempt; never one that is not ours."""
        assert not [token for token, count in self.ec2.made.items() if count > 1]
        others = [i for region in self.ec2.instances.values() for i in region.values() if not i.ours]
        assert [other.state for other in others] == ["running"] * 4

    def end(self) -> None:
        """On a good day all comes to its end, and nothing is left by then."""
        self.ec2.chance = 0.0
        for run in self.stage.world.ledger.runs():
            if not run.state.final:
                self.stage.world.ledger.want_stop(run, "the test is over", self.stage.now)
        for _ in range(60):
            if self.tick(20.0) == 0:
                break
        else:
            pytest.fail("it never came to its end")
        assert self.ec2.living == []
        self.stage.now += 3600.0
        for each in unneeded(self.stage.world, ["fake"]):
            assert end(self.stage.world, each) == ""
        assert not any(self.ec2.volumes.values())

    def close(self) -> None:
        self.stage.reconciler.close()
        self.stage.world.ledger.connection.close()


@pytest.fixture(scope="module")
def counted() -> Iterator[None]:
    """Says at the end whether enough went wrong."""
    yield
    assert sum(found.values()) >= FAULTS, found


@pytest.mark.slow
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
@given(
    chance=st.sampled_from([0.4, 0.7, 1.0]),
    script=st.lists(
        st.tuples(st.sampled_from(STEPS), st.sampled_from(WAITS), st.integers(0, 1 << 30)), min_size=12, max_size=30
    ),
)
def test_never_two_none_forgotten_none_of_others(
    counted: None, chance: float, script: list[tuple[str, float, int]]
) -> None:
    root = Path(tempfile.mkdtemp(prefix="cryoburst-faults-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    scene = Scene(root)
    try:
        for what, wait, seed in script:
            scene.ec2.seed(seed, chance)
            scene.step(what)
            for later in (wait, 0.5, 4.0):
                left = scene.tick(later)
                scene.check()
            if left == 0:  # the watcher would end here, and nobody would look again
                assert scene.ec2.living == []
        scene.end()
        scene.check()
    finally:
        found.update(scene.ec2.faults)
        made.update(machines=sum(scene.ec2.made.values()))
        scene.close()
        shutil.rmtree(root)
