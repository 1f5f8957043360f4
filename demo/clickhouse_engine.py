"""The ClickHouse engine of the chdb-core wheel, for many clients at once.

Runs under .venv-clickhouse only. One process holds one engine over one folder; each request has a connection of its
own (0.1 ms to make), so requests run side by side, and a session keeps its connection between requests.
"""

import contextlib
import os
import re
import threading
import time
import xml.sax.saxutils
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import chdb  # type: ignore[import-not-found]  # installed in .venv-clickhouse only

from demo.clickhouse_sql import Statement, from_file, identifier, quote, split
from demo.clickhouse_wire import ClickhouseError

STREAMED = frozenset({"Native", "TabSeparated", "TSV", "CSV", "RowBinary", "JSONEachRow"})
"""Formats without header or footer: chdb writes each block as a document of its own, so only these can be streamed."""

CONFIG = """\
<clickhouse>
  <display_name>{name}</display_name>
  <shutdown_wait_backups_and_restores>0</shutdown_wait_backups_and_restores>
  <background_pool_size>2</background_pool_size>
  <background_schedule_pool_size>4</background_schedule_pool_size>
  <max_server_memory_usage>{memory}</max_server_memory_usage>
  <storage_configuration>
    <disks><default><keep_free_space_bytes>{keep_free}</keep_free_space_bytes></default></disks>
  </storage_configuration>
  <query_log><database>system</database><table>query_log</table></query_log>
  <backup_log><database>system</database><table>backup_log</table></backup_log>
  <merge_tree>
    <number_of_free_entries_in_pool_to_execute_mutation>1</number_of_free_entries_in_pool_to_execute_mutation>
    <number_of_free_entries_in_pool_to_lower_max_size_of_merge>1</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
    <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>1</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
  </merge_tree>
</clickhouse>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One query with what came beside it. `settings` and `parameters` are by name, as text."""

    sql: bytes
    database: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    default_format: str = "TabSeparated"
    readonly: bool = False
    stream: bool = False
    session: str = ""
    session_timeout: float = 60.0
    session_check: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a query gave: `format` is None when it has no result; `summary` counts what is known before the body."""

    format: str | None
    body: Generator[bytes]
    summary: Mapping[str, int]


@dataclass(slots=True)
class _Session:
    connection: Any
    timeout: float
    busy: bool = True
    last: float = field(default_factory=time.monotonic)


class Engine:
    """The engine over `folder`. Raises RuntimeError when the folder cannot be opened.

    `memory` is the bytes that all queries share (0: what the machine has), `keep_free` those of the disk left alone.
    """

    def __init__(self, folder: Path, *, name: str, memory: int = 0, keep_free: int = 0) -> None:
        config = folder / "config.xml"
        shown = xml.sax.saxutils.escape(name)
        config.write_text(CONFIG.format(name=shown, memory=memory, keep_free=keep_free))
        self._source = f"{folder / 'data'}?config-file={config}"
        self._lock = threading.Lock()
        self._sessions: dict[str, _Session] = {}
        self._keeper = _open(self._source, folder / "data/metadata")
        facts = _ask(self._keeper, "SELECT version(), timezone()")
        self.version, self.timezone = facts.rstrip("\n").split("\t")
        self.name = name

    @contextlib.contextmanager
    def answer(self, question: Question) -> Iterator[Answer]:
        """Runs a query; its body is valid inside the block. Raises ClickhouseError, while the body is read as well."""
        statement = split(question.sql)
        with self._connection(question) as connection, _translated():
            _check(connection, statement, question)
            with _set_up(connection, question), contextlib.ExitStack() as ends:
                answer = _run(connection, statement, question)
                ends.callback(answer.body.close)  # an open stream would empty every later answer of a session
                yield answer

    def interrupt(self) -> None:
        """Tells every query and backup to stop, without waiting for them."""
        with contextlib.suppress(RuntimeError):
            _ask(self._keeper, "KILL QUERY WHERE 1 ASYNC")

    def close(self) -> None:
        """Closes what is idle; the engine ends when the running queries have."""
        with self._lock:
            for session in self._sessions.values():
                if not session.busy:
                    session.connection.close()
            self._sessions.clear()
        self._keeper.close()

    @contextlib.contextmanager
    def _connection(self, question: Question) -> Iterator[Any]:
        if not question.session:
            connection = chdb.connect(self._source)
            try:
                yield connection
            finally:
                connection.close()
            return
        session = self._enter_session(question)
        try:
            yield session.connection
        finally:
            with self._lock:
                session.busy, session.last = False, time.monotonic()

    def _enter_session(self, question: Question) -> _Session:
        with self._lock:
            now = time.monotonic()
            for name, old in list(self._sessions.items()):
                if not old.busy and now - old.last > old.timeout:
                    self._sessions.pop(name).connection.close()
            session = self._sessions.get(question.session)
            if session is None:
                if question.session_check:
                    raise ClickhouseError(372, "SESSION_NOT_FOUND", f"Session {question.session} not found.")
                session = _Session(chdb.connect(self._source), question.session_timeout)
                self._sessions[question.session] = session
            elif session.busy:
                raise ClickhouseError(
                    373, "SESSION_IS_LOCKED", f"Session {question.session} is locked by a concurrent client."
                )
            session.busy, session.timeout = True, question.session_timeout
            return session


def _open(source: str, metadata: Path) -> Any:
    """The first connection; the engine ends with its last.

    chdb lays an Overlay with the working folder's files over `default`; a server's is Atomic, and only as such can it
    be restored under another name. The engine knows its number again once it has held a table (its folder is there);
    before that it is empty and is made anew.
    """
    held_a_table = (metadata / "default").exists()
    if not held_a_table:
        (metadata / "default.sql").unlink(missing_ok=True)
    connection = chdb.connect(source)
    _ask(connection, "USE system")
    _ask(connection, "DETACH DATABASE default")
    _ask(connection, "ATTACH DATABASE default" if held_a_table else "CREATE DATABASE default ENGINE = Atomic")
    return connection


def _check(connection: Any, statement: Statement, question: Question) -> None:
    """What a server refuses before it runs anything."""
    if not statement.verb:
        raise ClickhouseError(62, "SYNTAX_ERROR", "Syntax error: failed at position 1 (end of query): Empty query.")
    kind = connection._conn.classify_query(statement.head.decode(errors="replace"))  # noqa: SLF001 - chdb wraps it not
    if kind["statement_count"] > 1:
        raise ClickhouseError(62, "SYNTAX_ERROR", "Syntax error (Multi-statements are not allowed)")
    if question.readonly and kind["statement_count"] == 1 and kind["query_class"].name != "READ_ONLY":
        raise ClickhouseError(
            164,
            "READONLY",
            "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly. "
            "You should use method POST for modifying queries.",
        )


@contextlib.contextmanager
def _set_up(connection: Any, question: Question) -> Iterator[None]:
    """Gives the connection the request's database, settings and parameters; a session gets its own back after."""
    undo = _undo(connection, question) if question.session else []
    try:
        for sql in _setting_up(question):
            _ask(connection, sql)
        yield
    finally:
        for sql in undo:
            with contextlib.suppress(
                RuntimeError
            ):  # a setting that was refused cannot be taken back; that error is out
                _ask(connection, sql)


def _setting_up(question: Question) -> Iterator[str]:
    if question.database:
        yield f"USE {identifier(question.database)}"
    changes = [f"{_setting_name(name)} = {quote(value)}" for name, value in question.settings.items()]
    changes += [f"param_{_setting_name(name)} = {quote(value)}" for name, value in question.parameters.items()]
    if changes:
        yield "SET " + ", ".join(changes)


def _undo(connection: Any, question: Question) -> list[str]:
    """The statements that take the request's settings back from a session."""
    undo = []
    if question.database:
        undo.append(f"USE {identifier(_ask(connection, 'SELECT currentDatabase() FORMAT TSVRaw').rstrip())}")
    if question.settings:
        names = ", ".join(map(quote, question.settings))
        changed = f"SELECT name, value FROM system.settings WHERE changed AND name IN ({names})"  # noqa: S608 - quoted above
        rows = _ask(connection, changed)
        before = dict(row.split("\t", 1) for row in rows.splitlines())
        # values read as TSV are escaped the way a string literal is
        undo += [
            f"SET {_setting_name(name)} = " + (f"'{before[name]}'" if name in before else "DEFAULT")
            for name in question.settings
        ]
    return undo


def _setting_name(name: str) -> str:
    if not re.fullmatch(r"\w+", name, re.ASCII):
        raise ClickhouseError(115, "UNKNOWN_SETTING", f"Unknown setting '{name}'.")
    return name


def _run(connection: Any, statement: Statement, question: Question) -> Answer:
    if statement.data is not None:
        return _insert(connection, statement)
    form = statement.format or question.default_format
    if question.stream and statement.verb in {"SELECT", "WITH"} and form in STREAMED:
        stream = connection.send_query(statement.head.decode(errors="replace"), form)
        return Answer(format=form, body=_streamed(stream, stream.fetch()), summary={})
    result = connection._conn.query(statement.head, form)  # noqa: SLF001 - takes bytes where the wrapper wants text
    summary = {
        "read_rows": result.storage_rows_read(),
        "read_bytes": result.storage_bytes_read(),
        "written_rows": result.rows_written(),
        "written_bytes": result.bytes_written(),
        "result_rows": result.rows_read(),
        "result_bytes": result.bytes_read(),
    }
    body = result.bytes()
    has_result = bool(body) or statement.verb in {"SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS"}
    return Answer(format=form if has_result else None, body=_whole(body), summary=summary)


def _insert(connection: Any, statement: Statement) -> Answer:
    """Through a file in memory: what chdb streams in is thrown away without an error when a constraint, a view or the
    disk refuses it, and as part of the query's text it may be 256 KiB at most."""
    descriptor = os.memfd_create("insert")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(statement.data or b"")
        sql = from_file(statement.head, f"/proc/self/fd/{descriptor}", statement.format or "")
        written = connection._conn.query(sql, "TabSeparated")  # noqa: SLF001 - takes bytes where the wrapper wants text
    finally:
        os.close(descriptor)
    return Answer(
        format=None,
        body=_whole(b""),
        summary={"written_rows": written.rows_written(), "written_bytes": written.bytes_written()},
    )


def _whole(body: bytes) -> Generator[bytes]:
    yield body


def _streamed(stream: Any, first: Any) -> Generator[bytes]:
    """The blocks of a query from the `first`, which was fetched early: its error still has a status of its own."""
    with stream:  # leaving it early cancels the query
        chunk = first
        while chunk is not None:
            yield chunk.bytes()
            chunk = stream.fetch()


def _ask(connection: Any, sql: str) -> str:
    """A small result as text."""
    return str(connection.query(sql, "TabSeparated").bytes().decode())


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turns what chdb raises into a ClickhouseError."""
    try:
        yield
    except RuntimeError as error:
        raise clickhouse_error(str(error)) from error


def clickhouse_error(text: str) -> ClickhouseError:
    """What chdb says, as the error a server would send; chdb wraps some errors in copies of themselves."""
    found = re.search(r"Code: (\d+)\. DB::(?:\w+::)?Exception: (.*)", text, re.DOTALL)
    if not found:
        return ClickhouseError(1001, "STD_EXCEPTION", text)
    message = re.sub(r"\s*\(version [^()]*(?:\([^()]*\))?\)\.?\s*$", "", found[2])
    name = re.search(r"\s*\(([A-Z][A-Z0-9_]+)\)\s*$", message)
    if not name:
        return ClickhouseError(int(found[1]), "UNKNOWN_EXCEPTION", message)
    message = message[: name.start()]
    if message.startswith(f"Code: {found[1]}. DB::Exception: "):
        return clickhouse_error(message)
    return ClickhouseError(int(found[1]), name[1], message)
