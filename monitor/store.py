"""The database the daemon writes to, whichever that is at the moment: the file, or memory while the file is unfit.

Synchronous; used by one thread at a time. `monitor.state` gives it that thread.
"""

import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from monitor.database import Schema, UnfitError, carry, connect, disk_trouble, in_transaction, migrate, unfit
from monitor.opening import Opened, open_file

T = TypeVar("T")


class AbandonedError(Exception):
    """This store hung and was replaced: what it still does must not be committed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A turn in the life of the state file. `problem` says why the file is not in use from now on, or is None.

    After a notice with `fresh` set, rows may be missing: save again what is known in memory.
    """

    sentence: str
    problem: str | None
    fresh: bool


class Store:
    """Runs transactions on the file; moves to memory when the file fails, and back.

    A function given to `transaction` may be run a second time on another database, when the first one failed under
    it. `generation` changes with the database, `in_memory` and `problem` say what is in use; all three may be read
    from other threads.
    """

    def __init__(
        self, path: Path, schemas: tuple[Schema, ...], clock: Callable[[], float], notify: Callable[[Notice], None]
    ) -> None:
        self.path = path
        self.problem: str | None = None
        self.in_memory = False
        self.abandoned = False
        self.generation = 0
        self._schemas = schemas
        self._clock = clock
        self._notify = notify
        self._conn: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        # Tables whose rows in memory are all there is, so that they replace the file's when we return to it.
        self._whole: set[str] = set()

    def open(self) -> None:
        """Open the file, or memory when it cannot be used. Raises sqlite3.Error only for a mistake in a schema."""
        try:
            self._use(open_file(self.path, self._schemas, self._clock()), fresh=False)
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, sqlite3.Error) and not (disk_trouble(error) or unfit(error)):
                raise
            self.open_memory(f"cannot be used ({_in_words(error)})")

    def open_memory(self, why: str) -> None:
        """Go on in an empty database in memory. `why` ends the sentence "The state file X …"."""
        memory = connect(None)
        migrate(memory, self._schemas)
        self._whole = set()
        self._use_memory(memory, why)

    def transaction(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """`fn(conn)` in one transaction, on whichever database can take it. Raises what `fn` raises, rolled back."""
        for _ in range(3):  # the file, a fresh file, memory
            try:
                return in_transaction(self._connection(), lambda conn: self._checked(fn, conn))
            except sqlite3.Error as error:
                if self.in_memory or self.abandoned or not self._leave(error):
                    raise
        return in_transaction(self._connection(), lambda conn: self._checked(fn, conn))

    def come_back(self) -> bool:
        """Try to return from memory to the file, taking along what memory gathered. False when it still fails."""
        if not self.in_memory:
            return True
        memory = self._connection()
        try:
            opened = open_file(self.path, self._schemas, self._clock())
        except (sqlite3.Error, OSError):
            return False
        try:
            in_transaction(opened.conn, lambda conn: self._checked(lambda conn: self._merge(memory, conn), conn))
        except sqlite3.Error:
            opened.conn.close()
            return False
        except BaseException:
            opened.conn.close()
            raise
        memory.close()
        said = opened.said or f"The state file {self.path} is in use again; what was kept in memory is written to it."
        self._use(Opened(conn=opened.conn, said=said), fresh=True)
        return True

    def look(self) -> None:
        """Go on in memory when the file in use is no longer the one of that name: what is written to it is lost."""
        if self.in_memory or self._file is None:
            return
        try:
            gone = _identity(self.path) != self._file
        except (FileNotFoundError, NotADirectoryError):
            gone = True
        except OSError:
            return  # the next transaction meets the same trouble and deals with it
        if gone:
            self._carry_to_memory("was removed, or another put in its place, while it was in use")

    def tidy(self, pages: int) -> int:
        """Give up to `pages` free pages back to the disk. Gives the number of pages that are still free."""
        conn = self._connection()
        if self.in_memory:
            return 0
        try:
            # Not `execute`, which steps a statement without columns once, and so frees a single page.
            conn.executescript(f"PRAGMA incremental_vacuum({int(pages)});")
            free: int = conn.execute("PRAGMA freelist_count").fetchone()[0]
        except sqlite3.Error:
            return 0  # the next transaction meets the same trouble and deals with it
        return free

    def close(self) -> None:
        """Close the database. What is only in memory is lost."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def _connection(self) -> sqlite3.Connection:
        if self._conn is None:
            raise sqlite3.ProgrammingError(f"{self.path} is closed")
        return self._conn

    def _checked(self, fn: Callable[[sqlite3.Connection], T], conn: sqlite3.Connection) -> T:
        result = fn(conn)
        if self.abandoned:
            raise AbandonedError
        return result

    def _leave(self, error: sqlite3.Error) -> bool:
        """Move away from the file because of `error`; False when the file is not to blame."""
        reason = unfit(error)
        if reason is not None and reason.kind == "damaged":
            self._replace(reason)
        elif reason is not None or disk_trouble(error):
            self._carry_to_memory(f"cannot be written ({error})")
        else:
            return False
        return True

    def _replace(self, reason: UnfitError) -> None:
        """Set a damaged file aside and go on in a fresh one, or in memory when that fails."""
        with contextlib.suppress(sqlite3.Error):
            self.close()
        self._conn = None
        try:
            self._use(open_file(self.path, self._schemas, self._clock(), reject=reason), fresh=True)
        except (sqlite3.Error, OSError) as error:
            self.open_memory(f"is damaged ({reason.detail}) and could not be replaced ({_in_words(error)})")

    def _carry_to_memory(self, why: str) -> None:
        """Go on in memory with the live rows the file still gives."""
        failing = self._connection()
        memory = connect(None)
        migrate(memory, self._schemas)
        live = [table for schema in self._schemas for table in schema.live]
        self._whole = in_transaction(
            memory, lambda conn: {table for table in live if carry(failing, conn, table, keep_ours=False)}
        )
        with contextlib.suppress(sqlite3.Error):
            failing.close()
        self._use_memory(memory, why)

    def _merge(self, memory: sqlite3.Connection, conn: sqlite3.Connection) -> None:
        for schema in self._schemas:
            for table in schema.live:
                if table in self._whole:
                    conn.execute(f"DELETE FROM {table}")  # noqa: S608 -- a name from our own schema
                carry(memory, conn, table, keep_ours=False)
            for table in schema.history:
                carry(memory, conn, table, keep_ours=True)

    def _use_memory(self, memory: sqlite3.Connection, why: str) -> None:
        problem = (
            f"The state file {self.path} {why}. State is kept in memory and is lost if the daemon stops. "
            f"See that {self.path.parent} is writable and has free space; the file is tried again every few minutes."
        )
        self.generation += 1
        self._conn = memory
        self.in_memory = True
        self.problem = problem
        self._notify(Notice(sentence=problem, problem=problem, fresh=True))

    def _use(self, opened: Opened, *, fresh: bool) -> None:
        self.generation += 1
        self._conn = opened.conn
        with contextlib.suppress(OSError):
            self._file = _identity(self.path)
        self.in_memory = False
        self.problem = None
        self._whole = set()
        if opened.said:
            self._notify(Notice(sentence=opened.said, problem=None, fresh=fresh))


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _in_words(error: Exception) -> str:
    """`error` without errno and without the paths the sentence around it names already."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        return f"{error.filename} is a file, not a folder"
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
