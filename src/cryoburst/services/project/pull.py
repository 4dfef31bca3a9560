"""Pull: what changed in the store comes; what was changed here is never replaced unless somebody says so.

A large file that is not wanted now is there as a stub (``cryoburst.model.stub``). A list of the store counts as seen
only when all that it names is here, or a stub of it, or was decided: else the next push could take away what did not
come.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from cryoburst.model.errors import NotThere
from cryoburst.model.project import FOLDER, LINK, Entry
from cryoburst.model.stub import Stub
from cryoburst.services.project import heads, removed
from cryoburst.services.project.arrive import Arrival, takes_for_one
from cryoburst.services.project.clashes import clashes
from cryoburst.services.project.compare import Compared, chooser, compare
from cryoburst.services.project.opened import Outcome, Project, settled, untouched
from cryoburst.services.project.walk import Found, walk

if TYPE_CHECKING:
    from cryoburst.transfer.tally import Tally

BELOW = 2 * 2**20  # bytes: larger files come when they are asked for


@dataclass(frozen=True)
class Wishes:
    """What the command line asks of a pull."""

    names: Sequence[str] = ()  # only these, as typed in the folder ``within`` of the project; the large ones too
    within: str = ""
    all_: bool = False  # the large ones too
    below: int = BELOW
    theirs: bool = False  # of what changed in both: the store's
    ours: bool = False  # of what changed in both: what is here; and what the store no longer lists
    delete: bool = False  # what is no longer in the store's list, and untouched here

    @cached_property
    def chosen(self) -> Callable[[str], object] | None:
        """Which names are meant; None for all."""
        return chooser(self.names, self.within) if self.names else None


def pull(
    project: Project,
    wishes: Wishes,
    show: Callable[["Tally"], AbstractContextManager[object]] = nullcontext,
) -> Outcome:
    """Bring what is here in step with the store's list. ``show`` is entered while files come.

    Raises NotThere when the store has no list of this project, or nothing by a name that was asked for, Corrupt when
    the list is damaged, and the store's other errors.
    """
    with project.base.alone():
        newest = heads.newest(project.store, project.folder)
        if not newest:
            raise NotThere("the store has no project here", where=project.folder, advice="push it first")
        head = heads.read_head(project.store, project.folder, newest)
        outcome = Outcome(project.path, project.store_url, project.folder)
        outcome.generation = head.generation
        current = project.in_step and newest == project.base.head
        there = project.base.entries if current else heads.read(project.store, project.folder, head)
        found = walk(project.path)
        compared = compare(project, found, there, wishes.chosen or (lambda _: True))
        for name in wishes.names:
            if not any(map(chooser([name], wishes.within), (*there, *compared.gone_there))):
                raise NotThere("the project in the store has no name like this", where=name)
        outcome.left = [each for each in found.left if each.path in compared.covered]
        work = _Pull(project, wishes, found, there, compared, outcome)
        work.run(show)
        work.keep(newest, current)
    return outcome


class _Pull:
    """One pull: what is to come, and what remains to be known of it."""

    def __init__(
        self,
        project: Project,
        wishes: Wishes,
        found: Found,
        there: Mapping[str, Entry],
        compared: Compared,
        outcome: Outcome,
    ) -> None:
        self._project, self._wishes, self._found, self._there = project, wishes, found, there
        self._compared, self._outcome = compared, outcome
        self._arrival = Arrival(project, found, there)
        self._decided: set[str] = set()  # conflicts that stay as they are here, knowingly
        self._undecided: list[str] = []  # no longer in the list, and still here

    def run(self, show: Callable[["Tally"], AbstractContextManager[object]]) -> None:
        """Bring what is wanted; everything that could not be brought is in the outcome's list."""
        compared, arrival = self._compared, self._arrival
        bring = self._wanted()
        self._clashing(bring)
        self._clear(bring)
        bring = [path for path in bring if path not in arrival.failed]
        files = {path for path in bring if self._there[path].is_file and not self._as_stub(path)}
        arrival.fetch(sorted(files), show)
        for path in sorted(set(bring) - files):
            arrival.make(path)
        arrival.tidy()
        deleted = [path for path in compared.gone_there if arrival.remove(path)] if self._wishes.delete else []
        kept = compared.gone_there if self._wishes.ours else []
        self._undecided = sorted(set(compared.gone_there) - set(deleted) - set(kept))
        stubs = sorted(path for path in arrival.made if self._there[path].is_file)
        self._outcome.left += arrival.left
        self._outcome.names = {
            "brought": sorted(arrival.files),
            "stubs": stubs,
            "kept": sorted((*compared.changed_here, *compared.new_here, *compared.gone_here, *kept)),
            "gone_there": self._undecided,
            "deleted": sorted(deleted),
        }
        self._outcome.counts = {
            "files": sum(entry.is_file for entry in self._there.values()),
            "brought": len(arrival.files),
            "bytes_brought": sum(identity[0] for identity in arrival.files.values()),
            "stubs": len({*stubs, *compared.stubs} - files) + len(set(stubs) & files),
            "kept": len(self._outcome.names["kept"]),
            "gone_there": len(self._outcome.names["gone_there"]),
            "deleted": len(deleted),
            "conflicts": len(compared.conflicts),
        }

    def _wanted(self) -> list[str]:
        """The names to bring; conflicts are decided, or left."""
        compared, wishes = self._compared, self._wishes
        bring = [*compared.new_there, *compared.changed_there]
        if wishes.chosen is not None or wishes.theirs:  # asked for by name: bring back what was removed, too
            bring += compared.gone_here
        if wishes.theirs:
            bring += compared.conflicts
            bring += compared.changed_here if wishes.chosen is not None else []
        elif wishes.ours:
            self._decided.update(compared.conflicts)
        else:
            for path in compared.conflicts:
                how = "changed" if self._found.has(path) else "removed"
                self._arrival.leave(path, f"{how} here and changed in the store: decide with --theirs or --ours")
        return bring + [path for path in compared.stubs if self._here_too(path)]

    def _here_too(self, path: str) -> bool:
        """Whether the content of a name is wanted here, too."""
        small = self._there[path].size <= self._wishes.below
        return self._wishes.all_ or self._wishes.chosen is not None or small or path.endswith(".star")

    def _as_stub(self, path: str) -> bool:
        return path not in self._found.files and not self._here_too(path)

    def _clashing(self, bring: Sequence[str]) -> None:
        """Leave names that this file system takes for one of those that come before."""
        groups = clashes(list(self._there))
        if not groups or not takes_for_one(self._project.path):
            return
        for first, *others in groups:
            for other in others:
                for path in bring:
                    if (path == other or path.startswith(f"{other}/")) and path not in self._arrival.failed:
                        self._arrival.leave(path, f"this file system takes its name for that of {first}")

    def _clear(self, bring: Sequence[str]) -> None:
        """Make way: what is gone from the list and untouched here goes where it stands in a folder's place."""
        gone = {path for path in self._compared.gone_there if path not in self._found.folders}
        for path in bring:
            above = path.rpartition("/")[0]
            while above and gone:
                if above in gone and self._arrival.remove(above):
                    gone.discard(above)
                    self._compared.gone_there.remove(above)
                above = above.rpartition("/")[0]

    # ------------------------------------------------------------------------------------------------ what remains

    def keep(self, newest: str, current: bool) -> None:
        """Keep as the base what is in step now, and the list as seen where it may be."""
        project, arrival, there, before = self._project, self._arrival, self._there, self._project.entries()
        fresh = {*arrival.files, *arrival.made, *self._compared.same}
        partial = self._wishes.chosen is not None and not current
        if partial or arrival.failed - arrival.made:
            base = before | {path: there[path] for path in (*fresh, *self._decided)}
            if self._wishes.ours:
                base = {path: entry for path, entry in base.items() if path not in self._compared.gone_there}
            name = project.base.head if project.in_step else ""
        else:
            base, name = dict(there), newest
        then = project.base.found if project.in_step else Found()
        now = self._after()
        in_step = [
            path
            for path, entry in base.items()
            if path in fresh
            or (path not in self._decided and untouched(now, then, path) and entry.same(before.get(path)))
        ]
        kept = settled(now, in_step)
        kept.files |= arrival.files  # with the times that they had, not new ones
        gone = removed.read(project)
        others = {path: entry for path, entry in gone.items() if not (self._wishes.chosen or bool)(path)}
        removed.keep(project, others | {path: gone.get(path) or before[path] for path in self._undecided})
        project.base.keep(project.store_url, project.folder, name, base, kept)
        project.ledger.set_project_place(project.path, project.store_url, project.folder)

    def _after(self) -> Found:
        """What is here now."""
        after, found, arrival = Found(), self._found, self._arrival
        after.links = {path: text for path, text in found.links.items() if path not in arrival.files}
        after.stubs = {path: text for path, text in found.stubs.items() if path not in arrival.files}
        after.folders = found.folders - arrival.files.keys()
        after.files = found.files | arrival.files
        for path in arrival.made:
            entry = self._there[path]
            for names in (after.files, after.links, after.stubs):
                names.pop(path, None)
            if entry.kind == LINK:
                after.links[path] = entry.target
            elif entry.kind == FOLDER:
                after.folders.add(path)
            else:
                after.stubs[path] = Stub(entry.checksum, entry.size).text
        return after
