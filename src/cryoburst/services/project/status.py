"""Status: what a push and a pull would do. One walk, one look at the store's list; nothing is written or sent."""

from collections.abc import Sequence

from cryoburst.services.project import heads
from cryoburst.services.project.compare import Compared, compare
from cryoburst.services.project.opened import Outcome, Project
from cryoburst.services.project.push import warn
from cryoburst.services.project.walk import excluder, walk

LISTS = (
    "changed_here",
    "new_here",
    "gone_here",
    "changed_there",
    "new_there",
    "gone_there",
    "conflicts",
    "stubs",
)


def status(project: Project, exclude: Sequence[str] = ()) -> tuple[Outcome, bool]:
    """What differs, and whether both are in step. A project that was never pushed differs in every name."""
    newest = heads.newest(project.store, project.folder)
    outcome = Outcome(project.path, project.store_url, project.folder)
    found = walk(project.path, excluder(exclude))
    if newest and project.in_step and newest == project.base.head and project.base.is_all(found):
        compared = Compared(stubs=list(found.stubs))
        outcome.generation = int(newest.partition("-")[0])
        files = len(found.files) + len(found.stubs)
    elif newest:
        head = heads.read_head(project.store, project.folder, newest)
        current = project.in_step and newest == project.base.head
        there = project.base.entries if current else heads.read(project.store, project.folder, head)
        compared, files = compare(project, found, there), head.files
        outcome.generation = head.generation
    else:
        compared = Compared(new_here=[*found.files, *found.links, *found.stubs, *found.folders])
        files = 0
    outcome.left = list(found.left)
    warn(found, outcome)
    outcome.names = {name: sorted(getattr(compared, name)) for name in LISTS}
    outcome.counts = {"files": files} | {name: len(outcome.names[name]) for name in LISTS}
    return outcome, bool(newest) and not compared.to_push and not compared.to_pull
