"""Shows how far a transfer is: a bar on a terminal, a plain line now and then elsewhere, or JSON for programs."""

import json as json_
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager

from cryoburst.cli.show_values import duration, size
from cryoburst.transfer.tally import Tally, Values

BAR, PLAIN, JSON = 0.2, 5.0, 1.0  # s between two looks


@contextmanager
def shown(tally: Tally, what: str, *, json: bool = False, seconds: float | None = None) -> Generator[Tally, None, None]:
    """Within it, count what the tally's line carries, and show the tally; once more at the end, whatever happened.

    ``what`` is the verb that people read, such as ``Sending``. With ``json`` every line of standard output is
    ``{"progress": {...}}`` with the names of ``tally.Values``. ``seconds``: between two looks, instead of the usual.
    """
    with ExitStack() as stack:
        if tally.line is not None:
            stack.enter_context(tally.line.told(tally.moved))
        if json:
            show, usual = _show_json, JSON
        elif sys.stderr.isatty():
            show, usual = stack.enter_context(_bar(what)), BAR
        else:
            show, usual = _Plain(what), PLAIN
        stack.enter_context(_again_and_again(lambda: show(tally.values()), seconds or usual))
        yield tally


def sentence(values: Values) -> str:
    """``1.4 MB of 12.0 MB, 31 of 400 files, 85.2 MB/s, 2 min 05 s left``; what was there already counts as done."""
    done, files = values["bytes"] + values["bytes_skipped"], values["files"] + values["files_skipped"]
    parts = [f"{size(done)} of {size(max(done, values['bytes_total']))}"]
    parts.append(f"{files} of {max(files, values['files_total'])} files")
    if values["bytes_skipped"]:
        parts.append(f"{size(values['bytes_skipped'])} were there already")
    if values["paused"]:
        parts.append("paused until cryoburst resume")
    elif values["eta_seconds"] != 0:
        if values["bytes_per_second"] is not None:
            parts.append(f"{size(values['bytes_per_second'])}/s")
        if values["limit_bytes_per_second"] is not None:
            parts.append(f"limit {size(values['limit_bytes_per_second'])}/s")
        if values["eta_seconds"] is not None:
            parts.append(f"{duration(values['eta_seconds'])} left")
    return ", ".join(parts)


def _show_json(values: Values) -> None:
    print(json_.dumps({"progress": values}), flush=True)


class _Plain:
    """One line whenever the numbers changed."""

    def __init__(self, what: str) -> None:
        self._what, self._last = what, ""

    def __call__(self, values: Values) -> None:
        line = f"{self._what}: {sentence(values)}"
        if line != self._last:
            print(line, flush=True)
        self._last = line


@contextmanager
def _bar(what: str) -> Generator[Callable[[Values], None], None, None]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(20), TextColumn("{task.fields[note]}", markup=False))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(what, total=None, note="")

        def show(values: Values) -> None:
            done = values["bytes"] + values["bytes_skipped"]
            total = max(done, values["bytes_total"]) or None
            bars.update(task, total=total, completed=done, note=sentence(values))

        yield show


@contextmanager
def _again_and_again(show: Callable[[], None], seconds: float) -> Generator[None, None, None]:
    """Call ``show`` in a thread of its own, and at the end; nobody reading what it prints does not end a transfer."""
    ended = threading.Event()

    def look() -> None:
        try:
            while not ended.wait(seconds):
                show()
            show()
        except OSError:
            return

    thread = threading.Thread(target=look, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
