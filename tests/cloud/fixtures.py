"""The emulated cloud for tests: once for a test run, in a process of its own, and empty when a test begins."""

import dataclasses
import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.servers import Server

from . import lacking

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 180.0  # s, on a loaded machine: only a test that fails waits for so long
LOOK = 0.1  # s
KIND = "c5.large"


class EmulatedCloud:
    """A cloud that runs in another process: boto3 for it, and what only its owner can do (``ec2.Cloud``)."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.endpoint: str = told["endpoint"]
        self.s3: str = told["s3"]
        self.region: str = told["region"]
        self.environment: dict[str, str] = told["environment"]
        self.host: str = told["host"]
        self.interface: str = told["interface"]
        self.folder = Path(told["folder"])
        self._clients: dict[tuple[str, str], Any] = {}

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()

    def ask(self, verb: str, **values: object) -> Any:
        """What ``ec2.Cloud`` or ``front.Front`` answers to a verb of theirs."""
        request = urllib.request.Request(f"{self.endpoint}/_cloud/{verb}", json.dumps(values).encode(), method="POST")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode()) from None

    def client(self, service: str, region: str = "") -> Any:
        """boto3's client, which tries once."""
        import boto3
        from botocore.config import Config

        key = (service, region or self.region)
        if key not in self._clients:
            self._clients[key] = boto3.client(
                service,
                endpoint_url=self.s3 if service == "s3" else self.endpoint,
                region_name=key[1],
                aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
                config=Config(retries={"total_max_attempts": 1}, connect_timeout=10, read_timeout=60),
            )
        return self._clients[key]

    def instance(self, name: str) -> dict[str, Any]:
        """What DescribeInstances says of one."""
        return self.client("ec2").describe_instances(InstanceIds=[name])["Reservations"][0]["Instances"][0]

    def state(self, name: str) -> str:
        return str(self.instance(name)["State"]["Name"])

    def told(self, name: str) -> dict[str, Any]:
        """What only the cloud's owner knows of an instance."""
        return next(each for each in self.ask("told") if each["instance"] == name)

    def console(self, name: str) -> str:
        """What GetConsoleOutput says: the machine's own console so far."""
        answer = self.client("ec2").get_console_output(InstanceId=name)
        return str(answer["Output"]).replace("\r\n", "\n")

    def until(self, holds: Callable[[], Any], what: str, name: str = "", seconds: float = PATIENCE) -> Any:
        """The first true value of ``holds``. Fails with the console of a machine otherwise."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if value := holds():
                return value
            time.sleep(LOOK)
        raise AssertionError(f"never {what}{chr(10) + self.console(name)[-3000:] if name else ''}")

    def said(self, name: str, words: str, seconds: float = PATIENCE) -> str:
        """The console, once it has these words. Fails at once when the machine is over."""

        def look() -> str:
            over = self.state(name) == "terminated"
            text = self.console(name)
            if words in text:
                return text
            assert not over, f"it ended, and never said {words!r}:\n{text[-3000:]}"
            return ""

        return self.until(look, f"said {words!r}", name, seconds)

    def ended(self, name: str, seconds: float = PATIENCE) -> dict[str, Any]:
        """The instance, once it is terminated."""
        self.until(lambda: self.state(name) == "terminated", "terminated", name, seconds)
        return self.instance(name)


@pytest.fixture(scope="session")
def cloud_server(radosgw_server: Server) -> Iterator[EmulatedCloud]:
    """An emulated cloud; the machines' root file system is made first, where it is not there (minutes, once)."""
    if why := lacking():
        pytest.skip(why)
    with started(radosgw_server) as (made, _):
        yield made


@pytest.fixture
def cloud(cloud_server: EmulatedCloud) -> Iterator[EmulatedCloud]:
    """The cloud without machines, faults or calls."""
    cloud_server.ask("clear")
    yield cloud_server
    cloud_server.ask("clear")
    cloud_server.ask("reset")


class started:  # noqa: N801 - used like a function
    """``with started(server) as (cloud, process)``: a cloud of one's own, which ends with the block."""

    def __init__(self, server: Server) -> None:
        self.complaints = tempfile.TemporaryFile("w+")  # noqa: SIM115 - a pipe that nobody reads is full some day
        values = dataclasses.asdict(server) | {"logs": str(server.logs)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.cloud.ec2", "--server", json.dumps(values)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=self.complaints,
            text=True,
        )

    def __enter__(self) -> "tuple[EmulatedCloud, subprocess.Popen[str]]":
        assert self.process.stdout is not None
        lines: list[str] = []
        while not lines or lines[-1] != "}\n":
            lines.append(self.process.stdout.readline())
            if not lines[-1]:
                self.process.wait(timeout=PATIENCE)
                self.complaints.seek(0)
                raise RuntimeError(f"the emulated cloud did not start: {self.complaints.read()[-2000:]}")
        self.cloud = EmulatedCloud(json.loads("".join(lines)))
        return self.cloud, self.process

    def __exit__(self, *_: object) -> None:
        self.cloud.close()
        self.process.terminate()
        self.process.communicate(timeout=PATIENCE)
        self.complaints.close()
