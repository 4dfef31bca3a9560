"""What differs between a project here and its list in the store, name by name: what a push and what a pull would do.

A name is untouched when it is as it was when both were in step; then nothing of it is read. Of a file that was touched
the content decides, and it is read only where it may be the same as the store's.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from cryoburst.model.project import Entry
from cryoburst.model.stub import parse_stub
from cryoburst.services.project import removed
from cryoburst.services.project.opened import Project, here_entry, untouched
from cryoburst.services.project.walk import Found


@dataclass
class Compared:
    """Each name that is not in step, once. ``same`` are those whose contents are equal, wherever they were changed."""

    same: list[str] = field(default_factory=list[str])
    changed_here: list[str] = field(default_factory=list[str])  # the store has it as it was
    new_here: list[str] = field(default_factory=list[str])
    gone_here: list[str] = field(default_factory=list[str])  # removed here; the store has it as it was
    changed_there: list[str] = field(default_factory=list[str])  # here it is as it was
    new_there: list[str] = field(default_factory=list[str])
    gone_there: list[str] = field(default_factory=list[str])  # no longer in the list; here it is as it was
    conflicts: list[str] = field(default_factory=list[str])  # changed in both, and not to the same
    stubs: list[str] = field(default_factory=list[str])  # in step, and their contents are in the store only
    covered: set[str] = field(default_factory=set[str])  # of what can't be looked at, what hides names of the list

    @property
    def to_push(self) -> bool:
        """Whether a push would change the store's list."""
        return bool(self.changed_here or self.new_here or self.gone_here or self.conflicts)

    @property
    def to_pull(self) -> bool:
        """Whether a pull would bring something, or say something."""
        return bool(self.changed_there or self.new_there or self.gone_there or self.conflicts)


def compare(
    project: Project,
    found: Found,
    there: Mapping[str, Entry],
    chosen: Callable[[str], object] = lambda _: True,
) -> Compared:
    """Compare the chosen names. Reads files that were touched and have the size that the store's have."""
    base, then = project.entries(), project.base.found if project.in_step else Found()
    result = Compared()
    unsure: list[str] = []
    for path, entry in there.items():
        if not chosen(path):
            continue
        before = base.get(path)
        if not found.has(path):
            if cover := found.cover(path):
                result.covered.add(cover)
            elif before is None:
                result.new_there.append(path)
            else:
                (result.gone_here if entry.same(before) else result.conflicts).append(path)
        elif before is not None and untouched(found, then, path):
            if not entry.same(before):
                result.changed_there.append(path)
            elif path in found.stubs:
                result.stubs.append(path)
        elif _may_be(found, path, entry) or (before is not None and _may_be(found, path, before)):
            unsure.append(path)
        else:
            _differs(result, path, entry, before)
    undecided = removed.undecided(project, found, there)
    for path in (*found.files, *found.links, *found.stubs, *found.folders):
        if path in there or not chosen(path):
            continue
        before = base.get(path)
        if path in undecided or (before is not None and untouched(found, then, path)):
            result.gone_there.append(path)
        elif before is not None and _may_be(found, path, before):
            unsure.append(path)
        else:
            result.new_here.append(path)
    _read(project, found, there, base, unsure, result)
    return result


def _differs(result: Compared, path: str, entry: Entry, before: Entry | None) -> None:
    """Note a name that is here and not the same as in the store."""
    (result.changed_here if before is not None and entry.same(before) else result.conflicts).append(path)


def _may_be(found: Found, path: str, entry: Entry) -> bool:
    """Whether what is here may be what an entry says, without reading a file."""
    if path in found.files:
        return entry.is_file and found.files[path][0] == entry.size
    if path in found.stubs:
        stub = parse_stub(found.stubs[path])
        return stub is not None and entry.is_file and entry.checksum == stub.checksum
    return here_entry(found, path, "", None, None).same(entry)


def _read(
    project: Project,
    found: Found,
    there: Mapping[str, Entry],
    base: Mapping[str, Entry],
    unsure: list[str],
    result: Compared,
) -> None:
    """Tell by their contents whether files are the same; the ledger knows most."""
    if not unsure:
        return
    checksums: dict[str, str] = {}
    known = project.known(found)
    for path in unsure:
        if path in found.files and (checksum := known.of(found.files[path])):
            checksums[path] = checksum
    fresh = [path for path in unsure if path in found.files and path not in checksums]
    if fresh:
        read, left = project.hashed(fresh, found)
        checksums |= read
        found.left += left
        found.unseen |= {each.path for each in left}
    for path in unsure:
        if found.cover(path):
            result.covered.add(path)
            continue
        entry, before = there.get(path), base.get(path)
        mine = here_entry(found, path, checksums.get(path, ""), None, before)
        if mine.same(entry) or (entry is not None and path in found.stubs and mine.checksum == entry.checksum):
            result.same.append(path)
            if path in found.stubs:
                result.stubs.append(path)
        elif mine.same(before):  # it has another time, and is what it was
            (result.changed_there if entry is not None else result.gone_there).append(path)
        elif entry is None:
            result.new_here.append(path)
        else:
            _differs(result, path, entry, before)


def chooser(patterns: Sequence[str], within: str = "") -> Callable[[str], object]:
    """Tells whether a path is meant by a list of names and patterns, as typed in the folder ``within`` of the project.

    A name means itself and everything below it; in a pattern ``*`` and ``?`` match slashes too. All without patterns.
    """
    import fnmatch
    import os

    if not patterns:
        return lambda _: True
    forms: list[str] = []
    for pattern in patterns:
        path = os.path.normpath(os.path.join(within, pattern))  # noqa: PTH118
        if path == ".":
            return lambda _: True
        forms += [re.escape(path) + r"(?s:/.*)?\Z", fnmatch.translate(path)]
    return re.compile("|".join(forms)).match
