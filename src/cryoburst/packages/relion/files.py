"""Turns the names of files that a job reads into ``Input`` rows, and refuses what can't be sent.

A link that leads outside the project (``Movies -> /data/session1``) is followed and its content sent under the name
inside the project. A name that leaves the project, a loop of links, a folder, a device, a missing or truncated file is
BadInput, with the file that names it. A link that stands for a content elsewhere (``model.stub``) is an input like any
other, unless the closure has to read it.

What was read on the way, the heads of images and what lists say, is kept for the pre-flight: a job may name ten
thousand stacks on a disk far away, and nothing is read twice.
"""

import os
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryoburst.model.errors import BadInput, NeedHere
from cryoburst.model.job import Input
from cryoburst.model.stub import is_remote, parse_stub
from cryoburst.packages.relion import images, star
from cryoburst.packages.relion.project import relative

PARTICLES = ("rlnImageName", "rlnCtfImage", "rlnOpticsGroup")
IMAGES = (".mrc", ".mrcs", ".tif", ".tiff", ".eer", ".map", ".ctf", ".st")


@dataclass
class Files:
    """The inputs found so far. ``own`` is the job's folder, whose files are inputs only where a rule says so."""

    project: Path
    own: str
    found: dict[str, Input] = field(default_factory=dict[str, Input])
    missing: dict[str, str] = field(default_factory=dict[str, str])  # path: what names it
    later: bool = False  # past the first program: what is missing in the own folder will be written by then
    instead: Mapping[str, bytes] = field(default_factory=dict[str, bytes])  # what stands for a file's content, by path
    done: set[str] = field(default_factory=set[str])  # paths that nobody will read: they need only be there, if at all
    _parents: dict[str, str] = field(default_factory=dict[str, str])  # folders, without links
    _heads: dict[str, images.Image | None] = field(default_factory=dict[str, images.Image | None])
    _summaries: dict[str, star.Summary] = field(default_factory=dict[str, star.Summary])

    def add(self, word: str, by: str, listed: bool = False, follow: bool = True) -> str:
        """Take a file that ``by`` names; returns its path. A missing one is remembered for ``finish``.

        A STAR file whose names are to be followed has to be here.
        """
        path = relative(word, self.project, by)
        listed = listed or path in self.done
        known = self.found.get(path)
        if known is not None and (listed or not known.listed):
            return path
        try:
            real, found = self._real(path)
        except FileNotFoundError:
            if path in self.done:
                return path
            if (elsewhere := stands_for(self.project / path, path, listed)) is not None:
                self.found[path] = elsewhere
                if path.endswith(".star") and follow and not listed:
                    self.need_here(path)
            elif not (self.later and path.startswith(self.own)):
                self.missing.setdefault(path, by)
            return path
        except OSError as error:
            what = "is a loop of links" if error.errno in _LOOPS else f"can't be read: {error.strerror}"
            raise BadInput(f"{path} {what}", where=by) from None
        if not stat.S_ISREG(found.st_mode):
            raise BadInput(f"{path} is not a file", where=by)
        if not listed and path.lower().endswith(IMAGES):
            self._check_whole(real, path, found.st_size, by)
        if (content := self.instead.get(path)) is not None:
            self.found[path] = Input(path, Path(real), len(content), found.st_mtime_ns, found.st_ino, content=content)
            return path
        self.found[path] = Input(path, Path(real), found.st_size, found.st_mtime_ns, found.st_ino, listed)
        return path

    def _check_whole(self, real: str, path: str, size: int, by: str) -> None:
        """Refuse an empty image, and an MRC file shorter than its header promises. Raises BadInput."""
        if size == 0:
            raise BadInput(f"{path} is empty", where=f"named by {by}")
        if not path.lower().endswith(images.MRC):
            return
        try:
            head = images.beginning(real)
        except OSError as error:
            raise BadInput(f"{path} can't be read: {error.strerror}", where=f"named by {by}") from None
        found = self._heads[path] = images.mrc(head)
        unknown = 1024 if len(head) < images.HEAD else 0  # of a kind that we don't know: the program will judge
        promised = found.promised if found else unknown
        if size < promised:
            raise BadInput(
                f"{path} is cut short: its header promises {promised} bytes and it has {size}",
                where=f"named by {by}",
                advice="copy it again, or run the job that wrote it again",
            )

    def _real(self, path: str) -> tuple[str, os.stat_result]:
        """The file behind a path of the project, links followed. Raises OSError. A job may name a hundred thousand: the
        folders of them are looked at once."""
        folder, _, name = path.rpartition("/")
        parent = self._parents.get(folder)
        if parent is None:
            parent = self._parents[folder] = os.path.realpath(self.project / folder, strict=True)
        real = f"{parent}/{name}"
        found = os.lstat(real)
        if stat.S_ISLNK(found.st_mode):
            real = os.path.realpath(real, strict=True)
            found = os.stat(real)  # noqa: PTH116
        return real, found

    def content(self, path: str) -> bytes | Path:
        """What the machine will find in a STAR file: what stands for it, or the file here."""
        path = os.path.normpath(path)
        return self.instead.get(path, self.project / path)

    def summary(
        self, path: str, labels: Collection[str], keep: Collection[str] = (), highest: str = ""
    ) -> star.Summary:
        """What ``star.summary`` says of an input; the file is read again only for what was not asked before."""
        known = self._summaries.get(path)
        if known is None or not known.answers(labels, keep, highest):
            known = self._summaries[path] = star.summary(self.content(path), path, labels, keep, highest)
        return known

    def particles(self, path: str, *more: str) -> star.Summary:
        """All that rules and pre-flight ask of a particle list, in one pass over what may be a million rows."""
        return self.summary(path, (*PARTICLES, *more), keep=("optics",), highest="rlnImageName")

    def here(self, path: str) -> bool:
        """Whether the content of an input can be read on this disk."""
        found = self.found.get(path)
        return found is not None and not (found.stub or found.remote)

    def head(self, path: str) -> images.Image | None:
        """The head of an image that is an input; None when it is unknown."""
        if path not in self._heads:
            self._heads[path] = images.read(self.found[path].source) if self.here(path) else None
        return self._heads[path]

    def exists(self, word: str) -> bool:
        """Whether a word names a file inside the project, be its content here or elsewhere."""
        if not word or word.startswith("/") or ".." in word.split("/") or "\0" in word:
            return False
        try:
            return (self.project / word).is_file() or stands_for(self.project / word, word) is not None
        except OSError:
            return False

    def need_here(self, path: str) -> None:
        """Raises BadInput (NeedHere for a stub) when the content of an input, which has to be read here, is not."""
        found = self.found.get(path)
        if found is not None and found.stub:
            raise NeedHere(path)
        if found is not None and found.remote:
            raise BadInput(f"{path} is a link to a bucket, and has to be read here", where=found.remote)

    def finish(self) -> list[Input]:
        """All inputs in the order of their paths. Raises BadInput when some are missing."""
        if self.missing:
            path, by = next(iter(self.missing.items()))
            several = len(self.missing) > 1
            what = f"{len(self.missing)} inputs are missing, the first is {path}" if several else f"{path} is missing"
            raise BadInput(what, where=f"named by {by}", advice=_broken_link(self.project, path))
        return [self.found[path] for path in sorted(self.found)]


def _broken_link(project: Path, path: str) -> str:
    """Why a name that is there leads to nothing: the link on the way to it; empty when there is none."""
    for name in (*reversed(Path(path).parents), Path(path)):
        link = project / name
        if link.is_symlink() and not link.exists():
            return f"{name} is a link to {link.readlink()}, where nothing is: mend the link, or mount what it leads to"
    return ""


_LOOPS = {40, 62}  # ELOOP on Linux and macOS


def stands_for(link: Path, path: str, listed: bool = False) -> Input | None:
    """The input that a link to nothing stands for, also through other links; None when it is only that."""
    for _ in range(40):  # as many as Linux follows
        try:
            text, seen = os.readlink(link), link.lstat()  # noqa: PTH115 - a Path would drop a slash
        except OSError:
            return None
        if (stub := parse_stub(text)) is not None:
            return Input(path, link, stub.size, seen.st_mtime_ns, seen.st_ino, listed, stub=stub.checksum)
        if is_remote(text):
            return Input(path, link, 0, seen.st_mtime_ns, seen.st_ino, listed, remote=text)
        link = link.parent / text
    return None
