"""What the benchmark of transfers computes, and what it must refuse; the tools here are cp and shell scripts."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def transfer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_transfer", ROOT / "benchmarks/transfer.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # for its dataclasses
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def at_once(transfer: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PAUSE", 0.0)
    monkeypatch.setattr(transfer.os, "sync", lambda: None)


def copier(transfer: ModuleType, monkeypatch: pytest.MonkeyPatch, store: Path, back: str) -> None:
    """A tool whose way back is the shell command ``back``, with the store as $0 and the target as $1."""
    tool = transfer.Tool(
        lambda files, _: ["cp", "-r", str(files), str(store)],
        lambda _files, _there: ["true"],
        lambda _there, _files, target: ["sh", "-c", back, str(store), str(target)],
    )
    monkeypatch.setitem(transfer.TOOLS, "copier", tool)


def test_cells_are_our_median_over_the_faster_rival(transfer: ModuleType) -> None:
    def took(*seconds: float) -> list[object]:
        return [transfer.Took(each, 2 * each, 0) for each in seconds]

    row = {"cryoburst": took(1, 3, 9), "rclone": took(6, 6, 6), "s5cmd": took(4, 9, 1), "obstore": took(1, 1, 1)}
    report = transfer.report({"small.up": row})
    assert report["cells"] == {"small.up": 0.75}
    assert report["against_rclone"] == {"small.up": 0.5}
    assert report["seconds"]["small.up"] == {"cryoburst": 3, "rclone": 6, "s5cmd": 4, "obstore": 1}
    assert report["cpu_seconds"]["small.up"]["cryoburst"] == 6


def test_the_files_are_as_many_and_as_large_as_said(transfer: ModuleType, tmp_path: Path) -> None:
    files = [path for path in transfer.make_files(tmp_path / "f", transfer.Size(1001, 10)).rglob("*") if path.is_file()]
    assert [path.stat().st_size for path in files] == [10] * 1001
    assert all(map(transfer.is_data, files))
    assert len({path.read_bytes() for path in files}) > 990


def test_a_turn_measures_three_commands_and_leaves_nothing(
    transfer: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copier(
        transfer, monkeypatch, tmp_path / "store", 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; cp -r $0 "$1"'
    )
    size = transfer.Size(3, 1000)
    files = transfer.make_files(tmp_path / "files", size)
    took = transfer.turn("copier", files, size, transfer.There("b", "p", "http://x", "r"), tmp_path / "back")
    assert list(took) == ["up", "noop", "down"]
    assert took["down"].seconds >= took["down"].cpu / 2 > 0
    assert took["down"].cpu > took["noop"].cpu
    assert took["down"].memory > 500_000
    assert {path.name for path in tmp_path.iterdir()} == {"files", "store", "log"}


@pytest.mark.parametrize("back", ['mkdir "$1"', 'cp -r $0 "$1"; rm "$1"/Movies/part000/000001.dat'])
def test_a_tool_that_loses_files_is_not_fast(
    transfer: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, back: str
) -> None:
    copier(transfer, monkeypatch, tmp_path / "store", back)
    size = transfer.Size(3, 1000)
    files = transfer.make_files(tmp_path / "files", size)
    with pytest.raises(RuntimeError, match=r"copier brought \d files"):
        transfer.turn("copier", files, size, transfer.There("b", "p", "http://x", "r"), tmp_path / "back")


def test_a_command_that_fails_is_an_error_with_its_words(transfer: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no such bucket"):
        transfer.run(["sh", "-c", "echo no such bucket >&2; exit 3"], {}, tmp_path)
