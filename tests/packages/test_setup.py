"""`cryoburst relion setup`: what RELION's window is given, and that no path can break out of a shell line."""

import argparse
import subprocess
from pathlib import Path

import pytest

from cryoburst.cli import relion as command
from cryoburst.model.errors import BadInput
from cryoburst.packages.relion.setup import environment, shell_lines, write_lines, write_template

NASTY = Path('/opt/it\'s $(touch owned) "here"/bin/cryoburst')


def test_variables(tmp_path: Path) -> None:
    found = environment(Path("/opt/bin/cryoburst"), tmp_path / "t.sh")
    assert found["RELION_QSUB_COMMAND"] == "/opt/bin/cryoburst submit"
    assert found["RELION_QSUB_EXTRA_COUNT"] == "3"
    labels = [found[f"RELION_QSUB_EXTRA{n}"] for n in (1, 2, 3)]
    assert labels == ["Machine type", "Max price (USD/h)", "Parts"]
    assert found["RELION_CTFFIND_EXECUTABLE"] == "/opt/bin/cryoburst-ctffind"
    mine = environment(Path("/opt/bin/cryoburst"), tmp_path, {"RELION_CTFFIND_EXECUTABLE": "/usr/bin/ctffind"})
    assert "RELION_CTFFIND_EXECUTABLE" not in mine


def test_lines_survive_any_shell(tmp_path: Path) -> None:
    found = environment(NASTY, tmp_path / "a b.sh")
    script = "\n".join([*shell_lines(found), 'printf "%s\\n" "$RELION_QSUB_COMMAND" "$RELION_QSUB_TEMPLATE"'])
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=10, cwd=tmp_path, check=True)
    assert done.stdout.splitlines() == [found["RELION_QSUB_COMMAND"], str(tmp_path / "a b.sh")]
    # RELION puts the command into a shell line of its own: the same path must come out of that too.
    line = f"set -- {found['RELION_QSUB_COMMAND']}; printf '%s' \"$1\""
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=10, cwd=tmp_path, check=True)
    assert done.stdout == str(NASTY)
    assert list(tmp_path.iterdir()) == []


def test_lines_are_replaced_not_repeated(tmp_path: Path) -> None:
    profile = tmp_path / "bashrc"
    profile.write_bytes(b"alias a=b\nlatin \xe9")
    assert write_lines(profile, shell_lines({"A": "1"}))
    assert not write_lines(profile, shell_lines({"A": "1"}))
    with profile.open("ab") as file:
        file.write(b"after\n")
    assert write_lines(profile, shell_lines({"A": "2"}))
    text = profile.read_bytes()
    assert text.startswith(b"alias a=b\nlatin \xe9\n# >>>")
    assert text.endswith(b"export A=2\n# <<< cryoburst relion setup <<<\nafter\n")
    profile.write_text("# >>> cryoburst relion setup >>>\n")
    with pytest.raises(BadInput, match="take them out by hand"):
        write_lines(profile, shell_lines({"A": "1"}))


@pytest.mark.parametrize(
    ("have", "ours"), [("/opt/ctffind", False), ("/old/venv/bin/cryoburst-ctffind", True), ("", True)]
)
def test_a_second_call_in_a_terminal_with_our_lines_keeps_ctffind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], have: str, ours: bool
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RELION_CTFFIND_EXECUTABLE", have)
    parser = argparse.ArgumentParser()
    command.arguments(parser)
    for _ in range(2):
        assert command.run(parser.parse_args(["setup", "--write"])) == 0
        text = (tmp_path / ".bashrc").read_text()
        assert ("export RELION_CTFFIND_EXECUTABLE=" in text) == ours
        assert "/old/venv" not in text
        if ours:  # as the next terminal has it
            value = next(line.partition("=")[2] for line in text.splitlines() if "CTFFIND" in line)
            monkeypatch.setenv("RELION_CTFFIND_EXECUTABLE", value)
    capsys.readouterr()
    assert command.run(parser.parse_args(["setup"])) == 0
    assert ("export RELION_CTFFIND_EXECUTABLE=" in capsys.readouterr().out) == ours


def test_template_is_written_once(tmp_path: Path) -> None:
    target = tmp_path / "new/folder/t.sh"
    write_template(target)
    before = target.stat().st_mtime_ns
    write_template(target)
    assert target.stat().st_mtime_ns == before
    assert target.stat().st_mode & 0o111
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="can't be written"):
        write_template(tmp_path / "file/t.sh")


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    parser = argparse.ArgumentParser()
    command.arguments(parser)
    assert command.run(parser.parse_args(["setup"])) == 0
    assert "export RELION_QUEUE_USE=yes" in capsys.readouterr().out
    assert (tmp_path / ".config/cryoburst/relion_template.sh").exists()
    assert command.run(parser.parse_args(["setup", "--write", "--template", str(tmp_path / "t.sh")])) == 0
    assert f"export RELION_QSUB_TEMPLATE={tmp_path}/t.sh" in (tmp_path / ".bashrc").read_text()
    assert "now has" in capsys.readouterr().out
