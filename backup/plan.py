"""What a restore is going to do, and what a person should know before it does: nothing here changes anything."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from backup.describe import age, size
from backup.errors import BackupError, TargetError
from backup.fingerprints import differing
from backup.manifest import Manifest
from backup.postgres.prepare import Item
from backup.postgres.restore import PostgresRestore
from backup.postgres.target import Target

if TYPE_CHECKING:
    from psycopg import Connection

# Plain bytes a second that a dump was loaded, counted and analyzed with on two cores (facts of the benchmark); a
# database with many indexes takes longer, one on a slow disk too.
RATE = 35_000_000
# Bytes a second that ClickHouse's parts came back with, on the same machine.
NATIVE_RATE = 100_000_000
LONGEST_LOOK = "2s"

WAYS = {
    "free": 'comes back as "{name}", which is free',
    "empty": 'comes back as "{name}", which is there and empty',
    "beside": 'comes back beside the live database, as "{name}"',
    "swap": 'takes the place of the live "{name}", which is kept as "{kept}"',
}

# Columns of time that begin an index: their newest value is one step away.
INDEXED = """
SELECT n.nspname, c.relname, a.attname FROM pg_index i
  JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
  JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam AND m.amname = 'btree'
WHERE i.indisvalid AND i.indpred IS NULL AND a.atttypid IN ('timestamp'::regtype, 'timestamptz'::regtype)
  AND n.nspname !~ '^pg_' ORDER BY c.reltuples DESC LIMIT 20
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Newest:
    """The newest change of a live database that could be found, and how; `at` None when nothing tells."""

    at: datetime | None
    how: str


def postgres_lines(restore: PostgresRestore, environ: Mapping[str, str]) -> Iterator[str]:
    """The plan of PostgreSQL's part, a line each."""
    target = restore.target
    if target is None:
        return
    yield f"{target.place}, as {target.user}"
    for item in restore.items:
        yield from _item_lines(item, target)
    if restore.empty:
        yield f"nothing to bring back into {', '.join(restore.empty)}: empty when dumped"
    for other in restore.others:
        yield f"WARNING: {other}: whichever ends last finds the name taken"
    for left in restore.left:
        yield f"first, what a restore left that died: {left.says}"
    if restore.missing_roles:
        yield f"roles that are missing and will be made without login: {', '.join(sorted(restore.missing_roles))}"
    if restore.not_ours:
        names = ", ".join(restore.not_ours)
        yield f'all objects will belong to "{target.user}", which is no member of {names} and may give them nothing'
    sessions = restore.sessions()
    if sessions:
        yield "sessions that will be ended: " + "; ".join(map(str, sessions))
    elif any(item.kept for item in restore.items):
        yield "sessions that will be ended: none now"
    need = sum(item.dump.bytes for item in restore.items if not item.ready)
    if need:
        free = target.free_bytes()
        known = (
            f"{size(free)} are free" if free is not None else "the server does not tell what is free: look at its disk"
        )
        yield f"space needed on the server, beside all that is there: about {size(need)}; {known}"
    plain = sum(item.dump.chosen.artifact.plain_bytes for item in restore.items if not item.ready)
    if plain:
        yield f"time to expect: about {duration(plain / RATE + 2)} for {size(plain)} of dumps"
    for made in _manifests(restore.items):
        yield from key_lines(made, environ)


def key_lines(made: Manifest, environ: Mapping[str, str]) -> Iterator[str]:
    """What the keys of here and then mean for the rows."""
    changed = differing(made.id, made.fingerprints, environ)
    for name in changed:
        yield (
            f"WARNING: {name} is another than when {made.id} was taken: rows sealed with the old one cannot be read; "
            "set the old key before the application starts"
        )
    unset = [name for name in made.fingerprints if not environ.get(name, "").strip()]
    if unset:
        yield f"the rows need the same {', '.join(unset)} as then; not set here, so not compared"


def duration(seconds: float) -> str:
    """A time to wait, in words."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def newest_change(target: Target, database: str) -> Newest:
    """When a live database was last written to: by commit timestamps where the server keeps them, else by the newest
    value up to now in an indexed column of time. Never raises."""
    with contextlib.suppress(TargetError), target.inside(database) as connection:
        connection.execute(f"SET statement_timeout = '{LONGEST_LOOK}'; SET default_transaction_read_only = on")
        found = _by_column(connection)
        if found.at is not None:
            return found
        if target.ask("SHOW track_commit_timestamp")[0][0] == "on":
            rows = target.ask('SELECT "timestamp" FROM pg_last_committed_xact()')
            if rows and rows[0][0]:
                return Newest(at=rows[0][0], how="the server's last commit, in any database")
    return Newest(at=None, how="no indexed column of time, and track_commit_timestamp is off")


def live_migration(target: Target, database: str) -> str:
    """The newest migration of a live database, "" when it keeps none that we may read."""
    with contextlib.suppress(TargetError), target.inside(database) as connection:
        for table, column, filtered in (
            ("_prisma_migrations", "migration_name", " WHERE finished_at IS NOT NULL"),
            ("alembic_version", "version_num", ""),
        ):
            rows = connection.execute(
                "SELECT quote_ident(n.nspname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE c.relname = %s AND c.relkind = 'r' ORDER BY n.nspname <> 'public', 1 LIMIT 1",
                (table,),
            ).fetchall()
            if rows:
                query = f"SELECT {column} FROM {rows[0][0]}.{table}{filtered} ORDER BY 1 DESC LIMIT 1"  # noqa: S608  quoted by the server
                found = connection.execute(query).fetchall()
                return str(found[0][0]) if found else ""
    return ""


def _item_lines(item: Item, target: Target) -> Iterator[str]:
    dump = item.dump
    artifact, point = dump.chosen.artifact, dump.chosen.point
    old = (target.now() - point.begun_at).total_seconds()
    way = WAYS[item.way].format(name=item.name, kept=item.kept)
    yield f'"{dump.name}" as of {point.id} ({age(max(0.0, old))} ago, {size(dump.bytes)} then) {way}'
    if item.way == "beside" and dump.tables is None:
        yield "  --swap puts it in the place of the live one"
    if dump.tables is not None:
        yield f"  the rows of {', '.join(sorted(dump.tables))} only; all other tables stay empty, foreign keys left out"
    if item.ready:
        yield f'  restored already, as "{item.ready}": it is compared again and used'
    for name, version in dump.extensions.items():
        there = target.extensions().get(name, "")
        if version and there and there != version:
            yield f"  extension {name}: {version} then, {there} on this server"
    if item.live is not None and item.way in ("swap", "beside"):
        yield from _live_lines(item, target)
    if artifact.tables and not all(table.exact for table in artifact.tables):
        some = sum(not table.exact for table in artifact.tables)
        yield f"  {some} tables have no exact row count to compare with"


def _live_lines(item: Item, target: Target) -> Iterator[str]:
    """What is live now and was not at the point."""
    live, point = item.live, item.dump.chosen.point
    if live is None:
        return
    newest = newest_change(target, live.name)
    if newest.at is None:
        yield f'  data newer than the point in the live "{live.name}": unknown ({newest.how})'
    elif newest.at > point.begun_at + timedelta(seconds=1):
        yield (
            f'  DATA NEWER THAN THE POINT: the live "{live.name}" was last written {newest.at:%Y-%m-%d %H:%M:%S} UTC, '
            f"{age((newest.at - point.begun_at).total_seconds())} after it ({newest.how})"
        )
    else:
        yield f'  no data newer than the point was seen in the live "{live.name}" ({newest.how})'
    application: Mapping[str, Any] | None = item.dump.chosen.artifact.detail.get("application")
    if not application:
        return
    then, now = str(application.get("migration", "")), live_migration(target, live.name)
    if now and then and now != then:
        yield (
            f"  schema of {application.get('name')}: migration {then} in the point, {now} live; after the swap restart "
            "the application so that it migrates, or run the version of then"
        )


def _by_column(connection: "Connection[tuple[Any, ...]]") -> Newest:
    import psycopg
    from psycopg import sql

    best = Newest(at=None, how="")
    for schema, table, column in connection.execute(INDEXED).fetchall():
        query = sql.SQL("SELECT max({0})::timestamptz AT TIME ZONE 'UTC' FROM {1} WHERE {0} <= now()").format(
            sql.Identifier(column), sql.Identifier(schema, table)
        )
        try:
            value = connection.execute(query).fetchall()[0][0]
        except psycopg.Error:
            continue
        if isinstance(value, datetime) and (best.at is None or value.replace(tzinfo=UTC) > best.at):
            best = Newest(at=value.replace(tzinfo=UTC), how=f"{table}.{column}")
    return best


def _manifests(items: Sequence[Item]) -> Iterator[Manifest]:
    seen = {item.dump.chosen.point.id: item.dump.chosen.point.manifest for item in items}
    yield from (made for made in seen.values() if made is not None)


def refusal_lines(problems: Sequence[BackupError]) -> Iterator[str]:
    """Why it cannot be done, a line each."""
    for problem in problems:
        yield f"CANNOT: {problem}"
