"""The ``__main__`` of an agent that meets a fault at one call of its store. It goes into the agent's own archive.

``fault.json`` beside it says where (signature, count, when), and what: ``kill`` itself, ``power`` off (every process of
the machine), or the store is ``unavailable`` or ``full``. Only attempt 1 meets it, and only once.
"""

import json
import os
import re
import signal
import sys
import threading
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

from cryoburst.agent import main, processes
from cryoburst.model.errors import StoreFull, StoreUnavailable

PREFIX, ROOT = sys.argv[3], Path(sys.argv[4])
FAULT: dict[str, Any] = json.loads(zipfile.ZipFile(sys.argv[0]).read("fault.json"))
REACHED = Path(FAULT["reached"])
LOCK = threading.Lock()
COUNTS: Counter[str] = Counter()


def sign(name: str, key: str) -> str:
    """``put outputs/…`` without what differs from run to run."""
    key = key.removeprefix(PREFIX)
    key = re.sub(r"(log/\w+\.\w+)\.\d+", r"\1", key)
    return f"agent.{name} {re.sub(r'^.*/inputs/.*$', 'inputs/*', key)}"


def meet(signature: str, when: str) -> None:
    """The fault, when its point has come."""
    with LOCK:
        COUNTS[f"{when} {signature}"] += 1
        count = COUNTS[f"{when} {signature}"]
        if "record" in FAULT:
            if count <= 2:
                with Path(FAULT["record"]).open("a") as file:
                    file.write(json.dumps([signature, count, when]) + "\n")
            return
        if [signature, count, when] != FAULT["point"] or not PREFIX.endswith("/1/") or REACHED.exists():
            return
        REACHED.touch()
    harm = FAULT["harm"]
    if harm == "power":
        token = os.environ["CRYOBURST_MACHINE"]
        everybody = processes.tagged("CRYOBURST_MACHINE", token)
        for pid in everybody:
            os.kill(pid, signal.SIGSTOP)  # or the timer would see the supervisor's end and start the guard
        for pid in sorted(everybody, key=lambda pid: pid == os.getppid()):  # its end is ours, so it comes last
            os.kill(pid, signal.SIGKILL)
    if harm in ("power", "kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    if harm == "unavailable":
        raise StoreUnavailable("the store refused", where="a fault")
    if harm == "full":
        raise StoreFull("the store is full", where="a fault")


class Hooked:
    """A store with the fault in front."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def call(key: str, *given: Any) -> Any:
            signature = sign(name, key)
            meet(signature, "before")
            result = found(key, *given)
            meet(signature, "after")
            return result

        return call


open_real = main.open_store
main.open_store = lambda url: Hooked(open_real(url))  # type: ignore[assignment]
sys.exit(main.main())
