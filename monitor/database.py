"""The SQLite side of the daemon's state: connecting, migrating, moving rows. Synchronous, one thread.

Nothing here knows what a table means. Every table has a natural key, so that rows can be moved between the file, a
fresh file and a database in memory without renumbering anything.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

T = TypeVar("T")
Kind = Literal["damaged", "unwritable", "newer"]

BUSY_SECONDS = 5.0
JOURNAL_BYTES = 4 * 1024 * 1024

# What the file is unfit for, by SQLite's primary result code. A damaged or unwritable file is set aside; the others
# say that the disk, not the file, is the trouble: go on in memory and try the same file again later.
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_UNWRITABLE = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}
_DISK = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The tables of one owner.

    `steps` are SQL scripts, applied once each and in order; a step, once released, is never edited. `live` tables
    are small and go along whole when the database is changed (to memory, to a fresh file and back). `history`
    tables grow: they start empty in memory, and what was gathered there is added to the file's rows on the way back.
    """

    owner: str
    steps: tuple[str, ...]
    live: tuple[str, ...] = ()
    history: tuple[str, ...] = ()


class UnfitError(Exception):
    """The file cannot be used as it is, and another attempt will not help: it has to be set aside."""

    def __init__(self, kind: Kind, detail: str) -> None:
        super().__init__(detail)
        self.kind: Kind = kind
        self.detail = detail


def result_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; SQLITE_ERROR where Python raised without one."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF


def unfit(error: sqlite3.Error) -> UnfitError | None:
    """What `error` proves about the file itself; None when the file is not to blame."""
    code = result_code(error)
    if code in _DAMAGED:
        return UnfitError("damaged", str(error))
    if code in _UNWRITABLE:
        return UnfitError("unwritable", str(error))
    return None


def blames_statement(error: sqlite3.Error) -> bool:
    """Whether `error`, met while reading, is the reader's own mistake (writing among them) and no news of the file."""
    return result_code(error) == sqlite3.SQLITE_READONLY or not (unfit(error) or disk_trouble(error))


def disk_trouble(error: sqlite3.Error) -> bool:
    """Whether `error` comes from the disk (full, failing, locked by another program) rather than from a statement."""
    return result_code(error) in _DISK


def connect(path: Path | None) -> sqlite3.Connection:
    """A connection to write through: to the file at `path`, or to a new database in memory. In autocommit mode.

    Raises sqlite3.Error. The pragmas come before the first table, or auto_vacuum would have no effect.
    """
    conn = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=BUSY_SECONDS)
    try:
        conn.execute("PRAGMA auto_vacuum = INCREMENTAL")
        conn.execute("PRAGMA journal_mode = WAL")
        conn.execute("PRAGMA synchronous = NORMAL")
        conn.execute("PRAGMA foreign_keys = ON")
        conn.execute("PRAGMA temp_store = MEMORY")
        conn.execute(f"PRAGMA journal_size_limit = {JOURNAL_BYTES}")
    except sqlite3.Error:
        conn.close()
        raise
    return conn


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection to read through. It sets nothing that would have to wait for a writer. Raises sqlite3.Error."""
    conn = sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS)
    conn.execute("PRAGMA query_only = ON")
    conn.execute("PRAGMA temp_store = MEMORY")
    return conn


def in_transaction(
    conn: sqlite3.Connection, fn: Callable[[sqlite3.Connection], T], *, begin: str = "BEGIN IMMEDIATE"
) -> T:
    """`fn(conn)` inside one transaction: committed when it returns, rolled back when it raises."""
    conn.execute(begin)
    try:
        result = fn(conn)
        conn.execute("COMMIT")
    except BaseException:
        # SQLite ends the transaction itself after a full disk or an I/O error; a second ROLLBACK would be an error.
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise
    return result


def migrate(conn: sqlite3.Connection, schemas: Iterable[Schema]) -> None:
    """Bring every owner's tables up to date, all in one transaction.

    Raises UnfitError("newer") when a newer version of the program has been at work on this file. Owners that are not in
    `schemas` are left alone.
    """

    def apply(conn: sqlite3.Connection) -> None:
        conn.execute(
            "CREATE TABLE IF NOT EXISTS schema_steps (owner TEXT NOT NULL, step INTEGER NOT NULL,"
            " PRIMARY KEY (owner, step)) STRICT, WITHOUT ROWID"
        )
        applied = dict(conn.execute("SELECT owner, max(step) FROM schema_steps GROUP BY owner"))
        for schema in schemas:
            done = applied.get(schema.owner, 0)
            if done > len(schema.steps):
                raise UnfitError("newer", f"{schema.owner} is at step {done}, this version knows {len(schema.steps)}")
            for number, script in enumerate(schema.steps[done:], start=done + 1):
                for statement in _statements(script):
                    conn.execute(statement)
                conn.execute("INSERT INTO schema_steps VALUES (?, ?)", (schema.owner, number))

    in_transaction(conn, apply)


def _statements(script: str) -> Iterator[str]:
    """The single statements of a script; `executescript` would commit the transaction we are in."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement


def carry(source: sqlite3.Connection, target: sqlite3.Connection, table: str, *, keep_ours: bool) -> bool:
    """Copy the rows of `table`, in the columns both sides have; where keys meet, `keep_ours` leaves the target's row.

    True when every row of the source was read. Rows that break a rule of the target are left out. Raises
    sqlite3.Error when the target cannot be written; an unreadable source only ends the copying.
    """
    verb = "IGNORE" if keep_ours else "REPLACE"
    try:
        theirs = {row[1] for row in source.execute(f"PRAGMA table_info({table})")}
    except sqlite3.Error:
        return False
    columns = [row[1] for row in target.execute(f"PRAGMA table_info({table})") if row[1] in theirs]
    if not columns:
        return False
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    read = f"SELECT {names} FROM {table}"  # noqa: S608 -- names come from our own schema, never from input
    write = f"INSERT OR {verb} INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 -- as above
    try:
        cursor = source.execute(read)
    except sqlite3.Error:
        return False
    while True:
        try:
            rows = cursor.fetchmany(500)
        except sqlite3.Error:
            return False
        if not rows:
            return True
        try:
            target.executemany(write, rows)
        except sqlite3.IntegrityError:  # a wrong type, as a damaged file may hold, is not covered by OR IGNORE
            _insert_singly(target, write, rows)


def _insert_singly(target: sqlite3.Connection, write: str, rows: list[tuple[object, ...]]) -> None:
    for row in rows:
        with contextlib.suppress(sqlite3.IntegrityError):
            target.execute(write, row)
