"""ClickHouse: every database backed up by the server itself, straight into the store; we start, watch and check it.

One BACKUP for each database and not one for all: each is an artifact that fails, is restored and is let go by itself.
They are submitted side by side, within some tens of milliseconds.
"""

import contextlib
import secrets
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

from backup.clickhouse.check import CONTENTS, Checked, check
from backup.clickhouse.client import ClickhouseError, Server
from backup.clickhouse.explain import ALREADY_RUNNING
from backup.clickhouse.facts import Facts
from backup.clickhouse.look import choose, databases
from backup.clickhouse.native import KILLED_WAIT, Operation, Seen, State
from backup.clickhouse.place import ACCESS_FOLDER, Place, folder_of
from backup.clickhouse.preflight import Preflight
from backup.clickhouse.sql import name
from backup.errors import BackupError, SourceError, StoppedError, class_of
from backup.manifest import Artifact, Engine, Kind, rfc3339
from backup.progress import Expected, Progress
from backup.sources.base import Job

ACCESS = "access"
NOT_SEALED = (
    "ClickHouse writes its backup itself, so it is not sealed by us: whoever reads the bucket reads it; "
    "set server-side encryption on the bucket"
)
STOPPED_WAIT = 1.0
FIRST_LOOK, LONGEST_LOOK = 0.1, 1.0


@dataclass(slots=True, kw_only=True)
class _Task:
    """One backup on its way: what it is called, where it goes, and what was known when it began."""

    kind: Kind
    name: str
    what: str
    folder: str
    operation: Operation
    facts: Facts
    expected_bytes: int = 0
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    waiting: bool = False


class ClickhouseSource:
    """The server at CLICKHOUSE_URL in one run."""

    engine: Engine = "clickhouse"
    identity = ""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._settings = job.settings.clickhouse
        self._server: Server | None = None
        self._tasks: list[_Task] = []
        self._failed: list[Artifact] = []
        self._access_detail = ""
        self._prefix = job.prefix.rstrip("/")

    def prepare(self) -> tuple[str, ...]:
        """Looks at the server, and has it write a backup without rows to the store. Gives our backups' ids."""
        self._place = Place.of(self._job.settings.store, self._settings)
        self._job.mask.add([key for key in (self._place.secret_key,) if key])
        self._server = server = Server(self._settings, self._job.mask)
        chosen, missing, notes = choose(server, self._settings.databases)
        for note in notes:
            self._job.listener.note(note)
        for one in missing:
            error = SourceError(
                f'ClickHouse has no database "{one}"', "check BACKUP_CLICKHOUSE_DATABASES: names are case-sensitive"
            )
            self._fail("database", one, error)
        source = self._prefix.split("/", 1)[0]
        preflight = Preflight(server, self._place, self._job.storage, source, self._job.stop)
        refused = preflight.databases(chosen)
        engines = databases(server)
        for one in chosen:
            if one in refused:
                self._fail("database", one, refused[one])
            else:
                self._plan_database(server, one, engines.get(one, ""))
        self._plan_access(server, preflight)
        if not any(task.kind == "database" for task in self._tasks):
            raise self._nothing()
        if self._job.settings.seal.recipients:
            self._job.listener.note(NOT_SEALED)
        return tuple(task.operation.id for task in self._tasks)

    def open(self) -> None:
        """Submits every backup, side by side."""
        with ThreadPoolExecutor(max_workers=8, thread_name_prefix="clickhouse") as pool:
            errors = list(pool.map(self._submit, self._tasks))
        for task, error in list(zip(self._tasks, errors, strict=True)):
            if error is not None:
                self._tasks.remove(task)
                self._fail(task.kind, task.name, error)
        if not self._tasks:
            raise self._nothing()

    @property
    def moments(self) -> Sequence[float]:
        """When each backup was submitted. How long the server then took to fix what is in it, the artifact tells."""
        return [task.operation.submitted_at for task in self._tasks if not task.waiting]

    @property
    def expected(self) -> Sequence[Expected]:
        """The databases; users and roles are too small to be told of."""
        return [
            Expected(engine=self.engine, name=task.name, bytes=task.expected_bytes)
            for task in self._tasks
            if task.kind == "database"
        ]

    def run(self) -> Iterator[Artifact]:
        """Watches all of them, and checks each as it ends."""
        yield from self._failed
        pause = FIRST_LOOK
        while self._tasks:
            for task in list(self._tasks):
                artifact = self._advance(task)
                if artifact is not None:
                    self._tasks.remove(task)
                    yield artifact
            self._job.stop.wait(pause)
            pause = min(pause * 1.3, LONGEST_LOOK)

    def close(self) -> None:
        """Kills what still runs and lets go of the connections."""
        if self._server is None:
            return
        for task in self._tasks:
            task.operation.kill()
        self._server.close()

    def _plan_database(self, server: Server, database: str, engine: str) -> None:
        facts = Facts(server, database, engine)
        self._plan("database", database, f"DATABASE {name(database)}", folder_of(database), facts)

    def _plan_access(self, server: Server, preflight: Preflight) -> None:
        tables, why = preflight.access()
        self._access_detail = "; ".join(why)
        if why:
            self._job.listener.note(f"not in the backup of ClickHouse: {self._access_detail}")
        if tables:
            what = ", ".join(f"TABLE system.{one}" for one in tables)
            self._plan("globals", ACCESS, what, ACCESS_FOLDER, Facts(server, "", ""))

    def _plan(self, kind: Kind, called: str, what: str, folder: str, facts: Facts) -> None:
        server = self._require()
        key = f"{self._prefix}/{folder}"
        operation = Operation(
            server,
            id=f"watchkeeper-{self._job.point}-{secrets.token_hex(4)}",
            of=f"the backup of {self._label(kind, called)}",
            stop=self._job.stop,
            stall_seconds=self._job.settings.dump.stall_seconds,
            ended_well=lambda: self._job.storage.stat(f"{key}/{CONTENTS}") is not None,
        )
        self._tasks.append(
            _Task(
                kind=kind,
                name=called,
                what=what,
                folder=folder,
                operation=operation,
                facts=facts,
                expected_bytes=facts.bytes,
            )
        )

    def _submit(self, task: _Task) -> SourceError | None:
        """Submits one; where the server takes one at a time, it waits for its turn."""
        task.started = datetime.now(UTC)
        task.waiting = False
        key = f"{self._prefix}/{task.folder}"
        try:
            task.operation.submit(f"BACKUP {task.what} TO {self._place.at(key)}")
        except ClickhouseError as error:
            if error.code != ALREADY_RUNNING:
                return error
            task.waiting = True
        except SourceError as error:
            return error
        return None

    def _advance(self, task: _Task) -> Artifact | None:
        """One look at one backup. Its artifact when it has ended, whole or failed."""
        try:
            if task.waiting:
                return self._take_turn(task)
            seen = task.operation.look()
            if task.operation.found_at is not None:
                task.facts.look_again()
            if seen.state is State.RUNNING:
                self._tell(task, seen)
                return None
            checked = check(self._job.storage, f"{self._prefix}/{task.folder}", database=task.name)
            return self._whole(task, checked)
        except StoppedError:
            self._give_up()
            raise
        except BackupError as error:
            self._remove(task, KILLED_WAIT)
            return self._failure(task.kind, task.name, error, task.started)

    def _take_turn(self, task: _Task) -> Artifact | None:
        if self._job.stop.is_set():
            raise StoppedError("told to stop")
        if any(other.operation.running for other in self._tasks):
            return None
        if (error := self._submit(task)) is not None:
            return self._failure(task.kind, task.name, error, task.started)
        if task.waiting and time.monotonic() - task.operation.submitted_at < 1:
            self._job.stop.wait(1.0)
        return None

    def _tell(self, task: _Task, seen: Seen) -> None:
        self._job.listener.progress(
            Progress(
                engine=self.engine,
                name=task.name,
                plain_bytes=seen.moved_bytes,
                stored_bytes=seen.moved_bytes,
                expected_bytes=max(task.expected_bytes, seen.total_bytes),
            )
        )

    def _whole(self, task: _Task, checked: Checked) -> Artifact:
        operation = task.operation
        detail = task.facts.detail(checked) if task.kind == "database" else {}
        detail |= {"folder": task.folder, "id": operation.id, "what": task.what, "objects": checked.objects}
        detail |= {"files": checked.files, "sealed": False, "access": self._access_detail}
        if operation.found_at is not None:
            # The cut lies between the submission and the first time that the server told of files.
            detail["cut_within_seconds"] = round(operation.found_at - operation.submitted_at, 3)
        return Artifact(
            engine=self.engine,
            kind=task.kind,
            name=task.name,
            status="whole",
            server=self._require().version,
            tool=f"ClickHouse {self._require().version} BACKUP",
            started_at=rfc3339(task.started),
            ended_at=rfc3339(datetime.now(UTC)),
            plain_bytes=checked.plain_bytes,
            stored_bytes=checked.stored_bytes,
            tables=task.facts.tables(checked, self._job.storage, f"{self._prefix}/{task.folder}"),
            detail=detail,
        )

    def _fail(self, kind: Kind, called: str, error: BackupError) -> None:
        self._failed.append(self._failure(kind, called, error, datetime.now(UTC)))

    def _failure(self, kind: Kind, called: str, error: BackupError, started: datetime) -> Artifact:
        return Artifact(
            engine=self.engine,
            kind=kind,
            name=called,
            status="failed",
            server=self._server.version if self._server else "",
            started_at=rfc3339(started),
            ended_at=rfc3339(datetime.now(UTC)),
            error=self._job.mask.clean(str(error)),
            detail=class_of(error),
        )

    def _nothing(self) -> SourceError:
        if len(self._failed) == 1:
            return SourceError(self._failed[0].error)
        return SourceError("no ClickHouse database can be backed up: " + " · ".join(one.error for one in self._failed))

    def _give_up(self) -> None:
        """Told to stop: everything is killed at once, and removed as far as a second goes; the rest is the sweep's."""
        for task in self._tasks:
            task.operation.kill()
        deadline = time.monotonic() + STOPPED_WAIT
        for task in self._tasks:
            if time.monotonic() < deadline:
                self._remove(task, max(0.0, deadline - time.monotonic()))

    def _remove(self, task: _Task, wait: float) -> None:
        """Removes what a failed backup left, once the server writes no more: it would go on in a removed folder."""
        if not task.operation.kill(wait=wait):
            return
        with contextlib.suppress(BackupError):
            prefix = f"{self._prefix}/{task.folder}/"
            self._job.storage.delete([stored.key for stored in self._job.storage.list(prefix)])

    def _require(self) -> Server:
        if self._server is None:
            raise SourceError("ClickHouse has not been connected to")
        return self._server

    @staticmethod
    def _label(kind: Kind, called: str) -> str:
        return f'ClickHouse database "{called}"' if kind == "database" else "ClickHouse's users and roles"
