"""What was restored against what was dumped."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backup.errors import TargetError
from backup.manifest import Artifact, TableFacts
from backup.postgres.script import NAME, unquoted

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
    connection: "Connection[tuple[Any, ...]]",
    artifact: Artifact,
    only: Collection[str] | None = None,
    taken: Mapping[tuple[str, str], int] | None = None,
) -> Compared:
    """Compares the rows of every table (or those of `only`, named as the manifest does) with what was dumped.

    `taken` is what the server answered when it took the rows, by schema and name; what is not in it is counted. Raises
    TargetError, which names the tables that differ.
    """
    connection.execute("SET row_security = off")
    tables = [one for one in artifact.tables if only is None or one.name in only]
    exact = [one for one in tables if one.exact and one.rows is not None]
    there = _there(connection)
    wrong = [f"{one.name} is not there" for one in tables if one.name not in there]
    rows = 0
    for begin in range(0, len(exact), TOGETHER):
        some = [one for one in exact[begin : begin + TOGETHER] if one.name in there]
        for table, count in zip(some, _counts(connection, some, taken or {}), strict=True):
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


def _counts(
    connection: "Connection[tuple[Any, ...]]", tables: list[TableFacts], taken: Mapping[tuple[str, str], int]
) -> list[int]:
    known = {table.name: taken.get(_parts(table.name)) for table in tables}
    asked = [name for name, count in known.items() if count is None]
    if asked:
        # The names are as the server itself quotes them, and each was just found there.
        parts = [f"(SELECT count(*) FROM ONLY {name})" for name in asked]  # noqa: S608  see above
        known |= dict(zip(asked, connection.execute(f"SELECT {', '.join(parts)}").fetchall()[0], strict=True))
    return [int(known[table.name] or 0) for table in tables]


def _parts(name: str) -> tuple[str, str]:
    """Schema and name of a table, from the way the server quotes them."""
    found = re.fullmatch(f"({NAME})\\.({NAME})", name)
    return (unquoted(found[1]), unquoted(found[2])) if found else ("", name)
