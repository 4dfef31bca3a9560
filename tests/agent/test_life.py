"""A whole attempt, from spec.json to exit.json, with small scripts as jobs."""

import sys
import time

import pytest
from tests.wrong_clock import WRONG

from cryoburst.model.documents import Batch, load

from .stage import JOB, PREFIX, Stage, checksum, wait_for


def test_a_job_from_spec_to_exit(stage: Stage) -> None:
    stage.input("Import/job001/movies.star", b"data_")
    stage.input("Import/job001/empty", b"")
    exit_ = stage.run(
        f"cat Import/job001/movies.star > {JOB}copy.star; mkdir -p {JOB}a/b; echo 1 > '{JOB}a/b/one two.mrc'\n"
        f"echo said; echo cried >&2; touch {JOB}RELION_JOB_EXIT_SUCCESS; exit 3"
    )
    assert (exit_.ended, exit_.code, exit_.sentence) == ("finished", 3, "the script ended with exit code 3")
    assert exit_.markers == ["RELION_JOB_EXIT_SUCCESS"]
    assert exit_.log == {"run.out": 5, "run.err": 6}
    assert stage.log("run.out") == b"said\n"
    assert stage.log("run.err") == b"cried\n"
    expected = {"RELION_JOB_EXIT_SUCCESS": b"", "a/b/one two.mrc": b"1\n", "copy.star": b"data_"}
    assert stage.outputs() == expected
    assert stage.told() == {path: checksum(data) for path, data in expected.items()}
    assert stage.manifest.outside == []
    beat = stage.heartbeat
    assert beat is not None
    assert beat.log == exit_.log
    assert stage.has(f"journal/{beat.batches:06d}.json")
    assert not stage.has(f"journal/{beat.batches + 1:06d}.json")
    assert stage.started is not None
    assert stage.started.token == stage.token


def test_inputs_keep_their_time_and_listed_ones_are_empty_space(stage: Stage) -> None:
    from cryoburst.model.documents import SpecInput

    stage.input("a.star", b"123")
    stage.inputs.append(SpecInput("Movies/one.tiff", 10**11, "", "", 0, 1_400_000_000_000_000_000))
    exit_ = stage.run("stat -c '%n %s %b %Y' a.star Movies/one.tiff")
    assert exit_.code == 0
    assert stage.log() == b"a.star 3 8 1500000000\nMovies/one.tiff 100000000000 0 1400000000\n"
    assert stage.manifest.outputs == []
    assert stage.manifest.outside == []


def test_no_secret_of_the_machine_reaches_the_job(stage: Stage) -> None:
    secrets = {"AWS_SECRET_ACCESS_KEY": "geheim", "LC_ALL": "C"}
    stage.run("env; pwd; cat", env=secrets, environment={"OMP_NUM_THREADS": "3"})
    said = stage.log().decode().splitlines()
    assert "geheim" not in stage.log().decode()
    assert "OMP_NUM_THREADS=3" in said
    assert f"HOME={stage.root}/home" in said
    assert f"TMPDIR={stage.root}/tmp" in said
    assert said[-1] == str(stage.project)


def test_the_job_is_seen_while_it_runs(stage: Stage) -> None:
    stage.spec(f"echo one; echo 1 > {JOB}it001.star; while [ ! -e go ]; do sleep 0.02; done; echo two")
    agent = stage.start()
    wait_for(lambda: stage.outputs() == {"it001.star": b"1\n"} and stage.log() == b"one\n")
    wait_for(lambda: stage.heartbeat and stage.heartbeat.batches == 1)
    first = stage.heartbeat
    assert first is not None
    assert first.step == "command"
    assert first.command_started is not None
    wait_for(lambda: stage.heartbeat and stage.heartbeat.time > first.time)
    assert not stage.has("exit.json")
    (stage.project / "go").touch()
    assert stage.end(agent)[0] == 0
    assert stage.log() == b"one\ntwo\n"
    assert stage.exit.command_seconds > 0


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["", "inotify"])
def test_a_file_is_never_sent_half_written(stage: Stage, broken: str) -> None:
    wait = "while [ ! -e go ]; do sleep 0.02; done"
    stage.spec(f"exec 3>{JOB}slow; for i in 1 2 3 4 5 6 7 8; do echo $i >&3; sleep 0.1; done; exec 3>&-; {wait}")
    agent = stage.start(broken=broken)
    seen: set[bytes | None] = set()
    while_running = False
    while agent.poll() is None:
        content = stage.outputs().get("slow")
        seen.add(content)
        while_running |= content is not None and not stage.has("exit.json")
        if while_running:
            (stage.project / "go").touch()
        time.sleep(0.01)
    assert stage.end(agent)[0] == 0
    assert seen == {None, b"1\n2\n3\n4\n5\n6\n7\n8\n"}
    assert while_running


@pytest.mark.slow
def test_two_writers_of_one_file(stage: Stage) -> None:
    stage.spec(
        f"(exec 3>>{JOB}both; echo a >&3; touch begun; sleep 0.8; echo c >&3) &\n"
        f"until [ -e begun ]; do sleep 0.02; done; echo b >> {JOB}both; wait; sleep 0.5"
    )
    agent = stage.start()
    seen: set[bytes | None] = set()
    while agent.poll() is None:
        seen.add(stage.outputs().get("both"))
        time.sleep(0.01)
    stage.end(agent)
    seen.add(stage.outputs().get("both"))
    assert seen == {None, b"a\nb\nc\n"}


def test_only_the_final_name_of_a_renamed_file_is_sent(stage: Stage) -> None:
    stage.run(
        f"cd {JOB}; for i in 1 2 3; do echo $i > it$i.star.tmp; sleep 0.25; mv it$i.star.tmp it$i.star; done\n"
        "echo 4 > ~~quick; mv ~~quick it4.star; mkdir old; echo 5 > old/it5.star; mv old new; sleep 0.3"
    )
    expected = ["it1.star", "it2.star", "it3.star", "it4.star", "new/it5.star"]
    assert sorted(stage.told()) == expected
    assert set(stage.outputs()) == set(expected)


@pytest.mark.slow
def test_a_file_that_changes_is_sent_again(stage: Stage) -> None:
    wait = "while [ ! -e %s ]; do sleep 0.02; done"
    stage.spec(f"echo 1 > {JOB}x; {wait % 'go'}; echo 22 > {JOB}x; {wait % 'on'}; echo 333 > {JOB}x")
    agent = stage.start()
    wait_for(lambda: stage.outputs().get("x") == b"1\n")
    (stage.project / "go").touch()
    wait_for(lambda: stage.outputs().get("x") == b"22\n")
    (stage.project / "on").touch()
    assert stage.end(agent)[0] == 0
    assert stage.outputs() == {"x": b"333\n"}
    assert stage.told() == {"x": checksum(b"333\n")}


def test_a_file_that_becomes_a_folder_and_back(stage: Stage) -> None:
    stage.run(
        f"cd {JOB}; echo 1 > x; mkdir y; echo 2 > y/z; sleep 0.5; rm -r x y\n"
        "mkdir x; echo 3 > x/z; echo 4 > y; sleep 0.4"
    )
    assert stage.outputs() == {"x/z": b"3\n", "y": b"4\n"}
    assert sorted(stage.told()) == ["x/z", "y"]


def test_links(stage: Stage) -> None:
    stage.input("MotionCorr/job002/m.mrc", b"micrograph")
    stage.run(
        f"cd {JOB}; ln -s $PWD/../../MotionCorr/job002/m.mrc absolute.mrc\n"
        "ln -s ../../MotionCorr/job002/m.mrc relative; ln -s ../../MotionCorr folder\n"
        "ln -s /etc/passwd password; ln -s nowhere dangling\n"
        "echo scratch > $TMPDIR/s; ln -s $TMPDIR/s followed; ln ../../MotionCorr/job002/m.mrc hard; sleep 0.4"
    )
    assert stage.told() == {
        "absolute.mrc": "-> MotionCorr/job002/m.mrc",
        "relative": "-> MotionCorr/job002/m.mrc",
        "folder": "-> MotionCorr",
        "dangling": f"-> {JOB}nowhere",
        "followed": checksum(b"scratch\n"),
        "hard": checksum(b"micrograph"),
    }
    assert stage.manifest.outside == [f"{JOB}password -> /etc/passwd"]
    assert set(stage.outputs()) == {"followed", "hard"}


def test_what_the_job_writes_elsewhere_is_told_and_stays(stage: Stage) -> None:
    stage.input("Import/a.star", b"1")
    stage.input("Import/b.star", b"1")
    stage.input("Import/c.star", b"1")
    stage.run("echo 2 > Import/a.star; touch Import/b.star; echo 3 > new.star; echo > ~/.rc; echo > $TMPDIR/x")
    assert stage.manifest.outside == ["Import/a.star", "Import/b.star", "new.star", "~/.rc"]
    assert stage.outputs() == {}


def test_staged_files_of_the_job_folder_are_outputs_only_when_changed(stage: Stage) -> None:
    for name in ("same", "changed", "replaced", "run.out"):
        stage.input(JOB + name, b"11")
    stage.run(f"cd {JOB}; echo 2 > changed; cp -p replaced t; mv t replaced; echo said")
    assert set(stage.outputs()) == {"changed", "replaced"}
    assert stage.log() == b"said\n"


def test_what_the_script_leaves_running_is_ended(stage: Stage) -> None:
    exit_ = stage.run(
        f"sleep 77 & (setsid bash -c 'trap \"\" TERM; while :; do sleep 0.1; done' &) ; env -i setsid sleep 78 & \n"
        f"(exec 3>{JOB}half; echo 1 >&3; sleep 79) & echo 1 > {JOB}whole; until [ -s {JOB}half ]; do sleep 0.02; done"
    )
    assert exit_.ended == "finished"
    assert exit_.code == 0
    assert exit_.sentence == f"the script ended; one file ({JOB}half) may be half-written and stayed behind"
    assert stage.jobs() == []
    assert set(stage.outputs()) == {"whole"}
    assert stage.manifest.outside == [f"{JOB}half (may be half-written)"]


def test_another_agents_attempt_is_not_touched(stage: Stage) -> None:
    stage.spec(f"echo 1 > {JOB}x")
    assert stage.end(stage.start())[0] == 0
    before = {each.key: (stage.store.get(each.key), each.modified) for each in stage.store.list(PREFIX)}
    for verb in ("run", "guard"):
        assert stage.end(stage.start(verb, token="another")) == (0, "")
    assert {each.key: (stage.store.get(each.key), each.modified) for each in stage.store.list(PREFIX)} == before


def test_names_that_are_not_utf8(stage: Stage) -> None:
    stage.run(f"cd {JOB}; echo 1 > $'caf\\xe9'; echo 2 > $'new\\nline'; sleep 0.3")
    assert stage.told() == {"caf\udce9": checksum(b"1\n"), "new\nline": checksum(b"2\n")}


def test_many_small_files(stage: Stage) -> None:
    stage.run(f"cd {JOB}; mkdir d; for i in $(seq 400); do echo $i > d/$i; done")
    assert len(stage.outputs()) == 400
    assert len(stage.told()) == 400


@pytest.mark.slow
def test_outputs_of_a_job_that_has_run_for_long_are_told_together(stage: Stage) -> None:
    """Long is what the pace says: here outputs wait for as long as the command has run, at most for a second."""
    stage.spec(f"for n in $(seq 30); do echo $n > {JOB}$n.star; sleep 0.1; done")
    assert stage.end(stage.start(slower=1.0, together=1.0, scan=1.0)) == (0, "")
    batches = [
        load(Batch, stage.store.get(each.key) or b"", each.key) for each in stage.store.list(f"{PREFIX}journal/")
    ]
    assert len(batches) < stage.exit.command_seconds + 8  # one a second, but for the first
    assert stage.outputs() == {f"{n}.star": f"{n}\n".encode() for n in range(1, 31)}


def test_the_peak_of_the_memory_is_told(stage: Stage) -> None:
    """Also of a process that ended before the script did, and not twice that of one that forked."""
    hold = "x = bytearray(b'x') * 60_000_000; import os, time; child = os.fork(); time.sleep(1.5)"
    exit_ = stage.run(f'{sys.executable} -c "{hold}"\nsleep 0.1\n')
    assert 60e6 < exit_.peak_memory_bytes < 85e6


@pytest.mark.slow
@pytest.mark.parametrize("ahead", WRONG)
def test_a_clock_that_is_wrong_by_a_day_ends_no_job_and_all_is_told_in_the_right_time(
    stage: Stage, ahead: float
) -> None:
    stage.input(f"{JOB}staged", b"1")
    began = time.time()
    stage.spec(f"cd {JOB}; date +%s; echo 1 > x; touch -d @$(date +%s) x; sleep 0.5; cp -p x y", deadline=began + 300)
    assert stage.end(stage.start(ahead=ahead)) == (0, "")
    assert abs(int(stage.log()) - began - ahead) < 300  # what the job itself sees
    assert (stage.exit.ended, stage.exit.code) == ("finished", 0)
    assert set(stage.outputs()) == {"x", "y"}
    beat = stage.heartbeat
    assert beat is not None
    told = [beat.time, beat.command_started, stage.exit.time, stage.exit.command_started]
    told += [output.mtime_ns / 1e9 for output in stage.manifest.outputs]
    assert all(each is not None and began - 2 < each < time.time() + 2 for each in told), told


@pytest.mark.slow
@pytest.mark.parametrize("ahead", WRONG)
def test_a_clock_that_is_wrong_by_a_day_does_not_make_a_job_run_for_a_day(stage: Stage, ahead: float) -> None:
    stage.spec(f"echo 1 > {JOB}x; sleep 50", deadline=time.time() + 3)
    assert stage.end(stage.start(ahead=ahead)) == (0, "")
    assert stage.exit.ended == "deadline"


@pytest.mark.slow
@pytest.mark.parametrize("ahead", WRONG)
def test_the_guard_of_a_machine_whose_clock_is_wrong_sends_what_is_whole(stage: Stage, ahead: float) -> None:
    stage.spec(f"echo 1 > {JOB}x; sleep 600")
    agent = stage.start(ahead=ahead)
    wait_for(lambda: stage.has("journal/000001.json"))
    batches = len(list(stage.store.list(f"{PREFIX}journal/")))
    stage.kill(agent)
    stage.fault.write_text("unavailable")
    guard = stage.start("guard", ahead=ahead)
    time.sleep(1.0)
    stage.fault.unlink()
    assert stage.end(guard) == (0, "")
    assert stage.exit.ended == "killed"
    assert set(stage.outputs()) == {"x"}
    assert len(list(stage.store.list(f"{PREFIX}journal/"))) == batches  # nothing went twice
