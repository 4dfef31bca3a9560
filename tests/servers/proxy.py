"""An HTTP proxy before an S3 server that makes the faults a network and a busy server make, where a test wants them.

The client speaks to the proxy as if it were the server, and signs for the proxy's address; requests are forwarded as
they came, Host included, so the server finds the signature valid. Without a rule nothing is changed. One thread for
each connection, standard library only, plain HTTP.

    with Proxy(server) as proxy:
        proxy.fail(503, "SlowDown", method="PUT", times=2)      # the first two PUTs
        proxy.reset(side="response", key="*.mrcs", nth=3)       # the third answer about a .mrcs: done, but unheard
        proxy.slow(delay=0.05)                                  # every request: a server far away
        store = open_store(proxy.url("bucket"))
        ...
        assert proxy.count("PUT") == 12

Several rules may hit one request: their delays add up, and the first one that does more than slow it down wins.
"""

import contextlib
import fnmatch
import random
import socket
import struct
import threading
import urllib.parse
from collections.abc import Iterator
from types import TracebackType
from typing import Unpack

from . import Server, store_url
from .connection import LOOK, UPSTREAM, Connection, Gone
from .faults import Fault, Request, Rule, Side, Where


class Proxy:
    """A proxy on a free port of ``host``, from its making until ``close`` (or the end of ``with``).

    It may stand in for its server: it has the same ``url``, ``environment``, keys, region and role. ``seed`` decides
    what rules with a probability do. Every method may be called while requests run, from any thread.
    """

    def __init__(self, server: Server, seed: int = 0, host: str = "127.0.0.1") -> None:
        self.server, self.host = server, host
        self.name, self.region, self.role, self.other = server.name, server.region, server.role, server.other
        self.access_key, self.secret_key, self.environment = server.access_key, server.secret_key, server.environment
        self.requests: list[Request] = []
        upstream = urllib.parse.urlsplit(server.endpoint)
        self._upstream = (upstream.hostname or "127.0.0.1", upstream.port or 80)
        self._chance = random.Random(seed)
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._network = threading.Event()
        self._network.set()
        self._closing = threading.Event()
        self._refusing = threading.Event()
        self._connections: set[threading.Thread] = set()
        self._listener = listen(host, 0)
        self.port: int = self._listener.getsockname()[1]
        self.endpoint = f"http://{host}:{self.port}"
        self._door: threading.Thread | None = None
        self._open()

    def url(self, bucket: str, prefix: str = "") -> str:
        return store_url(self.endpoint, self.region, bucket, prefix)

    # ------------------------------------------------------------------------------------------------- the faults

    def fail(
        self,
        status: int = 503,
        code: str = "SlowDown",
        *,
        performed: bool = False,
        headers: tuple[tuple[str, str], ...] = (),
        **where: Unpack[Where],
    ) -> Rule:
        """Answer with S3's XML of this error; ``performed``: the server did it all the same, and nobody knows."""
        return self._rule(Fault("fail", status=status, code=code, performed=performed, headers=headers), where)

    def say(self, status: int, **where: Unpack[Where]) -> Rule:
        """Answer with this status and no word, in the server's place."""
        return self._rule(Fault("fail", status=status), where)

    def slow(
        self, *, delay: float = 0.0, rate: float | None = None, side: Side = "response", **where: Unpack[Where]
    ) -> Rule:
        """Wait ``delay`` s before the request goes on; move the body of ``side`` at ``rate`` bytes/s."""
        return self._rule(Fault("slow", delay=delay, rate=rate, side=side), where)

    def reset(self, *, side: Side = "request", after: int = 0, **where: Unpack[Where]) -> Rule:
        """Reset the connection when ``after`` bytes of the body of ``side`` have been moved.

        Of a request: the server sees no more than that, never all of it, and nothing when ``after`` is 0. Of a
        response: the server has done it, and the client has not even the head when ``after`` is 0.
        """
        return self._rule(Fault("reset", side=side, after=after), where)

    def hang(self, *, side: Side = "request", **where: Unpack[Where]) -> Rule:
        """Never answer. Of a ``response``: the server has done it."""
        return self._rule(Fault("hang", side=side), where)

    def truncate(self, *, after: int = 0, whole: bool = True, **where: Unpack[Where]) -> Rule:
        """End the answer's body after that many bytes: with the true Content-Length, or a fitting one."""
        return self._rule(Fault("truncate", side="response", after=after, whole=whole), where)

    def flip(self, *, side: Side = "response", offset: int | None = None, **where: Unpack[Where]) -> Rule:
        """Turn one bit of the body of ``side``, at ``offset`` (None: in its middle). A body that is too short stays."""
        return self._rule(Fault("flip", side=side, offset=offset), where)

    def skew(self, seconds: float, **where: Unpack[Where]) -> Rule:
        """The server's clock is ``seconds`` ahead: its Date says so, and beyond 15 minutes it refuses as S3 does."""
        return self._rule(Fault("skew", side="response", seconds=seconds), where)

    def clear(self) -> None:
        """Forget all rules. What is hanging goes on hanging until its client gives up."""
        with self._lock:
            self._rules.clear()

    def cut(self, *, silent: bool = True) -> None:
        """Cut the network: nothing moves until ``restore``, and then everything goes on.

        Not ``silent``: what is open is reset, and new connections are refused.
        """
        self._network.clear()
        if silent:
            return
        self._refusing.set()
        self._shut()
        for thread in tuple(self._connections):
            thread.join(timeout=10)

    def restore(self) -> None:
        if self._refusing.is_set():
            self._refusing.clear()
            self._listener = listen(self.host, self.port)
            self._network.set()
            self._open()
        self._network.set()

    @contextlib.contextmanager
    def outage(self, *, silent: bool = True) -> Iterator[None]:
        """The network is cut within ``with``."""
        self.cut(silent=silent)
        try:
            yield
        finally:
            self.restore()

    # ------------------------------------------------------------------------------------------------- what it saw

    def count(self, method: str | None = None, key: str = "*") -> int:
        """How many requests came, those that a rule spoiled included."""
        with self._lock:
            return sum(1 for one in self.requests if method in (None, one.method) and fnmatch.fnmatchcase(one.key, key))

    @property
    def up(self) -> int:
        """Bytes of all bodies that clients sent."""
        with self._lock:
            return sum(one.up for one in self.requests)

    @property
    def down(self) -> int:
        """Bytes of all bodies that clients were sent."""
        with self._lock:
            return sum(one.down for one in self.requests)

    def forget(self) -> None:
        """Start counting anew."""
        with self._lock:
            self.requests.clear()

    # --------------------------------------------------------------------------------------------------- the ends

    def close(self) -> None:
        """End all connections and the proxy."""
        self._closing.set()
        self._network.set()
        self._shut()
        for thread in tuple(self._connections):
            thread.join(timeout=10)

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> None:
        self._door = threading.Thread(target=self._accept, args=(self._listener,), daemon=True, name="proxy-door")
        self._door.start()

    def _shut(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        if self._door is not None:
            self._door.join(timeout=10)
        self._listener.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True, name="proxy")
            self._connections.add(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, contextlib.closing(Connection(self, client)) as connection:
                try:
                    while connection.exchange():
                        pass
                except Gone as gone:
                    if gone.abort:
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                except OSError:
                    pass  # the client has left
        finally:
            self._connections.discard(threading.current_thread())

    # ---------------------------------------------------------------------------------------- for its connections

    def _rule(self, fault: Fault, where: Where) -> Rule:
        rule = Rule(fault, where, self._chance)
        with self._lock:
            self._rules.append(rule)
        return rule

    def arrived(self, request: Request) -> list[Fault]:
        """Count a request; what is to happen to it."""
        with self._lock:
            self.requests.append(request)
            faults = [rule.fault for rule in self._rules if rule.hit(request)]
        request.faults = [fault.kind for fault in faults]
        return faults

    def check(self) -> None:
        """Return when there is a network. Raises Gone when there will be none."""
        while True:
            if self._closing.is_set():
                raise Gone
            if self._refusing.is_set():
                raise Gone(abort=True)
            if self._network.wait(LOOK):
                return

    def connect(self) -> socket.socket:
        made = socket.create_connection(self._upstream, timeout=UPSTREAM)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made


def listen(host: str, port: int) -> socket.socket:
    return socket.create_server((host, port), backlog=1024)
