"""The parts of split runs: they start while others are sent, die or fail alone, and are never made twice."""

from dataclasses import replace

import pytest

from cryoburst.model.errors import BadInput
from cryoburst.model.job import Wishes
from cryoburst.model.plugins import MachineRequest, MachineSeen
from cryoburst.model.run import Run

from .split import UNITS, S, Split
from .stage import JOB
from .test_two import at_once


def test_a_part_starts_while_the_inputs_of_the_next_are_still_to_go(split: Split) -> None:
    asked: dict[str, set[str]] = {}  # machine's token -> which parts' specs were in the store when it was asked for
    real = split.stage.provider.create

    def create(request: MachineRequest) -> MachineSeen:
        there = {found.key for found in split.stage.inside.list("")}
        asked[request.token] = {key.split("/")[-3] for key in there if key.endswith("spec.json")}
        return real(request)

    split.stage.provider.create = create  # type: ignore[method-assign]
    uid = split.submit().uid
    split.stage.tick(times=9)
    assert split.states == [S.STARTING] * 3
    assert f"{uid}.3" not in asked[f"{uid}.1-1"]
    assert asked[f"{uid}.3-1"] == {f"{uid}.{n}" for n in (1, 2, 3)}
    events = [event.text for event in split.stage.world.ledger.events(uid)]
    assert events.index("part 1 of 3: PLACING") < events.index("part 3 of 3: its inputs go up")


def test_a_part_that_can_not_be_sent_now_holds_up_no_other(split: Split) -> None:
    split.submit()
    split.stage.tick(times=1)
    split.stage.tick(times=1)
    ledger = split.stage.world.ledger
    first = split.parts[0]
    if first.state is S.STAGING_IN:
        ledger.change(first, {"state": S.WAITING, "retry_at": split.stage.now + 1000})
    split.stage.tick(times=9)
    assert split.states[1:] == [S.STARTING] * 2


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_part_whose_machine_dies_is_tried_again_alone(split: Split, number: int) -> None:
    split.submit()
    split.all_run()
    victim = split.parts[number - 1]
    known = split.stage.provider.known
    known[f"{victim.uid}-1"] = dead(known, victim)
    split.stage.tick(40)
    assert split.states.count(S.WAITING) == 1
    split.stage.tick(31, times=9)
    again = split.parts[number - 1]
    assert (again.state, again.attempt) == (S.STARTING, 2)
    assert split.units_of(again) == split.units_of(victim)
    assert [part.attempt for part in split.parts if part.part != number] == [1, 1]
    split.starts(again)
    split.stage.tick()
    for part in split.parts:
        split.ends(part)
    split.stage.tick(1, times=9)
    split.joins()
    split.stage.tick(1)
    split.assert_whole(machines=5)


def test_what_was_sent_never_becomes_less(split: Split) -> None:
    split.submit()
    seen: list[tuple[int, int, int]] = []

    def tick(later: float, times: int = 6) -> None:
        for _ in range(times):
            run = split.stage.tick(later, times=1)
            seen.append((run.bytes_sent, run.bytes_in, run.files_in))
            later = 1.0

    tick(0, 9)
    for part in split.parts:
        split.starts(part)
    tick(1)
    victim = split.parts[1]
    split.stage.provider.known[f"{victim.uid}-1"] = dead(split.stage.provider.known, victim)
    (split.stage.project / "u2").write_text("less\n")  # what goes on needs less
    tick(40)
    tick(31, 9)
    assert split.parts[1].attempt == 2
    for part in split.parts:
        split.starts(part)
        split.ends(part)
    tick(1, 9)
    split.joins()
    tick(1)
    assert split.stage.run.state is S.SUCCEEDED
    assert seen == sorted(seen)
    assert all(ones == sorted(ones) for ones in map(list, zip(*seen, strict=True)))
    assert seen[-1][0] > 0


def dead(known: dict[str, MachineSeen], victim: Run) -> MachineSeen:
    return replace(known[f"{victim.uid}-{victim.attempt}"], alive=False, note="powered off")


def test_the_join_whose_machine_dies_is_tried_again_alone(split: Split) -> None:
    split.submit()
    split.all_run()
    for part in split.parts:
        split.ends(part)
    split.stage.tick(1, times=9)
    run = split.stage.run
    assert run.state is S.STARTING
    split.starts(run)
    split.stage.tick()
    split.stage.provider.known[f"{run.uid}-1"] = dead(split.stage.provider.known, run)
    split.stage.tick(40)
    split.stage.tick(31, times=6)
    assert (split.stage.run.state, split.stage.run.attempt) == (S.STARTING, 2)
    split.joins()
    split.stage.tick(1)
    split.assert_whole(machines=5)
    assert [part.attempt for part in split.parts] == [1, 1, 1]


def test_a_part_that_fails_ends_the_others_and_is_named(split: Split) -> None:
    split.submit()
    split.all_run()
    split.ends(split.parts[1], code=1, units=["u2"])
    split.stage.tick(1)
    others = [part for part in split.parts if part.part != 2]
    assert [part.stop_wanted for part in others] == ["part 2 of 3 failed"] * 2
    for part in others:
        assert split.stage.inside.get(part.prefix + "stop.json") is not None
        split.ends(part, code=143, units=split.units_of(part)[:1], ended="aborted")
    split.stage.tick(1)
    for part in split.parts[::2]:  # the user stopped nothing
        assert (part.state, part.reason, part.detail) == (S.STOPPED, "part_failed", "part 2 of 3 failed")
    told = [event.text for event in split.stage.world.ledger.events(split.stage.run.uid)]
    why = "ended with the other parts (part 2 of 3 failed): mend what failed and run the job again"
    assert f"part 1 of 3: STOPPED: {why}" in told
    run = split.stage.run
    assert (run.state, run.reason) == (S.FAILED, "program_failed")
    assert run.detail == "part 2 of 3: it ended: finished; there is no output of u3"
    told = (split.stage.folder / "FAILED").read_text()  # what RELION's package writes into run.err
    assert "there is no output of u3" in told
    assert "read run.err" not in told
    made = sorted(path.name for path in (split.stage.folder / "out").iterdir())
    assert made == ["u0", "u2", "u4"]  # nothing that was made is lost
    assert "part 1 says" in (split.stage.folder / "out.log").read_text()
    split.assert_no_machine(3)


def test_a_unit_without_output_is_worked_on_by_the_join_and_named(split: Split) -> None:
    split.submit()
    split.all_run()
    for part in split.parts:
        split.ends(part, units=[unit for unit in split.units_of(part) if unit != "u3"])
    split.stage.tick(1, times=9)
    inputs = {i.path for i in split.spec(split.stage.run).inputs}
    assert "u3" in inputs
    assert "u2" not in inputs
    split.joins()
    split.stage.tick(1)
    assert split.stage.run.state is S.SUCCEEDED
    assert "there is no output of u3" in [e.text for e in split.stage.world.ledger.events(split.stage.run.uid)]


def test_a_part_that_nobody_knows_after_the_loss_of_the_database_is_made_again(split: Split) -> None:
    run = split.submit()
    split.stage.tick(times=2)
    split.stage.world.ledger.connection.change("DELETE FROM runs WHERE uid = ?", [f"{run.uid}.2"])
    split.stage.tick(times=9)
    assert [part.part for part in split.parts] == [1, 2, 3]
    assert len(split.stage.provider.calls) == 3


def test_two_watchers_make_no_part_and_no_machine_twice(split_on_both: Split) -> None:
    split = split_on_both
    split.submit()

    def watch() -> None:
        reconciler = split.stage.new_reconciler(split.stage.new_world())
        for _ in range(14):
            reconciler.tick(finish=True)
        reconciler.close()

    assert at_once(watch, watch, watch) == []
    assert split.states == [S.STARTING] * 3
    assert sorted(split.stage.provider.calls.values()) == [1] * 3


def test_a_clock_that_is_wrong_by_less_than_a_minute_makes_no_time_impossible(split: Split) -> None:
    split.submit()
    split.stage.tick(times=9)
    wrong = 50.0  # s: an agent does not set right what a slow store could be
    real, split.stage.now = split.stage.now, split.stage.now - wrong  # the machines' own clock
    for part in split.parts:
        split.starts(part)
    split.stage.now = real
    split.stage.tick(1)
    assert split.states == [S.RUNNING] * 3
    assert all(not part.lost_since for part in split.parts)
    split.stage.now = real + wrong
    for part in split.parts:
        split.ends(part)
    split.stage.now = real
    split.stage.tick(2, times=9)
    for part in split.parts:
        assert part.state is S.SUCCEEDED
        assert part.command_started is not None
        assert part.submitted <= part.command_started <= split.stage.now
    split.joins()
    split.stage.tick(1)
    split.assert_whole(machines=4)


def test_parts_that_can_not_be_made_are_refused_before_anything_is_written(split: Split) -> None:
    with pytest.raises(BadInput, match="it has no list"):
        split.stage.submit(JOB, Wishes(parts=4))
    assert split.stage.world.ledger.runs() == []


def test_more_parts_than_units_are_as_many_as_units(split: Split) -> None:
    assert split.submit(parts=50).parts == len(UNITS)
    events = [event.text for event in split.stage.world.ledger.events(split.stage.run.uid)]
    assert "info: 50 parts were asked for, and there are 7 units: each is a part" in events
