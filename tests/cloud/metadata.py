"""The instance metadata service, version 2: what a machine may ask at http://169.254.169.254 about itself.

Written from AWS's "Instance metadata categories" and "Use IMDSv2". A request without a token of this service is
refused, always: machines here are made with ``HttpTokens=required``, and one that was not gets no answer either. Who
asks is told by the address that the request comes from.
"""

import json
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Union

Tree = Mapping[str, Union[str, "Tree"]]
VERSIONS = ("1.0", "2009-04-04", "2016-09-02", "2018-08-17", "2018-09-24", "2021-03-23", "latest")
TOKEN, LIFE = "X-aws-ec2-metadata-token", "X-aws-ec2-metadata-token-ttl-seconds"
PORT = 80
LONGEST = 21600  # s, of a token


@dataclass(frozen=True)
class Key:
    """A credential of the machine's role."""

    access_key: str
    secret_key: str
    token: str
    until: float  # s since the epoch


@dataclass
class About:
    """What the service knows of one machine."""

    instance: str
    private: str
    public: str
    mac: str
    kind: str  # c5.xlarge
    image: str
    region: str
    zone: str
    account: str
    spot: bool
    user_data: bytes
    role: str = ""
    key: Callable[[], Key] | None = None  # of the role, fresh enough to be used
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    action: Mapping[str, str] | None = None  # that is coming over a spot instance
    asked: list[str] = field(default_factory=list[str])  # the paths, for tests; refused ones end with " 401"

    def tree(self) -> Tree:
        """``latest``, but for the user data."""
        name = f"ip-{self.private.replace('.', '-')}.{self.region}.compute.internal"
        card = {
            "device-number": "0", "interface-id": "eni-0", "local-hostname": name, "local-ipv4s": self.private,
            "mac": self.mac, "owner-id": self.account, "public-ipv4s": self.public,
            "subnet-ipv4-cidr-block": "172.31.0.0/16",
        }  # fmt: skip
        found: dict[str, str | Tree] = {
            "ami-id": self.image, "ami-launch-index": "0", "hostname": name, "instance-action": "none",
            "instance-id": self.instance, "instance-life-cycle": "spot" if self.spot else "on-demand",
            "instance-type": self.kind, "local-hostname": name, "local-ipv4": self.private, "mac": self.mac,
            "network": {"interfaces": {"macs": {self.mac: card}}},
            "placement": {"availability-zone": self.zone, "region": self.region},
            "public-hostname": name, "public-ipv4": self.public, "security-groups": "cryoburst",
            "services": {"domain": "amazonaws.com", "partition": "aws"},
        }  # fmt: skip
        if self.role:
            arn = f"arn:aws:iam::{self.account}:instance-profile/{self.role}"
            info = {"Code": "Success", "InstanceProfileArn": arn, "InstanceProfileId": "AIPA0"}
            found["iam"] = {"info": json.dumps(info), "security-credentials": {self.role: self.credential()}}
        if self.action is not None:
            found["spot"] = {"instance-action": json.dumps(dict(self.action)), "termination-time": self.action["time"]}
        if self.tags:
            found["tags"] = {"instance": self.tags}
        return {"dynamic": {"instance-identity": {"document": self.identity()}}, "meta-data": found}

    def credential(self) -> str:
        """The role's key as the service writes it."""
        if self.key is None:
            return json.dumps({"Code": "AssumeRoleUnauthorizedAccess"})
        key = self.key()
        return json.dumps(
            {
                "Code": "Success",
                "Type": "AWS-HMAC",
                "LastUpdated": stamp(time.time()),
                "AccessKeyId": key.access_key,
                "SecretAccessKey": key.secret_key,
                "Token": key.token,
                "Expiration": stamp(key.until),
            }
        )

    def identity(self) -> str:
        """``latest/dynamic/instance-identity/document``."""
        return json.dumps(
            {
                "accountId": self.account,
                "architecture": "x86_64",
                "availabilityZone": self.zone,
                "imageId": self.image,
                "instanceId": self.instance,
                "instanceType": self.kind,
                "privateIp": self.private,
                "region": self.region,
                "version": "2017-09-30",
            }
        )


def stamp(seconds: float) -> str:
    """A time as the service writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


class Metadata(ThreadingHTTPServer):
    """The service, on a socket that listens already; ``known`` maps private addresses to what is known of them."""

    daemon_threads = True

    def __init__(self, listener: socket.socket) -> None:
        super().__init__(listener.getsockname(), Asked, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.known: dict[str, About] = {}
        self.tokens: dict[str, tuple[str, float]] = {}  # of which machine, and until when


class Asked(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: Any  # Metadata

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: what was asked is in ``About.asked``."""

    def do_PUT(self) -> None:
        """A token, for as long as was asked for."""
        about = self.about()
        life = self.headers.get(LIFE, "")
        if about is None or self.path != "/latest/api/token":
            return self.answer(404)
        if not life.isdigit() or not 1 <= int(life) <= LONGEST or "X-Forwarded-For" in self.headers:
            return self.answer(400 if "X-Forwarded-For" not in self.headers else 403)
        token = secrets.token_urlsafe(40)
        self.server.tokens[token] = (about.private, time.time() + int(life))
        return self.answer(200, token.encode(), {LIFE: life})

    def do_GET(self) -> None:
        """Anything else, with a token."""
        about = self.about()
        if about is None:
            return self.answer(404)
        whose, until = self.server.tokens.get(self.headers.get(TOKEN, ""), ("", 0.0))
        if whose != about.private or time.time() > until:
            about.asked.append(f"{self.path} 401")
            return self.answer(401)
        about.asked.append(self.path)
        version, *names = [name for name in self.path.partition("?")[0].split("/") if name] or [""]
        if not version:
            return self.answer(200, "\n".join(VERSIONS).encode())
        if version not in VERSIONS:
            return self.answer(404)
        found = self.found(about, names)
        return self.answer(404) if found is None else self.answer(200, found)

    def found(self, about: About, names: list[str]) -> bytes | None:
        """What is at a path below the version; None when nothing is."""
        if not names:
            return b"dynamic\nmeta-data\nuser-data"  # without slashes
        if names == ["user-data"]:
            return about.user_data or None
        node: str | Tree = about.tree()
        for name in names:
            if isinstance(node, str) or name not in node:
                return None
            node = node[name]
        if isinstance(node, str):
            return node.encode()
        lists = "\n".join(name if isinstance(below, str) else f"{name}/" for name, below in node.items())
        return lists.encode()

    def about(self) -> About | None:
        """Who asks."""
        return self.server.known.get(self.client_address[0])

    def answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
