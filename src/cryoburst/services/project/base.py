"""What was in step between a project here and its store last: kept in the state folder, one folder for each project.

    <state>/projects/<id>/here.json       what was found here then, and which list of the store it was in step with
    <state>/projects/<id>/entries-*       that list: its parts as in the store, each behind its length (64 bits)
    <state>/projects/<id>/lock  sending   somebody is at work; a push did not come to its end

Losing it costs a comparison of contents, never a file: then nothing is known to be unchanged, so nothing is replaced.
"""
# ruff: noqa: PTH123 - plain strings, as this is read by every command

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cryoburst.model.errors import BadInput, Corrupt
from cryoburst.model.project import Entry, cut, decode, encode, project_id
from cryoburst.model.store import UNFINISHED
from cryoburst.services.project.walk import Found

FORMAT = 1
LENGTH = 8  # bytes
QUICK = 1  # of zlib's levels


class Base:
    """The base of one project. ``found`` has exactly those names whose contents are what ``entries`` say."""

    def __init__(self, state: Path, project: str) -> None:
        self._folder = f"{state}/projects/{project_id(project)}"
        self._project = project
        self.store, self.folder, self.head = "", "", ""  # URL, folder in it, name of the head that was last seen
        self.found = Found()
        self._whole = False  # ``found`` has every name of ``entries``
        self._entries: dict[str, Entry] | None = {}
        self._file = ""
        self._read()

    @property
    def entries(self) -> dict[str, Entry]:
        """The store's list that ``found`` was in step with. Read when it is first asked for."""
        if self._entries is None:
            try:
                with open(f"{self._folder}/{self._file}", "rb") as file:
                    self._entries = {}
                    while length := file.read(LENGTH):
                        self._entries |= decode(file.read(int.from_bytes(length, "little")), self._file)
            except (OSError, Corrupt):
                self._entries, self.found, self.head = {}, Found(), ""
        return self._entries

    def keep(self, store: str, folder: str, head: str, entries: dict[str, Entry], found: Found) -> None:
        """Write the base anew: whoever is killed meanwhile leaves the one before."""
        Path(self._folder).mkdir(parents=True, exist_ok=True, mode=0o700)
        if entries is not self._entries or not self._file:
            parts = [encode(part, QUICK) for part in cut(entries)]
            data = b"".join(len(part).to_bytes(LENGTH, "little") + part for part in parts)
            self._file = f"entries-{hashlib.sha256(data).hexdigest()[:24]}"
            _write(f"{self._folder}/{self._file}", data)
        files = found.files
        columns = list(zip(*files.values(), strict=True)) or [(), (), (), ()]
        value: dict[str, Any] = {
            "format": FORMAT,
            "project": self._project,
            "store": store,
            "folder": folder,
            "head": head,
            "entries": self._file,
            "paths": list(files),
            "sizes": columns[0],
            "mtimes": columns[1],
            "inodes": columns[2],
            "programs": columns[3],
            "links": found.links,
            "stubs": found.stubs,
            "folders": sorted(found.folders),
            "whole": len(entries) == found.count,
        }
        _write(f"{self._folder}/here.json", json.dumps(value, separators=(",", ":")).encode())
        self.store, self.folder, self.head, self._entries, self.found = store, folder, head, entries, found
        self._whole = bool(value["whole"])
        for name in os.listdir(self._folder):  # noqa: PTH208
            if name.startswith("entries-") and name != self._file:
                os.unlink(f"{self._folder}/{name}")  # noqa: PTH108

    def _read(self) -> None:
        try:
            with open(f"{self._folder}/here.json", "rb") as file:
                value = json.load(file)
            if value["format"] != FORMAT or value["project"] != self._project:
                return
            columns = (value["sizes"], value["mtimes"], value["inodes"], value["programs"])
            self.found.files = dict(zip(value["paths"], zip(*columns, strict=True), strict=True))
            self.found.links, self.found.stubs = value["links"], value["stubs"]
            self.found.folders = set(value["folders"])
            self._whole = bool(value["whole"])
            self.store, self.folder, self.head = value["store"], value["folder"], value["head"]
            self._file, self._entries = value["entries"], None
        except (OSError, ValueError, KeyError, TypeError):
            self.found = Found()

    def is_all(self, found: Found) -> bool:
        """Whether this is what was in step, and all of it. Quick: the list itself is not read."""
        return self._whole and found.same(self.found)

    @property
    def unfinished(self) -> bool:
        """Whether a push began and did not end: the store may hold more than the ledger was told."""
        return os.path.exists(f"{self._folder}/sending")  # noqa: PTH110

    @contextmanager
    def sending(self) -> Iterator[None]:
        """While a push is at work. The sign goes only when it comes to its end."""
        Path(self._folder).mkdir(parents=True, exist_ok=True, mode=0o700)
        sign = Path(f"{self._folder}/sending")
        sign.touch()
        yield
        sign.unlink(missing_ok=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One push or pull of a project at a time on this computer. Raises BadInput when another is at work."""
        Path(self._folder).mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(f"{self._folder}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BadInput(
                    "another push or pull of this project is at work", where=self._project, advice="wait for its end"
                ) from None
            yield
        finally:
            os.close(descriptor)


def _write(path: str, data: bytes) -> None:
    folder, _, name = path.rpartition("/")
    beside = f"{folder}/{UNFINISHED}{os.getpid()}-{name}"
    try:
        with open(beside, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)  # noqa: PTH105
    except OSError:
        with suppress(OSError):
            os.unlink(beside)  # noqa: PTH108
        raise
