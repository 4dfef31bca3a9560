"""``cryoburst runs`` and ``cryoburst costs`` of several projects: whose job is whose."""

import shutil

import pytest

from cryoburst.cli.show_values import job_names

from .home import FOLDER, Home


@pytest.mark.slow
def test_jobs_of_several_projects_are_told_apart(home: Home) -> None:
    job = FOLDER.rstrip("/")
    other = home.project.with_name("other")
    shutil.copytree(home.project, other)
    assert home.call("submit", "--job", FOLDER, "--wait").returncode == 0
    assert f" {job} " in home.call("runs").stdout  # of one project everybody knows which
    assert home.call("costs").stdout.splitlines()[1].startswith(f"{job} ")
    first, home.project = home.project, other
    assert home.call("submit", "--job", FOLDER, "--wait").returncode == 0
    lines = home.call("runs").stdout.splitlines()[1:]
    assert [line.split()[2] for line in lines] == [f"{first.name}/{job}", f"other/{job}"]
    told = home.call("costs").stdout
    assert f"\n{first.name}/{job} " in told
    assert f"\nother/{job} " in told
    assert [run["job"] for run in home.json("runs")] == [job, job]  # a program has the project beside it


def test_projects_of_the_same_name_are_told_by_their_paths() -> None:
    assert job_names([("A/job1", "/x/p"), ("A/job1", "/y/p"), ("total", None)]) == [
        "/x/p/A/job1",
        "/y/p/A/job1",
        "total",
    ]
    assert job_names([("A/job1", "/x/p"), ("B/job2", "/x/p")]) == ["A/job1", "B/job2"]
