"""Split runs as a whole: how they end, are listed, stopped, fetched, and rebuilt with their parts."""

from dataclasses import replace
from typing import Any

import pytest

from cryoburst.model.documents import Batch, Heartbeat
from cryoburst.model.errors import BadInput, NotThere
from cryoburst.model.job import Wishes
from cryoburst.services import runs as runs_

from .split import UNITS, S, Split
from .stage import JOB


def test_a_split_run_ends_as_a_whole_one(split_on_both: Split) -> None:
    split = split_on_both
    run = split.submit()
    assert (run.number, run.parts, run.total, run.unit) == (1, 3, 7, "units")
    split.all_run()
    assert [split.units_of(part) for part in split.parts] == [["u0", "u1"], ["u2", "u3"], ["u4", "u5", "u6"]]
    assert [part.total for part in split.parts] == [2, 2, 3]
    for part in split.parts:  # a part needs its own inputs alone
        assert {i.path for i in split.spec(part).inputs} == {"units.txt", *split.units_of(part)}
    assert split.stage.run.state is S.SPLIT
    for part in split.parts:
        split.ends(part)
    split.stage.tick(1)
    assert split.states == [S.SUCCEEDED] * 3
    assert not (split.stage.folder / "joined.bin").exists()  # a part's own is none
    assert not (split.stage.folder / "DONE").exists()
    split.stage.tick(1)
    assert {i.path for i in split.spec(split.stage.run).inputs} == {"units.txt", *(f"{JOB}out/{u}" for u in UNITS)}
    assert split.units_of(split.stage.run) == UNITS
    split.joins()
    split.stage.tick(1)
    split.assert_whole(machines=4)
    said = (split.stage.folder / "out.log").read_text()
    assert said.startswith("cryoburst: run 1 in 3 parts: 7 units\n")
    order = [said.index(f"part {n} says") for n in (1, 2, 3)]
    assert order == sorted(order)


def test_every_machine_has_the_disk_that_was_priced(split: Split) -> None:
    ledger, provider = split.stage.world.ledger, split.stage.provider
    run = split.submit()
    ledger.change(run, {"disk_bytes": 10**12})  # of a part, as the pre-flight leaves it
    split.all_run()
    for part in split.parts:
        split.ends(part)
    split.stage.tick(1)
    assert split.stage.tick(1).state is S.STARTING
    join = provider.disks.pop(f"{run.uid}-1")
    assert set(provider.disks.values()) == {(10**12, 10**12)}
    assert join == (0, 0)  # what it does needs next to nothing


def test_only_whole_runs_are_listed_and_numbered(split: Split) -> None:
    split.submit()
    split.all_run()
    ledger = split.stage.world.ledger
    assert [run.number for run in ledger.runs()] == [1]
    assert [run.number for run in ledger.runs(unfinished=True, parts=True)] == [1, -1, -2, -3]
    other = split.stage.project / "Script/job002"
    other.mkdir()
    (other / "job.sh").write_text("# input in.txt\ntrue\n")
    assert split.stage.submit("Script/job002").number == 2
    assert [part.part for part in split.parts] == []  # of run 2
    with pytest.raises(NotThere):
        ledger.run(3)


def test_stop_ends_all_parts_and_brings_home_what_there_is(split: Split) -> None:
    split.submit()
    split.all_run()
    (split.stage.folder / "ABORT").touch()  # in the program's own window
    split.stage.tick(1, times=2)
    assert all(part.stop_wanted for part in split.parts)
    for part in split.parts:
        split.ends(part, code=143, units=split.units_of(part)[:1], ended="aborted")
    split.stage.tick(1)
    assert split.states == [S.STOPPED] * 3
    assert split.stage.run.state is S.STOPPED
    assert (split.stage.folder / "ABORTED").exists()
    assert len(list((split.stage.folder / "out").iterdir())) == 3
    split.assert_no_machine(3)


def test_stop_before_the_parts_are_made(split: Split) -> None:
    split.submit()
    split.stage.world.ledger.want_stop(split.stage.run, "me", split.stage.now)
    split.stage.tick()
    assert split.stage.run.state is S.STOPPED
    assert split.parts == []
    split.assert_no_machine(0)


def test_the_job_is_busy_while_its_parts_are_at_work_and_free_after(split: Split) -> None:
    split.submit()
    split.all_run()
    with pytest.raises(BadInput, match="cryoburst stop 1"):
        split.stage.submit(JOB, Wishes(parts=2))
    split.stage.world.ledger.want_stop(split.stage.run, "me", split.stage.now)
    split.stage.tick()
    for part in split.parts:
        split.ends(part, code=143, ended="aborted")
    split.stage.tick(1)
    assert split.stage.submit(JOB, Wishes(parts=2)).number == 2


@pytest.mark.parametrize("moment", ["sent", "running", "ended", "joining", "over"])
def test_a_deleted_database_is_rebuilt_with_all_parts(split: Split, moment: str) -> None:
    stage = split.stage
    split.submit()
    stage.tick(times=9)
    if moment != "sent":
        for part in split.parts:
            split.starts(part)
        stage.tick()
    if moment in ("ended", "joining", "over"):
        for part in split.parts:
            split.ends(part)
    if moment in ("joining", "over"):
        stage.tick(1, times=9)
        assert stage.run.state is S.STARTING
    if moment == "over":
        split.joins()
        stage.tick(1)
    before = {part.uid for part in split.parts}
    counted = (stage.run.files_out, stage.run.bytes_out) if moment == "over" else None
    for tail in ("", "-wal", "-shm"):
        (stage.root / f"cryoburst.db{tail}").unlink(missing_ok=True)
    stage.tick(1)
    assert {part.uid for part in split.parts} == before
    if moment == "over":
        assert (stage.run.files_out, stage.run.bytes_out) == counted
        return
    if moment == "sent":
        for part in split.parts:
            split.starts(part)
        stage.tick()
    if moment in ("sent", "running"):
        for part in split.parts:
            split.ends(part)
    stage.tick(1, times=9)
    split.joins()
    stage.tick(1)
    split.assert_whole(machines=4)


def test_a_rebuilt_list_tells_what_a_split_run_took_to_the_second(split: Split) -> None:
    """However long the end of the run takes on a busy computer: here every look at the clock takes a second."""
    stage = split.stage
    split.submit()
    split.all_run()

    def clock() -> float:
        stage.now += 1.0
        return stage.now

    stage.reconciler.close()
    stage.reconciler = stage.new_reconciler(replace(stage.world, clock=clock))
    for part in split.parts:
        split.ends(part)
    stage.tick(1, times=9)
    split.joins()
    stage.tick(1)
    before = stage.run
    assert before.state is S.SUCCEEDED
    for tail in ("", "-wal", "-shm"):
        (stage.root / f"cryoburst.db{tail}").unlink(missing_ok=True)
    stage.tick(1)
    assert stage.run.command_seconds == before.command_seconds


def test_fetch_brings_back_the_outputs_of_all_parts(split: Split) -> None:
    split.submit()
    split.all_run()
    for part in split.parts:
        split.ends(part)
    split.stage.tick(1, times=9)
    split.joins()
    split.stage.tick(1)
    for unit in ("u1", "u6"):
        (split.stage.folder / "out" / unit).unlink()
    (split.stage.folder / "joined.bin").write_bytes(b"damaged")
    before = split.stage.run.files_out
    assert runs_.fetch(split.stage.world, 1) == before == len(UNITS) + 1
    split.assert_whole(machines=4)


def test_outputs_come_home_while_the_parts_run(split: Split) -> None:
    split.submit()
    split.all_run()
    part = split.parts[2]
    split.write(part, "journal/000001.json", Batch(split.made(part, ["u4"])))
    now = split.stage.now
    beat: Any = Heartbeat(now, "command", {"out.log": 14}, 1, now, tails={"out.log": "step 1 of 3 \nx"[:14]})
    split.write(part, "heartbeat.json", beat)
    split.stage.tick(2)
    assert (split.stage.folder / "out/u4").exists()
    split.stage.tick(2)
    run = split.stage.run
    assert (run.state, run.files_out) == (S.SPLIT, 1)
    assert "of 3 parts 3 at work" in (split.stage.folder / "out.log").read_text()


def test_nothing_hidden_is_left_in_the_job_folder(split: Split) -> None:
    split.submit()
    split.all_run()
    for part in split.parts:
        split.ends(part)
    split.stage.tick(1, times=9)
    assert not list(split.stage.folder.glob(".cryoburst*"))
