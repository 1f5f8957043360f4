"""What there is on a ClickHouse server: databases, tables, data parts."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from backup.clickhouse.client import Server
from backup.errors import SourceError
from backup.layout import left_aside

SYSTEM = frozenset({"system", "INFORMATION_SCHEMA", "information_schema"})
# Databases of these engines are a window on data that lives elsewhere.
ELSEWHERE = frozenset(
    ("MySQL", "PostgreSQL", "SQLite", "S3", "HDFS", "Filesystem", "Remote", "DataLakeCatalog", "Lazy", "Overlay")
)
# Engines that hold no rows of their own.
WITHOUT_DATA = frozenset(
    ("View", "MaterializedView", "Dictionary", "Distributed", "Merge", "Null", "LiveView", "WindowView")
)
INNER = (".inner_id.", ".inner.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table, view or dictionary: its engine and definition, the rows and bytes the server tells (None: it does
    not)."""

    name: str
    engine: str
    ddl: str
    rows: int | None
    bytes: int | None
    uuid: str
    dependents: tuple[tuple[str, str], ...] = ()

    @property
    def in_parts(self) -> bool:
        """Whether its rows are in data parts."""
        return self.engine.endswith("MergeTree")

    @property
    def inner(self) -> bool:
        """Whether it is where a materialized view keeps what it made."""
        return self.name.startswith(INNER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One data part, which never changes. `digest` is ClickHouse's own, of all its files."""

    rows: int
    bytes: int
    digest: str


def databases(server: Server) -> dict[str, str]:
    """Every database but system ones, and its engine."""
    found = server.rows("SELECT name, engine FROM system.databases ORDER BY name")
    return {
        str(row["name"]): str(row["engine"])
        for row in found
        if row["name"] not in SYSTEM and not str(row["name"]).startswith("_temporary")
    }


def tables(server: Server, database: str) -> dict[str, Table]:
    """What is in a database, by name."""
    found = server.rows(
        "SELECT name, engine, create_table_query, total_rows, total_bytes, toString(uuid) AS id, "
        "arrayZip(dependencies_database, dependencies_table) AS dependents "
        "FROM system.tables WHERE database = {database:String} AND NOT is_temporary ORDER BY name",
        {"database": database},
    )
    return {
        str(row["name"]): Table(
            name=str(row["name"]),
            engine=str(row["engine"]),
            ddl=str(row["create_table_query"]),
            rows=row["total_rows"],
            bytes=row["total_bytes"],
            uuid=str(row["id"]),
            dependents=tuple((str(one[0]), str(one[1])) for one in row["dependents"]),
        )
        for row in found
    }


def parts(server: Server, database: str, *, active: bool = False) -> dict[str, dict[str, Part]]:
    """The data parts of each table, by name; those just merged away too, unless `active`."""
    condition = " AND active" if active else ""
    found = server.rows(
        "SELECT table, name, rows, bytes_on_disk, hash_of_all_files FROM system.parts "  # noqa: S608  # ours
        "WHERE database = {database:String}" + condition,
        {"database": database},
    )
    known: dict[str, dict[str, Part]] = {}
    for row in found:
        part = Part(rows=row["rows"], bytes=row["bytes_on_disk"], digest=str(row["hash_of_all_files"]))
        known.setdefault(str(row["table"]), {})[str(row["name"])] = part
    return known


def owners(found: Mapping[str, Table]) -> dict[str, str]:
    """The table where each materialized view without a target keeps its rows → the view."""
    views = {f".inner_id.{table.uuid}": table.name for table in found.values() if table.engine == "MaterializedView"}
    views |= {f".inner.{table.name}": table.name for table in found.values() if table.engine == "MaterializedView"}
    return {inner: view for inner, view in views.items() if inner in found}


def digest_of(found: Iterable[str]) -> str:
    """One digest of a table from those of its parts, whatever their order and names."""
    return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()[:32]


def choose(server: Server, wanted: Collection[str]) -> tuple[list[str], list[str], list[str]]:
    """Which databases to back up, which of `wanted` there are not, and notes for people. Raises SourceError when there
    is nothing to back up."""
    there = databases(server)
    missing = [name for name in wanted if name not in there]
    chosen = [name for name in there if name in wanted or not wanted]
    notes = [
        f'ClickHouse database "{name}" is not backed up: it is a window ({there[name]}) on data that lives elsewhere'
        for name in chosen
        if there[name] in ELSEWHERE
    ]
    chosen = [name for name in chosen if there[name] not in ELSEWHERE]
    aside = [name for name in chosen if name not in wanted and (left_aside(name) or ("",))[0] in there]
    notes += [
        f'ClickHouse database "{name}" is not backed up: a restore keeps it beside the live one; drop it when all is '
        "well, or name it in BACKUP_CLICKHOUSE_DATABASES"
        for name in aside
    ]
    chosen = [name for name in chosen if name not in aside]
    if not chosen and not missing:
        raise SourceError("ClickHouse has no database to back up", "unset CLICKHOUSE_URL if that is meant")
    return chosen, missing, notes
