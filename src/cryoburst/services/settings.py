"""The settings: a TOML file, the environment over it, and defaults that need neither.

File: ``$XDG_CONFIG_HOME/cryoburst/config.toml`` (``~/.config``). State: ``$CRYOBURST_STATE``, else
``$XDG_STATE_HOME/cryoburst`` (``~/.local/state``). docs/settings.md explains each key; a test keeps it complete.
"""

import getpass
import math
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TypeGuard

from cryoburst.model.errors import BadInput
from cryoburst.model.patience import METERED, Limits, Rhythm, Terms
from cryoburst.services.places import config_folder, default_store, state_folder

WARNINGS = ("stop", "pass")


@dataclass(frozen=True)
class Settings:
    """One value for all; the names are the keys of the file. Times are in the unit that their name says."""

    state: Path
    database: str = ""  # URL; empty: SQLite in the state folder
    store: str = ""  # URL; empty: a folder in the state folder
    provider: str = "local"  # where runs go without --to
    owner: str = ""  # tag of our machines; empty: user@host
    machines: Path = field(default=Path())  # where the local provider keeps machines; empty: in the state folder
    walltime_hours: float = 24.0
    grace_minutes: float = 60.0
    late_inputs_gib: float = Terms.late / 2**30  # of inputs from which on they may come while the command runs
    heartbeat_seconds: float = Rhythm.beat_most
    metered_heartbeat_seconds: float = METERED.beat_most
    metered_look_seconds: float = METERED.look_most
    poll_seconds: float = 0.5  # between two looks at running jobs
    idle_seconds: float = 60.0  # the watcher ends after so long without work
    retry_delays: tuple[float, ...] = Limits.retry_delays
    boot_seconds: float = Limits.boot
    lost_seconds: float = Limits.lost
    abort_seconds: float = Limits.abort
    warnings: str = "stop"  # what warnings of the pre-flight do without --force: stop the job, or let it pass
    budget_run: float = math.inf  # USD: what each run may cost
    budget_project: float = math.inf  # USD: what each project may cost in all, unless it has a budget of its own
    budget_user: float = math.inf  # USD: what a user's runs may cost in a calendar month
    bandwidth: str = ""  # for all transfers of this computer, by time of day (transfer/limits.py); empty: no limit

    @property
    def pause_file(self) -> Path:
        """While this file is there, no transfer of this computer begins."""
        return self.state / "paused"

    @property
    def limits(self) -> Limits:
        """How patient the engine is."""
        return Limits(
            retry_delays=self.retry_delays, boot=self.boot_seconds, lost=self.lost_seconds, abort=self.abort_seconds
        )

    @property
    def terms(self) -> Terms:
        """What every machine is told."""
        least = min(Rhythm.beat_least, self.heartbeat_seconds / 2)
        return Terms(
            self.walltime_hours * 3600,
            self.grace_minutes * 60,
            late=int(min(self.late_inputs_gib, 2**30) * 2**30),
            free=Rhythm(least, self.heartbeat_seconds),
            metered=replace(
                METERED,
                beat_most=self.metered_heartbeat_seconds,
                look_least=min(METERED.look_least, self.metered_look_seconds),
                look_most=self.metered_look_seconds,
            ),
        )


def load(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings in force. Raises BadInput naming the key that is unknown or has a wrong value."""
    state = state_folder(environment)
    file = config_folder(environment) / "config.toml"
    values = _read(file) | _from_environment(environment)
    values.setdefault("database", f"sqlite://{state / 'cryoburst.db'}")
    values.setdefault("store", default_store(state))
    values.setdefault("owner", f"{_user()}@{socket.gethostname()}")
    values.setdefault("machines", state / "machines")
    return Settings(state=state, **values)  # type: ignore[arg-type] - each was checked by _value


def unknown_variables(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Variables of the environment that look like settings and are none, with the nearest name that is one."""
    from difflib import get_close_matches

    known = [f"{VARIABLE}{key.upper()}" for key in _KINDS]
    found: list[str] = []
    for name in sorted(environment):
        if name.startswith(VARIABLE) and name not in known and name.removeprefix(VARIABLE) not in _OWN:
            near = get_close_matches(name, known, 1)
            found.append(f"{name} (did you mean {near[0]}?)" if near else name)
    return found


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


VARIABLE = "CRYOBURST_"  # so begin the names of the variables that are settings
_OWN = ("STATE", "MACHINE", "JOB", "NOTICE")  # and of these, which are none: the last three tell a machine what it is
_KINDS = {f.name: f.type for f in fields(Settings) if f.name != "state"}


def _read(file: Path) -> dict[str, object]:
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        return {}  # most users have none; then the reader of TOML is not even imported
    except OSError as error:
        raise BadInput(f"the settings can't be read: {error.strerror}", where=str(file)) from None
    import tomllib

    try:
        found = tomllib.loads(text.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"the settings are not TOML: {error}", where=str(file)) from None
    return {key: _value(key, value, str(file)) for key, value in found.items()}


def _from_environment(environment: Mapping[str, str]) -> dict[str, object]:
    """``CRYOBURST_<KEY>`` over the file's keys; a list is written with commas."""
    values: dict[str, object] = {}
    for key, kind in _KINDS.items():
        name = f"{VARIABLE}{key.upper()}"
        text = environment.get(name)
        if not text:
            continue
        try:
            given: object = text
            if kind is float:
                given = float(text)
            elif kind == tuple[float, ...]:
                given = [float(part) for part in text.split(",")]
        except ValueError:
            raise BadInput(f"{name} is not a number", where=text, advice="mend it in the environment") from None
        values[key] = _value(key, given, "the environment")
    return values


def _value(key: str, value: object, where: str) -> object:
    """A value in the type of its key."""
    kind = _KINDS.get(key)
    if kind is None:
        raise BadInput(f"unknown setting {key}", where=where, advice=f"the settings are {', '.join(sorted(_KINDS))}")
    if kind is float and _is_amount(value):
        return float(value)
    if kind is str and isinstance(value, str):
        if key == "bandwidth" and value:
            _check_bandwidth(value, where)
        if key == "warnings" and value not in WARNINGS:
            said = f"the setting warnings is {value!r}"
            raise BadInput(said, where=where, advice=f"it can be {' or '.join(WARNINGS)}")
        return value
    if kind is Path and isinstance(value, str) and Path(value).is_absolute():
        return Path(value)
    if kind == tuple[float, ...] and isinstance(value, list) and all(map(_is_amount, value)):
        return tuple(float(item) for item in value)
    raise BadInput(f"the setting {key} has a wrong value", where=where, advice="see docs/settings.md")


def _check_bandwidth(text: str, where: str) -> None:
    from cryoburst.transfer import limits  # most users have no limit; then it is not even imported

    try:
        limits.parse(text)
    except BadInput as error:
        said = f"the setting bandwidth has a wrong value: {error.what}"
        raise BadInput(said, where=f"{error.where}, in {where}", advice=error.advice) from None


def _is_amount(value: object) -> TypeGuard[float]:
    """Whether a value is a number that time can be measured in."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
