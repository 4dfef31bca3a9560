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
import dataclasses
import email.utils
import fnmatch
import random
import select
import socket
import struct
import threading
import time
import urllib.parse
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, TypedDict, Unpack
from xml.sax.saxutils import escape

from . import Server, store_url

BLOCK = 1 << 18  # bytes moved at once
HEAD = 1 << 17  # bytes that the head of a message may have
LOOK = 0.1  # s between two looks whether the network or the proxy has ended
UPSTREAM = 300.0  # s that the server may be silent
SKEW = 900.0  # s: S3's limit between a request's date and the server's clock
MEANING = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
XML = """<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>{code}</Code><Message>{code}, says the test</Message><Resource>{path}</Resource>\
<RequestId>0</RequestId></Error>"""

Side = Literal["request", "response"]


class Where(TypedDict, total=False):
    """Which requests a rule is for; all of it must hold. Nothing: every request.

    ``method``: ``"PUT"``. ``key``: a pattern (``fnmatch``, ``*`` crosses ``/``) for the decoded key without its bucket.
    ``query``: a part of the query, as ``"partNumber=2"``. Of the requests that these let through: ``nth``: the first is
    1; a number or several. ``probability``: of each one, from the proxy's seed. ``times``: how often at most.
    """

    method: str
    key: str
    query: str
    nth: int | Collection[int]
    probability: float
    times: int


@dataclass
class Request:
    """One request that came, and what became of it. ``up`` and ``down`` are bytes of bodies that really moved."""

    method: str
    bucket: str
    key: str
    query: str
    headers: dict[str, str]
    status: int | None = None  # what the client was told; None: nothing
    up: int = 0
    down: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Fault:
    """What happens to a request that a rule hits. Made by the methods of Proxy, where the fields are told."""

    kind: str
    side: Side = "request"
    status: int = 0
    code: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    delay: float = 0.0
    rate: float | None = None
    offset: int | None = None
    after: int = 0
    whole: bool = True
    performed: bool = False
    seconds: float = 0.0


@dataclass
class Rule:
    """A fault, and the requests that it is for. ``seen`` matched, and ``hits`` of them were hit."""

    fault: Fault
    where: Where
    chance: random.Random
    seen: int = 0
    hits: int = 0

    def hit(self, request: Request) -> bool:
        """Whether this request is one of the rule's, which counts it."""
        where = self.where
        if "method" in where and where["method"] != request.method:
            return False
        if "key" in where and not fnmatch.fnmatchcase(request.key, where["key"]):
            return False
        if "query" in where and where["query"] not in request.query:
            return False
        self.seen += 1
        nth = where.get("nth")
        if nth is not None and self.seen not in ({nth} if isinstance(nth, int) else nth):
            return False
        if "times" in where and self.hits >= where["times"]:
            return False
        if "probability" in where and self.chance.random() >= where["probability"]:
            return False
        self.hits += 1
        return True


class Gone(Exception):
    """This connection is over, and there is nobody to tell: ``abort`` says that the client gets a reset."""

    def __init__(self, abort: bool = False) -> None:
        super().__init__()
        self.abort = abort


class Proxy:
    """A proxy on a free port of 127.0.0.1, from its making until ``close`` (or the end of ``with``).

    It may stand in for its server: it has the same ``url``, ``environment``, keys, region and role. ``seed`` decides
    what rules with a probability do. Every method may be called while requests run, from any thread.
    """

    def __init__(self, server: Server, seed: int = 0) -> None:
        self.server = server
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
        self._listener = listen(0)
        self.port: int = self._listener.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
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
            self._listener = listen(self.port)
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


@dataclass
class Message:
    """The head of a request or an answer."""

    first: str
    headers: list[tuple[str, str]]

    def get(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    def set(self, name: str, value: str) -> None:
        self.headers = [(key, value if key.lower() == name else old) for key, old in self.headers]

    def drop(self, name: str) -> None:
        self.headers = [(key, value) for key, value in self.headers if key.lower() != name]

    @property
    def chunked(self) -> bool:
        return "chunked" in (self.get("transfer-encoding") or "").lower()

    @property
    def length(self) -> int | None:
        """The Content-Length, or None."""
        text = self.get("content-length")
        return int(text) if text is not None else None

    @property
    def last(self) -> bool:
        return (self.get("connection") or "").lower() == "close" or " HTTP/1.0" in self.first

    def encode(self) -> bytes:
        lines = [self.first, *(f"{key}: {value}" for key, value in self.headers), "", ""]
        return "\r\n".join(lines).encode("latin-1")


class Stream:
    """One socket, read in pieces, that notices when the proxy's network is cut."""

    def __init__(self, proxy: Proxy, sock: socket.socket, patience: float | None = None) -> None:
        self.proxy, self.sock, self.patience = proxy, sock, patience
        self.rest = b""
        self.poll = select.poll()
        self.poll.register(sock, select.POLLIN)
        sock.settimeout(UPSTREAM)

    def receive(self, most: int = BLOCK) -> bytes:
        """What comes next, or nothing at its end. Raises TimeoutError when ``patience`` is over."""
        if self.rest:
            read, self.rest = self.rest[:most], self.rest[most:]
            return read
        end = None if self.patience is None else time.monotonic() + self.patience
        while not self.readable(LOOK):
            self.proxy.check()
            if end is not None and time.monotonic() > end:
                raise TimeoutError("the server is silent")
        read = self.sock.recv(most)
        self.proxy.check()
        return read

    def readable(self, wait: float) -> bool:
        return bool(self.poll.poll(wait * 1000))

    def send(self, data: "bytes | bytearray | memoryview") -> None:
        self.proxy.check()
        self.sock.sendall(data)

    def line(self, ending: bytes, most: int = HEAD) -> bytes:
        """All up to and with ``ending``; nothing when the stream ends before."""
        read = bytearray()
        while (at := read.find(ending)) < 0:
            piece = self.receive()
            if not piece or len(read) > most:
                return b""
            read += piece
        at += len(ending)
        self.rest = bytes(read[at:]) + self.rest
        return bytes(read[:at])

    def head(self) -> Message | None:
        """The next message's head, or None when the stream has ended."""
        text = self.line(b"\r\n\r\n").decode("latin-1")
        if not text:
            return None
        first, *lines = text[:-4].split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return Message(first, [(key, value.strip()) for key, _, value in pairs])

    def body(self, message: Message, to_end: bool = False) -> Iterator[bytes]:
        """The body as it comes, with its chunks' marks; without length and chunks it is empty, or goes ``to_end``."""
        if message.chunked:
            size = -1
            while size:
                mark = self.line(b"\r\n")
                size = int(mark.partition(b";")[0], 16) if mark else 0
                yield mark
                yield from self.exactly(size)
                yield self.line(b"\r\n")  # after the last one there are no trailers in S3
        elif message.length is not None:
            yield from self.exactly(message.length)
        elif to_end:
            while piece := self.receive():
                yield piece

    def exactly(self, count: int) -> Iterator[bytes]:
        while count > 0 and (piece := self.receive(min(BLOCK, count))):
            count -= len(piece)
            yield piece


class Connection:
    """A client's connection, and the one to the server that goes with it."""

    def __init__(self, proxy: Proxy, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.proxy = proxy
        self.client = Stream(proxy, sock)
        self.server: Stream | None = None

    def close(self) -> None:
        if self.server is not None:
            self.server.sock.close()
            self.server = None

    def exchange(self) -> bool:
        """Move one request and its answer. Whether there may be another one."""
        head = self.client.head()
        if head is None:
            return False
        request = understand(head)
        faults = self.proxy.arrived(request)
        slow = [fault for fault in faults if fault.kind == "slow"]
        fault = next((fault for fault in faults if fault.kind != "slow"), Fault("none"))
        rates = {fault.side: fault.rate for fault in slow if fault.rate}
        self.rest(sum(fault.delay for fault in slow))
        if fault.kind == "hang" and fault.side == "request":
            self.hang()
        if fault.kind == "reset" and fault.side == "request":
            fault = dataclasses.replace(fault, after=min(fault.after, (head.length or 0) - 1))
            if fault.after <= 0:
                raise Gone(abort=True)
        if (head.get("expect") or "").lower() == "100-continue":
            head.drop("expect")
            self.client.send(b"HTTP/1.1 100 Continue\r\n\r\n")

        refusal = refuse(fault, request)
        if refusal and not fault.performed:
            for piece in self.client.body(head):
                request.up += len(piece)
            self.tell(request, refusal)
            return not head.last
        answer = self.forward(request, head, fault, rates.get("request"))
        if fault.kind == "hang":
            self.hang()
        if refusal:
            self.close()  # what the server still has to say is for nobody
            self.tell(request, refusal)
            return not head.last
        return self.answer(request, answer, fault, rates.get("response")) and not head.last

    def forward(self, request: Request, head: Message, fault: Fault, rate: float | None) -> Message:
        """Send the request to the server; the head of its answer."""
        spoil = spoiler(fault, "request", head.length)
        server = self.fresh_server()
        refused = False  # the server may answer, and close, before it has read it all
        try:
            server.send(head.encode())
        except (BrokenPipeError, ConnectionResetError):
            refused = True
        for piece in self.paced(self.client.body(head), rate):
            kept, over = spoil(request.up, piece)
            request.up += len(kept)
            if kept and not refused:
                try:
                    server.send(kept)
                except (BrokenPipeError, ConnectionResetError):
                    refused = True
            if over:
                self.close()
                raise Gone(abort=True)
        try:
            while (answer := server.head()) is not None and answer.first.split(" ")[1] == "100":
                pass
        except OSError:
            answer = None
        if answer is None:
            self.close()
            raise Gone(abort=True)  # the server's own fault, handed on
        return answer

    def answer(self, request: Request, answer: Message, fault: Fault, rate: float | None) -> bool:
        """Send the answer to the client. Whether both connections can be used again."""
        request.status = int(answer.first.split(" ")[1])
        if fault.kind == "skew":
            answer.set("date", http_date(fault.seconds))
        carries = has_body(request, answer)
        if fault.kind == "reset" and fault.side == "response" and not fault.after:
            request.status = None
            raise Gone(abort=True)
        cut = fault.after if fault.kind == "truncate" and carries else None
        whole = fault.whole or answer.length is None
        if cut is not None and not whole:
            answer.set("content-length", str(min(cut, answer.length or 0)))
        self.client.send(answer.encode())
        if not carries:
            return not answer.last
        assert self.server is not None
        spoil = spoiler(fault, "response", answer.length)
        for piece in self.paced(self.server.body(answer, to_end=True), rate):
            kept, over = spoil(request.down, piece)
            if cut is not None:
                kept = kept[: cut - request.down]
            request.down += len(kept)  # before the client can know it
            if kept:
                self.client.send(kept)
            if over:
                raise Gone(abort=True)
            if request.down == cut:
                if whole:
                    raise Gone
                self.close()  # the rest is for nobody, and the client knows of none
                return True
        return not answer.last and (answer.chunked or answer.length is not None)

    def tell(self, request: Request, answer: bytes) -> None:
        request.status = int(answer.split(b" ", 2)[1])
        if request.method == "HEAD":
            answer = answer[: answer.index(b"\r\n\r\n") + 4]
        self.client.send(answer)

    def fresh_server(self) -> Stream:
        """The connection to the server for a new request: another one when the server has closed the last."""
        if self.server is not None and not self.server.rest and self.server.readable(0):
            self.close()
        if self.server is None:
            try:
                self.server = Stream(self.proxy, self.proxy.connect(), UPSTREAM)
            except OSError:
                raise Gone(abort=True) from None  # nobody is there; the client is to notice it
        return self.server

    def hang(self) -> None:
        """Wait until the client has had enough."""
        while self.client.receive():
            pass
        raise Gone

    def rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.proxy.check()
            time.sleep(min(left, LOOK))

    def paced(self, pieces: Iterator[bytes], rate: float | None) -> Iterator[bytes]:
        """The same bytes, no faster than ``rate`` a second."""
        if rate is None:
            yield from pieces
            return
        start, moved = time.monotonic(), 0
        step = max(1, int(rate * LOOK))
        for piece in pieces:
            for at in range(0, len(piece), step):
                part = piece[at : at + step]
                moved += len(part)
                self.rest(start + moved / rate - time.monotonic())
                yield part


def listen(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port), backlog=1024)


def understand(head: Message) -> Request:
    method, target, *_ = head.first.split(" ")
    path, _, query = target.partition("?")
    bucket, _, key = urllib.parse.unquote(path).removeprefix("/").partition("/")
    return Request(method, bucket, key, query, {name.lower(): value for name, value in head.headers})


def has_body(request: Request, answer: Message) -> bool:
    return request.method != "HEAD" and answer.first.split(" ")[1] not in ("204", "304")


def refuse(fault: Fault, request: Request) -> bytes | None:
    """The answer that the fault gives in the server's place, or None."""
    status, code, date = fault.status, fault.code, http_date(0.0)
    if fault.kind == "skew" and abs(fault.seconds) > SKEW:
        status, code, date = 403, "RequestTimeTooSkewed", http_date(fault.seconds)
    elif fault.kind != "fail":
        return None
    body = XML.format(code=escape(code), path=escape(f"/{request.bucket}/{request.key}")).encode()
    headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(body))), ("Date", date), *fault.headers]
    return Message(f"HTTP/1.1 {status} {MEANING.get(status, 'Error')}", headers).encode() + body


def http_date(ahead: float) -> str:
    return email.utils.formatdate(time.time() + ahead, usegmt=True)


def spoiler(fault: Fault, side: Side, length: int | None) -> Callable[[int, bytes], tuple[bytes, bool]]:
    """What makes of (bytes so far, the next bytes) those to hand on, and whether the connection is to be reset then."""
    if fault.side != side or fault.kind not in ("flip", "reset"):
        return lambda _, piece: (piece, False)
    if fault.kind == "reset":
        return lambda so_far, piece: (piece[: fault.after - so_far], so_far + len(piece) >= fault.after)
    target = fault.offset if fault.offset is not None else (length or 0) // 2

    def flip(so_far: int, piece: bytes) -> tuple[bytes, bool]:
        if not so_far <= target < so_far + len(piece):
            return piece, False
        changed = bytearray(piece)
        changed[target - so_far] ^= 1
        return bytes(changed), False

    return flip
