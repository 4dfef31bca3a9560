"""The words of ``cryoburst`` themselves: help, wrong words, numbers of runs that there are not, JSON, closed pipes."""

import json
import subprocess

import pytest

from cryoburst.cli.main import COMMANDS

from .home import FOLDER, PROGRAM, Home


def test_help_names_every_command(home: Home) -> None:
    done = home.call("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(f"    {name} " in done.stdout for name in COMMANDS)
    assert home.call().returncode == 2  # without words, too, but it is no success


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(home: Home, command: str) -> None:
    done = home.call(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: cryoburst {command} ")
    assert not home.state.exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("nonsense",), "there is no command 'nonsense': see cryoburst --help"),
        (("shwo", "3"), "there is no command 'shwo': did you mean show? see cryoburst --help"),
        (("plan", "--job", "Class2D/job03"), "script (Class2D/job03): did you mean Class2D/job003?"),
        (("plan", "--job", "Clas2D/job003"), "script (Clas2D/job003): did you mean Class2D/job003?"),
        (("--nonsense",), "unrecognized arguments: --nonsense"),
        (("show",), "the following arguments are required: N"),
        (("runs", "--al"), "unrecognized arguments: --al"),
        (("project", "push", "--exclud", "*.mrc"), "unrecognized arguments: --exclud"),
        (("store", "gc", "--forget"), "unrecognized arguments: --forget"),
        (("recover", "--store", "nas"), "there is no store with this name (nas)"),
        (("recover", "--store", "ftp://nas"), "no client for ftp:// stores is installed (ftp://nas)"),
        (("recover", "--store", "file:///nowhere"), "no store here"),
        (("show", "x"), "argument N: no run has the number x"),
        (("submit",), "one of the arguments SCRIPT --job is required"),
        (("relion",), ""),
        (("nonsense\nsecond line", "x"), r"nonsense\nsecond line"),
    ],
)
def test_wrong_words(home: Home, words: tuple[str, ...], sentence: str) -> None:
    assert sentence in home.fails(*words)


def test_ctrl_c_while_the_program_begins_is_one_sentence(home: Home) -> None:
    (home.root / "early").mkdir()
    (home.root / "early/argparse.py").write_text("raise KeyboardInterrupt\n")  # the first that is imported
    home.environment["PYTHONPATH"] = str(home.root / "early")
    done = home.call("runs")
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "cryoburst: interrupted; runs go on in the background, see cryoburst runs\n"


def test_a_state_folder_that_can_not_be_made_is_named(home: Home) -> None:
    home.environment["CRYOBURST_STATE"] = "/proc/state"
    said = "the folder of the database can't be made: No such file or directory (/proc/state): see who may read and"
    assert home.fails("runs").startswith(said)


@pytest.mark.parametrize("number", ["7", "0", "-1", "99999999999999999999"])
@pytest.mark.parametrize("command", ["show", "logs", "stop", "wait", "fetch"])
def test_a_run_that_there_is_not(home: Home, command: str, number: str) -> None:
    assert number in home.fails(command, number)


@pytest.mark.parametrize("words", [("runs",), ("runs", "--all"), ("machines",), ("machines", "--all"), ("doctor",)])
def test_lists_are_json_before_there_is_any_run(home: Home, words: tuple[str, ...]) -> None:
    done = home.call(*words, "--json")
    json.loads(done.stdout)
    assert done.stderr == ""
    assert home.rows("runs") == 0


@pytest.mark.slow
def test_every_json_of_a_run(home: Home) -> None:
    plan = home.json("plan", f"{FOLDER}run_submit.script")
    assert plan["job"] == FOLDER.rstrip("/")
    assert home.json("submit", f"{FOLDER}run_submit.script")["number"] == 1
    assert home.json("wait", "1")["state"] == "SUCCEEDED"
    assert home.json("show", "1")["events"]
    assert [run["number"] for run in home.json("runs")] == [1]
    for words in (("show", "1"), ("logs", "1"), ("fetch", "1"), ("runs",), ("wait", "1")):
        done = home.call(*words)
        assert (done.returncode, done.stderr) == (0, ""), words
    assert home.fails("stop", "1").startswith("run 1 has ended")


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", ["runs", "runs --json", "--help", "machines", "submit --help", "plan --job " + FOLDER]
)
def test_a_pipe_that_nobody_reads(home: Home, words: str) -> None:
    text = f"sleep 0.3; exec {PROGRAM} {words}"
    done = subprocess.run(
        ["bash", "-c", f"({text}) | head -c 0"],
        cwd=home.project,
        env=home.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
