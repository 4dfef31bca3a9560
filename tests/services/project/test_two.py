"""Two computers with one project: neither loses what the other did."""
# ruff: noqa: PTH115 - a Path would drop a slash

import os
from pathlib import Path

import pytest

from cryoburst.model.buffers import Buffer
from cryoburst.model.documents import Head
from cryoburst.services.project import heads
from cryoburst.stores.folder import FolderStore

from .computer import Computer, age, tree

pytestmark = pytest.mark.slow


@pytest.fixture
def both(here: Computer, there: Computer) -> tuple[Computer, Computer]:
    """A project that is in step on both."""
    for name in ("a.star", "b.star", "c.star"):
        (here.project / name).write_bytes(name.encode())
    age(here.project)
    here.does("push")
    here.clone_to(there)
    return here, there


def test_what_changed_on_one_side_comes(both: tuple[Computer, Computer]) -> None:
    here, there = both
    (here.project / "a.star").write_bytes(b"new")
    (here.project / "d.star").write_bytes(b"d")
    (here.project / "b.star").unlink()
    (there.project / "e.star").write_bytes(b"e")
    here.does("push")
    assert "pushed from" in there.does("push", code=2)
    said = there.does("pull")
    assert "1 name gone from the store's list: still here" in said
    assert (there.project / "a.star").read_bytes() == b"new"
    assert (there.project / "d.star").read_bytes() == b"d"
    assert (there.project / "b.star").read_bytes() == b"b.star"
    there.does("push")
    here.does("pull")
    assert set(tree(here.project)) == {b"a.star", b"c.star", b"d.star", b"e.star"}
    there.does("pull", "--delete")
    assert tree(here.project) == tree(there.project)


def test_what_was_removed_in_the_store_stays_so_until_somebody_decides(both: tuple[Computer, Computer]) -> None:
    here, there = both
    for name in ("b.star", "c.star"):
        (here.project / name).unlink()
    here.does("push")
    for _ in range(2):
        assert "2 names gone from the store's list: still here" in there.does("pull")
        assert there.values("status", code=1)["names"]["gone_there"] == ["b.star", "c.star"]
        assert there.values("status", code=1)["names"]["new_here"] == []
    os.utime(there.project / "c.star")  # its content is the same
    said = there.does("push")
    assert "nothing to send" in said
    assert "is still here is not sent: b.star, c.star; cryoburst project pull --delete or --ours decides" in said
    there.does("pull", "a.star")
    assert there.values("pull", "--ours", "b.star")["names"]["gone_there"] == []
    assert there.values("status", code=1)["names"]["new_here"] == ["b.star"]
    assert "1 new" in there.does("push")
    there.does("pull", "--delete")
    assert set(tree(there.project)) == {b"a.star", b"b.star"}
    assert "In step" in there.does("status")
    here.does("pull")
    assert tree(here.project) == tree(there.project)


def test_what_was_removed_in_the_store_and_is_changed_here_is_new(both: tuple[Computer, Computer]) -> None:
    here, there = both
    for name in ("b.star", "c.star"):
        (here.project / name).unlink()
    here.does("push")
    there.does("pull")
    (there.project / "b.star").write_bytes(b"other")
    assert "1 new" in there.does("push")
    assert there.values("status", code=1)["names"]["gone_there"] == ["c.star"]
    assert "1 new" in there.does("push", "--force")
    assert "In step" in there.does("status")


def test_what_was_removed_on_one_side_goes_when_asked(both: tuple[Computer, Computer]) -> None:
    here, there = both
    (here.project / "b.star").unlink()
    here.does("push")
    assert there.values("status", code=1)["names"]["gone_there"] == ["b.star"]
    there.does("pull", "--delete")
    assert set(tree(there.project)) == {b"a.star", b"c.star"}
    assert "In step" in there.does("status")


@pytest.mark.parametrize(("side", "wins"), [("--theirs", b"here"), ("--ours", b"there")])
def test_what_changed_on_both_sides_is_decided_by_a_person(
    both: tuple[Computer, Computer], side: str, wins: bytes
) -> None:
    here, there = both
    (here.project / "a.star").write_bytes(b"here")
    (there.project / "a.star").write_bytes(b"there")
    (here.project / "b.star").write_bytes(b"new")
    here.does("push")
    assert there.values("status", code=1)["names"]["conflicts"] == ["a.star"]
    said = there.does("pull", code=3)
    assert "a.star: changed here and changed in the store: decide with --theirs or --ours" in said
    assert (there.project / "a.star").read_bytes() == b"there"
    assert (there.project / "b.star").read_bytes() == b"new"
    assert "since you last pulled" in there.does("push", code=2)
    there.does("pull", side)
    there.does("push")
    here.does("pull")
    assert (here.project / "a.star").read_bytes() == (there.project / "a.star").read_bytes() == wins


def test_the_same_change_on_both_sides_is_none(both: tuple[Computer, Computer]) -> None:
    here, there = both
    for computer in both:
        (computer.project / "a.star").write_bytes(b"the same")
    here.does("push")
    assert there.values("pull")["counts"]["brought"] == 0
    assert "In step" in there.does("status")


def test_a_file_that_was_just_pushed_is_no_conflict(both: tuple[Computer, Computer]) -> None:
    here, there = both
    (here.project / "a.star").write_bytes(b"one")
    here.does("push")
    there.does("pull")
    (there.project / "a.star").write_bytes(b"two")
    there.does("push")
    here.does("pull")
    assert (here.project / "a.star").read_bytes() == b"two"


def test_removed_here_and_changed_there(both: tuple[Computer, Computer]) -> None:
    here, there = both
    (there.project / "a.star").unlink()
    (there.project / "b.star").unlink()
    (here.project / "a.star").write_bytes(b"new")
    here.does("push")
    assert "a.star: removed here and changed in the store" in there.does("pull", code=3)
    assert not (there.project / "a.star").exists()
    there.does("pull", "--theirs", "a.star")
    assert (there.project / "a.star").read_bytes() == b"new"
    there.does("pull", "b.star")
    assert (there.project / "b.star").read_bytes() == b"b.star"
    assert "In step" in there.does("status") or "In step" in (there.does("pull") and there.does("status"))


def test_names_change_their_kind(both: tuple[Computer, Computer]) -> None:
    here, there = both
    (here.project / "a.star").unlink()
    (here.project / "a.star").mkdir()
    (here.project / "a.star/inner").write_bytes(b"x")
    (here.project / "b.star").unlink()
    (here.project / "b.star").symlink_to("c.star")
    (here.project / "c.star").chmod(0o755)
    here.does("push")
    there.does("pull")
    assert tree(there.project) == tree(here.project)
    assert os.access(there.project / "c.star", os.X_OK)
    (here.project / "b.star").unlink()
    (here.project / "b.star").write_bytes(b"a file again")
    here.does("push")
    there.does("pull")
    assert tree(there.project) == tree(here.project)


def test_the_base_is_lost_on_one_side(both: tuple[Computer, Computer]) -> None:
    here, there = both
    (there.project / "a.star").write_bytes(b"mine")
    for path in (there.root / "state/projects").rglob("*"):
        if path.is_file():
            path.unlink()
    said = there.does("pull", code=3)
    assert "a.star: changed here and changed in the store" in said
    there.does("pull", "--ours")
    assert there.values("push")["counts"]["changed"] == 1
    here.does("pull")
    assert (here.project / "a.star").read_bytes() == b"mine"


def test_the_whole_state_is_lost_here(here: Computer) -> None:
    (here.project / "a.star").write_bytes(b"a")
    age(here.project)
    here.does("push")
    before = here.blobs()
    (here.root / "state").rename(here.root / "lost")
    assert "run cryoburst project pull first" in here.does("push", code=2)
    here.does("pull")
    assert here.values("push")["counts"]["bytes_sent"] == 0
    assert here.blobs() == before


def test_two_pushes_at_once(both: tuple[Computer, Computer], tmp_path: Path) -> None:
    here, there = both
    for round_ in range(4):
        (here.project / f"here{round_}").write_bytes(b"h%d" % round_)
        (there.project / f"there{round_}").write_bytes(b"t%d" % round_)
        running = [computer.start("push") for computer in both]
        said = [process.communicate(timeout=180)[0] for process in running]
        assert sorted(process.returncode for process in running) in ([0, 2], [2, 2]), said
        for computer in (*both, *both):
            computer.does("pull")
            computer.does("push")
        here.does("pull")
        assert tree(here.project) == tree(there.project)
        assert {f"here{round_}".encode(), f"there{round_}".encode()} <= set(tree(here.project))


def test_of_two_heads_at_once_at_most_one_stays(tmp_path: Path) -> None:
    """Every order of the steps of two pushes: write, look; the one that wrote later sees both and withdraws."""
    store = FolderStore((tmp_path / "store").as_uri())
    store.create()

    def head(uid: str) -> Head:
        return Head(1, uid * 16, "", 0.0, "host", "me", "/p", 0, 0, [])

    class Rival(FolderStore):
        """Another push writes its head right before ours is written, or right after."""

        early = True

        def put(self, key: str, data: Buffer) -> None:
            if self.early:
                heads.commit(store, "p", head("b"))
            super().put(key, data)
            if not self.early:
                with pytest.raises(heads.Overtaken):
                    heads.commit(store, "p", head("c"))

    rival = Rival(store.url)
    with pytest.raises(heads.Overtaken, match="pushed from host"):
        heads.commit(rival, "p", head("a"))
    assert heads.names(store, "p") == [head("b").name]
    store.delete(f"projects/p/{head('b').name}.json")
    rival.early = False
    heads.commit(rival, "p", head("a"))
    assert heads.names(store, "p") == [head("a").name]


def test_a_large_file_that_changed_there_stays_a_stub(here: Computer, there: Computer) -> None:
    (here.project / "big.mrcs").write_bytes(os.urandom(3 * 2**20))
    here.does("push")
    here.clone_to(there)
    first = os.readlink(there.project / "big.mrcs")
    (here.project / "big.mrcs").write_bytes(os.urandom(3 * 2**20))
    here.does("push")
    there.does("pull")
    assert os.readlink(there.project / "big.mrcs") != first
    assert there.values("status")["in_step"]
    there.does("pull", "--all")
    assert tree(there.project) == tree(here.project)
    (here.project / "big.mrcs").write_bytes(os.urandom(3 * 2**20))
    here.does("push")
    there.does("pull")  # it was here as a file, so it stays one
    assert tree(there.project) == tree(here.project)


def test_a_pull_of_one_name_is_no_pull_of_the_others(both: tuple[Computer, Computer]) -> None:
    here, there = both
    (here.project / "a.star").write_bytes(b"new a")
    (here.project / "b.star").write_bytes(b"new b")
    here.does("push")
    there.does("pull", "a.star")
    assert (there.project / "a.star").read_bytes() == b"new a"
    assert (there.project / "b.star").read_bytes() == b"b.star"
    assert "since you last pulled" in there.does("push", code=2)
    assert "no name like this (d.star)" in there.does("pull", "d.star", code=2)
    there.does("pull")
    assert "In step" in there.does("status")
