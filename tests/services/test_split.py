"""Split runs as a user's own commands meet them, on real machines that die, with a project that moves."""

import json
import random
import re
import time
from typing import Any

import pytest
from tests.cli.crates import faults

from .home import PATIENCE, Home

pytestmark = pytest.mark.slow
PARTS = 3


def submit(home: Home, folder: str) -> None:
    done = home.call("submit", "--job", folder, "--parts", str(PARTS))
    assert (done.returncode, done.stdout, done.stderr) == (0, "Submitted run 1 in 3 parts\n", "")


def attempts(home: Home) -> list[int]:
    """The attempts of each part, and of the join."""
    shown = json.loads(home.call("show", "1", "--json").stdout)
    return [*(part["attempt"] for part in shown["each_part"]), shown["attempt"]]


def machine_of(home: Home, ends: str) -> str:
    """The token of a running machine, once there is one whose token ends so."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := [token for token in home.tokens() if token.endswith(ends)]:
            return found[0]
        time.sleep(0.02)
    raise AssertionError(f"no machine {ends}: {home.tokens()}\n{home.log()}")


def test_a_split_run_from_submit_to_its_end(home: Home) -> None:
    folder = home.split_job()
    submit(home, folder)
    run = home.ended()
    assert (run["state"], run["parts"], run["parts_done"]) == ("SUCCEEDED", 3, 3)
    assert run["progress"] == {"done": 6, "total": 6, "unit": "units"}
    home.assert_split(folder)
    home.assert_clean(PARTS + 1)
    said = home.call("logs", "1").stdout
    assert [line for line in said.splitlines() if line.startswith("cryoburst")] == [
        f"cryoburst: part {n} of 3, SUCCEEDED" for n in (1, 2, 3)
    ]
    assert said.count("step 2 of 2") == 3
    shown = home.call("show", "1").stdout
    assert "parts        3 of 3 done" in shown
    assert "part 2 of 3: RUNNING" in shown


@pytest.mark.parametrize("seed", range(10))
def test_the_machine_of_a_part_killed_at_a_random_time(home: Home, seed: int) -> None:
    rng = random.Random(seed)
    folder = home.split_job()
    submit(home, folder)
    victim = rng.randint(1, PARTS)
    token = machine_of(home, f".{victim}-1")
    time.sleep(rng.uniform(0.0, 1.8))
    killed = home.cut_power([token])
    run = home.ended()
    assert run["state"] == "SUCCEEDED", run
    home.assert_split(folder)
    tried = attempts(home)
    assert tried[victim - 1] <= (2 if killed else 1)
    assert [n for at, n in enumerate(tried) if at != victim - 1] == [1] * PARTS  # nobody else is tried again
    home.assert_clean(sum(tried))


def test_show_counts_every_machine_and_knows_what_the_parts_took(home: Home) -> None:
    """Those that died count too, as they do in what the run cost; the memory is that of the hungriest part."""
    submit(home, home.split_job())
    token = machine_of(home, ".2-1")
    time.sleep(0.5)
    died = bool(home.cut_power([token]))
    home.ended()
    run = json.loads(home.call("show", "1", "--json").stdout)
    shown = home.call("show", "1").stdout
    machines = PARTS + 1 + died
    assert f"\n  machine      {machines} machines: local (provider local)\n" in shown
    assert f" on {machines} machines\n" in shown
    assert run["peak_memory_bytes"] >= max(part["peak_memory_bytes"] or 0 for part in run["each_part"]) > 0
    assert " at its peak" in shown


@pytest.mark.parametrize("seed", range(3))
def test_the_join_killed_in_its_middle(home: Home, seed: int) -> None:
    folder = home.split_job()
    job = home.project / folder / "job.sh"
    job.write_text(job.read_text().replace("cat Script", "sleep 2; cat Script"))
    submit(home, folder)
    uid = machine_of(home, ".1-1").partition(".")[0]
    token = machine_of(home, f"{uid}-1")
    time.sleep(random.Random(seed).uniform(0.2, 0.9))
    assert home.cut_power([token])
    assert home.ended()["state"] == "SUCCEEDED"
    home.assert_split(folder)
    assert attempts(home) == [1, 1, 1, 2]
    home.assert_clean(PARTS + 2)


def test_two_submissions_of_one_job_at_once_make_one_run_and_its_parts(home: Home) -> None:
    folder = home.split_job()
    both = [home.start("submit", "--job", folder, "--parts", "3") for _ in range(2)]
    said = sorted(process.communicate(timeout=PATIENCE)[0] for process in both)
    assert sorted(process.returncode for process in both) == [0, 2]
    assert said[0].startswith("Submitted run 1 in 3 parts") or said[1].startswith("Submitted run 1 in 3 parts")
    assert any("is at work on this job" in each for each in said)
    assert home.ended()["state"] == "SUCCEEDED"
    assert len(home.runs()) == 1
    home.assert_split(folder)
    home.assert_clean(PARTS + 1)


def test_the_project_is_moved_while_its_parts_run(home: Home) -> None:
    folder = home.split_job(sleep=0)
    job = home.project / folder / "job.sh"
    job.write_text(job.read_text().replace("sleep 0;", home.held()))
    submit(home, folder)
    home.until(lambda run: run["state"] == "SPLIT" and len(home.tokens()) == PARTS)
    moved = home.root / "moved"
    home.project.rename(moved)
    home.let_go()
    home.wait(lambda: len(list((home.state / "store").rglob("exit.json"))) == PARTS, "the end of the parts")
    home.project, place = moved, home.project  # where the user calls from now
    sentence = "the project is not there; put it back, or a link to where it is"
    home.wait(lambda: sentence in home.call("show", "1").stdout, "that the project is missed")
    run = home.runs()[0]
    assert run["state"] == "SPLIT"
    place.symlink_to(moved)  # as docs/relion.md says
    run = home.ended()
    assert run["state"] == "SUCCEEDED", run
    home.assert_split(folder)
    assert attempts(home) == [1, 1, 1, 1]
    home.assert_clean(PARTS + 1)


def test_the_watcher_and_the_database_die_again_and_again(home: Home) -> None:
    folder = home.split_job(sleep=0.6)
    submit(home, folder)
    end = time.monotonic() + PATIENCE
    killed = 0
    while time.monotonic() < end and not (home.project / folder / "DONE").exists() and killed < 9:
        home.runs()
        time.sleep(0.8)
        killed += home.kill_watcher()
        if killed == 2:
            home.drop_database()
    assert killed >= 2
    assert home.ended()["state"] == "SUCCEEDED"
    home.assert_split(folder)
    home.assert_clean(PARTS + 1)


def test_stop_ends_all_parts(home: Home) -> None:
    folder = home.split_job(sleep=30)
    submit(home, folder)
    home.until(lambda run: len(home.tokens()) == PARTS and run["run_seconds"])
    assert "\n  machine      3 machines: local (provider local)\n" in home.call("show", "1").stdout
    done = home.call("stop", "1", "--wait")
    assert done.stdout == "Run 1 STOPPED\n"
    assert "\n  machine      3 machines: local (provider local)\n" in home.call("show", "1").stdout
    assert (home.project / folder / "ABORTED").exists()
    home.assert_clean(PARTS)


def test_a_split_run_is_the_same_after_its_database_was_lost(home: Home) -> None:
    folder = home.split_job()
    submit(home, folder)
    assert home.ended()["state"] == "SUCCEEDED"
    home.assert_no_machines()
    before = json.loads(home.call("show", "1", "--json").stdout)
    while home.watchers():
        home.kill_watcher()
    home.drop_database()
    done = home.call("recover")
    assert done.stderr == "cryoburst: the list of runs was rebuilt from the store (one run)\n"
    assert done.stdout.startswith("Found 1 run and 0 machines that the list did not have\n")
    after = json.loads(home.call("show", "1", "--json").stdout)
    rows = [*zip(before["each_part"], after["each_part"], strict=True), (before, after)]
    for old, new in rows:
        assert [new[name] for name in SAME] == [old[name] for name in SAME]
        assert [new[name] for name in TIMES] == pytest.approx([old[name] for name in TIMES], abs=0.001)


def listed_by_another(home: Home, sleep: float) -> str:
    """A job that can be split, whose list is the output of run 1."""
    first = home.job(1, script='for n in 0 1 2 3 4 5; do echo "u$n"; done > Script/job001/units.txt\n')
    home.submit(first, "--wait")
    folder = home.split_job(2, sleep=sleep)
    job = home.project / folder / "job.sh"
    job.write_text(job.read_text().replace("units.txt", "Script/job001/units.txt"))
    home.submit(folder, "--parts", str(PARTS))
    return folder


def exported(home: Home, name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """What export says of run 2, and the values of its action in the crate."""
    told = json.loads(home.call("export", "2", "--out", name, "--json").stdout)
    graph = json.loads((home.project / name / "ro-crate-metadata.json").read_bytes())["@graph"]
    found = {entity["@id"]: entity for entity in graph}
    action = found["#job-Script/job002"]
    values = {found[link["@id"]]["name"]: found[link["@id"]]["value"] for link in action["additionalProperty"]}
    return told, values | {"status": action["actionStatus"], "start": action.get("startTime", "")}


CHAIN = [{"job": "Script/job002", "run": 2}, {"job": "Script/job001", "run": 1}]
PARTS_OF_ONE_ATTEMPT = {"parts": "3"} | {f"attempts of part {n}": "1" for n in (1, 2, 3)}


def test_where_a_split_run_came_from_is_told_before_it_has_joined(home: Home) -> None:
    listed_by_another(home, sleep=30)
    home.until(lambda run: len(home.tokens()) == PARTS and run["run_seconds"], number=2)
    told, values = exported(home, "running")
    assert told["jobs"] == CHAIN
    assert told["notes"] == ["run 2 goes on (SPLIT): what it makes from now on is not told of"]
    assert values["status"].endswith("ActiveActionStatus")
    assert faults(home.project / "running", home.root)[0] == []
    assert PARTS_OF_ONE_ATTEMPT.items() <= values.items()
    assert not {"attempts", "attempts of the join"} & values.keys()
    assert home.call("stop", "2", "--wait").returncode == 0
    told, values = exported(home, "stopped")
    assert told["jobs"] == CHAIN
    assert told["notes"] == ["run 2 ended as STOPPED: only what it made until then is told of"]
    assert PARTS_OF_ONE_ATTEMPT.items() <= values.items()
    assert "run 2 ended as STOPPED" in home.call("export", "2", "--out", "again").stdout


def test_the_page_of_a_split_run_tells_of_its_parts(home: Home) -> None:
    listed_by_another(home, sleep=0.6)
    home.ended(2)
    assert home.call("show", "2", "--html", "page.html").returncode == 0
    text = re.sub(r"<wbr>", "", (home.project / "page.html").read_text())
    facts = dict(re.findall(r"<dt>([^<]+)</dt><dd>([^<]*)</dd>", text))
    told, values = exported(home, "crate")
    assert told["notes"] == []
    assert values["attempts of the join"] == "1"
    shown = json.loads(home.call("show", "2", "--json").stdout)
    began = time.localtime(shown["submitted"] + shown["wait_seconds"])
    assert facts["Began"] == time.strftime("%Y-%m-%d %H:%M:%S", began)
    assert values["start"] == time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.mktime(began)))
    assert (facts["Machines"], facts["Parts"]) == ("local (local)", "3 of 3 done")
    (number,) = re.findall(r"<summary>Inputs \((\d+)\)", text)
    assert facts["Inputs"].startswith(f"{number} files, ")
    table = text[text.index("<h2>Its parts</h2>") :]
    rows = re.findall(r"<tr>(?:<td[^>]*>([^<]*)</td>){1}", table[: table.index("</table>")])
    assert rows == ["1", "2", "3", "join"]


SAME = ("state", "progress", "machine", "attempt", "files_in", "bytes_in", "files_out", "bytes_out")
TIMES = ("wait_seconds", "run_seconds")
