"""Puts the one-page summary of a run together: what is on it, in which words. Writes and prints nothing."""

import time
from collections.abc import Sequence
from typing import Any

from cryoburst.cli.show_values import duration, foretold, moment, size, spent, usd
from cryoburst.model.course import Course
from cryoburst.model.documents import Content, Record
from cryoburst.pictures.page import Page, Picture, Table
from cryoburst.services.provenance import Link, began, latest

MOST = 300  # files that a table lists; all of them are in an export
MOODS = {"SUCCEEDED": "good", "FAILED": "bad", "STOPPED": "bad"}


def page(
    values: dict[str, Any],
    course: Course | None,
    record: Record | None,
    links: Sequence[Link],
    pictures: Sequence[Picture],
    title: str,
    notes: Sequence[str] = (),
) -> Page:
    """The page of a run. ``title`` is what people call its program; ``notes`` are sentences on what is missing."""
    now = time.time()
    script = record.script.strip() if record else ""
    lead = " ".join(f"{note}." if not note.endswith(".") else note for note in (values["explanation"], *notes) if note)
    return Page(
        title=values["job"],
        subtitle=f"{values['kind']} · run {values['number']} · {values['project']}",
        state=values["state"].capitalize().replace("_", " "),
        mood=MOODS.get(values["state"], "open"),
        lead=lead,
        tiles=_tiles(values, course, record),
        pictures=pictures,
        facts=_facts(values, record, title, now),
        code="\n".join(links[0].past.commands) or script,
        script=script if links[0].past.commands else "",
        tables=[*_parts(values, record), *_chain(links), *_files(record)],
        foot=f"Made by cryoburst on {moment(now)}. Nothing on this page is fetched from elsewhere.",
    )


def _tiles(values: dict[str, Any], course: Course | None, record: Record | None) -> list[tuple[str, str]]:
    tiles: list[tuple[str, str]] = []
    if course is not None:
        last = course.iterations[-1] if course.iterations else None
        if course.resolution:
            tiles.append(("Resolution", f"{course.resolution:.1f} Å"))
        if last is not None:
            tiles.append(("Iterations", f"{last.number}" + (f" of {course.total}" if course.total else "")))
            if len(last.classes) > 1:
                tiles.append(("Classes", f"{len(last.classes)}"))
        if course.micrographs is not None:
            done, total = course.micrographs.done, course.micrographs.total
            tiles.append(("Micrographs", f"{done}" + (f" of {total}" if total else "")))
            if pace := course.micrographs.per_minute:
                tiles.append(("Per minute", f"{pace:.3g}"))
    tiles.append(("Ran", duration(values["run_seconds"])))
    tiles.append(("Cost", cost(values, record)))
    tiles.append(("Outputs", size(values["bytes_out"] + values["bytes_left"])))
    return tiles


def cost(values: dict[str, Any], record: Record | None) -> str:
    """What it has cost, as ``show`` says it; by the record, what the machines cost to the end of the run, when the
    database knows of none any more. Unknown is said to be unknown."""
    if values["machines"] or record is None:
        said = values["cost"]["final"] or values["cost"]["accrued"]
        return usd(said["usd"]) + ("" if values["cost"]["final"] else " so far")
    prices = [
        None
        if one.usd_per_hour is None or one.requested is None or record.ended is None
        else one.usd_per_hour * max(0.0, record.ended - one.requested) / 3600
        for one in record.tries
    ]
    known = [price for price in prices if price is not None]
    return f"about {usd(sum(known))}" if prices and len(known) == len(prices) else "unknown"


def _facts(values: dict[str, Any], record: Record | None, title: str, now: float) -> list[tuple[str, str]]:
    last = record.tries[-1] if record and record.tries else None
    host = last.host if last else None
    parts = values["each_part"]
    machine = values["machine"] if parts else (last.offer if last else "") or values["machine"]
    facts = [
        ("Submitted", moment(values["submitted"])),
        ("Began", moment(_since(values, values["submitted"]) or (began(record) if record else None))),
        ("Ended", moment(values["ended"])),
        ("Waited, ran", f"{duration(values['wait_seconds'])}, {duration(values['run_seconds'])}"),
        ("Machine" if not parts else "Machines", f"{machine or 'unknown'} ({values['provider']})"),
        *([("Parts", f"{values['parts_done']} of {len(parts)} done")] if parts else []),
    ]
    if host is not None:
        facts.append((f"{title} there", host.software.get(record.package if record else "", "") or "version not told"))
    if host is not None and not parts:
        facts += [
            ("Host", f"{host.name}, {host.system}"),
            ("Processor", f"{host.processor or 'unknown'}, {host.cores} cores, {size(host.memory_bytes)} memory"),
            *([("GPUs", ", ".join(host.gpus))] if host.gpus else []),
        ]
    facts += [
        *([("Attempts", str(values["attempt"]))] if not parts else []),
        ("Forecast", foretold(values)),
        ("Cost", spent(values, now) if values["machines"] else cost(values, record)),
        ("Inputs", _inputs(values, record)),
        (
            "Outputs",
            f"{values['files_out']} files, {size(values['bytes_out'])} at home"
            + (f"; {values['files_left']}, {size(values['bytes_left'])} in the store" if values["files_left"] else ""),
        ),
        ("Store", f"{values['store']}/{values['prefix']}"),
        ("Identifier", values["uid"]),
    ]
    return facts


def _inputs(values: dict[str, Any], record: Record | None) -> str:
    """Each file once, though several parts read it."""
    if record is None or not record.inputs:
        return f"{values['files_in']} files, {size(values['bytes_in'])}"
    return f"{len(record.inputs)} files, {size(sum(max(0, content.size) for content in record.inputs))}"


def _since(values: dict[str, Any], submitted: float) -> float | None:
    """When the command of a run or a part began."""
    return None if values["run_seconds"] is None else submitted + values["wait_seconds"]


def _parts(values: dict[str, Any], record: Record | None) -> list[Table]:
    """The parts of a split run, and the join that came after them."""
    if not values["each_part"]:
        return []
    newest = {each.part: each for each in latest(record)} if record else {}

    def host(part: int) -> str:
        found = newest[part].host if part in newest else None
        return found.name if found else "-"

    rows = [
        (
            str(part["part"]),
            part["state"],
            part["machine"] or "-",
            host(part["part"]),
            str(part["attempt"]),
            moment(_since(part, values["submitted"])),
            duration(part["run_seconds"]),
        )
        for part in values["each_part"]
    ]
    if (join := newest.get(0)) is not None:
        times = (moment(join.command_started), duration(join.command_seconds))
        rows.append(("join", values["state"], join.offer or "-", host(0), str(join.attempt), *times))
    head = ("Part", "State", "Machine", "Host", "Attempts", "Began", "Ran")
    return [Table("Its parts", head, rows, ("Attempts", "Ran"))]


def _chain(links: Sequence[Link]) -> list[Table]:
    if len(links) < 2:
        return []
    rows = [
        (
            link.folder.rstrip("/"),
            link.kind.rpartition(".")[2] or "unknown",
            f"run {link.run.number}" if link.run else "elsewhere",
            moment(_began(link)),
            "; ".join(link.notes),
        )
        for link in links[1:]
    ]
    head = ("Job", "Kind", "Run", "Began", "Notes")
    if not any(row[-1] for row in rows):
        head, rows = head[:-1], [row[:-1] for row in rows]
    return [Table("The jobs behind it", head, rows)]


def _began(link: Link) -> float | None:
    if link.record and link.record.tries:
        return began(link.record)
    return link.past.began


def _files(record: Record | None) -> list[Table]:
    tables: list[Table] = []
    for title, contents in (("Inputs", record.inputs), ("Outputs", record.outputs)) if record else ():
        if contents:
            rows = [(c.path, size(c.size) if c.size >= 0 else "-", _digest(c)) for c in contents[:MOST]]
            more = f"{len(contents) - MOST} more are in an export" if len(contents) > MOST else ""
            head = ("File", "Size", "Checksum")
            tables.append(Table(f"{title} ({len(contents)})", head, rows, ("Size",), folded=True, note=more))
    return tables


def _digest(content: Content) -> str:
    kind, _, digest = content.checksum.partition(":")
    if content.size < 0:
        return "each part read its own rows"
    return f"{kind} {digest[:16]}…" if digest else "listed only" if not content.remote else content.remote
