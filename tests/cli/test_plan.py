"""``cryoburst plan`` for people, and what it foretells."""

import json
import os
import re
from dataclasses import replace

import pytest
from tests.window import JOB_STAR

from cryoburst.cli.plan import count, place
from cryoburst.database.ledger import Ledger
from cryoburst.model.run import Machine, Run
from cryoburst.model.states import MachineState, RunState
from cryoburst.providers.aws.notes import Notes, Region, write

from .home import FOLDER, REFINE, Home, mrc, script


@pytest.mark.slow
def test_plan_is_said_in_english(home: Home) -> None:
    done = home.call("plan", "--job", FOLDER)
    assert done.returncode == 0, done.stderr
    values = home.json("plan", "--job", FOLDER)
    lines = done.stdout.splitlines()
    assert lines[1] == f"would go to this computer (local), {count(values['offer']['cores'], 'core')}, 0 USD/h"
    assert lines[2].startswith(f"reads {count(len(values['files']), 'file')}, ")


def test_the_pipeline_is_no_job(home: Home) -> None:
    said = home.fails("plan", "default_pipeline.star")
    assert "this is not a job's script (default_pipeline.star): name a job's folder" in said


def test_words() -> None:
    assert [count(n, "file") for n in (0, 1, 2)] == ["0 files", "1 file", "2 files"]
    there = {"provider": "aws", "name": "c6a.4xlarge", "region": "eu-central-1", "spot": False}
    assert place(there) == "aws: c6a.4xlarge in eu-central-1"
    assert place(there | {"spot": True}) == "aws: c6a.4xlarge in eu-central-1, spot"
    assert place({"provider": "local", "name": "local", "region": None, "spot": False}) == "this computer (local)"


@pytest.mark.slow
def test_the_forecast_has_steps_and_a_price(home: Home) -> None:
    forecast = home.json("plan", "--job", FOLDER)["forecast"]
    assert [each["step"] for each in forecast["steps"]] == ["send", "start", "fetch inputs", "run", "bring home"]
    for each in (forecast["hours"], *(step["hours"] for step in forecast["steps"])):
        assert 0 <= each["low"] <= each["best"] <= each["high"]
    assert forecast["price"]["usd"] == forecast["at_most_usd"] == 0, "this computer costs nothing"
    lines = home.call("plan", "--job", FOLDER).stdout.splitlines()
    assert "price: 0 USD" in lines
    assert any(line.startswith("in all ") for line in lines)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--iter 7", "2 particles of 8 pixels, 2 classes, 7 iterations"),
        ("--K 5 --iter 1", "2 particles of 8 pixels, 5 classes, 1 iterations"),
        ("--sgd", "2 particles of 8 pixels, 2 classes, 90,000 looks at one"),
    ],
)
def test_the_work_of_a_job_is_told(home: Home, options: str, said: str) -> None:
    given = REFINE.replace("--K 2 ", "") if "--K" in options else REFINE
    home.write(script(f"{given} {options}"))
    assert home.json("plan", "--job", FOLDER)["work"] == said


@pytest.mark.slow
def test_a_kind_that_nothing_is_known_of_has_no_time(home: Home) -> None:
    (home.project / FOLDER / "job.star").write_text(JOB_STAR.format(number=99))
    forecast = home.json("plan", "--job", FOLDER)["forecast"]
    run = next(step for step in forecast["steps"] if step["step"] == "run")
    assert (run["hours"], forecast["hours"], forecast["price"]) == (None, None, None)
    assert forecast["at_most_usd"] == 0
    assert any("nothing is known of relion.external" in each for each in forecast["basis"])
    done = home.call("plan", "--job", FOLDER).stdout
    assert "how long that takes is not known" in done


@pytest.mark.slow
def test_own_runs_are_preferred_and_explained(home: Home) -> None:
    before = home.json("plan", "--job", FOLDER)
    finish(home, seconds=3600.0, units=2 * 50 * 2 * 64 / 1e6)
    after = home.json("plan", "--job", FOLDER, "--explain")
    one, two = (next(s for s in v["forecast"]["steps"] if s["step"] == "run")["hours"] for v in (before, after))
    assert one["best"] < 0.01
    assert two["best"] == pytest.approx(1.0, rel=0.5), "as the user's own run took"
    assert after["explained"]["own_runs"] == 1
    finish(home, seconds=3700.0, units=2 * 50 * 2 * 64 / 1e6)
    explained = home.json("plan", "--job", FOLDER, "--explain")["explained"]
    assert explained["errors"]["owns"] == 2
    assert explained["errors"]["own"] < 1.6
    said = home.call("plan", "--job", FOLDER, "--explain").stdout
    assert "cross-validated on your own runs: off by a factor of" in said
    assert "cross-validated on the same work on another machine: off by a factor of" in said


@pytest.mark.slow
def test_the_line_is_as_fast_as_it_was(home: Home) -> None:
    finish(home, seconds=10.0, units=1.0, sent=10**9, sending=100.0)
    plan = home.json("plan", "--job", FOLDER)
    assert "the line to the store: 10 MB/s, as one run sent" in plan["forecast"]["basis"]
    home.environment["CRYOBURST_BANDWIDTH"] = "1 MB/s"
    plan = home.json("plan", "--job", FOLDER)
    assert "the bandwidth is limited to 1 MB/s now" in plan["forecast"]["basis"][0]


@pytest.mark.slow
def test_submit_keeps_the_forecast(home: Home) -> None:
    home.succeeds()
    ledger = Ledger(f"sqlite://{home.state / 'cryoburst.db'}")
    (run,) = ledger.runs()
    (machine,) = ledger.machines_of(run.uid)
    ledger.connection.close()
    assert run.forecast_hours > 0
    assert run.forecast_usd == 0
    assert run.units == pytest.approx(2 * 50 * 2 * 64 / 1e6)
    assert machine.usd_per_hour == 0


def finish(home: Home, *, seconds: float, units: float, sent: int = 0, sending: float = 1.0) -> None:
    """A run of this computer that has succeeded, in the ledger."""
    ledger = Ledger(f"sqlite://{home.state / 'cryoburst.db'}")
    begin = 1.7e9
    ledger.completed(begin)
    run = Run(
        0,
        os.urandom(8).hex(),
        "me",
        str(home.project),
        "Class2D/job001/",
        "t",
        "relion.class2d",
        "relion",
        "s",
        (home.state / "store").as_uri(),
        "local",
        "",
        None,
        1,
        begin,
    )
    run = replace(run, staged=begin + sending, bytes_sent=sent, command_seconds=seconds, units=units)
    run = ledger.add(replace(run, state=RunState.SUCCEEDED, ended=begin + 1e4))
    ledger.add_machine(
        Machine(
            f"{run.uid}-1", run.uid, 1, "local", "local", 0.0, MachineState.GONE, begin, begin + 1e5, "m", gone=begin
        )
    )
    ledger.connection.close()


@pytest.mark.parametrize(
    ("number", "command", "said"),
    [
        (1, "relion_run_motioncorr --i movies.star --o {} --use_own", "3 movies of 2 frames of 8 x 8 pixels"),
        (2, "relion_run_ctffind --i micrographs.star --o {}", "3 micrographs"),
    ],
)
def test_the_work_of_movies_and_micrographs(home: Home, number: int, command: str, said: str) -> None:
    three_micrographs(home, number, command)
    values = home.json("plan", "--job", FOLDER)
    assert values["work"] == said
    assert values["forecast"]["hours"]["best"] > 0


def three_micrographs(home: Home, number: int, command: str) -> None:
    """A job that reads three movies or micrographs."""
    names = [f"Movies/{n}.mrc" for n in range(3)]
    for name in names:
        mrc(home.project / name)
    optics = "\ndata_optics\n\nloop_\n_rlnOpticsGroupName #1\n_rlnOpticsGroup #2\n_rlnVoltage #3\nog 1 300\n\n"
    for block, label in (("movies", "rlnMicrographMovieName"), ("micrographs", "rlnMicrographName")):
        rows = "".join(f"{name} 1\n" for name in names)
        text = f"{optics}\ndata_{block}\n\nloop_\n_{label} #1\n_rlnOpticsGroup #2\n{rows}\n"
        (home.project / f"{block}.star").write_text(text)
    (home.project / FOLDER / "job.star").write_text(JOB_STAR.format(number=number))
    home.write(
        script(f"`which {command.split()[0]}` {command.partition(' ')[2].format(FOLDER)} --pipeline_control {FOLDER}")
    )


def test_the_machine_of_the_join_is_in_the_price_of_a_split_run(home: Home) -> None:
    home.environment["AWS_EC2_METADATA_DISABLED"] = "true"
    three_micrographs(home, 2, "relion_run_ctffind --i micrographs.star --o {}")
    plans = [home.json("plan", "--job", FOLDER, "--to", "aws", "--parts", parts)["forecast"] for parts in ("1", "3")]
    one, three = (forecast["at_most_usd"] for forecast in plans)
    assert three == pytest.approx(4 * one, rel=0.01)
    forecast = plans[1]
    hours = forecast["price"]["instance"] / plans[0]["price"]["instance"] * plans[0]["machine_hours"]["best"]
    join = next(step["hours"]["best"] for step in forecast["steps"] if step["step"] == "join")
    assert hours == pytest.approx(3 * forecast["machine_hours"]["best"] + join)


def test_a_plan_for_aws_needs_no_account_and_counts_a_bucket(home: Home) -> None:
    home.environment["AWS_EC2_METADATA_DISABLED"] = "true"
    done = home.call("plan", "--job", FOLDER, "--to", "aws", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["offer"]["provider"] == "aws"
    assert "a bucket beside them is assumed" in next(f["sentence"] for f in plan["findings"] if f["subject"] == "store")
    assert plan["bytes_to_send"] == plan["bytes_in"]
    assert plan["forecast"]["price"]["requests"] > 0
    assert any("the line to the store: 75 MB/s" in each for each in plan["forecast"]["basis"])


def test_outputs_of_an_unknown_size_make_the_price_unknown_and_what_is_known_is_told(home: Home) -> None:
    home.environment["AWS_EC2_METADATA_DISABLED"] = "true"
    picks = "--LoG --LoG_diam_min 100 --LoG_diam_max 200"
    three_micrographs(home, 4, f"relion_autopick --i micrographs.star --odir {{}} {picks}")
    forecast = home.json("plan", "--job", FOLDER, "--to", "aws")["forecast"]
    run, *_, last = (each["hours"] for each in forecast["steps"][3:])
    assert run["best"] > 0
    assert (last, forecast["hours"], forecast["egress_bytes"], forecast["usd"]) == (None, None, None, None)
    price = forecast["price"]
    assert (price["egress"], price["storage"], price["usd"]) == (None, None, None)
    assert price["instance"] > 0
    assert forecast["at_most_usd"] > price["instance"]
    assert "price: at least " in home.call("plan", "--job", FOLDER, "--to", "aws").stdout


def test_jobs_for_aws_use_the_bucket_of_the_setup_by_themselves(home: Home) -> None:
    home.environment["AWS_EC2_METADATA_DISABLED"] = "true"
    made = Notes("1", bucket="cryoburst-1", bucket_region="eu-central-1", prefix="cryoburst/", role="cryoburst-1")
    write(home.state / "aws", replace(made, regions={"eu-central-1": Region("vpc-1", "sg-1")}))
    added = home.call("store", "add", "aws", made.store, "--no-check")
    assert added.returncode == 0, added.stderr
    plan = home.json("plan", "--job", FOLDER, "--to", "aws")
    assert not [f for f in plan["findings"] if f["subject"] == "store"]
    assert plan["offer"]["region"] == "eu-central-1"
    assert home.json("plan", "--job", FOLDER)["offer"]["provider"] == "local"


def test_what_would_end_a_job_before_it_is_done_is_told(home: Home) -> None:
    """A walltime that is too short, and a budget that does not pay for what is foretold."""
    finish(home, seconds=72_000.0, units=2 * 50 * 2 * 64 / 1e6)
    home.environment |= {"AWS_EC2_METADATA_DISABLED": "true", "CRYOBURST_WALLTIME_HOURS": "2"}
    words = ("plan", "--job", FOLDER)
    (limit,) = [f["sentence"] for f in home.json(*words)["findings"] if f["subject"] == "limits"]
    assert re.match(r"its command is foretold to take [\d.]+ h, and is ended after 2 h: raise walltime_hours", limit)
    assert home.call("costs", "budget", "0.05").returncode == 0
    found = [f for f in home.json(*words, "--to", "aws")["findings"] if f["subject"] == "limits"]
    assert [f["level"] for f in found] == ["info", "info"]
    assert "and 0.05 USD are left of its budgets" in found[1]["sentence"]
    assert home.call("costs", "budget", "0").returncode == 0
    done = home.call(*words, "--to", "aws")
    assert (done.returncode, "the budget is used up" in done.stdout) == (2, True)
    done = home.call("submit", "--job", FOLDER)
    assert done.stderr.startswith("cryoburst: warning: its command is foretold to take ")
