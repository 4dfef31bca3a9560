"""``store rm``: a run or a project goes with all that is its own, and nothing that others name."""

import pytest

from cryoburst.model.errors import BadInput
from cryoburst.services import removal

from .scene import INPUTS, NOW, RECENT, Scene


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
