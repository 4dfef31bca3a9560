"""Connections to SQLite and PostgreSQL behind one small face, and the numbered migrations.

SQL in this package is the portable subset of both, with ``?`` for parameters. See docs/dependencies.md for why there is
no object-relational mapper here: its import alone takes longer than ``cryoburst runs`` may.
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import Any

from cryoburst.model.errors import BadInput, CryoburstError

Row = tuple[Any, ...]
NO_ENTRY = "see who may read and write there, or set CRYOBURST_STATE to a folder of your own"
_READS = ("SELECT", "PRAGMA")  # so begin the statements that change nothing
TIMEOUT = 20.0  # s to wait for a lock or a connection


class DatabaseError(CryoburstError):
    """The database can't be reached, read or written."""


class _Closer:
    """Closes a thread's connection when the thread ends: nobody else can tell that it did."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def __del__(self) -> None:
        with suppress(Exception):
            self._raw.close()


class Connection:
    """One database, one connection per thread. Statements commit by themselves outside ``transaction``."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._postgres = url.startswith(("postgresql://", "postgres://"))
        if not self._postgres and not url.startswith("sqlite:///"):
            raise BadInput("unknown database", where=hide_password(url), advice="use sqlite:///… or postgresql://…")
        self.path = None if self._postgres else Path(url.removeprefix("sqlite://"))
        self._local = threading.local()
        self._generation = 0  # raised by reopen: every thread then connects anew
        self.writes = 0  # statements of this process, so far, that may have changed something
        self._errors: tuple[type[Exception], ...] = (sqlite3.Error,)

    def execute(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """Run one statement; the rows it returns (``RETURNING`` or ``SELECT``), else none. Raises DatabaseError."""
        return self._run(sql, values)[1]

    def change(self, sql: str, values: Sequence[object] = ()) -> int:
        """Run one statement that changes rows; how many it changed. Raises DatabaseError."""
        return self._run(sql, values)[0]

    def many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Run one statement for many rows in one transaction."""
        with self.transaction(), self._guarded():
            self._raw().cursor().executemany(self._dialect(sql), rows)
            self.writes += 1

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All statements inside commit together, or none. No network call belongs inside."""
        with self._guarded():
            raw = self._raw()
            raw.execute("BEGIN" if self._postgres else "BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if raw is getattr(self._local, "raw", None):  # else it was closed after an error, which rolled it back
                with self._guarded():
                    raw.execute("ROLLBACK")
            raise
        with self._guarded():
            self._raw().execute("COMMIT")

    def lock_table(self, table: str) -> None:
        """Inside a transaction: keep other writers out of a table (SQLite's transaction does already)."""
        if self._postgres:
            self.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")

    def version(self) -> int:
        """A number that changes when another connection has committed; -1 where there is no cheap one."""
        return -1 if self._postgres else int(self.execute("PRAGMA data_version")[0][0])

    def replaced(self) -> bool:
        """Whether the database file was deleted or replaced under this connection."""
        if self.path is None:
            return False
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return True
        self._raw()
        return (there.st_dev, there.st_ino) != self._local.identity

    def reopen(self) -> None:
        """Have every thread connect anew before its next statement."""
        self._generation += 1

    def close(self) -> None:
        """Close this thread's connection. A later statement opens a new one."""
        raw = getattr(self._local, "raw", None)
        if raw is not None:
            raw.close()
            self._local.raw = self._local.closer = None

    def _run(self, sql: str, values: Sequence[object]) -> tuple[int, list[Row]]:
        with self._guarded():
            cursor = self._raw().execute(self._dialect(sql), tuple(values))
            self.writes += not sql.startswith(_READS)
            return cursor.rowcount, (cursor.fetchall() if cursor.description else [])

    def _dialect(self, sql: str) -> str:
        return sql.replace("?", "%s") if self._postgres else sql

    def _raw(self) -> Any:
        if getattr(self._local, "generation", None) != self._generation:
            self.close()
        if getattr(self._local, "raw", None) is None:
            self._local.generation = self._generation
            self._local.raw = self._connect_postgres() if self._postgres else self._connect_sqlite()
            self._local.closer = _Closer(self._local.raw)
        return self._local.raw

    def _connect_postgres(self) -> Any:
        import psycopg

        self._errors = (sqlite3.Error, psycopg.Error)
        return psycopg.connect(self.url, autocommit=True, connect_timeout=int(TIMEOUT), prepare_threshold=None)

    def _connect_sqlite(self) -> sqlite3.Connection:
        assert self.path is not None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            what = f"the folder of the database can't be made: {error.strerror}"
            raise DatabaseError(what, where=str(error.filename), advice=NO_ENTRY) from None
        raw = sqlite3.connect(self.path, timeout=TIMEOUT, isolation_level=None)
        raw.execute("PRAGMA journal_mode = WAL")
        raw.execute("PRAGMA synchronous = NORMAL")
        found = self.path.stat()
        self._local.identity = (found.st_dev, found.st_ino)
        return raw

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if isinstance(error, self._errors) or type(error).__module__.startswith("psycopg"):
                self.close()
                raise DatabaseError(
                    f"the database failed: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
                    where=hide_password(self.url),
                    advice=_advice(error),
                ) from None
            raise


def _advice(error: Exception) -> str:
    """What to do next about an error of a database."""
    if isinstance(error, sqlite3.DatabaseError):
        if any(words in str(error) for words in ("not a database", "malformed")):
            return "delete the file, it is made again"
        if any(words in str(error) for words in ("unable to open", "readonly database")):
            return NO_ENTRY
    return "see cryoburst doctor"


def migrate(connection: Connection) -> bool:
    """Bring the schema up to date, one transaction per migration; True when the database was empty before.

    Two processes at once are safe. A schema newer than this program is refused.
    """
    steps = sorted(
        (int(entry.name[:4]), entry)
        for entry in resources.files("cryoburst.database").joinpath("migrations").iterdir()
        if entry.name.endswith(".sql")
    )
    version = _version(connection)
    if version == steps[-1][0]:
        return False
    if version > steps[-1][0]:
        raise BadInput(
            f"the database has schema {version}, this program knows {steps[-1][0]}",
            where=hide_password(connection.url),
            advice="update cryoburst",
        )
    fresh = version == 0
    connection.change("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
    with connection.transaction():
        connection.lock_table("schema_version")
        version = _version(connection)
        for number, entry in steps:
            if number > version:
                text = "\n".join(line.split("--")[0] for line in entry.read_text(encoding="utf-8").splitlines())
                for statement in filter(str.strip, text.split(";")):
                    connection.change(statement)
                connection.change("INSERT INTO schema_version VALUES (?)", (number,))
    return fresh and version == 0


def _version(connection: Connection) -> int:
    if connection.path is not None:
        there = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_version'")
    else:
        there = connection.execute("SELECT 1 FROM pg_tables WHERE tablename = 'schema_version'")
    return int(connection.execute("SELECT coalesce(max(version), 0) FROM schema_version")[0][0]) if there else 0


def hide_password(url: str) -> str:
    """The URL without its password, fit for a message."""
    scheme, separator, rest = url.partition("://")
    login, at, host = rest.rpartition("@")
    return f"{scheme}{separator}{login.split(':')[0]}{at}{host}"
