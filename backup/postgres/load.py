"""An archive into a database: its schema, its rows over several connections while they are fetched, its indexes.

Nothing is kept on a disk: the schema and the indexes need no more of the archive than its first pieces, from a file in
memory, and the rows pass through (backup/postgres/fan.py). The server is touched before the last byte was checked, and
what it holds counts only when all were.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backup.errors import ArchiveError, StoppedError, TargetError
from backup.postgres.archive import Archive, ending, held, listed
from backup.postgres.child import Child, Ended
from backup.postgres.explain import one_line, remedy_for
from backup.postgres.fan import Fan, Table
from backup.postgres.login import password_file
from backup.postgres.target import Target

if TYPE_CHECKING:
    from psycopg import Connection

LEAST_JOBS, MOST_JOBS = 2, 8
ITEM = "pg_restore: launching item "
ERROR = "pg_restore: error: "
# From 17 on pg_restore begins with SET transaction_timeout, which an older server does not know and does not need.
UNKNOWN_SETTING = 'unrecognized configuration parameter "transaction_timeout"'
# None of this matters before the end, when the last commit makes all of it last.
FASTER = "-c synchronous_commit=off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """How it went: by how many connections, the rows the server took of each table, by schema and name, and seconds for
    the rows and for what came after them."""

    jobs: int
    rows: dict[tuple[str, str], int]
    rows_seconds: float
    indexes_seconds: float


class Loader:
    """One archive on its way into one database. `plain_bytes` is how much of it has come, `at` the table or index it is
    at; `entries` restricts it to some of the archive's entries, `options` are pg_restore's."""

    def __init__(
        self,
        archive: Archive,
        target: Target,
        database: str,
        *,
        reader_major: int,
        entries: Sequence[str] | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.plain_bytes = 0
        self.at = ""
        self._archive = archive
        self._target = target
        self._database = database
        self._entries = entries
        self._options = tuple(options)
        self._tolerant = reader_major >= 17 > target.major
        self._error = ""

    def run(self, stop: threading.Event, tell: Callable[[], object], jobs: int) -> Loaded:
        """Loads it by so many connections, calling `tell` several times a second.

        Raises ArchiveError, StoreError, TargetError, StoppedError; the database holds half of it then.
        """
        began = time.monotonic()
        self._restore(["--section=pre-data"], iter([self._archive.head]), stop, tell)
        rows = self._rows(stop, tell, jobs)
        loaded = time.monotonic()
        with held(self._archive.head) as descriptor:
            argv = ["--section=post-data", f"--jobs={jobs}", f"/proc/self/fd/{descriptor}"]
            self._restore(argv, None, stop, tell, (descriptor,))
        ended = time.monotonic()
        return Loaded(jobs=jobs, rows=rows, rows_seconds=loaded - began, indexes_seconds=ended - loaded)

    def _rows(self, stop: threading.Event, tell: Callable[[], object], jobs: int) -> dict[tuple[str, str], int]:
        """Every row, each byte of the dump checked. Gives how many the server took."""

        def at(table: Table) -> None:
            self.at = f"{table.schema}.{table.name}"

        with ExitStack() as stack:
            source = stack.enter_context(ending(self._counted(stop)))
            fan = stack.enter_context(closing(Fan(self._connect, jobs, at)))
            argv = [str(self._archive.program), "--section=data", "--file=-", *self._options]
            fds = []
            if self._entries is not None:
                fds = [stack.enter_context(listed(self._entries))]
                argv.append(f"--use-list=/proc/self/fd/{fds[0]}")
            child = Child(argv, source=source, pass_fds=fds, consume=fan.take)
            ended = child.run(stop, tell)
            label = self._archive.artifact.label
            if ended.code:
                said = one_line(" ".join(ended.said)) or f"exit code {ended.code}"
                raise ArchiveError(f"{label}: pg_restore cannot read it: {said}", "verify the restore point")
            for _ in source:  # what pg_restore had no use for is checked all the same
                pass
            return fan.rows

    def _connect(self) -> "Connection[tuple[Any, ...]]":
        connection = self._target.login.connect(self._database)
        connection.execute("SET synchronous_commit = off")
        return connection

    def _counted(self, stop: threading.Event) -> Iterator[bytes]:
        with ending(self._archive.plain()) as source:
            for data in source:
                if stop.is_set():
                    raise StoppedError("the restore was told to stop", "nothing half-done is left")
                yield data
                self.plain_bytes += len(data)

    def _restore(
        self,
        argv: Sequence[str],
        source: Iterator[bytes] | None,
        stop: threading.Event,
        tell: Callable[[], object],
        pass_fds: Sequence[int] = (),
    ) -> None:
        """One section by pg_restore itself. Raises TargetError."""
        quoted = self._database.replace("\\", "\\\\").replace("'", "\\'")
        with ExitStack() as stack:
            passfile = stack.enter_context(password_file(self._target.login.password))
            options = [f"--dbname=dbname='{quoted}'", "--no-password", "--verbose"]
            options += self._options
            options += [] if self._tolerant else ["--exit-on-error"]
            options += [] if self._target.has_tablespaces() else ["--no-tablespaces"]
            fds = [*pass_fds, *([passfile] if passfile is not None else [])]
            if self._entries is not None:
                fds.append(stack.enter_context(listed(self._entries)))
                options.append(f"--use-list=/proc/self/fd/{fds[-1]}")
            environ = self._target.login.environ(self._database, passfile)
            environ["PGOPTIONS"] = f"{environ.get('PGOPTIONS', '')} {FASTER}".strip()
            child = Child(
                [str(self._archive.program), *options, *argv],
                source=source,
                environ=environ,
                pass_fds=fds,
                hear=self._hear,
            )
            self._judge(child.run(stop, tell))

    def _hear(self, line: str) -> bool:
        """Whether it may go on after this line."""
        if line.startswith(ITEM):
            self.at = line.removeprefix(ITEM).partition(" ")[2]
        elif line.startswith(ERROR) and not (self._tolerant and UNKNOWN_SETTING in line):
            self._error = self._error or line.removeprefix(ERROR)
            return not self._tolerant  # told to exit on error it does so itself, having said why
        elif self._error and line.startswith(("DETAIL:", "HINT:", "CONTEXT:", "Command was:")):
            self._error += f" {line}"
        return True

    def _judge(self, ended: Ended) -> None:
        """Raises TargetError when pg_restore says that it did not bring all of it in."""
        if self._error or (ended.code and not self._tolerated(ended)):
            said = one_line(self._error or " ".join(ended.said[-3:])) or f"exit code {ended.code}"
            raise TargetError(f"{self._archive.artifact.label}: pg_restore failed: {said}", remedy_for(said))

    def _tolerated(self, ended: Ended) -> bool:
        return self._tolerant and ended.code == 1 and "errors ignored on restore" in ended.said[-1]


def job_count() -> int:
    """Connections to load with: one for each core that is ours, but two at least, since the server may have more."""
    return max(LEAST_JOBS, min(MOST_JOBS, len(os.sched_getaffinity(0))))
