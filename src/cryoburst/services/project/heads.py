"""The lists of projects in a store: which is the newest, what it says, and how the next one is written.

Every push writes a head of its own name and looks whether somebody else's came between: of two pushes at once at most
one succeeds, whichever they are, for the one that wrote later sees both and takes its own away. A store needs no more
for that than to list what was written (all of them do: S3 since 2020).
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cryoburst.model.errors import BadInput, Corrupt, StoreError

if TYPE_CHECKING:
    from cryoburst.model.documents import Head
    from cryoburst.model.project import Entry
    from cryoburst.model.store import Store

ROOT = "projects/"
PARALLEL = 4  # parts at once
KEPT = 2  # heads that stay in the store: the newest, and the one before
_NAME = re.compile(r"\d{8,}-[0-9a-f]{16}")


class Overtaken(BadInput):
    """Somebody else pushed since this project was last in step."""


def names(store: "Store", folder: str) -> list[str]:
    """The heads of a project, oldest first, at the price of one small request. Raises the store's error."""
    prefix = f"{ROOT}{folder}/"
    found = [(_name(entry.key, prefix), entry.modified) for entry in store.list(prefix)]
    # Of two pushes that were cut while they withdrew, the one that was there first counts.
    generations = sorted((_generation(name), -when, name) for name, when in found if name)
    return [name for _, _, name in generations]


def newest(store: "Store", folder: str) -> str:
    """The name of the newest head; empty when there is none."""
    return (names(store, folder) or [""])[-1]


def folders(store: "Store") -> list[str]:
    """The folders of the projects that a store has. Raises the store's error."""
    return sorted({entry.key.removeprefix(ROOT).partition("/")[0] for entry in store.list(ROOT)})


def read_head(store: "Store", folder: str, name: str) -> "Head":
    """A head. Raises ``Corrupt`` when it is none, or not there any more."""
    from cryoburst.model import documents
    from cryoburst.model.documents import Head

    key = f"{ROOT}{folder}/{name}.json"
    data = store.get(key)
    if data is None:
        raise Corrupt("the project's list went away while it was read", where=key, advice="try again")
    head = documents.load(Head, data, key)
    home = f"{folder}/project/"
    if head.name != name or not all(re.fullmatch(f"{re.escape(home)}[0-9a-f]{{64}}", part) for part in head.parts):
        raise Corrupt("this is not the head of this project", where=key)
    return head


def read(store: "Store", folder: str, head: "Head") -> "dict[str, Entry]":
    """All entries of a list, checked: none leads out of the project. Raises ``Corrupt``, and the store's error."""
    from concurrent.futures import ThreadPoolExecutor

    from cryoburst.model.project import check, decode

    def part(key: str) -> "dict[str, Entry]":
        data = store.get(key)
        if data is None or hashlib.sha256(data).hexdigest() != key.rpartition("/")[2]:
            what = "missing" if data is None else "damaged"
            raise Corrupt(f"a part of the project's list is {what} in the store", where=key, advice="push it again")
        return decode(data, key)

    entries: dict[str, Entry] = {}
    count = 0
    with ThreadPoolExecutor(PARALLEL) as pool:
        for found in pool.map(part, head.parts):
            count += len(found)
            entries.update(found)
    if len(entries) != count:
        raise Corrupt("a path stands twice in the project's list", where=f"{ROOT}{folder}/{head.name}.json")
    check(entries, f"{ROOT}{folder}/{head.name}.json")
    return entries


def write_parts(store: "Store", folder: str, entries: "Mapping[str, Entry]", before: Sequence[str]) -> list[str]:
    """Put the parts of a list that the one before doesn't have; the keys of all."""
    from cryoburst.model.project import cut, encode

    keys: list[str] = []
    there = set(before)
    for part in cut(entries):
        data = encode(part)
        key = f"{folder}/project/{hashlib.sha256(data).hexdigest()}"
        keys.append(key)
        if key not in there:
            store.put(key, data)
    return keys


def commit(store: "Store", folder: str, head: "Head") -> None:
    """Make a head the newest, unless another than ``head.before`` is by now: ``Overtaken``. Its parts are there."""
    from cryoburst.model import documents

    if newest(store, folder) != head.before:
        raise overtaken(store, folder)
    key = f"{ROOT}{folder}/{head.name}.json"
    store.put(key, documents.dump(head))
    rivals = [name for name in names(store, folder) if name != head.name and _generation(name) >= head.generation]
    if rivals:
        store.delete(key)
        raise overtaken(store, folder, rivals[-1])
    _forget(store, folder)


def _forget(store: "Store", folder: str) -> None:
    """Take away heads that are older than the one before, and parts that no head names. Leaves them where it can't."""
    try:
        there = names(store, folder)
        if len(there) <= KEPT:
            return
        used = {part for name in there[-KEPT:] for part in read_head(store, folder, name).parts}
        for name in there[:-KEPT]:
            gone = [part for part in read_head(store, folder, name).parts if part not in used]
            store.delete(f"{ROOT}{folder}/{name}.json")
            for part in gone:
                store.delete(part)
    except StoreError:
        return


def overtaken(store: "Store", folder: str, name: str = "") -> Overtaken:
    """The error that says who pushed."""
    import time

    name = name or newest(store, folder)
    advice = "run cryoburst project pull first, or push with --force to put this computer's files in their place"
    if not name:
        return Overtaken("the project's list is gone from the store", where=folder, advice="push with --force")
    try:
        head = read_head(store, folder, name)
    except Corrupt:
        return Overtaken("another computer is pushing this project now", where=folder, advice="try again")
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(head.time))
    return Overtaken(f"pushed from {head.host} at {when} since you last pulled", where=folder, advice=advice)


def _name(key: str, prefix: str) -> str:
    name = key.removeprefix(prefix).removesuffix(".json")
    return name if _NAME.fullmatch(name) else ""


def _generation(name: str) -> int:
    return int(name.partition("-")[0])
