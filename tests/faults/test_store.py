"""Faults of the store and of the disk at home: unreachable, full, slow, emptied; outputs are never lost."""

import errno
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cryoburst.engine import stage_in, stage_out
from cryoburst.model import documents
from cryoburst.model.documents import Batch, Exit, Heartbeat, Manifest
from cryoburst.model.errors import CryoburstError
from cryoburst.model.reasons import REASONS
from cryoburst.model.states import RunState

from .script_package import Script
from .stage import Stage

S = RunState


@pytest.mark.parametrize("state", [S.STARTING, S.RUNNING])
def test_job_that_ends_while_home_can_not_reach_the_store_is_not_run_again(stage: Stage, state: RunState) -> None:
    stage.to(state)
    stage.gate.shut = True
    stage.agent_ends()
    stage.provider.known.clear()  # it powered itself off, its work done
    run = stage.tick(7200)
    assert (run.state, run.attempt) == (state, 1)
    stage.gate.shut = False
    assert stage.tick(1).state is S.SUCCEEDED
    assert (stage.folder / "out.txt").read_text() == "input\n"
    stage.tick()
    stage.assert_over(1)


def test_store_that_never_takes_the_inputs_ends_the_run_with_a_reason(stage: Stage) -> None:
    stage.gate.shut = True
    stage.submit()
    assert stage.tick().reason == "store_unavailable"
    for delay in (31, 301, 1201):
        run = stage.tick(delay)
    assert run.state is S.FAILED
    assert REASONS["store_unavailable"].advice in (stage.folder / "FAILED").read_text()
    assert not stage.provider.calls


def test_store_that_comes_back_in_time_is_only_a_wait(stage: Stage) -> None:
    stage.gate.shut = True
    stage.submit()
    stage.tick()
    stage.gate.shut = False
    assert stage.tick(31).state is S.STARTING
    stage.agent_ends()
    assert stage.tick().state is S.SUCCEEDED


def test_outputs_wait_in_the_store_for_ever_while_home_can_not_be_written(stage: Stage) -> None:
    stage.to(S.STAGING_OUT)
    away = stage.project.rename(stage.root / "unmounted")
    for _ in range(10):
        run = stage.tick(5000)
        assert (run.state, run.reason) == (S.STAGING_OUT, "home_unwritable")
    assert not stage.project.exists()  # a project on a lost disk is not made anew
    away.rename(stage.project)
    assert stage.tick(5000).state is S.SUCCEEDED
    assert (stage.folder / "out.txt").read_text() == "input\n"
    stage.tick()
    stage.assert_over(1)


def test_full_disk_at_home_is_told_and_over_when_there_is_room(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_given: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "home")

    stage.to(S.RUNNING)
    stage.output("live.txt", b"live", batch=1)
    stage.beat(batches=1)
    with monkeypatch.context() as patch:
        patch.setattr(stage.inside, "read", full)
        run = stage.tick()
        assert (run.state, run.reason) == (S.RUNNING, "home_full")
    run = stage.tick(10)
    assert (run.state, run.reason) == (S.RUNNING, "")
    assert (stage.folder / "live.txt").read_bytes() == b"live"
    stage.agent_ends()
    with monkeypatch.context() as patch:
        patch.setattr(stage.inside, "read", full)
        run = stage.tick()
        assert (run.state, run.reason) == (S.STAGING_OUT, "home_full")
        assert not (stage.folder / "DONE").exists()
    assert stage.tick(5000).state is S.SUCCEEDED


def test_job_folder_that_was_deleted_meanwhile_comes_back_with_the_outputs(stage: Stage) -> None:
    stage.to(S.STAGING_OUT)
    script = (stage.folder / "job.sh").read_text()
    for path in stage.folder.iterdir():
        path.unlink()
    stage.folder.rmdir()
    run = stage.tick()
    assert (stage.folder / "out.txt").read_text() == "input\n"
    (stage.folder / "job.sh").write_text(script)
    run = stage.tick(5000)
    assert run.state.final


def test_machine_is_ended_while_its_outputs_still_come_home(stage: Stage) -> None:
    stage.to(S.STAGING_OUT)
    stage.gate.held = threading.Event()
    stage.reconciler.tick()
    for _ in range(100):
        stage.now += 6
        stage.reconciler.tick()
        if not stage.provider.known:
            break
        threading.Event().wait(0.01)
    assert not stage.provider.known
    assert stage.run.state is S.STAGING_OUT
    stage.gate.held.set()
    assert stage.tick().state is S.SUCCEEDED


def test_inputs_that_the_store_lost_are_sent_again(stage: Stage) -> None:
    stage.to(S.STAGING_OUT)
    stage.tick()
    stage.world.ledger.connection.change("DELETE FROM events")
    for entry in list(stage.inside.list("")):
        if "/inputs/" in entry.key:
            stage.inside.delete(entry.key)  # somebody tidied up; the ledger does not know
    stage.submit()
    assert stage.tick().state is S.STARTING
    stage.write("exit.json", Exit(stage.now, "inputs", None, "an input is not there", 0.0, {}))
    assert stage.tick().reason == "inputs_lost"
    assert stage.tick(31).state is S.STARTING
    assert all(stage.inside.get(each.key) is not None for each in stage.spec.inputs)


def test_inputs_that_are_in_the_store_are_not_sent_again_after_the_caches_were_lost(stage: Stage) -> None:
    stage.to(S.STAGING_OUT)
    stage.tick()
    for table in ("files", "objects"):
        stage.world.ledger.connection.change(f"DELETE FROM {table}")
    stage.submit()
    run = stage.tick()
    assert (run.state, run.bytes_in, run.bytes_to_send) == (S.STARTING, 6, 0)
    assert stage.world.ledger.objects(run.store, run.store_folder)
    stage.gate.shut = True
    stage.world.ledger.connection.change("DELETE FROM objects")
    assert stage_in.plan(stage.world, run, Script().inputs(stage.world.job(run))).bytes_to_send == 6


def test_an_input_that_is_damaged_in_the_store_is_sent_again_after_the_caches_were_lost(stage: Stage) -> None:
    stage.to(S.STARTING)
    key = next(each.key for each in stage.spec.inputs)
    stage.world.ledger.connection.change("DELETE FROM objects")
    stage.inside.put(key, b"inpux\n")  # the right size, the wrong bytes
    stage.write("exit.json", Exit(stage.now, "inputs", None, "an input is damaged", 0.0, {}))
    assert stage.tick().reason == "inputs_lost"
    assert stage.tick(31).state is S.STARTING
    assert stage.inside.get(key) == b"input\n"


def drop(stage: Stage) -> None:
    """Delete the database with its journals."""
    for tail in ("", "-wal", "-shm"):
        Path(f"{stage.root}/cryoburst.db{tail}").unlink(missing_ok=True)


def test_database_deleted_at_every_state(stage: Stage) -> None:
    stage.submit()
    steps: list[Callable[[], object]] = [stage.tick, stage.agent_starts, stage.tick, stage.agent_ends, stage.tick]
    for act in steps:
        drop(stage)
        act()
        drop(stage)
        stage.tick()
    assert stage.run.state is S.SUCCEEDED
    stage.tick(times=9)
    assert list(stage.provider.calls.values()) == [1]
    assert not stage.provider.known


def test_an_ended_run_has_its_times_and_outputs_after_the_database_was_deleted(stage: Stage) -> None:
    stage.to(S.RUNNING)
    stage.now += 7
    stage.write("manifest.json", Manifest([stage.output("out.txt", b"input\n"), stage.output("b.txt", b"bb")], []))
    stage.write("exit.json", Exit(stage.now, "finished", 0, "it ended", 5.0, {"out.log": 0}, stage.now - 5))
    ended = stage.tick(1)
    assert ended.state is S.SUCCEEDED
    drop(stage)
    stage.tick()
    told = ("command_started", "command_seconds", "bytes_out", "files_out")
    assert [getattr(stage.run, name) for name in told] == [getattr(ended, name) for name in told]
    assert (stage.run.bytes_out, stage.run.files_out) == (8, 2)


def test_wish_to_stop_survives_a_deleted_database(stage: Stage) -> None:
    stage.to(S.RUNNING)
    stage.world.ledger.want_stop(stage.run, "me", stage.now)
    stage.tick()
    for tail in ("", "-wal", "-shm"):
        Path(f"{stage.root}/cryoburst.db{tail}").unlink(missing_ok=True)
    stage.provider.die()
    assert stage.tick().state is S.STOPPED
    stage.tick(times=9)
    assert list(stage.provider.calls.values()) == [1]


def test_a_rebuilding_that_found_no_store_is_done_when_there_is_one(stage: Stage) -> None:
    stage.to(S.RUNNING)
    for tail in ("", "-wal", "-shm"):
        Path(f"{stage.root}/cryoburst.db{tail}").unlink(missing_ok=True)
    stage.gate.shut = True
    for _ in range(3):
        stage.now += 10
        stage.reconciler.tick(finish=True)
    assert stage.world.ledger.runs() == []
    assert not stage.world.ledger.complete
    stage.gate.shut = False
    assert stage.tick(10).state is S.RUNNING


def test_recover_twice_at_once_adds_each_run_once(stage: Stage) -> None:
    for number in range(5):
        folder = f"Script/job{number:03d}/"
        (stage.project / folder).mkdir(exist_ok=True)
        (stage.project / folder / "job.sh").write_text("true\n")
        stage.submit(folder)
    for tail in ("", "-wal", "-shm"):
        Path(f"{stage.root}/cryoburst.db{tail}").unlink(missing_ok=True)
    failed: list[CryoburstError] = []

    def again() -> None:
        try:
            stage.new_world().ledger.connection.close()
            stage.recover()
        except CryoburstError as error:
            failed.append(error)

    stage.world.ledger.reopened()
    threads = [threading.Thread(target=again) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed
    assert sorted(run.number for run in stage.world.ledger.runs()) == [1, 2, 3, 4, 5]


def test_output_that_was_damaged_in_the_store_is_never_taken_for_good(stage: Stage) -> None:
    stage.to(S.STAGING_OUT)
    stage.inside.put(stage.output("out.txt", b"input\n").key, b"damage")
    for delay in (0, 31, 301, 1201, 1201):
        run = stage.tick(delay)
    assert (run.state, run.reason) == (S.FAILED, "output_corrupt")
    assert not (stage.folder / "out.txt").exists()
    assert "out.txt" in (stage.folder / "FAILED").read_text()


def test_what_is_home_is_counted_while_the_job_runs_and_a_new_version_once(stage: Stage) -> None:
    stage.to(S.RUNNING)
    counted: list[tuple[int, int]] = []
    began = stage.now
    versions = [("a.txt", b"one"), ("b.txt", b"bb"), ("a.txt", b"three"), ("a.txt", b"three")]
    for number, (name, data) in enumerate(versions, 1):
        whole = replace(stage.output(name, data), mtime_ns=int((began + number) * 1e9))
        stage.write(f"journal/{number:06d}.json", Batch([whole]))
        stage.write("heartbeat.json", Heartbeat(stage.now, "command", {"out.log": 0}, number, began))
        run = stage.tick(5)
        counted.append((run.bytes_out, run.files_out))
    assert counted == [(3, 1), (5, 2), (7, 2), (7, 2)]
    stage.provider.die()
    run = stage.tick(5)
    assert (run.attempt, run.bytes_out, run.files_out) == (2, 7, 2)
    run = stage.tick(30)
    assert (run.state, run.bytes_out, run.files_out) == (S.STARTING, 0, 0)  # it begins anew


def test_sync_and_fetch_again_change_nothing(stage: Stage) -> None:
    stage.to(S.STAGING_OUT)
    run = stage.tick()
    before = {p: p.stat().st_mtime_ns for p in stage.folder.iterdir() if p.suffix != ".log"}
    data = stage.inside.get(run.prefix + "exit.json")
    assert data is not None
    stage_out.fetch(stage.world, run, stage.spec, documents.load(Exit, data, ""))
    assert {p: p.stat().st_mtime_ns for p in stage.folder.iterdir() if p.suffix != ".log"} == before


def test_exit_record_that_can_not_be_understood_does_not_hold_a_run_for_ever(stage: Stage) -> None:
    stage.to(S.RUNNING)
    stage.inside.put(stage.run.prefix + "exit.json", b'{"format": 99}')
    assert stage.tick().state is S.RUNNING
    stage.provider.die()
    run = stage.tick()
    assert (run.state, run.reason, run.attempt) == (S.WAITING, "machine_died", 2)


def test_a_store_that_hangs_does_not_hold_submit(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cryoburst.services.submit.STORE_WAIT", 0.01)
    stage.gate.hung = threading.Event()
    run = stage.submit()
    assert run.number == 1
    assert "slow" in stage.world.ledger.events(run.uid)[-1].text
    stage.gate.hung.set()
    assert stage.tick().state is S.STARTING
    assert stage.inside.get(f"runs/me/{run.uid}.json") is not None
