"""PostgreSQL: every database under a snapshot of one moment, dumped one after the other, and the roles."""

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from backup.errors import BackupError, SourceError, StalledError, StoppedError
from backup.layout import globals_folder, postgres_folder
from backup.manifest import Artifact, Engine, Kind
from backup.postgres.clients import Client, choose, companion, installed
from backup.postgres.dump import Dump, Dumped, Limits
from backup.postgres.explain import remedy_for
from backup.postgres.login import Login, password_file
from backup.postgres.look import Look
from backup.postgres.results import Results
from backup.postgres.server import refuse_pooler, survey
from backup.postgres.snapshot import Snapshot
from backup.progress import Expected, Progress
from backup.sources.base import Job
from backup.stream import PieceWriter

GLOBALS = "globals"
# Seconds for taking pieces back, when we were told to stop and otherwise.
STOPPED_WAIT = 1.5
FAILED_WAIT = 30.0


class PostgresSource:
    """The server at DATABASE_URL or BACKUP_DATABASE_URL in one run."""

    engine: Engine = "postgres"

    def __init__(self, job: Job) -> None:
        self._job = job
        self._settings = job.settings.postgres
        self._snapshots: list[Snapshot] = []
        self._failed: list[Artifact] = []
        self._count_left = self._settings.count_seconds
        self._closing = contextlib.ExitStack()
        self._passfile: int | None = None

    @property
    def identity(self) -> str:
        """PostgreSQL's system_identifier, "" when this role may not know it."""
        return self._server.identifier

    @property
    def moments(self) -> Sequence[float]:
        """When each snapshot was taken."""
        return [snapshot.taken for snapshot in self._snapshots]

    @property
    def expected(self) -> Sequence[Expected]:
        """The databases; the roles are too small to be told of."""
        return [
            Expected(engine=self.engine, name=snapshot.database, bytes=snapshot.expected_bytes)
            for snapshot in self._snapshots
        ]

    def prepare(self) -> tuple[str, ...]:
        """Looks at the server, chooses pg_dump, and opens a connection to each database."""
        url = self._settings.url
        if url is None:
            raise SourceError("no PostgreSQL is named", "set DATABASE_URL")
        self._login = Login.read(url, self._settings.url_variable)
        if self._login.password:
            self._job.mask.add([self._login.password])
        clients = installed(self._settings.clients)
        self._server = survey(self._login, self._settings.databases)
        pooled = refuse_pooler(self._login, self._server)
        self._client = choose(clients, self._server.major)
        self._reader = companion(clients, self._client, "pg_restore")
        self._dumpall = companion(clients, self._client, "pg_dumpall")
        self._results = Results(
            server=self._server.version,
            tool=self._client.version,
            recipients=self._job.settings.seal.recipients,
            clean=self._clean,
        )
        self._note(*self._login.notes, *self._server.notes, *([pooled] if pooled else ()), *self._about(self._client))
        for name in self._server.missing:
            error = SourceError(f'there is no database "{name}"', "check BACKUP_DATABASES, which names it")
            self._fail("database", name, error)
        for name in self._server.databases:
            self._connect(name)
        if not self._snapshots:
            raise self._nothing()
        self._passfile = self._closing.enter_context(password_file(self._login.password))
        return ()

    def open(self) -> None:
        """Takes every snapshot, a round trip each."""
        for snapshot in list(self._snapshots):
            try:
                snapshot.take()
            except SourceError as error:
                self._snapshots.remove(snapshot)
                snapshot.close()
                self._fail("database", snapshot.database, error)
        if not self._snapshots:
            raise self._nothing()
        self._end = min(self.moments) + self._settings.longest_seconds

    def run(self) -> Iterator[Artifact]:
        """Dumps each database, then the roles."""
        yield from self._failed
        for position, snapshot in enumerate(self._snapshots):
            yield self._dump(snapshot, len(self._snapshots) - position)
            snapshot.close()
        yield self._globals()

    def close(self) -> None:
        """Ends the snapshots."""
        for snapshot in self._snapshots:
            snapshot.close()
        self._closing.close()

    def _connect(self, name: str) -> None:
        if self._job.stop.is_set():
            raise StoppedError("the backup was told to stop")
        try:
            self._snapshots.append(Snapshot(self._login, name))
        except SourceError as error:
            self._fail("database", name, error)

    def _dump(self, snapshot: Snapshot, left: int) -> Artifact:
        """One database's artifact, whole or failed."""
        started = datetime.now(UTC)
        look: Look | None = None
        try:
            with self._writing(postgres_folder(snapshot.database, sealed=self._sealed)) as writer:
                dump = self._start(self._pg_dump(snapshot), snapshot.database, writer)
                look = Look(snapshot, dump, self._count_left / left, self._job.stop)
                dumped = self._wait(dump, snapshot, writer, look)
                facts = look.result(self._job.stop)
        except StoppedError:
            raise
        except BackupError as error:
            return self._results.failed("database", snapshot.database, self._with_locks(error, snapshot), started)
        finally:
            if look:
                self._count_left = max(0.0, self._count_left - look.seconds)
        detail = facts.detail if facts else {}
        detail |= {"snapshot_seconds": round(time.monotonic() - snapshot.taken, 3), "warnings": list(dumped.warnings)}
        if facts is None:
            detail["uncounted"] = self._clean(look.error)
        return self._results.whole(
            "database",
            snapshot.database,
            dumped,
            started,
            tables=facts.tables if facts else (),
            extensions=facts.extensions if facts else {},
            detail=detail,
        )

    def _wait(self, dump: Dump, snapshot: Snapshot, writer: PieceWriter, look: Look) -> Dumped:
        def tell() -> None:
            look.check()
            self._job.listener.progress(
                Progress(
                    engine=self.engine,
                    name=snapshot.database,
                    plain_bytes=dump.plain_bytes,
                    stored_bytes=writer.stored_bytes,
                    expected_bytes=snapshot.expected_bytes,
                    table=dump.table,
                )
            )

        try:
            limits = Limits(stall_seconds=self._job.settings.dump.stall_seconds, end=self._end)
            return dump.run(limits, self._job.stop, tell)
        finally:
            dump.close()

    def _globals(self) -> Artifact:
        """Roles and tablespaces; passwords only where the point is sealed and the role may read them."""
        started = datetime.now(UTC)
        ways = [False, True] if self._sealed else [True]
        for without_passwords in ways:
            try:
                dumped = self._dump_globals(without_passwords)
            except StoppedError:
                raise
            except BackupError as error:
                if without_passwords == ways[-1]:
                    return self._results.failed("globals", GLOBALS, error, started)
                self._note("role passwords are not in this backup: only a superuser may read them")
            else:
                detail = {"role_passwords": not without_passwords, "warnings": list(dumped.warnings)}
                return self._results.whole("globals", GLOBALS, dumped, started, detail=detail)
        raise AssertionError("the last way returns")

    def _dump_globals(self, without_passwords: bool) -> Dumped:
        if self._dumpall is None:
            raise SourceError("no pg_dumpall is installed", "install the whole PostgreSQL client")
        quoted = self._login.database.replace("\\", "\\\\").replace("'", "\\'")
        # Given as a connection string, any name is taken as it is; "postgres" need not exist or let us in.
        argv = [str(self._dumpall), "--globals-only", "--no-password", f"--database=dbname='{quoted}'"]
        argv += ["--no-role-passwords"] if without_passwords else []
        with self._writing(globals_folder(sealed=self._sealed)) as writer:
            dump = Dump(argv, self._environ(self._login.database), writer, of="the roles", pass_fds=self._pass_fds)
            try:
                # No snapshot is needed for them, so that however late it is they are taken.
                limits = Limits(stall_seconds=self._job.settings.dump.stall_seconds, end=math.inf)
                return dump.run(limits, self._job.stop, lambda: None)
            finally:
                dump.close()

    def _pg_dump(self, snapshot: Snapshot) -> list[str]:
        return [
            str(self._client.program("pg_dump")),
            "--format=custom",
            "--compress=0",
            "--verbose",
            "--no-password",
            f"--snapshot={snapshot.id}",
            f"--lock-wait-timeout={int(self._settings.lock_wait_seconds * 1000)}",
        ]

    def _start(self, argv: list[str], database: str, writer: PieceWriter) -> Dump:
        try:
            return Dump(
                argv,
                self._environ(database),
                writer,
                of=f'database "{database}"',
                reader=self._reader,
                pass_fds=self._pass_fds,
            )
        except OSError as error:
            raise SourceError(
                f"{argv[0]} does not start: {error.strerror}", "reinstall the PostgreSQL client"
            ) from None

    @contextlib.contextmanager
    def _writing(self, folder: str) -> Iterator[PieceWriter]:
        """A writer whose pieces are taken back on any failure; being stopped, for a second and a half: what is left
        then is the sweep's."""
        writer = PieceWriter(
            self._job.storage,
            self._job.prefix,
            folder,
            recipients=self._job.settings.seal.recipients,
            level=self._job.settings.dump.level,
        )
        try:
            yield writer
        except BaseException as error:
            # Where the store stood still, it is not waited for once more.
            writer.abort(wait=STOPPED_WAIT if isinstance(error, StoppedError | StalledError) else FAILED_WAIT)
            raise

    @property
    def _sealed(self) -> bool:
        return bool(self._job.settings.seal.recipients)

    @property
    def _pass_fds(self) -> tuple[int, ...]:
        return () if self._passfile is None else (self._passfile,)

    def _environ(self, database: str) -> dict[str, str]:
        return self._login.environ(database, self._passfile)

    def _with_locks(self, error: BackupError, snapshot: Snapshot) -> BackupError:
        """The error, naming who holds the table where it was about a lock."""
        if error.remedy != remedy_for("lock timeout"):
            return error
        holders = snapshot.locked()
        return SourceError(f"{error.what}; {holders}" if holders else error.what, error.remedy)

    def _about(self, client: Client) -> Iterator[str]:
        if client.major != self._server.major:
            yield (
                f"PostgreSQL {self._server.version} is dumped by pg_dump {client.version}, the next newer that is "
                f"installed; an older server may refuse a line of such a dump: "
                f"install postgresql-client-{self._server.major}"
            )
        if self._reader is None:
            yield "no pg_restore is installed, so that the dumps are not read on their way"

    def _fail(self, kind: Kind, name: str, error: BackupError) -> None:
        self._failed.append(self._results.failed(kind, name, error, datetime.now(UTC)))

    def _nothing(self) -> SourceError:
        if not self._failed:
            return SourceError("the server has no database to back up", "check BACKUP_DATABASES and DATABASE_URL")
        what, _, remedy = self._failed[0].error.partition("; ")
        return SourceError(what, remedy)

    def _clean(self, text: str) -> str:
        return self._job.mask.clean(text)

    def _note(self, *texts: str) -> None:
        for text in texts:
            self._job.listener.note(self._clean(text))
