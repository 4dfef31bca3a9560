"""``cryoburst store`` as the user calls it, on folders."""

import json
import os
import time
from pathlib import Path

import pytest

from cryoburst.model import documents
from cryoburst.model.documents import Closed, Request
from cryoburst.stores.folder import FolderStore

from .home import Home

pytestmark = pytest.mark.slow


@pytest.fixture
def lab(home: Home) -> FolderStore:
    """A folder store by the name lab, the default."""
    done = home.call("store", "add", "lab", "../lab", "--create", "--default")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Store lab is {(home.root / 'lab').as_uri()} and the default: ")
    assert "MB/s" in done.stdout
    return FolderStore((home.root / "lab").as_uri())


def put_run(store: FolderStore, number: int, *, ended: float | None, leave: str = "", owner: str = "me") -> str:
    """A run with one output of 1000 bytes; its prefix."""
    uid = f"u{number}"
    request = Request(
        uid, number, owner, "/p", "Job/job001/", "t", "k", "script", "s", "local", "", None, 1, 1.7e9, "p-1", leave
    )
    store.put(f"runs/{owner}/{uid}.json", documents.dump(request))
    if ended is not None:
        closed = Closed(uid, "SUCCEEDED", "", "", ended, 1)
        store.put(f"runs/{owner}/{uid}.closed.json", documents.dump(closed))
    store.put(f"p-1/Job.job001/{uid}/1/outputs/packs/{number:064x}", b"x" * 1000)
    return f"p-1/Job.job001/{uid}/"


def age(store: FolderStore, days: float) -> None:
    then = time.time() - days * 86400
    for path in store.root.rglob("*"):
        os.utime(path, (then, then))


def keys(store: FolderStore) -> set[str]:
    return {found.key for found in store.list("")}


def test_names(home: Home, lab: FolderStore) -> None:
    home.config.parent.mkdir(parents=True, exist_ok=True)
    home.config.write_text("# mine\n")
    assert f"*  lab   {lab.url}" in home.call("store", "names").stdout
    assert home.json("store", "names") == {"stores": {"lab": lab.url}, "default": "lab", "in_force": lab.url}
    assert home.json("store", "add", "b", lab.url, "--no-check") == {
        "name": "b",
        "url": lab.url,
        "default": False,
        "findings": [],
    }
    assert "stays as it is" in home.call("store", "forget", "b").stdout
    assert "no store with this name" in home.fails("store", "forget", "b")
    assert home.config.read_text() == "# mine\n"


def test_a_number_of_days_that_is_none(home: Home, lab: FolderStore) -> None:
    sentence = home.fails("store", "gc", "--older", "soon")
    assert sentence.startswith("argument --older: soon is not a number of days, such as 7")


def test_what_to_do_is_said_once(home: Home) -> None:
    assert home.fails("store", "add", "lab", "file:///nowhere/at/all") == (
        "no store here: No such file or directory (file:///nowhere/at/all): make the store first (cryoburst store add "
        "NAME URL --create), or mount its disk"
    )


def test_a_misspelt_store_in_the_settings_is_told_before_anything_is_printed(home: Home, lab: FolderStore) -> None:
    home.environment["CRYOBURST_STORE"] = "typo"
    for words in ((), ("--json",)):
        assert home.fails("store", "names", *words) == "there is no store with this name (typo): the names are lab"


def test_what_is_no_store_gets_no_name(home: Home) -> None:
    assert "--create" in home.fails("store", "add", "lab", "file:///nowhere/at/all")
    assert "needs a scheme" in home.fails("store", "add", "lab", "lab")
    sentence = home.fails("store", "add", "lab", "s3://AKIA:hunter22@bucket/x")
    assert "never holds a secret" in sentence
    assert "hunter22" not in sentence
    sentence = home.fails("store", "add", "lab", "s3://bucket/x?secret_access_key=hunter22", "--no-check")
    assert "never holds a secret" in sentence
    assert "hunter22" not in sentence
    assert home.json("store", "names")["stores"] == {}
    assert not list(home.config.parent.glob("*"))


def test_check(home: Home, lab: FolderStore) -> None:
    findings = home.json("store", "check")
    assert {"write", "list", "delete", "speed"} <= {each["subject"] for each in findings}
    assert keys(lab) == set()
    done = home.call("store", "check", "file:///nowhere")
    assert done.returncode == 1
    assert done.stdout.splitlines()[1].startswith("error  write")


def test_ls_and_du(home: Home, lab: FolderStore) -> None:
    assert home.call("store", "ls").stdout == "No project is in this store.\n"
    assert home.json("store", "ls", "lab", "--keys") == []
    put_run(lab, 1, ended=1.7e9)
    put_run(lab, 2, ended=None, owner="you")
    lab.put("p-1/inputs/packs/a", b"12345")
    (values,) = home.json("store", "ls")
    assert {**values, "newest": 0} == {
        "project": "p-1",
        "runs": 2,
        "unfinished": 1,
        "objects": 3,
        "bytes": 2005,
        "newest": 0,
    }
    runs = home.json("store", "ls", "lab", "p-1/")["runs"]
    assert [(r["number"], r["owner"], r["state"], r["bytes"]) for r in runs] == [
        (1, "me", "SUCCEEDED", 1000),
        (2, "you", "unfinished", 1000),
    ]
    assert [each["key"] for each in home.json("store", "ls", "lab", "p-1/inputs", "--keys")] == ["p-1/inputs/packs/a"]
    assert "5  " in home.call("store", "ls", "lab", "p-1/inputs/", "--keys").stdout
    assert "SUCCEEDED" in home.call("store", "ls", "lab", "p-1").stdout
    age(lab, 31)
    usage = home.json("store", "du")
    assert (usage["free_bytes"], usage["usd_per_month"]) == (0, None)  # a run is unfinished
    assert "run 2 of you, Job/job001, unfinished" in home.call("store", "du").stdout


def test_gc_shows_and_then_deletes(home: Home, lab: FolderStore) -> None:
    run = put_run(lab, 1, ended=1.7e9)
    lab.put("p-1/inputs/packs/a", b"12345")
    dead = lab.root / "p-1/.cryoburst-dead"
    dead.write_bytes(b"12")
    age(lab, 31)
    before = keys(lab)
    said = home.call("store", "gc").stdout
    assert "gc could free 3 objects, 1.0 kB; --yes deletes them" in said
    assert keys(lab) == before
    assert home.call("store", "gc", "--older", "40").stdout.splitlines()[-1].startswith("gc could free 2 objects")
    done = home.json("store", "gc", "lab", "--yes")
    assert (done["deleted"], done["objects"], done["bytes"]) == (True, 3, 1007)
    assert keys(lab) == {"runs/me/u1.json", "runs/me/u1.closed.json"}
    assert not dead.exists()
    assert home.call("store", "gc").stdout == "Nothing can go.\n"
    assert home.json("store", "gc", "--yes", "--forget-runs")["objects"] == 2
    assert keys(lab) == set()
    assert run


def test_gc_names_what_keeps_things(home: Home, lab: FolderStore) -> None:
    put_run(lab, 7, ended=None, owner="you")
    lab.put("runs/you/broken.json", b"?")
    age(lab, 31)
    said = home.call("store", "gc", "--yes").stdout
    assert "Unfinished, so what it may need stays: run 7 of you (Job/job001/)" in said
    assert "Can't be told: not a Request document" in said


def test_rm(home: Home, lab: FolderStore) -> None:
    home.environment["CRYOBURST_OWNER"] = "me"
    first = put_run(lab, 1, ended=1.7e9)
    left = put_run(lab, 2, ended=1.7e9, leave="*.mrcs")
    assert "required" in home.fails("store", "rm")
    assert "--yes removes it" in home.call("store", "rm", "--run", "1").stdout
    assert home.json("store", "rm", "--run", "1", "--yes")["objects"] == 1
    assert not [key for key in keys(lab) if key.startswith(first)]
    assert "nowhere else" in home.call("store", "rm", "--run", "u2").stdout
    assert "--unfetched" in home.fails("store", "rm", "lab", "--project", "p-1", "--yes")
    assert [key for key in keys(lab) if key.startswith(left)]
    done = home.call("store", "rm", "lab", "--project", "p-1/", "--yes", "--unfetched", "--forget-runs")
    assert (done.returncode, done.stderr) == (0, "")
    assert keys(lab) == set()
    put_run(lab, 3, ended=None)
    assert "is unfinished" in home.fails("store", "rm", "--project", "p-1", "--yes")


@pytest.mark.parametrize(
    "words",
    [
        ("gc", "--older", "-1"),
        ("gc", "--older", "nan"),
        ("ls", "nope"),
        ("ls", "lab", "nope"),
        ("ls", "lab", "nope", "--json"),
        ("ls", "lab", "nope/x", "--keys"),
        ("rm", "--run", "12"),
        ("rm", "--project", "../.."),
        ("rm", "--project", "runs"),
        ("ls", "lab", "../x", "--keys"),
    ],
)
def test_wrong_words(home: Home, lab: FolderStore, words: tuple[str, ...]) -> None:
    home.fails("store", *words)


def test_a_store_that_is_away_is_said_in_one_sentence(home: Home, tmp_path: Path) -> None:
    for verb, *more in (("ls",), ("du",), ("gc", "--yes"), ("rm", "--run", "1")):
        assert "no store here" in home.fails("store", verb, "file:///nowhere", *more)


def test_keys_stream(home: Home, lab: FolderStore) -> None:
    for n in range(30):
        lab.put(f"p-1/inputs/packs/{n}", b"")
    assert len(json.loads(home.call("store", "ls", "--keys", "--json").stdout)) == 30
