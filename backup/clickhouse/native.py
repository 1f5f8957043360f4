"""One BACKUP or RESTORE on the server: submitted, watched by our own id, ended.

ClickHouse knows its operations only in memory: a row that is gone, or an uptime that fell, means that it died over it.
What moves while one runs is in its query's own counters in system.processes; system.backups shows bytes at the end.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from backup.clickhouse.client import ClickhouseError, Server, UnreachableError
from backup.clickhouse.explain import explain
from backup.clickhouse.sql import text
from backup.errors import DumpError, SourceError, StalledError, StoppedError

# ClickHouse repeats a request to S3 a thousand times by default, which takes hours to say that the store is down.
FEW_RETRIES: dict[str, object] = {
    "backup_restore_s3_retry_attempts": 5,
    "s3_retry_attempts": 5,
    "s3_max_single_read_retries": 4,
    "backup_restore_keeper_max_retries": 20,
}
# A test before the run need not outlast a busy store.
FEWEST_RETRIES: dict[str, object] = FEW_RETRIES | {
    "backup_restore_s3_retry_attempts": 2,
    "s3_retry_attempts": 2,
    "s3_connect_timeout_ms": 3000,
    "s3_request_timeout_ms": 10_000,
}
# Counters that stand still when nothing is done; attempts and errors are not among them, they move while all fails.
WRITTEN = ("WriteBufferFromS3Bytes",)
READ = ("ReadBufferFromS3Bytes",)
MOVES = (
    *("S3PutObject", "S3UploadPart", "S3CopyObject", "S3UploadPartCopy", "S3CompleteMultipartUpload"),
    *("WriteBufferFromS3Bytes", "ReadBufferFromS3Bytes", "ReadBufferFromFileDescriptorReadBytes"),
    "WriteBufferFromFileDescriptorWriteBytes",
)
FIRST_LOOK, LONGEST_LOOK = 0.1, 2.0
KILLED_WAIT = 10.0


class State(Enum):
    """How far an operation is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An operation at one look. `files` and `total_bytes` are what it has found to do, `moved_bytes` what it has moved
    to or from the store."""

    state: State
    error: str = ""
    files: int = 0
    total_bytes: int = 0
    moved_bytes: int = 0
    counters: tuple[int, ...] = ()


class Operation:
    """One operation, not yet submitted. `verb` is BACKUP or RESTORE, `of` names it for people; `ended_well` tells,
    when the server has forgotten it, whether it had come to its end.

    Its methods raise ClickhouseError, UnreachableError, DumpError, StalledError, StoppedError.
    """

    def __init__(
        self,
        server: Server,
        *,
        id: str,  # noqa: A002  # ClickHouse's own word for it
        of: str,
        stop: threading.Event,
        stall_seconds: float,
        ended_well: Callable[[], bool] = lambda: False,
    ) -> None:
        self.id = id
        self._server = server
        self._of = of
        self._stop = stop
        self._stall = stall_seconds
        self._ended_well = ended_well
        self._query_id = ""
        self._submitted = False
        self._last = Seen(state=State.RUNNING)
        self._moved_at = self._heard_at = time.monotonic()
        self._started_before = 0.0
        self.submitted_at = 0.0
        self.found_at: float | None = None

    @property
    def running(self) -> bool:
        """Whether it was submitted and has not been seen to end."""
        return self._submitted and self._last.state is State.RUNNING

    def submit(self, statement: str, **settings: object) -> None:
        """Starts it. `statement` ends before SETTINGS; `settings` are the operation's own, such as structure_only."""
        chosen = {"id": text(self.id)} | {name: str(value) for name, value in settings.items()}
        written = ", ".join(f"{name} = {value}" for name, value in chosen.items())
        self.submitted_at = self._moved_at = self._heard_at = time.monotonic()
        self._submitted = True  # an answer that is lost on its way does not mean that it did not start
        try:
            self._server.run(
                f"{statement} SETTINGS {written} ASYNC", of=self._of, settings=FEW_RETRIES, query_id=self.id
            )
        except ClickhouseError:
            self._submitted = False
            raise

    def look(self) -> Seen:
        """How far it is. A server that does not answer is waited for as long as one that does nothing."""
        if self._stop.is_set():
            self.kill()
            raise StoppedError("told to stop")
        now = time.monotonic()
        try:
            seen = self._ask()
        except UnreachableError as error:
            if now - self._heard_at > self._stall:
                raise SourceError(f"{self._of}: {error.what}, for {self._stall:.0f} s", error.remedy) from None
            return self._last
        self._heard_at = now
        if seen.files and self.found_at is None:
            self.found_at = now
        if seen.counters != self._last.counters or seen.files != self._last.files:
            self._moved_at = now
        self._last = seen
        if seen.state is State.RUNNING and now - self._moved_at > self._stall:
            self.kill()
            raise StalledError(
                f"{self._of}: nothing has moved for {self._stall:.0f} s",
                "see whether ClickHouse and the store are overloaded; BACKUP_STALL_SECONDS says how long to wait",
            )
        if seen.state is State.FAILED:
            explained = explain(seen.error, self._server.mask)
            raise DumpError(f"{self._of}: {explained.said or 'it failed'}", explained.remedy)
        return seen

    def wait(self, tell: Callable[[Seen], None] = lambda _: None) -> Seen:
        """Looks at it until it is done; `tell` hears of every look."""
        pause = FIRST_LOOK
        while True:
            seen = self.look()
            tell(seen)
            if seen.state is State.DONE:
                return seen
            self._stop.wait(pause)
            pause = min(pause * 1.5, LONGEST_LOOK)

    def kill(self, *, wait: float = 0.0) -> bool:
        """Tells the server to end it. Gives whether it is known to have ended within `wait` seconds. Never raises."""
        if not self.running:
            return True
        self._server.kill(self.id, self._query_id)
        end = time.monotonic() + wait
        while True:
            if has_ended(self._server, self.id):
                self._submitted = False
                return True
            if time.monotonic() >= end:
                return False
            time.sleep(0.1)

    def _ask(self) -> Seen:
        row = find(self._server, self.id)
        if row is None:
            return self._forgotten()
        self._query_id = str(row.get("query_id", ""))
        status = str(row["status"])
        files, total = int(row.get("num_files", 0)), int(row.get("total_size", 0))
        if status in {"BACKUP_CREATED", "RESTORED"}:
            return Seen(state=State.DONE, files=files, total_bytes=total, moved_bytes=total)
        if status not in {"CREATING_BACKUP", "RESTORING"}:
            return Seen(state=State.FAILED, error=str(row.get("error") or status))
        counters = self._counters()
        names = WRITTEN if status == "CREATING_BACKUP" else READ
        return Seen(
            state=State.RUNNING,
            files=files,
            total_bytes=total,
            moved_bytes=min(sum(counters.get(name, 0) for name in names), total or 1 << 62),
            counters=tuple(counters.get(name, 0) for name in MOVES)
            + tuple(int(row.get(name, 0)) for name in ("num_entries", "bytes_read", "files_read")),
        )

    def _counters(self) -> dict[str, int]:
        found = self._server.rows(
            "SELECT ProfileEvents AS counters FROM system.processes WHERE query_id IN ({one:String}, {other:String})",
            {"one": self.id, "other": self._query_id},
        )
        return {str(name): int(value) for row in found for name, value in dict(row["counters"]).items()}

    def _forgotten(self) -> Seen:
        """The server knows nothing of it: it has started anew meanwhile."""
        if self._ended_well():
            return Seen(state=State.DONE, files=self._last.files, total_bytes=self._last.total_bytes)
        return Seen(
            state=State.FAILED,
            error=f"ClickHouse was restarted {self._server.uptime()} s ago and no longer knows of it; it had not ended",
        )


def find(server: Server, id: str) -> dict[str, Any] | None:  # noqa: A002  # ClickHouse's own word for it
    """The row of system.backups, whose columns differ between versions, or None when the server knows none."""
    found = server.rows(
        "SELECT * EXCEPT (name, base_backup_name) FROM system.backups WHERE id = {id:String}", {"id": id}
    )
    return found[0] if found else None


def has_ended(server: Server, id: str) -> bool:  # noqa: A002  # ClickHouse's own word for it
    """Whether the operation with our id no longer runs. False when the server does not answer. Never raises."""
    try:
        row = find(server, id)
    except SourceError:
        return False
    return row is None or row["status"] not in {"CREATING_BACKUP", "RESTORING"}


def end(server: Server, id: str, *, wait: float = KILLED_WAIT) -> bool:  # noqa: A002  # ClickHouse's own word
    """For a sweep: whether the operation of a dead run has ended; one that still runs is killed first. Never raises."""
    deadline = time.monotonic() + wait
    if has_ended(server, id):
        return True
    try:
        row = find(server, id)
    except SourceError:
        return False
    server.kill(id, str((row or {}).get("query_id", "")))
    while not has_ended(server, id):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
