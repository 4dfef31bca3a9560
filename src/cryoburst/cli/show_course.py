"""How a run goes, in lines: plain ones for a pipe, with bars, curves and colours on a terminal."""

import shutil
import sys
import textwrap

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

    def barred(texts: list[str], shares: list[float], most: int) -> list[str]:
        """Words behind bars of one scale: a narrow terminal shortens the bars, not the words."""
        columns = min(most, width - len(INDENT) - 1 - max(map(len, texts)))
        if columns <= 0:
            return texts
        return [f"{bar(share, columns)} {text}" for share, text in zip(shares, texts, strict=True)]

    made: list[tuple[str, str, str]] = []
    if course.iterations:
        last = course.iterations[-1]
        told = [_iteration(course)]
        text = barred(told, [last.number / course.total], room // 2)[0] if course.total else told[0]
        made.append(("iteration", text, "cyan"))
        known = [each.resolution for each in course.iterations if each.resolution]
        if known and course.resolution:
            text = f"{course.resolution:.1f} Å  {spark([1 / value for value in known], room // 2)}"
            made.append(("resolution", text, "green"))
        if len(last.classes) > 1:
            order = sorted(range(len(last.classes)), key=lambda n: -last.classes[n].share)
            most = last.classes[order[0]].share or 1.0
            told = [_class(course, n) for n in order[:CLASSES]]
            texts = barred(told, [last.classes[n].share / most for n in order[:CLASSES]], room // 3)
            made += [("" if place else "classes", text, "yellow") for place, text in enumerate(texts)]
            if more := _more(len(order)):
                made.append(("", more.removeprefix(", "), "dim"))
    if course.fsc is not None:
        told = textwrap.wrap(_fsc(course.fsc).replace(" Å", "\xa0Å"), max(20, width - len(INDENT)))
        made += [("" if place else "FSC", text, "bold") for place, text in enumerate(told)]
        made += [("", text, "blue") for text in _plot(course.fsc, room)]
    if course.micrographs is not None:
        done, total = course.micrographs.done, course.micrographs.total
        told = [_micrographs(course)]
        made.append(("micrographs", barred(told, [done / total], room // 2)[0] if total else told[0], "cyan"))
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
    """Spacings below the plot: at the end, and at the half and the quarters where there is room."""
    text = " " * columns
    for share in (1.0, 0.5, 0.25, 0.75):
        word = f"{1 / (share * last):.3g} Å"
        at = min(columns - len(word), max(0, round(share * columns - len(word) / 2)))
        if not text[max(0, at - 1) : at + len(word) + 1].strip():
            text = text[:at] + word + text[at + len(word) :]
    return text


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
    name = first.label if first.label.startswith("half maps") else f"half maps {first.label}"
    said = f"{name} fall below {GOLD} at {1 / falls:.1f} Å" if falls else f"{name} stay above {GOLD}"
    return said + (f"; the program says {fsc.resolution:.1f} Å" if fsc.resolution else "")


def _micrographs(course: Course) -> str:
    assert course.micrographs is not None
    done, total, pace = course.micrographs.done, course.micrographs.total, course.micrographs.per_minute
    text = f"{done}" + (f" of {total}" if total else "")
    return text + (f", {pace:.3g} per minute" if pace else "")
