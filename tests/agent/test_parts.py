"""The agent's parts that a whole attempt can't show: the kernel's queue, refused chunks, versions, the archive."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cryoburst.agent import archive, processes, software
from cryoburst.agent.place import Pace, Place
from cryoburst.agent.prefix import GivenUp, Patience, Prefix
from cryoburst.agent.watch import Watch
from cryoburst.model.errors import BadInput, StoreUnavailable

from .stage import JOB, PREFIX, Stage


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "top").mkdir()
    return tmp_path / "top"


def test_a_watch_tells_of_files_in_folders_made_just_before(top: Path) -> None:
    watch = Watch(str(top))
    (top / "a/b/c").mkdir(parents=True)
    (top / "a/b/c/x").write_text("1")
    assert watch.read() == ({str(top / "a/b/c/x")}, False)
    (top / "a/b/c/y").write_text("1")
    (top / "a/b/c/link").symlink_to("y")
    assert watch.read() == ({str(top / "a/b/c/y"), str(top / "a/b/c/link")}, False)
    assert watch.read() == (set(), False)
    watch.close()


def test_a_watch_follows_a_folder_that_moves(top: Path) -> None:
    (top / "old/deep").mkdir(parents=True)
    watch = Watch(str(top))
    (top / "old").rename(top / "new")
    watch.read()
    (top / "new/deep/x").write_text("1")
    assert watch.read() == ({str(top / "new/deep/x")}, False)
    (top / "new").rename(top.parent / "away")
    watch.read()
    (top.parent / "away/deep/y").write_text("1")
    assert watch.read() == (set(), False)
    watch.close()


def test_a_watch_survives_its_folder_made_anew(top: Path) -> None:
    watch = Watch(str(top))
    top.rmdir()
    watch.read()
    top.mkdir()
    (top / "x").write_text("1")
    assert str(top / "x") in watch.read()[0]
    watch.close()


def test_a_full_queue_asks_for_a_look_at_everything(top: Path) -> None:
    watch = Watch(str(top))
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if most > 50_000:
        pytest.skip("this kernel's queue is too long for a quick test")
    for number in range(most // 2 + 100):
        os.close(os.open(f"{top}/{number % 100}", os.O_WRONLY | os.O_CREAT))
        (top / str(number % 100)).unlink()
    (top / "last").write_text("1")
    changed, everything = watch.read()
    assert everything
    assert str(top / "last") in changed
    watch.close()


def test_no_watch_without_a_folder_is_an_os_error(monkeypatch: pytest.MonkeyPatch, top: Path) -> None:
    from cryoburst.agent import watch

    class NoInotify:
        def inotify_init1(self, flags: int) -> int:
            return -1

    monkeypatch.setattr(watch, "_libc", NoInotify())
    with pytest.raises(OSError):
        Watch(str(top))


def test_patience_ends_at_its_time_and_when_told() -> None:
    now = [0.0]

    def refused() -> None:
        now[0] += 1.0
        raise StoreUnavailable("away")

    patience = Patience(Pace(clock=lambda: now[0], retry_first=0.0, retry_most=0.0), 5.0)
    with pytest.raises(StoreUnavailable):
        patience.insist(refused)
    assert now[0] == 5.0
    patience.end()
    with pytest.raises(GivenUp):
        patience.insist(refused)


@pytest.mark.parametrize(
    ("have", "need", "good"),
    [
        ("3.1.3", "3.1", True),
        ("3.1", "3.1", True),
        ("3.10", "3.1", False),
        ("4.0.1", "3.1", False),
        ("3", "3.1", False),
        ("", "3.1", False),
        ("5.0", "", True),
        ("", "", True),
    ],
)
def test_which_versions_fit(have: str, need: str, good: bool) -> None:
    assert software.fits(have, need) is good


@pytest.mark.parametrize(
    ("says", "version"),
    [("RELION version: 3.1.3 \nPrecision: BASE=double", "3.1.3"), ("ctffind 4.1.14", "4.1.14"), ("hello", "")],
)
def test_what_programs_say_of_their_version(tmp_path: Path, says: str, version: str) -> None:
    (tmp_path / "prog").write_text(f"#!/bin/sh\ncat <<E\n{says}\nE\n")
    (tmp_path / "prog").chmod(0o755)
    assert software.version("prog", {"PATH": f"{tmp_path}:/usr/bin:/bin"}) == version


def test_a_program_that_hangs_has_no_version(tmp_path: Path) -> None:
    (tmp_path / "prog").write_text("#!/bin/sh\nexec sleep 20\n")
    (tmp_path / "prog").chmod(0o755)
    assert software.version("prog", {"PATH": f"{tmp_path}:/usr/bin:/bin"}, seconds=0.2) == ""


@pytest.mark.parametrize("name", ["", "../relion", "/bin/sh", "a b", "-x"])
def test_a_programs_name_is_plain(name: str) -> None:
    with pytest.raises(BadInput):
        software.version(name, {})


@pytest.mark.parametrize("path", ["", "/etc", "..", "a/../b", "a//b", "./a", "a\0"])
def test_paths_stay_in_the_project(tmp_path: Path, path: str) -> None:
    with pytest.raises(BadInput):
        Place(str(tmp_path)).inside(path)


def test_the_archive_has_the_same_bytes_in_every_process() -> None:
    script = "from cryoburst.agent.archive import build; print(build()[1])"
    sums = {
        subprocess.run(
            [sys.executable, "-c", imports + script],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout.strip()
        for seed, imports in (("1", ""), ("2", "import cryoburst.agent.life, decimal; "))
    }
    assert sums == {archive.build()[1]}
    assert archive.build()[0] is archive.build()[0]


@pytest.mark.slow
@pytest.mark.parametrize("bytecode", [True, False])
def test_the_archive_runs_without_anything_installed(stage: Stage, bytecode: bool) -> None:
    path = stage.folder / "agent.pyz"
    path.write_bytes(archive.build()[0])
    if not bytecode:  # as another version of Python sees it
        with zipfile.ZipFile(path) as whole, zipfile.ZipFile(stage.folder / "other.pyz", "w") as other:
            for name in whole.namelist():
                other.writestr(name, b"\0" * 40 if name.endswith(".pyc") else whole.read(name))
        path = stage.folder / "other.pyz"
    stage.input("a", b"1")
    stage.spec(f"cat a > {JOB}b")
    words = ["run", stage.store.url, PREFIX, str(stage.root), stage.token]
    subprocess.run([sys.executable, "-I", "-S", str(path), *words], check=True, timeout=30)
    assert stage.outputs() == {"b": b"1"}
    assert subprocess.run([sys.executable, "-I", "-S", str(path)], capture_output=True, timeout=30).returncode == 2


def test_every_verb_of_a_prefix_stays_under_it(stage: Stage) -> None:
    prefix = Prefix(stage.store, "p/j/u/1")
    prefix.write_bytes("log/a", b"1")
    assert prefix.names("log/") == [("a", 1)]
    assert stage.store.get("p/j/u/1/log/a") == b"1"


def test_processes_that_write_are_seen(tmp_path: Path) -> None:
    read, written = tmp_path / "read", tmp_path / "written"
    read.touch()
    child = subprocess.Popen(
        ["sh", "-c", f"exec 3<{read} 4>>{written}; echo; exec sleep 30"],
        env={"PATH": "/usr/bin:/bin", "SOME_TAG": str(tmp_path)},
        stdout=subprocess.PIPE,
    )
    try:
        assert child.stdout
        child.stdout.readline()
        assert child.pid in processes.descendants(os.getpid())
        assert processes.tagged("SOME_TAG", str(tmp_path)) == [child.pid]
        assert str(tmp_path) in processes.tags("SOME_TAG")
        found = processes.writing([child.pid])  # its stderr may be a file of pytest's own
        assert found[written.stat().st_dev, written.stat().st_ino] == str(written)
        assert str(read) not in found.values()
        processes.end(lambda: processes.tagged("SOME_TAG", str(tmp_path)), 5.0, lambda: None)
    finally:
        child.kill()
        child.communicate(timeout=10)
    assert child.returncode == -15
    assert processes.writing([child.pid]) == {}
