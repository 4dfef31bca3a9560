"""The proxy: it changes nothing without a rule, and each fault is the fault that it says."""

import http.client
import http.server
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from . import Server
from .proxy import Proxy

pytestmark = pytest.mark.slow

WAIT = 20.0  # s, far more than anything here takes
BODY = bytes(range(256)) * 40


class Memory(http.server.BaseHTTPRequestHandler):
    """A server of what was put, without signatures; ``chunks`` answers in chunks, ``early`` refuses without reading."""

    protocol_version = "HTTP/1.1"
    kept: dict[str, bytes]
    done: list[str]

    def do_PUT(self) -> None:
        if "early" in self.path:
            self.close_connection = True
            return self.say(403, b"no")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if len(body) < int(self.headers["Content-Length"]):
            return None
        self.kept[self.path] = body
        return self.say(200, b"")

    def do_GET(self) -> None:
        body = self.kept.get(self.path.partition("?")[0])
        if body is None:
            return self.say(404, b"none")
        if "chunks" not in self.path:
            return self.say(200, body)
        self.done.append(f"{self.command} {self.path}")
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for at in range(0, len(body), 3000):
            part = body[at : at + 3000]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")
        return None

    do_HEAD = do_GET  # noqa: N815

    def do_DELETE(self) -> None:
        self.kept.pop(self.path, None)
        self.say(204, b"")

    def say(self, status: int, body: bytes) -> None:
        self.done.append(f"{self.command} {self.path}")
        self.send_response(status)
        self.send_header("X-Host", self.headers["Host"])
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def memory() -> type[Memory]:
    class Mine(Memory):
        kept: dict[str, bytes] = {}  # noqa: RUF012  # it is this test's own
        done: list[str] = []  # noqa: RUF012

    return Mine


@pytest.fixture
def proxy(memory: type[Memory], tmp_path: Path) -> Iterator[Proxy]:
    class Quiet(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A connection that was reset is what these tests are about."""

    upstream = Quiet(("127.0.0.1", 0), memory)
    thread = threading.Thread(target=upstream.serve_forever, args=(0.02,))
    thread.start()
    server = Server("memory", f"http://127.0.0.1:{upstream.server_port}", "key", "secret", os.getpid(), tmp_path)
    with Proxy(server, seed=1) as made:
        yield made
    upstream.shutdown()
    thread.join()
    upstream.server_close()


class Client:
    """One connection to the proxy."""

    def __init__(self, proxy: Proxy, timeout: float = WAIT) -> None:
        self.http = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=timeout)

    def __call__(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        status, _, answer = self.full(method, path, body, **headers)
        return status, answer

    def full(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        try:
            self.http.request(method, path, body, headers)
            answer = self.http.getresponse()
            return answer.status, answer.headers, answer.read()
        except (OSError, http.client.HTTPException):
            self.http.close()
            raise


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Client]:
    made = Client(proxy)
    yield made
    made.http.close()


def test_without_a_rule_nothing_is_changed(proxy: Proxy, client: Client) -> None:
    assert client("PUT", "/bucket/a%20folder/x", BODY) == (200, b"")
    assert client("GET", "/bucket/a%20folder/x?versionId=1") == (200, BODY)
    assert client("HEAD", "/bucket/a%20folder/x") == (200, b"")
    assert client("DELETE", "/bucket/a%20folder/x") == (204, b"")
    assert client("GET", "/bucket/a%20folder/x") == (404, b"none")
    seen = proxy.requests
    assert [(one.method, one.bucket, one.key, one.query, one.status) for one in seen] == [
        ("PUT", "bucket", "a folder/x", "", 200),
        ("GET", "bucket", "a folder/x", "versionId=1", 200),
        ("HEAD", "bucket", "a folder/x", "", 200),
        ("DELETE", "bucket", "a folder/x", "", 204),
        ("GET", "bucket", "a folder/x", "", 404),
    ]
    assert (proxy.up, proxy.down) == (len(BODY), len(BODY) + 4)
    assert (proxy.count(), proxy.count("GET"), proxy.count("GET", "b*")) == (5, 2, 0)


def test_the_host_is_the_one_that_was_signed(proxy: Proxy, client: Client) -> None:
    assert client.full("PUT", "/bucket/x", BODY)[1]["X-Host"] == f"127.0.0.1:{proxy.port}"


def test_chunks_and_expectations(proxy: Proxy, client: Client) -> None:
    client("PUT", "/bucket/chunks", BODY)
    assert client("GET", "/bucket/chunks") == (200, BODY)
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=WAIT) as sock:
        sock.sendall(b"PUT /bucket/x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"abc")
        assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert client("GET", "/bucket/x") == (200, b"abc")


def test_a_server_that_refuses_early_is_heard(client: Client) -> None:
    assert client("PUT", "/bucket/early", BODY) == (403, b"no")


def test_a_server_that_is_not_there_is_a_reset(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    with (
        Proxy(Server("none", f"http://127.0.0.1:{port}", "", "", os.getpid(), tmp_path)) as proxy,
        pytest.raises(ConnectionResetError),
    ):
        Client(proxy)("GET", "/bucket/x")


def test_which_requests_a_rule_is_for(proxy: Proxy, client: Client, memory: type[Memory]) -> None:
    memory.kept["/bucket/x"] = b""
    rule = proxy.fail(500, "InternalError", method="GET", key="x", query="b", nth=(2, 4))
    paths = ["/bucket/x?b", "/bucket/x?b", "/bucket/x?a", "/bucket/y?b", "/bucket/x?b", "/bucket/x?b", "/bucket/x?b"]
    assert [client("GET", path)[0] for path in paths] == [200, 500, 200, 404, 200, 500, 200]
    assert client("HEAD", "/bucket/x?b")[0] == 200
    assert (rule.seen, rule.hits) == (5, 2)
    proxy.clear()
    rule = proxy.fail(times=2)
    assert [client("GET", "/bucket/x")[0] for _ in range(4)] == [503, 503, 200, 200]


def test_probability_is_the_seeds(proxy: Proxy, client: Client, memory: type[Memory]) -> None:
    memory.kept["/bucket/x"] = b""
    proxy.fail(probability=0.3)
    hits = [client("GET", "/bucket/x")[0] == 503 for _ in range(100)]
    with Proxy(proxy.server, seed=1) as again:
        again.fail(probability=0.3)
        other = Client(again)
        assert [other("GET", "/bucket/x")[0] == 503 for _ in range(100)] == hits
        other.http.close()
    assert 15 < sum(hits) < 45


def test_slow_down(client: Client, proxy: Proxy, memory: type[Memory]) -> None:
    proxy.fail(503, "SlowDown", headers=(("Retry-After", "7"),))
    status, headers, body = client.full("PUT", "/bucket/a&b", BODY)
    assert (status, headers["Retry-After"], headers["Content-Type"]) == (503, "7", "application/xml")
    assert b"<Code>SlowDown</Code>" in body
    assert b"<Resource>/bucket/a&amp;b</Resource>" in body
    assert client("HEAD", "/bucket/x") == (503, b"")
    assert not memory.done


def test_an_error_about_what_was_done(client: Client, proxy: Proxy, memory: type[Memory]) -> None:
    proxy.fail(500, "InternalError", performed=True, times=1)
    assert client("PUT", "/bucket/x", BODY)[0] == 500
    assert memory.kept == {"/bucket/x": BODY}
    assert client("GET", "/bucket/x") == (200, BODY)


def test_delay_and_rate(client: Client, proxy: Proxy) -> None:
    def took(method: str, body: bytes | None = None) -> float:
        start = time.monotonic()
        assert client(method, "/bucket/x", body)[0] == 200
        return time.monotonic() - start

    took("PUT", BODY)
    proxy.slow(delay=0.2)
    assert 0.2 <= took("GET") < 0.2 + WAIT
    proxy.clear()
    proxy.slow(rate=len(BODY) / 0.5)
    assert 0.45 <= took("GET") < 0.5 + WAIT
    proxy.clear()
    proxy.slow(rate=len(BODY) / 0.5, side="request")
    assert 0.45 <= took("PUT", BODY) < 0.5 + WAIT


@pytest.mark.parametrize(("method", "after"), [("PUT", 0), ("PUT", 100), ("PUT", 10**9), ("DELETE", 0), ("DELETE", 5)])
def test_reset_in_a_request_leaves_nothing_done(
    client: Client, proxy: Proxy, memory: type[Memory], method: str, after: int
) -> None:
    memory.kept["/bucket/x"] = b"old"
    proxy.reset(after=after, times=1)
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        client(method, "/bucket/x", BODY if method == "PUT" else None)
    assert proxy.requests[0].status is None
    assert client("GET", "/bucket/x") == (200, b"old")


def test_reset_of_an_answer_leaves_it_done(client: Client, proxy: Proxy, memory: type[Memory]) -> None:
    proxy.reset(side="response", nth=1)
    with pytest.raises(ConnectionResetError):
        client("PUT", "/bucket/x", BODY)
    assert memory.kept == {"/bucket/x": BODY}
    assert proxy.requests[0].status is None
    proxy.reset(side="response", after=1000, nth=1)
    client.http.request("GET", "/bucket/x")
    answer = client.http.getresponse()
    assert answer.status == 200
    with pytest.raises(ConnectionResetError):
        answer.read()


def test_truncated_answers(client: Client, proxy: Proxy, memory: type[Memory]) -> None:
    memory.kept["/bucket/x"] = BODY
    proxy.truncate(after=1000, nth=1)
    with pytest.raises(http.client.IncompleteRead) as caught:
        client("GET", "/bucket/x")
    assert caught.value.partial == BODY[:1000]
    assert proxy.down == 1000
    proxy.clear()
    proxy.truncate(after=1000, whole=False, nth=1)
    assert client("GET", "/bucket/x") == (200, BODY[:1000])
    assert client("GET", "/bucket/x") == (200, BODY)


@pytest.mark.parametrize("offset", [None, 0, 100, len(BODY) - 1])
def test_flipped_bits(client: Client, proxy: Proxy, memory: type[Memory], offset: int | None) -> None:
    at = len(BODY) // 2 if offset is None else offset
    changed = BODY[:at] + bytes([BODY[at] ^ 1]) + BODY[at + 1 :]
    proxy.flip(side="request", offset=offset, method="PUT")
    assert client("PUT", "/bucket/x", BODY)[0] == 200
    assert memory.kept["/bucket/x"] == changed
    memory.kept["/bucket/x"] = BODY
    proxy.flip(offset=offset, method="GET", times=1)
    assert client("GET", "/bucket/x") == (200, changed)
    assert client("GET", "/bucket/x") == (200, BODY)


def test_clocks(client: Client, proxy: Proxy, memory: type[Memory]) -> None:
    memory.kept["/bucket/x"] = BODY
    proxy.skew(600, nth=1)
    proxy.skew(-7200, nth=2)

    def ahead(headers: http.client.HTTPMessage) -> float:
        return parsedate_to_datetime(headers["Date"]).timestamp() - time.time()

    status, headers, _ = client.full("GET", "/bucket/x")
    assert status == 200
    assert ahead(headers) == pytest.approx(600, abs=WAIT)
    status, headers, body = client.full("GET", "/bucket/x")
    assert (status, b"<Code>RequestTimeTooSkewed</Code>" in body) == (403, True)
    assert ahead(headers) == pytest.approx(-7200, abs=WAIT)


@pytest.mark.parametrize("side", ["request", "response"])
def test_no_answer(proxy: Proxy, memory: type[Memory], side: str) -> None:
    proxy.hang(side="request" if side == "request" else "response")
    with pytest.raises(TimeoutError):
        Client(proxy, timeout=0.5)("PUT", "/bucket/x", BODY)
    assert memory.kept == ({} if side == "request" else {"/bucket/x": BODY})


def test_a_network_that_comes_back(client: Client, proxy: Proxy, memory: type[Memory]) -> None:
    memory.kept["/bucket/x"] = BODY
    assert client("GET", "/bucket/x")[0] == 200
    with proxy.outage():
        with pytest.raises(TimeoutError):
            Client(proxy, timeout=0.3)("GET", "/bucket/x")
        with pytest.raises(TimeoutError):
            Client(proxy, timeout=0.3)("PUT", "/bucket/y", b"")
        client.http.request("GET", "/bucket/x")
        time.sleep(0.3)
        assert len(memory.done) == 1
    assert client.http.getresponse().read() == BODY  # the same connection goes on


def test_a_network_that_refuses(client: Client, proxy: Proxy, memory: type[Memory]) -> None:
    memory.kept["/bucket/x"] = BODY
    assert client("GET", "/bucket/x")[0] == 200
    with proxy.outage(silent=False):
        with pytest.raises(ConnectionResetError):
            client("GET", "/bucket/x")
        with pytest.raises(ConnectionRefusedError):
            client("GET", "/bucket/x")
    assert client("GET", "/bucket/x") == (200, BODY)


def test_many_at_once(proxy: Proxy) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        client = Client(proxy)
        try:
            for turn in range(50):
                body = f"{number} {turn} ".encode() * 500
                assert client("PUT", f"/bucket/{number}/{turn}", body)[0] == 200
                assert client("GET", f"/bucket/{number}/{turn}") == (200, body)
        except BaseException as error:
            failures.append(error)
            raise
        finally:
            client.http.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=3 * WAIT)
    assert not failures
    assert proxy.count() == 1600


def test_100_mb_in_a_few_seconds(proxy: Proxy, client: Client) -> None:
    body = bytes(100_000_000)
    start = time.monotonic()
    client("PUT", "/bucket/x", body)
    assert len(client("GET", "/bucket/x")[1]) == len(body)
    assert time.monotonic() - start < WAIT


@pytest.mark.slow
def test_signatures_are_valid_behind_it(s3_server: Server, proxied: Callable[..., Proxy]) -> None:
    from .clients import connect, new_bucket

    bucket = new_bucket(s3_server)
    proxy = proxied(s3_server)
    s3 = connect(proxy)
    s3.put_object(Bucket=bucket, Key="a b/ü", Body=BODY)
    assert s3.get_object(Bucket=bucket, Key="a b/ü")["Body"].read() == BODY
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["a b/ü"]
    proxy.flip(side="request", method="PUT")
    with pytest.raises(s3.exceptions.ClientError, match=r"BadDigest|XAmzContentSHA256Mismatch"):
        s3.put_object(Bucket=bucket, Key="flipped", Body=BODY)
    proxy.clear()
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
