"""Two of everything at once on one database: watchers, submissions, wishes to stop. And a stop at every state."""

import threading
from collections.abc import Callable

import pytest

from cryoburst.model.errors import BadInput
from cryoburst.model.run import Run
from cryoburst.model.states import RunState

from .stage import Stage

S = RunState


def at_once(*works: Callable[[], None]) -> list[BaseException]:
    """All works in threads that begin together; what they raised."""
    barrier = threading.Barrier(len(works))
    raised: list[BaseException] = []

    def begin(work: Callable[[], None]) -> None:
        barrier.wait(30)
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            raised.append(error)

    threads = [threading.Thread(target=begin, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    return raised


def test_two_watchers_make_one_machine_for_each_run(shared: Stage) -> None:
    for number in range(6):
        folder = f"Script/job{number:03d}/"
        (shared.project / folder).mkdir(exist_ok=True)
        (shared.project / folder / "job.sh").write_text("# input in.txt\ntrue\n")
        shared.submit(folder)

    def watch() -> None:
        world = shared.new_world()
        reconciler = shared.new_reconciler(world)
        for _ in range(12):
            reconciler.tick(finish=True)
        reconciler.close()

    assert at_once(watch, watch, watch) == []
    runs = shared.world.ledger.runs()
    assert {run.state for run in runs} == {S.STARTING}
    assert sorted(shared.provider.calls.values()) == [1] * 6
    assert len(shared.provider.known) == 6
    events = [[e.text for e in shared.world.ledger.events(run.uid)] for run in runs]
    assert all(found == ["DRAFT", "STAGING_IN", "PLACING", "STARTING"] for found in events)


def test_two_submissions_of_one_job_make_one_run(shared: Stage) -> None:
    runs: list[Run] = []

    def submit() -> None:
        runs.append(shared.submit())

    raised = at_once(*[submit] * 6)
    assert len(runs) == len(shared.world.ledger.runs()) == 1
    assert len(raised) == 5
    assert all(isinstance(error, BadInput) and "is at work on this job" in str(error) for error in raised)
    assert not (shared.folder / "FAILED").exists()


def test_a_second_submission_while_the_job_runs_marks_nothing(stage: Stage) -> None:
    stage.to(S.RUNNING)
    with pytest.raises(BadInput, match="cryoburst stop 1"):
        stage.submit()
    assert not (stage.folder / "FAILED").exists()
    assert stage.tick().state is S.RUNNING


@pytest.mark.parametrize("state", [S.DRAFT, S.STARTING, S.RUNNING])
def test_stop_at_every_state_brings_home_what_there_is_and_leaves_no_machine(shared: Stage, state: RunState) -> None:
    stage = shared
    stage.to(state)
    stage.world.ledger.want_stop(stage.run, "me", stage.now)
    stage.tick()
    if state is S.RUNNING:
        assert stage.inside.get(stage.run.prefix + "stop.json") is not None
        assert stage.run.state is S.RUNNING
        stage.agent_ends("aborted", 143)
        stage.tick()
    assert (stage.run.state, stage.run.reason) == (S.STOPPED, "aborted")
    assert (stage.folder / "ABORTED").exists()
    assert (stage.folder / "out.txt").exists() == (state is S.RUNNING)
    stage.tick()
    stage.assert_over(0 if state is S.DRAFT else 1)


def test_a_stop_that_comes_after_the_end_loses_no_success(stage: Stage) -> None:
    stage.to(S.STAGING_OUT)
    stage.world.ledger.want_stop(stage.run, "me", stage.now)
    assert stage.tick().state is S.SUCCEEDED
    assert (stage.folder / "DONE").exists()
    stage.tick()
    stage.assert_over(1)


@pytest.mark.parametrize("shut", [False, True])
def test_a_machine_that_does_not_heed_a_stop_is_ended(stage: Stage, shut: bool) -> None:
    stage.to(S.RUNNING)
    stage.gate.shut = shut  # also when the wish can't be written for it
    stage.world.ledger.want_stop(stage.run, "me", stage.now)
    assert stage.tick(100).state is S.RUNNING
    assert stage.tick(30).state is S.STOPPED
    stage.tick()
    stage.assert_over(1)


def test_stop_while_it_waits(stage: Stage) -> None:
    stage.to(S.RUNNING)
    stage.provider.die()
    assert stage.tick().state is S.WAITING
    stage.world.ledger.want_stop(stage.run, "me", stage.now)
    assert stage.tick().state is S.STOPPED
    stage.tick()
    stage.assert_over(1)


def test_the_next_run_of_a_job_that_was_stopped_is_free(stage: Stage) -> None:
    stage.to(S.STARTING)
    stage.world.ledger.want_stop(stage.run, "me", stage.now)
    stage.tick()
    assert stage.submit().number == 2
    assert not (stage.folder / "ABORTED").exists()
