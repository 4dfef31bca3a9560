"""The first program of a rented machine, as far as it runs here: its disks, its programs, its agent, its end.

The whole of it boots in tests/cloud.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.patient_kernel import FILE, patient_kernel

from cryoburst.agent.promised import Promised, can_wait
from cryoburst.providers.aws import boot, machine

from .conftest import HERE

Patch = pytest.MonkeyPatch


@pytest.fixture
def ran(monkeypatch: Patch, tmp_path: Path) -> list[list[str]]:
    """What the machine would have run, in its order; its notes are in a folder of the test's."""
    found: list[list[str]] = []
    monkeypatch.setattr(machine, "run", found.append)
    monkeypatch.setattr(machine, "NOTES", str(tmp_path / "notes"))
    monkeypatch.setattr(machine, "WAIT", 0.0)
    (tmp_path / "notes").mkdir()
    return found


def disks(folder: Path, **models: str) -> str:
    """Block devices as the kernel shows them."""
    for name, model in models.items():
        (folder / name / "device").mkdir(parents=True)
        (folder / name / "device" / "model").write_text(model.ljust(40) + "\n")
    (folder / "loop0").mkdir(parents=True)
    return str(folder)


def test_its_own_disks_are_told_from_rented_ones(tmp_path: Path) -> None:
    own, rented = machine.LOCAL, "Amazon Elastic Block Store"
    assert machine.local_disks(disks(tmp_path, nvme0n1=rented, nvme2n1=own, nvme1n1=own)) == [
        "/dev/nvme1n1",
        "/dev/nvme2n1",
    ]
    assert machine.local_disks(disks(tmp_path / "none")) == []


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_scratch_is_on_all_of_them_together(
    ran: list[list[str]], monkeypatch: Patch, tmp_path: Path, count: int
) -> None:
    names = [f"/dev/nvme{n}n1" for n in range(count)]
    monkeypatch.setattr(machine, "local_disks", lambda: names)
    monkeypatch.setattr(machine.shutil, "which", lambda name: f"/sbin/{name}")
    root = str(tmp_path / "scratch")
    machine.make_scratch(root, True)
    assert Path(root).is_dir()
    device = names[0] if count == 1 else "/dev/md/cryoburst"
    assert [words[0] for words in ran] == ([] if not count else ["mdadm"] * (count > 1) + ["mkfs.ext4", "mount"])
    if count > 1:
        assert ran[0][-count:] == names
        assert {"--level=0", f"--raid-devices={count}"} <= set(ran[0])
    if count:
        assert ran[-1][-2:] == [device, root]
    ran.clear()
    machine.make_scratch(root, False)
    assert ran == []


def test_what_is_there_is_not_installed(ran: list[list[str]], monkeypatch: Patch) -> None:
    there: set[str] = {"relion_refine"}
    monkeypatch.setattr(machine.shutil, "which", lambda name: name if name in there else None)
    machine.install(boot.PLAIN)
    assert ran == []
    there.clear()
    with pytest.raises(OSError, match="relion_refine is still not there"):
        machine.install(boot.PLAIN)
    assert [words[-1] for words in ran] == ["update", "debianutils"]
    assert "relion" in ran[-1]


def test_mirrors_get_a_second_chance(monkeypatch: Patch, ran: list[list[str]]) -> None:
    left = [1, 1, 1]

    def run(command: list[str]) -> None:
        if left:
            raise subprocess.CalledProcessError(left.pop(), command)
        ran.append(command)

    monkeypatch.setattr(machine, "run", run)
    machine.apt_install(["relion"])
    assert [words[-1] for words in ran] == ["update", "relion"]
    left += [1] * 99
    with pytest.raises(subprocess.CalledProcessError):
        machine.apt_install(["relion"])


def test_a_program_that_fails_is_told_on_the_console(
    monkeypatch: Patch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "NOTES", str(tmp_path))
    machine.run(["true"])
    with pytest.raises(subprocess.CalledProcessError):
        machine.run(["sh", "-c", "echo no such mirror; exit 7"])
    assert "no such mirror" in capsys.readouterr().out


def order(url: str, root: Path, data: bytes) -> dict[str, Any]:
    """What the machine is told of the agent's archive."""
    return {
        "credential": {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"},
        "root": str(root),
        "checksum": f"sha256:{hashlib.sha256(data).hexdigest()}",
        **boot.address(url, "agent/a.pyz", HERE),
    }


def test_the_agent_comes_whole_or_not_at_all(
    aws: Any, account: str, ran: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    s3 = aws("s3")
    s3.create_bucket(Bucket="lab", CreateBucketConfiguration={"LocationConstraint": HERE})
    asked = order(f"s3://lab/store?endpoint={account}", tmp_path, b"agent")
    with pytest.raises(OSError, match="404"):
        machine.fetch(asked)
    s3.put_object(Bucket="lab", Key="store/agent/a.pyz", Body=b"another")
    with pytest.raises(OSError, match="not the one that was promised"):
        machine.fetch(asked)
    s3.put_object(Bucket="lab", Key="store/agent/a.pyz", Body=b"agent")
    assert Path(machine.fetch(asked)).read_bytes() == b"agent"


def test_whatever_goes_wrong_the_machine_goes_off(
    monkeypatch: Patch, ran: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    offs: list[int] = []
    monkeypatch.setattr(machine, "off", lambda: offs.append(1))
    monkeypatch.setattr(machine, "oom_score", lambda score: None)

    def broken(*_: object) -> None:
        raise ValueError("odd")

    monkeypatch.setattr(machine, "carry", broken)
    monkeypatch.setattr(machine, "fetch", lambda order: "agent.pyz")
    told = {"root": str(tmp_path), "local": False, "software": [], "disk": 1}
    machine.keep(told)
    machine.keep(told | {"disk": 1 << 60})
    machine.keep({})
    assert offs == [1, 1, 1]
    said = capsys.readouterr().out
    assert "ValueError: odd" in said
    assert "the job needs" in said


def in_a_namespace(*words: str) -> list[str]:
    """A command as the first process of a tree of its own: turning off ends that tree, and no computer."""
    return ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *words]


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a process tree of its own")
def test_the_timer_turns_it_off_and_a_second_boot_does_at_once(tmp_path: Path) -> None:
    # The notes are on a folder of the test's, mounted over the machine's.
    folder = Path("/var/lib/cryoburst")
    made = not folder.exists()
    folder.mkdir(exist_ok=True)
    try:
        text = json.loads(
            boot.user_data(
                boot_of("s3://lab/x"), "t-1", 1.0, region=HERE, software=[], local=False, disk=0, spot=False
            ).partition("\n")[2]
        )["bootcmd"][0]
        script = f'mount --bind {tmp_path} {folder} && "$@" && echo booted && sleep 600'
        words = in_a_namespace("unshare", "--mount", "sh", "-c", script, "sh", sys.executable, *text[1:])
        for seconds, said in ((1.0, b"booted\n"), (0.0, b"")):
            began = time.monotonic()
            ended = subprocess.run(words, capture_output=True, timeout=180, check=False)
            assert ended.stdout == said, ended.stderr
            assert seconds <= time.monotonic() - began
        assert (tmp_path / "boot.py").read_text() == Path(machine.__file__).read_text()
        assert (tmp_path / "booted").read_text() == "t-1"
    finally:
        if made:
            folder.rmdir()


def boot_of(url: str) -> Any:
    """What a machine does."""
    from cryoburst.model.plugins import Boot

    return Boot(url, "p/", "agent/a.pyz", "sha256:0")


@pytest.mark.slow
def test_the_kernel_lets_an_opener_wait_for_weeks(tmp_path: Path) -> None:
    """So many seconds as it takes, and not so many that its own sum of them runs over."""
    promised, file = Promised(), tmp_path / "one.mrc"
    with patient_kernel():
        machine.let_openers_wait()
        assert int(FILE.read_text()) == machine.WEEKS > 14 * 86400
        assert can_wait(machine.WEEKS)
        assert promised.hold(str(file), 5, 0)
        opener = subprocess.Popen(["/bin/cat", str(file)], stdout=subprocess.PIPE)
        with pytest.raises(subprocess.TimeoutExpired):
            opener.wait(2.0)
        assert promised.waited_for() == {str(file)}
        os.pwrite(promised.descriptor(str(file)), b"there", 0)
        promised.keep(str(file))
        assert opener.communicate(timeout=120)[0] == b"there"
