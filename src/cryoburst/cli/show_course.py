"""How a run goes, in lines: plain ones for a pipe, with bars, curves and colours on a terminal."""

import shutil
import sys

from cryoburst.cli.plot import bar, crossing, curve, spark
from cryoburst.model.course import Course, Fsc

GOLD = 0.143  # FSC of half maps at the resolution (Rosenthal & Henderson 2003)
CLASSES = 10  # that are told one by one
ROWS = 8  # of the FSC plot
INDENT = " " * 15  # as the other lines of ``show``


def lines(course: Course) -> list[tuple[str, str]]:
    """Names and values, without any drawing."""
    told: list[tuple[str, str]] = []
    if course.iterations:
        last = course.iterations[-1]
        told.append(("iteration", _iteration(course)))
        if course.resolution:
            told.append(("resolution", f"{course.resolution:.1f} Å"))
        if len(last.classes) > 1:
            order = sorted(range(len(last.classes)), key=lambda n: -last.classes[n].share)
            text = ", ".join(_class(course, n) for n in order[:CLASSES])
            told.append(("classes", text + _more(len(order))))
    if course.fsc is not None:
        told.append(("FSC", _fsc(course.fsc)))
    if course.micrographs is not None:
        told.append(("micrographs", _micrographs(course)))
    return told


def show(course: Course) -> None:
    """Print how it goes on standard output; drawn when that is a terminal that knows the characters."""
    if not (sys.stdout.isatty() and (sys.stdout.encoding or "").lower().startswith("utf")):
        for name, text in lines(course):
            print(f"  {name:<13}{text}")
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for name, text, style in _drawn(course, shutil.get_terminal_size().columns):
        head = f"  {name:<13}" if name else INDENT
        console.print(Text(head) + Text(text, style=style), no_wrap=True, overflow="crop")


def _drawn(course: Course, width: int) -> list[tuple[str, str, str]]:
    """Lines as (name, text, style)."""
    room = max(20, min(60, width - len(INDENT) - 1))
    made: list[tuple[str, str, str]] = []
    if course.iterations:
        last = course.iterations[-1]
        if course.total:
            made.append(("iteration", f"{bar(last.number / course.total, room // 2)} {_iteration(course)}", "cyan"))
        else:
            made.append(("iteration", _iteration(course), "cyan"))
        known = [each.resolution for each in course.iterations if each.resolution]
        if known and course.resolution:
            text = f"{course.resolution:.1f} Å  {spark([1 / value for value in known], room // 2)}"
            made.append(("resolution", text, "green"))
        if len(last.classes) > 1:
            order = sorted(range(len(last.classes)), key=lambda n: -last.classes[n].share)
            most = last.classes[order[0]].share or 1.0
            for place, n in enumerate(order[:CLASSES]):
                text = f"{bar(last.classes[n].share / most, room // 3)} {_class(course, n)}"
                made.append(("" if place else "classes", text, "yellow"))
            if more := _more(len(order)):
                made.append(("", more.removeprefix(", "), "dim"))
    if course.fsc is not None:
        made.append(("FSC", _fsc(course.fsc), "bold"))
        made += [("", text, "blue") for text in _plot(course.fsc, room)]
    if course.micrographs is not None:
        done, total = course.micrographs.done, course.micrographs.total
        drawn = f"{bar(done / total, room // 2)} " if total else ""
        made.append(("micrographs", drawn + _micrographs(course), "cyan"))
    return made


def _plot(fsc: Fsc, room: int) -> list[str]:
    """The first curve with its axes: FSC from 0 to 1, spacing in Å."""
    columns = room - 5
    drawn = curve(fsc.frequency, fsc.curves[0].values, columns, ROWS)
    level = round((1 - GOLD) * (ROWS - 1))
    ticks = {0: " 1.0", level: "0.14", ROWS - 1: " 0.0"}
    rows = [f"{ticks.get(row, '    ')}{'┼' if row in ticks else '│'}{text}" for row, text in enumerate(drawn)]
    return [*rows, f"    └{'─' * columns}", f"     {_axis(fsc.frequency[-1], columns)}"]


def _axis(last: float, columns: int) -> str:
    """Spacings below the plot: at a quarter, the half, three quarters and the end."""
    text = [" "] * columns
    for share in (0.25, 0.5, 0.75, 1.0):
        word = f"{1 / (share * last):.3g} Å"
        at = min(columns - len(word), max(0, round(share * columns - len(word) / 2)))
        text[at : at + len(word)] = word
    return "".join(text)


def _iteration(course: Course) -> str:
    """The last that is finished: the one at work is in the line of the run's progress."""
    return f"{course.iterations[-1].number}" + (f" of {course.total}" if course.total else "") + " finished"


def _class(course: Course, n: int) -> str:
    one = course.iterations[-1].classes[n]
    return f"{n + 1}: {one.share:.1%}" + (f" {one.resolution:.1f} Å" if one.resolution else "")


def _more(count: int) -> str:
    return f", and {count - CLASSES} more" if count > CLASSES else ""


def _fsc(fsc: Fsc) -> str:
    first = fsc.curves[0]
    falls = crossing(fsc.frequency, first.values, GOLD)
    name = "" if first.label == "half maps" else f" {first.label}"
    said = f"half maps{name} fall below {GOLD} at {1 / falls:.1f} Å" if falls else f"half maps{name} stay above {GOLD}"
    return said + (f"; the program says {fsc.resolution:.1f} Å" if fsc.resolution else "")


def _micrographs(course: Course) -> str:
    assert course.micrographs is not None
    done, total, pace = course.micrographs.done, course.micrographs.total, course.micrographs.per_minute
    text = f"{done}" + (f" of {total}" if total else "")
    return text + (f", {pace:.3g} per minute" if pace else "")
