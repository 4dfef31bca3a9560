"""All the ways in which an attempt ends other than by its script, and who finishes it then."""

import os
import re
import signal
import time
from pathlib import Path

import pytest

from cryoburst.model.reasons import sentence

from .stage import JOB, PREFIX, Stage, checksum, wait_for

WAIT = "while [ ! -e go ]; do sleep 0.02; done"


def program(folder: Path, name: str, says: str) -> dict[str, str]:
    """An environment in which a program of this name says this."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\necho '{says}'\n")
    (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def test_another_version_is_refused(stage: Stage) -> None:
    exit_ = stage.run(
        f"echo 1 > {JOB}x",
        env=program(stage.folder / "bin", "relion_refine", "RELION version: 4.0.1-commit-ab12"),
        software={"relion": "3.1"},
    )
    assert exit_.ended == "refused"
    assert exit_.sentence == "the job needs relion 3.1, and this machine has relion 4.0.1"
    assert exit_.code is None
    assert stage.outputs() == {}


def test_missing_software_is_refused(stage: Stage) -> None:
    exit_ = stage.run("true", software={"no_such_program": ""})
    assert (exit_.ended, exit_.code) == ("refused", None)
    assert exit_.sentence == "the job needs no_such_program, which is not on this machine's PATH"


def test_a_patch_of_the_series_is_good(stage: Stage) -> None:
    env = program(stage.folder / "bin", "relion_refine", "RELION version: 3.1.3 ")
    assert stage.run("true", env=env, software={"relion": "3.1"}).ended == "finished"


def test_a_corrupt_input_ends_the_attempt(stage: Stage) -> None:
    stage.input("a.star", b"good", kept=b"evil")
    exit_ = stage.run("true")
    assert exit_.ended == "inputs"
    assert "inputs could not be fetched" in exit_.sentence
    assert not (stage.project / "a.star").exists()


@pytest.mark.parametrize("path", ["../escape", "/tmp/escape", "a/../../../escape", ""])
def test_an_input_may_not_leave_the_project(stage: Stage, path: str) -> None:
    stage.input(path, b"1")
    assert stage.run("true").ended == "inputs"
    assert not list(stage.folder.rglob("escape"))


def test_a_full_disk_while_the_inputs_come(stage: Stage) -> None:
    stage.input("a.star", b"1")
    stage.fault.write_text("disk_full")
    exit_ = stage.run("true")
    assert exit_.ended == "disk_full"
    assert exit_.sentence == "the machine's disk is full: 0 of 1 bytes of the inputs fitted on it"


def test_the_users_stop_lets_the_program_end_by_itself(stage: Stage) -> None:
    stage.spec(
        f"echo 1 > {JOB}before; while [ ! -e {JOB}RELION_JOB_ABORT_NOW ]; do sleep 0.02; done; echo 2 > {JOB}after",
        abort_file="RELION_JOB_ABORT_NOW",
    )
    agent = stage.start(stop_wait=20)
    wait_for(lambda: stage.outputs())
    stage.stop()
    assert stage.end(agent)[0] == 0
    assert (stage.exit.ended, stage.exit.sentence) == ("aborted", "the job was stopped")
    assert set(stage.told()) == {"before", "after"}


@pytest.mark.slow
def test_a_program_that_does_not_listen_is_ended(stage: Stage) -> None:
    stage.spec(
        f"trap '' TERM; exec 3>{JOB}half; echo 1 >&3; touch {JOB}x; while :; do sleep 0.1; done", abort_file="STOP"
    )
    agent = stage.start()
    wait_for(lambda: "x" in stage.outputs())
    stage.stop()
    assert stage.end(agent)[0] == 0
    assert stage.exit.ended == "aborted"
    assert set(stage.told()) == {"x"}
    assert stage.jobs() == []


@pytest.mark.slow
def test_a_stop_while_the_inputs_come(stage: Stage) -> None:
    for number in range(8):
        stage.input(f"{JOB}{number}", b"%d" % number)
    stage.spec(f"echo 1 > {JOB}x")
    stage.fault.write_text("slow")
    agent = stage.start()
    wait_for(lambda: stage.job.exists() and list(stage.job.iterdir()))
    stage.stop()
    assert stage.end(agent)[0] == 0
    assert (stage.exit.ended, stage.exit.code) == ("aborted", None)
    assert stage.exit.sentence == "the job was stopped before its command began"
    assert stage.outputs() == {}  # what was staged into the job folder is no output
    assert (stage.manifest.outputs, stage.manifest.outside) == ([], [])


def test_the_deadline(stage: Stage) -> None:
    deadline = stage.spec(f"echo 1 > {JOB}x; sleep 600").deadline
    agent = stage.start()
    wait_for(lambda: "x" in stage.outputs())
    stage.skip_to(deadline)
    assert stage.end(agent) == (0, "")
    exit_ = stage.exit
    assert (exit_.ended, exit_.code) == ("deadline", 143)
    assert exit_.sentence == "the job was ended at its deadline"
    assert set(stage.told()) == {"x"}
    assert stage.jobs() == []


def test_a_script_that_is_killed_says_by_what(stage: Stage) -> None:
    exit_ = stage.run("kill -SEGV $$")
    assert (exit_.ended, exit_.code, exit_.sentence) == ("finished", 139, "the script was ended by SIGSEGV")


@pytest.mark.slow
def test_a_store_that_goes_away_and_comes_back_loses_nothing(stage: Stage) -> None:
    stage.spec(f"echo one; {WAIT}; echo 1 > {JOB}x; sleep 0.5; echo two; echo 2 > {JOB}y")
    agent = stage.start()
    wait_for(lambda: stage.heartbeat and stage.heartbeat.log.get("run.out"))
    stage.store.root.rename(stage.folder / "elsewhere")
    (stage.project / "go").touch()
    wait_for(lambda: not stage.jobs())
    time.sleep(0.3)
    assert agent.poll() is None
    assert not stage.store.root.exists()
    (stage.folder / "elsewhere").rename(stage.store.root)
    assert stage.end(agent)[0] == 0
    assert stage.exit.ended == "finished"
    assert stage.told() == {"x": checksum(b"1\n"), "y": checksum(b"2\n")}
    assert stage.log() == b"one\ntwo\n"


def test_a_full_store_neither_kills_the_job_nor_loses_an_output(stage: Stage) -> None:
    stage.spec(f"{WAIT}; echo 1 > {JOB}x; sleep 0.4; echo said; touch {stage.folder}/done")
    agent = stage.start()
    wait_for(lambda: stage.heartbeat and stage.heartbeat.command_started)
    stage.fault.write_text("full")
    (stage.project / "go").touch()
    wait_for((stage.folder / "done").exists)
    time.sleep(0.2)
    assert stage.outputs() == {}
    stage.fault.unlink()
    assert stage.end(agent)[0] == 0
    assert stage.exit.code == 0
    assert stage.told() == {"x": checksum(b"1\n")}
    assert stage.log() == b"said\n"


@pytest.mark.slow
def test_a_store_that_stays_away_is_given_up_after_the_grace(stage: Stage) -> None:
    deadline = stage.spec(f"{WAIT}; echo 1 > {JOB}x; {WAIT.replace('go', 'never')}", grace=0.3).deadline
    agent = stage.start()
    wait_for(lambda: stage.heartbeat and stage.heartbeat.command_started)
    stage.fault.write_text("unavailable")
    (stage.project / "go").touch()
    wait_for((stage.job / "x").exists)
    stage.skip_to(deadline)
    code, printed = stage.end(agent)
    assert code == 1
    assert printed == "agent: the store is away\n"
    assert stage.jobs() == []
    stage.fault.unlink()
    assert stage.end(stage.start("guard"))[0] == 0
    assert stage.exit.sentence.startswith("the agent ended early: the store is away")
    assert set(stage.told()) == {"x"}


@pytest.mark.parametrize("broken", ["agent", "fetch"])
def test_a_bug_becomes_a_sentence(stage: Stage, broken: str) -> None:
    stage.input("a", b"1")
    stage.spec("true")
    if broken == "fetch":
        stage.fault.write_text("bug")
    assert stage.end(stage.start(broken=broken)) == (1, "agent: ZeroDivisionError: a bug\\nof two lines\n")
    assert stage.end(stage.start("guard")) == (0, "")
    assert stage.exit.ended == "killed"
    assert stage.exit.sentence == "the agent ended early: ZeroDivisionError: a bug\\nof two lines"


@pytest.mark.slow
def test_an_agent_killed_while_the_job_runs(stage: Stage) -> None:
    stage.spec(
        f"echo one; echo 1 > {JOB}whole; (exec 3>{JOB}half; echo 1 >&3; sleep 60) & exec 4>{JOB}halved; echo 1 >&4\n"
        f"setsid sleep 60 & {WAIT}; echo two; echo 2 > {JOB}late; sleep 60"
    )
    agent = stage.start()
    wait_for(lambda: "whole" in stage.outputs() and stage.log())
    time.sleep(0.3)
    agent.send_signal(signal.SIGSTOP)  # what comes now, it does not send any more
    (stage.project / "go").touch()
    wait_for((stage.job / "late").exists)
    stage.kill(agent)
    assert not stage.has("exit.json")
    assert stage.end(stage.start("guard")) == (0, "")
    assert stage.jobs() == []
    assert stage.exit.ended == "killed"
    assert stage.exit.code is None
    assert "killed on the machine" in stage.exit.sentence
    assert sentence("agent_killed", stage.exit.sentence, ended=False).count("killed") == 1
    assert stage.log() == b"one\ntwo\n"
    assert set(stage.outputs()) == {"whole"}
    assert stage.told() == {"whole": checksum(b"1\n")}
    assert [path for path in stage.manifest.outside if "half" in path]


def test_an_agent_killed_while_the_inputs_come(stage: Stage) -> None:
    stage.input(f"{JOB}staged", b"1")
    stage.spec(f"echo 1 > {JOB}x")
    stage.fault.write_text("")
    agent = stage.start()
    wait_for(lambda: stage.started)
    stage.kill(agent)
    assert stage.end(stage.start("guard")) == (0, "")
    assert stage.exit.ended in ("killed", "finished")  # it may have been as quick as we were
    assert "staged" not in stage.told()
    assert stage.jobs() == []


def test_a_guard_without_any_agent(stage: Stage) -> None:
    stage.spec(f"echo 1 > {JOB}x")
    assert stage.end(stage.start("guard")) == (0, "")
    assert stage.exit.ended == "killed"


def test_a_guard_after_the_exit_changes_nothing(stage: Stage) -> None:
    stage.run(f"echo 1 > {JOB}x")
    before = [(each, stage.store.get(each.key)) for each in stage.store.list(PREFIX)]
    assert stage.end(stage.start("guard")) == (0, "")
    assert [(each, stage.store.get(each.key)) for each in stage.store.list(PREFIX)] == before


@pytest.mark.slow
def test_a_second_start_never_runs_the_command_again(stage: Stage) -> None:
    ran = stage.folder / "ran"
    stage.spec(f"echo once >> {ran}; echo 1 > {JOB}x; sleep 60")
    agent = stage.start()
    wait_for(lambda: stage.outputs())
    stage.kill(agent)
    assert stage.end(stage.start()) == (0, "")
    assert ran.read_text() == "once\n"
    assert stage.exit.ended == "killed"
    assert set(stage.told()) == {"x"}


@pytest.mark.slow
def test_an_agent_killed_at_any_moment_is_finished_by_its_guard(stage: Stage) -> None:
    """No moment leaves a job running, a partial output, or an attempt without exit.json."""
    stage.spec(f"exec 3>{JOB}a; echo 1 >&3; sleep 0.1; echo 2 >&3; exec 3>&-; sleep 0.2; echo 3 > {JOB}b; sleep 0.1")
    for delay in (0.15, 0.25, 0.4, 0.6):
        for each in list(stage.store.list(PREFIX)):
            if not each.key.endswith("spec.json"):
                stage.store.delete(each.key)
        stage.root = stage.folder / f"machine{delay}"
        agent = stage.start()
        time.sleep(delay)
        stage.kill(agent)
        assert stage.end(stage.start("guard"))[0] == 0
        assert stage.jobs() == []
        assert stage.exit.ended in ("killed", "finished")
        assert stage.outputs().get("a", b"1\n2\n") == b"1\n2\n"
        assert stage.told() == {path: checksum(data) for path, data in stage.outputs().items()}


def test_the_script_dies_with_the_agent(stage: Stage) -> None:
    stage.spec(f"echo $$ > {JOB}pid; {WAIT}")
    agent = stage.start()
    wait_for(lambda: stage.outputs().get("pid"))
    pid = int((stage.job / "pid").read_text())
    stage.kill(agent)

    def gone() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
        except (FileNotFoundError, ProcessLookupError):
            return True

    wait_for(gone)
    assert os.getpid() != pid


@pytest.mark.slow
def test_a_program_that_the_kernel_killed_may_have_run_out_of_memory(stage: Stage) -> None:
    hungry = "import time; held = bytearray(b'x') * 200_000_000; open('held', 'w'); time.sleep(900)"
    stage.spec(f'python3 -c "{hungry}" & until [ -e held ]; do sleep 0.1; done; sleep 2; kill -9 $!; wait $!')
    assert stage.end(stage.start()) == (0, "")
    assert (stage.exit.ended, stage.exit.code) == ("finished", 137)
    said = r"ended by SIGKILL; memory may have run out \(the job took 2\d\d MB at its peak and the machine has \d+"
    assert re.search(said, stage.exit.sentence), stage.exit.sentence
    assert stage.exit.sentence.endswith("a machine with more of it may do")
