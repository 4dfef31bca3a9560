"""Looks at the files of a project folder: what is an output, what was staged in, what a link means. Changes nothing.

A link to a place inside the project is an output as a link. A link to a file elsewhere under the machine's root (a
scratch folder) is followed: its content is sent in the link's place, because the target stays behind. Any other link,
to the machine's own files, to a folder outside or to nothing, stays behind and is reported.
"""
# ruff: noqa: PTH113, PTH115, PTH116, PTH118, PTH120 - plain strings, as everywhere in the agent

import os
import stat as modes
from collections.abc import Iterator
from dataclasses import dataclass

from cryoburst.agent.place import Place

Identity = tuple[int, int, int]  # size, mtime_ns, inode: a file that keeps them was not changed


@dataclass(frozen=True)
class Seen:
    """A file or link of the project as it is at one moment."""

    path: str  # relative to the project
    source: str  # the file that holds the content
    size: int
    mtime_ns: int
    device: int
    inode: int
    link: str = ""  # for a link inside the project: where it points, relative to the project
    stays: str = ""  # why it can't be an output

    @property
    def identity(self) -> Identity:
        """What changes when the file does."""
        return self.size, self.mtime_ns, self.inode


def look(place: Place, path: str) -> Seen | None:
    """The file or link at an absolute path in the project; None when it vanished or is neither."""
    relative = place.relative(path)
    try:
        stat = os.lstat(path)
        if relative is None or not (modes.S_ISREG(stat.st_mode) or modes.S_ISLNK(stat.st_mode)):
            return None
        if modes.S_ISREG(stat.st_mode):
            return _seen(relative, path, stat)
        return _link(place, relative, path, stat)
    except OSError:
        return None


def changed(seen: Seen) -> int:
    """When a file, its content, its time or its name was last changed, ns since the epoch; 0 when it is no more."""
    try:
        return os.stat(seen.source).st_ctime_ns
    except OSError:
        return 0


def walk(top: str) -> Iterator[str]:
    """Absolute paths of all files and links below a folder, in no order; links to folders are not entered."""
    folders = [top]
    while folders:
        try:
            with os.scandir(folders.pop()) as found:
                for entry in found:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        yield entry.path
        except OSError:
            continue


def identity(path: str) -> Identity | None:
    """Size, mtime and inode of a file, links not followed; None when there is none."""
    try:
        stat = os.lstat(path)
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def outside(place: Place, job: str, staged: dict[str, Identity], most: int = 1000) -> list[str]:
    """Files that are new or changed outside the job's folder: in the project by their path, in HOME as ~/path."""
    found: list[str] = []
    own = f"{place.project}/{job}"
    for path in walk(place.project):
        relative = path[len(place.project) + 1 :]
        if not path.startswith(own) and staged.get(relative) != identity(path):
            found.append(relative)
    found += [f"~/{path[len(place.home) + 1 :]}" for path in walk(place.home)]
    found.sort()
    return found if len(found) <= most else [*found[:most], f"… and {len(found) - most} more"]


def _link(place: Place, relative: str, path: str, stat: os.stat_result) -> Seen:
    text = os.readlink(path)
    target = os.path.normpath(
        os.path.join(os.path.dirname(path), text)
    )  # a link in a link is the other link's business
    inside = place.relative(target)
    if inside:
        return Seen(relative, path, 0, stat.st_mtime_ns, stat.st_dev, stat.st_ino, link=inside)
    real = os.path.realpath(path)
    if real.startswith(os.path.realpath(place.root) + "/") and os.path.isfile(real):
        return _seen(relative, real, os.stat(real))
    return Seen(relative, path, 0, stat.st_mtime_ns, stat.st_dev, stat.st_ino, stays=f"{relative} -> {text}")


def _seen(relative: str, source: str, stat: os.stat_result) -> Seen:
    return Seen(relative, source, stat.st_size, stat.st_mtime_ns, stat.st_dev, stat.st_ino)
