"""A run's own text: at home while it runs, in the store when it has ended. Only reads.

A log at home may hold the text of other runs of the same job folder, which must never be taken for this run's.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from cryoburst.engine.observe import load_document
from cryoburst.engine.parts import heading, opening
from cryoburst.model.documents import Heartbeat, Spec
from cryoburst.model.errors import Corrupt, CryoburstError
from cryoburst.model.plugins import Store
from cryoburst.model.run import Run
from cryoburst.model.states import RunState


def log_path(run: Run, name: str) -> Path:
    """Where a log of the run is at home."""
    return Path(run.project) / run.job / name


def begun(run: Run) -> bool:
    """Whether a machine was ever at work on the run, so that there may be text of it."""
    return run.state is RunState.SPLIT or run.started is not None or run.command_started is not None or run.attempt > 1


def begins(store: Store, run: Run, name: str) -> int:
    """Where the run's text begins in the log at home, in bytes; 0 when that can't be read."""
    if run.parts > 1:
        return _opened(run, name)
    try:
        spec = load_document(store, Spec, f"{run.home_prefix}1/spec.json")
    except CryoburstError:
        return 0
    return spec.log_base.get(name, 0) if spec is not None else 0


def _opened(run: Run, name: str) -> int:
    """Where a split run began to speak of its parts; its errors have no such line before all have ended."""
    try:
        text = log_path(run, name).read_bytes()
    except OSError:
        return 0
    return max(0, text.rfind(f"cryoburst: {opening(run)}\n".encode()))


def sent_by_all(store: Store, runs: Sequence[Run], name: str) -> Iterator[bytes]:
    """What the parts of a split run said, each below its heading, and then the run itself. Raises StoreError."""
    for run in runs:
        said = b"".join(sent(store, run, name)) if run.part else b""
        if said:
            yield heading(run).encode() + said + (b"" if said.endswith(b"\n") else b"\n")
        if not run.part:
            yield from sent(store, run, name)


def sent(store: Store, run: Run, name: str) -> Iterator[bytes]:
    """The text that the run's machines sent, all attempts in order, in pieces. Raises StoreError."""
    for attempt in range(1, run.attempt + 1):
        folder, done = f"{run.home_prefix}{attempt}/log/", 0
        for entry in store.list(folder):
            start = entry.key.removeprefix(f"{folder}{name}.")
            if start.isdigit():
                chunk = store.get(entry.key) or b""
                yield chunk[max(0, done - int(start)) :]
                done = max(done, int(start) + len(chunk))
        yield _tail(store, f"{run.home_prefix}{attempt}/heartbeat.json", name, done)


def ending(store: Store, run: Run, name: str) -> bytes:
    """The end of the text that the machine of the last attempt sent. Raises StoreError."""
    folder = f"{run.prefix}log/{name}."
    starts = [int(start) for e in store.list(f"{run.prefix}log/") if (start := e.key.removeprefix(folder)).isdigit()]
    chunk = (store.get(f"{folder}{max(starts)}") or b"") if starts else b""
    done = max(starts, default=0) + len(chunk)
    return chunk + _tail(store, f"{run.prefix}heartbeat.json", name, done)


def _tail(store: Store, key: str, name: str, done: int) -> bytes:
    """What the last heartbeat of a machine carried of a log beyond so many bytes."""
    try:
        beat = load_document(store, Heartbeat, key)
    except Corrupt:
        return b""
    tail = beat.tails.get(name, "").encode("latin-1", "replace") if beat else b""
    begins = beat.log.get(name, 0) - len(tail) if beat else 0
    return tail[done - begins :] if begins <= done else b""


def last_words(store: Store, runs: Sequence[Run], name: str) -> str:
    """The last line of the text of a run, and of its parts, that is not empty; empty when there is none or the store
    can't be read."""
    line = ""
    try:
        pieces = (piece for run in runs for piece in sent(store, run, name))
        for lines in (piece.decode("utf-8", "replace").splitlines() for piece in pieces):
            line = next((text.strip() for text in reversed(lines) if text.strip()), line)
    except CryoburstError:
        return ""
    return line
