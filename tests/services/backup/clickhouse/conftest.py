"""A ClickHouse and a store for the tests, and one run of the source between them.

With CLICKHOUSE_TEST_URL (user and password in it, percent-encoded where they must be) the tests run against that
server instead; it must reach the test's store, at CLICKHOUSE_TEST_S3_ENDPOINT if not at 127.0.0.1, and its user may do
everything. Tests that break a server, and those that need a second one, go on using the demo's; those of users and
roles run on such a server only.
"""

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import pytest

from backup.clickhouse.client import Server
from backup.clickhouse.place import Place
from backup.clickhouse.restore import Restorer
from backup.layout import new_point, point_prefix
from backup.manifest import Artifact
from backup.progress import Progress
from backup.sources.base import Job
from backup.sources.clickhouse import ClickhouseSource
from backup.storage.base import Storage
from backup.storage.table import open_storage
from config.backup_settings import BackupSettings, RetentionSettings, ScheduleSettings
from config.backup_sources import ClickhouseSettings, PostgresSettings
from config.backup_store import SealSettings, StoreSettings
from config.env import Env
from config.logs import Mask
from config.secret import Secret
from demo.clickhouse import Clickhouse
from demo.seaweedfs import Seaweedfs

OWN = os.environ.get("CLICKHOUSE_TEST_URL")


@dataclass
class Heard:
    """A listener that keeps what it is told; `on_progress` is called with each."""

    notes: list[str] = field(default_factory=list)
    progressed: list[Progress] = field(default_factory=list)
    on_progress: Callable[[Progress], object] = lambda _: None

    def started(self, point: str, expected: Any) -> None:
        """The run tells this, not the source."""

    def progress(self, progress: Progress) -> None:
        self.progressed.append(progress)
        self.on_progress(progress)

    def ended(self, artifact: Artifact) -> None:
        """The run tells this, not the source."""

    def note(self, text: str) -> None:
        self.notes.append(text)


class Lab:
    """One ClickHouse, one store, and what goes on between them."""

    def __init__(self, clickhouse: ClickhouseSettings, store: StoreSettings, **changes: Any) -> None:
        self.settings = BackupSettings(
            store=store,
            clickhouse=clickhouse,
            seal=SealSettings(),
            retention=RetentionSettings(),
            postgres=PostgresSettings(),
            schedule=ScheduleSettings(),
            **changes,
        )
        self.storage: Storage = open_storage(store)
        self.mask = Mask()
        self.stop = threading.Event()
        self.heard = Heard()
        self.point = new_point(self.storage.now())
        self.prefix = point_prefix(store.source, self.point)
        self._server: Server | None = None

    @property
    def server(self) -> Server:
        if self._server is None:
            self._server = Server(self.settings.clickhouse, self.mask)
        return self._server

    def run(self, sql: str) -> None:
        """A statement."""
        self.server.run_long(sql, of="the test's", stop=threading.Event())

    def source(self, **changes: Any) -> ClickhouseSource:
        """The source of a run; `changes` are to the settings of ClickHouse."""
        self.point = new_point(self.storage.now())
        self.prefix = point_prefix(self.settings.store.source, self.point)
        clickhouse = replace(self.settings.clickhouse, **changes)
        return ClickhouseSource(
            Job(
                point=self.point,
                prefix=self.prefix,
                storage=self.storage,
                settings=replace(self.settings, clickhouse=clickhouse),
                listener=self.heard,
                stop=self.stop,
                mask=self.mask,
            )
        )

    def back_up(self, *databases: str, **changes: Any) -> dict[str, Artifact]:
        """A whole run; its artifacts by name."""
        source = self.source(databases=databases, **changes)
        try:
            source.prepare()
            source.open()
            return {artifact.name: artifact for artifact in source.run()}
        finally:
            source.close()

    def restorer(self) -> Restorer:
        place = Place.of(self.settings.store, self.settings.clickhouse)
        return Restorer(self.server, place, self.storage, stop=self.stop, stall_seconds=30)

    def stored(self) -> list[str]:
        """Every object of this store's prefix."""
        return [stored.key for stored in self.storage.list("")]

    def close(self) -> None:
        if self._server:
            self._server.close()
        self.storage.close()


def clickhouse_settings(server: Clickhouse) -> ClickhouseSettings:
    return ClickhouseSettings(url=server.url, user=server.user, password=Secret(server.password))


def store_settings(server: Seaweedfs, **changes: Any) -> StoreSettings:
    made = StoreSettings(
        endpoint=f"127.0.0.1:{server.port}",
        access_key=Secret(server.access_key),
        secret_key=Secret(server.secret_key),
        prefix=f"test-{uuid4().hex[:12]}",
    )
    return replace(made, **changes)


@pytest.fixture
def fresh_lab(seaweedfs: Seaweedfs) -> Iterator[Callable[..., Lab]]:
    """Makes a Lab of a ClickHouse of the test's own (fresh_clickhouse) and the shared store."""
    made: list[Lab] = []

    def make(server: Clickhouse, store: StoreSettings | None = None, **changes: Any) -> Lab:
        made.append(Lab(clickhouse_settings(server), store or store_settings(seaweedfs), **changes))
        return made[-1]

    yield make
    for lab in made:
        lab.close()


@pytest.fixture
def lab(seaweedfs: Seaweedfs, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The shared ClickHouse, or CLICKHOUSE_TEST_URL's, and the shared store."""
    if OWN:
        endpoint = os.environ.get("CLICKHOUSE_TEST_S3_ENDPOINT", "")
        read = Env({"CLICKHOUSE_URL": OWN} | ({"CLICKHOUSE_S3_ENDPOINT": endpoint} if endpoint else {}))
        found = ClickhouseSettings.read(read)
        read.check()
    else:
        found = clickhouse_settings(request.getfixturevalue("clickhouse"))
    made = Lab(found, store_settings(seaweedfs))
    yield made
    made.close()


@pytest.fixture
def own_server() -> str:
    """CLICKHOUSE_TEST_URL; what the demo's engine cannot do is skipped without it."""
    if not OWN:
        pytest.skip("CLICKHOUSE_TEST_URL names no server")
    return OWN


@pytest.fixture
def database(lab: Lab) -> Iterator[str]:
    """An empty database of the test's own, with a name that needs quoting."""
    name = f'käse `of` "day" {uuid4().hex[:8]}'
    quoted = name.replace("`", "\\`")
    lab.run(f"CREATE DATABASE `{quoted}`")
    yield name
    for found in lab.server.rows("SELECT name FROM system.databases WHERE startsWith(name, {n:String})", {"n": name}):
        lab.run(f"DROP DATABASE `{str(found['name']).replace('`', chr(92) + '`')}` SYNC")
