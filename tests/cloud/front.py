"""The door before moto: faults of a busy or distant AWS, and the tests' own requests to the cloud.

Faults are made here, so that moto needs no change for them, and of EC2's calls only. A request of ours is a POST to
``/_cloud/<verb>`` with a JSON document.
"""

import fnmatch
import io
import json
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from xml.sax.saxutils import escape

CONTROL = "/_cloud/"
STATUS = {"InsufficientInstanceCapacity": 500, "InternalError": 500, "RequestLimitExceeded": 503, "Unavailable": 503}
SENTENCES = {
    "InsufficientInstanceCapacity": "We currently do not have sufficient capacity in the zone you requested.",
    "VcpuLimitExceeded": "You have requested more vCPU capacity than your current vCPU limit allows.",
    "RequestLimitExceeded": "Request limit exceeded.",
    "UnauthorizedOperation": "You are not authorized to perform this operation.",
    "MaxSpotInstanceCountExceeded": "Max spot instance count exceeded",
}
ERROR = """<?xml version="1.0" encoding="UTF-8"?>
<Response><Errors><Error><Code>{code}</Code><Message>{sentence}</Message></Error></Errors><RequestID>0</RequestID></Response>"""
Start = Callable[..., Any]
Application = Callable[[dict[str, Any], Start], Iterable[bytes]]


@dataclass
class Fault:
    """What happens to the next ``times`` requests of an action (a pattern) whose parameters fit ``where``.

    ``code`` is an error that EC2 answers with. Without one the reply is lost: the request is performed (unless
    ``performed`` is False) and the connection ends. ``delay`` s pass first. ``times`` below 0: always.
    """

    action: str = "RunInstances"
    code: str = ""
    times: int = 1
    performed: bool = True
    delay: float = 0.0
    slow: bool = False  # only the delay
    where: dict[str, str] = field(default_factory=dict[str, str])  # parameter: pattern

    def hits(self, form: Mapping[str, str]) -> bool:
        if self.times == 0 or not fnmatch.fnmatchcase(form.get("Action", ""), self.action):
            return False
        return all(fnmatch.fnmatchcase(form.get(name, ""), pattern) for name, pattern in self.where.items())


class Front:
    """A WSGI application before another one."""

    def __init__(self, behind: Application, verbs: Mapping[str, Callable[..., object]]) -> None:
        self._behind, self._lock = behind, threading.Lock()
        self.faults: list[Fault] = []
        self.calls: list[dict[str, str]] = []  # EC2's: their parameters, and "Region"
        ours: dict[str, Callable[..., object]] = {"fault": self.fault, "clear": self.clear, "calls": self.told}
        self._verbs = ours | dict(verbs)

    def fault(self, **values: Any) -> None:
        with self._lock:
            self.faults.append(Fault(**values))

    def clear(self) -> None:
        """Forget the faults, and the calls so far."""
        with self._lock:
            self.faults.clear()
            self.calls.clear()

    def told(self) -> dict[str, Any]:
        with self._lock:
            return {"calls": self.calls[:], "faults": [asdict(fault) for fault in self.faults]}

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        path = str(environ.get("PATH_INFO", ""))
        if path.startswith(CONTROL):
            return self._own(path.removeprefix(CONTROL), body(environ), start)
        region, service = scope(environ)
        if service != "ec2":
            return self._behind(environ, start)
        form = dict(urllib.parse.parse_qsl(body(environ).decode(), keep_blank_values=True)) | {"Region": region}
        fault = self._next(form)
        if fault is None:
            return self._behind(environ, start)
        time.sleep(fault.delay)
        if fault.slow:
            return self._behind(environ, start)
        if fault.code:
            sentence = escape(SENTENCES.get(fault.code, fault.code))
            start(f"{STATUS.get(fault.code, 400)} {fault.code}", [("Content-Type", "text/xml;charset=UTF-8")])
            return [ERROR.format(code=fault.code, sentence=sentence).encode()]
        if fault.performed:
            b"".join(self._behind(environ, lambda *_: None))
        connection: socket.socket = environ["werkzeug.socket"]
        connection.shutdown(socket.SHUT_RDWR)
        raise ConnectionAbortedError("the reply is lost, as the test wants it")

    def _next(self, form: dict[str, str]) -> Fault | None:
        with self._lock:
            self.calls.append(form)
            fault = next((each for each in self.faults if each.hits(form)), None)
            if fault is not None:
                fault.times -= 1
            return fault

    def _own(self, verb: str, text: bytes, start: Start) -> Iterable[bytes]:
        """A request of the tests."""
        status = "200 OK"
        try:
            answer = self._verbs[verb](**json.loads(text or b"{}"))
        except Exception as error:  # noqa: BLE001 - the test reads it
            status, answer = "400 Bad Request", f"{type(error).__name__}: {error}"
        start(status, [("Content-Type", "application/json")])
        return [json.dumps(answer).encode()]


def body(environ: dict[str, Any]) -> bytes:
    """The request's body, which stays readable for who comes next."""
    text = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(text)
    return text


def scope(environ: Mapping[str, Any]) -> tuple[str, str]:
    """Region and service that a request is signed for; empty when it is not."""
    _, _, credential = str(environ.get("HTTP_AUTHORIZATION", "")).partition("Credential=")
    parts = credential.partition(",")[0].split("/")
    return (parts[2], parts[3]) if len(parts) == 5 else ("", "")
