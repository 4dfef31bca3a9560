"""What gc may delete, and what it never may, whatever the documents in the store say and whenever it is killed."""

import contextlib
import hashlib
import json
import os
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoburst.model import documents, project
from cryoburst.model.buffers import Buffer
from cryoburst.model.documents import Closed, Head, Heartbeat, Request, Spec, SpecInput
from cryoburst.model.errors import BadInput, Corrupt, NotThere, StoreUnavailable
from cryoburst.model.plugins import Finding, Polled, Stored
from cryoburst.model.project import Entry
from cryoburst.services import gc, removal
from cryoburst.services.evidence import Evidence
from cryoburst.services.gc import DAY
from cryoburst.services.layout import measure
from cryoburst.stores.folder import FolderStore

from .home import Home

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


def test_what_nobody_used_for_a_month_goes() -> None:
    scene = Scene()
    old, large = scene.blob(INPUTS, "old"), scene.large(INPUTS, "large")
    young = scene.blob(INPUTS, "young", RECENT)
    pack = scene.store.put_at(f"{INPUTS}packs/{'a' * 64}", b"pack", OLD)
    assert scene.collect() == scene.names(old, large) | {pack}
    assert young.key in scene.store.objects
    assert scene.collect() == set()


def test_a_run_at_work_keeps_what_its_spec_names() -> None:
    scene = Scene()
    run = scene.request("u1")
    used, large = scene.blob(INPUTS, "used"), scene.large(INPUTS, "large")
    other = scene.blob("q-2/inputs/", "of another project")
    free = scene.blob(INPUTS, "free")
    scene.spec(run, used, large, other)
    scene.at_work(run)
    assert scene.collect() == {free.key}


@pytest.mark.parametrize("more", ["nothing", "spec", "spec and exit", "spec of the attempt before"])
def test_an_unfinished_run_that_may_stage_in_keeps_its_whole_project(more: str) -> None:
    scene = Scene()
    run = scene.request("u1")
    scene.blob(INPUTS, "known to its ledger alone")
    ended = scene.request("u2")
    scene.closed(ended)
    scene.blob(f"{scene.prefix(ended)}outputs/", "an output that is an input")
    if more != "nothing":
        scene.spec(run)
    if more == "spec and exit":
        scene.at_work(run)
        scene.store.put_at(scene.prefix(run) + "exit.json", b"whatever", NOW)
    if more == "spec of the attempt before":  # its machine died: no word from it for long
        made = Heartbeat(NOW - 7200, "command", {}, 0, None)
        scene.store.put_at(scene.prefix(run) + "heartbeat.json", documents.dump(made), NOW - 7200)
    other = scene.blob("q-2/inputs/", "of another project")
    assert scene.collect() == {other.key}
    assert [r.request.uid for r in gc.survey(scene.store, scene.evidence()).unfinished] == ["u1"]


def test_what_a_run_used_lately_stays() -> None:
    scene = Scene()
    run = scene.request("u1")
    used, free = scene.large(INPUTS, "used"), scene.blob(INPUTS, "free")
    scene.spec(run, used)
    scene.closed(run, RECENT)
    assert scene.collect() == {free.key}
    assert scene.collect(older=DAY) >= scene.names(used)


def test_attempts_of_a_run_that_ended_long_ago_go_and_its_documents_stay() -> None:
    scene = Scene()
    run = scene.request("u1")
    spec = scene.spec(run)
    output = scene.large(f"{scene.prefix(run)}outputs/", "map")
    scene.closed(run)
    assert scene.collect() == scene.names(output) | {spec}
    assert set(scene.store.objects) == {"runs/me/u1.json", "runs/me/u1.closed.json"}
    assert scene.collect(forget_runs=True) == {"runs/me/u1.json", "runs/me/u1.closed.json"}


def test_outputs_that_were_to_stay_in_the_store_never_go() -> None:
    scene = Scene()
    run = scene.request("u1", leave="*.mrcs")
    scene.blob(f"{scene.prefix(run)}outputs/", "left")
    scene.closed(run)
    assert scene.collect(older=0, forget_runs=True) == set()


def test_an_output_that_is_an_input_of_a_run_at_work_stays() -> None:
    scene = Scene()
    first, second = scene.request("u1"), scene.request("u2")
    output = scene.large(f"{scene.prefix(first)}outputs/", "map")
    rest = scene.blob(f"{scene.prefix(first)}outputs/", "rest")
    scene.closed(first)
    scene.spec(second, output)
    scene.at_work(second)
    assert scene.collect(forget_runs=True) == {rest.key}


def test_a_pushed_project_keeps_what_it_consists_of_and_lately_did() -> None:
    scene = Scene()
    before, between, now = (scene.large(INPUTS, name) for name in ("before", "between", "now"))
    scene.head("p-1", 1, OLD - DAY, before)
    scene.head("p-1", 2, OLD, between)
    scene.head("p-1", 3, RECENT, now)  # until two days ago, "between" was the project
    assert scene.collect() == scene.names(before)


def test_another_computers_push_of_the_same_generation_counts() -> None:
    scene = Scene()
    one, two = scene.blob(INPUTS, "one"), scene.blob(INPUTS, "two")
    scene.head("p-1", 1, OLD - DAY, one)
    head = next(key for key in scene.store.objects if key.startswith("projects/"))
    scene.store.objects["projects/p-1/00000001-v.json"] = scene.store.objects.pop(head)
    scene.head("p-1", 1, OLD, two)
    assert scene.collect() == set()


@pytest.mark.parametrize(
    ("key", "data", "kept"),
    [
        ("runs/you/x.json", b"not JSON", {"p-1", "q-2"}),  # whose it is nobody knows
        ("runs/you/x.json", b'{"format": 9, "folder": "p-1"}', {"p-1"}),
        ("runs/me/u1.closed.json", b"{", {"p-1"}),
        ("p-1/Job.job001/u1/1/spec.json", b"{}", {"p-1"}),
        ("projects/p-1/00000001-u.json", b"{}", {"p-1"}),
    ],
)
def test_unknown_decides_nothing(key: str, data: bytes, kept: set[str]) -> None:
    scene = Scene()
    run = scene.request("u1")
    scene.spec(run)
    scene.closed(run, RECENT)
    scene.blob(INPUTS, "a")
    scene.blob("q-2/inputs/", "b")
    scene.store.put_at(key, data, OLD)
    gone = scene.collect()
    assert {each.split("/")[0] for each in gone} == {"p-1", "q-2"} - kept
    assert any(key in problem for problem in gc.survey(scene.store, scene.evidence()).problems)


def test_of_two_requests_for_one_run_the_unfinished_counts() -> None:
    scene = Scene()
    for owner, ends in (("me", False), ("you", True)):  # somebody changed the owner's name while it ran
        run = scene.request("u1", owner=owner)
        if ends:
            scene.closed(run)
    scene.blob(INPUTS, "a")
    assert scene.collect() == set()


def test_a_missing_list_of_pieces_keeps_the_project() -> None:
    scene = Scene()
    run = scene.request("u1")
    large = scene.large(INPUTS, "large")
    scene.spec(run, large)
    scene.at_work(run)
    del scene.store.objects[large.key]
    assert scene.collect() == set()


def test_a_young_list_keeps_its_old_pieces() -> None:
    """Whoever finds a list takes its pieces for there: an upload that was cut, and finished a month later."""
    scene = Scene()
    scene.large(INPUTS, "large", age=RECENT, age_of_pieces=OLD)
    assert scene.collect() == set()


def test_what_is_younger_than_an_hour_stays_whatever_is_asked() -> None:
    scene = Scene()
    blob = scene.blob(INPUTS, "just sent", NOW - 600)
    probe = scene.store.put_at(".probe/x/a", b"", NOW - 600)
    assert scene.collect(older=0) == set()
    scene.store.objects = {key: (data, NOW - 4000) for key, (data, _) in scene.store.objects.items()}
    assert scene.collect(older=0) == {blob.key, probe}


def test_archives_go_when_no_run_can_need_them_but_for_the_newest() -> None:
    scene = Scene()
    first = scene.store.put_at("agent/a.pyz", b"", OLD - 5)
    scene.store.put_at("agent/b.pyz", b"", OLD)
    run = scene.request("u1")
    assert scene.collect() == set()
    scene.closed(run)
    assert scene.collect() == {first}


def test_what_is_not_understood_stays() -> None:
    scene = Scene()
    for key in ("README", "p-1/notes.txt", "p-1/Job.job001/unheard-of/1/outputs/x", "a/b/c/d/e/f", "agent/x/y"):
        scene.store.put_at(key, b"", OLD)
    assert scene.collect(older=0) == set()


def test_a_run_that_begins_while_gc_works_keeps_its_inputs() -> None:
    """Between the listing and the deletion somebody submits: the documents are read again before each batch."""
    scene = Scene()
    blobs = [scene.blob(INPUTS, str(n)) for n in range(20)]
    listing, ended = scene.store.list, 0

    def late(prefix: str) -> Iterator[Stored]:
        nonlocal ended
        yield from listing(prefix)
        ended += prefix == ""
        if ended == 2:
            scene.request("u9")

    scene.store.list = late  # type: ignore[method-assign]
    gc.collect(scene.store, scene.evidence())
    assert all(blob.key in scene.store.objects for blob in blobs)


# -------------------------------------------------------------------------------------------------- any store at all

ages = st.sampled_from([NOW - 60, RECENT, NOW - 29 * DAY, NOW - 31 * DAY, OLD])
folders = st.sampled_from(["p-1", "q-2"])


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Scene, set[str]]:
    """A store, and the keys that nobody may delete: worked out from the plan, not from the store."""
    scene, kept = Scene(), set[str]()
    inputs: list[SpecInput] = []
    for number in range(draw(st.integers(1, 8))):
        folder = f"{draw(folders)}/inputs/"
        if draw(st.booleans()):
            inputs.append(scene.large(folder, f"i{number}", draw(ages), draw(ages)))
        else:
            inputs.append(scene.blob(folder, f"i{number}", draw(ages)))
    some = st.lists(st.sampled_from(inputs), max_size=4)
    whole: set[str] = set()
    for number in range(draw(st.integers(0, 4))):
        owner, folder = draw(st.sampled_from(["me", "you"])), draw(folders)
        run = scene.request(f"u{number}", folder, owner, draw(st.sampled_from(["", "", "*.mrcs"])))
        documents_of_run = {f"runs/{owner}/u{number}.json", f"runs/{owner}/u{number}.closed.json"}
        attempts, ended = draw(st.integers(0, 2)), draw(st.none() | ages)
        named: set[str] = set()
        for attempt in range(1, attempts + 1):
            chosen = draw(some)
            documents_of_run.add(scene.spec(run, *chosen, attempt=attempt))
            named |= scene.names(*chosen)
            made = draw(st.sampled_from([scene.blob, scene.large]))
            output = made(f"{scene.prefix(run, attempt)}outputs/", f"o{number}{attempt}", draw(ages))
            documents_of_run |= scene.names(output)
            inputs.append(output)
        if ended is None:
            kept |= named | documents_of_run
            working = attempts and draw(st.booleans())
            if working:
                scene.at_work(run, attempts)
            else:
                whole.add(folder)
        else:
            scene.closed(run, ended, max(1, attempts))
            kept |= {key for key in documents_of_run if key.startswith("runs/")}
            if run.leave:
                kept |= documents_of_run
            if NOW - ended < MONTH:
                kept |= documents_of_run | named
        if draw(st.integers(0, 9)) == 0:
            broken = draw(st.sampled_from(sorted(scene.store.objects.keys() & documents_of_run)))
            if broken.endswith(f"u{number}.json"):
                scene.store.put_at(broken, b"?", OLD)
                whole |= {"p-1", "q-2"}
    for folder in ("p-1", "q-2"):
        newest: set[str] = set()
        for generation in range(draw(st.integers(0, 2))):
            chosen = draw(some)
            keys = scene.head(folder, generation, draw(ages), *{each.path: each for each in chosen}.values())
            kept |= keys
            newest = scene.names(*chosen)
        kept |= newest
    for key, (_, modified) in scene.store.objects.items():
        inside = key.split("/")[0] in whole
        if inside or NOW - modified < 3600 or (NOW - modified < MONTH and "/inputs/" in key):
            kept.add(key)
    return scene, kept & set(scene.store.objects)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(scenes())
def test_nothing_that_is_reachable_ever_goes(made: tuple[Scene, set[str]]) -> None:
    scene, kept = made
    scene.collect()
    assert kept <= set(scene.store.objects)
    scene.assert_lists_whole()
    assert scene.collect() == set(), "a second gc has nothing to do"


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(scenes(), st.integers(0, 30))
def test_a_gc_that_is_killed_leaves_a_store_that_another_finishes(made: tuple[Scene, set[str]], deletions: int) -> None:
    scene, kept = made
    start = dict(scene.store.objects)
    scene.collect()
    finished = set(scene.store.objects)
    scene.store.objects, scene.store.deletions = start, deletions
    with contextlib.suppress(StoreUnavailable):
        gc.collect(scene.store, scene.evidence())
    assert kept <= set(scene.store.objects)
    scene.assert_lists_whole()
    scene.store.deletions = -1
    gc.collect(scene.store, scene.evidence())
    assert set(scene.store.objects) == finished


# ------------------------------------------------------------------------------------------------------------ removal


def remove(scene: Scene, *, forget_runs: bool = False, **asked: str) -> set[str]:
    before = set(scene.store.objects)
    shown = removal.show(scene.store, clock=lambda: NOW, **asked)
    lines = removal.remove(scene.store, shown, forget_runs=forget_runs, clock=lambda: NOW)
    gone = before - set(scene.store.objects)
    assert sum(line.free_objects for line in lines) == len(gone)
    return gone


def test_a_runs_data_goes_but_for_what_others_name() -> None:
    scene = Scene()
    first, second = scene.request("u1"), scene.request("u2", number=2)
    output = scene.large(f"{scene.prefix(first)}outputs/", "map", RECENT)
    rest = scene.blob(f"{scene.prefix(first)}outputs/", "rest", RECENT)
    scene.closed(first, RECENT)
    scene.spec(second, output)
    scene.at_work(second)
    shown = removal.show(scene.store, run="1", owner="me", clock=lambda: NOW)
    assert shown.staying == len(scene.names(output))
    assert remove(scene, run="1", owner="me") == {rest.key}
    with pytest.raises(BadInput, match="is unfinished"):
        remove(scene, run="u2")
    with pytest.raises(BadInput, match="no such run"):
        remove(scene, run="1", owner="somebody else")


def test_a_project_goes_with_all_that_it_pushed_but_for_what_others_name() -> None:
    scene = Scene()
    mine, shared = scene.large(INPUTS, "mine", NOW), scene.large(INPUTS, "shared", NOW)
    heads = scene.head("p-1", 1, NOW, mine)
    scene.head("q-2", 1, NOW, shared)
    run = scene.request("u1", leave="*")
    spec = scene.spec(run, mine)
    with pytest.raises(BadInput, match="is unfinished"):
        remove(scene, project="p-1")
    scene.closed(run, NOW)
    assert [r.request.uid for r in removal.show(scene.store, project="p-1", clock=lambda: NOW).unfetched] == ["u1"]
    gone = remove(scene, project="p-1", forget_runs=True)
    assert gone == scene.names(mine) | heads | {spec, "runs/me/u1.json", "runs/me/u1.closed.json"}
    with pytest.raises(BadInput, match="no such project"):
        remove(scene, project="none-3")
    for word in ("runs", "agent", "projects", "a/b"):
        with pytest.raises(BadInput, match="not a project"):
            remove(scene, project=word)


# -------------------------------------------------------------------------------------------------------- real folders


def test_files_of_dead_writers_go_from_a_folder(tmp_path: Path) -> None:
    store = FolderStore(tmp_path.as_uri())
    store.create()
    store.put("p-1/inputs/packs/x", b"")
    dead, alive = (tmp_path / "p-1/inputs/packs" / f".cryoburst-{n}" for n in "12")
    dead.write_bytes(b"1234")
    alive.write_bytes(b"")
    os.utime(dead, (1, 1))
    os.utime(tmp_path / ".cryoburst-store", (1, 1))
    evidence = Evidence(store, MONTH)
    assert [(each.kind, each.size) for each in gc.survey(store, evidence).leftovers] == [("unfinished file", 4)]
    gc.collect(store, Evidence(store, MONTH, gc.store_clock(store)))
    assert not dead.exists()
    assert alive.exists()
    assert (tmp_path / ".cryoburst-store").exists()
    assert list(store.list(".probe/")) == []


@pytest.mark.slow
def test_an_input_that_gc_took_is_sent_again(home: Home) -> None:
    """The ledger still believes that the store has it; the machine finds that it has not, and the next try sends it."""
    home.submit(home.job(1, sleep=0))
    assert home.ended(1)["state"] == "SUCCEEDED"
    home.assert_clean(machines=1)
    assert home.call("store", "gc", "--older", "0", "--yes").stdout == "Deleted 0 objects, 0 B\n"
    then = time.time() - 7200
    for path in (home.state / "store").rglob("*"):
        os.utime(path, (then, then))
    done = home.call("store", "gc", "--older", "0", "--yes", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    went = {line["kind"]: line["free_objects"] for line in json.loads(done.stdout)["lines"]}
    assert went["inputs"] == 1
    assert went["run"] >= 4
    assert not list((home.state / "store").glob("*/inputs/*/*"))
    home.submit(home.job(2, sleep=0))
    ended = home.ended(2)
    assert (ended["state"], ended["attempt"]) == ("SUCCEEDED", 2)
    assert (home.project / "Script/job002/two.bin").read_bytes() == (home.project / "in.bin").read_bytes()


def test_ages_are_counted_by_the_stores_own_clock(tmp_path: Path) -> None:
    """A computer whose clock is two hours ahead must not take what was just sent for old."""
    store = FolderStore(tmp_path.as_uri())
    store.create()
    assert abs(gc.store_clock(store)() - (tmp_path / ".cryoburst-store").stat().st_mtime) < 60

    class Behind(Memory):
        def put(self, key: str, data: Buffer) -> None:
            self.put_at(key, data, 1000.0)

    assert abs(gc.store_clock(Behind())() - 1000.0) < 60


def test_many_keys_are_measured_in_little_memory() -> None:
    def keys() -> Iterator[Stored]:
        for n in range(30_000):
            digest = f"{n:064x}"
            yield Stored(f"p-1/inputs/{digest[-2:]}/{digest}", 10, OLD)

    tracemalloc.start()
    try:
        lines = measure(keys())
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert [(line.kind, line.objects, line.bytes) for line in lines] == [("inputs", 30_000, 300_000)]
