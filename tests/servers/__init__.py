"""S3 servers that the tests start themselves, and a proxy that makes them fail.

``with swift() as server`` and ``with radosgw() as server`` run Debian's OpenStack Swift and Ceph on free ports of
127.0.0.1, in one folder, and never outlive whoever started them. Nothing in /etc or /var is read or written.
"""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

START = 120.0  # s that a server may take to answer on a loaded machine
END = 60.0  # s for all its programs to be gone


@dataclass(frozen=True)
class Server:
    """An S3 server that runs.

    ``endpoint`` is ``http://127.0.0.1:PORT``; ``pid`` is the process whose children are all of the server's programs;
    ``logs`` is the folder of what they write. ``role`` is the ARN of a role that ``access_key`` may assume through STS,
    or None where the server has no STS; ``other`` is the key and secret of a second user who owns nothing.
    """

    name: str
    endpoint: str
    access_key: str
    secret_key: str
    pid: int
    logs: Path
    region: str = "us-east-1"
    role: str | None = None
    other: tuple[str, str] | None = None

    def url(self, bucket: str, prefix: str = "") -> str:
        """The store's URL of a bucket, which need not exist."""
        return store_url(self.endpoint, self.region, bucket, prefix)

    @property
    def environment(self) -> dict[str, str]:
        """What a client's environment must hold: the credentials of the first user."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}


def store_url(endpoint: str, region: str, bucket: str, prefix: str = "") -> str:
    query = urllib.parse.urlencode({"endpoint": endpoint, "region": region, "addressing": "path"}, safe=":/")
    return f"s3://{bucket}/{urllib.parse.quote(prefix)}?{query}"


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listened on a moment ago, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@dataclass
class Programs:
    """The programs of one server, in one folder, under one keeper (keeper.py), which ends them when we end."""

    folder: Path
    keeper: "subprocess.Popen[bytes]"
    names: list[str] = field(default_factory=list)

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    def start(self, name: str, command: Sequence[str | Path], environment: dict[str, str] | None = None) -> None:
        """Start a program that runs until the end; what it prints is in ``logs/NAME.out``. Returns at once."""
        order = {"name": name, "command": [str(word) for word in command], "environment": environment or {}}
        self._order(order)
        self.names.append(name)

    def leave(self, folder: Path) -> None:
        """Have a folder of control groups removed at the end, when nothing runs in them any more."""
        self._order({"leave": str(folder)})

    def _order(self, order: dict[str, object]) -> None:
        assert self.keeper.stdin is not None
        self.keeper.stdin.write(json.dumps(order).encode() + b"\n")
        self.keeper.stdin.flush()

    def wait(self, what: str, ready: Callable[[], bool]) -> None:
        """Return when ``ready()``. Raises RuntimeError with the logs' ends when a program ended, or after START."""
        end = time.monotonic() + START
        while not ready():
            dead = [name for name in self.names if (self.logs / f"{name}.ended").exists()]
            if dead or self.keeper.poll() is not None or time.monotonic() > end:
                why = f"{', '.join(dead)} ended" if dead else f"no answer within {START:.0f} s"
                raise RuntimeError(f"{what} did not start: {why}\n{self.words()}")
            time.sleep(0.05)

    def words(self) -> str:
        """The last lines of each log."""
        parts: list[str] = []
        for log in sorted(self.logs.glob("*")):
            lines = log.read_text(errors="replace").splitlines()[-15:]
            if lines:
                parts.append("\n".join([f"--- {log.name}", *lines]))
        return "\n".join(parts)


@contextlib.contextmanager
def programs(kind: str, folder: Path | None) -> Iterator[Programs]:
    """A folder to run programs in, and their keeper.

    Without ``folder`` a new one in /tmp, gone at the end; one that is given must be empty, and stays.
    """
    here = Path(tempfile.mkdtemp(prefix=f"cryoburst-{kind}-", dir="/tmp")) if folder is None else folder.absolute()
    here.mkdir(parents=True, exist_ok=True)
    if any(here.iterdir()):
        raise ValueError(f"{here} is not empty; a server wants a folder of its own")
    (here / "logs").mkdir()
    keeper = subprocess.Popen(
        [sys.executable, "-I", Path(__file__).with_name("keeper.py"), here, "keep" if folder else "remove"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    try:
        yield Programs(here, keeper)
    finally:
        assert keeper.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            keeper.stdin.close()  # which ends them all
        keeper.wait(timeout=END)


def answers(url: str, timeout: float = 5.0) -> bool:
    """Whether anything that isn't a server's fault comes back from ``url``."""
    try:
        with urllib.request.urlopen(url, timeout=timeout):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return error.code < 500
    except OSError:
        return False


def run(start: Callable[[Path | None], AbstractContextManager[Server]]) -> None:
    """A server as a command: print its URL and credentials as one JSON document, and run until ended."""
    import argparse

    parser = argparse.ArgumentParser(description="Run an S3 server for tests and benchmarks until it is ended.")
    parser.add_argument("--folder", type=Path, help="an empty folder for all that it writes (it stays; else in /tmp)")
    parser.add_argument("--bucket", default="cryoburst", help="the bucket in the URL that is printed; not created")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit())
    with start(arguments.folder) as server:
        document = {
            "name": server.name,
            "url": server.url(arguments.bucket),
            "endpoint": server.endpoint,
            "region": server.region,
            "environment": server.environment,
            "role": server.role,
            "other": server.other,
            "pid": server.pid,
            "logs": str(server.logs),
        }
        print(json.dumps(document, indent=2), flush=True)
        while True:
            signal.pause()
