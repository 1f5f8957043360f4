"""Opening the state file: checked and migrated; one that is unfit is set aside, and what it holds carried over."""

import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from monitor.database import Kind, Schema, UnfitError, carry, connect, in_transaction, migrate, unfit

KEPT_ASIDE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """An open file. `said` is a sentence when it had to be begun afresh, else None."""

    conn: sqlite3.Connection
    said: str | None = None


def open_file(path: Path, schemas: tuple[Schema, ...], now: float, *, reject: UnfitError | None = None) -> Opened:
    """Open the state file, checked and migrated; an unfit one is set aside and a fresh one begun in its place.

    `reject` says that the file has already shown itself unfit. `now` is epoch seconds, for the set-aside name. What
    can still be read in the set-aside file is carried over. Raises sqlite3.Error or OSError when neither the file
    nor a fresh one can be used.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            # What a removed file left: a fresh one would take the log's pages for its own.
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
        if reject is None:
            return Opened(conn=_open_sound(path, schemas))
    except UnfitError as error:
        reject = error
    if not path.exists():
        raise OSError(reject.detail)  # there is nothing to set aside: the folder is the trouble
    aside = set_aside(path, reject.kind, now)
    try:
        conn = _open_sound(path, schemas)
    except UnfitError as error:
        raise OSError(f"a fresh file at {path} is not usable either: {error.detail}") from error
    try:
        lost = _salvage(aside, conn, schemas)
    except BaseException:
        conn.close()
        raise
    rest = f"not carried over whole: {', '.join(lost)}" if lost else "all its rows were carried over"
    why = {
        "damaged": "is damaged",
        "unwritable": "cannot be written",
        "newer": "was written by a newer version of Watchkeeper",
    }[reject.kind]
    return Opened(
        conn=conn,
        said=f"The state file {path} {why} ({reject.detail}). It was set aside as {aside.name} and a fresh one begun; "
        f"{rest}.",
    )


def _open_sound(path: Path, schemas: tuple[Schema, ...]) -> sqlite3.Connection:
    """The file at `path`, known to be whole, writable and of our schema. Raises UnfitError or sqlite3.Error."""
    try:
        conn = connect(path)
    except sqlite3.Error as error:
        raise unfit(error) or error from error
    try:
        _check_whole(conn)
        migrate(conn, schemas)
    except sqlite3.Error as error:
        conn.close()
        raise unfit(error) or error from error
    except UnfitError:
        conn.close()
        raise
    return conn


def _check_whole(conn: sqlite3.Connection) -> None:
    found = conn.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise UnfitError("damaged", str(found))


def set_aside(path: Path, kind: Kind, now: float) -> Path:
    """Rename the file and its companions to a dated name; of each kind the newest KEPT_ASIDE stay. Raises OSError."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    target = path.with_name(f"{path.name}.{kind}-{stamp}")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.{kind}-{stamp}-{number}")
    # The log goes first: a fresh file beside an old log would take the log's pages for its own.
    for suffix in ("-wal", "-shm"):
        companion = path.with_name(path.name + suffix)
        if companion.exists():
            companion.rename(target.with_name(target.name + suffix))
    path.rename(target)
    older = sorted(p for p in path.parent.glob(f"{path.name}.{kind}-*") if not p.name.endswith(("-wal", "-shm")))
    for old in older[:-KEPT_ASIDE]:
        for name in (old.name + "-wal", old.name + "-shm", old.name):
            victim = old.with_name(name)
            if not victim.is_dir():  # somebody's folder that stood in our place is not ours to delete
                victim.unlink(missing_ok=True)
    return target


def _salvage(aside: Path, conn: sqlite3.Connection, schemas: tuple[Schema, ...]) -> list[str]:
    """Carry every readable row of a set-aside file into `conn`. Gives the tables that were not carried whole."""
    tables = [table for schema in schemas for table in (*schema.live, *schema.history)]
    try:
        source = sqlite3.connect(f"file:{quote(str(aside))}?mode=rw", uri=True, isolation_level=None, timeout=1.0)
    except sqlite3.Error:
        return tables
    try:
        return in_transaction(conn, lambda conn: [t for t in tables if not _carried(source, conn, t)])
    finally:
        source.close()


def _carried(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> bool:
    """Carries a table into a fresh file. True when all its rows came along: what breaks a rule there does not."""
    if not carry(source, target, table, keep_ours=True):
        return False
    count = f"SELECT count(*) FROM {table}"  # noqa: S608 -- a name from our own schema
    (there,), (here,) = source.execute(count).fetchone(), target.execute(count).fetchone()
    return bool(there <= here)
