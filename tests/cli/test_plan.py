"""``cryoburst plan`` for people."""

from cryoburst.cli.plan import count, place

from .home import FOLDER, Home


def test_plan_is_said_in_english(home: Home) -> None:
    done = home.call("plan", "--job", FOLDER)
    assert done.returncode == 0, done.stderr
    values = home.json("plan", "--job", FOLDER)
    lines = done.stdout.splitlines()
    assert lines[1] == f"would go to this computer (local), {count(values['offer']['cores'], 'core')}"
    assert lines[2].startswith(f"reads {count(len(values['files']), 'file')}, ")


def test_the_pipeline_is_no_job(home: Home) -> None:
    said = home.fails("plan", "default_pipeline.star")
    assert "this is not a job's script (default_pipeline.star): name a job's folder" in said


def test_words() -> None:
    assert [count(n, "file") for n in (0, 1, 2)] == ["0 files", "1 file", "2 files"]
    assert place("aws", "c6a.4xlarge") == "aws: c6a.4xlarge"
    assert place("local", "local") == "this computer (local)"
