"""Restores between two real PostgreSQL servers: the shared one, and a second that only these tests use."""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from psycopg import sql

from backup import manifest
from backup.catalog import Catalog
from backup.layout import point_prefix
from backup.manifest import MANIFEST, Artifact
from backup.orders import Orders, Report
from backup.part import Hands, Order
from backup.postgres.clients import installed
from backup.postgres.login import Login
from backup.postgres.target import Target
from backup.progress import Expected, Progress
from backup.readback import read_plain
from backup.restore import restore
from backup.run import take
from backup.storage.base import Storage
from backup.storage.table import open_storage
from backup.stream import PieceWriter
from config.backup_settings import BackupSettings
from config.backup_sources import PostgresSettings
from config.backup_store import SealSettings, StoreSettings
from config.env import Env
from config.logs import Mask
from config.secret import Secret
from demo.postgres import SETTINGS, Postgres
from demo.process import Command, Keeper, clean_environ

PG15 = Path("/usr/lib/postgresql/15/bin")


class Second(Postgres):
    """Another server than the shared one."""

    name = "postgres-second"


class Older(Postgres):
    """Debian's PostgreSQL 15, an older major than the wheel's."""

    name = "postgres15"

    def _binary(self, name: str) -> Path:
        return PG15 / name

    def prepare(self) -> None:
        """initdb has no --set yet, so that settings go to the file; as user nobody, since it is not for root."""
        self.data.mkdir(mode=0o700)
        os.chown(self.data, 65_534, 65_534)
        words = self.folder / "password"
        words.write_text(self.superuser_password)
        options = ["--username=postgres", f"--pwfile={words}", "--auth=scram-sha-256", "--encoding=UTF8", "--no-sync"]
        argv = [str(self._binary("initdb")), f"--pgdata={self.data}", "--locale=C", *options]
        self.run(Command(argv=argv, environ=clean_environ(), user=(65_534, 65_534)))
        with (self.data / "postgresql.conf").open("a") as file:
            file.write("".join(f"{name} = '{value}'\n" for name, value in SETTINGS.items()))


class Told:
    """A listener that remembers, and may act on progress."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.on_progress: Callable[[Progress], object] = lambda _: None

    def started(self, point: str, expected: Sequence[Expected]) -> None:
        pass

    def progress(self, progress: Progress) -> None:
        self.on_progress(progress)

    def ended(self, artifact: Artifact) -> None:
        pass

    def note(self, text: str) -> None:
        self.notes.append(text)


def url_of(server: Postgres, database: str = "postgres", user: str = "postgres", password: str | None = None) -> str:
    """A superuser's address, unless another user is named."""
    secret = server.superuser_password if password is None else password
    return f"postgresql://{user}:{secret}@{server.host}:{server.port}/{database}"


@dataclass
class Bench:
    """One store, dumps of a server into it and restores out of it. `said` is what the last restore told."""

    source: Postgres
    store: StoreSettings
    storage: Storage
    told: Told = field(default_factory=Told)
    said: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def catalog(self) -> Catalog:
        """The points."""
        return Catalog(self.storage, self.store.source)

    def take(self, *databases: str, recipients: Sequence[str] = (), **changes: Any) -> Report:
        """A restore point of these databases, whole."""
        settings = BackupSettings.read(Env({"BACKUP_DIR": "unused"}))
        postgres = PostgresSettings(url=Secret(url_of(self.source)), databases=databases, **changes)
        settings = replace(
            settings, store=self.store, postgres=postgres, seal=SealSettings(recipients=tuple(recipients))
        )
        report = take(
            settings, self.storage, Orders(listener=Told(), environ=self.environ, mask=Mask(), only="postgres")
        )
        assert report.errors == ()
        return report

    def dump_again(self, report: Report, database: str, major: int) -> Artifact:
        """Puts what another major's pg_dump writes in the place of a dump; gives the artifact."""
        client = next(one for one in installed() if one.major == major)
        login = Login.read(Secret(url_of(self.source)), "TEST_URL")
        environ = login.environ(database, None) | {"PGPASSWORD": self.source.superuser_password}
        argv = [str(client.program("pg_dump")), "--format=custom", "--compress=0"]
        data = subprocess.run(argv, env=environ, capture_output=True, check=True).stdout
        return self.replace_dump(report, database, data, tool=f"pg_dump {client.version}")

    def plain(self, report: Report, database: str) -> bytes:
        """A dump as pg_dump wrote it."""
        artifact = next(one for one in report.artifacts if one.name == database)
        return b"".join(read_plain(self.storage, point_prefix(self.store.source, report.point), artifact))

    def replace_dump(self, report: Report, database: str, data: bytes, **changes: Any) -> Artifact:
        """Puts other bytes, rightly hashed, in the place of a dump; gives the artifact."""
        key = f"{point_prefix(self.store.source, report.point)}{MANIFEST}"
        made = manifest.load(self.storage.get(key))
        old = next(one for one in made.artifacts if one.name == database)
        prefix = point_prefix(self.store.source, report.point)
        with PieceWriter(self.storage, prefix, old.pieces[0].key.rpartition("/")[0]) as writer:
            writer.write(data)
            written = writer.finish()
        facts = {name: getattr(written, name) for name in ("pieces", "plain_bytes", "stored_bytes", "sha256")}
        new = replace(old, **facts, **changes)
        artifacts = tuple(new if one is old else one for one in made.artifacts)
        self.storage.put(key, manifest.dump(replace(made, artifacts=artifacts)))
        return new

    def restore(
        self, to: Postgres, *, url: str = "", yes: bool = True, identities: Sequence[Secret] = (), **order: Any
    ) -> int:
        """A restore to a server; `order` is Order's."""
        self.said = []
        hands = Hands(
            catalog=self.catalog,
            environ=self.environ,
            listener=self.told,
            say=self.said.append,
            agree=lambda _: yes,
            identities=identities,
            postgres=Login.read(Secret(url or url_of(to)), "TEST_URL"),
            stop=self.stop,
        )
        return restore(Order(only="postgres", **order), hands)

    @property
    def text(self) -> str:
        """All that the last restore said."""
        return "\n".join([*self.said, *self.told.notes])


def bench_of(server: Postgres, folder: Path) -> Bench:
    """Dumps of a server into a folder."""
    store = StoreSettings(folder=folder / "backups", prefix="test")
    return Bench(source=server, store=store, storage=open_storage(store))


@pytest.fixture
def bench(postgres: Postgres, tmp_path: Path) -> Bench:
    """Dumps of the shared server into a folder."""
    return bench_of(postgres, tmp_path)


@pytest.fixture(scope="module")
def second(keeper: Keeper) -> Iterator[Postgres]:
    """A second server, of this module alone."""
    server = Second(keeper=keeper, seed=False)
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture(scope="module")
def older(keeper: Keeper) -> Iterator[Postgres]:
    """PostgreSQL 15."""
    if not (PG15 / "postgres").exists() or os.geteuid() != 0:
        pytest.skip("needs Debian's PostgreSQL 15, and root to start it")
    server = Older(keeper=keeper, seed=False)
    try:
        yield server.start()
    finally:
        server.close()


SMALL = """
CREATE TABLE words (n int PRIMARY KEY, word text, at timestamptz DEFAULT now());
INSERT INTO words SELECT n, 'word ' || n FROM generate_series(1, 200) n;
CREATE INDEX ON words (at);
CREATE TABLE "Other Table" (id int);
INSERT INTO "Other Table" SELECT generate_series(1, 7);
"""


@pytest.fixture
def database(postgres: Postgres, second: Postgres) -> Iterator[str]:
    """A small database on the shared server, and nothing that begins with its name on either server afterwards."""
    name = f"b4_{uuid4().hex[:8]}"
    make(postgres, name, SMALL)
    yield name
    for server in (postgres, second):
        for found in names(server):
            if found.startswith(name):
                drop(server, found)


def make(server: Postgres, name: str, rows: str = "") -> None:
    """Makes a database."""
    with server.connect() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} STRATEGY file_copy").format(sql.Identifier(name)))
    if rows:
        with server.connect(name) as connection:
            connection.execute(rows)  # type: ignore[call-overload]  # the test's own text


def drop(server: Postgres, name: str) -> None:
    """Drops a database, whoever is in it."""
    with server.connect() as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def names(server: Postgres) -> list[str]:
    """Every database."""
    return [str(row[0]) for row in rows(server, "postgres", "SELECT datname FROM pg_database ORDER BY 1")]


def rows(server: Postgres, database: str, query: str) -> list[tuple[Any, ...]]:
    """The rows of a query."""
    with server.connect(database) as connection:
        return connection.execute(query).fetchall()  # type: ignore[call-overload,no-any-return]  # the test's own text


def script(server: Postgres, database: str, *words: str) -> list[str]:
    """A database as pg_dump writes it, line by line, without what differs each time."""
    client = next(one for one in installed() if one.major == 18)
    login = Login.read(Secret(url_of(server)), "TEST_URL")
    environ = login.environ(database, None) | {"PGPASSWORD": server.superuser_password}
    done = subprocess.run([str(client.program("pg_dump")), *words], env=environ, capture_output=True, check=True)
    return [line for line in done.stdout.decode().splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]


def client(major: int) -> Path:
    """The folder of a major version's programs."""
    return next(one.folder for one in installed() if one.major == major)


def target_of(server: Postgres) -> Target:
    """The server as a restore sees it; close it."""
    return Target(Login.read(Secret(url_of(server)), "TEST_URL"))


class Program:
    """`python -m backup …` as a child that is told no more than it is given."""

    def __init__(self, environ: Mapping[str, str], folder: Path, warm: Any) -> None:
        self.environ = {"PATH": os.environ["PATH"], **environ}
        self.folder = folder
        self._warm = warm

    def start(self, *words: str, **more: str) -> Any:
        """Starts it; `more` is added to its environment."""
        return self._warm.start(words, {**self.environ, **more}, self.folder)

    def run(self, *words: str, **more: str) -> tuple[int, str]:
        """Its exit code and all it wrote."""
        child = self.start(*words, **more)
        out, err = child.communicate(timeout=90)
        return child.returncode, out + err


@pytest.fixture
def program(bench: Bench, warm: Any, tmp_path: Path) -> Program:
    """The program, told of the bench's store and of no server."""
    return Program({"BACKUP_DIR": str(tmp_path / "backups"), "BACKUP_PREFIX": "test"}, tmp_path, warm)


@pytest.fixture(scope="session")
def helpers() -> Any:
    """What the tests of this folder share: make, drop, names, rows, script, target_of, url_of."""
    return SimpleNamespace(
        bench=bench_of,
        make=make,
        drop=drop,
        names=names,
        rows=rows,
        script=script,
        target_of=target_of,
        url_of=url_of,
        Told=Told,
        client=client,
    )
