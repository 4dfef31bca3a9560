"""``cryoburst project``: its words, what it refuses, forged lists, and jobs whose inputs are elsewhere."""
# ruff: noqa: PTH115 - a Path would drop a slash

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cryoburst.model import documents
from cryoburst.model.documents import Head
from cryoburst.model.project import FILE, LINK, Entry, encode
from cryoburst.stores.folder import FolderStore

from .home import FOLDER, STACK, STAR, Home

pytestmark = pytest.mark.slow

DIGEST = hashlib.sha256(b"").hexdigest()


def store_of(home: Home) -> FolderStore:
    """The store that needs no setting."""
    return FolderStore((home.state / "store").as_uri())


def forge(home: Home, entries: dict[str, Entry], name: str = "forged") -> str:
    """A project in the store with a list that no push would write; its address."""
    home.call("project", "push")
    store = store_of(home)
    data = encode(sorted(entries.items()))
    part = f"{name}/project/{hashlib.sha256(data).hexdigest()}"
    store.put(part, data)
    head = Head(1, "0" * 16, "", 0.0, "elsewhere", "somebody", "/p", len(entries), 0, [part])
    store.put(f"projects/{name}/{head.name}.json", documents.dump(head))
    return f"{store.url}/{name}"


def pushed_file(home: Home, content: bytes) -> Entry:
    """An entry whose content is in the store."""
    key = f"forged/inputs/x/{hashlib.sha256(content).hexdigest()}"
    home.call("project", "push")
    store_of(home).put(key, content)
    return Entry(FILE, len(content), 0, f"sha256:{hashlib.sha256(content).hexdigest()}", key)


def test_a_push_that_finds_nothing_new_loads_nothing_that_it_does_not_need(home: Home) -> None:
    """The start of Python and of what it loads is all that such a push takes."""
    old = time.time() - 100  # a file that was just written may still change
    for path in home.project.rglob("*"):
        os.utime(path, (old, old), follow_symlinks=False)
    home.call("project", "push")
    code = (
        "import sys\nfrom cryoburst.cli.main import main\nmain(['project', 'push'])\n"
        "print({'dataclasses', 'inspect', 'logging', 'sqlite3', 'shutil', 'obstore', 'concurrent'} & set(sys.modules))"
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
    assert "nothing to send" in done.stdout
    assert done.stdout.endswith("set()\n")


def test_words(home: Home) -> None:
    for words in (["project"], ["project", "pull", "--below", "big"], ["project", "pull", "--theirs", "--ours"]):
        done = home.call(*words)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
    home.call("project", "push")
    assert home.fails("project", "pull", "nope", "*.star", "no/pe") == (
        "the project in the store has no name like this (nope)"
    )
    assert "there is no such folder" in home.call("project", "push", "nowhere").stderr
    assert "there is no store with this name" in home.call("project", "push", "--store", "nas").stderr
    other = home.root / "other"
    other.mkdir()
    assert "the store has no project here" in home.call("project", "pull", "--project", str(other)).stderr
    assert home.call("project", "status", str(other)).returncode == 1


def test_a_home_folder_is_no_project(home: Home) -> None:
    for words in (("..",), ("/",), ("..", "--force"), ("..", "--dry-run")):
        sentence = home.fails("project", "push", *words)
        assert "and no project" in sentence
        assert sentence.startswith("this is your home" if words[0] == ".." else "your home folder is in this one")
    assert not (home.state / "store/projects").exists()
    home.environment["HOME"] = str(home.project)  # one who works in it
    assert home.call("project", "push").returncode == 0


def test_a_byte_that_is_no_text_is_shown_as_that_byte(home: Home) -> None:
    (home.project / "bad\udcff.star").touch()
    (home.project / "BAD\udcff.star").touch()
    said = home.call("project", "push", "--dry-run").stdout
    assert "\n  bad\\xff.star\n" in said
    assert r"only one of these names can be: 'BAD\xff.star' and 'bad\xff.star'" in said


def test_from_push_to_clone(home: Home, tmp_path: Path) -> None:
    pushed = json.loads(home.call("project", "push", "--json").stdout)
    assert pushed["counts"]["files"] > 3
    listed = home.call("project", "clone", store_of(home).url)
    assert pushed["folder"] in listed.stdout
    for name in ("nope", "nope/deeper"):
        sentence = home.fails("project", "clone", f"{store_of(home).url}/{name}")
        assert sentence.startswith("there is no such project in the store" if name == "nope" else "no store here")
    assert pushed["folder"] in home.call("project", "clone", f"{store_of(home).url}/{pushed['folder']}").stdout
    refused = home.call("project", "clone", store_of(home).url, str(tmp_path / "clone"))
    assert (refused.returncode, pushed["folder"] in refused.stderr) == (2, True)
    refused = home.call("project", "clone", f"{store_of(home).url}/{pushed['folder']}", str(home.project))
    assert (refused.returncode, "a clone needs a new or an empty folder" in refused.stderr) == (2, True)
    home.call("store", "add", "nas", store_of(home).url)
    assert home.fails("project", "clone", "nas/nope").endswith(f": it has {pushed['folder']}")
    done = home.call("project", "clone", f"nas/{pushed['folder']}", str(tmp_path / "clone"), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"]["brought"] == pushed["counts"]["files"]
    assert (tmp_path / "clone" / STAR).read_bytes() == (home.project / STAR).read_bytes()
    home.call("project", "clone", f"nas/{pushed['folder']}", str(tmp_path / "stubs"), "--below", "0")
    assert (tmp_path / "stubs" / STACK).is_symlink()
    again = json.loads(home.call("project", "push", str(tmp_path / "stubs"), "--json").stdout)["counts"]
    assert (again["files"], again["bytes"]) == (pushed["counts"]["files"], pushed["counts"]["bytes"])  # stubs count
    sub = tmp_path / "clone" / FOLDER
    assert json.loads(home.call("project", "status", str(tmp_path / "clone"), "--json").stdout)["in_step"]
    assert (sub / "job.star").exists()


@pytest.mark.parametrize(
    "path", ["../evil", "/tmp/hD-evil", "a/../../evil", "a\0b", "", ".cryoburst-x", "a//b", "x/./y"]
)
def test_a_forged_list_writes_nothing_outside(home: Home, tmp_path: Path, path: str) -> None:
    source = forge(home, {"fine.star": pushed_file(home, b"fine"), path: pushed_file(home, b"evil")})
    done = home.call("project", "clone", source, str(tmp_path / "in/clone"))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "the project's list in the store names a path that leads out of the project" in done.stderr
    assert not any(path.name.startswith("evil") for path in tmp_path.rglob("*"))
    assert not list((tmp_path / "in/clone").iterdir())


@pytest.mark.parametrize("target", ["/etc", "..", "../..", "b/../../..", "", "s3://../../etc"])
def test_a_forged_link_leads_nowhere(home: Home, tmp_path: Path, target: str) -> None:
    source = forge(home, {"a": Entry(LINK, target=target), "fine.star": pushed_file(home, b"fine")})
    done = home.call("project", "clone", source, str(tmp_path / "clone"))
    assert done.returncode == 2
    assert "a link that leads out of the project" in done.stderr
    assert not list((tmp_path / "clone").iterdir())


def test_a_forged_list_writes_through_no_link(home: Home, tmp_path: Path) -> None:
    source = forge(home, {"a": Entry(LINK, target="b"), "a/passwd": pushed_file(home, b"evil")})
    done = home.call("project", "clone", source, str(tmp_path / "clone"))
    assert "leads through something that is no folder: a/passwd" in done.stderr


def test_a_pull_writes_through_no_link_of_the_users(home: Home, tmp_path: Path) -> None:
    outside = tmp_path / "microscope"
    outside.mkdir()
    source = forge(home, {"Movies/m.star": pushed_file(home, b"new"), "a.star": pushed_file(home, b"a")})
    clone = tmp_path / "clone"
    home.call("project", "clone", source, str(clone))
    (clone / "Movies/m.star").unlink()
    (clone / "Movies").rmdir()
    (clone / "Movies").symlink_to(outside)
    done = home.call("project", "pull", "--project", str(clone), str(clone / "Movies"))
    assert done.returncode in (2, 3)
    assert not list(outside.iterdir())
    done = home.call("project", "pull", "--project", str(clone), "--theirs")
    assert done.returncode == 3
    assert "Movies/m.star: its folder is a link to a place elsewhere" in done.stdout
    assert not list(outside.iterdir())


def test_a_damaged_list_is_refused(home: Home, tmp_path: Path) -> None:
    source = forge(home, {"a.star": pushed_file(home, b"a")})
    (part,) = (home.state / "store/forged/project").iterdir()
    part.write_bytes(part.read_bytes()[:-1])
    assert "is damaged in the store" in home.call("project", "clone", source, str(tmp_path / "one")).stderr
    head = next((home.state / "store/projects/forged").iterdir())
    value = documents.load(Head, head.read_bytes(), "")
    head.write_bytes(documents.dump(dataclasses.replace(value, parts=["../../../etc/passwd"])))
    assert "this is not the head of this project" in home.call("project", "clone", source, str(tmp_path / "two")).stderr


# ------------------------------------------------------------------------------------------------ inputs elsewhere


def planned(home: Home) -> dict[str, dict[str, object]]:
    """The files that a submission would use, by path."""
    done = home.call("plan", "--json", f"{FOLDER}run_submit.script")
    assert done.returncode == 0, done.stderr
    return {file["path"]: file for file in json.loads(done.stdout)["files"]}


def test_a_stub_is_an_input_and_is_not_sent(home: Home, tmp_path: Path) -> None:
    before = planned(home)
    assert STACK in before
    pushed = json.loads(home.call("project", "push", "--json").stdout)
    stub = f"cryoburst://sha256:{hashlib.sha256((home.project / STACK).read_bytes()).hexdigest()}"
    size = (home.project / STACK).stat().st_size
    (home.project / STACK).unlink()
    (home.project / STACK).symlink_to(f"{stub}/{size}")
    after = planned(home)
    assert set(after) == set(before)
    assert (after[STACK]["size"], after[STACK]["to_send"]) == (size, False)
    assert not any(file["to_send"] for file in after.values()), pushed


def test_a_job_runs_with_a_stub_whose_content_is_in_the_store(home: Home) -> None:
    home.call("project", "push")
    stack = home.project / STACK
    text = f"cryoburst://sha256:{hashlib.sha256(stack.read_bytes()).hexdigest()}/{stack.stat().st_size}"
    stack.unlink()
    stack.symlink_to(text)
    assert STAR in home.succeeds()
    assert os.readlink(stack) == text  # it is as it was: only the machine has the content


def test_a_stub_whose_content_is_nowhere(home: Home) -> None:
    (home.project / STACK).unlink()
    (home.project / STACK).symlink_to(f"cryoburst://sha256:{DIGEST}/100")
    done = home.call("plan", f"{FOLDER}run_submit.script")
    assert done.returncode == 2
    assert STACK in done.stderr


def test_a_list_that_is_a_stub_has_to_be_pulled_first(home: Home) -> None:
    stub = f"cryoburst://sha256:{DIGEST}/100"
    (home.project / STAR).unlink()
    (home.project / STAR).symlink_to(stub)
    done = home.call("plan", f"{FOLDER}run_submit.script")
    assert done.returncode == 2
    assert f"bring it first: cryoburst project pull {STAR}" in done.stderr


def test_a_link_to_nothing_is_still_missing(home: Home) -> None:
    (home.project / STACK).unlink()
    (home.project / STACK).symlink_to("cryoburst:/nothing")
    done = home.call("plan", f"{FOLDER}run_submit.script")
    assert (done.returncode, f"{STACK} is missing" in done.stderr) == (2, True)


# ---------------------------------------------------------------------------------------------- objects in a bucket

FAKE = """
from cryoburst.model.plugins import Stored
from cryoburst.stores import objects

class Bucket:
    def __init__(self, url):
        self.url = url
    def list(self, prefix):
        for key in {keys!r}:
            yield Stored(key, 10, 0.0)

objects.ObjectStore = Bucket
"""


def fake_bucket(home: Home, keys: list[str]) -> None:
    """Every s3:// store of the next commands has these objects."""
    folder = home.project.parent / "fake"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(FAKE.format(keys=keys))
    home.environment["PYTHONPATH"] = os.pathsep.join([str(folder), home.environment.get("PYTHONPATH", "")])


def test_links_for_what_is_in_a_bucket(home: Home) -> None:
    fake_bucket(home, ["a b.mrc", "deep/m1.mrc", "what?.mrc", "../evil", "taken.mrc", "x" * 300])
    movies = home.project / "Raw"
    movies.mkdir()
    (movies / "taken.mrc").write_bytes(b"mine")
    done = home.call("project", "link", "s3://bucket/movies/?region=eu", "Raw")
    assert done.returncode == 3, done.stderr
    assert os.readlink(movies / "a b.mrc") == "s3://bucket/movies/a b.mrc?region=eu"
    assert os.readlink(movies / "deep/m1.mrc") == "s3://bucket/movies/deep/m1.mrc?region=eu"
    assert os.readlink(movies / "what?.mrc") == "s3://bucket/movies/what%3F.mrc?region=eu"
    assert (movies / "taken.mrc").read_bytes() == b"mine"
    assert "3 files not linked" in done.stdout
    assert "../evil: a key that can be no name here" in done.stdout
    again = home.call("project", "link", "s3://bucket/movies/?region=eu", "Raw")
    assert "Made 0 links in Raw, 3 were there" in again.stdout
    pushed = json.loads(home.call("project", "push", "--json").stdout)
    assert pushed["left"] == []


def test_link_wants_a_bucket(home: Home) -> None:
    for url in ("file:///tmp", "/tmp", "s3://", "s3://bucket/../x"):
        done = home.call("project", "link", url, "Raw")
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1


def test_a_secret_in_an_address_is_never_repeated(home: Home) -> None:
    said = home.fails("project", "link", "s3://someone:verysecret@bucket/p", "Movies")
    assert "never holds a secret" in said
    assert "verysecret" not in said
