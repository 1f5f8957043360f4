"""The rows of a dump over several connections: what pg_restore writes as a script, cut at line ends and dealt out.

pg_restore uses several connections only when it reads a file, and then one for each table. Here nothing is kept on a
disk, and a large table is loaded by all of them at once while it is still being fetched. A table smaller than a share
goes to one connection, so that its rows keep their order.
"""

import contextlib
import queue
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from backup.errors import ArchiveError, TargetError
from backup.postgres.explain import one_line, remedy_for
from backup.postgres.script import NAME, unquoted

if TYPE_CHECKING:
    from psycopg import Connection

BLOCK = 1024 * 1024
# Rows of one table go to one connection until there are more bytes of them than this.
SHARE = 8 * BLOCK
WAITING = 4
TICK = 0.2
COPY = re.compile(rf"COPY ({NAME})\.({NAME}) .*FROM stdin;\n", re.DOTALL)
END = b"\\.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table as its COPY statement names it."""

    schema: str
    name: str
    statement: str


class Script:
    """What a script is made of, in order: a statement, a Table, the rows of that in blocks of whole lines, None after
    them. Comments and what is for psql alone (`\\restrict`) are left out."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._at = 0

    def __iter__(self) -> Iterator[str | Table | bytes | None]:
        """Raises EOFError when it ends in the middle of rows."""
        statement = ""
        while line := self._line():
            text = line.decode()
            if not statement and (not text.strip() or text.startswith(("--", "\\"))):
                continue
            statement += text
            # A quote inside quotes is doubled, so that their number is even once the statement is whole.
            if not text.endswith(";\n") or statement.count("'") % 2 or statement.count('"') % 2:
                continue
            whole, statement = statement, ""
            if found := COPY.fullmatch(whole):
                yield Table(schema=unquoted(found[1]), name=unquoted(found[2]), statement=whole)
                yield from self._rows()
                yield None
            else:
                yield whole

    def _line(self) -> bytes:
        """The next line; what is left, or nothing, at the end."""
        seen = self._at
        while (end := self._buffer.find(b"\n", seen)) < 0:
            known = len(self._buffer) - self._at
            if not self._more():
                end = len(self._buffer) - 1
                break
            seen = self._at + known
        line = bytes(memoryview(self._buffer)[self._at : end + 1])
        self._at = end + 1
        return line

    def _rows(self) -> Iterator[bytes]:
        """Up to the line that is a backslash and a dot: no row is, since a backslash in it is doubled."""
        seen = self._at
        while not self._buffer.startswith(END, self._at):
            last = self._buffer.find(b"\n" + END, seen)
            cut = last if last >= 0 else self._buffer.rfind(b"\n", seen)
            if cut >= 0:
                yield bytes(memoryview(self._buffer)[self._at : cut + 1])
                self._at = cut + 1
            if last < 0:
                known = len(self._buffer) - self._at
                if not self._more():
                    raise EOFError
                seen = self._at + known
        self._at += len(END)

    def _more(self) -> bool:
        data = self._stream.read(BLOCK)
        if data:
            del self._buffer[: self._at]
            self._at = 0
            self._buffer += data
        return bool(data)


class Fan:
    """Runs a script: its statements on one connection, the rows of its tables on `count` others.

    `connect` makes a connection; `tables` hears of each table as its rows begin. `rows` is how many the server took of
    each, by schema and name. Close it.
    """

    def __init__(
        self,
        connect: "Callable[[], Connection[tuple[Any, ...]]]",
        count: int,
        tables: Callable[[Table], object] = lambda _: None,
    ) -> None:
        self.rows: dict[tuple[str, str], int] = {}
        self._connect = connect
        self._count = count
        self._tables = tables
        self._prelude: list[str] = []
        self._workers: list[_Worker] = []
        self._turn = 0
        self._lock = threading.Lock()
        self._control = connect()

    def take(self, stream: IO[bytes]) -> None:
        """Runs the whole script. Raises ArchiveError, TargetError."""
        dealing: _Dealing | None = None
        try:
            for part in Script(stream):
                if isinstance(part, str):
                    self._execute(part)
                elif isinstance(part, Table):
                    self._tables(part)
                    self.rows[part.schema, part.name] = 0
                    dealing = _Dealing(table=part)
                elif dealing is not None and part is not None:
                    self._deal(dealing, part)
                elif dealing is not None:
                    for worker in dealing.used:
                        worker.put((dealing.table, None))
        except EOFError:
            raise ArchiveError("pg_restore stopped in the middle of rows", "verify the restore point") from None
        for worker in self._workers:
            worker.put(None)
        for worker in self._workers:
            worker.finish()

    def close(self) -> None:
        """Ends what still runs, and every connection. Never raises."""
        for worker in self._workers:
            worker.close()
        with contextlib.suppress(Exception):  # there is nothing left to do about it
            self._control.close()

    def _deal(self, dealing: "_Dealing", rows: bytes) -> None:
        """Hands rows of a table to the connection that has its first ones, or once they are many to any."""
        if not dealing.used:
            worker = self._next()
        elif dealing.bytes <= SHARE:
            worker = dealing.used[0]
        else:
            while len(self._workers) < self._count:
                self._next()
            worker = min(self._workers, key=lambda one: one.waiting)
        if worker not in dealing.used:
            dealing.used.append(worker)
        dealing.bytes += len(rows)
        worker.put((dealing.table, rows))

    def _next(self) -> "_Worker":
        """The connection whose turn it is; the first tables make them."""
        if len(self._workers) < self._count:
            self._workers.append(_Worker(self._connect(), self._prelude, self.rows, self._lock))
            return self._workers[-1]
        self._turn += 1
        return self._workers[self._turn % self._count]

    def _execute(self, statement: str) -> None:
        import psycopg

        setting = statement.startswith(("SET ", "SELECT pg_catalog.set_config("))
        try:
            self._control.execute(statement)
        except psycopg.Error as error:
            if isinstance(error, psycopg.errors.UndefinedObject) and setting:
                return  # a setting of newer servers (transaction_timeout): pg_restore sets it to its default
            raise _refused(error) from None
        if setting and not self._workers:
            self._prelude.append(statement)


@dataclass(slots=True, kw_only=True)
class _Dealing:
    """A table whose rows are being dealt out: to whom, and how many bytes so far."""

    table: Table
    used: "list[_Worker]" = field(default_factory=list)
    bytes: int = 0


class _Worker:
    """One connection in a thread of its own, that takes blocks of rows."""

    def __init__(
        self,
        connection: "Connection[tuple[Any, ...]]",
        prelude: list[str],
        rows: dict[tuple[str, str], int],
        lock: threading.Lock,
    ) -> None:
        self._connection = connection
        self._rows = rows
        self._queue: queue.Queue[tuple[Table, bytes | None] | None] = queue.Queue(WAITING)
        self._failure: BaseException | None = None
        self._closed = threading.Event()
        self._lock = lock
        for statement in prelude:
            connection.execute(statement)
        self._thread = threading.Thread(target=self._run, name="rows", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Blocks that wait."""
        return self._queue.qsize()

    def put(self, item: tuple[Table, bytes | None] | None) -> None:
        """Hands over a block of a table, None as its end; None for the end of all. Raises what went wrong before."""
        while True:
            self._check()
            with contextlib.suppress(queue.Full):
                self._queue.put(item, timeout=TICK)
                return

    def finish(self) -> None:
        """Waits for the end of all. Raises what went wrong."""
        while self._thread.is_alive():
            self._thread.join(TICK)
            self._check()
        self._check()

    def close(self) -> None:
        """Ends it, also in the middle."""
        self._closed.set()
        if self._thread.is_alive():
            with contextlib.suppress(Exception):  # likewise
                self._connection.cancel_safe(timeout=1.0)
            self._thread.join(2)
        with contextlib.suppress(Exception):
            self._connection.close()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._closed.is_set():
            raise TargetError("the connection was closed", "run it again")

    def _run(self) -> None:
        import psycopg

        try:
            while item := self._next():
                self._copy(*item)
        except psycopg.Error as error:
            self._failure = _refused(error)
        except BaseException as error:  # noqa: BLE001  a thread's outermost boundary: put() and finish() raise it
            self._failure = error

    def _copy(self, table: Table, first: bytes | None) -> None:
        """Takes the rows of one table up to their end."""
        cursor = self._connection.cursor()
        with cursor.copy(table.statement) as copy:
            data = first
            while data is not None:
                copy.write(data)
                item = self._next()
                if item is None:
                    raise TargetError("the rows were given up", "run it again")
                data = item[1]
        with self._lock:
            self._rows[table.schema, table.name] += cursor.rowcount

    def _next(self) -> tuple[Table, bytes | None] | None:
        while not self._closed.is_set():
            with contextlib.suppress(queue.Empty):
                return self._queue.get(timeout=TICK)
        return None


def _refused(error: Exception) -> TargetError:
    said = one_line(str(error))
    return TargetError(f"the server refused rows: {said}", remedy_for(said))
