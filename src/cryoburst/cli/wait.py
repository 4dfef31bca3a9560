"""``cryoburst wait N``: wait for the end of a run, with bars on a terminal and plain lines elsewhere."""

import argparse
import sys
import time
from collections.abc import Callable

from cryoburst.cli.number import number_argument
from cryoburst.cli.show_values import duration, print_json, progress, size
from cryoburst.database.ledger import Ledger
from cryoburst.model.run import Run
from cryoburst.model.states import RunState
from cryoburst.services import runs
from cryoburst.services.report import run_values


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``cryoburst wait``."""
    number_argument(parser)
    parser.add_argument("--json", action="store_true", help="print the run as JSON at its end, and nothing before")


def run(options: argparse.Namespace) -> int:
    """Wait; exit code 0 when the run succeeded, 1 when it failed or was stopped."""
    from cryoburst.services import settings as settings_
    from cryoburst.services import watcher
    from cryoburst.services.ledger import open_ledger

    settings = settings_.load()
    ledger = open_ledger(settings)
    if not ledger.run(options.number).state.final:
        watcher.ensure(settings)
    return follow(ledger, options.number, lambda: watcher.ensure(settings), json=options.json)


def follow(ledger: Ledger, number: int, ensure: Callable[[], None], *, json: bool) -> int:
    """Wait for the end, showing what happens; the exit code. ``ensure`` starts the watcher unless one runs."""
    if json:
        ended = runs.wait(ledger, number, ensure=ensure)
        print_json(run_values(ended, time.time()))
    elif sys.stderr.isatty():
        ended = _with_bars(ledger, number, ensure)
    else:
        ended = runs.wait(ledger, number, _Lines(), ensure=ensure)
    if not json:
        print(_last_line(ended))
    return 0 if ended.state is RunState.SUCCEEDED else 1


def _last_line(run: Run) -> str:
    values = run_values(run, time.time())
    why = f": {values['explanation']}" if values["explanation"] else ""
    took = f"waited {duration(values['wait_seconds'])}, ran {duration(values['run_seconds'])}"
    moved = f"{size(run.bytes_in)} in, {size(run.bytes_out)} out"
    return f"Run {run.number} {run.state}{why} ({took}, {moved})"


class _Lines:
    """One line whenever the state or the progress changed."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, run: Run) -> None:
        line = f"Run {run.number} {run.state}"
        if run.state is RunState.STAGING_IN and run.bytes_to_send:
            line += f", {size(run.bytes_sent)} of {size(run.bytes_to_send)} sent"
        elif run.unit:
            line += f", {progress(run_values(run, run.submitted)['progress'])}"
        if line != self._last and not run.state.final:
            print(line, flush=True)
        self._last = line


def _with_bars(ledger: Ledger, number: int, ensure: Callable[[], None]) -> Run:
    """Bars for bytes on their way and for the program's own count."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        state = bars.add_task("run", total=None, note="")
        moved = bars.add_task("sent", total=None, note="", visible=False)
        work = bars.add_task("program", total=None, note="", visible=False)

        def show(run: Run) -> None:
            bars.update(state, description=f"run {run.number}", note=str(run.state))
            if run.bytes_to_send:
                note = f"{size(run.bytes_sent)} of {size(run.bytes_to_send)}"
                bars.update(moved, total=run.bytes_to_send, completed=run.bytes_sent, note=note, visible=True)
            if run.unit:
                note = progress({"done": run.done, "total": run.total, "unit": run.unit})
                bars.update(work, total=run.total or None, completed=run.done, note=note, visible=True)

        return runs.wait(ledger, number, show, ensure=ensure)
