"""Odd files, from one computer to another through the command line: all of them come, or are named with the reason."""
# ruff: noqa: PTH103, PTH115, PTH116, PTH118, PTH123, PTH211 - names that are no text, and texts that are no path

import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryoburst.model.stub import parse_stub
from cryoburst.services.project.arrive import takes_for_one
from cryoburst.services.project.clone import clone
from cryoburst.services.project.pull import Wishes
from cryoburst.services.project.walk import excluder, walk
from cryoburst.services.settings import load

from .computer import Computer, age, tree

pytestmark = pytest.mark.slow

PART = st.binary(min_size=1, max_size=30).map(lambda name: name.replace(b"/", b"%").replace(b"\0", b"0"))
NAMES = PART.filter(lambda name: name not in (b".", b"..", b".relion_lock") and not name.startswith(b".cryoburst-"))
CONTENT = st.one_of(st.binary(max_size=50), st.sampled_from([b"", b"same", b"x" * 70_000]))
TREES = st.recursive(
    st.one_of(CONTENT, st.tuples(st.just("link"), NAMES)),
    lambda inner: st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=20,
).filter(lambda tree: isinstance(tree, dict))


def grow(folder: bytes, wanted: dict[bytes, object]) -> None:
    """Make a random tree; its links point to names in their own folder, which may not be there."""
    os.makedirs(folder, exist_ok=True)
    for name, content in wanted.items():
        path = os.path.join(folder, name)
        if isinstance(content, dict):
            grow(path, content)
        elif isinstance(content, tuple):
            os.symlink(content[1], path)
        else:
            assert isinstance(content, bytes)
            with open(path, "wb") as file:
                file.write(content)


@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(TREES)
def test_any_tree_comes_as_it_is(wanted: dict[bytes, object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        here = Computer(Path(folder) / "here", Path(folder) / "store")
        there = Computer(Path(folder) / "there", here.store, "clone")
        grow(os.fsencode(here.project), wanted)
        pushed = here.call("push", "--json")
        loops = {path for path in tree(here.project) if _is_loop(os.fsencode(here.project), path)}
        assert pushed.returncode == (3 if loops else 0), pushed.stdout + pushed.stderr
        here.clone_to(there)
        expected = {path: what for path, what in tree(here.project).items() if path not in loops}
        found = tree(there.project)
        for path in set(expected) - set(found):  # a folder in which only loops were
            assert expected[path] is None
            assert any(loop.startswith(path + b"/") for loop in loops)
        assert {path: what for path, what in expected.items() if path in found} == found
        assert there.does("status") == there.does("status")


def _is_loop(root: bytes, path: bytes) -> bool:
    try:
        os.stat(os.path.join(root, path))
    except OSError as error:
        return error.errno == 40
    return False


def test_names_and_links(here: Computer, there: Computer, tmp_path: Path) -> None:
    project, outside = here.project, tmp_path / "microscope"
    (project / "Movies").mkdir()
    (outside / "deep").mkdir(parents=True)
    (outside / "m1.mrc").write_bytes(b"movie")
    (outside / "deep/again").symlink_to(outside)
    (outside / "home").symlink_to(project / "Movies")
    for name in ("a b", "new\nline", "caf\u00e9", "cafe\u0301", "A.mrc", "a.mrc", "bad\udcff", "-rf", "*", "'\"$(x)`"):
        (project / name).write_bytes(name.encode("utf-8", "surrogateescape"))
    os.link(project / "a b", project / "hard")
    (project / "Movies/raw").symlink_to(outside)
    (project / "Movies/one.mrc").symlink_to(outside / "m1.mrc")
    (project / "absolute").symlink_to(project / "a b")
    (project / "relative").symlink_to("Movies/../a b")
    (project / "dangling").symlink_to("later.star")
    (project / "nothing").symlink_to("/no/such/file")
    (project / "loop").symlink_to("loop")
    (project / "up").symlink_to("..")
    (project / "null").symlink_to("/dev/null")
    (project / ".cryoburst-half").write_bytes(b"")
    (project / ".relion_lock").mkdir()
    (project / "run.sh").write_bytes(b"#!/bin/sh\n")
    (project / "run.sh").chmod(0o755)
    (project / "empty/inner").mkdir(parents=True)
    os.mkfifo(project / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        os.chdir(project)
        bound.bind("socket")
    pushed = here.values("push", code=3)
    assert {each["path"]: each["why"] for each in pushed["left"]} == {
        "Movies/raw/deep/again": f"a link that leads back to a folder above it: {outside}",
        "nothing": "a link to nothing: /no/such/file",
        "loop": "a loop of links",
        "up": "a link that leads back to a folder above it: ..",
        "null": "a device",
        "pipe": "a named pipe",
        "socket": "a socket",
    }
    assert len(pushed["warnings"]) == 2
    assert "'A.mrc' and 'a.mrc'" in pushed["warnings"][0]
    here.clone_to(there)
    clone = there.project
    assert os.readlink(clone / "absolute") == "a b"
    assert (clone / "relative").read_bytes() == b"a b"
    assert os.readlink(clone / "dangling") == "later.star"
    assert os.readlink(clone / "Movies/raw/home") == ".."
    assert (clone / "Movies/raw/m1.mrc").read_bytes() == (clone / "Movies/one.mrc").read_bytes() == b"movie"
    assert not (clone / "Movies/raw").is_symlink()
    assert (clone / "hard").read_bytes() == b"a b"
    assert (clone / "bad\udcff").read_bytes() == b"bad\xff"
    assert (clone / "cafe\u0301").read_bytes() != (clone / "caf\u00e9").read_bytes()
    assert os.access(clone / "run.sh", os.X_OK)
    assert not os.access(clone / "a b", os.X_OK)
    assert (clone / "empty/inner").is_dir()
    assert not (clone / ".relion_lock").exists()
    assert (clone / "new\nline").stat().st_mtime_ns == (project / "new\nline").stat().st_mtime_ns
    assert "In step" in there.does("status")


def test_a_list_at_the_end_has_one_line_for_each_name(here: Computer) -> None:
    os.mkfifo(here.project / "one\ntwo")
    (here.project / "a").write_bytes(b"a")
    said = here.does("push", code=3)
    assert said.endswith("1 file not sent:\n  one\\ntwo: a named pipe\n")


def test_the_content_of_a_file_goes_up_once(here: Computer) -> None:
    data = os.urandom(20 * 2**20)
    (here.project / "big.mrcs").write_bytes(data)
    (here.project / "copy.mrcs").write_bytes(data)
    os.link(here.project / "big.mrcs", here.project / "hard.mrcs")
    assert here.values("push")["counts"]["bytes_sent"] == len(data)
    before = here.blobs()
    (here.project / "big.mrcs").rename(here.project / "renamed.mrcs")
    (here.project / "copy.mrcs").unlink()
    (here.project / "third.mrcs").write_bytes(data)
    pushed = here.values("push")
    assert (pushed["counts"]["bytes_sent"], pushed["counts"]["new"], pushed["counts"]["gone"]) == (0, 2, 2)
    assert here.blobs() == before


def test_what_is_unchanged_is_not_read(here: Computer) -> None:
    (here.project / "a.mrc").write_bytes(b"a" * 1000)
    age(here.project)
    here.does("push")
    os.utime(here.project / "a.mrc", None)
    assert here.values("push", "--dry-run")["counts"]["files_to_read"] == 1
    age(here.project, 50)
    assert here.values("push")["counts"]["files_read"] == 1
    assert here.values("push")["counts"]["files_to_read"] == 0
    (here.project / "a.mrc").rename(here.project / "b.mrc")
    assert here.values("push")["counts"]["files_to_read"] == 0  # known by its inode


def test_a_file_that_was_just_written_is_read_again(here: Computer) -> None:
    path = here.project / "a.mrc"
    path.write_bytes(b"one")
    now = time.time_ns() + 600 * 10**9  # just now, however long it takes until a push looks
    os.utime(path, ns=(now, now))
    here.does("push")
    path.write_bytes(b"two")
    os.utime(path, ns=(now, now))  # as if within one tick of the file system's clock
    assert here.values("push")["counts"]["changed"] == 1


def test_excluded_names_stay_as_the_store_has_them(here: Computer) -> None:
    (here.project / "Trash").mkdir()
    (here.project / "Trash/x.mrc").write_bytes(b"x")
    (here.project / "a.tmp").write_bytes(b"a")
    (here.project / "b.mrc").write_bytes(b"b")
    assert here.values("push", "--exclude", "Trash", "--exclude", "*.tmp")["counts"]["files"] == 1
    assert here.values("push")["counts"]["files"] == 3
    (here.project / "Trash/x.mrc").write_bytes(b"new")
    (here.project / "b.mrc").unlink()
    pushed = here.values("push", "--exclude", "Trash/")
    assert (pushed["counts"]["files"], pushed["counts"]["gone"], pushed["counts"]["changed"]) == (2, 1, 0)


def test_a_disk_that_is_not_mounted_does_not_empty_the_list(here: Computer) -> None:
    for number in range(20):
        (here.project / f"{number}.mrc").write_bytes(b"%d" % number)
    here.does("push")
    for number in range(20):
        (here.project / f"{number}.mrc").unlink()
    assert "20 of 20 files that were pushed are gone here" in here.does("push", code=2)
    assert here.values("push", "--force")["counts"] | {"files": 0, "gone": 20} == here.values("push")["counts"] | {
        "gone": 20
    }


def test_a_folder_that_cannot_be_read_stays_in_the_list(here: Computer) -> None:
    (here.project / "Movies").mkdir()
    (here.project / "Movies/a.mrc").write_bytes(b"a")
    (here.project / "b.mrc").write_bytes(b"b")
    here.does("push")
    (here.project / "Movies/a.mrc").unlink()
    (here.project / "Movies").rmdir()
    (here.project / "Movies").symlink_to("/no/such/disk")
    pushed = here.values("push", code=3)
    assert (pushed["counts"]["files"], pushed["counts"]["gone"]) == (2, 0)
    assert pushed["left"] == [{"path": "Movies", "why": "a link to nothing: /no/such/disk"}]


def test_a_case_insensitive_disk_names_what_it_cannot_hold(here: Computer, there: Computer) -> None:
    (here.project / "A.mrc").write_bytes(b"A")
    (here.project / "a.mrc").write_bytes(b"a")
    (here.project / "b.mrc").write_bytes(b"b")
    here.does("push")
    image, folder = there.root / "disk", there.project
    folder.mkdir()
    subprocess.run(["truncate", "-s", "20M", str(image)], check=True)
    for words in (["mkfs.vfat", str(image)], ["mount", "-o", "loop,shortname=mixed,utf8", str(image), str(folder)]):
        try:
            done = subprocess.run(words, capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip(f"{words[0]} is not installed")
        if done.returncode:
            pytest.skip(f"no such disk can be made here: {done.stderr.strip()}")
    try:
        assert "a.mrc: this file system takes its name for that of A.mrc" in here.clone_to(there, code=3)
        assert sorted(path.name for path in folder.iterdir()) == ["A.mrc", "b.mrc"]
        assert (folder / "A.mrc").read_bytes() == b"A"
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_names_that_a_disk_takes_for_one_are_left(
    here: Computer, there: Computer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("A.mrc", "a.mrc", "b.mrc", "caf\u00e9", "cafe\u0301"):
        (here.project / name).write_bytes(name.encode())
    for folder in ("Movies", "movies"):
        (here.project / folder).mkdir()
        (here.project / folder / "x").write_bytes(b"x")
    here.does("push")
    for name, value in there.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("cryoburst.services.project.pull.takes_for_one", lambda _folder: True)
    there.project.mkdir()
    outcome = clone(load(), f"{here.store.as_uri()}/{here.folder}", there.project, Wishes())
    assert sorted(each.path for each in outcome.left) == ["a.mrc", "caf\u00e9", "movies/x"]
    assert sorted(tree(there.project)) == [b"A.mrc", b"Movies", b"Movies/x", b"b.mrc", "cafe\u0301".encode()]
    assert takes_for_one(str(there.project)) is False


def test_a_walk_that_is_quick_and_complete(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"f{number % 7}").mkdir(exist_ok=True)
        (tmp_path / f"f{number % 7}/{number}").write_bytes(b"")
    found = walk(str(tmp_path), excluder(["f3", "1?"]))
    wanted = {f"f{n % 7}/{n}" for n in range(300) if n % 7 != 3 and not (len(str(n)) == 2 and str(n)[0] == "1")}
    assert set(found.files) == wanted
    assert found.cover("f3/3") == "f3"
    assert not found.cover("f4/4")


def test_a_stub_survives_a_copy_and_goes_up_as_what_it_stands_for(here: Computer, there: Computer) -> None:
    data = os.urandom(5 * 2**20)
    (here.project / "big.mrcs").write_bytes(data)
    here.does("push")
    assert "1 large file stay" in here.clone_to(there)
    stub = there.project / "big.mrcs"
    assert parse_stub(os.readlink(stub)) is not None
    subprocess.run(["cp", "-a", str(stub), str(there.project / "copy.mrcs")], check=True)
    stub.rename(there.project / "moved.mrcs")
    pushed = there.values("push")
    assert (pushed["counts"]["bytes_sent"], pushed["counts"]["new"], pushed["counts"]["gone"]) == (0, 2, 1)
    here.does("pull", "--delete")
    assert (here.project / "copy.mrcs").is_symlink()  # large, and not asked for
    here.does("pull", "copy.mrcs", "moved.mrcs")
    assert (here.project / "copy.mrcs").read_bytes() == (here.project / "moved.mrcs").read_bytes() == data
    assert not (here.project / "big.mrcs").exists()
    unknown = f"cryoburst://sha256:{'0' * 64}/5"
    (here.project / "lost.mrcs").symlink_to(unknown)
    assert "lost.mrcs: only its stub is here, and the store does not have its content" in here.does("push", code=3)
