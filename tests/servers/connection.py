"""One connection through the proxy: messages are read, spoiled as the rules say, and handed on."""

import dataclasses
import email.utils
import select
import socket
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from .faults import Fault, Request, spoiler

if TYPE_CHECKING:
    from .proxy import Proxy

BLOCK = 1 << 18  # bytes moved at once
HEAD = 1 << 17  # bytes that the head of a message may have
UPSTREAM = 300.0  # s that the server may be silent
LOOK = 0.1  # s between two looks whether the network or the proxy has ended
SKEW = 900.0  # s: S3's limit between a request's date and the server's clock
MEANING = {
    200: "OK",
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


class Gone(Exception):
    """This connection is over, and there is nobody to tell: ``abort`` says that the client gets a reset."""

    def __init__(self, abort: bool = False) -> None:
        super().__init__()
        self.abort = abort


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

    def __init__(self, proxy: "Proxy", sock: socket.socket, patience: float | None = None) -> None:
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

    def __init__(self, proxy: "Proxy", sock: socket.socket) -> None:
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
    body = XML.format(code=escape(code), path=escape(f"/{request.bucket}/{request.key}")).encode() if code else b""
    headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(body))), ("Date", date), *fault.headers]
    return Message(f"HTTP/1.1 {status} {MEANING.get(status, 'Error')}", headers).encode() + body


def http_date(ahead: float) -> str:
    return email.utils.formatdate(time.time() + ahead, usegmt=True)
