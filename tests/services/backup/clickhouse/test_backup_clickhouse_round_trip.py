"""ClickHouse out and back, byte for byte, onto another server."""

import re
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from backup.clickhouse.client import Server
from backup.clickhouse.look import choose
from backup.clickhouse.sql import name
from backup.errors import ArchiveError, TargetError
from backup.manifest import Manifest, dump, load
from demo.clickhouse import Clickhouse

COLUMNS = ", ".join(f"c{number} UInt32" for number in range(100))
KEY = ", ".join(f"c{number}" for number in range(100))
TABLES = (
    """CREATE TABLE {d}.events (
        id UUID, at DateTime64(6, 'UTC'), day Date MATERIALIZED toDate(at), price Decimal(38, 12),
        small Decimal32(4), tags Array(LowCardinality(String)), nested Array(Array(Nullable(Int64))),
        attributes Map(LowCardinality(String), String), place Tuple(lat Float64, lon Float64, name Nullable(String)),
        state Enum8('new' = 1, 'größ''er' = 2), maybe Nullable(Float64), fixed FixedString(4), ip IPv6,
        version UInt64, gone UInt8, INDEX by_maybe maybe TYPE minmax GRANULARITY 1,
        PROJECTION by_state (SELECT state, count() GROUP BY state)
    ) ENGINE = ReplacingMergeTree(version, gone) PARTITION BY toYYYYMM(at) ORDER BY (at, id)
    SETTINGS deduplicate_merge_projection_mode = 'rebuild'""",
    (
        "CREATE TABLE {d}.by_state (state String, n SimpleAggregateFunction(sum, UInt64),"
        " u AggregateFunction(uniq, UUID))"
        " ENGINE = AggregatingMergeTree ORDER BY state"
    ),
    (
        "CREATE MATERIALIZED VIEW {d}.by_state_view TO {d}.by_state AS SELECT toString(state) AS state, count() AS n,"
        " uniqState(id) AS u FROM {d}.events GROUP BY state"
    ),
    (
        "CREATE MATERIALIZED VIEW {d}.hourly ENGINE = SummingMergeTree ORDER BY hour AS"
        " SELECT toStartOfHour(at) AS hour, count() AS n FROM {d}.events GROUP BY hour"
    ),
    "CREATE TABLE {d}.nothing (a Int8) ENGINE = MergeTree ORDER BY a",
    f"CREATE TABLE {{d}}.wide ({COLUMNS}) ENGINE = MergeTree ORDER BY ({KEY})",
    "CREATE TABLE {d}.`Ta ble \"größe\" 'q'/%2F.x` (`ко́лонка` String) ENGINE = MergeTree ORDER BY tuple()",
    "CREATE TABLE {d}.lines (line String) ENGINE = Log",
    "CREATE TABLE {d}.names (k UInt64, v String) ENGINE = MergeTree ORDER BY k",
    (
        "CREATE DICTIONARY {d}.lookup (k UInt64, v String DEFAULT '-') PRIMARY KEY k"
        " SOURCE(CLICKHOUSE(DB {s} TABLE 'names')) LAYOUT(FLAT()) LIFETIME(0)"
    ),
    (
        "CREATE VIEW {d}.readable AS SELECT e.id, e.state, n.v, {s} AS written FROM {d}.events AS e"
        " LEFT JOIN {d}.names AS n ON n.k = e.version WHERE e.id IN (SELECT id FROM {d}.events)"
    ),
)
ROWS = (
    """INSERT INTO {d}.events (id, at, price, small, tags, nested, attributes, place, state, maybe, fixed, ip, version,
        gone)
    SELECT toUUID(concat('00000000-0000-0000-0000-', leftPad(toString(number), 12, '0'))),
        toDateTime64('2026-10-30 00:00:00', 6, 'UTC') + toIntervalMicrosecond(number * 977000123),
        toDecimal128(number, 12) / 7, number / 16, ['a', '', 'größe', concat('t', toString(number % 9))],
        [[number, NULL], []], map('k', toString(number), '', 'leer'),
        (number / 3, -number / 7, if(number % 2 = 0, NULL, 'x\\n\\t\\0y')), (number % 2) + 1,
        if(number % 5 = 0, NULL, if(number % 7 = 0, nan, number / 3)), 'ab', toIPv6('::1'), number % 3, number % 11 = 0
    FROM numbers(5000)""",
    "INSERT INTO {d}.events (id, at, version) SELECT id, at, 9 FROM {d}.events WHERE cityHash64(id) % 20 = 0",
    "INSERT INTO {d}.wide SELECT " + ", ".join(f"number + {n}" for n in range(100)) + " FROM numbers(50)",
    "INSERT INTO {d}.`Ta ble \"größe\" 'q'/%2F.x` SELECT 'ü' FROM numbers(3)",
    "INSERT INTO {d}.lines SELECT toString(number) FROM numbers(10)",
    "INSERT INTO {d}.names SELECT number, toString(number) FROM numbers(10)",
)


def fill(run: Callable[[str], None], database: str) -> None:
    for statement in (*TABLES, *ROWS):
        text = "'" + database.replace("'", "\\'") + "'"
        run(statement.replace("{d}", name(database)).replace("{s}", text))


def few(run: Callable[[str], None], database: str) -> None:
    """Two tables, for tests that need no more."""
    for table in ("names", "other"):
        run(f"CREATE TABLE {name(database, table)} (k UInt64, v String) ENGINE = MergeTree ORDER BY k")
        run(f"INSERT INTO {name(database, table)} SELECT number, '{table}' FROM numbers(50)")


def contents(server: Server, database: str) -> dict[tuple[str, str], Any]:
    """A digest of every row of every table and view, whatever their order; AggregateFunction's states too."""
    found = server.rows("SELECT name, engine FROM system.tables WHERE database = {d:String}", {"d": database})
    digests = {}
    for row in found:
        if row["name"].startswith(".inner"):
            continue
        hashed = f"SELECT count() AS n, sum(cityHash64(*)) AS h FROM {name(database, row['name'])}"
        if row["name"] == "by_state":
            hashed = "SELECT sum(b.n) AS rows, sum(cityHash64(b.state, b.n, hex(CAST(b.u, 'String')))) AS h"
            hashed += f" FROM {name(database, 'by_state')} AS b"
        digests[row["name"], row["engine"]] = tuple(server.rows(hashed)[0].values())
    return digests


def test_a_database_comes_back_byte_for_byte_onto_another_server(
    lab: Any, database: str, fresh_clickhouse: Any, fresh_lab: Any
) -> None:
    fill(lab.run, database)
    before = contents(lab.server, database)

    artifact = lab.back_up(database)[database]
    assert artifact.status == "whole", artifact.error
    artifact = load(
        dump(Manifest(id="x", source="s", created_at="", ended_at="", tool_version="", artifacts=(artifact,)))
    ).artifacts[0]

    facts = {fact.name: fact for fact in artifact.tables}
    assert all(fact.exact for fact in facts.values())
    assert {fact.name: fact.rows for fact in artifact.tables} == {
        table: before[table, engine][0]
        for table, engine in before
        if engine not in {"View", "Dictionary"} and table != "by_state_view"
    } | {"by_state": facts["by_state"].rows}
    assert set(artifact.detail["digests"]) == set(facts) - {"lines"}
    assert "CREATE MATERIALIZED VIEW" in artifact.detail["ddl"]["by_state_view"]

    other = fresh_lab(fresh_clickhouse(seed=0), lab.settings.store)
    restored = other.restorer().database(artifact, lab.prefix, database)
    assert (restored.created, restored.notes) == (True, ())
    assert restored.level == "restored"  # the table that is a Log has rows and no digest
    assert contents(other.server, database) == before


def test_beside_the_old_one_views_lead_to_the_restored_tables(lab: Any, database: str) -> None:
    fill(lab.run, database)
    artifact = lab.back_up(database)[database]
    aside = f"{database} aside"

    lab.restorer().database(artifact, lab.prefix, aside)

    definitions = lab.server.rows(
        "SELECT create_table_query AS q FROM system.tables WHERE database = {d:String}", {"d": aside}
    )
    for row in definitions:
        assert f"{name(database)}." not in row["q"]
    rows = contents(lab.server, aside)
    assert rows["readable", "View"] == contents(lab.server, database)["readable", "View"]  # its string is left alone
    lab.run(f"INSERT INTO {name(aside, 'events')} (id, at, version) VALUES (generateUUIDv4(), now(), 1)")
    assert (
        contents(lab.server, aside)["by_state", "AggregatingMergeTree"][0]
        == rows["by_state", "AggregatingMergeTree"][0] + 1
    )
    merging = "SELECT count() AS n FROM system.merges WHERE database = {d:String}"
    lab.run(f"OPTIMIZE TABLE {name(aside, 'events')} FINAL")  # merges are let go again
    assert lab.server.value(merging, {"d": aside}) == 0


def test_one_table_comes_back_under_another_database(lab: Any, database: str) -> None:
    few(lab.run, database)
    artifact = lab.back_up(database)[database]
    aside = f"{database} one"

    lab.restorer().database(artifact, lab.prefix, aside, only=["names"])

    assert [key[0] for key in contents(lab.server, aside)] == ["names"]
    with pytest.raises(TargetError, match="has no table nosuch"):
        lab.restorer().database(artifact, lab.prefix, f"{aside} 2", only=["nosuch"])


def test_what_a_restore_left_aside_is_left_out(lab: Any, database: str) -> None:
    aside = f"{database}_restored_20261121"
    lab.run(f"CREATE DATABASE {name(aside)}")
    chosen, _, notes = choose(lab.server, ())
    assert (database in chosen, aside in chosen) == (True, False)
    assert any(aside in note for note in notes)
    assert choose(lab.server, (aside,))[0] == [aside]


def test_a_target_with_tables_is_refused(lab: Any, database: str) -> None:
    few(lab.run, database)
    artifact = lab.back_up(database)[database]
    with pytest.raises(TargetError, match="is not empty: it has"):
        lab.restorer().database(artifact, lab.prefix, database)


def test_an_older_server_is_refused(lab: Any, database: str) -> None:
    artifact = lab.back_up(database)[database]
    newer = replace(artifact, server="99.1.2.3")
    with pytest.raises(TargetError, match=r"older than 99\.1"):
        lab.restorer().database(newer, lab.prefix, f"{database} aside")


def test_damage_in_the_store_is_found_before_anything_is_made(lab: Any, database: str) -> None:
    few(lab.run, database)
    artifact = lab.back_up(database)[database]
    victim = next(key for key in lab.stored() if re.search(r"/other/.*\.bin$", key))

    kept = lab.storage.get(victim)
    lab.storage.put(victim, kept[:-1])
    with pytest.raises(ArchiveError, match=r"1 files .* have another size"):
        lab.restorer().database(artifact, lab.prefix, f"{database} aside")
    lab.storage.delete([victim])
    with pytest.raises(ArchiveError, match=r"1 files .* are not in the store"):
        lab.restorer().database(artifact, lab.prefix, f"{database} aside")
    lab.storage.delete([f"{lab.prefix}{artifact.detail['folder']}/.backup"])
    with pytest.raises(ArchiveError, match="never ended"):
        lab.restorer().database(artifact, lab.prefix, f"{database} aside")
    assert not lab.server.rows("SELECT 1 FROM system.databases WHERE name = {d:String}", {"d": f"{database} aside"})


def test_flipped_bits_of_the_right_length_are_found_and_nothing_is_left(lab: Any, database: str) -> None:
    few(lab.run, database)
    artifact = lab.back_up(database)[database]
    victim = next(key for key in lab.stored() if re.search(r"/names/.*\.bin$", key))
    kept = lab.storage.get(victim)
    lab.storage.put(victim, kept[:-3] + bytes(byte ^ 255 for byte in kept[-3:]))

    with pytest.raises(Exception, match=r"damaged|[Cc]hecksum"):
        lab.restorer().database(artifact, lab.prefix, f"{database} aside")
    assert not lab.server.rows("SELECT 1 FROM system.databases WHERE name = {d:String}", {"d": f"{database} aside"})


def test_fewer_rows_than_the_manifest_tells_are_found(lab: Any, database: str) -> None:
    few(lab.run, database)
    artifact = lab.back_up(database)[database]
    tables = tuple(
        replace(fact, rows=(fact.rows or 0) + 1) if fact.name == "other" else fact for fact in artifact.tables
    )
    with pytest.raises(ArchiveError, match=r"other .* has 50 rows instead of 51"):
        lab.restorer().database(replace(artifact, tables=tables), lab.prefix, f"{database} aside")


def test_rows_are_those_of_the_cut_while_clients_write(lab: Any, database: str) -> None:
    """Exact under load: what the manifest tells is what comes back."""
    lab.run(f"CREATE TABLE {name(database, 't')} (a UInt64) ENGINE = MergeTree ORDER BY a")
    lab.run(f"INSERT INTO {name(database, 't')} SELECT number FROM numbers(1000)")
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set():
            lab.run(f"INSERT INTO {name(database, 't')} SELECT number FROM numbers(7)")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        artifact = lab.back_up(database)[database]
    finally:
        ended.set()
        writer.join()
    (fact,) = artifact.tables
    assert fact.exact
    assert "t" in artifact.detail["digests"]
    restored = lab.restorer().database(artifact, lab.prefix, f"{database} aside")
    assert (restored.level, restored.rows) == ("equal", fact.rows)


def test_langfuse_tables_of_the_demo_come_back_equal(
    clickhouse: Clickhouse, fresh_lab: Any, fresh_clickhouse: Any
) -> None:
    lab = fresh_lab(clickhouse)
    artifact = lab.back_up("default")["default"]
    other = fresh_lab(fresh_clickhouse(seed=0), lab.settings.store)
    restored = other.restorer().database(artifact, lab.prefix, "default")  # there, and empty
    assert (restored.created, restored.level) == (False, "equal")
