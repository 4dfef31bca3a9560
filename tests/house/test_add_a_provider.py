"""docs/add-a-provider.md is true: its module, its package and its commands are taken from the page and used."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cryoburst.agent import archive
from cryoburst.model.job import Resources
from cryoburst.model.plugins import Boot, MachineRequest, Need, Provider
from cryoburst.packages.relion.script import TEMPLATE
from cryoburst.stores.folder import FolderStore

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs/add-a-provider.md").read_text()
BIN = Path(sys.executable).parent

pytestmark = pytest.mark.slow


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The example's folder, as the page says to write it."""
    folder = tmp_path / "cryoburst-namespace"
    folder.mkdir()
    (folder / "cryoburst_namespace.py").write_text(block("python"))
    (folder / "pyproject.toml").write_text(block("toml"))
    return folder


@pytest.fixture
def provider(package: Path, tmp_path: Path) -> Iterator[Provider]:
    """The example's provider, whose machines are ended after the test."""
    spec = importlib.util.spec_from_file_location("cryoburst_namespace", package / "cryoburst_namespace.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: Provider = module.NamespaceProvider(tmp_path / "machines")
    (finding,) = made.check()
    if finding.level != "ok":
        pytest.skip(finding.sentence)
    yield made
    for machine in made.machines("me"):
        made.delete(machine.id)


@pytest.fixture
def request_(provider: Provider, tmp_path: Path) -> Callable[..., MachineRequest]:
    """Makes orders for machines whose agent finds no spec and waits for one, as after a lost upload."""
    store = FolderStore((tmp_path / "store").as_uri())
    store.create()
    data, checksum = archive.build()
    store.put("agent.pyz", data)
    (offer,) = provider.offers(Need(Resources()))

    def order(token: str, seconds: float = 600.0) -> MachineRequest:
        boot = Boot(store.url, "p/j/r/1/", "agent.pyz", checksum)
        return MachineRequest(token, "me", "r", 1, offer, boot, time.time() + seconds)

    return order


def test_same_token_same_machine(provider: Provider, request_: Callable[..., MachineRequest]) -> None:
    first, second = provider.create(request_("one")), provider.create(request_("one"))
    assert first.id == second.id
    assert [m.token for m in provider.machines("me")] == ["one"]
    assert provider.machines("somebody else") == []


def test_deleted_is_gone_and_again_is_silent(provider: Provider, request_: Callable[..., MachineRequest]) -> None:
    machine = provider.create(request_("one"))
    provider.delete(machine.id)
    assert provider.machines("me") == []
    provider.delete(machine.id)


def test_dies_by_itself_when_its_time_is_over(provider: Provider, request_: Callable[..., MachineRequest]) -> None:
    provider.create(request_("one", seconds=1.0))
    wait_until(lambda: not any(m.alive for m in provider.machines("me")))
    assert len(provider.machines("me")) == 1, "a dead machine is listed until it is deleted"


def test_a_job_comes_home(package: Path, provider: Provider, tmp_path: Path) -> None:
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--target", site, package], check=True, timeout=120)
    project = make_project(tmp_path / "project")
    environment = {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "PYTHONPATH": str(site),
        "CRYOBURST_STATE": str(tmp_path / "state"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "CRYOBURST_IDLE_SECONDS": "1",
    }

    def cryoburst(*words: str) -> str:
        command = [BIN / "cryoburst", *words]
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=360)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    commands = [line.removeprefix("cryoburst ") for line in block("sh").splitlines() if line.startswith("cryoburst ")]
    assert len(commands) == 3
    outputs = [cryoburst(*command.split()) for command in commands]
    assert "namespaces" in outputs[0]
    assert "namespace" in outputs[1]
    assert outputs[2] == "Submitted run 1\n"
    cryoburst("wait", "1")
    shown = json.loads(cryoburst("show", "1", "--json"))
    assert (shown["state"], shown["provider"]) == ("SUCCEEDED", "namespace")
    assert (project / "MaskCreate/job001/mask.mrc").stat().st_size == (project / "map.mrc").stat().st_size
    assert (project / "MaskCreate/job001/RELION_JOB_EXIT_SUCCESS").exists()

    def ended() -> bool:
        machines: list[dict[str, Any]] = json.loads(cryoburst("show", "1", "--json"))["machines"]
        return [m["state"] for m in machines] == ["GONE"]

    wait_until(ended)
    assert not list((tmp_path / "state/machines/namespaces").iterdir())


def make_project(folder: Path) -> Path:
    """A RELION project with one map, and a MaskCreate job as RELION's window leaves it for the queue."""
    import mrcfile
    import numpy as np

    job = folder / "MaskCreate/job001"
    job.mkdir(parents=True)
    z, y, x = np.mgrid[:32, :32, :32] - 16.0
    with mrcfile.new(folder / "map.mrc") as file:
        file.set_data(np.exp(-(x * x + y * y + z * z) / 50).astype("f4"))
        file.voxel_size = 3.0
    (folder / "default_pipeline.star").write_text("\ndata_pipeline_general\n\n_rlnPipeLineJobCounter 2\n\n")
    options = "loop_\n_rlnJobOptionVariable #1\n_rlnJobOptionValue #2\ndo_queue Yes\nfn_in map.mrc\n\n"
    kind = "data_job\n\n_rlnJobType 12\n_rlnJobIsContinue 0\n\n"
    (job / "job.star").write_text(f"\n{kind}data_joboptions_values\n\n{options}")
    command = (
        "`which relion_mask_create` --i map.mrc --o MaskCreate/job001/mask.mrc --angpix 3 --ini_threshold 0.1"
        " --extend_inimask 2 --width_soft_edge 2 --j 1 --pipeline_control MaskCreate/job001/"
    )
    words = {"name": "MaskCreate/job001/", "mpinodes": "1", "threads": "1", "command": command}
    script = re.sub(r"XXX([a-z]+)XXX", lambda word: words.get(word[1], word[0]), TEMPLATE)
    (job / "run_submit.script").write_text(script)
    return folder


def block(language: str) -> str:
    """The page's one block of code in this language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return found


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 180
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)
