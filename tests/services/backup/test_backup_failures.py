"""Failures of a whole run: each ends in a clear error with its remedy, and nothing is half listed.

What one part does when something fails is tested beside that part: pg_dump's end, slots, locks and stalls in
postgres/test_backup_postgres_trouble.py, ClickHouse's in clickhouse/test_backup_clickhouse_trouble.py, single requests
in test_backup_storage_faults.py.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from psycopg import sql

from backup.catalog import Catalog
from backup.errors import SourceError
from backup.lease import Lease
from backup.manifest import MANIFEST, PROOF, RECOVERY, RUN, Artifact
from backup.orders import Orders, Report
from backup.owner import Owner
from backup.progress import Expected, Progress
from backup.run import take
from backup.sources.base import Job
from backup.sources.table import SOURCES
from backup.storage.base import Storage
from backup.storage.folder import FolderStorage
from backup.storage.s3 import S3Storage
from backup.sweep import prune
from backup.verify import Task, verify
from config.backup_settings import BackupSettings, RetentionSettings
from config.backup_store import StoreSettings
from config.env import Env
from config.logs import Mask
from demo.clickhouse import Clickhouse
from demo.ports import free_port
from demo.postgres import Postgres
from demo.seaweedfs import Seaweedfs


class Deaf:
    """A listener that does nothing."""

    def started(self, point: str, expected: Any) -> None: ...

    def progress(self, progress: Progress) -> None: ...

    def ended(self, artifact: Artifact) -> None: ...

    def note(self, text: str) -> None: ...


@dataclass
class Database:
    """A small database on the shared server."""

    server: Postgres
    name: str
    warm: Any

    @property
    def url(self) -> str:
        return f"postgresql://postgres:{self.server.superuser_password}@{self.server.host}:{self.server.port}/postgres"

    def run(self, query: str, database: str = "") -> list[Any]:
        """The rows of a query."""
        with self.server.connect(database or self.name) as connection:
            cursor = connection.execute(sql.SQL(query))
            return cursor.fetchall() if cursor.description else []

    def settings(self, store: StoreSettings) -> BackupSettings:
        """For a run of it alone."""
        read = BackupSettings.read(Env({"DATABASE_URL": self.url, "BACKUP_DATABASES": self.name}))
        return replace(read, store=store)

    def take(self, storage: Storage, store: StoreSettings, sources: Mapping[Any, Any] = SOURCES) -> Report:
        """A run."""
        return take(self.settings(store), storage, Orders(listener=Deaf(), environ={}, mask=Mask(), sources=sources))

    def program(self, *words: str, folder: Path, **environ: str) -> tuple[int, str]:
        """`python -m backup …` and all it wrote."""
        told = {"PATH": os.environ["PATH"], "DATABASE_URL": self.url, "BACKUP_DATABASES": self.name, **environ}
        child = self.warm.start(words, told, folder)
        out, err = child.communicate(timeout=100)
        assert "Traceback" not in err, err
        return child.returncode, out + err


@pytest.fixture
def database(postgres: Postgres, warm: Any) -> Iterator[Database]:
    """One table of a hundred rows, and a megabyte that does not compress."""
    made = Database(postgres, f"fail_{uuid4().hex[:10]}", warm)
    made.run(f"CREATE DATABASE {made.name} STRATEGY file_copy", "postgres")
    made.run("CREATE TABLE t AS SELECT n, 'word ' || n AS word FROM generate_series(1, 100) n")
    made.run("CREATE TABLE noise AS SELECT sha512(n::text::bytea) FROM generate_series(1, 16000) n")
    yield made
    for (name,) in made.run(f"SELECT datname FROM pg_database WHERE starts_with(datname, '{made.name}')", "postgres"):
        made.run(f"DROP DATABASE {name} WITH (FORCE)", "postgres")


def impatient(settings: StoreSettings) -> S3Storage:
    """A store that is asked twice, in quick succession."""
    return S3Storage(settings, attempts=2, first_delay=0.01)


def unlisted(storage: Storage) -> set[str]:
    """Objects that no listed point names."""
    known = set()
    for point in Catalog(storage, "default").points():
        known |= {point.prefix + name for name in (MANIFEST, RUN, RECOVERY, PROOF)}
        known |= {point.prefix + piece.key for one in point.whole() for piece in one.pieces}
    return {stored.key for stored in storage.list("")} - known


def all_good(storage: Storage, clients: Path | None = None) -> int:
    """How many points are listed, each of which verifies."""
    points = Catalog(storage, "default").points()
    for point in points:
        found = verify(point, Task(storage=storage, listener=Deaf(), clients=clients))
        assert not [proof.error for proof in found.values() if proof.error]
    return len(points)


FAULTS: list[dict[str, Any]] = [
    {"status": 500, "code": "InternalError"},
    {"status": 503, "code": "SlowDown"},
    {"status": 507, "code": "XMinioStorageFull"},
    {"how": "reset"},
]


# A run whose store is asked twice, in quick succession. It ends with its process: nobody holds its lease then.
IMPATIENT = """
import os, sys
from backup.command_run import read_settings
from backup.errors import BackupError
from backup.progress import Lines
from backup.run import take
from backup.orders import Orders
from backup.storage.s3 import S3Storage
from config.env import Env
from config.logs import Mask

settings, _ = read_settings(Env(os.environ))
storage = S3Storage(settings.store, attempts=2, first_delay=0.01)
try:
    report = take(settings, storage, Orders(listener=Lines(open(os.devnull, "w")), environ={}, mask=Mask()))
    print("; ".join(report.errors))
    sys.exit(report.exit_code)
except BackupError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize("kind", FAULTS, ids=["500", "503", "full", "reset"])
def test_a_store_that_fails_from_some_request_on(
    database: Database, proxy: Any, proxied: StoreSettings, fault: Any, tmp_path: Path, kind: dict[str, Any]
) -> None:
    """A full store takes no more writes; the others answer nothing more. Once it is well, the next run cleans up."""
    storage = impatient(proxied)
    database.take(storage, proxied)
    length = len(proxy.seen)
    environ = {
        "MINIO_ENDPOINT": proxied.endpoint,
        "MINIO_ACCESS_KEY": seen(proxied.access_key),
        "MINIO_SECRET_KEY": seen(proxied.secret_key),
        "BACKUP_PREFIX": proxied.prefix,
    }
    made, full = fault(**kind), kind.get("status") == 507
    points = 1
    for share in (0.45, 0.7, 0.9):
        first = len(proxy.seen) + int(share * length)
        proxy.faults = lambda count, method, _, first=first: (
            made if count >= first and (not full or method == "PUT") else None
        )
        code, out = database.program("-c", IMPATIENT, folder=tmp_path, **environ)
        proxy.faults = lambda *_: None
        listed = len(Catalog(storage, "default").points())
        # The very last requests, which give the lease back, may fail without a word.
        assert (code, listed) in ((1, points), (0, points + 1)), out
        assert code == 0 or "; " in out, "no remedy"
        points = listed
    assert points < 4, "nothing failed"
    assert database.program("-c", IMPATIENT, folder=tmp_path, **environ)[0] == 0
    assert unlisted(storage) == set()
    assert all_good(storage) == points + 1
    storage.close()


def seen(secret: Any) -> str:
    """A test server's key."""
    return str(secret.reveal())


def test_a_store_that_fails_once_at_any_request_costs_nothing(
    database: Database, proxy: Any, proxied: StoreSettings, fault: Any
) -> None:
    storage = impatient(proxied)
    database.take(storage, proxied)
    length = len(proxy.seen)
    kinds: list[dict[str, Any]] = [*FAULTS[:2], {"how": "reset"}, {"how": "after"}]
    taken = 1
    for turn, at in enumerate(range(3, length, 5)):
        made, start = fault(**kinds[turn % len(kinds)]), len(proxy.seen)
        proxy.faults = lambda count, *_, made=made, at=start + at: made if count == at else None
        report = database.take(storage, proxied)
        assert report.errors == (), f"request {at}"
        taken += 1
    proxy.faults = lambda *_: None
    assert all_good(storage) == taken
    assert unlisted(storage) == set()
    storage.close()


def denied(fault: Any, *methods: str) -> Callable[[int, str, str], Any]:
    made = fault(status=403, code="AccessDenied")
    return lambda _, method, __: made if method in methods else None


@pytest.mark.parametrize(
    ("variables", "methods", "says"),
    [
        ({"MINIO_SECRET_KEY": "canary-wrong-secret"}, (), "the secret key is wrong; check MINIO_SECRET_KEY"),
        ({"BACKUP_BUCKET": "missing-bucket"}, ("PUT",), "make the bucket missing-bucket, or correct BACKUP_BUCKET"),
        ({}, ("PUT", "POST", "DELETE"), "allow it list, get, put and delete in the bucket backups"),
    ],
    ids=["wrong key", "missing bucket", "read-only key"],
)
def test_what_the_store_does_not_allow(
    database: Database,
    proxy: Any,
    seaweedfs: Seaweedfs,
    fault: Any,
    tmp_path: Path,
    variables: dict[str, str],
    methods: tuple[str, ...],
    says: str,
) -> None:
    proxy.faults = denied(fault, *methods)
    prefix = f"denied-{uuid4().hex[:8]}"
    environ = seaweedfs.environ() | {"MINIO_ENDPOINT": f"127.0.0.1:{proxy.port}", "BACKUP_PREFIX": prefix} | variables
    code, out = database.program("run", folder=tmp_path, **environ)
    assert code == 1, out
    assert says in out
    assert f"the store at http://127.0.0.1:{proxy.port}" in out
    assert "canary" not in out
    assert list(seaweedfs.client().list_objects(bucket_name="backups", prefix=prefix, recursive=True)) == []


def test_clickhouse_that_cannot_reach_the_store_costs_postgresql_nothing(
    database: Database, seaweedfs: Seaweedfs, clickhouse: Clickhouse, tmp_path: Path
) -> None:
    environ = seaweedfs.environ() | clickhouse.environ() | {"BACKUP_PREFIX": f"reach-{uuid4().hex[:8]}"}
    code, out = database.program(
        "run", folder=tmp_path, CLICKHOUSE_S3_ENDPOINT=f"http://127.0.0.1:{free_port()}", **environ
    )
    assert code == 1
    assert "set CLICKHOUSE_S3_ENDPOINT" in out
    code, out = database.program("list", "--json", folder=tmp_path, **environ)
    (point,) = json.loads(out)["points"]
    assert point["whole"] == [f"postgres/database/{database.name}", "postgres/globals/globals"]
    assert point["failed"] == ["clickhouse/database/*"]
    code, out = database.program("verify", folder=tmp_path, **environ)
    assert code == 0, out


def test_two_environments_in_one_bucket_never_meet(database: Database, seaweedfs: Seaweedfs, tmp_path: Path) -> None:
    """Neither sees, prunes, sweeps, verifies or restores what is the other's."""
    environ = seaweedfs.environ() | {"BACKUP_PREFIX": f"two-{uuid4().hex[:8]}"}
    both = [environ | {"BACKUP_SOURCE": name} for name in ("production", "staging")]
    points = []
    for rows, own in zip((100, 50), both, strict=True):
        database.run(f"DELETE FROM t WHERE n > {rows}")
        code, out = database.program("run", folder=tmp_path, **own)
        assert code == 0, out
        code, out = database.program("list", "--json", folder=tmp_path, **own)
        (found,) = json.loads(out)["points"]
        points.append(found["id"])
    production, staging = points

    def objects(source: str) -> set[str]:
        prefix = f"{environ['BACKUP_PREFIX']}/{source}/"
        return {str(one.object_name) for one in seaweedfs.client().list_objects("backups", prefix, recursive=True)}

    theirs = objects("production")
    for words in (["show", production], ["restore", production, "--yes"]):
        code, out = database.program(*words, folder=tmp_path, **both[1])
        assert code == 1
        assert f"there is no restore point {production} of staging" in out
    # A run of production's that died, and a prune of staging's that keeps as little as it may.
    dead = f"{environ['BACKUP_PREFIX']}/production/20260101T000000Z-dead/postgres/x.dump.zst/000000"
    put(seaweedfs, dead)
    assert database.program("run", folder=tmp_path, **both[1])[0] == 0
    few = {"BACKUP_RETENTION_DAYS": "0.01", "BACKUP_KEEP_MIN": "1"}
    code, out = database.program("prune", folder=tmp_path, **both[1], **few)
    assert code == 0, out
    assert production not in out
    assert objects("production") == theirs | {dead}
    target = f"{database.name}_again"
    for own, rows in zip(both, (100, 50), strict=True):
        words = ["restore", "latest", "--database", f"{database.name}={target}", "--yes"]
        code, out = database.program(*words, folder=tmp_path, **own)
        assert code == 0, out
        assert database.run("SELECT count(*) FROM t", target) == [(rows,)]
        database.run(f"DROP DATABASE {target} WITH (FORCE)", "postgres")
    assert staging in database.program("list", folder=tmp_path, **both[1])[1]


def put(store: Seaweedfs, name: str) -> None:
    """An object."""
    store.client().put_object(bucket_name="backups", object_name=name, data=BytesIO(b"x"), length=1)


class Then(FolderStorage):
    """A folder whose time is a number of days ago."""

    ago = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) - self.ago


class FailingClickhouse:
    """A ClickHouse that is backed up on some days, and fails on the others."""

    engine = "clickhouse"
    identity = ""
    moments = (0.0,)
    fails = False

    def __init__(self, job: Job) -> None:
        self.expected: list[Expected] = []

    def prepare(self) -> tuple[str, ...]:
        return ()

    def open(self) -> None:
        if self.fails:
            raise SourceError("ClickHouse cannot reach the store", "set CLICKHOUSE_S3_ENDPOINT")

    def run(self) -> Iterator[Artifact]:
        yield Artifact(engine="clickhouse", kind="database", name="default", status="whole", server="26")

    def close(self) -> None: ...


def test_ten_failing_clickhouse_days_cost_no_postgresql_dump(database: Database, tmp_path: Path) -> None:
    """Real runs and prunes of a fortnight, of which ClickHouse fails on the last ten days: what is kept is what the
    policy says for each engine by itself, and it restores."""
    store = StoreSettings(folder=tmp_path / "backups", prefix="test")
    storage = Then(tmp_path / "backups" / "test")
    rules = RetentionSettings(days=5, keep_min=2)
    days: dict[str, int] = {}

    class Daily(FailingClickhouse):
        pass

    for day in range(14):
        storage.ago = timedelta(days=13 - day)
        database.run(f"INSERT INTO t VALUES ({1000 + day}, 'day')")
        Daily.fails = day >= 4
        report = database.take(storage, store, {"postgres": SOURCES["postgres"], "clickhouse": Daily})
        assert report.exit_code == int(day >= 4)
        days[report.point] = day
        owner = Owner.here("test")
        with Lease(storage, "default", owner=owner, purpose="prune").acquire() as lease:
            prune(Catalog(storage, "default"), rules, lease, clock=storage.now)
    points = {days[point.id]: point for point in Catalog(storage, "default").points()}
    # PostgreSQL's last five days, and of ClickHouse what is within five days of its newest good one: days 0 to 3.
    assert sorted(points) == [0, 1, 2, 3, 9, 10, 11, 12, 13]
    target = f"{database.name}_again"
    environ = {"BACKUP_DIR": str(tmp_path / "backups"), "BACKUP_PREFIX": "test"}
    for day, point in points.items():
        assert f"postgres/database/{database.name}" in [one.label for one in point.whole()]
        found = verify(replace(point, manifest=only_postgres(point)), Task(storage=storage, listener=Deaf()))
        assert not [proof.error for proof in found.values() if proof.error]
        if day in (0, 9):
            words = ["restore", point.id, "--only", "postgres", "--database", f"{database.name}={target}", "--yes"]
            code, out = database.program(*words, folder=tmp_path, **environ)
            assert code == 0, out
            assert database.run("SELECT max(n) FROM t", target) == [(1000 + day,)]
            database.run(f"DROP DATABASE {target} WITH (FORCE)", "postgres")


def only_postgres(point: Any) -> Any:
    """A manifest without the ClickHouse that the test made up."""
    artifacts = tuple(one for one in point.manifest.artifacts if one.engine == "postgres")
    return replace(point.manifest, artifacts=artifacts)
