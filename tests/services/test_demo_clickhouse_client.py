"""clickhouse-connect's ordinary HTTP client against our ClickHouse server."""

import datetime as dt
import decimal
import ipaddress
import secrets
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from demo.clickhouse import Clickhouse

UTC = dt.UTC
COLUMNS = {
    "i": ("Int64", -5),
    "big": ("UInt256", 2**200),
    "f": ("Float64", 1.5),
    "s": ("String", "größe\n\t\0'"),
    "fs": ("FixedString(4)", b"abcd"),
    "b": ("Bool", True),
    "d": ("Date32", dt.date(1950, 1, 2)),
    "t": ("DateTime", dt.datetime(2026, 1, 2, 3, 4, 5)),  # noqa: DTZ001 - the client gives back naive server time
    "t64": ("DateTime64(6, 'Europe/Paris')", dt.datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
    "dec": ("Decimal(20, 5)", decimal.Decimal("-123.45678")),
    "u": ("UUID", uuid.UUID("01234567-89ab-cdef-0123-456789abcdef")),
    "a": ("Array(Nullable(Int32))", [1, None, 3]),
    "m": ("Map(String, Array(UInt8))", {"x": [1, 2], "": []}),
    "lc": ("LowCardinality(String)", "low"),
    "lcn": ("LowCardinality(Nullable(String))", None),
    "n": ("Nullable(String)", None),
    "tu": ("Tuple(a Int8, b String)", {"a": 1, "b": "z"}),
    "e": ("Enum8('x' = 1, 'y' = 2)", "y"),
    "ip": ("IPv4", ipaddress.IPv4Address("192.0.2.1")),
    "ip6": ("IPv6", ipaddress.IPv6Address("::1")),
    "j": ("JSON", {"a": {"b": 1}, "c": ["x", "y"]}),
    "v": ("Variant(UInt64, String)", "either"),
    "ne.a": ("Array(Int8)", [1, 2]),
}
"""A type and a value for each column that must come back as it went."""


@pytest.fixture
def client(clickhouse: Clickhouse) -> Iterator[Client]:
    """A client on a database of its own."""
    name = f"test_{secrets.token_hex(6)}"
    clickhouse.query(f"CREATE DATABASE {name}")
    client = connect(clickhouse, database=name)
    yield client
    client.close()
    clickhouse.query(f"DROP DATABASE {name} SYNC")


def connect(clickhouse: Clickhouse, **arguments: object) -> Client:
    facts: dict[str, Any] = {"host": clickhouse.host, "port": clickhouse.port, "username": clickhouse.user}
    return clickhouse_connect.get_client(**(facts | {"password": clickhouse.password} | arguments))


def test_every_type_comes_back(client: Client) -> None:
    definition = ", ".join(f"`{name}` {kind}" for name, (kind, _) in COLUMNS.items())
    client.command(f"CREATE TABLE t ({definition}) ENGINE = MergeTree ORDER BY i")
    row = [value for _, value in COLUMNS.values()]
    assert client.insert("t", [row, [-4, *row[1:]]]).written_rows == 2
    result = client.query("SELECT * FROM t ORDER BY i")
    assert result.column_names == tuple(COLUMNS)
    assert result.row_count == 2
    got = dict(zip(COLUMNS, result.result_rows[0], strict=True))
    assert got == {name: value for name, (_, value) in COLUMNS.items()}


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
def test_large_inserts_and_answers(clickhouse: Clickhouse, client: Client, compress: bool | str) -> None:
    packed = connect(clickhouse, database=client.database, compress=compress)
    try:
        packed.command("CREATE TABLE t (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
        rows = [[number, "x" * (number % 50)] for number in range(60_000)]
        packed.insert("t", rows)
        assert [list(row) for row in packed.query("SELECT * FROM t ORDER BY a").result_rows] == rows
    finally:
        packed.close()


def test_streaming(client: Client) -> None:
    seen = 0
    with client.query_row_block_stream("SELECT number, toString(number) FROM numbers(500000)") as stream:
        for block in stream:
            seen += len(block)
    assert seen == 500_000
    broken = "SELECT throwIf(number = 900000) FROM numbers(1000000) SETTINGS max_block_size = 10000"
    with pytest.raises(StreamFailureError) as raised, client.query_row_block_stream(broken) as stream:
        for _ in stream:
            pass
    assert raised.value.code == 395


def test_commands_parameters_and_settings(clickhouse: Clickhouse, client: Client) -> None:
    assert client.ping()
    assert str(client.server_version).startswith("26.")
    assert client.command("SELECT 41 + 1") == 42
    assert client.command("SHOW TABLES") == ""
    odd = "it's\\ a\ttab\nand ünïcode"
    assert client.query("SELECT {a:String}, {b:Int32}", parameters={"a": odd, "b": 7}).result_rows == [(odd, 7)]
    assert client.query("SELECT %(a)s", parameters={"a": odd}).result_rows == [(odd,)]
    long = "x" * 50_000  # goes as a form, for it is too long for a URL
    assert client.query("SELECT {a:String}", parameters={"a": long}).result_rows == [(long,)]
    assert client.command("SELECT getSetting('max_result_rows')", settings={"max_result_rows": 7}) == 7
    assert client.command("SELECT getSetting('max_result_rows')") == 0
    assert client.raw_query("SELECT 1 AS a", fmt="JSONEachRow") == b'{"a":1}\n'
    assert client.query("SELECT 1 AS a WHERE 0").result_rows == []
    assert client.query("SELECT * FROM system.one LIMIT 0").column_names == ("dummy",)


def test_raw_insert(client: Client) -> None:
    client.command("CREATE TABLE t (a UInt8, b String) ENGINE = MergeTree ORDER BY a")
    assert client.raw_insert("t", ["a", "b"], "1\tx\n2\ty\n", fmt="TabSeparated").written_rows == 2
    with pytest.raises(DatabaseError) as raised:
        client.raw_insert("t", ["a", "b"], "many\tx\n", fmt="TabSeparated")
    assert raised.value.code == 27
    assert client.command("SELECT count() FROM t") == 2


@pytest.mark.parametrize(
    ("sql", "code", "name"),
    [
        ("SELECT * FROM nope", 60, "UNKNOWN_TABLE"),
        ("SELEC", 62, "SYNTAX_ERROR"),
        ("SELECT 1 +", 47, "UNKNOWN_IDENTIFIER"),
    ],
)
def test_errors_are_understood(client: Client, sql: str, code: int, name: str) -> None:
    with pytest.raises(DatabaseError) as raised:
        client.query(sql)
    assert (raised.value.code, raised.value.name) == (code, name)


def test_a_wrong_password_is_understood(clickhouse: Clickhouse) -> None:
    with pytest.raises(DatabaseError) as raised:
        connect(clickhouse, password="wrong")
    assert raised.value.code == 516


def test_many_clients_at_once(clickhouse: Clickhouse, client: Client) -> None:
    client.command("CREATE TABLE t (who UInt8, n UInt32) ENGINE = MergeTree ORDER BY (who, n)")
    database = client.database
    failures: list[Exception] = []

    def work(who: int) -> None:
        try:
            own = connect(clickhouse, database=database)
            for start in range(0, 1_000, 200):
                own.insert("t", [[who, number] for number in range(start, start + 200)])
                assert own.command("SELECT count() FROM t WHERE who = {who:UInt8}", {"who": who}) == start + 200
            own.close()
        except Exception as error:  # noqa: BLE001 - whatever it is, the main thread is to show it
            failures.append(error)

    workers = [threading.Thread(target=work, args=(who,)) for who in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
    assert client.command("SELECT count(), uniqExact(who, n) FROM t") == ["8000", "8000"]
