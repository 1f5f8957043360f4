"""Runs of the forward flow against real PostgreSQL servers, in this process or as the program."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from psycopg import sql

from backup.manifest import Artifact
from backup.orders import Orders, Report
from backup.progress import Expected, Progress
from backup.run import take
from backup.storage.base import Storage
from backup.storage.folder import FolderStorage
from backup.storage.table import open_storage
from config.backup_settings import BackupSettings, RetentionSettings, ScheduleSettings
from config.backup_sources import ClickhouseSettings, PostgresSettings
from config.backup_store import SealSettings, StoreSettings
from config.env import Env
from config.logs import Mask
from config.secret import Secret
from demo.postgres import Postgres

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SUPERUSER = "postgres"


class Told:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.artifacts: list[Artifact] = []
        self.notes: list[str] = []
        self.moves: list[Progress] = []
        self.began = threading.Event()

    def started(self, point: str, expected: Sequence[Expected]) -> None:
        self.began.set()

    def progress(self, progress: Progress) -> None:
        self.moves.append(progress)

    def ended(self, artifact: Artifact) -> None:
        self.artifacts.append(artifact)

    def note(self, text: str) -> None:
        self.notes.append(text)


@dataclass
class Bench:
    """One source's store, and runs into it. `told` is the last run's listener."""

    settings: BackupSettings
    storage: Storage
    told: Told = field(default_factory=Told)
    stop: threading.Event = field(default_factory=threading.Event)

    def take(
        self, *databases: str, sources: Any = None, environ: Mapping[str, str] | None = None, **changes: Any
    ) -> Report:
        """A run of these databases; `changes` are PostgresSettings'."""
        self.told = Told()
        postgres = replace(self.settings.postgres, databases=databases, **changes)
        mask = Mask()
        mask.add([secret for secret in (postgres.url, self.settings.store.secret_key) if secret])
        more = {"sources": sources} if sources else {}
        orders = Orders(listener=self.told, environ=environ or {}, mask=mask, only="postgres", stop=self.stop, **more)
        return take(replace(self.settings, postgres=postgres), self.storage, orders)

    def objects(self) -> list[str]:
        """Every object of this source."""
        return [stored.key for stored in self.storage.list("default/")]

    def plain(self, report: Report, label: str) -> bytes:
        """What an artifact's pieces hold, opened by nothing of ours."""
        artifact = self.artifact(report, label)
        prefix = f"default/{report.point}/"
        return zstd.decompress(b"".join(self.storage.get(prefix + piece.key) for piece in artifact.pieces))

    def artifact(self, report: Report, label: str) -> Artifact:
        """One of a run's artifacts."""
        return next(one for one in report.artifacts if one.label == label)


def settings_for(store: StoreSettings, url: str) -> BackupSettings:
    """Settings for a run of the server at `url` into `store`."""
    return BackupSettings(
        store=store,
        seal=SealSettings(),
        retention=RetentionSettings(),
        postgres=PostgresSettings(url=Secret(url)),
        clickhouse=ClickhouseSettings(),
        schedule=ScheduleSettings(),
        instance="test",
    )


@pytest.fixture
def bench(postgres: Postgres, tmp_path: Path) -> Bench:
    """Runs against the shared server as superuser, into a folder."""
    store = StoreSettings(folder=tmp_path / "backups", prefix="test")
    return Bench(settings=settings_for(store, superuser_url(postgres)), storage=open_storage(store))


def superuser_url(server: Postgres, database: str = "postgres") -> str:
    return f"postgresql://{SUPERUSER}:{server.superuser_password}@{server.host}:{server.port}/{database}"


@contextmanager
def _made_database(server: Postgres, name: str, rows: str = "") -> Iterator[str]:
    """A database that is gone afterwards."""
    with server.connect() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} STRATEGY file_copy").format(sql.Identifier(name)))
    try:
        if rows:
            with server.connect(name) as connection:
                connection.execute(rows)
        yield name
    finally:
        with server.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session", name="made_database")
def made_database_fixture() -> Callable[..., Any]:
    """Makes a database that is gone afterwards: `with made_database(server, name, sql) as name`."""
    return _made_database


@pytest.fixture
def database(postgres: Postgres) -> Iterator[str]:
    """A small database on the shared server."""
    rows = """
    CREATE TABLE t (n int PRIMARY KEY, word text); INSERT INTO t SELECT n, 'word ' || n FROM generate_series(1, 100) n
    """
    with _made_database(postgres, f"b2_{uuid4().hex[:10]}", rows) as name:
        yield name


# About 40 MB that hardly compress, in half a second or so.
LARGE = """
CREATE UNLOGGED TABLE large (n int, data bytea);
ALTER TABLE large ALTER data SET STORAGE EXTERNAL;
INSERT INTO large SELECT n, (SELECT string_agg(sha512((n * 1000 + m)::text::bytea), '') FROM generate_series(1, 320) m)
  FROM generate_series(1, 1000) n;
"""


@pytest.fixture(scope="module")
def large(postgres: Postgres) -> Iterator[str]:
    """A database whose dump takes several pieces."""
    with _made_database(postgres, f"b2_large_{uuid4().hex[:10]}", LARGE) as name:
        yield name


class HookedStorage(FolderStorage):
    """A folder that calls `before` with the key of every object it is about to write."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.before: Callable[[str], object] = lambda _: None
        self.reached = threading.Event()
        self.release = threading.Event()

    def put(self, key: str, data: bytes | memoryview) -> None:
        self.before(key)
        super().put(key, data)

    def hold(self, key: str) -> None:
        """To be used as `before`: a piece of a database waits until `release` is set; `reached` says that one does."""
        if ".dump." in key:
            self.reached.set()
            self.release.wait(30)


@pytest.fixture
def hooked(bench: Bench, tmp_path: Path) -> HookedStorage:
    """The bench's store, with a hook."""
    bench.storage = HookedStorage(tmp_path / "backups" / "test")
    return bench.storage


@pytest.fixture
def held(hooked: HookedStorage) -> Iterator[HookedStorage]:
    """The bench's store, made to wait."""
    hooked.before = hooked.hold
    yield hooked
    hooked.release.set()


def fake_client(folder: Path, script: str, version: str = "18.6") -> Path:
    """A folder with a pg_dump of one's own."""
    folder.mkdir(exist_ok=True)
    program = folder / "pg_dump"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo "pg_dump (PostgreSQL) {version}" && exit 0\n{script}\n'
    )
    program.chmod(0o755)
    return folder


@pytest.fixture
def fake(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder with a pg_dump of one's own."""
    return lambda script, **arguments: fake_client(tmp_path / "bin", script, **arguments)


class Program:
    """`python -m backup …` as a child."""

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        self.environ = {"PATH": os.environ["PATH"], **environ}
        self.folder = folder

    def start(self, *words: str, **more: str) -> "subprocess.Popen[str]":
        """Starts it; `more` is added to its environment."""
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "backup", *words],
            env={**self.environ, **more},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, **more: str) -> tuple[int, str, str]:
        """Its exit code, standard output and standard error."""
        child = self.start(*words, **more)
        out, err = child.communicate(timeout=60)
        return child.returncode, out, err


@pytest.fixture
def program(postgres: Postgres, tmp_path: Path) -> Program:
    """The program, told of the shared server and a folder."""
    environ = {"DATABASE_URL": superuser_url(postgres), "BACKUP_DIR": str(tmp_path / "backups")}
    return Program(environ, tmp_path)


def events(out: str, kind: str) -> list[dict[str, Any]]:
    """The JSON lines of one kind."""
    return [line for line in map(json.loads, out.splitlines()) if line["event"] == kind]


def wait_until(what: Callable[[], Any], seconds: float = 15.0) -> Any:
    """What `what` gives once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.01)
    return found


def env_of(**variables: str) -> Env:
    return Env(variables)
