"""Tries what a store can and can't do, on objects of its own below ``.probe/``, and says it in sentences.

It must leave nothing behind, and must never fail because a store lacks something: that is what it is there to say.
"""

import os
import time
import uuid
from collections.abc import Callable
from statistics import median

from cryoburst.model.errors import CryoburstError, StoreError
from cryoburst.model.plugins import Finding
from cryoburst.model.store import Store, read_whole
from cryoburst.stores.address import Address

__all__ = ["FOLDER", "look", "look_closer"]

FOLDER = ".probe/"
SMALL, LARGE, TURNS = 1 << 10, 16 << 20, 5  # bytes, bytes, how often a small object is written and read


def look(store: Store, clock: Callable[[], float] = time.perf_counter) -> list[Finding]:
    """What any store must do, and how fast it is. About 40 requests and 32 MiB. Ends at the first refused write."""
    folder = f"{FOLDER}{uuid.uuid4().hex}/"
    small, large = os.urandom(SMALL), os.urandom(LARGE)
    keys = [f"{folder}{name}" for name in ("a b%é", "c", "large")]
    try:
        store.put(keys[0], small)
    except StoreError as error:
        return [Finding("error", "write", _sentence(error))]
    try:
        store.put(keys[1], b"")
        return [
            Finding("ok", "write", "an object can be written"),
            _tried("read back", lambda: store.get(keys[0]) == small, "what was written is not what is read"),
            _tried("missing", lambda: store.get(f"{folder}none") is None, "a missing object is not told apart"),
            _tried("ranges", lambda: read_whole(store, keys[0], 10, 20) == small[10:30], "wrong bytes"),
            _tried("list", lambda: [each.key for each in store.list(folder)] == keys[:2], "a new object is not listed"),
            _tried("conditional read", lambda: _unchanged(store, keys[0]), "an unchanged object is sent again"),
            _tried("delete", lambda: _deleted(store, keys[1]), "a deleted object is still there"),
            *_speed(store, keys[0], small, keys[2], large, clock),
            Finding(
                "ok",
                "price of requests",
                "each request costs money, so runs are watched at a slower pace"
                if store.metered
                else "requests are free",
            ),
        ]
    except StoreError as error:
        return [Finding("error", "speed", _sentence(error))]
    finally:
        _tried("clean up", lambda: store.delete(*keys, f"{folder}new") is None, "")


def look_closer(store: Store, address: Address, new_only: Callable[[str], bool]) -> list[Finding]:
    """What a bucket's server may lack. ``new_only`` says whether it keeps an object that is there."""
    key = f"{FOLDER}{uuid.uuid4().hex}/new"
    try:
        store.put(key, b"1")
        sentence = "can't be told to write an object only if there is none yet; nothing here relies on that"
        findings = [_lacked("conditional write", lambda: new_only(key), sentence)]
        if address.kind == "s3":
            from cryoburst.stores import tampering

            sentence = "takes a write that differs from the checksum it was signed with"
            findings.append(_lacked("checksums", lambda: tampering.refused(address, address.prefix + key), sentence))
    except StoreError as error:
        return [Finding("error", "conditional write", _sentence(error))]
    finally:
        _tried("clean up", lambda: store.delete(key) is None, "")
    return findings


def _tried(subject: str, works: Callable[[], bool], sentence: str) -> Finding:
    try:
        well = works()
    except CryoburstError as error:
        return Finding("error", subject, _sentence(error))
    return Finding("ok", subject, "works") if well else Finding("error", subject, sentence)


def _sentence(error: CryoburstError) -> str:
    """What is wrong, without the key of ours on which it was tried."""
    where = error.where.rpartition(" in ")[2] if error.where.startswith(FOLDER) else error.where
    return str(CryoburstError(error.what, where=where, advice=error.advice))


def _lacked(subject: str, has: Callable[[], bool], sentence: str) -> Finding:
    """A warning at most: nothing relies on these."""
    try:
        well = has()
    except CryoburstError as error:
        return Finding("warning", subject, f"it could not be tried: {_sentence(error)}")
    return Finding("ok", subject, "works") if well else Finding("warning", subject, f"the server {sentence}")


def _unchanged(store: Store, key: str) -> bool:
    polled = store.poll(key, "")
    return polled is not None and polled.data is not None and store.poll(key, polled.tag) is None


def _deleted(store: Store, key: str) -> bool:
    store.delete(key)
    return store.get(key) is None


def _speed(
    store: Store, key: str, small: bytes, large_key: str, large: bytes, clock: Callable[[], float]
) -> list[Finding]:
    def seconds(call: Callable[[], object]) -> float:
        start = clock()
        call()
        return max(clock() - start, 1e-6)

    put = median(seconds(lambda: store.put(key, small)) for _ in range(TURNS)) * 1000
    get = median(seconds(lambda: store.get(key)) for _ in range(TURNS)) * 1000
    up = LARGE / 1e6 / seconds(lambda: store.put(large_key, large))
    down = LARGE / 1e6 / seconds(lambda: store.get(large_key))
    return [
        Finding("ok", "latency", f"a small write takes {put:.1f} ms, a small read {get:.1f} ms"),
        Finding("ok", "speed", f"16 MiB at once go up at {up:.0f} MB/s and come down at {down:.0f} MB/s"),
    ]
