"""What can happen to a request on its way to a server, and to which requests a rule lets it happen."""

import fnmatch
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Literal, TypedDict

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
