"""Our ClickHouse server keeps its data, ends when told to, and backs itself up."""

import secrets
import threading
import time
from collections.abc import Callable

import httpx
import pytest

from demo.clickhouse import Clickhouse
from demo.process import DemoError
from demo.seaweedfs import Seaweedfs

FreshClickhouse = Callable[..., Clickhouse]
TABLE = "CREATE TABLE kept (a UInt32) ENGINE = MergeTree ORDER BY a"
ASLEEP = (
    "SELECT sum(sleepEachRow(1)) FROM numbers(60) "
    "SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 100000000"
)


@pytest.mark.parametrize("crash", [False, True])
def test_data_outlives_the_process(fresh_clickhouse: FreshClickhouse, crash: bool) -> None:
    server = fresh_clickhouse(seed=0, database="other")
    for database in ("other", "default"):
        server.query(TABLE, database=database)
        server.query("INSERT INTO kept SELECT number FROM numbers(1000)", database=database)
    if crash:
        server.kill()
    else:
        server.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url + "/ping", trust_env=False)
    server.start()
    for database in ("other", "default"):
        assert server.query("SELECT count(), sum(a) FROM kept", database=database) == "1000\t499500\n"


def test_an_empty_server_starts_again(fresh_clickhouse: FreshClickhouse) -> None:
    server = fresh_clickhouse(seed=0)
    for statement in ("SELECT 1", TABLE, "DROP TABLE kept SYNC", "DROP DATABASE default", "SELECT 2"):
        server.query(statement)
        server.stop()
        server.start()
        assert server.query("SELECT engine FROM system.databases WHERE name = 'default'") == "Atomic\n"


def test_a_running_query_does_not_keep_it_from_ending(fresh_clickhouse: FreshClickhouse) -> None:
    server = fresh_clickhouse(seed=0)
    ended = threading.Event()

    def sleep() -> None:
        with pytest.raises((DemoError, httpx.TransportError)):
            server.query(ASLEEP)
        ended.set()

    sleeper = threading.Thread(target=sleep)
    sleeper.start()
    deadline = time.monotonic() + 10
    while server.query("SELECT count() FROM system.processes") == "1\n":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 2
    sleeper.join()
    assert ended.is_set()


def test_a_paused_server_accepts_and_does_not_answer(fresh_clickhouse: FreshClickhouse) -> None:
    server = fresh_clickhouse(seed=0)
    server.pause()
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(server.url + "/ping", timeout=0.3, trust_env=False)
    server.resume()
    assert httpx.get(server.url + "/ping", trust_env=False).text == "Ok.\n"


def test_backup_to_s3_and_restore(clickhouse: Clickhouse, seaweedfs: Seaweedfs) -> None:
    mark = f"backup_{secrets.token_hex(6)}"
    store = f"S3('http://{seaweedfs.host}:{seaweedfs.port}/{seaweedfs.buckets[0]}/{mark}', {keys(seaweedfs)})"
    begun = clickhouse.query(f"BACKUP DATABASE default TO {store} SETTINGS id = '{mark}' ASYNC")
    assert begun == f"{mark}\tCREATING_BACKUP\n"
    assert ended_backup(clickhouse, mark) == "BACKUP_CREATED"
    names = {item.object_name for item in seaweedfs.client().list_objects(bucket_name="backups", prefix=f"{mark}/")}
    assert f"{mark}/.backup" in names
    try:
        restored = clickhouse.query(f"RESTORE DATABASE default AS {mark} FROM {store}")
        assert restored.endswith("\tRESTORED\n")
        for table in ("traces", "observations", "scores", "model_usage_by_day"):
            digest = f"SELECT count(), sum(cityHash64(*)) FROM {table}"
            if table == "model_usage_by_day":
                digest = f"SELECT sum(calls), sum(cost), uniqMerge(users) FROM {table}"
            assert clickhouse.query(digest, database=mark) == clickhouse.query(digest)
        assert f"FROM {mark}.observations" in clickhouse.query(f"SHOW CREATE TABLE {mark}.model_usage_by_day_view")
        with pytest.raises(DemoError, match="598"):
            clickhouse.query(f"BACKUP DATABASE default TO {store}")
    finally:
        clickhouse.query(f"DROP DATABASE IF EXISTS {mark} SYNC")


def test_a_backup_that_cannot_be_written(clickhouse: Clickhouse, seaweedfs: Seaweedfs) -> None:
    where = f"http://{seaweedfs.host}:{seaweedfs.port}/no-such-bucket/x"
    with pytest.raises(DemoError, match="S3_ERROR") as raised:
        clickhouse.query(
            f"BACKUP DATABASE default TO S3('{where}', {keys(seaweedfs)})",
            settings={"backup_restore_s3_retry_attempts": "0"},
        )
    assert seaweedfs.secret_key not in str(raised.value)


def test_a_slow_backup_can_be_killed(fresh_clickhouse: FreshClickhouse, seaweedfs: Seaweedfs) -> None:
    server = fresh_clickhouse(seed=0)
    server.query("CREATE TABLE big (n UInt8, a String) ENGINE = MergeTree PARTITION BY n ORDER BY tuple()")
    server.query("INSERT INTO big SELECT number % 32, randomString(1000) FROM numbers(8000)")  # it stops between files
    mark = f"slow_{secrets.token_hex(6)}"
    store = f"S3('http://{seaweedfs.host}:{seaweedfs.port}/{seaweedfs.buckets[0]}/{mark}', {keys(seaweedfs)})"
    server.query(f"BACKUP DATABASE default TO {store} SETTINGS id = '{mark}', max_backup_bandwidth = 2000000 ASYNC")
    kill = f"KILL QUERY WHERE query_id IN (SELECT query_id FROM system.backups WHERE id = '{mark}') ASYNC"
    assert server.query(kill).startswith("waiting\t")
    assert ended_backup(server, mark) == "BACKUP_CANCELLED"
    server.query("SYSTEM FLUSH LOGS")
    assert "BACKUP_CANCELLED" in server.query(f"SELECT status FROM system.backup_log WHERE id = '{mark}'")


def keys(store: Seaweedfs) -> str:
    return f"'{store.access_key}', '{store.secret_key}'"


def ended_backup(server: Clickhouse, mark: str) -> str:
    """The state in which a backup ended."""
    deadline = time.monotonic() + 20
    while (
        state := server.query(f"SELECT status FROM system.backups WHERE id = '{mark}'").strip()
    ) == "CREATING_BACKUP":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return state
