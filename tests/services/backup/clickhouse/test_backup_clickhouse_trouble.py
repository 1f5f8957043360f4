"""What goes wrong while ClickHouse is backed up, and what must then be said and left behind."""

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from backup.clickhouse.client import Server
from backup.clickhouse.native import Operation, end, has_ended
from backup.clickhouse.place import Place
from backup.clickhouse.sql import name
from backup.errors import BackupError, DumpError, SettingsError, SourceError, StalledError, StoppedError
from backup.manifest import Artifact
from backup.sources.table import clickhouse_ended
from config.secret import Secret
from demo.ports import free_port

MEGABYTES = 60


def fill(lab: Any, database: str, megabytes: int = MEGABYTES) -> None:
    """Rows that do not compress, in many parts."""
    lab.run(
        f"CREATE TABLE {name(database, 't')} (n UInt64, s String) ENGINE = MergeTree ORDER BY n PARTITION BY n % 16"
    )
    lab.run(f"INSERT INTO {name(database, 't')} SELECT number, randomString(1000) FROM numbers({megabytes * 1000})")


def small(lab: Any, database: str) -> None:
    lab.run(f"CREATE TABLE {name(database, 't')} (n UInt64) ENGINE = MergeTree ORDER BY n")
    lab.run(f"INSERT INTO {name(database, 't')} SELECT number FROM numbers(10)")


def artifacts(lab: Any, *databases: str, settings: Callable[[Any], Any] = lambda s: s) -> dict[str, Artifact]:
    """A run whose job has other settings than the store we look into."""
    kept = lab.settings
    lab.settings = settings(kept)
    try:
        return dict(lab.back_up(*databases))
    finally:
        lab.settings = kept


def test_no_secret_is_in_the_query_log_nor_in_the_store_nor_in_an_artifact(lab: Any, database: str) -> None:
    small(lab, database)
    made = lab.back_up(database)
    artifact = made[database]
    lab.restorer().database(artifact, lab.prefix, f"{database} aside")
    lab.run("SYSTEM FLUSH LOGS")

    secrets = [lab.settings.store.secret_key.reveal(), lab.settings.clickhouse.password.reveal()]
    columns = "query, formatted_query, exception, stack_trace, toString(Settings), log_comment"
    logged = lab.server.rows(f"SELECT concat_ws(' ', {columns}) AS line FROM system.query_log")
    assert any(artifact.detail["id"] in row["line"] for row in logged)
    known = lab.server.rows("SELECT concat(name, error, base_backup_name) AS line FROM system.backups")
    stored = [lab.storage.get(key).decode(errors="replace") for key in lab.stored()]
    for text in (*(row["line"] for row in (*logged, *known)), *stored, str(asdict(artifact)), *lab.heard.notes):
        for secret in secrets:
            assert secret not in text


def test_with_a_collection_no_key_is_in_any_statement(lab: Any, database: str) -> None:
    small(lab, database)
    place = Place.of(lab.settings.store, lab.settings.clickhouse)
    keys = [one.reveal() for one in (place.access_key, place.secret_key) if one]
    lab.run(
        f"CREATE NAMED COLLECTION watchkeeper_test AS url = '{place.url}', "
        f"access_key_id = '{keys[0]}', secret_access_key = '{keys[1]}'"
    )
    artifact = lab.back_up(database, s3_collection="watchkeeper_test")[database]
    assert artifact.status == "whole", artifact.error
    lab.run("SYSTEM FLUSH LOGS")
    logged = lab.server.rows(
        "SELECT query AS line FROM system.query_log WHERE position(query, {id:String}) > 0",
        {"id": artifact.detail["id"]},
    )
    assert logged
    assert not any(key in row["line"] for row in logged for key in keys)
    lab.run("DROP NAMED COLLECTION watchkeeper_test")
    with pytest.raises(SourceError, match="CLICKHOUSE_S3_COLLECTION"):
        lab.back_up(database, s3_collection="watchkeeper_test")


def test_a_store_clickhouse_cannot_reach_is_told_within_seconds(lab: Any, database: str) -> None:
    small(lab, database)
    began = time.monotonic()
    with pytest.raises(SourceError, match="set CLICKHOUSE_S3_ENDPOINT"):
        lab.back_up(database, s3_endpoint=f"http://127.0.0.1:{free_port()}")
    assert time.monotonic() - began < 30
    with pytest.raises(SourceError, match="set CLICKHOUSE_S3_ENDPOINT"):
        lab.back_up(database, s3_endpoint="http://store.invalid:9000")


def test_an_endpoint_that_leads_to_another_store_is_told(lab: Any, database: str, fresh_seaweedfs: Any) -> None:
    small(lab, database)
    other = fresh_seaweedfs(
        access_key=lab.settings.store.access_key.reveal(), secret_key=lab.settings.store.secret_key.reveal()
    )
    with pytest.raises(SourceError, match="leads to another store"):
        lab.back_up(database, s3_endpoint=f"http://127.0.0.1:{other.port}")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"secret_key": Secret("wrong-secret-0123456789")}, "check MINIO_ACCESS_KEY and MINIO_SECRET_KEY"),
        ({"access_key": Secret("unknown-access")}, "check MINIO_ACCESS_KEY and MINIO_SECRET_KEY"),
        ({"bucket": "no-such-bucket"}, "make the bucket, or correct BACKUP_BUCKET"),
        ({"folder": Path("backups")}, "set MINIO_ENDPOINT"),
    ],
)
def test_what_is_wrong_with_the_store_is_told_with_its_remedy(
    lab: Any, database: str, changes: dict[str, Any], says: str
) -> None:
    small(lab, database)
    with pytest.raises((SourceError, SettingsError)) as raised:
        artifacts(lab, database, settings=lambda kept: replace(kept, store=replace(kept.store, **changes)))
    assert says in str(raised.value)
    assert "wrong-secret" not in str(raised.value)
    assert lab.stored() == []


def test_a_wrong_password_and_a_dead_server_are_told(lab: Any) -> None:
    wrong = replace(lab.settings.clickhouse, password=Secret("not-the-password"))
    with pytest.raises(SourceError, match="check CLICKHOUSE_USER and CLICKHOUSE_PASSWORD") as raised:
        Server(wrong, lab.mask)
    assert "not-the-password" not in str(raised.value)
    dead = replace(lab.settings.clickhouse, url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(SourceError, match="check CLICKHOUSE_URL"):
        Server(dead, lab.mask)


def test_a_database_that_is_not_there_costs_the_others_nothing(lab: Any, database: str) -> None:
    small(lab, database)
    made = lab.back_up(database, "no such")
    assert made[database].status == "whole"
    assert made["no such"].status == "failed"
    assert "check BACKUP_CLICKHOUSE_DATABASES" in made["no such"].error
    assert not any("preflight" in key for key in lab.stored())
    with pytest.raises(SourceError, match='no database "no such"'):
        lab.back_up("no such")


def test_what_a_dead_preflight_left_is_removed(lab: Any, database: str) -> None:
    lab.storage.put("default/preflight/0123/.lock", b"x")
    assert lab.back_up(database)[database].status == "whole"
    assert not any("preflight" in key for key in lab.stored())


def test_one_that_is_killed_fails_alone_and_leaves_nothing(lab: Any, database: str) -> None:
    fill(lab, database)
    other = f"{database} other"
    lab.run(f"CREATE DATABASE {name(other)}")
    small(lab, other)
    source = lab.source(databases=(database, other))
    ids = source.prepare()
    victim = ids[0]  # in the order of names, and one begins with the other
    lab.heard.on_progress = lambda seen: (
        lab.server.kill(victim, *query_ids(lab, victim)) if seen.name == database else None
    )
    source.open()
    made = {artifact.name: artifact for artifact in source.run()}
    source.close()
    assert made[other].status == "whole"
    assert made[database].status == "failed"
    assert "run again" in made[database].error
    assert {key.split("/")[3] for key in lab.stored()} == {made[other].detail["folder"].split("/")[1]}


def query_ids(lab: Any, operation: str) -> list[str]:
    found = lab.server.rows("SELECT query_id AS q FROM system.backups WHERE id = {id:String}", {"id": operation})
    return [row["q"] for row in found]


def test_told_to_stop_it_ends_within_seconds_and_clickhouse_too(lab: Any, database: str) -> None:
    fill(lab, database)
    source = lab.source(databases=(database,))
    (operation, *_) = source.prepare()
    source.open()
    stopped: list[float] = []
    lab.heard.on_progress = lambda _: (stopped.append(time.monotonic()), lab.stop.set())
    with pytest.raises(StoppedError):
        list(source.run())
    source.close()
    assert time.monotonic() - stopped[0] < 3
    deadline = time.monotonic() + 20
    while not has_ended(lab.server, operation):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def slow(lab: Any, database: str, *, bandwidth: int = 2_000_000, **arguments: Any) -> Operation:
    """A backup of half a minute, on its way."""
    place = Place.of(lab.settings.store, lab.settings.clickhouse)
    chosen = {"stop": lab.stop, "stall_seconds": 30.0} | arguments
    operation = Operation(lab.server, id=f"slow-{lab.point}-{time.monotonic_ns()}", of="the slow backup", **chosen)
    key = f"{lab.prefix}clickhouse/slow{time.monotonic_ns()}"
    operation.submit(f"BACKUP DATABASE {name(database)} TO {place.at(key)}", max_backup_bandwidth=bandwidth)
    while not operation.look().files:
        time.sleep(0.05)
    return operation


@pytest.fixture
def own(fresh_clickhouse: Any, fresh_lab: Any) -> Any:
    """A Lab whose ClickHouse may be broken."""
    server = fresh_clickhouse(seed=0)
    made = fresh_lab(server)
    made.broken = server
    fill(made, "default", 40)
    return made


def test_a_restart_fails_what_had_not_ended(own: Any) -> None:
    operation = slow(own, "default")
    own.broken.kill()
    assert not operation.look().error  # nobody answers: that is waited for
    own.broken.start()
    with pytest.raises(DumpError, match=r"was restarted \d+ s ago and no longer knows of it"):
        operation.wait()
    assert not operation.running


def test_a_restart_does_not_fail_what_had_ended(own: Any) -> None:
    operation = slow(own, "default", bandwidth=1 << 40, ended_well=lambda: True)
    own.broken.kill()
    own.broken.start()
    operation.wait()


def test_a_server_that_stays_away_is_given_up(own: Any) -> None:
    operation = slow(own, "default", stall_seconds=2.0)
    own.broken.kill()
    with pytest.raises(SourceError, match="check CLICKHOUSE_URL"):
        operation.wait()
    assert not clickhouse_ended(own.settings.clickhouse, own.mask)(operation.id)


def test_one_that_does_nothing_is_ended(fresh_clickhouse: Any, fresh_lab: Any, fresh_seaweedfs: Any) -> None:
    """The store hangs: connections stay open and nothing comes."""
    store = fresh_seaweedfs()
    lab = fresh_lab(fresh_clickhouse(seed=0))
    lab.settings = replace(lab.settings, store=replace(lab.settings.store, endpoint=f"127.0.0.1:{store.port}"))
    fill(lab, "default", 20)
    operation = slow(lab, "default", bandwidth=8_000_000, stall_seconds=3.0)
    store.pause()
    try:
        with pytest.raises(StalledError, match="nothing has moved for 3 s"):
            operation.wait()
    finally:
        store.resume()
    assert end(lab.server, operation.id)


def test_a_slow_one_is_left_alone(own: Any) -> None:
    operation = slow(own, "default", bandwidth=8_000_000, stall_seconds=1.5)
    seen = []
    done = operation.wait(seen.append)
    assert done.moved_bytes == done.total_bytes > 40_000_000
    moved = [one.moved_bytes for one in seen]
    assert moved == sorted(moved)
    assert len(set(moved)) > 3


def test_a_sweep_ends_what_a_dead_run_left(own: Any) -> None:
    operation = slow(own, "default", bandwidth=8_000_000)
    ended = clickhouse_ended(own.settings.clickhouse, own.mask)
    assert ended(operation.id)
    assert ended("watchkeeper-nobody-knows")
    assert operation.running
    with pytest.raises(BackupError):
        operation.wait()


def test_a_server_that_takes_one_backup_at_a_time_gets_them_one_by_one(lab: Any, database: str) -> None:
    """allow_concurrent_backups off, as far as the source can tell: the second is refused until the first has ended."""
    from backup.clickhouse.client import ClickhouseError
    from backup.clickhouse.explain import Explained

    other = f"{database} other"
    for one in (database, other):
        lab.run(f"CREATE DATABASE IF NOT EXISTS {name(one)}")
        small(lab, one)
    source = lab.source(databases=(database, other))
    source.prepare()
    server: Any = source._server
    through, busy = server.run, threading.Lock()
    refused: list[str] = []

    def run(sql: str, **arguments: Any) -> None:
        with busy:
            if sql.startswith("BACKUP"):
                running = lab.server.value("SELECT count() AS n FROM system.backups WHERE status = 'CREATING_BACKUP'")
                if running:
                    refused.append(sql)
                    explained = Explained(
                        code=647, said="Concurrent backups not supported", remedy="", scope="database"
                    )
                    raise ClickhouseError("submitting", explained)
            through(sql, **arguments)

    server.run = run
    source.open()
    made = {artifact.name: artifact.status for artifact in source.run()}
    source.close()
    assert refused
    assert made == {database: "whole", other: "whole"}
