"""Machines on this computer: one per token, gone when they should be, and finished by their guards."""

import ctypes
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.wrong_clock import WRONG, environment

from cryoburst.model.errors import BadInput, ProviderUnavailable
from cryoburst.model.plugins import MachineRequest
from cryoburst.providers.local import provider
from cryoburst.providers.local.machine import Machine, id_of
from cryoburst.providers.local.provider import LocalProvider

from .conftest import JOB, Yard, wait_for


def kill(yard: Yard, *words: str) -> None:
    """kill -9 the machine's processes whose command line has one of these words."""
    for pid, line in yard.processes().items():
        if any(word in line for word in words):
            os.kill(pid, signal.SIGKILL)


def dead(yard: Yard, name: str = "1") -> bool:
    return not any(machine.alive for machine in yard.seen()) and not yard.processes(name)


def running(yard: Yard, script: str, power_off: float) -> str:
    """Order a machine whose command runs before its power goes off; its name. On a busy computer it has more time."""
    for turn in range(1, 6):
        yard.provider.create(yard.order(script, name=str(turn), power_off=power_off * turn**2))
        wait_for(lambda name=str(turn): yard.running(name) or dead(yard, name))
        if not dead(yard, str(turn)):
            return str(turn)
    raise AssertionError("no command ever ran")


def test_a_machine_from_create_to_power_off(yard: Yard) -> None:
    request = yard.order(f"echo 1 > {JOB}x; sleep 0.2")
    machine = yard.provider.create(request)
    assert machine.alive
    assert (machine.token, machine.owner, machine.run, machine.attempt) == (request.token, "me", "u1", 1)
    assert [seen.alive for seen in yard.seen()] == [True]
    wait_for(lambda: yard.has("exit.json"))
    assert yard.exit().ended == "finished"
    assert yard.outputs() == {"x"}
    wait_for(lambda: dead(yard))
    assert [seen.id for seen in yard.seen()] == [machine.id]  # it is known until it is deleted
    assert yard.provider.machines("somebody else") == []
    yard.provider.delete(machine.id)
    assert yard.seen() == []
    yard.provider.delete(machine.id)


def test_two_creates_make_one_machine_that_boots_once(yard: Yard) -> None:
    request = yard.order(f"echo once >> {yard.folder}/ran")
    first = yard.provider.create(request)
    assert yard.provider.create(replace(request, power_off_at=1.0)).id == first.id
    wait_for(lambda: yard.has("exit.json"))
    wait_for(lambda: dead(yard))
    again = yard.provider.create(request)
    assert (again.id, again.alive, again.created) == (first.id, False, first.created)
    assert len(yard.seen()) == 1
    assert (yard.folder / "ran").read_text() == "once\n"


def create(folder: Path, request: MachineRequest) -> None:
    LocalProvider(folder).create(request)


def test_creates_of_several_processes_at_once_make_one_machine(yard: Yard) -> None:
    request = yard.order(f"echo once >> {yard.folder}/ran; sleep 0.3")
    context = multiprocessing.get_context("fork")
    callers = [context.Process(target=create, args=(yard.folder / "machines", request)) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert [caller.exitcode for caller in callers] == [0] * 4
    wait_for(lambda: yard.has("exit.json"))
    wait_for(lambda: dead(yard))
    assert len(yard.seen()) == 1
    assert (yard.folder / "ran").read_text() == "once\n"


@pytest.mark.parametrize("step", ["take_order", "_start"])
def test_power_cut_in_create_leaves_one_machine(yard: Yard, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    request = yard.order(f"echo once >> {yard.folder}/ran")

    def cut(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Machine if step == "take_order" else provider, step, cut)
    with pytest.raises(KeyboardInterrupt):
        yard.provider.create(request)
    monkeypatch.undo()
    assert [seen.alive for seen in yard.seen()] == ([] if step == "take_order" else [True])  # it may be on its way
    later = LocalProvider(yard.folder / "machines", clock=lambda: time.time() + 60)
    assert [seen.alive for seen in later.machines("me")] == ([] if step == "take_order" else [False])
    assert yard.provider.create(request).alive
    wait_for(lambda: yard.has("exit.json"))
    wait_for(lambda: dead(yard))
    assert (yard.folder / "ran").read_text() == "once\n"


@pytest.mark.slow
def test_a_killed_agent_is_finished_by_the_guard(yard: Yard) -> None:
    yard.provider.create(yard.order(f"echo 1 > {JOB}x; setsid sleep 600 & sleep 600"))
    wait_for(yard.outputs)
    kill(yard, "agent.pyz")
    wait_for(lambda: yard.has("exit.json"))
    assert yard.exit().ended == "killed"
    assert yard.outputs() == {"x"}
    wait_for(lambda: dead(yard))


@pytest.mark.slow
def test_a_killed_supervisor_is_finished_by_the_timer(yard: Yard) -> None:
    yard.provider.create(yard.order(f"echo 1 > {JOB}x; setsid sleep 600 & sleep 600"))
    wait_for(yard.outputs)
    supervisors = [pid for pid, line in yard.processes().items() if "local.supervisor" in line]
    assert len(supervisors) == 2  # the first is the supervisor, its child the timer
    os.kill(min(supervisors), signal.SIGKILL)
    wait_for(lambda: yard.has("exit.json"))
    assert yard.exit().ended == "killed"
    assert yard.outputs() == {"x"}
    wait_for(lambda: dead(yard))


@pytest.mark.slow
def test_a_killed_timer_does_not_stop_the_power_off(yard: Yard) -> None:
    name = running(yard, "setsid sleep 600 & sleep 600", 2.5)
    supervisors = [pid for pid, line in yard.processes(name).items() if "local.supervisor" in line]
    os.kill(max(supervisors), signal.SIGKILL)
    wait_for(lambda: dead(yard, name))


def test_a_machine_without_its_own_processes_is_alive_while_its_job_runs(yard: Yard) -> None:
    machine = yard.provider.create(yard.order("setsid sleep 600 & sleep 600"))
    wait_for(lambda: any("sleep 600" in line for line in yard.processes().values()))
    for pid in [pid for pid, line in yard.processes().items() if "local.supervisor" in line]:
        os.kill(pid, signal.SIGSTOP)
    kill(yard, "local.supervisor", "agent.pyz")
    wait_for(lambda: not Machine(yard.folder / "machines" / machine.id).locked)
    wait_for(lambda: {line.strip() for line in yard.processes().values()} == {"sleep 600"})
    assert [seen.alive for seen in yard.seen()] == [True]
    yard.provider.delete(machine.id)
    assert yard.processes() == {}


@pytest.mark.slow
def test_a_machine_powers_itself_off(yard: Yard) -> None:
    name = running(yard, "trap '' TERM; setsid sleep 600 & sleep 600; sleep 600", 2.5)
    wait_for(lambda: dead(yard, name))
    assert not yard.has("exit.json", name)


@pytest.mark.slow
@pytest.mark.parametrize("ahead", WRONG)
def test_a_machine_whose_clock_is_wrong_powers_itself_off_in_time(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    for name, value in environment(yard.folder / "clock", ahead).items():
        monkeypatch.setenv(name, value)
    name = running(yard, "trap '' TERM; setsid sleep 600 & sleep 600; sleep 600", 4.0)
    wait_for(lambda: dead(yard, name))


def test_delete_ends_every_process_and_the_folder(yard: Yard) -> None:
    machine = yard.provider.create(yard.order("trap '' TERM INT; setsid sleep 600 & (sleep 600 &); sleep 600"))
    wait_for(lambda: sum("sleep 600" in line for line in yard.processes().values()) == 3)
    yard.provider.delete(machine.id)
    assert yard.processes() == {}
    assert not (yard.folder / "machines" / machine.id).exists()
    assert yard.seen() == []


def delete_and_die(folder: Path, machine_id: str, step: int) -> None:
    """Delete a machine, and lose all power before this step of the removal."""
    steps = iter(range(step))

    def dying(call: Callable[..., None]) -> Callable[..., None]:
        def called(*words: object, **options: object) -> None:
            if next(steps, None) is None:
                os._exit(9)
            call(*words, **options)

        return called

    os.unlink, os.rmdir = dying(os.unlink), dying(os.rmdir)  # of this process alone
    LocalProvider(folder).delete(machine_id)


@pytest.mark.slow
def test_a_delete_that_is_killed_anywhere_is_finished_by_the_next(yard: Yard) -> None:
    """Else the folder of a machine that nobody lists would lie there for ever, with all that it had fetched."""
    machine = yard.provider.create(yard.order())
    wait_for(lambda: dead(yard))
    machines, kept = yard.folder / "machines", yard.folder / "kept"
    shutil.copytree(machines, kept, symlinks=True)
    folder = machines / machine.id
    codes: list[int | None] = []
    while 0 not in codes:
        shutil.rmtree(machines)
        shutil.copytree(kept, machines, symlinks=True)
        assert any(path.is_dir() for path in folder.iterdir())
        context = multiprocessing.get_context("fork")
        child = context.Process(target=delete_and_die, args=(machines, machine.id, len(codes)))
        child.start()
        child.join(60)
        codes.append(child.exitcode)
        if [seen.id for seen in yard.seen()] == [machine.id]:
            yard.provider.delete(machine.id)
        assert not folder.exists()
    assert len(codes) > 3
    assert set(codes) == {0, 9}


def test_delete_at_once_after_create_leaves_nothing(yard: Yard) -> None:
    for turn in range(6):
        machine = yard.provider.create(yard.order("sleep 60", name=str(turn)))
        time.sleep(turn * 0.02)
        yard.provider.delete(machine.id)
        assert not (yard.folder / "machines" / machine.id).exists()
    time.sleep(0.3)
    assert not any(yard.processes(str(turn)) for turn in range(6))
    assert yard.seen() == []


def test_a_deleted_machines_token_makes_no_second_one(yard: Yard) -> None:
    request = yard.order("sleep 60")
    machine = yard.provider.create(request)
    yard.provider.delete(machine.id)
    again = yard.provider.create(request)
    assert (again.id, again.alive, again.note) == (machine.id, False, "deleted")
    assert yard.seen() == []
    assert yard.processes() == {}


@pytest.mark.parametrize(
    "machine_id", ["", ".", "..", "../machines", "/", "/etc", "m-", "m-../../../..", ".gone", "m-0\n"]
)
def test_delete_refuses_ids_that_lead_elsewhere(yard: Yard, machine_id: str) -> None:
    with pytest.raises(BadInput):
        yard.provider.delete(machine_id)


def test_ids_come_from_tokens() -> None:
    assert id_of("a") == id_of("a") != id_of("b")


def test_a_store_that_comes_late_is_waited_for(yard: Yard) -> None:
    request = yard.order(f"echo 1 > {JOB}x")
    yard.store.root.rename(yard.folder / "unmounted")
    machine = yard.provider.create(request)
    console = yard.folder / "machines" / machine.id / "console.log"
    wait_for(lambda: "no store here" in console.read_text())
    assert [seen.alive for seen in yard.seen()] == [True]
    (yard.folder / "unmounted").rename(yard.store.root)
    wait_for(lambda: yard.has("exit.json"))


@pytest.mark.slow
def test_a_corrupt_archive_is_never_run(yard: Yard) -> None:
    request = yard.order(f"echo 1 > {JOB}x", power_off=2.0)
    yard.store.put(yard.archive_key, b"print('evil')")
    machine = yard.provider.create(request)
    wait_for(lambda: dead(yard))
    console = (yard.folder / "machines" / machine.id / "console.log").read_text()
    assert "is corrupt" in console
    assert "evil" not in console
    assert not yard.has("started.json")


def test_a_machine_that_can_not_be_read_is_unknown_not_gone(yard: Yard) -> None:
    folder = yard.folder / "machines" / id_of("x")
    folder.mkdir(parents=True)
    (folder / "machine.json").write_text("{}")
    with pytest.raises(ProviderUnavailable):
        yard.provider.machines("me")
    (folder / "machine.json").unlink()
    assert yard.provider.machines("me") == []


def test_a_folder_that_can_not_be_made(tmp_path: Path, yard: Yard) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ProviderUnavailable):
        LocalProvider(tmp_path / "file" / "machines").create(yard.order())


@pytest.mark.slow
def test_machines_are_no_children_of_ours(yard: Yard) -> None:
    # PR_SET_CHILD_SUBREAPER: an agent that another test ran in here took them all
    ctypes.CDLL(None).prctl(36, 0, 0, 0, 0)
    yard.provider.create(yard.order("sleep 0.2"))
    wait_for(lambda: yard.processes())
    for pid in yard.processes():
        assert f"PPid:\t{os.getpid()}\n" not in Path(f"/proc/{pid}/status").read_text()
    wait_for(lambda: yard.has("exit.json"))
    wait_for(lambda: dead(yard))
