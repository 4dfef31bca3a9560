"""``cryoburst costs``, its budgets, and what ``submit`` does when they are used up."""

import csv
import io
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cryoburst.database.ledger import Ledger
from cryoburst.model.run import Machine, Run
from cryoburst.model.states import MachineState, RunState

from .home import FOLDER, Home
from .test_show import on_terminal

GB = 2**30
HOUR = 3600.0


def spend(home: Home, *, usd: float | None = 2.0, hours: float = 10.0, days: float = 40.0, open_: bool = False) -> None:
    """One run of the project on one machine of AWS, so many days ago; with ``open_`` it still runs."""
    begin = time.time() - days * 86400
    ledger = Ledger(f"sqlite://{home.state / 'cryoburst.db'}")
    ledger.completed(begin)
    run = Run(
        0,
        f"{days:016.0f}",
        "me",
        str(home.project),
        FOLDER,
        "t",
        "relion.class2d",
        "relion",
        "s",
        "s3://lab?region=eu-central-1",
        "aws",
        "",
        None,
        1,
        begin,
    )
    run = replace(run, staged=begin, started=begin, command_started=begin, bytes_sent=100 * GB, bytes_out=10 * GB)
    run = replace(run, forecast_hours=hours, forecast_usd=25.0, state=RunState.RUNNING)
    if not open_:
        run = replace(run, state=RunState.SUCCEEDED, ended=begin + hours * HOUR)
    run = ledger.add(run)
    machine = Machine(
        f"{run.uid}-1",
        run.uid,
        1,
        "aws",
        "c7i.4xlarge",
        usd,
        MachineState.UP if open_ else MachineState.GONE,
        begin,
        begin + 24 * HOUR,
        "i-1",
        gone=None if open_ else begin + hours * HOUR,
        disk_bytes=730 * GB,
        disk_usd_gb_month=0.1,
    )
    ledger.add_machine(machine)
    ledger.connection.close()


@pytest.mark.slow
def test_nothing_yet(home: Home) -> None:
    assert home.json("costs") == {
        "by": "job",
        "costs": [],
        "budgets": [],
        "total": {"usd": 0, "instance": 0, "disk": 0, "storage": 0, "requests": 0, "egress": 0, "known_usd": 0},
    }
    assert home.call("costs").stdout == "Nothing has cost anything yet: there are no runs.\n"


def test_a_finished_run_has_all_its_parts(home: Home) -> None:
    spend(home)
    values = home.json("costs")
    (line,) = values["costs"]
    final = line["final"]
    assert (line["name"], line["runs"], line["forecast_usd"]) == (FOLDER.rstrip("/"), 1, 25.0)
    assert line["machine_hours"] == pytest.approx(10)
    assert final["instance"] == pytest.approx(20.0)
    assert final["disk"] == pytest.approx(730 * 0.1 * 10 / 730)
    stored = 100 * (30 + 10 / 24) + 10 * (30 + 10 / 24)  # GB days: as if what was made was there from the beginning
    assert final["storage"] == pytest.approx(stored * 24 / 730 * 0.0245, rel=1e-3)
    assert final["egress"] == pytest.approx(10 * 0.09)
    assert 0 < final["requests"] < 0.2
    assert final["usd"] == pytest.approx(sum(final[name] for name in final if name != "usd"))
    assert line["accrued"] == final, "after 30 days nothing is added"
    assert values["total"]["usd"] == pytest.approx(final["usd"])


def test_what_still_runs_has_no_final_cost(home: Home) -> None:
    spend(home, days=0.25, open_=True)
    (line,) = home.json("costs", "--by", "project")["costs"]
    assert line["name"] == str(home.project)
    assert line["final"] is None
    assert line["accrued"]["instance"] == pytest.approx(12.0, rel=0.01)


@pytest.mark.slow
def test_an_unknown_price_stays_unknown(home: Home) -> None:
    spend(home, usd=None)
    values = home.json("costs")
    assert values["costs"][0]["accrued"]["instance"] is None
    assert values["total"]["usd"] is None
    said = home.call("costs").stdout
    assert "unknown" in said
    assert "and more whose price is not known" in said


@pytest.mark.slow
def test_the_months_add_up_to_the_jobs(home: Home) -> None:
    for days in (70.0, 40.0, 3.0):
        spend(home, days=days, hours=20)
    by_job, by_month = (home.json("costs", "--by", by) for by in ("job", "month"))
    months = by_month["costs"]
    assert len(months) >= 3
    assert [month["name"] for month in months] == sorted(month["name"] for month in months)
    assert by_month["total"]["usd"] == pytest.approx(by_job["total"]["usd"], rel=1e-4)
    assert sum(month["runs"] for month in months) == 3
    assert months[-1]["final"] is None
    assert months[0]["final"]["usd"] == pytest.approx(months[0]["accrued"]["usd"])


@pytest.mark.slow
def test_csv_has_the_same_values(home: Home) -> None:
    spend(home)
    done = home.call("costs", "--csv")
    assert done.returncode == 0
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    (line,) = home.json("costs")["costs"]
    assert row["job"] == line["name"]
    assert float(row["accrued_usd"]) == pytest.approx(line["accrued"]["usd"], abs=1e-5)
    assert float(row["egress_usd"]) == pytest.approx(line["accrued"]["egress"], abs=1e-5)


@pytest.mark.slow
def test_a_chart(home: Home) -> None:
    spend(home)
    done = home.call("costs", "--chart", "c.png")
    assert done.returncode == 0, done.stderr
    assert (home.project / "c.png").read_bytes().startswith(b"\x89PNG")
    assert "PNG" in home.fails("costs", "--chart", "c.pdf")


@pytest.mark.slow
def test_a_project_gets_a_budget_and_loses_it(home: Home) -> None:
    assert "There is no budget" in home.call("costs", "budget").stdout
    spend(home)
    (budget,) = home.json("costs", "budget", "100")
    assert (budget["scope"], budget["name"], budget["limit_usd"]) == ("project", str(home.project), 100)
    assert budget["used_usd"] + budget["left_usd"] == pytest.approx(100)
    assert "Budget:" not in home.call("costs").stdout
    home.call("costs", "budget", "28")
    assert "Budget: " in home.call("costs").stdout, "80 % are said"
    assert home.json("costs", "budget", "none") == []


def test_what_a_running_machine_may_still_cost_counts(home: Home) -> None:
    spend(home, days=0.25, open_=True)
    (budget,) = home.json("costs", "budget", "1000")
    assert budget["used_usd"] > 24 * 2.0, "to its deadline"


@pytest.mark.parametrize("words", [("many",), ("-5",), ("inf",), ("5", "--project", "nowhere")])
def test_bad_budgets(home: Home, words: tuple[str, ...]) -> None:
    home.fails("costs", "budget", *words)
    assert not (home.config.parent / "budgets.json").exists()


def test_a_spoilt_list_of_budgets_is_never_forgotten(home: Home) -> None:
    file = home.config.parent / "budgets.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    for text in ("{", "[]", '{"format": 1, "projects": {"/p": "much"}}'):
        file.write_text(text)
        assert "budget" in home.fails("costs", "budget")


@pytest.mark.slow
def test_a_used_budget_stops_nothing_that_is_free(home: Home) -> None:
    spend(home)
    home.environment["CRYOBURST_BUDGET_PROJECT"] = "1"
    assert home.json("plan", "--job", FOLDER)["forecast"]["usd"]["best"] == 0
    home.succeeds()


def test_settings_are_budgets(home: Home, tmp_path: Path) -> None:
    spend(home, days=0.5, hours=1)
    home.environment |= {"CRYOBURST_OWNER": "me", "CRYOBURST_BUDGET_USER": "50"}
    assert [each["scope"] for each in home.json("costs", "budget")] == ["user"]
    home.environment["CRYOBURST_BUDGET_USER"] = "lots"
    assert "CRYOBURST_BUDGET_USER" in home.fails("costs")


def test_show_has_the_forecast_above_the_cost(home: Home) -> None:
    spend(home)
    shown, (line,) = home.json("show", "1"), home.json("costs")["costs"]
    assert shown["cost"] == line
    said = home.call("show", "1").stdout.splitlines()
    at = said.index("  forecast     25.00 USD, 10 h 00 min on 1 machine")
    assert said[at + 1] == f"  cost         {line['final']['usd']:.2f} USD, 10 h 00 min on 1 machine"
    spend(home, days=0.25, open_=True)
    assert re.search(r"^  cost +1\d\.\d\d USD so far, 6 h 00 min on 1 machine$", home.call("show", "2").stdout, re.M)
    assert home.call("show", "1", "--html", "run.html").returncode == 0
    assert "10 h 00 min on 1 machine" in (home.project / "run.html").read_text()


def test_costs_fit_a_narrow_terminal(home: Home) -> None:
    for days in (70.0, 40.0):
        spend(home, days=days)
    for words in (("costs",), ("costs", "--by", "project"), ("costs", "--by", "month")):
        drawn = on_terminal(home, *words, columns=80).splitlines()
        assert max(map(len, drawn)) <= 80, drawn
        assert "FORECAST" in drawn[0]


def test_a_lost_list_forgets_no_cost(home: Home) -> None:
    """What ended runs have cost is in their records: budgets go on, too."""
    home.succeeds()
    home.no_machine()
    (record,) = (home.state / "store/records").rglob("*.json")
    record.write_text(record.read_text().replace('"usd_per_hour": 0.0', '"usd_per_hour": 36.0'))
    for file in home.state.glob("cryoburst.db*"):
        file.unlink()
    assert home.call("recover").returncode == 0
    (line,) = home.json("costs")["costs"]
    assert line["machine_hours"] == pytest.approx(60 / 3600)
    assert line["accrued"]["instance"] == pytest.approx(36.0 * 60 / 3600)
    (budget,) = home.json("costs", "budget", "0.5")
    assert budget["used_usd"] == pytest.approx(0.6)


def test_all_lists_of_the_same_runs_have_one_sum_whatever_is_unknown(home: Home) -> None:
    spend(home, usd=4.1, days=40)
    spend(home, usd=None, days=5)
    known = {by: home.json("costs", "--by", by)["total"]["known_usd"] for by in ("job", "project", "month")}
    assert known["job"] > 40
    assert known["project"] == pytest.approx(known["job"]) == pytest.approx(known["month"], rel=1e-3)
    (budget,) = home.json("costs", "budget", "30")
    assert budget["left_usd"] == 0
