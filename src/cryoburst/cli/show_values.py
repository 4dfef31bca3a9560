"""How values look on a terminal: sizes, times, tables. JSON is printed as it is."""

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryoburst.model.errors import one_line
from cryoburst.model.money import money

if TYPE_CHECKING:
    from cryoburst.services.settings import Settings

LEAST = 16  # characters that the last column of a table has, however narrow the terminal is


def size(count: float) -> str:
    """Bytes for people: ``1.4 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def count(number: int, thing: str) -> str:
    """``1 file``, ``2 files``, ``20,000 files``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def verb(number: int, word: str) -> str:
    """What one thing does (``stays``), or several do (``stay``)."""
    return f"{word}s" if number == 1 else word


def duration(seconds: float | None) -> str:
    """Seconds for people: ``0.4 s``, ``2 min 05 s``, ``3 h 20 min``; unknown is a dash."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def moment(when: float | None) -> str:
    """A time of day with its date; unknown is a dash."""
    return "-" if when is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))


def clock_time(when: float) -> str:
    """A time of day: ``09:12:33``; with its date when that is not today."""
    local = time.localtime(when)
    today = local[:3] == time.localtime()[:3]
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S", local)


def progress(values: dict[str, Any] | None) -> str:
    """``iteration 5 of 25``."""
    if not values:
        return "-"
    total = f" of {values['total']}" if values["total"] else ""
    return f"{values['unit']} {values['done']}{total}"


def price(usd_per_hour: float | None) -> str:
    """USD per hour; an unknown price is said to be unknown, never shown as zero."""
    return f"{usd(usd_per_hour)}{'' if usd_per_hour is None else '/h'}"


def usd(amount: float | None) -> str:
    """Money with its unit; unknown is said, and nothing is plainly nothing."""
    return "unknown" if amount is None else f"{money(amount) if amount else 0} USD"


def foretold(values: dict[str, Any]) -> str:
    """What a run was foretold to cost, and for how long its machines would be there."""
    if values["forecast_hours"] is None:
        return "unknown" if values["forecast_usd"] is None else usd(values["forecast_usd"])
    seconds = values["forecast_hours"] * 3600 * values["parts"]
    return f"{usd(values['forecast_usd'])}, {duration(seconds)} on {count(values['parts'], 'machine')}"


def spent(values: dict[str, Any], now: float) -> str:
    """What a run has cost, in the end or so far, and for how long its machines were there."""
    cost, machines = values["cost"], [each for each in values["machines"] if each["id"]]
    said = usd((cost["final"] or cost["accrued"])["usd"]) + ("" if cost["final"] else " so far")
    if not machines:
        return said
    seconds = sum((each["gone"] or now) - each["requested"] for each in machines)
    return f"{said}, {duration(seconds)} on {count(len(machines), 'machine')}"


def job_names(jobs: Sequence[tuple[str, str | None]]) -> list[str]:
    """What to call (job, project) in a list: the job's folder, behind its project's where there is more than one, and
    behind the whole path where two projects' folders have the same name."""
    names = {project: Path(project).name for _, project in jobs if project}
    if len(names) < 2:
        return [job for job, _ in jobs]
    if len(set(names.values())) < len(names):
        names = {project: project for project in names}
    return [f"{names[project]}/{job}" if project else job for job, project in jobs]


def table(head: Sequence[str], rows: Sequence[Sequence[object]], right: Sequence[str] = ()) -> str:
    """A table with two spaces between columns; the named columns are aligned to the right."""
    cells = [[one_line(str(cell)) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        parts = (c.rjust(w) if h in right else c.ljust(w) for c, w, h in zip(row, widths, head, strict=True))
        return "  ".join(parts).rstrip()

    return "\n".join(line(row) for row in cells)


def folded(head: Sequence[str], rows: Sequence[Sequence[object]], width: int | None) -> str:
    """A table whose last column has sentences: on a terminal of so many columns they are broken between words, under
    one another."""
    import textwrap

    widths = [max(len(one_line(str(row[i]))) for row in (head, *rows)) for i in range(len(head) - 1)]
    left = None if width is None else max(LEAST, width - sum(widths) - 2 * len(widths))
    lines: list[Sequence[object]] = []
    for *cells, last in rows:
        words = one_line(str(last))
        first, *rest = [words] if left is None else textwrap.wrap(words, left, break_long_words=False) or [""]
        lines += [(*cells, first), *((*("" for _ in cells), each) for each in rest)]
    return table(head, lines)


def listed(mark: str, name: str, about: str) -> str:
    """A thing of a short list: what is to be said of it, its name, and what it is like beneath."""
    import textwrap

    width = columns() or 100
    return f"{mark:<12}{name}\n" + textwrap.fill(about, width, initial_indent=" " * 12, subsequent_indent=" " * 12)


def fitted(
    head: Sequence[str],
    rows: Sequence[Sequence[object]],
    spare: Sequence[str],
    width: int | None,
    *,
    least: int = LEAST,
) -> tuple[Sequence[str], Sequence[Sequence[object]]]:
    """Head and rows for a table of so many columns of characters: where they are too wide, the columns ``spare`` go,
    one after the other, until the last column has ``least``; that one is then shortened with ``…``."""
    if width is None:
        return head, rows
    widths = {name: max(len(one_line(str(row[i]))) for row in (head, *rows)) for i, name in enumerate(head)}
    last = widths.pop(head[-1])
    left = width - sum(widths.values()) - 2 * len(widths)
    for name in spare:
        if left >= min(least, last):
            break
        left += widths[name] + 2
        at = head.index(name)
        head, rows = [*head[:at], *head[at + 1 :]], [[*row[:at], *row[at + 1 :]] for row in rows]
    return head, [[*row[:-1], shortened(one_line(str(row[-1])), max(left, LEAST))] for row in rows]


def shortened(text: str, most: int) -> str:
    """The text in so many characters at most, with ``…`` where it was cut."""
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def ending(text: str, most: int) -> str:
    """The end of a text in so many characters at most, with ``…`` where it was cut."""
    return text if len(text) <= most else f"…{text[1 - most :].lstrip()}"


def columns() -> int | None:
    """How many columns the terminal has; None when it is none: then nothing is cut."""
    if not sys.stdout.isatty():
        return None
    try:
        return int(os.environ.get("COLUMNS") or os.get_terminal_size(1).columns)  # shutil takes long to import
    except (OSError, ValueError):
        return 80


def print_json(value: object) -> None:
    """One JSON value on standard output."""
    print(json.dumps(value, indent=2))


def tell(sentence: str) -> None:
    """One sentence on standard error, beside what a command prints."""
    print(f"cryoburst: {one_line(sentence)}", file=sys.stderr, flush=True)


def tell_pause(settings: "Settings") -> None:
    """Say on standard error that transfers are paused, when they are: a run that waits for them does not say so."""
    if settings.pause_file.exists():
        tell("transfers of this computer are paused; cryoburst resume lets them go on")
