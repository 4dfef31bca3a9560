"""Real faults: kills, flipped bits, lost objects, files that change or vanish while they are sent, full disks."""
# ruff: noqa: PTH115 - a Path would drop a slash

import fcntl
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cryoburst.model.stub import parse_stub

from .computer import Computer, age, tree

pytestmark = pytest.mark.slow

BIG = 20 * 2**20  # bytes: more than one piece


def large(computer: Computer, count: int = 6, size: int = BIG) -> None:
    """Files of more than one piece, and many small ones."""
    for number in range(count):
        (computer.project / f"big{number}.mrcs").write_bytes(os.urandom(size))
    for number in range(200):
        (computer.project / f"small{number}.star").write_bytes(os.urandom(1000))


def kill_when(computer: Computer, holds: Callable[[], bool], *words: str, cwd: Path | None = None) -> bool:
    """Start a command and kill it (9) as soon as something holds; whether it was still at work."""
    running = computer.start(*words, cwd=cwd)
    end = time.monotonic() + 180
    while running.poll() is None and not holds() and time.monotonic() < end:
        time.sleep(0.002)
    at_work = running.poll() is None
    running.send_signal(signal.SIGKILL)
    running.communicate()
    return at_work


@pytest.mark.parametrize("blobs", [1, 3, 7, 11])
def test_a_killed_push_sends_only_what_is_missing(here: Computer, there: Computer, blobs: int) -> None:
    large(here)
    assert kill_when(here, lambda: len(here.blobs()) >= blobs, "push")
    before = here.blobs()
    assert before
    here.does("push")
    after = here.blobs()
    assert {key: after[key] for key in before} == before  # not one of them was written again
    here.clone_to(there, "--all")
    assert tree(there.project) == tree(here.project)


@pytest.mark.parametrize("files", [1, 50, 203])
def test_a_killed_clone_and_pull_go_on(here: Computer, there: Computer, files: int) -> None:
    large(here)
    age(here.project)
    here.does("push")
    source = f"{here.store.as_uri()}/{here.folder}"

    def enough() -> bool:
        found = list(there.project.iterdir()) if there.project.exists() else []
        return len(found) >= files

    kill_when(there, enough, "clone", source, str(there.project), "--all", cwd=there.root)
    whole = tree(here.project)
    for path, content in tree(there.project).items():
        if not path.startswith(b".cryoburst-pull"):
            assert whole[path] == content
    present = {p.name: p.stat().st_ino for p in there.project.iterdir() if not p.name.startswith(".cryoburst-")}
    there.does("pull", "--all")
    assert tree(there.project) == whole  # and nothing unfinished is left
    assert {name: (there.project / name).stat().st_ino for name in present} == present
    assert "In step" in there.does("status")


def test_a_flipped_bit_is_named_and_mended(here: Computer, there: Computer) -> None:
    large(here, 2)
    (here.project / "mid.mrcs").write_bytes(os.urandom(3 * 2**20))
    age(here.project)
    here.does("push")
    sizes = {path: path.stat().st_size for path in (here.store / here.folder / "inputs").rglob("*") if path.is_file()}
    middle = next(path for path, size in sizes.items() if size == 3 * 2**20)
    piece = next(path for path, size in sizes.items() if size == 16 * 2**20)
    for path in (middle, piece):
        with path.open("r+b") as file:
            file.seek(1000)
            byte = file.read(1)
            file.seek(1000)
            file.write(bytes([byte[0] ^ 1]))
    said = here.clone_to(there, "--all", code=3)
    assert "2 files not brought:" in said
    assert "mid.mrcs: what the store gave is not what was promised" in said
    damaged = [line.split(":")[0].strip() for line in said.splitlines() if "damaged" in line]
    assert len(damaged) == 1
    whole, found = tree(here.project), tree(there.project)
    for name in (damaged[0], "mid.mrcs"):
        assert parse_stub(os.readlink(there.project / name)) is not None
        whole.pop(name.encode())
        found.pop(name.encode())
    assert {path: what for path, what in found.items() if not path.startswith(b".cryoburst-pull")} == whole
    here.does("push", "--again", "mid.mrcs", "--again", damaged[0])
    there.does("pull", "--all")
    assert tree(there.project) == tree(here.project)


def test_lost_and_short_objects_are_found_and_sent_again(here: Computer, there: Computer) -> None:
    large(here, 2)
    age(here.project)
    here.does("push")
    blobs = [path for path in (here.store / here.folder / "inputs").rglob("*") if path.is_file()]
    lost = next(path for path in blobs if path.stat().st_size == 16 * 2**20)
    short = next(path for path in blobs if path.stat().st_size == 4 * 2**20)
    pack = next(path for path in blobs if path.parent.name == "packs")
    lost.unlink()
    os.truncate(short, 1000)
    pack.unlink()
    assert "In step" in here.does("push")  # an unchanged project costs no look at each blob
    assert "The store had lost 20" in here.does("push", "--check")
    here.clone_to(there, "--all")
    assert tree(there.project) == tree(here.project)


def test_an_emptied_store_gets_everything_again(here: Computer, there: Computer) -> None:
    large(here, 1)
    age(here.project)
    here.does("push")
    subprocess.run(["rm", "-rf", here.store / here.folder, here.store / "projects"], check=True)
    assert "the project's list is gone from the store" in here.does("push", code=2)
    here.does("push", "--force")
    here.clone_to(there, "--all")
    assert tree(there.project) == tree(here.project)


def test_what_somebody_freed_is_not_counted_on(here: Computer, there: Computer) -> None:
    """A content that no list names any more may be freed; our ledger does not know."""
    data = os.urandom(3 * 2**20)
    (here.project / "a.mrcs").write_bytes(data)
    (here.project / "b.star").write_bytes(b"b")
    age(here.project)
    here.does("push")
    (here.project / "a.mrcs").rename(here.root / "kept")
    here.does("push")
    for path in (here.store / here.folder / "inputs").rglob("*"):
        if path.is_file() and path.stat().st_size == len(data):
            path.unlink()
    (here.root / "kept").rename(here.project / "a.mrcs")
    assert here.values("push")["counts"]["bytes_sent"] == len(data)
    here.clone_to(there, "--all")
    assert (there.project / "a.mrcs").read_bytes() == data


def test_a_file_that_changes_all_the_time_is_named(here: Computer) -> None:
    path = here.project / "growing.mrcs"
    path.write_bytes(os.urandom(BIG))
    (here.project / "a.star").write_bytes(b"a")
    ended = threading.Event()

    def grow() -> None:
        with path.open("r+b", buffering=0) as file:
            while not ended.is_set():
                os.pwrite(file.fileno(), os.urandom(100), 0)
                time.sleep(0.0005)

    growing = threading.Thread(target=grow)
    growing.start()
    try:
        pushed = here.values("push", code=3)
    finally:
        ended.set()
        growing.join()
    assert pushed["left"] == [{"path": "growing.mrcs", "why": "it changed while it was sent"}]
    assert (pushed["counts"]["files"], pushed["counts"]["new"]) == (1, 1)
    assert here.values("push")["counts"]["files"] == 2


def test_files_that_vanish_are_named(here: Computer) -> None:
    large(here, 4)
    (here.project / "zz.star").write_bytes(b"z" * 3 * 2**20)

    def vanish() -> bool:
        if here.blobs():
            for number in range(4):
                (here.project / f"big{number}.mrcs").unlink(missing_ok=True)
            (here.project / "zz.star").unlink(missing_ok=True)
            return True
        return False

    running = here.start("push", "--json")
    while running.poll() is None and not vanish():
        time.sleep(0.001)
    said = running.communicate()[0]
    assert running.returncode == 3, said
    assert "it vanished before it was sent" in said
    assert here.does("push", code=0)


def test_a_folder_that_cannot_be_written_is_named_and_the_others_come(
    here: Computer, there: Computer, disk: Callable[[str, int], Path]
) -> None:
    for folder in ("open", "shut"):
        (here.project / folder).mkdir()
        (here.project / folder / "a.star").write_bytes(b"one")
    age(here.project)
    here.does("push")
    here.clone_to(there)
    (there.project / "shut/a.star").unlink()
    there.does("pull", "shut/a.star")
    mounted = disk("there/clone/shut", 1000)
    (mounted / "a.star").write_bytes(b"one")
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    for folder in ("open", "shut"):
        (here.project / folder / "a.star").write_bytes(b"two")
    here.does("push")
    said = there.does("pull", code=3)
    assert "shut/a.star: read-only file system" in said.lower()
    assert (there.project / "open/a.star").read_bytes() == b"two"
    assert (there.project / "shut/a.star").read_bytes() == b"one"
    assert "since you last pulled" in there.does("push", code=2)  # it would take the new one away
    subprocess.run(["mount", "-o", "remount,rw", str(mounted)], check=True)
    there.does("pull")
    assert tree(there.project) == tree(here.project)


def test_a_full_disk_leaves_nothing_half(here: Computer, there: Computer, disk: Callable[[str, int], Path]) -> None:
    for number in range(8):
        (here.project / f"{number}.mrcs").write_bytes(os.urandom(2**20))
    here.does("push")
    there.root.joinpath("clone").mkdir()
    disk("there/clone", 4000)
    said = here.clone_to(there, code=3)
    assert "no space left on device" in said
    whole = tree(here.project)
    for path, content in tree(there.project).items():
        assert content == whole[path] or parse_stub(str(content, "utf-8") if isinstance(content, bytes) else "")
    disk("there/clone", 40_000)
    there.does("pull")
    assert tree(there.project) == whole


def test_a_file_that_changes_while_it_is_fetched_is_not_replaced(here: Computer, there: Computer) -> None:
    large(here, 3)
    age(here.project)
    here.does("push")
    here.clone_to(there, "--all")
    for number in range(3):
        (here.project / f"big{number}.mrcs").write_bytes(os.urandom(BIG))
    here.does("push")
    running = there.start("pull", "--json")
    while running.poll() is None:
        if any(path.name.startswith(".cryoburst-") for path in there.project.iterdir()):
            for number in range(3):
                (there.project / f"big{number}.mrcs").write_bytes(b"mine")
            break
    said = running.communicate()[0]
    assert running.returncode == 3, said
    assert "it changed here while it was fetched" in said
    assert all((there.project / f"big{number}.mrcs").read_bytes() == b"mine" for number in range(3))


def test_one_push_at_a_time_on_a_computer(here: Computer) -> None:
    here.does("push")
    (lock,) = (here.root / "state/projects").rglob("lock")
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for verb in ("push", "pull"):
            assert "another push or pull of this project is at work" in here.does(verb, code=2)
    here.does("push")


def test_a_store_that_is_not_there_is_one_sentence(here: Computer) -> None:
    (here.project / "a.star").write_bytes(b"a")
    here.does("push")
    here.store.rename(here.root / "away")
    for verb in ("push", "pull", "status"):
        said = here.does(verb, code=2)
        assert said.count("\n") == 1
        assert "no store here" in said
