"""What ClickHouse's answers mean, where its backups lie, what they list, and what a swap holds: no server."""

import tracemalloc
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.clickhouse.check import check, read
from backup.clickhouse.client import version_of
from backup.clickhouse.explain import explain
from backup.clickhouse.look import Table, digest_of, owners
from backup.clickhouse.place import Place, folder_of
from backup.clickhouse.sql import name, text
from backup.clickhouse.swap_plan import Plan, _levels, target_of
from backup.errors import ArchiveError, SettingsError
from backup.layout import is_ours
from config.backup_sources import ClickhouseSettings
from config.backup_store import StoreSettings
from config.logs import Mask
from config.secret import Secret

SECRET = "canary/secret+key="


def document(files: Iterable[str]) -> bytes:
    return f"<config><version>1</version><contents>{''.join(files)}</contents></config>".encode()


def file(called: str, size: int, **more: object) -> str:
    fields = {"name": called, "size": size, "checksum": "00"} | more
    return f"<file>{''.join(f'<{key}>{escape(str(value))}</{key}>' for key, value in fields.items())}</file>"


def test_every_file_is_found_once_and_empty_or_equal_ones_are_not_missed(memory: Any) -> None:
    listed = document(
        (
            file("metadata/d.sql", 5),
            file("metadata/d/t%20x.sql", 7),
            file("data/d/t%20x/all_1_1_0/count.txt", 2),
            file("data/d/t%20x/all_1_1_0/data.bin", 9),
            file("data/d/t%20x/all_2_2_0/count.txt", 2, data_file="data/d/t%20x/all_1_1_0/count.txt"),
            file("data/d/t%20x/all_2_2_0/empty.bin", 0),
            file("data/d/t%20x/all_1_1_0/by.proj/count.txt", 3),
        )
    )
    base = "p/clickhouse/d"
    memory.put(f"{base}/.backup", listed)
    for key, size in {
        "metadata/d.sql": 5,
        "metadata/d/t%20x.sql": 7,
        "data/d/t%20x/all_1_1_0/count.txt": 2,
        "data/d/t%20x/all_1_1_0/data.bin": 9,
        "data/d/t%20x/all_1_1_0/by.proj/count.txt": 3,
    }.items():
        memory.put(f"{base}/{key}", b"x" * size)

    checked = check(memory, base, database="d")
    assert (checked.files, checked.plain_bytes, checked.objects) == (7, 28, 6)
    assert checked.stored_bytes == 26 + len(listed)
    assert checked.parts == {"t x": {"all_1_1_0", "all_2_2_0"}}
    assert checked.row_files["t x", "all_2_2_0"] == "data/d/t%20x/all_1_1_0/count.txt"
    assert checked.definitions == {"t x"}

    memory.put(f"{base}/data/d/t%20x/all_1_1_0/data.bin", b"x" * 8)
    with pytest.raises(ArchiveError, match=r"data\.bin \(8 bytes instead of 9\)"):
        check(memory, base, database="d")
    memory.delete([f"{base}/data/d/t%20x/all_1_1_0/data.bin"])
    with pytest.raises(
        ArchiveError, match=r"1 files of the ClickHouse backup of d are not in the store, such as data/"
    ):
        check(memory, base, database="d")


def test_one_that_rests_on_another_backup_is_refused(memory: Any) -> None:
    memory.put("p/x/.backup", document([file("data/d/t/a/data.bin", 9, use_base="true")]))
    with pytest.raises(ArchiveError, match="rests on another backup"):
        check(memory, "p/x", database="d")
    (found,) = read(document([file("data/d/t/a/data.bin", 9, use_base="true", base_size=4)]))
    assert (found.in_base, found.stored_as) == (4, "data/d/t/a/data.bin")


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (b"", "cannot be read"),
        (b"<config><contents><file><name>a</name>", "cannot be read"),
        (b"not xml", "cannot be read"),
        (b"<config><contents><file><name>a</name><size>many</size></file></contents></config>", "no number"),
        (b'<!DOCTYPE a [<!ENTITY b "bbbb">]><config>&b;</config>', "declares entities"),
    ],
)
def test_what_is_no_list_of_contents_is_told(made: bytes, says: str) -> None:
    with pytest.raises(ArchiveError, match=says):
        list(read(made))


def test_twenty_thousand_files_take_little_memory(memory: Any) -> None:
    parts = [f"2026{part % 12:02}_{part}_{part}_0" for part in range(400)]
    names = [f"data/d/t/{part}/column_{column}.bin" for part in parts for column in range(50)]
    made = document(file(one, position % 3) for position, one in enumerate(names))
    memory.put("p/x/.backup", made)
    for position, one in enumerate(names):
        if position % 3:
            memory.put(f"p/x/{one}", b"x" * (position % 3))
    tracemalloc.start()
    try:
        checked = check(memory, "p/x", database="d")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert checked.files == 20_000
    assert peak < 5_000_000, "beside the document itself"


@given(st.text())
def test_no_two_databases_share_a_folder_and_every_folder_is_ours(database: str) -> None:
    try:
        database.encode()
    except UnicodeEncodeError:
        return
    folder = folder_of(database)
    assert folder.isascii()
    assert not set(folder) & set("%?#&+ *{}")
    if database:
        assert is_ours(f"{folder}/.backup")
    raw = folder.removeprefix("clickhouse/")
    decoded = b"".join(
        bytes.fromhex(chunk[:2]) + chunk[2:].encode() if position else chunk.encode()
        for position, chunk in enumerate(raw.split("~"))
    )
    assert decoded.decode() == database


STORE = StoreSettings(endpoint="minio:9000", access_key=Secret("AK'1"), secret_key=Secret(SECRET), prefix="w/k")


@pytest.mark.parametrize(
    ("store", "clickhouse", "url"),
    [
        ({}, {}, "http://minio:9000/backups"),
        ({"secure": True}, {}, "https://minio:9000/backups"),
        ({}, {"s3_endpoint": "https://s3.internal:9443/"}, "https://s3.internal:9443/backups"),
        ({"virtual_host": True, "secure": True}, {}, "https://backups.minio:9000"),
    ],
)
def test_the_place_is_the_store_as_clickhouse_reaches_it(
    store: dict[str, Any], clickhouse: dict[str, Any], url: str
) -> None:
    place = Place.of(replace(STORE, **store), ClickhouseSettings(**clickhouse))
    assert place.at("s/p/clickhouse/d/") == f"S3('{url}/w/k/s/p/clickhouse/d', 'AK\\'1', '{SECRET}')"
    assert SECRET not in repr(place)
    assert SECRET not in place.address


def test_a_collection_leaves_every_key_out_and_a_folder_is_refused() -> None:
    place = Place.of(STORE, ClickhouseSettings(s3_collection="backups_s3"))
    assert place.at("s/p") == "S3(backups_s3, 'w/k/s/p')"
    with pytest.raises(SettingsError, match="set MINIO_ENDPOINT") as raised:
        Place.of(StoreSettings(folder=Path("backups")), ClickhouseSettings())
    assert raised.value.exit_code == 2


S3 = "Code: 499. DB::Exception: Failed to check existence of key k/.backup in bucket b: "


@pytest.mark.parametrize(
    ("said", "scope", "remedy"),
    [
        (S3 + "Poco::Exception. Code: 1000, e.code() = 111, Connection refused. error type: NETWORK_CONNECTION",
         "store", "CLICKHOUSE_S3_ENDPOINT"),
        (S3 + "Code: 198. DB::NetException: Not found address of host: minio. (DNS_ERROR)",
         "store", "CLICKHOUSE_S3_ENDPOINT"),
        (S3 + "No response body.. HTTP response code: 403, error type: ACCESS_DENIED. (S3_ERROR)",
         "store", "MINIO_SECRET_KEY"),
        ("Code: 499. DB::Exception: Message: The specified bucket does not exist, bucket x (S3_ERROR)",
         "store", "BACKUP_BUCKET"),
        ("Code: 499. DB::Exception: Message: No space. error type: XMinioStorageFull (S3_ERROR)",
         "store", "the store is full"),
        ("Code: 499. DB::Exception: SlowDown (S3_ERROR)", "store", "too busy"),
        ("Code: 243. DB::Exception: Cannot reserve 1.00 MiB, not enough space (NOT_ENOUGH_SPACE)",
         "database", "disk is full"),
        ("Code: 75. DB::ErrnoException: Cannot write to file: errno: 28, strerror: No space left on device",
         "database", "disk is full"),
        ("Code: 241. DB::Exception: Memory limit (total) exceeded (MEMORY_LIMIT_EXCEEDED)", "database", "memory"),
        ("Code: 252. DB::Exception: Too many parts (3001). Merges are processing slower (TOO_MANY_PARTS)",
         "database", "too many parts"),
        ("Code: 516. DB::Exception: u: Authentication failed (AUTHENTICATION_FAILED)",
         "server", "check CLICKHOUSE_USER and CLICKHOUSE_PASSWORD"),
        ("Code: 497. DB::Exception: u: Not enough privileges. grant BACKUP ON d.* (ACCESS_DENIED)",
         "database", "GRANT BACKUP"),
        ("Code: 164. DB::Exception: u: Cannot execute query in readonly mode. (READONLY)", "database", "may only read"),
        ("Code: 81. DB::Exception: Database d does not exist. (UNKNOWN_DATABASE)", "database", "case-sensitive"),
        ("Code: 7777. DB::Exception: Something new", "database", "see ClickHouse's log"),
    ],
)  # fmt: skip
def test_each_trouble_is_told_with_its_remedy(said: str, scope: str, remedy: str) -> None:
    found = explain(said, Mask())
    assert remedy in found.remedy
    assert found.scope == scope
    assert not found.said.startswith("Code")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            "Max retries exceeded with url: /? (Caused by NameResolutionError(Failed to resolve 'ch' ([Errno -2]",
            "its name is not known",
        ),
        ("(Caused by NewConnectionError('…: [Errno 111] Connection refused'))", "nothing listens there"),
        (
            "SSLError(1, '[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)')",
            "it speaks http and was asked",
        ),
        ("certificate verify failed: CERTIFICATE_VERIFY_FAILED: self-signed (_ssl.c:1)", "not trusted"),
        ("Read timed out. (read timeout=60)", "it takes the connection and answers nothing"),
        ("ConnectTimeoutError(…, 'Connection to ch timed out. (connect timeout=10)')", "does not take the connection"),
        ("('Connection aborted.', RemoteDisconnected('Remote end closed connection'))", "it broke the connection"),
        ("HTTP driver received HTTP status 403, server response: <?xml version", "no ClickHouse (HTTP 403)"),
    ],
)
def test_a_server_that_did_not_answer_is_told_in_plain_words(said: str, words: str) -> None:
    explained = explain(said, Mask())
    assert words in explained.said
    assert "Caused by" not in explained.said


def test_a_message_is_one_short_line_without_secret_stack_or_version() -> None:
    mask = Mask()
    mask.add([Secret(SECRET)])
    said = (
        "Received ClickHouse exception, code: 62, server response: Code: 62. DB::Exception: Syntax error: failed at "
        f"position 9: TO S3('http://m', 'k', '{SECRET}')\n{'x' * 900}, Stack trace (when copying this message, always "
        "include the lines below):\n\n0. ? @ 0x1\n (version 26.9.2.1 (official build)) (for url http://u:p@ch:8123)"
    )
    found = explain(said, mask)
    assert found.code == 62
    assert found.said.startswith("Syntax error")
    for unwanted in (SECRET, "Stack trace", "official build", "for url", "\n"):
        assert unwanted not in found.said
    assert len(found.said) <= 500


@given(st.text(), st.text())
def test_names_and_strings_are_quoted_whole(one: str, other: str) -> None:
    quoted = name(one, other)
    assert quoted.replace("\\\\", "").replace("\\`", "").count("`") == 4
    assert text(one).replace("\\\\", "").replace("\\'", "").count("'") == 2


def test_versions_and_digests() -> None:
    assert version_of("25.12.3.1-lts") == (25, 12)
    assert version_of("24.3.altinitystable") == (24, 3)
    assert version_of("26.9.2.1") < version_of("26.10.1.1")
    assert digest_of(["b", "a"]) == digest_of(["a", "b"]) != digest_of(["a"])


def table(called: str, engine: str = "MergeTree", ddl: str = "", *dependents: str) -> Table:
    found = tuple(("d", one) for one in dependents)
    return Table(name=called, engine=engine, ddl=ddl, rows=0, bytes=0, uuid=f"uuid-{called}", dependents=found)


def view(called: str, target: str) -> Table:
    return table(
        called, "MaterializedView", f"CREATE MATERIALIZED VIEW d.{called} TO d.{target} (`a` Int8) AS SELECT 1"
    )


def test_the_target_of_a_view_is_read_from_its_definition() -> None:
    assert target_of("CREATE MATERIALIZED VIEW `a b`.v TO `a b`.`t\\`x` (`a` Int8) AS SELECT") == ("a b", "t`x")
    assert target_of("CREATE MATERIALIZED VIEW d.v (`a` Int8) ENGINE = MergeTree AS SELECT 1 FROM x TO d.t") is None


def test_tables_are_held_down_the_chain_of_views() -> None:
    found = {
        one.name: one
        for one in (
            table("c", "MergeTree", "", "v3"),
            table("b", "MergeTree", "", "v2"),
            table("a", "MergeTree", "", "v1"),
            table("end"),
            table("alone"),
            view("v1", "b"),
            view("v2", "c"),
            view("v3", "end"),
        )
    }
    plan = Plan(live="d", aside="d", live_tables=found, aside_tables=found, pairs=("a", "b", "c", "end", "alone"))
    assert _levels(plan) == (("a",), ("b",), ("c",))
    tables = (table("a", "MergeTree", "", "v1"), table("b", "MergeTree", "", "v2"), view("v1", "b"), view("v2", "a"))
    circle = {one.name: one for one in tables}
    plan = Plan(live="d", aside="d", live_tables=circle, aside_tables=circle, pairs=("a", "b"))
    assert _levels(plan) == (("a", "b"),)


def test_where_a_view_keeps_its_rows_is_known_by_its_uuid() -> None:
    tables = (table("v", "MaterializedView"), table(".inner_id.uuid-v"), table("w", "MaterializedView"))
    found = {one.name: one for one in tables}
    assert owners(found) == {".inner_id.uuid-v": "v"}
