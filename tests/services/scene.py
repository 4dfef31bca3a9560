"""A store in memory with runs, pushed projects and what they name, each of an age that a test chooses."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cryoburst.model import documents, project
from cryoburst.model.buffers import Buffer
from cryoburst.model.documents import Closed, Head, Heartbeat, Request, Spec, SpecInput
from cryoburst.model.errors import Corrupt, NotThere, StoreUnavailable
from cryoburst.model.plugins import Finding, Polled, Stored
from cryoburst.model.project import Entry
from cryoburst.services import gc
from cryoburst.services.evidence import Evidence
from cryoburst.services.gc import DAY

NOW = 1_800_000_000.0
MONTH = 30 * DAY
OLD, RECENT = NOW - 40 * DAY, NOW - 2 * DAY
LARGE = 40 * 2**20  # bytes of a file in three pieces


class Memory:
    """A store whose objects have the age that a test says, and that may die at any deletion."""

    url, metered = "memory://", False

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, float]] = {}
        self.deletions = -1  # before the store dies; negative: never

    def create(self) -> None:
        pass

    def put(self, key: str, data: Buffer) -> None:
        self.put_at(key, data, NOW)

    def put_at(self, key: str, data: Buffer, modified: float) -> str:
        self.objects[key] = (bytes(memoryview(data)), modified)
        return key

    def get(self, key: str) -> bytes | None:
        return self.objects[key][0] if key in self.objects else None

    def read(self, key: str, offset: int, size: int) -> list[bytes]:
        if key not in self.objects:
            raise NotThere("no such object", where=key)
        data = self.objects[key][0][offset : offset + size]
        if len(data) != size:
            raise Corrupt("too short", where=key)
        return [data]

    def poll(self, key: str, tag: str) -> Polled | None:
        data = self.get(key)
        now = "absent" if data is None else hashlib.sha256(data).hexdigest()
        return None if now == tag else Polled(data, now)

    def find(self, key: str) -> Stored | None:
        return Stored(key, len(self.objects[key][0]), self.objects[key][1]) if key in self.objects else None

    def list(self, prefix: str) -> Iterator[Stored]:
        for key in sorted(key for key in self.objects if key.startswith(prefix)):
            if key in self.objects:
                yield Stored(key, len(self.objects[key][0]), self.objects[key][1])

    def delete(self, *keys: str) -> None:
        for key in keys:
            if self.deletions == 0:
                raise StoreUnavailable("killed")
            self.deletions -= 1
            self.objects.pop(key, None)

    def probe(self) -> Sequence[Finding]:
        return []

    def credential(self, read: Sequence[str], write: str, seconds: float) -> dict[str, str]:
        return {}


@dataclass
class Scene:
    """A store and what a test puts into it."""

    store: Memory = field(default_factory=Memory)
    pieces: dict[str, list[str]] = field(default_factory=dict[str, list[str]])  # list -> its pieces

    def blob(self, folder: str, name: str, age: float = OLD) -> SpecInput:
        digest = hashlib.sha256(name.encode()).hexdigest()
        key = self.store.put_at(f"{folder}{digest[:2]}/{digest}", b"x" * 50, age)
        return SpecInput(name, 50, f"sha256:{digest}", key, 0, 0)

    def large(self, folder: str, name: str, age: float = OLD, age_of_pieces: float = OLD) -> SpecInput:
        digests = [hashlib.sha256(f"{name}{n}".encode()) for n in range(3)]
        data = b"".join(digest.digest() for digest in digests)
        keys = [f"{folder}{d.hexdigest()[:2]}/{d.hexdigest()}" for d in digests]
        for key in keys:
            self.store.put_at(key, b"y" * 64, age_of_pieces)  # as long as a list of two digests
        digest = hashlib.sha256(data).hexdigest()
        key = self.store.put_at(f"{folder}{digest[:2]}/{digest}", data, age)
        self.pieces[key] = keys
        return SpecInput(name, LARGE, f"sha256-16m:{digest}", key, 0, 0)

    def names(self, *inputs: SpecInput) -> set[str]:
        return {key for each in inputs for key in (each.key, *self.pieces.get(each.key, []))}

    def request(self, uid: str, folder: str = "p-1", owner: str = "me", leave: str = "", number: int = 1) -> Request:
        made = Request(
            uid,
            number,
            owner,
            "/home/p",
            "Job/job001/",
            "t",
            "k",
            "script",
            "s",
            "local",
            "",
            None,
            1,
            OLD,
            folder,
            leave,
        )
        self.store.put_at(f"runs/{owner}/{uid}.json", documents.dump(made), OLD)
        return made

    def closed(self, request: Request, ended: float = OLD, attempt: int = 1) -> None:
        made = Closed(request.uid, "SUCCEEDED", "", "", ended, attempt)
        self.store.put_at(f"runs/{request.owner}/{request.uid}.closed.json", documents.dump(made), ended)

    def prefix(self, request: Request, attempt: int = 1) -> str:
        return f"{request.folder}/Job.job001/{request.uid}/{attempt}/"

    def spec(self, request: Request, *inputs: SpecInput, attempt: int = 1) -> str:
        made = Spec(
            request.uid, attempt, "me", request.job, "s", {}, {}, list(inputs), [], {}, "", NOW + DAY, 60.0, 1.0
        )
        return self.store.put_at(self.prefix(request, attempt) + "spec.json", documents.dump(made), OLD)

    def at_work(self, request: Request, attempt: int = 1) -> None:
        made = Heartbeat(NOW - 5, "command", {}, 0, NOW - 60)
        self.store.put_at(self.prefix(request, attempt) + "heartbeat.json", documents.dump(made), NOW - 5)

    def head(self, folder: str, generation: int, age: float, *inputs: SpecInput) -> set[str]:
        entries = {each.path: Entry("f", each.size, 0, each.checksum, each.key, 0) for each in inputs}
        keys: set[str] = set()
        for part in project.cut(entries):
            data = project.encode(part)
            keys.add(self.store.put_at(f"{folder}/project/{hashlib.sha256(data).hexdigest()}", data, age))
        made = Head(generation, "u", "", age, "h", "me", "/home/p", len(inputs), 0, sorted(keys))
        return keys | {self.store.put_at(f"projects/{folder}/{made.name}.json", documents.dump(made), age)}

    def evidence(self, older: float = MONTH) -> Evidence:
        return Evidence(self.store, older, lambda: NOW)

    def collect(self, older: float = MONTH, **more: bool) -> set[str]:
        """Collect; the keys that went."""
        before = set(self.store.objects)
        shown = gc.survey(self.store, self.evidence(older))
        assert set(self.store.objects) == before, "a survey deletes nothing"
        found = gc.collect(self.store, self.evidence(older), **more)
        gone = before - set(self.store.objects)
        assert found.objects == len(gone)
        if not more:
            assert (shown.objects, shown.bytes) == (found.objects, found.bytes), "what is shown is what goes"
        return gone

    def assert_lists_whole(self) -> None:
        for key, pieces in self.pieces.items():
            if key in self.store.objects:
                assert all(piece in self.store.objects for piece in pieces), "a list without its pieces"


INPUTS = "p-1/inputs/"
