"""Restore points in words."""

from dataclasses import replace
from typing import Any

import pytest

from backup.describe import NAMED, age, counted, described, size
from backup.manifest import Artifact, Piece, TableFacts

DUMP = Artifact(
    engine="postgres",
    kind="database",
    name="litellm",
    status="whole",
    server="18.6",
    tool="pg_dump 18.6",
    plain_bytes=10 * 1024 * 1024,
    stored_bytes=3 * 1024 * 1024,
    readable=True,
    pieces=(Piece(key="x/000000", size=3 * 1024 * 1024, sha256=""),),
    tables=(
        TableFacts(name="public.small", rows=1, exact=True, bytes=8192),
        TableFacts(name="public.large", rows=90_000, exact=False, bytes=9 * 1024 * 1024),
        TableFacts(name="public.hidden", rows=None, exact=False, bytes=None),
    ),
    extensions={"vector": "0.8.1", "pg_trgm": "1.6"},
)


def test_a_dump() -> None:
    assert list(described(DUMP)) == [
        "postgres/database/litellm: whole",
        "  server 18.6 by pg_dump 18.6; 10.0 MiB as 3.0 MiB in 1 piece, read through",
        "  extensions: vector 0.8.1, pg_trgm 1.6",
        "  public.large: about 90000 rows, 9.0 MiB",
        "  public.small: 1 row, 8.0 KiB",
        "  public.hidden: not counted, 0 B",
    ]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"recipients": ("age1x",)}, "in 1 piece, read through, sealed to 1 key"),
        ({"recipients": ("age1x", "age1y"), "readable": False}, "in 1 piece, not read through, sealed to 2 keys"),
        ({"kind": "globals", "readable": False}, "in 1 piece"),
        (
            {"engine": "clickhouse", "tool": "", "pieces": (), "detail": {"files": 7}},
            "in 7 files, each found in the store; not sealed by us",
        ),
    ],
)
def test_how_it_lies_in_the_store(changes: dict[str, Any], says: str) -> None:
    line = list(described(replace(DUMP, **changes)))[1]
    assert line.endswith(f" 3.0 MiB {says}")
    assert line.startswith("  server 18.6; " if "tool" in changes else "  server 18.6 by pg_dump 18.6; ")


def test_a_failed_dump_says_why_and_nothing_else() -> None:
    failed = replace(DUMP, status="failed", error="a table is locked; end who holds it")
    assert list(described(failed)) == ["postgres/database/litellm: failed: a table is locked; end who holds it"]


def test_of_many_tables_the_largest_are_named() -> None:
    tables = tuple(TableFacts(name=f"t{n}", rows=n, exact=True, bytes=n) for n in range(NAMED + 3))
    lines = list(described(replace(DUMP, tables=tables, extensions={})))[2:]
    assert lines[0] == f"  t{NAMED + 2}: {NAMED + 2} rows, {NAMED + 2} B"
    assert len(lines) == NAMED + 1
    assert lines[-1] == "  and 3 smaller tables"


def test_numbers() -> None:
    assert [age(seconds) for seconds in (0, 119, 120, 7_199, 7_200, 172_799, 172_800)] == [
        *("0 s", "119 s", "2 min", "120 min", "2 h", "48 h", "2 d")
    ]
    assert [size(count) for count in (0, 1023, 1024, 1024**3, 5 * 1024**4)] == [
        *("0 B", "1023 B", "1.0 KiB", "1.0 GiB", "5.0 TiB")
    ]
    assert [counted(count, "row") for count in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]
