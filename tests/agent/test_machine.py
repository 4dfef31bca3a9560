"""The verb of a rented machine: agent, guard and end in one; and what it hears of being taken back."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cryoburst.agent.archive import build
from cryoburst.agent.notice import Notice, look

from .stage import PREFIX, Stage, wait_for


class Metadata(ThreadingHTTPServer):
    """A machine's metadata service, as IMDSv2 has it."""

    def __init__(self) -> None:
        self.taken = self.hangs = False
        self.refused = 0
        self.over = threading.Event()
        super().__init__(("127.0.0.1", 0), Asked)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class Asked(BaseHTTPRequestHandler):
    server: Metadata  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: object) -> None:
        return

    def do_PUT(self) -> None:
        self._say(200, b"token")

    def do_GET(self) -> None:
        if self.headers.get("X-aws-ec2-metadata-token") != "token":
            self.server.refused += 1
            return self._say(401, b"")
        if self.server.hangs:
            self.server.over.wait(60)
            return None
        known = self.path == "/latest/meta-data/spot/instance-action" and self.server.taken
        return self._say(200 if known else 404, b'{"action": "terminate", "time": "2026-11-28T10:00:00Z"}')

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    server = Metadata()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


@pytest.mark.slow
@pytest.mark.alone
def test_the_notice_is_told_in_the_heartbeat_within_seconds_and_the_job_goes_on(
    stage: Stage, metadata: Metadata
) -> None:
    stage.spec("until [ -e go ]; do sleep 0.05; done; echo made >Class3D/job012/out.txt")
    agent = stage.start(env={"CRYOBURST_NOTICE": metadata.address})
    wait_for(lambda: stage.heartbeat is not None and stage.heartbeat.command_started)
    assert stage.heartbeat is not None
    assert not stage.heartbeat.interrupted
    began, metadata.taken = time.monotonic(), True
    wait_for(lambda: stage.heartbeat is not None and stage.heartbeat.interrupted)
    assert time.monotonic() - began < 5  # of the two minutes that there are
    (stage.project / "go").touch()
    assert stage.end(agent) == (0, "")
    assert stage.exit.ended == "finished"
    assert stage.outputs() == {"out.txt": b"made\n"}
    assert metadata.refused == 0


def test_where_nobody_takes_back_nobody_is_asked() -> None:
    notice = Notice("")
    notice.start()
    assert not notice.came
    assert threading.active_count() == len(threading.enumerate())


def test_a_service_that_hangs_or_is_not_there_says_nothing(metadata: Metadata) -> None:
    metadata.hangs = metadata.taken = True
    with pytest.raises(OSError, match="timed out"):
        look(metadata.address)
    notice = Notice("127.0.0.1:1", every=0.01)
    notice.start()
    time.sleep(0.1)
    assert not notice.came
    notice.end()


# -------------------------------------------------------------------------------------------------- the whole machine


@pytest.fixture
def machine(stage: Stage) -> Stage:
    """A stage with the agent's archive where the boot program puts it."""
    stage.root.mkdir(exist_ok=True)
    (stage.root / "agent.pyz").write_bytes(build()[0])
    return stage


def carry(stage: Stage, seconds: float = 300.0, token: str = "") -> "subprocess.Popen[bytes]":
    """Start the verb, as the boot program does."""
    words = ["machine", stage.store.url, PREFIX, str(stage.root), stage.token, str(seconds)]
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(stage.root / "agent.pyz"), *words],
        env={"PATH": os.environ["PATH"], "CRYOBURST_MACHINE": token or stage.token},
        stderr=subprocess.PIPE,
        cwd=stage.root,
    )
    stage.processes.append(process)
    return process


def tagged(stage: Stage) -> list[int]:
    """The machine's processes."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if f"CRYOBURST_MACHINE={stage.token}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def words_of(pid: int) -> bytes:
    """The command line of a process; nothing of one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.slow
def test_it_runs_the_agent_to_its_end(machine: Stage) -> None:
    machine.spec("echo made >Class3D/job012/out.txt")
    code, said = machine.end(carry(machine))
    assert (code, said) == (0, "")
    assert machine.exit.ended == "finished"
    assert machine.outputs() == {"out.txt": b"made\n"}
    wait_for(lambda: not tagged(machine))


def test_the_guard_saves_what_a_killed_agent_left(machine: Stage) -> None:
    machine.spec("echo made >Class3D/job012/out.txt; sleep 600")
    process = carry(machine)
    wait_for(lambda: "out.txt" in machine.outputs())
    (agent,) = [pid for pid in tagged(machine) if b"\0run\0" in words_of(pid)]
    os.kill(agent, signal.SIGKILL)
    assert machine.end(process)[0] == 0
    assert machine.exit.ended == "killed"
    assert machine.outputs()["out.txt"] == b"made\n"
    wait_for(lambda: not tagged(machine))


@pytest.mark.slow
def test_when_the_carrier_is_killed_its_timer_has_the_guard_run(machine: Stage) -> None:
    machine.spec("echo made >Class3D/job012/out.txt; sleep 600")
    process = carry(machine)
    wait_for(lambda: "out.txt" in machine.outputs())
    machine.kill(process)
    wait_for(lambda: machine.has("exit.json"))
    assert machine.exit.ended == "killed"
    wait_for(lambda: not tagged(machine))


@pytest.mark.slow
def test_nothing_is_left_at_the_power_off_time(machine: Stage) -> None:
    machine.spec("setsid sleep 600 & sleep 600")
    assert machine.end(carry(machine, seconds=2.0))[0] in (0, -signal.SIGKILL)  # its timer may be first
    wait_for(lambda: not tagged(machine))


@pytest.mark.parametrize("token", ["another's"])
def test_it_carries_no_other_machine(machine: Stage, token: str) -> None:
    machine.spec("true")
    code, said = machine.end(carry(machine, token=token))
    assert code == 2
    assert "token" in said
    assert not machine.has("started.json")
