"""``cryoburst submit`` with what users do wrong: one sentence, exit code 2, nothing rented, the job folder unharmed."""

import ast
import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from .home import FOLDER, REFINE, STAR, Home, mrc, script

PWNED = "touch ../pwned"


@pytest.mark.slow
def test_the_job_is_fine_as_it_is(home: Home) -> None:
    assert home.succeeds() == ["--o", f"{FOLDER}run", "--i", STAR, "--K", "2", "--pipeline_control", FOLDER]
    assert [run["state"] for run in home.json("runs")] == ["SUCCEEDED"]
    home.no_machine()


def test_a_job_folder_that_can_not_be_written_is_told(home: Home) -> None:
    (home.project / FOLDER / "RELION_JOB_EXIT_SUCCESS").mkdir()  # nobody can take that away, not even root
    said = home.fails("submit", f"{FOLDER}run_submit.script")
    assert said.startswith("the job folder can't be written: Is a directory (")
    assert said.endswith("RELION_JOB_EXIT_SUCCESS): send the job as the user whose project it is")
    assert home.rows("runs") == 0


@pytest.mark.slow
def test_a_submission_reads_each_list_and_each_stack_once(home: Home) -> None:
    """RELION's window waits for it, and a job may have ten thousand stacks on a disk far away."""
    rows = ""
    for n in range(30):
        mrc(home.project / f"Extract/job002/Movies/{n}.mrcs")
        rows += "".join(f"00000{i}@Extract/job002/Movies/{n}.mrcs Movies/{n}.mrc 1\n" for i in (1, 2))
    text = (home.project / STAR).read_text().rstrip("\n")
    (home.project / STAR).write_text(f"{text}\n{rows}\n")
    code = (
        "import sys, collections\nopened = collections.Counter()\n"
        "sys.addaudithook(lambda event, a: event == 'open' and opened.update([str(a[0]).rpartition('job002/')[2]]))\n"
        f"from cryoburst.cli.main import main\nassert main(['submit', '{FOLDER}run_submit.script']) == 0\n"
        "print({name: count for name, count in opened.items() if name.endswith(('.mrcs', 'particles.star'))})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=home.project,
        env=home.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    names = [*(f"Movies/{n}.mrcs" for n in ("a", *range(30))), "particles.star"]
    assert ast.literal_eval(done.stdout.splitlines()[-1]) == dict.fromkeys(names, 1)


@pytest.mark.slow
def test_a_refusal_is_told_to_relions_window_and_leaves_nothing(home: Home) -> None:
    (home.project / STAR).unlink()
    sentence = home.refused()
    assert sentence.startswith(f"{STAR} is missing")
    assert (home.project / FOLDER / "run.err").read_text() == f"cryoburst: {sentence}\n"
    assert (home.project / FOLDER / "RELION_JOB_EXIT_FAILURE").exists()
    assert (home.project / ".pipeline_has_changed").exists()
    assert home.json("runs") == []
    assert home.json("machines")["machines"] == []
    assert home.fails("plan", f"{FOLDER}run_submit.script") == sentence


def test_not_a_relion_project(home: Home) -> None:
    (home.project / "default_pipeline.star").unlink()
    assert home.refused().startswith("not a RELION project: no default_pipeline.star above it")
    assert not (home.project / FOLDER / "run.err").exists()


@pytest.mark.parametrize("words", [("Class2D/job099/run_submit.script",), ("--job", "Class2D/job099"), ("--job", "")])
def test_no_such_job(home: Home, words: tuple[str, ...]) -> None:
    assert home.refused(*words)


@pytest.mark.slow
def test_a_job_folder_in_which_a_run_is_at_work(home: Home) -> None:
    program = home.programs / "relion_refine"
    at_work = f"until [ -e {FOLDER}RELION_JOB_ABORT_NOW ]; do sleep 0.1; done; exit 1"  # as RELION's programs are
    program.write_text(program.read_text().replace(f"touch {FOLDER}RELION_JOB_EXIT_SUCCESS", at_work))
    first = json.loads(home.call("submit", f"{FOLDER}run_submit.script", "--json").stdout)
    sentence = home.fails("submit", "--job", FOLDER)
    assert sentence.startswith(f"run {first['number']} is at work on this job")
    assert not (home.project / FOLDER / "RELION_JOB_EXIT_FAILURE").exists()
    assert home.rows("runs") == 1
    done = home.call("stop", str(first["number"]), "--wait")
    assert (done.returncode, done.stderr) == (0, "")
    assert (home.project / FOLDER / "RELION_JOB_EXIT_ABORTED").exists()
    home.no_machine()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.replace(f"job: {FOLDER}", "job: Class2D/job004/"), "names the job Class2D/job004/, but"),
        (lambda t: t.replace(FOLDER, "XXXnameXXX", 1), "still holds XXXnameXXX"),
        (lambda t: t.replace(REFINE, "XXXcommandXXX"), "still holds XXXcommandXXX"),
        (lambda t: t.replace("processes: 1", "processes: 5").replace("$MPI", "mpirun -n 3"), "starts 3 processes"),
        (lambda t: "#!/bin/bash\n" + REFINE, "lacks the line"),
        (lambda t: "", "lacks the line"),
        (lambda t: t + "\udcff", "not UTF-8"),
        (lambda t: t + "\0", "NUL"),
    ],
)  # fmt: skip
@pytest.mark.slow
def test_a_script_that_a_hand_has_changed(home: Home, change: Callable[[str], str], sentence: str) -> None:
    home.write(change(script()))
    assert sentence in home.refused()


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("rm -rf .", "the command rm is not RELION's"),
        (PWNED, "the command touch is not RELION's"),
        ("`which relion_teleport` --i a.star", "RELION has no program called relion_teleport"),
        (f"`which relion_refine` --i $({PWNED})", f"holds '$({PWNED})', which a shell would run"),
        (f"`{PWNED}` --i a.star", f"holds '`{PWNED}`', which a shell would run"),
        (f"{REFINE} --mask <({PWNED})", "which a submission script of RELION never has"),
        (f"{REFINE}\n{PWNED}", "the command touch is not RELION's"),
        (f"{REFINE}; {PWNED}", "the command touch is not RELION's"),
        (f"{REFINE} > ../pwned", "outside the project"),
    ],
)
@pytest.mark.slow
def test_a_command_that_is_not_relions(home: Home, command: str, sentence: str) -> None:
    home.write(script(command))
    assert sentence in home.refused()


def test_no_relion_on_path(home: Home) -> None:
    home.environment["PATH"] = str(home.root / "empty")
    assert "relion is not there; install it, on this computer so that it is on PATH" in home.refused()


def test_relion_of_another_version_than_the_projects(home: Home) -> None:
    home.relion("4.0.1")
    assert "the project was made with relion 3.1, and relion 4.0.1 is there" in home.refused()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--parts", "2"), "this job can't be split: every iteration compares all its particles"),
        (("--parts", "0"), "not a number of parts"),
        (("--parts", "1001"), "not a number of parts"),
        (("--parts", "two"), "not a number of parts"),
        (("--max-price", "-1"), "the price cap is not a price"),
        (("--max-price", "nan"), "the price cap is not a price"),
        (("--max-price", "abc"), "argument --max-price: invalid float value: 'abc'"),
        (("--to", "nowhere"), "nowhere"),
        (("--machine", "nothing"), "local has no machine nothing"),
        (("--job", "x"), "not allowed with argument"),
        (("--faster",), "unrecognized arguments: --faster"),
    ],
)
def test_flags_that_make_no_sense(home: Home, words: tuple[str, ...], sentence: str) -> None:
    assert sentence in home.refused(f"{FOLDER}run_submit.script", *words)


def test_this_computer_fits_under_any_price(home: Home) -> None:
    assert home.call("plan", f"{FOLDER}run_submit.script", "--max-price", "0").returncode == 0
