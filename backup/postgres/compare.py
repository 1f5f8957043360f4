"""What was restored against what was dumped."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backup.errors import TargetError
from backup.manifest import Artifact, TableFacts

if TYPE_CHECKING:
    from psycopg import Connection

NAMED = 5
TOGETHER = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Tables and rows that were counted and equal; `estimated` tables had no exact number to compare with."""

    tables: int
    rows: int
    estimated: int

    def __str__(self) -> str:
        left = f"; tables without an exact count to compare with: {self.estimated}" if self.estimated else ""
        tables = "1 table" if self.tables == 1 else f"{self.tables} tables"
        return f"{self.rows} rows in {tables}, as many as were dumped{left}"


def compare(
    connection: "Connection[tuple[Any, ...]]", artifact: Artifact, only: Collection[str] | None = None
) -> Compared:
    """Counts the rows of every table (or those of `only`, named as the manifest does) and compares.

    Raises TargetError, which names the tables that differ.
    """
    connection.execute("SET row_security = off")
    tables = [one for one in artifact.tables if only is None or one.name in only]
    exact = [one for one in tables if one.exact and one.rows is not None]
    there = _there(connection)
    wrong = [f"{one.name} is not there" for one in tables if one.name not in there]
    rows = 0
    for begin in range(0, len(exact), TOGETHER):
        some = [one for one in exact[begin : begin + TOGETHER] if one.name in there]
        for table, count in zip(some, _counts(connection, some), strict=True):
            rows += count
            if count != table.rows:
                wrong.append(f"{table.name} has {count} rows instead of {table.rows}")
    objects = artifact.detail.get("large_objects")
    if only is None and isinstance(objects, int):
        found = connection.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchall()[0][0]
        if found != objects:
            wrong.append(f"there are {found} large objects instead of {objects}")
    if wrong:
        more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        raise TargetError(
            f"{artifact.label}: what was restored is not what was dumped: {'; '.join(wrong[:NAMED])}{more}",
            "take another restore point, and report it: python -m backup list",
        )
    return Compared(tables=len(exact), rows=rows, estimated=len(tables) - len(exact))


def _there(connection: "Connection[tuple[Any, ...]]") -> set[str]:
    query = (
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind = 'r'"
    )
    return {str(row[0]) for row in connection.execute(query).fetchall()}


def _counts(connection: "Connection[tuple[Any, ...]]", tables: list[TableFacts]) -> list[int]:
    if not tables:
        return []
    # The names are as the server itself quotes them, and each was just found there.
    parts = [f"(SELECT count(*) FROM ONLY {table.name})" for table in tables]  # noqa: S608  see above
    return [int(count) for count in connection.execute(f"SELECT {', '.join(parts)}").fetchall()[0]]
