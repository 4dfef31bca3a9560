"""What the commands answer to wrong words, wrong settings and wrong moments. In this process, and without a watcher."""

import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cryoburst.cli.main import main
from cryoburst.database.ledger import Ledger
from cryoburst.model import documents
from cryoburst.model.documents import Spec
from cryoburst.model.run import Run
from cryoburst.model.states import RunState
from cryoburst.services import watcher
from cryoburst.stores import open_store

from .home import Home


class Line:
    """The command line, called in this process."""

    def __init__(self, home: Home, output: pytest.CaptureFixture[str]) -> None:
        self.home, self._output = home, output

    def __call__(self, *words: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        self._output.readouterr()
        code = main(words)
        said = self._output.readouterr()
        return code, said.out, said.err

    def refuses(self, *words: str) -> str:
        """The one sentence with which it refuses."""
        code, out, err = self(*words)
        assert (code, out) == (2, "")
        assert err.startswith("cryoburst: ")
        assert err.count("\n") == 1
        return err


@pytest.fixture
def line(home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Line]:
    """The command line in a home, whose watcher never starts."""
    for name in [name for name in home.environment if name.startswith(("CRYOBURST_", "XDG_", "HOME"))]:
        monkeypatch.setenv(name, home.environment[name])
    for path in reversed(home.path):
        monkeypatch.syspath_prepend(path)
    monkeypatch.chdir(home.project)
    monkeypatch.setattr(watcher, "ensure", lambda _settings: None)
    yield Line(home, capsys)
    sys.modules.pop("script_package", None)


def settle(home: Home, number: int, state: RunState) -> None:
    """Bring a run's row to a state, as a watcher would have."""
    ledger = Ledger(f"sqlite://{home.state}/cryoburst.db")
    ledger.connection.change("UPDATE runs SET state = ? WHERE number = ?", [str(state), number])
    ledger.connection.close()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--to", "moon"], "choose one of"),
        (["--machine", "huge"], "has no machine huge"),
        (["--region", "mars"], "local has no regions, and mars was asked for: leave --region out"),
        (["--max-price", "-1"], "not a price"),
        (["--max-price", "nan"], "not a price"),
        (["--parts", "0"], "not a number of parts"),
        (["--parts", "3"], "this job can't be split: it has no list"),
    ],
)
@pytest.mark.parametrize("verb", ["submit", "plan"])
def test_wishes_that_can_not_be_are_named_and_nothing_is_written(
    line: Line, verb: str, words: list[str], says: str
) -> None:
    folder = line.home.job()
    assert says in line.refuses(verb, "--job", folder, *words)
    assert line("runs", "--json")[1] == "[]\n"


def test_words_that_are_no_command_line(line: Line) -> None:
    for words in (["submit"], ["submit", "--max-price", "much", "x"], ["nonsense"], ["stop", "first"]):
        assert main(words) == 2


def test_job_that_is_none(line: Line) -> None:
    assert "no/such/job.sh" in line.refuses("submit", "no/such/job.sh")
    assert "such" in line.refuses("plan", "--job", "no/such")


def test_missing_input_marks_the_job_as_failed(line: Line) -> None:
    folder = line.home.job(script="# input gone.bin\n")
    assert "gone.bin" in line.refuses("submit", "--job", folder)
    assert "gone.bin" in (line.home.project / folder / "FAILED").read_text()


def test_plan_changes_nothing(line: Line) -> None:
    folder = line.home.job()
    (line.home.project / folder / "FAILED").touch()
    before = sorted(p.stat().st_mtime_ns for p in line.home.project.rglob("*"))
    code, out, _ = line("plan", "--job", folder, "--json")
    assert code == 0
    assert json.loads(out)["bytes_to_send"] == 20_000
    assert line("plan", "--job", folder)[0] == 0
    assert sorted(p.stat().st_mtime_ns for p in line.home.project.rglob("*")) == before
    assert not [p for p in (line.home.state / "store").rglob("*") if p.is_file() and not p.name.startswith(".")]
    assert line("runs", "--json")[1] == "[]\n"


def test_second_submission_of_a_running_job_is_refused_and_marks_nothing(line: Line) -> None:
    folder = line.home.job()
    assert line("submit", "--job", folder) == (0, "Submitted run 1\n", "")
    for state in (s for s in RunState if not s.final):
        settle(line.home, 1, state)
        assert "run 1 is at work" in line.refuses("submit", "--job", folder)
    assert not (line.home.project / folder / "FAILED").exists()
    settle(line.home, 1, RunState.STOPPED)
    assert line("submit", "--job", folder) == (0, "Submitted run 2\n", "")


@pytest.mark.parametrize("verb", ["show", "stop", "wait", "fetch", "logs"])
def test_a_run_that_is_not_there(line: Line, verb: str) -> None:
    assert "there is no run 7" in line.refuses(verb, "7")


def test_stop_and_fetch_at_the_wrong_moment(line: Line) -> None:
    line("submit", "--job", line.home.job())
    assert "come home by themselves" in line.refuses("fetch", "1")
    assert line("stop", "1") == (0, "Stopping run 1\n", "")
    assert line("stop", "1")[0] == 0
    settle(line.home, 1, RunState.STOPPED)
    assert "has ended already" in line.refuses("stop", "1")
    assert "store has no" in line.refuses("fetch", "1")
    assert line("wait", "1")[0] == 1
    assert line("logs", "1", "-f")[0] == 0


def test_runs_and_show_work_without_the_store(line: Line) -> None:
    line("submit", "--job", line.home.job())
    (line.home.state / "store").rename(line.home.state / "away")
    code, out, err = line("runs")
    assert (code, err) == (0, "")
    assert "Script/job001" in out
    assert line("show", "1")[0] == 0
    assert not (line.home.state / "store").exists()


def test_doctor_names_a_store_that_does_not_answer(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = line("doctor", "--json")
    assert {f["subject"]: f["level"] for f in json.loads(out)}["store"] == "ok"
    monkeypatch.setenv("CRYOBURST_STORE", (line.home.root / "nowhere").as_uri())
    code, out, _ = line("doctor", "--json")
    assert code == 1
    found = {f["subject"]: f for f in json.loads(out)}["store"]
    assert found["level"] == "error"
    assert "mount its disk" in found["sentence"]


def test_doctor_names_a_misspelt_variable(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYOBURST_LATE_INPUT_GIB", "2")
    monkeypatch.setenv("CRYOBURST_JOB", "ours")
    code, out, _ = line("doctor", "--json")
    said = [f["sentence"] for f in json.loads(out) if f["subject"] == "settings"]
    wrong = "nothing heeds the variable CRYOBURST_LATE_INPUT_GIB (did you mean CRYOBURST_LATE_INPUTS_GIB?)"
    assert (code, wrong in said, any("CRYOBURST_JOB" in each for each in said)) == (0, True, False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("colour = 1", "unknown setting colour"),
        ("poll_seconds = 'often'", "poll_seconds has a wrong value"),
        ("poll_seconds = -1", "poll_seconds has a wrong value"),
        ("retry_delays = 3", "retry_delays has a wrong value"),
        ("machines = 'here'", "machines has a wrong value"),
        ("= 3", "not TOML"),
        ("store = 'nowhere'", "no store with this name (nowhere)"),
        ("database = 'mysql://x'", "sqlite"),
    ],
)
def test_a_wrong_settings_file_is_named_with_what_is_wrong(line: Line, text: str, says: str) -> None:
    line.home.config.parent.mkdir(parents=True)
    line.home.config.write_text(text)
    assert says in line.refuses("submit", "--job", line.home.job())


def test_a_settings_file_in_the_wrong_code_or_place(line: Line) -> None:
    line.home.config.parent.mkdir(parents=True)
    line.home.config.write_bytes(b"\xff\xfe")
    assert "not TOML" in line.refuses("runs")
    line.home.config.unlink()
    line.home.config.mkdir()
    assert "can't be read" in line.refuses("runs")


@pytest.mark.parametrize("value", ["soon", "-1"])
def test_a_wrong_setting_in_the_environment(line: Line, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CRYOBURST_LOST_SECONDS", value)
    assert "lost_seconds" in line.refuses("runs").lower()


def test_recover_tells_what_it_found_and_what_it_could_not_read(line: Line) -> None:
    for number in (1, 2):
        line("submit", "--job", line.home.job(number))
    line.home.drop_database()
    code, out, _ = line("recover")
    assert code == 0
    assert out.startswith("Found 2 runs and 0 machines")
    assert line("recover")[1].startswith("Found 0 runs")
    code, out, said = line("recover", "--store", (line.home.root / "nowhere").as_uri())
    assert (code, out) == (2, "")
    assert "no store here" in said


@pytest.mark.parametrize("first", ["runs", "show", "doctor", "recover"])
def test_every_command_brings_back_a_list_that_was_deleted(line: Line, first: str) -> None:
    line("submit", "--job", line.home.job())
    line.home.drop_database()
    line(first, *(["1"] if first == "show" else []))
    assert [run["number"] for run in json.loads(line("runs", "--json")[1])] == [1]


def test_a_list_that_was_rebuilt_is_told_once_and_a_first_one_is_not(line: Line) -> None:
    for number in (1, 2):
        assert line("submit", "--job", line.home.job(number))[2] == ""
    line.home.drop_database()
    code, out, err = line("runs", "--json")
    assert (code, len(json.loads(out))) == (0, 2)
    assert err == "cryoburst: the list of runs was rebuilt from the store (2 runs)\n"
    assert line("runs")[2] == ""


def test_one_damaged_request_hides_no_other_run(line: Line) -> None:
    for number in (1, 2, 3):
        line("submit", "--job", line.home.job(number))
    request = sorted((line.home.state / "store/runs").rglob("*.json"))[0]
    request.write_text("{")
    line.home.drop_database()
    code, out, _ = line("recover")
    assert code == 1
    assert "Found 2 runs" in out
    assert Path(request).name in out


def test_fetch_of_a_run_whose_folder_a_later_run_has_used_is_refused(line: Line) -> None:
    folder = line.home.job()
    for number in (1, 2, 3):
        assert line("submit", "--job", folder)[0] == 0
        settle(line.home, number, RunState.STOPPED)
    assert "store has no" in line.refuses("fetch", "1")  # the later runs never had a machine
    ledger = Ledger(f"sqlite://{line.home.state}/cryoburst.db")
    ledger.connection.change("UPDATE runs SET started = 1 WHERE number = 2")
    ledger.connection.close()
    assert "run 2 has used Script/job001/ since" in line.refuses("fetch", "1")
    assert "store has no" in line.refuses("fetch", "2")


def came_to(home: Home, number: int, **changes: object) -> Run:
    """The run with its row changed, as a watcher would have."""
    ledger = Ledger(f"sqlite://{home.state}/cryoburst.db")
    for name, value in changes.items():
        ledger.connection.change(f"UPDATE runs SET {name} = ? WHERE number = ?", [value, number])
    run = ledger.run(number)
    ledger.connection.close()
    return run


def machine_says(home: Home, run: Run, attempt: int, base: int, *pieces: bytes) -> None:
    """The spec of an attempt, and what its machine sent of both logs."""
    store, prefix, at = open_store(run.store), f"{run.home_prefix}{attempt}/", 0
    logs = ["out.log", "err.log"]
    spec = Spec(run.uid, attempt, run.owner, run.job, "", {}, {}, [], logs, dict.fromkeys(logs, base), "", 0, 0, 0)
    store.put(f"{prefix}spec.json", documents.dump(spec))
    for piece in pieces:
        for name in logs:
            store.put(f"{prefix}log/{name}.{at:012d}", piece)
        at += len(piece)


def test_logs_are_the_runs_own(line: Line) -> None:
    home, folder = line.home, line.home.job()
    line("submit", "--job", folder)
    out = home.project / folder / "out.log"
    out.write_bytes(b"older\n")
    assert line("logs", "1") == (0, "", "cryoburst: run 1 has not started yet, so it has no output\n")
    run = came_to(home, 1, state="RUNNING", started=1.0)
    machine_says(home, run, 1, 6, b"one\n", b"two\n")
    out.write_bytes(b"older\none\n")
    assert line("logs", "1") == (0, "one\n", "")
    run = came_to(home, 1, state="FAILED", attempt=2)
    machine_says(home, run, 2, 14, b"again\n\n")
    assert line("logs", "1") == (0, "one\ntwo\nagain\n\n", "")
    assert line("logs", "1", "--err", "-f") == (0, "one\ntwo\nagain\n\n", "")
    assert "  last words: again\n" in line("show", "1")[1]
    line("submit", "--job", folder)
    came_to(home, 2, state="STOPPED")
    assert line("logs", "2") == (0, "", "cryoburst: run 2 ended before it started, so it has no output\n")
    (home.state / "store").rename(home.state / "away")
    assert line("logs", "1") == (0, "older\none\n", "")  # all that can be had: no later run wrote there
    assert "last words" not in line("show", "1")[1]
    came_to(home, 2, started=1.0)
    assert "no store here" in line.refuses("logs", "1")


def test_show_says_when_it_is_tried_again_and_what_is_not_known(line: Line) -> None:
    line("submit", "--job", line.home.job())
    came_to(line.home, 1, state="WAITING", retry_at=1e9)
    assert "  tried again at 2001-09-0" in line("show", "1")[1]
    came_to(line.home, 1, retry_at=time.time())
    assert re.search(r"  tried again at (\S+ )?\d\d:\d\d:\d\d\n", line("show", "1")[1])
    came_to(line.home, 1, state="RUNNING", observed=time.time())
    out = line("show", "1")[1]
    assert "tried again" not in out
    assert re.search(r"  progress +no word on its progress yet, heard of it \d\.\d s ago\n", out)
    came_to(line.home, 1, done=1, total=2, unit="step")
    assert "step 1 of 2, heard of it" in line("show", "1")[1]
