"""Carries a run from its submission to its end, with one fault at one point of it. A process of its own, by ``sweep``.

Every call that leaves the engine (store, provider, ledger) passes a hook; the hook knows the call by a signature such
as ``store.put spec.json`` and how often it came. A victim meets the fault; a finisher, without one, does what is left,
as the next watcher would. Provider, agent, store and database are the real ones. Reads a plan (JSON) on standard input,
writes one line of JSON for each case on standard output.
"""

import errno
import hashlib
import io
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from cryoburst.agent import archive, processes
from cryoburst.engine.reconcile import Reconciler
from cryoburst.engine.world import World
from cryoburst.model.errors import CryoburstError, ProviderUnavailable, StoreFull, StoreUnavailable
from cryoburst.model.job import Wishes
from cryoburst.providers.local.provider import LocalProvider
from cryoburst.services.house import open_world
from cryoburst.services.recover import recover
from cryoburst.services.settings import Settings
from cryoburst.services.submit import submit

SECONDS = 120.0  # in which any case must end, on a loaded machine
AT_ONCE = 5
JOB = "Script/job001/"
SCRIPT = """# input data/a.bin
# input data/b.bin
echo "$CRYOBURST_JOB" >> %(boots)s
echo step 1 of 2
cat data/a.bin data/b.bin > Script/job001/sum.bin
mkdir Script/job001/sub
sleep %(sleep)s
echo hello > Script/job001/sub/hello.txt
ln -s sum.bin Script/job001/link.bin
echo oops >&2
echo step 2 of 2
"""
WRITES = ("add", "change", "want_stop", "claim", "release", "add_machine", "change_machine", "event")
CACHES = ("keep_checksums", "keep_objects")
TWICE = 2  # a call that is made again and again is met this often

Hook = Callable[[str, str], None]  # signature, "before" or "after"


class Hooked:
    """Any object; its named methods tell the hook before and after. The rest is passed on."""

    def __init__(self, inner: Any, sign: Callable[[str, tuple[Any, ...]], str], hook: Hook) -> None:
        self._inner, self._sign, self._hook = inner, sign, hook

    def __getattr__(self, name: str) -> Any:
        found: Any = getattr(self._inner, name)
        if not callable(found):
            return found

        def call(*given: Any, **named: Any) -> Any:
            signature = self._sign(name, given)
            if not signature:
                return found(*given, **named)
            self._hook(signature, "before")
            result: Any = found(*given, **named)
            if name == "list":
                result = list(result)
            self._hook(signature, "after")
            return result

        return call


def sign_store(name: str, given: tuple[Any, ...]) -> str:
    """``store.put spec.json``: the key without what differs from run to run."""
    key = str(given[0]) if given else ""
    key = re.sub(r"^runs/.*\.closed\.json$", "closed", key)
    key = re.sub(r"^runs/.*\.json$", "request", key)
    key = re.sub(r"^runs/.*", "runs/", key)
    key = re.sub(r"[0-9a-f]{64}", "*", key)
    key = re.sub(r"^[^/]+-[0-9a-f]{10}/(inputs/../|[^/]+/[0-9a-f]{16}/\d+/|[^/]+/[0-9a-f]{16}/)", "", key)
    key = re.sub(r"(log/\w+\.\w+)\.\d+", r"\1", key)
    return f"store.{name} {key}"


def sign_ledger(name: str, given: tuple[Any, ...]) -> str:
    """``ledger.change PLACING``: writes only; a killed reader harms nobody."""
    if name not in (*WRITES, *CACHES):
        return ""
    what = ""
    if name in ("change", "change_machine"):
        what = str(given[1].get("state", ",".join(sorted(given[1]))))
    elif name == "event":
        what = str(given[2]).split(":")[0]
    return f"ledger.{name} {what}".strip()


def sign_provider(name: str, _given: tuple[Any, ...]) -> str:
    """``provider.create``."""
    return f"provider.{name}"


class Fault:
    """The hook of one case: does its harm when its point comes, once; notes every point that was passed."""

    def __init__(self, case: dict[str, Any], place: "Place") -> None:
        self._case, self._place = case, place
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.passed: list[list[Any]] = []
        self.done = False

    def __call__(self, signature: str, when: str) -> None:
        with self._lock:
            self._counts[f"{when} {signature}"] += 1
            count = self._counts[f"{when} {signature}"]
            if count <= TWICE:
                self.passed.append([signature, count, when])
            if self.done or [signature, count, when] != self._case.get("point"):
                return
            self.done = True
            (self._place.root / "reached").touch()
            self._harm(self._case["harm"])

    def _harm(self, harm: str) -> None:
        if "drop" in harm:
            self._place.drop_database()
        if "kill" in harm:
            os.kill(os.getpid(), signal.SIGKILL)
        if harm == "unavailable":
            raise StoreUnavailable("the store refused", where="a fault")
        if harm == "full":
            raise StoreFull("the store is full", where="a fault")
        if harm == "provider":
            raise ProviderUnavailable("no answer", where="a fault")
        if harm == "home_full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a fault")


class Place:
    """The folders of one case."""

    def __init__(self, root: Path) -> None:
        self.root, self.project = root, root / "project"
        self.state, self.boots = root / "state", root / "boots"
        self.settings = Settings(
            state=self.state,
            database=f"sqlite://{self.state / 'cryoburst.db'}",
            store=(self.state / "store").as_uri(),
            owner="me@here",
            machines=self.state / "machines",
            heartbeat_seconds=0.1,
            retry_delays=(0.05, 0.05, 0.05),
        )

    def make(self, sleep: float) -> None:
        """The project with its one job."""
        folder = self.project / JOB
        folder.mkdir(parents=True)
        (self.project / "script.project").touch()
        (self.project / "data").mkdir()
        (self.project / "data/a.bin").write_bytes(bytes(range(256)) * 40)
        (self.project / "data/b.bin").write_bytes(b"b" * 5000)
        (folder / "job.sh").write_text(SCRIPT % {"boots": self.boots, "sleep": sleep})

    def drop_database(self) -> None:
        """Delete the database with its journals, as a user would who tidies up."""
        for tail in ("", "-wal", "-shm"):
            Path(f"{self.state}/cryoburst.db{tail}").unlink(missing_ok=True)

    def world(self, hook: Hook | None, agent: dict[str, Any] | None) -> World:
        """The real world; with a hook around all that is outside the engine."""
        world = open_world(self.settings)
        world = replace(world, limits=replace(world.limits, settle=2.0), terms=replace(world.terms, grace=30.0))
        if agent:
            world = replace(world, archive=cache(lambda _url: broken_agent(agent)))
        if hook is None:
            return world
        stores: dict[str, Any] = {}

        def store(url: str) -> Any:
            return stores.setdefault(url, Hooked(world.open_store(url), sign_store, hook))

        providers = {name: Hooked(world.providers[name], sign_provider, hook) for name in world.providers}
        ledger: Any = Hooked(world.ledger, sign_ledger, hook)
        return replace(world, open_store=store, providers=providers, ledger=ledger)


def broken_agent(fault: dict[str, Any]) -> tuple[bytes, str]:
    """The agent's archive with a fault in front of its store; only the first attempt meets it, once."""
    data, _ = archive.build()
    out = io.BytesIO()
    here = Path(__file__).with_name("broken_agent.py").read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for entry in old.infolist():
            if entry.filename not in ("__main__.py", "__main__.pyc"):
                new.writestr(entry, old.read(entry))
        new.writestr("fault.json", json.dumps(fault))
        new.writestr("__main__.py", here)
    made = out.getvalue()
    return made, f"sha256:{hashlib.sha256(made).hexdigest()}"


def victim(place: Place, case: dict[str, Any]) -> None:
    """Submit, and carry the run to its end; the fault comes on the way."""
    fault = Fault(case, place)
    world = place.world(fault, case.get("agent"))
    submit(world, place.settings, Path(JOB), place.project, Wishes())
    (place.root / "submitted").touch()
    carry(world, place)
    (place.root / "passed.json").write_text(json.dumps(fault.passed))


def finisher(place: Place, case: dict[str, Any]) -> None:
    """What the next commands and the next watcher do; then a look at everything."""
    world = place.world(None, case.get("agent"))
    again = not world.ledger.runs()
    if again:
        submit(world, place.settings, Path(JOB), place.project, Wishes())
    carry(world, place)
    found = look(place, world) | {"submitted_again": again}
    before = [[r.number, r.uid, str(r.state), r.reason] for r in world.ledger.runs()]
    place.drop_database()
    after = [[r.number, r.uid, str(r.state), r.reason] for r in place.world(None, None).ledger.runs()]
    found["recovered"] = before == after
    (place.root / "found.json").write_text(json.dumps(found))


def carry(world: World, place: Place) -> None:
    """Tick until nothing is left to do."""
    reconciler = Reconciler(world, lambda: recover(world, [place.settings.store]).complete)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            if reconciler.tick() == 0:
                break
        except CryoburstError as error:
            print(f"tick: {error}", file=sys.stderr)
        time.sleep(0.05)
    reconciler.close()


def look(place: Place, world: World) -> dict[str, Any]:
    """The run as the ledger, the project, the provider and the process table show it."""
    runs = world.ledger.runs()
    folder = place.project / JOB
    machines = place.settings.machines
    tokens = [m.token for m in world.ledger.machines(all_=True)]
    return {
        "runs": [{"state": str(r.state), "reason": r.reason, "detail": r.detail, "attempt": r.attempt} for r in runs],
        "events": [e.text for r in runs for e in world.ledger.events(r.uid)],
        "files": {p.relative_to(folder).as_posix(): content(p) for p in sorted(folder.rglob("*")) if not p.is_dir()},
        "boots": place.boots.read_text().split() if place.boots.exists() else [],
        "listed": len(world.providers["local"].machines(place.settings.owner)),
        "folders": [p.name for p in machines.iterdir() if p.name.startswith("m-")] if machines.is_dir() else [],
        "made": len(list((machines / ".gone").iterdir())) if (machines / ".gone").is_dir() else 0,
        "alive": [t for t in processes.tags("CRYOBURST_MACHINE") if t in tokens],
    }


def content(path: Path) -> str:
    """What a file holds, or where a link points."""
    return f"-> {path.readlink()}" if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest()


def run(case: dict[str, Any], root: Path) -> dict[str, Any]:
    """One case: the victim, then the finisher, each a process."""
    place = Place(root)
    if "agent" in case:
        case["agent"].setdefault("reached", str(root / "reached"))
    place.make(case.get("sleep", 0.4))
    log = (root / "log").open("wb", buffering=0)
    codes: list[int] = []
    for part in (victim, finisher):
        child = os.fork()
        if child == 0:
            os.dup2(log.fileno(), 2)
            code = 1
            try:
                part(place, case)
                code = 0
            except Exception as error:  # noqa: BLE001 - told by the exit code and the log
                import traceback

                traceback.print_exc()
                code = 3 if isinstance(error, CryoburstError) else 1
            finally:
                sys.stderr.flush()
                os._exit(code)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    for left in (place.settings.machines).glob("m-*"):  # after a case that went wrong
        LocalProvider(place.settings.machines).delete(left.name)
    result: dict[str, Any] = {"case": case, "codes": codes, "reached": (root / "reached").exists()}
    for name in ("found", "passed"):
        file = root / f"{name}.json"
        result[name] = json.loads(file.read_text()) if file.exists() else None
    result["log"] = (root / "log").read_text(errors="replace")[-4000:]
    return result


def warm(folder: Path) -> None:
    """Import and build what every case needs, once: the cases are forks of this process."""
    with tempfile.TemporaryDirectory(prefix="warm-", dir=folder) as made:
        world = Place(Path(made)).world(None, None)
        for plugins in (world.packages, world.providers):
            for name in plugins:
                plugins[name]
        world.archive("file://")
        world.ledger.connection.close()


def main() -> None:
    """All cases of the plan, some at a time."""
    plan = json.load(sys.stdin)
    base = Path(plan["folder"])
    warm(base)
    waiting = list(enumerate(plan["cases"]))
    running: dict[int, Path] = {}
    while waiting or running:
        while waiting and len(running) < plan.get("at_once", AT_ONCE):
            number, case = waiting.pop(0)
            root = Path(tempfile.mkdtemp(prefix=f"{number}-", dir=base))
            child = os.fork()
            if child == 0:
                (root / "result.json").write_text(json.dumps(run(case, root)))
                os._exit(0)
            running[child] = root
        ended, _ = os.wait()
        root = running.pop(ended)
        print((root / "result.json").read_text() if (root / "result.json").exists() else "null", flush=True)
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
