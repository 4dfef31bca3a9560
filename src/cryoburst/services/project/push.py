"""Push: every content that the store lacks, once; then the project's list, last.

A push that was cut leaves the list as it was; the next one sends what is missing. What could not be sent stays in the
list as it was pushed before, so that nothing vanishes from the store because it could not be read here.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, NamedTuple

from cryoburst.model.errors import BadInput, one_line
from cryoburst.model.project import Entry, check
from cryoburst.services.project import heads
from cryoburst.services.project.opened import Outcome, Project, here_entry, settled
from cryoburst.services.project.walk import Found, Left, excluder, walk

if TYPE_CHECKING:
    from cryoburst.model.documents import Head
    from cryoburst.services.project.contents import Contents
    from cryoburst.transfer import Sent, Source
    from cryoburst.transfer.tally import Tally

NAMED = 5  # files that a warning names
MANY = 10  # files of which more than half are gone: this looks like a disk that is not mounted


class Wishes(NamedTuple):
    """What the command line asks of a push."""

    exclude: Sequence[str] = ()
    dry_run: bool = False
    force: bool = False
    check: bool = False  # look whether the store has what its list names
    again: Sequence[str] = ()  # patterns of files whose contents are sent once more


def push(
    project: Project,
    wishes: Wishes,
    show: Callable[["Tally"], AbstractContextManager[object]] = nullcontext,
) -> Outcome:
    """Bring the project's list in the store in step with what is here. ``show`` is entered while files are sent.

    Raises ``Overtaken`` when somebody else pushed since, BadInput when most files are gone here or the folder is none
    that anybody means to push (``sensible``), the store's errors.
    """
    outcome = Outcome(project.path, project.store_url, project.folder)
    if not project.in_step:
        from cryoburst.services.project import sensible

        sensible.refuse_home(project.path)
    with project.base.alone():
        newest = heads.newest(project.store, project.folder)  # first: a store that can't be read is told at once
        found = walk(project.path, excluder(wishes.exclude))
        outcome.left = list(found.left)
        warn(found, outcome)
        same = project.in_step and newest == project.base.head and project.base.is_all(found)
        if same and not (wishes.check or wishes.again):
            return _unchanged(found, outcome, newest)
        if not (newest or wishes.force or wishes.dry_run):
            from cryoburst.services.project import sensible

            sensible.refuse_strange(project.path, found)
        _Push(project, wishes, found, outcome, newest).run(show)
    return outcome


def _unchanged(found: Found, outcome: Outcome, newest: str) -> Outcome:
    outcome.generation = int(newest.partition("-")[0])
    size = sum(identity[0] for identity in found.files.values()) + sum(
        int(text.rpartition("/")[2]) for text in found.stubs.values()
    )
    outcome.counts = {"files": len(found.files) + len(found.stubs), "bytes": size, "new": 0, "changed": 0, "gone": 0}
    outcome.counts |= {"files_to_read": 0, "bytes_to_read": 0, "files_read": 0, "bytes_sent": 0}
    return outcome


class _Push:
    """One push: what it knows, and its steps in the order in which they are made."""

    def __init__(self, project: Project, wishes: Wishes, found: Found, outcome: Outcome, newest: str) -> None:
        self._project, self._wishes, self._found, self._outcome = project, wishes, found, outcome
        self._newest = newest
        # Without a list in the store (its first push, or somebody emptied it) nothing that we remember of it counts.
        self._before = project.entries() if newest else {}
        self._entries: dict[str, Entry] = {}  # the new list
        self._removed: dict[str, Entry] = {}  # what is still here, and somebody else removed
        self._unread: list[str] = []  # files whose content has to be read, in the order of their paths
        self._checksums: dict[str, str] = {}  # of those, what was read
        self._wrong: set[str] = set()  # checksums of what the store does not have as its list says
        self._lock = threading.Lock()

    def run(self, show: Callable[["Tally"], AbstractContextManager[object]]) -> None:
        """See ``push``."""
        project, newest = self._project, self._newest
        same_place = project.in_step
        if not self._wishes.force and newest != (project.base.head if same_place else ""):
            raise heads.overtaken(project.store, project.folder)
        contents = self._contents()
        self._set_aside()
        again = self._again(contents)
        self._collect(contents, again)
        gone = self._carry()
        self._count(gone, self._unread)
        if self._wishes.dry_run:
            return
        self._refuse_empty(gone)
        if self._unread:
            self._send(contents, show)
            self._count(gone, ())  # a file that could not be read is not new: it is not in the store
        contents.tell()
        self._write(newest)

    def _set_aside(self) -> None:
        """Leave out what others removed from the list and nobody decided about here; ``force`` decides."""
        if not self._newest or self._wishes.force:
            return
        from cryoburst.services.project import removed

        self._removed = removed.undecided(self._project, self._found, self._before)
        self._found.drop(self._removed)
        if self._removed:
            named = ", ".join(sorted(self._removed)[:NAMED])
            more = f" and {len(self._removed) - NAMED} more" if len(self._removed) > NAMED else ""
            said = f"what was removed in the store and is still here is not sent: {named}{more}"
            self._outcome.warnings.append(f"{said}; cryoburst project pull --delete or --ours decides")

    def _contents(self) -> "Contents":
        from cryoburst.services.project.contents import Contents, examine

        contents = Contents(self._project, time.monotonic)
        if not self._newest or not self._project.in_step or self._project.base.unfinished or self._wishes.check:
            contents.learn()
        if self._wishes.check:
            self._wrong = examine(self._project.store, self._project.folder, self._before.values())
            contents.forget(self._wrong)
            self._outcome.counts["damaged"] = sum(entry.checksum in self._wrong for entry in self._before.values())
        contents.trust(entry for entry in self._before.values() if entry.checksum not in self._wrong)
        return contents

    def _again(self, contents: "Contents") -> set[str]:
        """The checksums that are to be sent once more."""
        from cryoburst.services.project.contents import pieces_in
        from cryoburst.transfer import PIECE

        wanted = excluder(self._wishes.again)
        if wanted is None:
            return self._wrong
        chosen = [entry for path, entry in self._before.items() if entry.is_file and wanted(path)]
        again = {entry.checksum for entry in chosen}
        for entry in chosen:
            if entry.size > PIECE:
                again |= pieces_in(self._project.store, entry)
        contents.forget(again)
        return again | self._wrong

    def _collect(self, contents: "Contents", again: set[str]) -> None:
        """Put into the new list what needs no reading; note the files that do."""
        found, then = self._found, self._project.base.found
        known = self._project.known(found)
        for path, identity in found.files.items():
            before = self._before.get(path)
            if before is not None and then.files.get(path) == identity and before.checksum not in again:
                self._entries[path] = before
                continue
            checksum = known.of(identity)
            place = contents.place(checksum) if checksum and checksum not in again else None
            if checksum is None or place is None:
                self._unread.append(path)
            else:
                self._entries[path] = _kept(here_entry(found, path, checksum, place, before), before)
        for path in (*found.links, *found.folders):
            self._entries[path] = here_entry(found, path, "", None, None)
        for path in found.stubs:
            self._stub(path, contents)
        self._unread.sort()

    def _stub(self, path: str, contents: "Contents") -> None:
        before = self._before.get(path)
        entry = here_entry(self._found, path, "", None, before)
        place = (entry.key, entry.offset) if entry is before else contents.place(entry.checksum)
        if place is None:
            self._outcome.left.append(Left(path, "only its stub is here, and the store does not have its content"))
            self._found.unseen.add(path)
        else:
            self._entries[path] = entry._replace(key=place[0], offset=place[1])

    def _carry(self) -> list[str]:
        """Keep what could not be looked at as it was pushed before; the paths that are gone."""
        gone: list[str] = []
        waiting = set(self._unread)
        for path, entry in self._before.items():
            if path in self._entries or path in waiting:
                continue
            if self._found.cover(path):
                if not any(above in self._entries for above in _above(path)):
                    self._entries[path] = entry
            else:
                gone.append(path)
        return gone

    def _count(self, gone: Sequence[str], waiting: Sequence[str]) -> None:
        before = self._before
        new = [path for path in (*self._entries, *waiting) if path not in before]
        changed = [path for path, entry in self._entries.items() if path in before and not entry.same(before[path])]
        changed += [path for path in waiting if path in before]
        self._outcome.names.update(new=sorted(new), changed=sorted(changed), gone=sorted(gone), to_read=self._unread)
        size = sum(self._found.files[path][0] for path in self._unread)
        self._outcome.counts |= {
            "new": len(new),
            "changed": len(changed),
            "gone": len(gone),
            "files_to_read": len(self._unread),
            "bytes_to_read": size,
            "files_read": self._outcome.counts.get("files_read", 0),
            "bytes_sent": self._outcome.counts.get("bytes_sent", 0),
        }

    def _refuse_empty(self, gone: Sequence[str]) -> None:
        if len(gone) > max(MANY, len(self._before) / 2) and not self._wishes.force:
            raise BadInput(
                f"{len(gone)} of {len(self._before)} files that were pushed are gone here",
                where=self._project.path,
                advice="if that is right, push with --force; else look whether the disk is mounted",
            )

    # ----------------------------------------------------------------------------------------------------- sending

    def _send(self, contents: "Contents", show: Callable[["Tally"], AbstractContextManager[object]]) -> None:
        from cryoburst.services.line import open_line
        from cryoburst.transfer import Sender
        from cryoburst.transfer.tally import Tally

        project, found = self._project, self._found
        line = open_line(project.settings)
        tally = Tally(line)
        sent = {"bytes": 0}

        def moved(size: int, wire: bool) -> None:
            with self._lock:
                sent["bytes"] += size if wire else 0
            (tally.finished if wire else tally.skipped)(size, 0)

        def done(files: "list[Sent]") -> None:
            with self._lock:
                for each in files:
                    path = each.source.name
                    self._checksums[path] = each.checksum
                    entry = here_entry(found, path, each.checksum, each.place, None)
                    self._entries[path] = _kept(entry, self._before.get(path))
            tally.finished(0, len(files))

        sender = Sender(project.store, f"{project.folder}/inputs/", line, contents.place, contents.keep, moved)
        sources = [self._source(path) for path in self._unread]
        tally.expect(sum(source.size for source in sources), len(sources))
        with project.base.sending(), show(tally):
            try:
                unsent = sender.send(sources, done)
                again = [each.source.name for each in unsent if self._look_again(each.source.name)]
                second = sender.send([self._source(path) for path in again], done) if again else []
                why = {each.source.name: each.why for each in (*unsent, *second)}
            finally:
                contents.tell()
                files = {path: found.files[path] for path in self._checksums}
                project.keep_checksums(files, self._checksums)
        for path, reason in sorted(why.items()):
            if path not in self._checksums:
                self._outcome.left.append(Left(path, self._reason(path, reason)))
                if path in self._before and self._before[path].is_file:
                    self._entries[path] = self._before[path]
        self._outcome.counts |= {"files_read": len(self._checksums), "bytes_sent": sent["bytes"]}

    def _source(self, path: str) -> "Source":
        from cryoburst.transfer import Source

        size, mtime_ns, _, _ = self._found.files[path]
        return Source(path, f"{self._project.path}/{path}", size, mtime_ns)

    def _look_again(self, path: str) -> bool:
        """Take a file as it is now, for a second try; whether there is one."""
        try:
            seen = os.stat(f"{self._project.path}/{path}")  # noqa: PTH116
        except OSError:
            return False
        self._found.files[path] = (seen.st_size, seen.st_mtime_ns, seen.st_ino, seen.st_mode & 0o100 != 0)
        return True

    def _reason(self, path: str, why: str) -> str:
        if not os.path.lexists(f"{self._project.path}/{path}"):
            return "it vanished before it was sent"
        return why[:1].lower() + why[1:]

    # ------------------------------------------------------------------------------------------------------ the list

    def _write(self, newest: str) -> None:
        """Write the new list where it differs from the one before, and keep the base."""
        from cryoburst.services.project import removed

        project, outcome, entries = self._project, self._outcome, self._entries
        files = [entry for entry in entries.values() if entry.is_file]
        outcome.counts |= {"files": len(files), "bytes": sum(entry.size for entry in files)}
        name = newest
        if not newest or entries != self._before or newest != (project.base.head if project.in_step else ""):
            check(entries, "as this computer would write it")
            head = self._head(newest, files)
            heads.commit(project.store, project.folder, head)
            name = head.name
        stale = set(self._unread) - set(self._checksums)  # in the list as they were before: they could not be sent
        fine = (path for path in entries if self._found.has(path) and path not in stale)
        removed.keep(project, self._removed)
        project.base.keep(project.store_url, project.folder, name, entries, settled(self._found, fine))
        project.ledger.set_project_place(project.path, project.store_url, project.folder)
        outcome.generation = int(name.partition("-")[0])

    def _head(self, newest: str, files: Sequence[Entry]) -> "Head":
        import secrets
        import socket

        from cryoburst.model.documents import Head

        project = self._project
        before = heads.read_head(project.store, project.folder, newest) if newest else None
        return Head(
            generation=(before.generation if before else 0) + 1,
            uid=secrets.token_hex(8),
            before=newest,
            time=time.time(),
            host=socket.gethostname(),
            owner=project.settings.owner,
            project=project.path,
            files=len(files),
            bytes=sum(entry.size for entry in files),
            parts=heads.write_parts(project.store, project.folder, self._entries, before.parts if before else ()),
        )


def _kept(entry: Entry, before: Entry | None) -> Entry:
    """The entry of before where the content is the same: a touched file alone makes no new list."""
    return before if before is not None and entry.same(before) and entry.key == before.key else entry


def _above(path: str) -> list[str]:
    found: list[str] = []
    while path := path.rpartition("/")[0]:
        found.append(path)
    return found


def warn(found: Found, outcome: Outcome) -> None:
    """Name what some other computers can't hold side by side."""
    from cryoburst.services.project.clashes import clashes

    for names in clashes((*found.files, *found.links, *found.stubs, *found.folders)):
        shown = " and ".join(f"'{one_line(name)}'" for name in names)
        outcome.warnings.append(f"on some computers only one of these names can be: {shown}")
