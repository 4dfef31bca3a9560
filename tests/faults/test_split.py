"""Split runs: parts that start while others are sent, that die alone, fail, are stopped; and the join after them.

The test plays the machines of the parts and of the join.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cryoburst.model import documents
from cryoburst.model.chunks import chunk_name
from cryoburst.model.documents import Batch, Exit, Heartbeat, Manifest, Output, Spec, Started
from cryoburst.model.errors import BadInput, NotThere
from cryoburst.model.job import Wishes
from cryoburst.model.plugins import MachineRequest, MachineSeen
from cryoburst.model.run import Run
from cryoburst.model.states import RunState
from cryoburst.model.store import read_whole
from cryoburst.services import runs as runs_

from .stage import JOB, Stage
from .test_two import at_once

S = RunState
UNITS = [f"u{n}" for n in range(7)]


@dataclass
class Split:
    """A run in three parts of seven units, and its machines."""

    stage: Stage

    def submit(self, parts: int = 3) -> Run:
        folder = self.stage.folder
        (self.stage.project / "units.txt").write_text("".join(f"{unit}\n" for unit in UNITS))
        for unit in UNITS:
            (self.stage.project / unit).write_text(f"content of {unit}\n")
        folder.joinpath("job.sh").write_text("# list units.txt\ntrue\n")
        return self.stage.submit(JOB, Wishes(parts=parts))

    @property
    def parts(self) -> list[Run]:
        return self.stage.world.ledger.parts_of(self.stage.run)

    @property
    def states(self) -> list[RunState]:
        return [part.state for part in self.parts]

    def spec(self, run: Run) -> Spec:
        data = self.stage.inside.get(run.prefix + "spec.json")
        assert data is not None
        return documents.load(Spec, data, "spec.json")

    def units_of(self, run: Run) -> list[str]:
        """What the machine of a part finds in its list."""
        (listing,) = (i for i in self.spec(run).inputs if i.path == "units.txt")
        data = read_whole(self.stage.inside, listing.key, listing.offset, listing.size)
        return data.decode().split()

    def write(self, run: Run, name: str, document: object) -> None:
        self.stage.inside.put(run.prefix + name, documents.dump(document))

    def starts(self, run: Run) -> None:
        now = self.stage.now
        self.write(run, "started.json", Started(now, "host", f"{run.uid}-{run.attempt}"))
        self.write(run, "heartbeat.json", Heartbeat(now, "command", {"out.log": 0}, 0, now))

    def output(self, run: Run, name: str, data: bytes) -> Output:
        digest = hashlib.sha256(data).hexdigest()
        key = f"{run.prefix}outputs/{digest[:2]}/{digest}"
        self.stage.inside.put(key, data)
        return Output(JOB + name, len(data), f"sha256:{digest}", key, 0, 1_600_000_000_000_000_000)

    def made(self, run: Run, units: Sequence[str]) -> list[Output]:
        return [self.output(run, f"out/{unit}", f"made of {unit}\n".encode()) for unit in units]

    def ends(self, run: Run, code: int = 0, units: Sequence[str] | None = None, ended: str = "finished") -> None:
        """The machine of a part ends: outputs of its units, its own version of the joined file, what it said."""
        made = self.made(run, self.units_of(run) if units is None else units)
        said = f"part {run.part} says {', '.join(self.units_of(run))}\n".encode()
        self.stage.inside.put(run.prefix + chunk_name("out.log", 0), said)
        self.write(run, "manifest.json", Manifest([*made, self.output(run, "joined.bin", b"of a part")], []))
        sizes = {"out.log": len(said)}
        self.write(
            run, "exit.json", Exit(self.stage.now, ended, code, f"it ended: {ended}", 1.0, sizes, self.stage.now)
        )

    def joins(self) -> None:
        """The machine of the join starts and ends."""
        run = self.stage.run
        self.starts(run)
        self.write(run, "manifest.json", Manifest([self.output(run, "joined.bin", b"of all")], []))
        self.write(run, "exit.json", Exit(self.stage.now, "finished", 0, "", 1.0, {}, self.stage.now))

    def all_run(self) -> None:
        """Every part has a machine at work."""
        self.stage.tick(times=9)
        assert self.states == [S.STARTING] * len(self.parts)
        for part in self.parts:
            self.starts(part)
        self.stage.tick()
        assert self.states == [S.RUNNING] * len(self.parts)

    def assert_whole(self, machines: int) -> None:
        """Everything is at home, once, and no machine is left."""
        folder = self.stage.folder
        assert self.stage.run.state is S.SUCCEEDED
        assert sorted(path.name for path in (folder / "out").iterdir()) == UNITS
        assert all((folder / "out" / unit).read_text() == f"made of {unit}\n" for unit in UNITS)
        assert (folder / "joined.bin").read_bytes() == b"of all"
        assert (folder / "DONE").exists()
        assert not list(folder.glob(".cryoburst*"))
        self.assert_no_machine(machines)

    def assert_no_machine(self, machines: int) -> None:
        self.stage.tick()
        assert not self.stage.provider.known
        assert len(self.stage.provider.calls) == machines


@pytest.fixture
def split(stage: Stage) -> Split:
    return Split(stage)


@pytest.fixture
def split_on_both(shared: Stage) -> Split:
    return Split(shared)


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
    run = split.stage.run
    assert (run.state, run.reason) == (S.FAILED, "program_failed")
    assert run.detail == "part 2 of 3: it ended: finished; there is no output of u3"
    assert "there is no output of u3" in (split.stage.folder / "FAILED").read_text()
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


def test_a_clock_that_is_wrong_by_a_day_changes_no_time_of_the_run(split: Split) -> None:
    split.submit()
    split.stage.tick(times=9)
    day = 86_400.0
    real, split.stage.now = split.stage.now, split.stage.now - day  # the machines' own clock
    for part in split.parts:
        split.starts(part)
    split.stage.now = real
    split.stage.tick(1)
    assert split.states == [S.RUNNING] * 3
    assert all(not part.lost_since for part in split.parts)
    split.stage.now = real + day
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


def test_nothing_hidden_is_left_in_the_job_folder(split: Split, tmp_path: Path) -> None:
    split.submit()
    split.all_run()
    for part in split.parts:
        split.ends(part)
    split.stage.tick(1, times=9)
    assert not list(split.stage.folder.glob(".cryoburst*"))
