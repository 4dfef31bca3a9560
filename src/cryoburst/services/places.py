"""Where things of a user are on this computer. Reads the environment alone, and is light: every command needs it."""

import os
from collections.abc import Mapping
from pathlib import Path


def state_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """``$CRYOBURST_STATE``, else ``$XDG_STATE_HOME/cryoburst`` (``~/.local/state``)."""
    own = environment.get("CRYOBURST_STATE")
    above = environment.get("XDG_STATE_HOME") or _home(environment) / ".local/state"
    return Path(own or Path(above) / "cryoburst").absolute()


def config_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """``$XDG_CONFIG_HOME/cryoburst`` (``~/.config``): the settings, and the names of the stores."""
    return Path(environment.get("XDG_CONFIG_HOME") or _home(environment) / ".config") / "cryoburst"


def default_store(state: Path) -> str:
    """The store that needs no setting: a folder in the state folder."""
    return (state / "store").as_uri()


def _home(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("HOME", "~")).expanduser()
