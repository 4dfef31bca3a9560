"""Removes what somebody asks to remove from a store: the data of a run, or a whole project.

It must never remove anything of a run that is unfinished, nor what another run or project names; and outputs that may
be nowhere else only when that was said.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from cryoburst.model.errors import BadInput
from cryoburst.model.plugins import Clock, Store, Stored
from cryoburst.services.evidence import Evidence, Known
from cryoburst.services.gc import delete, forget
from cryoburst.services.layout import Line, measure


@dataclass(frozen=True)
class Asked:
    """What somebody asks to remove: the runs' data, and with ``project`` everything in its folder."""

    runs: list[Known]
    project: str  # a folder, or empty


@dataclass(frozen=True)
class Shown:
    """What would go."""

    asked: Asked
    lines: list[Line]
    unfetched: list[Known]  # runs with outputs that were to stay in the store
    problems: list[str]  # sentences: documents that can't be read, and so keep their project

    @property
    def staying(self) -> int:
        """How many objects stay because somebody else names them."""
        return sum(line.objects - line.free_objects for line in self.lines)


def show(store: Store, *, run: str = "", owner: str = "", project: str = "", clock: Clock = time.time) -> Shown:
    """What would go for a run (its number among the owner's, or its uid) or for a project's folder.

    Raises ``BadInput`` when there is none, when the number is ambiguous, or while a run of it is unfinished.
    """
    evidence = Evidence(store, 0.0, clock, leaving=project)
    evidence.look()
    asked = Asked(_of_project(evidence, project) if project else _named(evidence, run, owner), project)
    if busy := _unfinished(evidence, asked):
        what = f"run {busy.request.number} of {busy.request.owner} is unfinished"
        raise BadInput(what, where=busy.request.job, advice="stop it or wait until it has ended, then remove it")
    lines = measure(_objects(store, asked), lambda found: not evidence.needed(found.key))
    if project and not lines:
        raise BadInput("there is no such project in the store", where=project, advice="see cryoburst store ls")
    return Shown(asked, lines, [each for each in asked.runs if each.request.leave and lines], evidence.problems)


def remove(store: Store, shown: Shown, *, forget_runs: bool = False, clock: Clock = time.time) -> list[Line]:
    """Remove what was shown, less what is needed meanwhile; returns what went. Safe to kill and to repeat.

    A project's heads go first, so that nobody clones half of it. With ``forget_runs`` the runs' documents go too, when
    nothing else of them is left.
    """
    asked = shown.asked
    evidence = Evidence(store, 0.0, clock, leaving=asked.project)

    def goes(found: Stored) -> bool:
        return not evidence.needed(found.key) and _unfinished(evidence, asked) is None

    evidence.look()
    lines: list[Line] = []
    if asked.project:
        lines += delete(store, evidence, lambda: store.list(f"projects/{asked.project}/"), goes)
    lines += delete(store, evidence, lambda: _objects(store, asked), goes)
    return lines + (forget(store, asked.runs) if forget_runs else [])


def _of_project(evidence: Evidence, project: str) -> list[Known]:
    if "/" in project or project in ("agent", "runs", "records", "projects", ".probe", "doctor"):
        raise BadInput("this is not a project's folder", where=project, advice="see cryoburst store ls")
    return [run for run in evidence.runs.values() if run.project == project]


def _named(evidence: Evidence, name: str, owner: str) -> list[Known]:
    found = [run for run in evidence.runs.values() if run.request.uid == name]
    if not found and name.isdigit():
        mine = (run for run in evidence.runs.values() if run.request.owner == owner)
        found = [run for run in mine if run.request.number == int(name)]
    if not found:
        raise BadInput("there is no such run in the store", where=name, advice="see cryoburst store ls NAME PROJECT")
    wanted = {run.request.uid for run in found}
    parts = [run for run in evidence.runs.values() if run.request.uid.partition(".")[0] in wanted - {run.request.uid}]
    if len(found) > 1:
        uids = ", ".join(f"{run.request.uid} ({run.request.job})" for run in found)
        raise BadInput(f"{len(found)} runs have this number", where=name, advice=f"name one of {uids}")
    return found + parts


def _unfinished(evidence: Evidence, asked: Asked) -> Known | None:
    """An unfinished run of what was asked for."""
    prefixes = {run.prefix for run in asked.runs}
    for run in evidence.unfinished:
        if run.prefix in prefixes or (asked.project and run.project == asked.project):
            return run
    return None


def _objects(store: Store, asked: Asked) -> Iterator[Stored]:
    if asked.project:
        yield from store.list(f"projects/{asked.project}/")
        yield from store.list(f"{asked.project}/")
        return
    for run in asked.runs:
        yield from store.list(run.prefix)
