"""Doctor: whether everything that a run will need is there, each finding with what to do."""

import os
import secrets
import shutil
from pathlib import Path

from cryoburst.engine.world import World
from cryoburst.model.errors import CryoburstError
from cryoburst.model.plugins import Finding
from cryoburst.services import watcher
from cryoburst.services.settings import Settings, unknown_variables
from cryoburst.services.stores import store_url


def examine(world: World, settings: Settings) -> list[Finding]:
    """All findings, in the order in which a run would meet them. Writes and removes one small object in the store."""
    findings = [_state(settings), _database(world), _store(world, settings), _queue(), _watcher(world, settings)]
    findings += [Finding("warning", "settings", f"nothing heeds the variable {each}") for each in unknown_variables()]
    for name in world.providers:
        try:
            findings += world.providers[name].check()
        except CryoburstError as error:
            findings.append(Finding("error", name, str(error)))
    return findings


def _state(settings: Settings) -> Finding:
    free = shutil.disk_usage(settings.state).free
    level = "ok" if free > 2 * 2**30 else "warning"
    return Finding(level, "state folder", f"{settings.state} has {free / 2**30:.1f} GiB free")


def _database(world: World) -> Finding:
    count = len(world.ledger.runs())
    return Finding("ok", "database", f"it answers and holds {'one run' if count == 1 else f'{count} runs'}")


def _store(world: World, settings: Settings) -> Finding:
    key, data = f"doctor/{secrets.token_hex(8)}", b"cryoburst doctor"
    try:
        url = store_url(settings)
        store = world.open_store(url)
        store.put(key, data)
        back = store.get(key)
        store.delete(key)
    except CryoburstError as error:
        return Finding("error", "store", str(error))
    if back != data:
        return Finding("error", "store", f"{url} gave back other bytes than were written")
    return Finding("ok", "store", f"{url} takes, gives and deletes")


def _queue() -> Finding:
    command, template = os.environ.get("RELION_QSUB_COMMAND", ""), os.environ.get("RELION_QSUB_TEMPLATE", "")
    if "cryoburst" not in command:
        return Finding("warning", "RELION's queue", "RELION does not submit here yet: run cryoburst relion setup")
    if not Path(template).is_file():
        return Finding("error", "RELION's queue", f"its template {template} is missing: run cryoburst relion setup")
    return Finding("ok", "RELION's queue", f"RELION submits through {command}")


def _watcher(world: World, settings: Settings) -> Finding:
    process = watcher.running(settings)
    if process is not None:
        theirs = watcher.environment_of(process)
        if theirs is not None and watcher.credentials(theirs) != watcher.credentials(os.environ):
            said = f"process {process} has other credentials than those set here: cryoburst resume gives it these"
            return Finding("warning", "watcher", said)
        return Finding("ok", "watcher", f"it runs as process {process}")
    if world.ledger.runs(unfinished=True, limit=1):
        return Finding("warning", "watcher", "it does not run and there is work: cryoburst runs starts it again")
    return Finding("ok", "watcher", "it does not run, and there is no work")
