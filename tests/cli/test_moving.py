"""What people and programs see of a transfer."""

import contextlib
import json
import os
import pty
import threading
import time
from pathlib import Path

import pytest

from cryoburst.cli import moving
from cryoburst.transfer.line import Line
from cryoburst.transfer.tally import Tally, Values

HALF = Values(
    bytes=1_400_000_000,
    bytes_total=12_000_000_000,
    files=31,
    files_total=400,
    bytes_skipped=0,
    files_skipped=0,
    bytes_per_second=85_200_000.0,
    eta_seconds=125.0,
    width=6,
    paused=False,
    limit_bytes_per_second=None,
)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "1.4 GB of 12.0 GB, 31 of 400 files, 85.2 MB/s, 2 min 05 s left"),
        (
            {"limit_bytes_per_second": 1e8},
            "1.4 GB of 12.0 GB, 31 of 400 files, 85.2 MB/s, limit 100.0 MB/s, 2 min 05 s left",
        ),
        ({"paused": True, "eta_seconds": None}, "1.4 GB of 12.0 GB, 31 of 400 files, paused until cryoburst resume"),
        ({"bytes_per_second": None, "eta_seconds": None}, "1.4 GB of 12.0 GB, 31 of 400 files"),
        (
            {"bytes_skipped": 10_600_000_000, "files_skipped": 369, "eta_seconds": 0.0},
            "12.0 GB of 12.0 GB, 400 of 400 files, 10.6 GB were there already",
        ),
        ({"bytes_total": 0, "files_total": 0, "eta_seconds": None}, "1.4 GB of 1.4 GB, 31 of 31 files, 85.2 MB/s"),
    ],
)
def test_the_sentence(changes: dict[str, object], sentence: str) -> None:
    assert moving.sentence(HALF | changes) == sentence  # type: ignore[arg-type]


class Looked(Tally):
    """A tally that knows how often it was looked at."""

    looks = 0

    def values(self) -> Values:
        self.looks += 1
        return super().values()


def carry(tally: Tally, line: Line, count: int = 20, looks: int = 2) -> None:
    """A transfer of some files of 1 MB, which goes on until it was looked at so often."""
    assert isinstance(tally, Looked)
    tally.expect(count * 10**6, files=count)
    end = time.monotonic() + 60

    def one() -> None:
        line.carry(10**6, lambda: time.sleep(0.01))
        tally.finished(10**6)
        while tally.looks < looks and time.monotonic() < end:
            time.sleep(0.01)

    line.each(one for _ in range(count))


def test_plain_lines_for_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    line = Line()
    with moving.shown(Looked(line), "Sending", seconds=0.02) as tally:
        carry(tally, line)
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert said.err == ""
    assert len(lines) > 1
    assert all(each.startswith("Sending: ") for each in lines)
    assert lines[-1] == "Sending: 20.0 MB of 20.0 MB, 20 of 20 files"


def test_json_lines_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    line = Line()
    with moving.shown(Looked(line), "Sending", json=True, seconds=0.02) as tally:
        carry(tally, line)
    values = [json.loads(each)["progress"] for each in capsys.readouterr().out.splitlines()]
    assert len(values) > 1
    assert all(set(each) == set(Values.__annotations__) for each in values)
    assert [each["bytes"] for each in values] == sorted(each["bytes"] for each in values)
    assert (values[-1]["bytes"], values[-1]["files"], values[-1]["eta_seconds"]) == (20 * 10**6, 20, 0)


def test_the_end_is_shown_after_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    before = threading.active_count()
    tally = Tally(Line())
    tally.expect(10)
    with pytest.raises(OSError, match="disk"), moving.shown(tally, "Sending"):
        raise OSError("disk")
    assert capsys.readouterr().out == "Sending: 0 B of 10 B, 0 of 1 files\n"
    assert threading.active_count() == before


def test_nobody_who_reads_does_not_end_a_transfer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    line = Line()
    with open(writer, "w") as out, pytest.MonkeyPatch.context() as patch:  # noqa: PTH123
        patch.setattr("sys.stdout", out)
        with moving.shown(Looked(line), "Sending", json=True, seconds=0.01) as tally:
            carry(tally, line, looks=1)  # it is not looked at again where nobody reads
        patch.undo()
        with pytest.raises(BrokenPipeError):
            out.close()
    assert tally.values()["files"] == 20


def read_all(descriptor: int, seen: bytearray) -> None:
    """What is written to a terminal until it is closed."""
    with contextlib.suppress(OSError):  # so Linux says that nobody has it open any more
        while data := os.read(descriptor, 4096):
            seen += data


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    master, terminal = pty.openpty()
    line, seen = Line(), bytearray()
    reader = threading.Thread(target=read_all, args=(master, seen))
    reader.start()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with open(terminal, "w") as err:  # noqa: PTH123
        monkeypatch.setattr("sys.stderr", err)
        with moving.shown(Looked(line), "Sending", seconds=0.02) as tally:
            carry(tally, line)
        monkeypatch.undo()
    reader.join(20)
    os.close(master)
    assert b"Sending" in seen
    assert b"20 of 20 files" in seen
    assert capsys.readouterr().out == ""
