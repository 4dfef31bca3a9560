"""The statements: every read and write of runs, machines, events and caches, in one place."""

import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import cache
from typing import Any

from cryoburst.database.connect import Connection, Row, migrate
from cryoburst.model.documents import Place
from cryoburst.model.errors import NotThere
from cryoburst.model.project import project_id
from cryoburst.model.run import Event, Machine, Run
from cryoburst.model.states import MachineState, RunState, check_machine, check_run

_RUN = [f.name for f in fields(Run)]
_MACHINE = [f.name for f in fields(Machine)]
_RUN_COLUMNS, _MACHINE_COLUMNS = ", ".join(_RUN), ", ".join(_MACHINE)
_FINAL = tuple(str(s) for s in RunState if s.final)
_OPEN_RUNS = f"state NOT IN ({', '.join(repr(s) for s in _FINAL)})"
_WHOLE = "number > 0"  # no part of another run
CLAIM_SECONDS = 60.0
FEW = 500  # files that are looked for by name; of more, all of the project are read at once


class Ledger:
    """The rows. Safe for threads and for several processes; each method is one transaction."""

    def __init__(self, url: str) -> None:
        self.connection = Connection(url)
        try:
            migrate(self.connection)
        except BaseException:
            self.connection.close()
            raise

    def reopened(self) -> bool:
        """Whether the database file had been deleted under us; then a new one is there, empty."""
        if not self.connection.replaced():
            return False
        self.connection.reopen()
        migrate(self.connection)
        return True

    @property
    def complete(self) -> bool:
        """Whether everything that is known outside has been read into this database since it was made."""
        return bool(self.connection.execute("SELECT 1 FROM recovered LIMIT 1"))

    def completed(self, now: float) -> None:
        """Note that everything outside has been read."""
        if not self.complete:
            self.connection.change("INSERT INTO recovered VALUES (?)", [now])

    # ------------------------------------------------------------------------------------------------ runs

    def add(self, run: Run, *, alone: bool = False) -> Run:
        """Write a new run; it gets the next free number, or keeps its own when it has one that is free. The number of a
        part is the next below zero.

        A run whose uid is there already is returned as it is there. With ``alone``, so is a run that is at work on the
        same job folder: of two that are added at once, one is.
        """
        with self.connection.transaction():
            self.connection.lock_table("runs")
            there = self.run_by_uid(run.uid) or (self.unfinished_of(run.project, run.job) if alone else None)
            if there is not None:
                return there
            run = replace(run, number=self._free_number(run))
            marks = ", ".join("?" * len(_RUN))
            self.connection.change(f"INSERT INTO runs ({_RUN_COLUMNS}) VALUES ({marks})", _values(run, _RUN))
        return run

    def _free_number(self, run: Run) -> int:
        least, most = self.connection.execute("SELECT coalesce(min(number), 0), coalesce(max(number), 0) FROM runs")[0]
        if run.part:
            return min(int(least), 0) - 1
        taken = self.connection.execute("SELECT 1 FROM runs WHERE number = ?", [run.number])
        return run.number if run.number > 0 and not taken else max(int(most), 0) + 1

    def run(self, number: int) -> Run:
        """The run with this number. Raises NotThere."""
        rows = self.connection.execute(f"SELECT {_RUN_COLUMNS} FROM runs WHERE number = ?", [number])
        if not rows:
            raise NotThere(f"there is no run {number}", advice="see cryoburst runs")
        return _run(rows[0])

    def run_by_uid(self, uid: str) -> Run | None:
        """The run with this uid, or None."""
        rows = self.connection.execute(f"SELECT {_RUN_COLUMNS} FROM runs WHERE uid = ?", [uid])
        return _run(rows[0]) if rows else None

    def runs(self, *, unfinished: bool = False, limit: int | None = None, parts: bool = False) -> list[Run]:
        """The runs, newest first; with ``unfinished`` only those that are not in a final state, with ``parts`` the
        parts of split runs as well, last."""
        wanted = [*([_OPEN_RUNS] if unfinished else []), *([] if parts else [_WHOLE])]
        where = f"WHERE {' AND '.join(wanted)}" if wanted else ""
        tail = f"LIMIT {int(limit)}" if limit is not None else ""
        sql = f"SELECT {_RUN_COLUMNS} FROM runs {where} ORDER BY number DESC {tail}"
        return [_run(row) for row in self.connection.execute(sql)]

    def parts_of(self, run: Run) -> list[Run]:
        """The parts of a split run, in their order; of a part, itself and those beside it."""
        if run.parts == 1:
            return []
        sql = f"SELECT {_RUN_COLUMNS} FROM runs WHERE uid > ? AND uid < ?"
        found = [_run(row) for row in self.connection.execute(sql, [f"{run.whole}.", f"{run.whole}/"])]
        return sorted(found, key=lambda each: each.part)

    def numbers_of_parts(self, run: Run, states: Sequence[RunState]) -> list[int]:
        """The parts of a split run that are in these states, by number alone: each part asks at every look."""
        sql = f"SELECT uid FROM runs WHERE uid > ? AND uid < ? AND state IN ({', '.join('?' * len(states))})"
        rows = self.connection.execute(sql, [f"{run.whole}.", f"{run.whole}/", *map(str, states)])
        return [int(str(row[0]).partition(".")[2]) for row in rows]

    def unfinished_of(self, project: str, job: str) -> Run | None:
        """The run that is at work on this job folder, or None."""
        sql = f"SELECT {_RUN_COLUMNS} FROM runs WHERE project = ? AND job = ? AND {_WHOLE} AND {_OPEN_RUNS}"
        rows = self.connection.execute(sql, [project, job])
        return _run(rows[0]) if rows else None

    def runs_of(self, project: str, job: str) -> list[Run]:
        """All runs of this job folder, newest first."""
        sql = f"SELECT {_RUN_COLUMNS} FROM runs WHERE project = ? AND job = ? ORDER BY number DESC"
        return [_run(row) for row in self.connection.execute(sql, [project, job])]

    def later_of(self, run: Run) -> Run | None:
        """The newest run of the same job folder that came after this one and had a machine at work on it, or None."""
        sql = (
            f"SELECT {_RUN_COLUMNS} FROM runs WHERE project = ? AND job = ? AND number > ? "
            "AND (started IS NOT NULL OR command_started IS NOT NULL OR attempt > 1) ORDER BY number DESC LIMIT 1"
        )
        rows = self.connection.execute(sql, [run.project, run.job, run.number])
        return _run(rows[0]) if rows else None

    def change(self, run: Run, changes: dict[str, object], *, holder: str | None = None) -> Run | None:
        """Change columns of a run and return the new row.

        With ``holder`` only while that holder has the claim: None when it was lost, and nothing was changed. A change
        of state must be legal (``ValueError`` otherwise), and is made only from the state that ``run`` shows.
        """
        if "state" in changes:
            check_run(run.state, RunState(str(changes["state"])))
        sets = ", ".join(f"{name} = ?" for name in changes)
        sql = f"UPDATE runs SET {sets} WHERE uid = ? AND state = ?" + (" AND holder = ?" if holder else "")
        values = [*map(_plain, changes.values()), run.uid, str(run.state), *([holder] if holder else [])]
        rows = self.connection.execute(f"{sql} RETURNING {_RUN_COLUMNS}", values)
        return _run(rows[0]) if rows else None

    def came_home(self, run: Run, size: int) -> None:
        """Count bytes of outputs that came home."""
        self.connection.change("UPDATE runs SET bytes_home = bytes_home + ? WHERE uid = ?", [size, run.uid])

    def want_stop(self, run: Run, why: str, now: float) -> None:
        """Note that the run shall end. The first wish stays; a final run is left alone."""
        sql = f"UPDATE runs SET stop_wanted = ?, stop_since = ? WHERE uid = ? AND stop_wanted = '' AND {_OPEN_RUNS}"
        self.connection.change(sql, [why, now, run.uid])

    def claim(self, run: Run, now: float) -> str | None:
        """Take the row for this thread; a holder to give to ``change`` and ``release``, or None when another has it.

        A claim ends when it is released, after a minute without ``renew``, or when its process is dead.
        """
        mine = f"{_process_name(os.getpid())}:{os.urandom(4).hex()}"
        rows = self.connection.execute("SELECT holder, held_until FROM runs WHERE uid = ?", [run.uid])
        if not rows:
            return None
        holder, until = str(rows[0][0]), float(rows[0][1])
        if holder and until > now and not _process_dead(holder):
            return None
        sql = "UPDATE runs SET holder = ?, held_until = ? WHERE uid = ? AND holder = ?"
        taken = self.connection.change(sql, [mine, now + CLAIM_SECONDS, run.uid, holder])
        return mine if taken == 1 else None

    def renew(self, holders: Iterable[str], now: float) -> None:
        """Keep the claims of effects that take long."""
        for holder in holders:
            self.connection.change("UPDATE runs SET held_until = ? WHERE holder = ?", [now + CLAIM_SECONDS, holder])

    def release(self, holder: str) -> None:
        """Give the claim back. Silent when it was lost."""
        self.connection.change("UPDATE runs SET holder = '', held_until = 0 WHERE holder = ?", [holder])

    # ------------------------------------------------------------------------------------------------ machines

    @contextmanager
    def promising(self) -> Iterator[None]:
        """While this lasts nobody else changes the machines: what was read of budgets holds until the order that counts
        on it is written. Of no run or machine anything is written when it raises. No network call belongs inside."""
        with self.connection.transaction():
            self.connection.lock_table("machines")
            yield

    def add_machine(self, machine: Machine) -> None:
        """Write the intent to rent a machine. Silent when its token is there already."""
        marks = ", ".join("?" * len(_MACHINE))
        sql = f"INSERT INTO machines ({_MACHINE_COLUMNS}) VALUES ({marks}) ON CONFLICT (token) DO NOTHING"
        self.connection.change(sql, _values(machine, _MACHINE))

    def machines(self, *, all_: bool = False) -> list[Machine]:
        """The machines that are not gone; with ``all_`` those too."""
        where = "" if all_ else f"WHERE state <> '{MachineState.GONE}'"
        rows = self.connection.execute(f"SELECT {_MACHINE_COLUMNS} FROM machines {where} ORDER BY requested")
        return [_machine(row) for row in rows]

    def machines_of(self, uid: str) -> list[Machine]:
        """All machines of a run, in the order of their attempts."""
        sql = f"SELECT {_MACHINE_COLUMNS} FROM machines WHERE run = ? ORDER BY attempt"
        return [_machine(row) for row in self.connection.execute(sql, [uid])]

    def machine(self, token: str) -> Machine | None:
        """The machine with this token, or None."""
        rows = self.connection.execute(f"SELECT {_MACHINE_COLUMNS} FROM machines WHERE token = ?", [token])
        return _machine(rows[0]) if rows else None

    def change_machine(self, machine: Machine, changes: dict[str, object]) -> Machine | None:
        """Change columns of a machine from the state that ``machine`` shows; None when that is no longer its state."""
        if "state" in changes:
            check_machine(machine.state, MachineState(str(changes["state"])))
        sets = ", ".join(f"{name} = ?" for name in changes)
        sql = f"UPDATE machines SET {sets} WHERE token = ? AND state = ? RETURNING {_MACHINE_COLUMNS}"
        values = [*map(_plain, changes.values()), machine.token, str(machine.state)]
        rows = self.connection.execute(sql, values)
        return _machine(rows[0]) if rows else None

    # ------------------------------------------------------------------------------------------------ events

    def event(self, uid: str, now: float, text: str) -> None:
        """Note what happened to a run."""
        self.connection.change("INSERT INTO events VALUES (?, ?, ?)", [uid, now, text])

    def events(self, uid: str) -> list[Event]:
        """What happened to a run, in order."""
        rows = self.connection.execute("SELECT run, time, text FROM events WHERE run = ? ORDER BY time", [uid])
        return [Event(*row) for row in rows]

    # ------------------------------------------------------------------------------------------------ caches

    def checksums(self, project: str, paths: Sequence[str] | None = None) -> dict[str, tuple[int, int, int, str]]:
        """What is known of a project's files: path -> (size, mtime_ns, inode, checksum); with ``paths`` of these, but
        others may be among them."""
        sql, values = "SELECT path, size, mtime_ns, inode, checksum FROM files WHERE project = ?", [project]
        if paths is not None and not paths:
            return {}
        if paths is not None and len(paths) <= FEW:
            sql, values = f"{sql} AND path IN ({', '.join('?' * len(paths))})", [project, *paths]
        return {row[0]: (row[1], row[2], row[3], row[4]) for row in self.connection.execute(sql, values)}

    def keep_checksums(self, project: str, known: Sequence[tuple[str, int, int, int, str]]) -> None:
        """Keep (path, size, mtime_ns, inode, checksum) of files at home."""
        sql = (
            "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (project, path) DO UPDATE SET "
            "size = excluded.size, mtime_ns = excluded.mtime_ns, inode = excluded.inode, checksum = excluded.checksum"
        )
        if known:
            self.connection.many(sql, [(project, *row) for row in known])

    def objects(self, store: str, folder: str) -> dict[str, Place]:
        """Where contents are in the store that belong to a project's folder there: checksum -> place."""
        sql = "SELECT checksum, key, place FROM objects WHERE store = ? AND folder = ?"
        return {row[0]: Place(row[1], row[2]) for row in self.connection.execute(sql, [store, folder])}

    def keep_objects(self, store: str, folder: str, known: Mapping[str, Place]) -> None:
        """Keep where contents are; the first place stays."""
        if known:
            rows = [(store, folder, checksum, *place) for checksum, place in known.items()]
            self.connection.many("INSERT INTO objects VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", rows)

    def forget_objects(self, store: str, folder: str, checksums: Iterable[str]) -> None:
        """Forget places that turned out to be empty or damaged."""
        sql = "DELETE FROM objects WHERE store = ? AND folder = ? AND checksum = ?"
        self.connection.many(sql, [(store, folder, checksum) for checksum in checksums])

    # ------------------------------------------------------------------------------------------------ projects

    def project_place(self, path: str) -> tuple[str, str]:
        """Where a project was pushed to or cloned from: (store's URL, folder in it); ("", own folder) when neither."""
        rows = self.connection.execute("SELECT store, folder FROM projects WHERE path = ?", [path])
        return (rows[0][0], rows[0][1]) if rows else ("", project_id(path))

    def set_project_place(self, path: str, store: str, folder: str) -> None:
        """Note where a project is in a store."""
        sql = (
            "INSERT INTO projects VALUES (?, ?, ?) ON CONFLICT (path) DO UPDATE SET "
            "store = excluded.store, folder = excluded.folder"
        )
        self.connection.change(sql, [path, store, folder])


def _run(row: Row) -> Run:
    values: dict[str, Any] = dict(zip(_RUN, row, strict=True))
    values["state"] = RunState(values["state"])
    values["spot"] = bool(values["spot"])  # SQLite has no truth values
    return Run(**values)


def _machine(row: Row) -> Machine:
    values: dict[str, Any] = dict(zip(_MACHINE, row, strict=True))
    values["state"] = MachineState(values["state"])
    values |= {"spot": bool(values["spot"]), "interrupted": bool(values["interrupted"])}
    return Machine(**values)


def _values(value: object, names: list[str]) -> list[object]:
    return [_plain(getattr(value, name)) for name in names]


def _plain(value: object) -> object:
    return str(value) if isinstance(value, RunState | MachineState) else value


@cache
def _host() -> str:
    return socket.gethostname()


def _process_name(pid: int) -> str:
    """A name for a process that no later process on this host gets: host, pid and start time in clock ticks."""
    return f"{_host()}:{pid}:{_start_ticks(pid)}"


def _start_ticks(pid: int) -> str:
    """Field 22 of /proc/<pid>/stat (proc(5)); empty when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:  # noqa: PTH123 - hot path
            return stat.read().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return ""


def _process_dead(holder: str) -> bool:
    """Whether the holder was a process of this host that no longer runs."""
    host, pid, start, _ = holder.rsplit(":", 3)
    return host == _host() and _start_ticks(int(pid)) != start
