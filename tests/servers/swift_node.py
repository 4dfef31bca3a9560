"""One of Swift's four servers, for Debian's Python: ``python3 -I swift_node.py FOLDER account|container|object|proxy``.

It differs from Debian's ``swift-proxy-server`` and its like in three ways: /etc/swift is not looked at, nothing waits
for the disk (what the tests store may be lost with the machine), and the proxy keeps its cache in its own memory, so
that no memcached is needed. Only Debian's Python has Swift, so nothing of cryoburst may be imported here.
"""
# pyright: reportMissingImports=false

import os
import sys
import time
from collections.abc import Callable
from typing import Any


def main() -> int:
    folder, kind = sys.argv[1:]
    os.fsync = os.fdatasync = lambda fd: None
    sys.modules["swift_node"] = sys.modules["__main__"]  # as the configuration names the cache

    from swift.common import utils
    from swift.common.wsgi import run_wsgi

    utils.set_swift_dir(folder)
    if kind != "object":
        return run_wsgi(f"{folder}/{kind}.conf", f"{kind}-server")
    from swift.obj import server

    return run_wsgi(f"{folder}/object.conf", "object-server", global_conf_callback=server.global_conf_callback)


class Cache:
    """What Swift's proxy asks of memcached, for a proxy of one process."""

    def __init__(self) -> None:
        self.values: dict[str, tuple[float, Any]] = {}

    def get(self, key: str, raise_on_error: bool = False) -> Any:
        until, value = self.values.get(key, (0.0, None))
        return value if until > time.time() else None

    def set(self, key: str, value: Any, time: float = 0, **_: Any) -> None:
        self.values[key] = (until(time), value)

    def incr(self, key: str, delta: int = 1, time: float = 0) -> int:
        value = max(0, int(self.get(key) or 0) + delta)
        self.set(key, value, time=time)
        return value

    def decr(self, key: str, delta: int = 1, time: float = 0) -> int:
        return self.incr(key, -delta, time)

    def delete(self, key: str, server_key: str | None = None) -> None:
        self.values.pop(key, None)

    def set_multi(self, mapping: dict[str, Any], server_key: str, time: float = 0, **_: Any) -> None:
        for key, value in mapping.items():
            self.set(key, value, time=time)

    def get_multi(self, keys: list[str], server_key: str) -> list[Any]:
        return [self.get(key) for key in keys]


def until(seconds: float) -> float:
    """memcached's rule: 0 is for ever, more than 30 days is a date."""
    if seconds == 0:
        return float("inf")
    return seconds if seconds > 30 * 86400 else time.time() + seconds


def cache_filter(_: dict[str, str], **__: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The paste filter that gives every request the cache."""
    cache = Cache()

    def wrap(app: Callable[..., Any]) -> Callable[..., Any]:
        def answer(env: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            env["swift.cache"] = cache
            return app(env, start_response)

        return answer

    return wrap


if __name__ == "__main__":
    sys.exit(main())
