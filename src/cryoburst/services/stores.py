"""Stores by name: a short word for a URL, which one is used without a word, and what a store can and can't do.

The names are in a file of our own beside the settings, so that nobody's comments there are lost. It holds no secret:
an address that looks as if it had one is refused before it is written.
"""

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from cryoburst.model.errors import BadInput, CryoburstError, NotThere
from cryoburst.model.plugins import UNFINISHED, Finding, Store
from cryoburst.services.places import config_folder, default_store
from cryoburst.services.settings import Settings

if TYPE_CHECKING:
    from cryoburst.stores.bucket import Bucket

FORMAT = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True)
class Names:
    """What ``stores.json`` says."""

    stores: dict[str, str] = field(default_factory=dict[str, str])  # name -> URL
    default: str = ""  # the name of the store that is used without a word; empty: none was chosen


def names_path(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the names are: beside the settings."""
    return config_folder(environment) / "stores.json"


def store_url(settings: Settings, name_or_url: str = "", environment: Mapping[str, str] = os.environ) -> str:
    """The URL of the store that is meant. Touches no store.

    An address is itself. Without a word: the one that the settings or the environment name, else the default among the
    names, else the folder in the state folder. Raises ``BadInput`` for a name that is unknown.
    """
    wanted = name_or_url or settings.store
    if "://" in wanted:
        if name_or_url or wanted != default_store(settings.state):
            return wanted
        names = read_names(environment)
        return names.stores.get(names.default, wanted)
    names = read_names(environment)
    if wanted in names.stores:
        return names.stores[wanted]
    known = ", ".join(sorted(names.stores))
    advice = f"the names are {known}" if known else "cryoburst store add NAME URL gives one"
    raise BadInput("there is no store with this name", where=wanted, advice=advice)


def known_stores(settings: Settings, environment: Mapping[str, str] = os.environ) -> list[str]:
    """The URLs of all stores in which this user's runs can be: where a lost database is rebuilt from."""
    own = default_store(settings.state)
    folder = [own] if (settings.state / "store").is_dir() else []
    named = read_names(environment).stores.values()
    return list(dict.fromkeys([store_url(settings, environment=environment), *folder, *named]))


def read_names(environment: Mapping[str, str] = os.environ) -> Names:
    """The names; none when there is no file. Raises ``BadInput`` when it can't be read."""
    path = names_path(environment)
    try:
        found: object = json.loads(path.read_bytes())
    except FileNotFoundError:
        return Names()
    except (OSError, ValueError) as error:
        raise BadInput(f"the names of the stores can't be read: {error}", where=str(path)) from None
    values = cast(dict[str, object], found) if isinstance(found, dict) else {}
    stores, default = values.get("stores"), values.get("default")
    if values.get("format") != FORMAT or not isinstance(stores, dict) or not isinstance(default, str):
        raise BadInput("this is not a list of stores", where=str(path), advice="move it away and add the stores anew")
    named = cast(dict[object, object], stores)
    return Names({str(name): str(url) for name, url in named.items()}, default)


def add_name(name: str, url: str, *, default: bool, environment: Mapping[str, str] = os.environ) -> None:
    """Give a store a name, and make it the default if wished. Silent when it has it; a name never changes its store."""
    if not _NAME.fullmatch(name):
        advice = "letters, digits, dots, dashes and underscores, at most 63"
        raise BadInput("this can't be the name of a store", where=name, advice=advice)
    names = read_names(environment)
    if names.stores.get(name, url) != url:
        advice = f"take another name, or cryoburst store forget {name} first"
        raise BadInput(f"the name {name} is taken", where=names.stores[name], advice=advice)
    _write(Names(names.stores | {name: url}, name if default else names.default), environment)


def forget_name(name: str, environment: Mapping[str, str] = os.environ) -> str:
    """Forget a name; its URL. The store stays as it is. Raises ``NotThere`` when there is no such name."""
    names = read_names(environment)
    if name not in names.stores:
        raise NotThere("there is no store with this name", where=name, advice="see cryoburst store names")
    left = {each: url for each, url in names.stores.items() if each != name}
    _write(Names(left, "" if names.default == name else names.default), environment)
    return names.stores[name]


def _write(names: Names, environment: Mapping[str, str]) -> None:
    path = Path(os.path.realpath(names_path(environment)))  # a link among somebody's dot files stays one
    values = {"format": FORMAT, "default": names.default, "stores": names.stores}
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_name(f"{UNFINISHED}{os.getpid()}-{path.name}")
    with suppress(FileNotFoundError):
        beside.unlink()
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(values, file, indent=1, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


# ------------------------------------------------------------------------------------------------------------ check


def check(store: Store, *, mend: bool = False) -> list[Finding]:
    """What the store can and can't do, tried on objects that go again; with ``mend`` its rule for unfinished uploads is
    made where it is missing. Never raises: what fails is a finding."""
    try:
        findings = list(store.probe())
    except CryoburstError as error:
        return [Finding("error", "store", str(error))]
    if any(each.level == "error" and each.subject == "write" for each in findings):
        return findings  # the bucket would only refuse again, in other words
    return [*findings, *_bucket(store.url, mend=mend)]


def _bucket(url: str, *, mend: bool) -> list[Finding]:
    kind = url.partition("://")[0]
    if kind in _NO_BUCKET:
        return [Finding("ok", "unfinished uploads", _NO_BUCKET[kind])]
    try:
        bucket = bucket_of(url)
        if bucket is None:
            return []
        mended = bucket.mend() if mend else None
        findings = bucket.examine()
    except CryoburstError as error:
        return [Finding("warning", "bucket", f"its own settings can't be read: {error}")]
    return [mended or each if each.subject == "unfinished uploads" else each for each in findings]


def bucket_of(url: str) -> "Bucket | None":
    """The bucket behind a store, for what only buckets have; None where there is none or boto3 can't speak to it."""
    if not url.startswith("s3://"):
        return None
    from cryoburst.stores.bucket import Bucket

    return Bucket(url)


# A folder's unfinished files are not uploads, and ``gc`` sees them.
_NO_BUCKET = {
    "gs": "cryoburst starts none; the bucket's own rules are not read from here (gcloud storage buckets describe)",
    "az": "cryoburst starts none; Azure drops the blocks of an unfinished upload after a week by itself",
}
