"""What gc may delete, and what it never may, whatever the documents in the store say and whenever it is killed."""

import json
import os
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from cryoburst.model import documents
from cryoburst.model.buffers import Buffer
from cryoburst.model.documents import Heartbeat
from cryoburst.model.plugins import Stored
from cryoburst.services import gc
from cryoburst.services.evidence import Evidence
from cryoburst.services.gc import DAY
from cryoburst.services.layout import measure
from cryoburst.stores.folder import FolderStore

from .home import Home
from .scene import INPUTS, MONTH, NOW, OLD, RECENT, Memory, Scene


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
