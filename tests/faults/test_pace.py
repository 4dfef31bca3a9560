"""What a tick counts, and what it is worth waking up for."""

import time

from cryoburst.model.documents import Heartbeat
from cryoburst.model.states import RunState as S

from .stage import JOB, Stage


def test_progress_is_counted_once_a_second_and_to_the_last_line(stage: Stage) -> None:
    """Also when the program is silent from then on."""

    def say(steps: int) -> None:
        log = "".join(f"step {number} of 5\n" for number in range(1, steps + 1))
        beat = Heartbeat(stage.now, "command", {"out.log": len(log)}, 0, stage.now, tails={"out.log": log})
        stage.write("heartbeat.json", beat)

    stage.to(S.RUNNING)
    stage.agent_starts()
    stage.tick(2)
    say(1)
    assert stage.tick().done == 1
    say(2)
    assert stage.tick(0.5).done == 1
    assert (stage.project / JOB / "out.log").read_text().endswith("step 2 of 5\n")
    assert stage.tick(0.6).done == 2


def test_a_run_that_changes_its_state_is_worth_a_tick(stage: Stage) -> None:
    stage.reconciler.tick()
    assert not stage.reconciler.told()
    stage.submit()
    stage.reconciler.tick()
    began = time.monotonic()
    stage.reconciler.rest(60)
    assert time.monotonic() - began < 30
    assert stage.reconciler.told()
