"""Where an INSERT's data begins, and which format a statement asks for."""

import pytest

from demo.clickhouse_sql import identifier, quote, split
from demo.clickhouse_wire import STATUS, content_type, form_fields


@pytest.mark.parametrize(
    ("sql", "head", "form", "data"),
    [
        (b"INSERT INTO t FORMAT TSV\n1\t2\n", b"INSERT INTO t ", "TSV", b"1\t2\n"),
        (b"insert into t (a) format Native\n\x00\xff", b"insert into t (a) ", "Native", b"\x00\xff"),
        (b"INSERT INTO t FORMAT CSV;\r\n1,2", b"INSERT INTO t ", "CSV", b"1,2"),
        (b"INSERT INTO t FORMAT TSV", b"INSERT INTO t ", "TSV", b""),
        (b"INSERT INTO t VALUES (1, 'a;b')", b"INSERT INTO t ", "Values", b" (1, 'a;b')"),
        (b"INSERT INTO t SETTINGS a = 0 VALUES (1)", b"INSERT INTO t SETTINGS a = 0 ", "Values", b" (1)"),
        (b"INSERT INTO t (format, values) FORMAT CSV\n1", b"INSERT INTO t (format, values) ", "CSV", b"1"),
        (b"INSERT INTO d.format VALUES (1)", b"INSERT INTO d.format ", "Values", b" (1)"),
        (b"INSERT INTO `a format b` VALUES (1)", b"INSERT INTO `a format b` ", "Values", b" (1)"),
        (b"--FORMAT x\nINSERT /*VALUES*/ INTO t FORMAT CSV\n1", b"--FORMAT x\nINSERT /*VALUES*/ INTO t ", "CSV", b"1"),
        # the first line of data is data even when it is empty or looks like SQL
        (b"INSERT INTO t FORMAT TSV\n\nVALUES\n", b"INSERT INTO t ", "TSV", b"\nVALUES\n"),
    ],
)  # fmt: skip
def test_an_insert_is_cut_where_its_data_begins(sql: bytes, head: bytes, form: str, data: bytes) -> None:
    statement = split(sql)
    assert (statement.verb, statement.head, statement.format, statement.data) == ("INSERT", head, form, data)


@pytest.mark.parametrize("sql", [b"INSERT INTO t SELECT 1", b"INSERT INTO t (a) WITH 1 AS x SELECT x"])
def test_an_insert_from_a_query_brings_no_data(sql: bytes) -> None:
    statement = split(sql)
    assert statement.data is None
    assert statement.head == sql


@pytest.mark.parametrize(
    ("sql", "form"),
    [
        (b"SELECT 1", None),
        (b"SELECT 1 FORMAT JSON", "JSON"),
        (b"select 1\n format\tJSONEachRow ; ", "JSONEachRow"),
        (b"SELECT 1 FORMAT CSV SETTINGS max_threads = 1", "CSV"),
        (b"SELECT format FROM t", None),
        (b"SELECT format('{}', 1)", None),
        (b"SELECT ' FORMAT CSV'", None),
        (b"SELECT 1 -- FORMAT CSV", None),
        (b"SELECT 'it''s' AS \"FORMAT x\" FORMAT XML", "XML"),
    ],
)
def test_the_format_asked_for(sql: bytes, form: str | None) -> None:
    assert split(sql).format == form


def test_names_and_strings_are_quoted() -> None:
    assert quote("a'b\\") == "'a\\'b\\\\'"
    assert identifier("a`b\\") == "`a\\`b\\\\`"


@pytest.mark.parametrize(
    ("form", "media"),
    [
        (None, "text/plain; charset=UTF-8"),
        ("TabSeparatedWithNames", "text/tab-separated-values; charset=UTF-8"),
        ("JSONEachRow", "application/x-ndjson; charset=UTF-8"),
        ("JSONCompact", "application/json; charset=UTF-8"),
        ("Native", "application/octet-stream"),
        ("Pretty", "text/plain; charset=UTF-8"),
    ],
)
def test_the_media_type_of_a_format(form: str | None, media: str) -> None:
    assert content_type(form) == media


def test_statuses_are_by_name() -> None:
    assert (STATUS["AUTHENTICATION_FAILED"], STATUS["REQUIRED_PASSWORD"], STATUS["UNKNOWN_TABLE"]) == (403, 401, 404)
    assert "MEMORY_LIMIT_EXCEEDED" not in STATUS


def test_a_form_is_read() -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT {a:String}\r\n--x--\r\n'
    assert form_fields("multipart/form-data; boundary=x", body) == {"query": "SELECT {a:String}"}
