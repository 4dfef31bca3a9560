"""Inputs that come while the command runs: whoever opens one waits for all of it, and no job ever sees less."""

import time

import pytest

from cryoburst.model.documents import SpecInput
from cryoburst.transfer import Line, Sender, Sent, Source

from .stage import JOB, Stage, wait_for

SIZE = 300_000  # bytes of each: more than what comes before the command in any case
LARGE = 40 * 2**20  # bytes: more than two pieces


def content(name: str, size: int = SIZE) -> bytes:
    return (name.encode() * (size // len(name) + 1))[:size]


def order(stage: Stage, script: str, **changes: float) -> None:
    """Write a spec whose end comes before any kernel lets openers in (45 s)."""
    stage.spec(script, **({"late": 1, "deadline": time.time() + 25, "grace": 15.0} | changes))


def movies(stage: Stage, names: str) -> None:
    for name in names:
        stage.input(f"Movies/{name}.mrc", content(name))


def sent_in_pieces(stage: Stage, path: str, data: bytes) -> None:
    """Add an input as home sends it."""
    file = stage.folder / "at_home.mrc"
    file.write_bytes(data)
    source = Source(path, str(file), len(data), file.stat().st_mtime_ns)

    def done(sent: list[Sent]) -> None:
        for each in sent:
            stage.inputs.append(SpecInput(path, len(data), each.checksum, *each.place, 1_500_000_000_000_000_000))

    assert Sender(stage.store, "project/inputs/", Line()).send([source], done) == []


@pytest.fixture
def slow(stage: Stage) -> Stage:
    """A store each of whose answers takes a second."""
    stage.fault.write_text("slow")
    return stage


def lines(stage: Stage) -> list[list[str]]:
    return [line.split() for line in stage.log().decode().splitlines()]


@pytest.mark.slow
def test_what_is_opened_comes_first_and_whole(slow: Stage) -> None:
    slow.input("Import/job001/movies.star", b"data_")
    movies(slow, "abcz")
    order(
        slow,
        "cat Import/job001/movies.star; echo; stat -c '%n %s %Y' Movies/z.mrc\n"
        f"cat Movies/z.mrc > {JOB}z; for n in a b c; do cat Movies/$n.mrc > {JOB}$n; done\n"
        "stat -c '%n %.9Z %Y' Movies/*.mrc",
    )
    assert slow.end(slow.start(broken="turns")) == (0, "")
    assert slow.exit.code == 0
    assert slow.outputs() == {name: content(name) for name in "abcz"}
    before, size, *after = lines(slow)
    assert before == ["data_"]  # small ones were there before the command
    assert size == ["Movies/z.mrc", str(SIZE), "1500000000"]  # a promised file looks like the file
    came = {line[0]: float(line[1]) for line in after}
    assert came["Movies/a.mrc"] < came["Movies/z.mrc"] < came["Movies/b.mrc"] < came["Movies/c.mrc"]
    assert {line[2] for line in after} == {"1500000000"}
    assert slow.manifest.outside == []


@pytest.mark.slow
def test_a_file_of_many_pieces_is_seen_by_all_its_openers_at_once(slow: Stage) -> None:
    sent_in_pieces(slow, "Movies/one.mrc", content("one", LARGE))
    job = "date +%s.%N; for n in 1 2 3; do sha256sum Movies/one.mrc & done; wait; date +%s.%N"
    order(slow, job)
    agent = slow.start()
    wait_for(lambda: (beat := slow.heartbeat) is not None and beat.step == "command")
    beat = slow.heartbeat
    assert beat is not None
    assert beat.moved.bytes_in < beat.moved.bytes_in_total == LARGE
    assert slow.end(agent) == (0, "")
    began, *sums, ended = lines(slow)
    expected = slow.inputs[0]
    assert len({words[0] for words in sums}) == 1
    assert len(sums) == 3
    assert float(ended[0]) - float(began[0]) > 0.9
    assert (slow.project / expected.path).read_bytes() == content("one", LARGE)
    beat = slow.heartbeat
    assert beat is not None
    assert beat.moved.bytes_in == LARGE


@pytest.mark.slow
@pytest.mark.parametrize("away", [{"late": 0}, {"late": 10**6}, {"deadline": time.time() + 1e6}])
def test_all_comes_first_where_nothing_may_be_promised(slow: Stage, away: dict[str, float]) -> None:
    """It is not wished for, there is too little, or the kernel would not let an opener wait that long."""
    movies(slow, "ab")
    order(slow, "stat -c %Z Movies/*.mrc; date +%s; cat Movies/a.mrc | wc -c", **away)
    assert slow.end(slow.start()) == (0, "")
    a, b, began, size = [int(line[0]) for line in lines(slow)]
    assert max(a, b) <= began
    assert size == SIZE


@pytest.mark.slow
def test_the_files_of_the_jobs_own_folder_come_first(slow: Stage) -> None:
    slow.input(f"{JOB}run_it001_data.star", content("d"))
    movies(slow, "a")
    order(
        slow, f"stat -c %s {JOB}run_it001_data.star; head -c 1 {JOB}run_it001_data.star; cat Movies/a.mrc > /dev/null"
    )
    assert slow.end(slow.start()) == (0, "")
    assert slow.log() == f"{SIZE}\nd".encode()
    assert slow.outputs() == {}


@pytest.mark.parametrize(("fault", "ended"), [("corrupt", "inputs"), ("missing", "inputs"), ("disk_full", "disk_full")])
def test_a_job_ends_at_once_when_an_input_can_not_come(stage: Stage, fault: str, ended: str) -> None:
    stage.input("Movies/good.mrc", content("g"))
    stage.input("Movies/z.mrc", content("z"), kept=content("y") if fault == "corrupt" else None)
    if fault == "missing":
        stage.store.delete(stage.inputs[-1].key)
    order(stage, f"touch go; cat Movies/z.mrc > {JOB}z; echo seen > {JOB}seen")
    if fault == "disk_full":
        stage.fault.write_text("disk_full")
    began = time.monotonic()
    assert stage.end(stage.start()) == (0, "")
    assert time.monotonic() - began < 20  # and not at its deadline
    assert stage.exit.ended == ended
    assert (
        "could not be fetched" if ended == "inputs" else "disk became full while inputs came"
    ) in stage.exit.sentence
    assert "seen" not in stage.outputs()
    assert not (stage.project / "Movies/z.mrc").exists()
    assert stage.jobs() == []


@pytest.mark.slow
def test_a_job_that_ends_early_fetches_no_more(slow: Stage) -> None:
    movies(slow, "abcdefgh")
    order(slow, f"cat Movies/a.mrc > {JOB}a")
    assert slow.end(slow.start(broken="turns")) == (0, "")
    assert slow.exit.ended == "finished"
    assert slow.outputs() == {"a": content("a")}
    assert slow.manifest.outside == []
    assert len(list((slow.project / "Movies").iterdir())) < 4


@pytest.mark.slow
def test_a_job_that_waits_can_be_stopped(slow: Stage) -> None:
    movies(slow, "abcdefgh")
    order(slow, f"touch begun; cat Movies/h.mrc Movies/g.mrc Movies/f.mrc Movies/e.mrc > {JOB}all")
    agent = slow.start(broken="turns")
    wait_for((slow.project / "begun").exists)
    slow.stop()
    assert slow.end(agent) == (0, "")
    assert slow.exit.ended == "aborted"
    assert "all" not in slow.outputs()


@pytest.mark.slow
def test_what_a_job_makes_of_an_input_that_never_came_is_not_told(slow: Stage) -> None:
    """The kernel lets its openers in when the agent dies, and they find zeros."""
    movies(slow, "ab")
    order(slow, f"touch begun; cat Movies/a.mrc > {JOB}a; cat Movies/b.mrc > {JOB}b; touch {JOB}DONE")
    agent = slow.start(broken="turns")
    wait_for((slow.project / "begun").exists)
    slow.kill(agent)
    time.sleep(0.3)
    slow.fault.unlink()
    assert slow.end(slow.start("guard")) == (0, "")
    assert slow.exit.ended == "killed"
    assert slow.outputs() == {}


def test_an_agent_that_begins_again_takes_the_place_of_promises(slow: Stage) -> None:
    movies(slow, "ab")
    order(slow, f"cat Movies/*.mrc > {JOB}both")
    agent = slow.start(broken="turns")
    wait_for((slow.project / "Movies/b.mrc").exists)
    slow.kill(agent)
    slow.fault.unlink()
    code, _ = slow.end(slow.start())
    if not slow.has("exit.json"):
        code, _ = slow.end(slow.start("guard"))
    assert code == 0
    assert slow.outputs().get("both", content("a") + content("b")) == content("a") + content("b")


WAYS = {
    "hard link": f"ln Movies/b.mrc {JOB}b",
    "new name": f"mv Movies/b.mrc {JOB}b",
    "copy with its time": f"cp -p Movies/b.mrc {JOB}b",
    "copy with all": f"cp -a Movies/b.mrc {JOB}b",
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("killed", [False, True])
def test_what_never_came_is_no_output_by_any_name(slow: Stage, way: str, killed: bool) -> None:
    movies(slow, "ab")
    waits = "copy" in way  # the others are done at once, and the job ends before its input is there
    order(slow, f"touch begun; {WAYS[way]}; touch {JOB}DONE" + "; sleep 9" * killed)
    agent = slow.start(broken="turns")
    wait_for((slow.project / "begun").exists)
    if killed:
        time.sleep(0.2)
        slow.kill(agent)
        time.sleep(0.3)
        slow.fault.unlink()
        assert slow.end(slow.start("guard")) == (0, "")
        assert slow.outputs().keys() <= {"DONE"}
    else:
        assert slow.end(agent) == (0, "")
        assert slow.outputs() == {"DONE": b""} | ({"b": content("b")} if waits else {})
        assert slow.manifest.outside == ["begun"] + [f"{JOB}b (an input that has not come)"] * (not waits)


def test_what_came_at_last_is_an_output_like_any_other(slow: Stage) -> None:
    movies(slow, "ab")
    order(slow, f"ln Movies/b.mrc {JOB}b; cat Movies/*.mrc > /dev/null")
    assert slow.end(slow.start(broken="turns")) == (0, "")
    assert slow.outputs() == {"b": content("b")}
    assert slow.manifest.outside == []


def test_what_the_job_puts_in_the_place_of_an_input_is_left_alone_and_told(slow: Stage) -> None:
    movies(slow, "abcd")
    job = "echo mine > n; rm Movies/d.mrc Movies/c.mrc; mv n Movies/d.mrc; mkdir Movies/c.mrc; chmod a-w Movies"
    order(slow, job)
    assert slow.end(slow.start(broken="turns")) == (0, "")
    assert slow.exit.ended == "finished"
    assert (slow.project / "Movies/d.mrc").read_text() == "mine\n"
    assert slow.manifest.outside == ["Movies/d.mrc"]


def test_an_input_that_the_job_throws_away_is_not_fetched(slow: Stage) -> None:
    movies(slow, "abcdefgh")
    order(slow, "rm Movies/[c-h].mrc; cat Movies/a.mrc Movies/b.mrc > /dev/null; sleep 1.5")  # time for one more
    assert slow.end(slow.start(broken="turns")) == (0, "")
    assert slow.exit.ended == "finished"
    beat = slow.heartbeat
    assert beat is not None
    assert beat.moved.bytes_in == 2 * SIZE


def test_who_opened_an_input_before_it_was_thrown_away_gets_all_of_it(slow: Stage) -> None:
    movies(slow, "abcd")
    opened = "until grep -q cat /proc/$!/comm; do sleep 0.02; done; sleep 0.3"
    order(slow, f"cat Movies/d.mrc > {JOB}d & {opened}; rm Movies/*.mrc; wait")
    assert slow.end(slow.start(broken="turns")) == (0, "")
    assert slow.outputs() == {"d": content("d")}


def test_the_job_sees_no_file_but_its_inputs(slow: Stage) -> None:
    movies(slow, "abc")
    order(slow, "for n in 1 2 3 4 5 6 7 8; do ls -A Movies; sleep 0.3; done")
    assert slow.end(slow.start()) == (0, "")
    assert {words[0] for words in lines(slow)} == {"a.mrc", "b.mrc", "c.mrc"}
