"""gc on any store at all: whatever is in it and whenever it is killed, nothing that somebody can reach goes."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoburst.model.documents import SpecInput
from cryoburst.model.errors import StoreUnavailable
from cryoburst.services import gc
from cryoburst.services.gc import DAY

from .scene import MONTH, NOW, OLD, RECENT, Scene

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
@settings(max_examples=200)
@given(scenes())
def test_nothing_that_is_reachable_ever_goes(made: tuple[Scene, set[str]]) -> None:
    scene, kept = made
    scene.collect()
    assert kept <= set(scene.store.objects)
    scene.assert_lists_whole()
    assert scene.collect() == set(), "a second gc has nothing to do"


@pytest.mark.slow
@settings(max_examples=200)
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
