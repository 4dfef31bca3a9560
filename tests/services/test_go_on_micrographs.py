"""Real CtfRefine and Polish jobs whose machine loses its power: what was whole is not done again."""

import re
import shutil
from pathlib import Path

import pytest
from tests import bare, window

from . import micrographs, refinement
from .home import Home

pytestmark = pytest.mark.slow
PROGRAMS = {"CtfRefine": "relion_ctf_refine", "Polish": "relion_motion_refine"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with all that the jobs read."""
    folder = tmp_path_factory.mktemp("micrographs") / "project"
    micrographs.project(folder)
    return folder


class Worked:
    """A job on six micrographs that is under way, in a user's home."""

    def __init__(self, home: Home, made: Path, kind: str) -> None:
        self.home, self.folder = home, f"{kind}/job005/"
        shutil.copytree(made, home.project, dirs_exist_ok=True)
        home.gate(PROGRAMS[kind])
        command = f"{micrographs.COMMANDS[kind]} --o {self.folder} --pipeline_control {self.folder}"
        script = window.add(home.project, self.folder, command)
        done = home.call("submit", str(script.relative_to(home.project)))
        assert done.returncode == 0, done.stderr

    def there(self, end: str) -> dict[Path, int]:
        """The files at home whose names end so, and when each was written."""
        found = (self.home.project / self.folder / "Movies").glob(f"*{end}")
        return {path: path.stat().st_mtime_ns for path in found}

    def lose(self, end: str, count: int) -> None:
        """Cut the power when so many files with such an end are home, and RELION is at the next one."""
        attempt = self.home.runs()[0]["attempt"]
        self.home.begin(attempt)
        self.home.hold(lambda project: len(list((project / self.folder / "Movies").glob(f"*{end}"))) > count)
        assert self.home.cut_when(lambda: len(self.there(end)) >= count)
        self.home.until(lambda run: run["attempt"] > attempt)

    def steps(self) -> list[int]:
        """How many steps were done when each attempt but the first began."""
        return [int(found[1]) for text in self.home.goes_on() if (found := re.search(r"missing: (\d+) ", text))]

    def assert_whole(self, losses: int) -> None:
        """It ended as it ends without us and without a loss: the same names and contents, each counted once."""
        self.home.begin(losses + 1)
        run = self.home.ended()
        assert (run["state"], run["attempt"]) == ("SUCCEEDED", losses + 1), self.home.log()
        alone = bare.run(self.home.project, self.folder, self.home.root / "alone", refinement.mpi(self.home))
        assert list(bare.differences(self.home.project / self.folder, alone)) == []
        assert run["files_out"] == len(bare.files(alone).keys() - bare.LOGS)
        self.home.assert_clean(losses + 1)


def test_ctfrefine_whose_machine_dies_fits_no_micrograph_again(home: Home, made: Path) -> None:
    job = Worked(home, made, "CtfRefine")
    job.lose("_wAcc_optics-group_1.mrc", 2)
    (done,) = job.steps()
    whole = dict(sorted(job.there("").items()))
    assert 2 <= done < micrographs.DATA.micrographs
    job.assert_whole(1)
    again = {path for path, time in whole.items() if path.stat().st_mtime_ns != time}
    assert len({path.name[:7] for path in again}) <= 1  # of the one that was under way


def test_polish_whose_machines_die_in_both_of_its_rounds(home: Home, made: Path) -> None:
    job = Worked(home, made, "Polish")
    job.lose("_tracks.star", 3)
    tracks = job.there("_tracks.star")
    assert not job.there("_shiny.star")
    job.lose("_shiny.star", 2)
    first, second = job.steps()
    total = micrographs.DATA.micrographs
    assert 2 <= first < total < second < 2 * total
    job.assert_whole(2)
    # Again: the one that was under way, and the last one that was done (``Kind.last_again``).
    assert sum(path.stat().st_mtime_ns != time for path, time in tracks.items()) <= 2
