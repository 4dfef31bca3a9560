"""What the watcher does: tick while there is work, and end when there was none for a while."""

import fcntl
import logging
import logging.handlers
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cryoburst.engine.reconcile import Reconciler
from cryoburst.engine.world import World
from cryoburst.model.errors import CryoburstError
from cryoburst.services.recover import recover
from cryoburst.services.runs import try_now
from cryoburst.services.settings import Settings
from cryoburst.services.stores import known_stores
from cryoburst.services.watcher import credentials, environment_of, in_background, lock_file, log_file, running

log = logging.getLogger("cryoburst")
LOOK = 0.05  # s between two looks at whether the database changed or a machine told something
OWN = 0.3  # s after which a tick follows what our own threads wrote: what needs one sooner is told
SHARE = 20.0  # these looks may take one part in so many of the time: a folder may be on a slow disk
TROUBLE = 2.0  # s to wait after a tick that failed
TRIES = 5  # to take the lock, in case that somebody is only asking
ENDING = 5.0  # s that a watcher whose place is taken has to end by itself: a transfer in its hands may take hours


def watch(
    world: World,
    settings: Settings,
    *,
    until_idle: bool,
    renew: bool = False,
    begun: Callable[[], None] = lambda: None,
) -> bool:
    """Tick until told to end, or with ``until_idle`` until there was no work for a while. Calls ``begun`` when the lock
    is held: from then on nobody else starts a watcher.

    False when another watcher of this user runs already; with ``renew`` one that has other credentials than this
    process is ended first, and what waited for a store is tried again now.
    """
    settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(lock_file(settings), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if renew:
            _end_others(settings)
        if not _take(descriptor):
            return False
        _log_to(log_file(settings))
        ending: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda got, _frame: ending.append(got))
        reconciler = Reconciler(world, lambda: recover(world, known_stores(settings)).complete)
        log.info("watching as process %d", os.getpid())
        begun()
        if renew:
            try_now(world.ledger, world.clock())
        while not ending:
            _loop(world, settings, reconciler, ending, until_idle=until_idle)
            if ending:
                break  # what was begun is waited for with the lock held: nobody else has to begin it
            # A run may have been written after the last look by a command that saw the lock held: give it up, look
            # once more, and go on unless that command's own watcher has it.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            if not world.ledger.runs(unfinished=True, limit=1) or not _take(descriptor):
                break
        reconciler.close()
        return True
    finally:
        os.close(descriptor)


def _end_others(settings: Settings) -> None:
    """End the watcher that runs if its credentials are not ours. What it was sending goes on with us where it was."""
    number, since = signal.SIGTERM, time.monotonic()
    while (process := running(settings)) is not None:
        theirs = environment_of(process)
        if theirs is not None and (credentials(theirs) == credentials(os.environ) or not in_background(process)):
            return
        if theirs is not None:
            with suppress(ProcessLookupError):
                os.kill(process, number)
        time.sleep(LOOK)
        waited = time.monotonic() - since
        number = signal.SIGTERM if waited < ENDING else signal.SIGKILL
        if waited > 2 * ENDING:
            return  # it can't even be killed: its disk hangs


def _take(descriptor: int) -> bool:
    for left in reversed(range(TRIES)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if not left:
                return False
            time.sleep(0.01)  # somebody may be asking whether a watcher runs, for microseconds
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return True


def _loop(world: World, settings: Settings, reconciler: Reconciler, ending: list[int], *, until_idle: bool) -> None:
    """Tick when somebody else changed the database, when running jobs are due for a look, told something or changed
    their state, and else never without a pause."""
    idle_since = time.monotonic()
    while not ending:
        try:
            seen = world.ledger.connection.version()
            work = reconciler.tick()
        except CryoburstError as error:
            log.warning("%s", error)
            time.sleep(TROUBLE)
            continue
        except Exception:  # one run's trouble, such as a project on a dead disk, must not end the others' watcher
            log.exception("a tick failed")
            time.sleep(TROUBLE)
            continue
        now, written = time.monotonic(), world.ledger.connection.writes
        if work:
            idle_since = now
        elif until_idle and now - idle_since > settings.idle_seconds:
            return
        due, pause = now + settings.poll_seconds, LOOK
        while not ending and (left := due - time.monotonic()) > 0:
            reconciler.rest(min(pause, left))
            began = time.monotonic()
            with suppress(CryoburstError):
                changed = world.ledger.connection.version() != seen
                if reconciler.told() or (changed and world.ledger.connection.writes == written):
                    break
                if changed:
                    due = min(due, now + OWN)
            pause = max(LOOK, SHARE * (time.monotonic() - began))


def _log_to(file: Path) -> None:
    handler = logging.handlers.RotatingFileHandler(file, maxBytes=2_000_000, backupCount=2)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
