"""The pages follow the code: what is generated is fresh, and what has to be named is named."""

import dataclasses
import importlib.machinery
import importlib.util
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from cryoburst.cli import costs as cli_costs
from cryoburst.cli import offers as cli_offers
from cryoburst.database.ledger import Ledger
from cryoburst.engine import stage_in
from cryoburst.model import states
from cryoburst.model.course import Course, Fsc, Iteration, Micrographs
from cryoburst.model.job import Input, Job, Resources
from cryoburst.model.plugins import Demand, Finding, Offer
from cryoburst.model.price import Price
from cryoburst.model.run import Machine, Run
from cryoburst.services import report
from cryoburst.services.budgets import Budget
from cryoburst.services.costs import Cost
from cryoburst.services.forecast import Forecast, Step
from cryoburst.services.preflight import Preflight
from cryoburst.services.settings import Settings
from cryoburst.services.submit import Planned

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def script() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("script_docs", str(ROOT / "script/docs"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    loader.exec_module(module)
    sys.dont_write_bytecode = writes
    return module


def test_generated_pages_are_fresh(script: ModuleType) -> None:
    stale = [p.name for p, text in script.pages(DOCS) if not p.exists() or p.read_text() != text]
    assert not stale, "script/docs renews them"


def test_a_changed_transition_makes_the_diagram_stale(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (DOCS / "architecture.md").read_text()
    assert script.filled(page) == page
    monkeypatch.setattr(states, "RUN_TRANSITIONS", states.RUN_TRANSITIONS[1:])
    assert script.filled(page) != page


def test_every_transition_is_in_the_diagram() -> None:
    page = (DOCS / "architecture.md").read_text()
    for transition in (*states.RUN_TRANSITIONS, *states.MACHINE_TRANSITIONS):
        assert f"    {transition.before} --> {transition.after}\n" in page
        assert transition.why.replace("|", "\\|") in page


@pytest.mark.parametrize(
    "text",
    [
        "<!-- states:begin -->\n",
        "<!-- states:begin -->\n<!-- states:begin -->\n<!-- states:end -->\n",
        "<!-- unheard_of:begin -->\n<!-- unheard_of:end -->\n",
    ],
)
def test_a_marker_without_its_partner_is_an_error(script: ModuleType, text: str) -> None:
    with pytest.raises(ValueError, match="markers"):
        script.filled(text)


def test_what_is_outside_the_markers_stays(script: ModuleType) -> None:
    text = script.filled("before\n<!-- states:begin -->\nold\n<!-- states:end -->\nafter\n")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "\nold\n" not in text


def test_every_dependency_has_its_reason() -> None:
    project = PROJECT["project"]
    wanted = {plain(line) for line in (*project["dependencies"], *PROJECT["dependency-groups"]["dev"])}
    page = (DOCS / "dependencies.md").read_text()
    run_time, _, rest = page.partition("## Not taken")
    develop = rest.partition("## To develop")[2].partition("## System")[0]
    named = set(re.findall(r"^\| `([\w-]+)` \|", run_time + develop, re.MULTILINE))
    assert named - {"package"} == wanted


def test_the_locks_hold_every_dependency() -> None:
    for lock, lines in (("run", PROJECT["project"]["dependencies"]), ("dev", PROJECT["dependency-groups"]["dev"])):
        text = (ROOT / f"requirements/{lock}.lock").read_text()
        locked = {plain(line) for line in re.findall(r"^[\w.-]+==", text, re.MULTILINE)}
        assert {plain(line) for line in lines} <= locked
        assert "http" not in text, "no address belongs in a lock"
    run, dev = ((ROOT / f"requirements/{name}.lock").read_text() for name in ("run", "dev"))
    assert set(re.findall(r"^\S+==\S+", run, re.MULTILINE)) <= set(re.findall(r"^\S+==\S+", dev, re.MULTILINE))
    assert PROJECT["build-system"]["requires"][0] in (ROOT / "requirements/build.lock").read_text()


def test_every_entry_point_is_documented() -> None:
    plug_ins = (DOCS / "plug-ins.md").read_text()
    for group, shipped in PROJECT["project"]["entry-points"].items():
        assert f"(`{group}`)" in plug_ins
        for name, target in shipped.items():
            assert f"| `{name}` | `{target}` |" in plug_ins
    pages = "".join(page.read_text() for page in DOCS.glob("*.md"))
    for command in PROJECT["project"]["scripts"]:
        assert f"`{command}" in pages


def test_every_setting_is_documented() -> None:
    page = (DOCS / "settings.md").read_text()
    named = re.findall(r"^\| `([a-z_]+)` \| .+ \| .+ \|$", page, re.MULTILINE)
    assert sorted(named) == sorted(field.name for field in dataclasses.fields(Settings) if field.name != "state")
    (example,) = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert set(tomllib.loads(example)) <= set(named)


def test_every_json_key_is_documented(tmp_path: Path) -> None:
    page = (DOCS / "json.md").read_text()
    run = Run(1, "u", "o", "/p", "j/", "t", "k", "relion", "s", "file:///s", "local", "", None, 1, 0.0)
    machine = Machine("t", "u", 1, "local", "local", 0.0, states.MachineState.UP, 0.0, 0.0)
    offer = Offer("local", "local", 1, 1, 0, 0.0)
    job = Job("relion", "k", Path("/p"), "j/", "", (), Resources())
    inputs = [Input("a", Path("/p/a"), 1, 1, 1)]
    found = Preflight(job, run, inputs, [Finding("info", "disk", "s")], Demand(), offer)
    forecast = Forecast((Step("run", None),), None, None, Price(), None, 0.0, None, 0, "", ())
    plan = report.plan_values(Planned(found, stage_in.Plan(inputs, {}, []), forecast))
    assert all(f'"{key}": ' in page for key in (*plan["files"][0], *plan["findings"][0]))
    ledger = Ledger(f"sqlite://{tmp_path / 'cryoburst.db'}")
    shown = report.detail_values(ledger, run, 0.0)
    ledger.connection.close()
    course = report.course_values(Course((Iteration(1, None, ()),), 2, Fsc((0.1,), (), None), Micrographs(1, 2, None)))
    for heading, values in {
        "Course": course,
        "Run": report.run_values(run, 0.0),
        "Show": {key: value for key, value in shown.items() if key not in report.run_values(run, 0.0)},
        "Machine": report.machine_values(machine, 0.0),
        "Offer": report.offer_values(offer),
        "Plan": plan,
        "Forecast": plan["forecast"],
        "Offer of AWS": cli_offers.values(offer),
        "Cost": report.cost_values(Cost("j", "/p", 1, None, Price(), None, 0.0)),
        "Budget": cli_costs.budget_values(Budget("user", "me", 1.0, 0.0, False)),
        "Finding": dataclasses.asdict(Finding("ok", "", "")),
    }.items():
        section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
        rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
        named = re.findall(r"`([a-z_]+)`", " ".join(rows))
        assert sorted(named) == sorted(values), heading


def test_every_variable_is_documented() -> None:
    source = "".join(file.read_text() for file in (ROOT / "src").rglob("*.py"))
    pages = "".join(page.read_text() for page in (*DOCS.glob("*.md"), ROOT / "README.md"))
    for variable in sorted(set(re.findall(r"""["'](CRYOBURST_[A-Z_]+)["']""", source))):
        assert f"`{variable}" in pages, f"{variable} is read by the code and on no page"


def test_the_index_names_every_page() -> None:
    index = (DOCS / "README.md").read_text()
    named = re.findall(r"^\| \[([\w-]+\.md)\]\(\1\) \| .+ \|$", index, re.MULTILINE)
    assert sorted(named) == sorted(page.name for page in DOCS.glob("*.md") if page.name != "README.md")


@pytest.mark.parametrize("page", [*sorted(DOCS.glob("*.md")), ROOT / "README.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("https://", "#")):
            assert (page.parent / target.partition("#")[0]).exists(), target


def test_the_changelog_knows_the_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## \[(.+?)\]", text, re.MULTILINE)
    assert headings[0] == "Unreleased"
    released = headings[1:]
    assert not released or released[0] == PROJECT["project"]["version"]


def plain(requirement: str) -> str:
    """The normal form of a package's name, without extras and versions."""
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None
    return re.sub(r"[-_.]+", "-", found[0].rstrip(".")).lower()
