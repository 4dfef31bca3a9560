"""The emulated cloud as a server: EC2 whose instances run, IAM, STS and SSM by moto, and S3 by a real server.

    python -m tests.cloud.ec2 [--folder F] [--server JSON]

prints its endpoints and an environment for boto3 as one JSON document, and runs until it is ended. All that it makes is
in one folder and in processes under a keeper (tests/servers/keeper.py), and ends with it, however it ends.

moto reads its settings when it is imported, so it is only once they are made: in ``cloud`` and behind it.
"""

import argparse
import base64
import contextlib
import dataclasses
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.servers import Programs, Server, programs
from tests.servers.clients import connect
from tests.servers.proxy import Proxy

from . import IMAGES, lacking
from .machine import Machine, cgroups
from .metadata import PORT, About, Key, Metadata, stamp
from .network import METADATA, Cable, Network
from .rootfs import rootfs

REGION = "us-east-1"  # a bucket there names no place, and Ceph knows none of Amazon's
PENDING = 0.2  # s that an instance is pending before its machine is turned on
KEY = 3600  # s that a role's key is good for; AWS gives six hours and renews it an hour before
END = 90.0  # s for a machine's processes to be gone


@dataclass
class Guest:
    """An instance's machine, and what is told about it."""

    instance: Any  # moto's
    about: About
    machine: Machine
    noticed: bool = True  # whether EC2 notices its death
    turning: threading.Lock = field(default_factory=threading.Lock)  # it on, or off


class Cloud:
    """Gives moto's instances a life (``calls.Life``), and does to them what tests ask for."""

    def __init__(self, made: Programs, network: Network, server: Server | Proxy, image: Path) -> None:
        self.made, self.network, self.server, self.image = made, network, server, image
        self.listing_delay, self.pending = 0.0, PENDING
        self.guests: dict[str, Guest] = {}
        self.cgroup = cgroups() / f"cryoburst-{network.interface}-{os.getpid()}"
        made.leave(self.cgroup)
        listener = network.within(lambda: socket.create_server((METADATA, PORT), backlog=256))
        self.metadata = Metadata(listener)
        threading.Thread(target=self.metadata.serve_forever, daemon=True).start()

    # ---------------------------------------------------------------------------------------------- what EC2 wants

    def begin(self, instance: Any) -> None:
        """See ``calls.Life.begin``."""
        number, public = self.network.address()
        card = instance.nics[0]
        card.private_ip_address, card.public_ip = f"172.31.16.{number}", public
        cable = Cable(number, card.private_ip_address, public)
        about = About(
            instance=instance.id,
            private=cable.private,
            public=public,
            mac=str(card.mac_address),
            kind=instance.instance_type,
            image=instance.image_id,
            region=instance.region_name,
            zone=str(instance.availability_zone),
            account=instance.owner_id,
            spot=instance.lifecycle == "spot",
            user_data=user_data(instance),
        )
        machine = Machine(self.made.folder / "machines" / instance.id, self.made, self.network, cable, self.cgroup)
        self.guests[instance.id] = Guest(instance, about, machine)
        threading.Thread(target=self._boot, args=(self.guests[instance.id],), daemon=True).start()

    def _boot(self, guest: Guest) -> None:
        time.sleep(self.pending)
        with guest.turning:
            if guest.instance.state == "pending":
                self._start(guest)

    def _start(self, guest: Guest) -> None:
        from . import calls

        instance, about, machine = guest.instance, guest.about, guest.machine
        role, statements = calls.role_of(instance)
        about.role, about.key = role, Keys(self.server, instance.id, statements) if statements else None
        about.spot = instance.lifecycle == "spot"
        if instance.metadata_options.instance_metadata_tags == "enabled":
            about.tags = {tag["key"]: tag["value"] for tag in instance.get_tags()}
        self.metadata.known[about.private] = about
        try:
            machine.start(self.image, lambda powered_off: self._ended(guest, powered_off))
        except RuntimeError as error:
            print(error, file=sys.stderr)
            instance.terminate()
            calls.explain(instance, "Server.InternalError", "Internal error on launch")
            return
        for protocol, ports, sources in calls.ingress(instance):
            self.network.open(machine.cable, protocol, ports, sources)
        if instance.state == "pending":
            calls.settle(instance, "running")

    def _ended(self, guest: Guest, powered_off: bool) -> None:
        """A machine is over, by itself or not."""
        from . import calls

        instance = guest.instance
        if instance.state in ("shutting-down", "terminated") or not guest.noticed:
            return
        if powered_off and instance.instance_initiated_shutdown_behavior == "stop":
            instance.stop()
            calls.explain(instance, "Client.InstanceInitiatedShutdown", "Instance initiated shutdown")
            return
        instance.terminate()
        if powered_off:
            calls.explain(instance, "Client.InstanceInitiatedShutdown", "Instance initiated shutdown")
        else:
            calls.explain(instance, "Server.InternalError", "Internal error")

    def end(self, instance: Any) -> None:
        """See ``calls.Life.end``."""
        threading.Thread(target=self._end, args=(self.guests[instance.id],), daemon=True).start()

    def _end(self, guest: Guest) -> None:
        from . import calls

        machine = guest.machine
        with guest.turning:
            machine.kill()
            until = time.monotonic() + END
            while machine.pid and machine.over is None and time.monotonic() < until:
                time.sleep(0.02)
            self.metadata.known.pop(guest.about.private, None)
            machine.clear()
        calls.settle(guest.instance, "terminated")

    def console(self, instance: Any) -> bytes:
        """See ``calls.Life.console``."""
        return self.guests[instance.id].machine.console()

    # --------------------------------------------------------------------------------------------- what tests want

    def verbs(self) -> dict[str, Any]:
        """The tests' own requests, by name."""
        names = ("told", "settings", "cut", "heal", "power_cut", "interrupt", "reset")
        return {name: getattr(self, name) for name in names}

    def told(self) -> list[dict[str, Any]]:
        """All instances there ever were, with what only the cloud's owner knows."""
        return [
            {
                "instance": name,
                "state": guest.instance.state,
                "private": guest.about.private,
                "public": guest.about.public,
                "pid": guest.machine.pid,
                "folder": str(guest.machine.folder),
                "asked": guest.about.asked,
            }
            for name, guest in list(self.guests.items())
        ]

    def settings(self, listing_delay: float = 0.0, pending: float = PENDING) -> None:
        """How long a new instance is not listed, and how long it is pending, in s."""
        self.listing_delay, self.pending = listing_delay, pending

    def cut(self, instance: str) -> None:
        """Cut a machine's network, but for its metadata."""
        self.network.cut(self.guests[instance].machine.cable)

    def heal(self, instance: str) -> None:
        self.network.heal(self.guests[instance].machine.cable)

    def power_cut(self, instance: str, noticed: bool = True) -> None:
        """Kill a machine at one blow; not ``noticed``, EC2 goes on saying that it runs."""
        self.guests[instance].noticed = noticed
        self.guests[instance].machine.kill()

    def interrupt(self, instance: str, seconds: float = 120.0) -> None:
        """Take a spot instance away in ``seconds``, and say so in its metadata until then."""
        guest = self.guests[instance]
        guest.about.action = {"action": "terminate", "time": stamp(time.time() + seconds)}

        def take() -> None:
            from . import calls

            if guest.instance.state == "running":
                guest.instance.terminate()
                calls.explain(guest.instance, "Server.SpotInstanceTermination", "Spot instance termination")

        timer = threading.Timer(seconds, take)
        timer.daemon = True
        timer.start()

    def reset(self) -> None:
        """Terminate whatever there is, and return when nothing runs any more."""
        self.settings()
        for guest in list(self.guests.values()):
            guest.instance.terminate()
        until = time.monotonic() + END
        while any(guest.instance.state != "terminated" for guest in list(self.guests.values())):
            if time.monotonic() > until:
                raise TimeoutError("a machine does not end")
            time.sleep(0.02)


class Keys:
    """Keys of an instance's role that the S3 server takes, with what the role's policies allow and no more.

    moto knows the role and its policies; the S3 server has a role of its own that may do everything, and narrows it to
    a policy that it is given, as AWS does.
    """

    def __init__(self, server: Server | Proxy, name: str, statements: list[dict[str, Any]]) -> None:
        self._server, self._name, self._lock = server, name, threading.Lock()
        self._policy = json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))
        self._key: Key | None = None

    def __call__(self) -> Key:
        with self._lock:
            if self._key is None or self._key.until - time.time() < KEY / 4:
                made = connect(self._server, "sts").assume_role(
                    RoleArn=self._server.role, RoleSessionName=self._name, DurationSeconds=KEY, Policy=self._policy
                )["Credentials"]
                secrets = made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"]
                self._key = Key(*secrets, until=time.time() + KEY)
            return self._key


def user_data(instance: Any) -> bytes:
    """The instance's user data, which may be compressed."""
    given = instance.user_data
    return base64.b64decode(given.as_bytes()) if given else b""


@dataclass(frozen=True)
class Running:
    """The cloud's endpoints. ``environment`` is what boto3 needs to take it for AWS."""

    endpoint: str
    s3: str
    region: str
    environment: dict[str, str]
    folder: str
    host: str  # this computer's address for the machines
    interface: str


@contextlib.contextmanager
def cloud(folder: Path | None, server: Server) -> Iterator[Running]:
    """The cloud in this process, which must have no other use for moto. Raises RuntimeError with the reason."""
    if why := lacking():
        raise RuntimeError(why)
    image = rootfs()
    os.environ |= {
        "MOTO_AMIS_PATH": str(IMAGES),
        "MOTO_ENABLE_AMI_VALIDATION": "true",
        "MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION": "true",
    }
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    from . import calls
    from .front import Front

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    with programs("cloud", folder) as made:
        network = Network(made)
        with Proxy(server, host=network.host) as door:
            network.door(door.port)
            for unlike in ("encryption", "publicAccessBlock"):  # the one Ceph 16.2 lacks, the other shuts out the owner
                door.say(200, method="PUT", query=unlike)
            life = Cloud(made, network, server, image)
            calls.install(life)
            front = Front(DomainDispatcherApplication(create_backend_app), life.verbs())
            serving = make_server("127.0.0.1", 0, front, threaded=True, request_handler=MotoRequestHandler)
            threading.Thread(target=serving.serve_forever, daemon=True).start()
            endpoint = f"http://127.0.0.1:{serving.port}"
            environment = server.environment | {
                "AWS_ENDPOINT_URL": endpoint,
                "AWS_ENDPOINT_URL_S3": door.endpoint,
                "AWS_DEFAULT_REGION": REGION,
                "AWS_REGION": REGION,
            }
            try:
                yield Running(
                    endpoint, door.endpoint, REGION, environment, str(made.folder), network.host, network.interface
                )
            finally:
                serving.shutdown()


def main() -> None:
    """Run it until ended."""
    parser = argparse.ArgumentParser(description="Run an emulated AWS, whose machines really run, until it is ended.")
    parser.add_argument("--folder", type=Path, help="an empty folder for all that it writes (it stays; else in /tmp)")
    parser.add_argument("--server", type=json.loads, help="the S3 server, as JSON (else a radosgw is started)")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit())
    with contextlib.ExitStack() as stack:
        try:
            server = given(arguments.server) if arguments.server else stack.enter_context(own())
            running = stack.enter_context(cloud(arguments.folder, server))
        except RuntimeError as error:
            sys.exit(str(error))
        print(json.dumps(dataclasses.asdict(running), indent=2), flush=True)
        os.dup2(2, 1)  # moto prints what it does not know, and nobody reads on: a full pipe would stop it
        while True:
            signal.pause()


def given(values: dict[str, Any]) -> Server:
    other = values.pop("other", None)
    return Server(**values | {"logs": Path(values["logs"]), "other": tuple(other) if other else None})


def own() -> contextlib.AbstractContextManager[Server]:
    from tests.servers.radosgw import radosgw

    if why := lacking():
        raise RuntimeError(why)
    return radosgw()


if __name__ == "__main__":
    main()
