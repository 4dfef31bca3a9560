"""Puts the world together: settings, ledger, plug-ins by their entry points, and the agent's archive."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from cryoburst.agent import archive
from cryoburst.database.ledger import Ledger
from cryoburst.engine.world import World
from cryoburst.model.errors import BadInput, StoreError
from cryoburst.model.plugins import Package, Provider
from cryoburst.services import budgets, forecast
from cryoburst.services.line import open_line
from cryoburst.services.places import default_store
from cryoburst.services.recover import recover
from cryoburst.services.settings import Settings
from cryoburst.services.stores import known_stores
from cryoburst.stores import open_store
from cryoburst.stores.folder import FolderStore


class Plugins(Mapping[str, Any]):
    """The plug-ins of one kind, each loaded when it is first asked for."""

    def __init__(self, kind: str, *arguments: object) -> None:
        self._entries = {entry.name: entry for entry in entry_points(group=f"cryoburst.{kind}")}
        self._arguments = arguments
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = self._entries[name].load()(*self._arguments)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def open_world(settings: Settings) -> World:
    """Everything. A database that was never completed is rebuilt from the store and the providers first.

    When that brought runs back, one sentence on standard error says so.
    """
    prepare(settings)
    ledger = Ledger(settings.database)
    providers: Mapping[str, Provider] = Plugins("providers", settings.machines)
    packages: Mapping[str, Package] = Plugins("packages")
    world = World(
        ledger=ledger,
        owner=settings.owner,
        clock=time.time,
        providers=providers,
        packages=packages,
        open_store=cache(open_store),
        archive=cache(archive.build),
        limits=settings.limits,
        terms=settings.terms,
        line=lambda: open_line(settings),
        budget_run=settings.budget_run,
    )
    world = replace(world, hours=forecast.hours_on(world), budget=budgets.for_engine(world, settings))
    world = replace(world, nearly=budgets.nearly_used(world, settings))
    if not ledger.complete:
        found = sum(not run.part for run in recover(world, known_stores(settings)).runs)
        if found:
            count = "one run" if found == 1 else f"{found} runs"
            print(f"cryoburst: the list of runs was rebuilt from the store ({count})", file=sys.stderr)
    return world


def prepare(settings: Settings) -> None:
    """Make the state folder, and the default store when it is a folder in it."""
    try:
        settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        if settings.store == default_store(settings.state) and not (settings.state / "store").is_dir():
            with suppress(StoreError):  # a disk that is not mounted, say: runs wait for it and say so
                FolderStore(settings.store).create()
    except OSError as error:
        raise BadInput(
            f"the state folder can't be written: {error.strerror}",
            where=str(settings.state),
            advice="make room or set CRYOBURST_STATE",
        ) from None
