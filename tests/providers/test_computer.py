"""What this computer offers."""

from pathlib import Path

import pytest

from cryoburst.model.job import Resources
from cryoburst.model.plugins import Need
from cryoburst.providers.local.provider import LocalProvider


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalProvider:
    programs(tmp_path, "relion", "echo RELION version: 3.1.3; echo asked >> " + str(tmp_path / "asked"))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)))
    return LocalProvider(tmp_path / "machines")


def programs(folder: Path, name: str, script: str) -> None:
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / "bin" / name).chmod(0o755)


@pytest.mark.parametrize(
    ("need", "fits"),
    [
        (Need(Resources()), True),
        (Need(Resources(), {"relion": ""}), True),
        (Need(Resources(), {"relion": "3.1"}), True),
        (Need(Resources(), {"relion": "3"}), True),
        (Need(Resources(), {"relion": "3.1.2"}), False),
        (Need(Resources(), {"relion": "4.0"}), False),
        (Need(Resources(), {"no_such_program": ""}), False),
        (Need(Resources(), {"../relion": ""}), False),
        (Need(Resources(processes=4, threads=2)), True),
        (Need(Resources(processes=99, threads=3)), True),
        (Need(Resources(gpus=1)), False),
        (Need(Resources(memory_bytes=2**60)), False),
        (Need(Resources(), disk_bytes=2**60), False),
    ],
)
def test_what_fits(local: LocalProvider, need: Need, fits: bool) -> None:
    offers = local.offers(need)
    assert bool(offers) is fits
    for offer in offers:
        assert (offer.provider, offer.cores, offer.usd_per_hour, offer.gpus) == ("local", 8, 0.0, 0)
        assert offer.software == {"relion": "3.1.3"}
        assert offer.memory_bytes > 2**20


def test_a_program_is_asked_once_for_its_version_until_it_changes(local: LocalProvider, tmp_path: Path) -> None:
    for _ in range(3):
        LocalProvider(local.folder).offers(Need(Resources(), {"relion": "3.1"}))
    assert (tmp_path / "asked").read_text() == "asked\n"
    programs(tmp_path, "relion", "echo RELION version: 4.0.0")
    assert local.offers(Need(Resources(), {"relion": "4.0"}))
    (local.folder / "versions.json").write_text("not json")
    assert local.offers(Need(Resources(), {"relion": "4.0"}))


def test_gpus_are_counted(local: LocalProvider, tmp_path: Path) -> None:
    programs(tmp_path, "nvidia-smi", "echo 'GPU 0: Tesla (UUID: x)'; echo 'GPU 1: Tesla (UUID: y)'")
    assert local.offers(Need(Resources(gpus=2)))[0].gpus == 2


def test_the_check_names_what_is_missing(local: LocalProvider, tmp_path: Path) -> None:
    programs(tmp_path, "gs", "true")
    found = {finding.subject: finding for finding in local.check()}
    assert set(found) == {"disk", "relion", "mpirun", "gs", "bash"}
    assert found["relion"].level == "ok"
    assert "3.1.3" in found["relion"].sentence
    assert found["gs"].level == "ok"
    (tmp_path / "bin" / "gs").unlink()
    (tmp_path / "bin" / "relion").unlink()
    found = {finding.subject: finding for finding in local.check()}
    assert found["relion"].level == "warning"
