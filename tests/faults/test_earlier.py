"""What earlier attempts made is added up, comes home also when nobody told of it, and each file counts once."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryoburst.engine import bill, earlier
from cryoburst.engine.earlier import Made
from cryoburst.model.documents import Batch, Exit, Heartbeat, Manifest, Output
from cryoburst.model.errors import StoreUnavailable
from cryoburst.model.price import Tariff
from cryoburst.model.states import RunState

from .stage import JOB, Stage

S = RunState
STEPS = "# input in.txt\n# goes on\ntrue\n"
PATHS = [f"{JOB}{letter}" for letter in "abcd"]


def output(path: str, version: int) -> Output:
    return Output(path, version, f"sha256:{version:064x}", f"k{version}", 0, version)


@given(st.lists(st.tuples(st.sets(st.sampled_from(PATHS)), st.sets(st.sampled_from(PATHS)))))
def test_the_last_to_make_a_file_made_it_and_what_is_void_is_not_there(
    attempts: list[tuple[set[str], set[str]]],
) -> None:
    made, wanted = Made(), dict[str, int]()
    for version, (void, paths) in enumerate(attempts, 1):
        made = made.without(void).then(output(path, version) for path in paths)
        wanted = {path: v for path, v in wanted.items() if path not in void} | dict.fromkeys(paths, version)
    assert {path: o.size for path, o in made.outputs.items()} == wanted
    ever = {path for _, paths in attempts for path in paths}
    assert set(made.void) | set(made.outputs) >= ever
    assert set(made.void) <= ever


@pytest.fixture
def steps(stage: Stage) -> Stage:
    """A run at work on a job that goes on after a step."""
    (stage.folder / "job.sh").write_text(STEPS)
    stage.to(S.RUNNING)
    return stage


def step(stage: Stage, number: int, batch: int, kinds: tuple[str, ...] = ("dat", "idx")) -> None:
    """The machine made a step, and told its journal of it."""
    made = [stage.output(f"step{number}.{kind}", f"{number} {kind}".encode()) for kind in kinds]
    stage.write(f"journal/{batch:06d}.json", Batch(made))


def test_what_the_last_heartbeat_did_not_tell_of_comes_home_and_is_gone_on_from(steps: Stage) -> None:
    step(steps, 1, 1)
    steps.beat(batches=1)
    step(steps, 2, 2)  # the machine dies before its next heartbeat
    steps.provider.die()
    run = steps.tick(5)
    assert (run.state, run.attempt, run.files_out) == (S.WAITING, 2, 4)
    assert (steps.folder / "step2.dat").read_bytes() == b"2 dat"
    run = steps.tick(30)
    assert run.state is S.STARTING
    spec = steps.spec
    assert spec.script.startswith("FROM=2\n")
    places = {i.path: i.key for i in spec.inputs}
    first = f"{run.home_prefix}1/outputs/"
    assert {path for path, key in places.items() if key.startswith(first)} == {f"{JOB}step2.dat", f"{JOB}step2.idx"}
    assert sorted(spec.settled) == [f"{JOB}step2.dat", f"{JOB}step2.idx"]
    assert run.bytes_to_send == run.bytes_sent == 6  # in.txt, by the first attempt
    assert run.files_out == 4


def test_half_a_step_is_not_gone_on_from_and_is_void(steps: Stage) -> None:
    step(steps, 1, 1)
    step(steps, 2, 2, ("dat",))
    steps.provider.die()
    steps.tick(5)
    steps.tick(30)
    assert steps.spec.script.startswith("FROM=1\n")
    assert steps.spec.void == [f"{JOB}step2.dat"]
    made = earlier.made(steps.world, steps.run, 2)
    assert sorted(made.outputs) == [f"{JOB}step1.dat", f"{JOB}step1.idx"]
    assert sorted(made.void) == [f"{JOB}step2.dat"]


def test_progress_clears_the_count_of_failures_and_none_ends_the_run(steps: Stage) -> None:
    for number in range(1, 7):  # there are three retries
        step(steps, number, 1)
        steps.provider.die()
        assert steps.tick(5).failures == 1
        steps.tick(1200)
        steps.agent_starts()
        assert steps.tick().state is S.RUNNING
    for _ in range(3):
        steps.provider.die()
        steps.tick(5)
        steps.tick(1200)
        steps.agent_starts()
        steps.tick()
    steps.provider.die()
    run = steps.tick(5)
    assert (run.state, run.reason) == (S.FAILED, "machine_died")
    assert len(list(steps.folder.glob("step*"))) == 12


def test_a_file_that_was_changed_at_home_is_not_gone_on_from(steps: Stage) -> None:
    step(steps, 1, 1)
    step(steps, 2, 2)
    steps.provider.die()
    steps.tick(5)
    (steps.folder / "step2.dat").write_bytes(b"mine")
    steps.tick(30)
    assert steps.spec.script.startswith("FROM=1\n")


def test_another_command_begins_anew(steps: Stage) -> None:
    step(steps, 1, 1)
    steps.provider.die()
    steps.tick(5)
    (steps.folder / "job.sh").write_text(STEPS + "# other\n")
    steps.tick(30)
    assert steps.spec.script == STEPS


def test_a_store_that_can_not_be_read_after_a_death_is_waited_for(steps: Stage) -> None:
    step(steps, 1, 1)
    steps.provider.die()
    steps.gate.shut = True
    assert steps.tick(5).state is S.RUNNING
    with pytest.raises(StoreUnavailable):
        earlier.made(steps.world, steps.run, 1)
    steps.gate.shut = False
    run = steps.tick(10)
    assert (run.state, run.files_out) == (S.WAITING, 2)


def test_a_machine_that_waits_for_room_is_told_and_forgotten(stage: Stage) -> None:
    run = stage.to(S.RUNNING)
    beat = Heartbeat(stage.now, "command", {"out.log": 0}, 0, stage.now, full=True)
    stage.write("heartbeat.json", beat)
    run = stage.tick(1)
    assert (run.state, run.reason) == (S.RUNNING, "store_full")
    stage.write("heartbeat.json", replace(beat, time=stage.now, full=False))
    run = stage.tick(1)
    assert (run.state, run.reason) == (S.RUNNING, "")


def test_what_came_home_in_vain_is_paid_all_the_same(stage: Stage) -> None:
    """A second attempt makes everything anew, and one file in two versions: all of it left the cloud."""
    stage.to(S.RUNNING)
    stage.output("a.bin", b"1" * 1000, batch=1)
    stage.beat(batches=1)
    assert stage.tick().bytes_home == 1000
    stage.provider.die()
    stage.tick(times=4)
    stage.tick(later=31)
    stage.agent_starts()
    run = stage.tick()
    assert (run.attempt, run.bytes_home) == (2, 1000)
    stage.output("a.bin", b"2" * 300, batch=1)
    stage.beat(batches=1)
    assert stage.tick().bytes_home == 1300
    stage.write("manifest.json", Manifest([stage.output("a.bin", b"3" * 400)], []))
    stage.write("exit.json", Exit(stage.now, "finished", 0, "it ended", 1.0, {"out.log": 0}))
    run = stage.tick()
    assert (run.state, run.bytes_out, run.bytes_home) == (S.SUCCEEDED, 400, 1700)
    assert bill.run_cost(run, (), Tariff(0.0, 0.0, 0.0, 2.0**30), stage.now).egress == 1700
