"""One database's snapshot: taken quickly, held while the dump runs, and asked for facts beside it.

The dump imports it (`pg_dump --snapshot`), so that what is counted here is what lies in the archive.
"""

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from backup.errors import SourceError
from backup.manifest import TableFacts, rfc3339
from backup.postgres.explain import explained, one_line
from backup.postgres.login import Login

if TYPE_CHECKING:
    from psycopg import Connection

# A row security policy would make counts too small without a word; this makes it an error, as pg_dump does.
PREPARE = "SET search_path = pg_catalog; SET row_security = off; SET max_parallel_workers_per_gather = 0"

# Tables whose rows a dump carries: plain ones, each partition for itself; not what an extension brings along.
TABLES = """
SELECT c.oid, format('%I.%I', n.nspname, c.relname), c.reltuples::bigint, pg_table_size(c.oid), c.relpages::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY c.relpages, 2
"""

# A rewritten table (TRUNCATE, some ALTER TABLE) looks empty to an older snapshot, and pg_dump would store it so.
# relfilenode is read under our snapshot, pg_relation_filenode as of now.
REWRITTEN = """
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND pg_relation_filenode(c.oid) IS DISTINCT FROM c.relfilenode ORDER BY 1
"""

LOCKED = """
SELECT format('%I.%I', n.nspname, c.relname), a.pid, coalesce(nullif(a.application_name, ''), a.usename::text, '?'),
  coalesce(extract(epoch FROM now() - a.xact_start)::bigint, 0)
FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.granted
  AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1 LIMIT 3
"""

SETTINGS = """
SELECT coalesce(r.rolname, ''), s.setconfig FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole
WHERE s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1
"""

BACK = "ROLLBACK TO SAVEPOINT ours; RELEASE SAVEPOINT ours"

# What a dump may come to: the pages of tables and of what they keep aside; else, when those are not known since nothing
# was analyzed, all of the database but the catalogs of an empty one.
EXPECTED = """
SELECT coalesce(sum(c.relpages + coalesce(t.relpages, 0)), 0)::bigint * current_setting('block_size')::bigint,
  greatest(pg_database_size(current_database()) - 7500000, 0)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
WHERE c.relkind = 'r' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
"""

# Which application a migration table belongs to, told by a table that only it has.
APPLICATIONS = (("litellm", "LiteLLM_VerificationToken"), ("langfuse", "dataset_items"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What one database holds at its snapshot: rows and sizes by table, extensions, and what is PostgreSQL's own."""

    tables: tuple[TableFacts, ...]
    extensions: dict[str, str]
    detail: dict[str, Any]


class Snapshot:
    """The connection to one database, and after `take` the snapshot it holds. Close it.

    `id` is what pg_dump is given; `taken` is by time.monotonic(), `at` the wall clock's; `expected_bytes` is a guess.
    """

    def __init__(self, login: Login, database: str) -> None:
        self.database = database
        self.id = ""
        self.taken = 0.0
        self.at: datetime | None = None
        self._where = f'database "{database}"'
        self._connection: Connection[tuple[Any, ...]] = login.connect(database)
        self.expected_bytes = 0
        try:
            self._connection.execute(PREPARE)
            pages, whole = self._asked(EXPECTED)[0]
            self.expected_bytes = int(pages if pages > whole / 4 else whole)
        except BaseException:
            self.close()
            raise

    def take(self) -> None:
        """Begins the transaction and exports its snapshot: one round trip. Raises SourceError."""
        with self._telling():
            cursor = self._connection.execute(
                "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SELECT pg_export_snapshot()"
            )
            self.taken, self.at = time.monotonic(), datetime.now(UTC)
            cursor.nextset()
            row = cursor.fetchone()
            self.id = str(row[0]) if row else ""

    def rewritten(self) -> list[str]:
        """Tables that are not in the files they were in at the snapshot: to be asked once the dump has its locks."""
        with self._telling():
            return [str(row[0]) for row in self._connection.execute(REWRITTEN)]

    def locked(self) -> str:
        """Who holds tables so that nobody can read them, in words; "" when nobody does or it cannot be told."""
        with contextlib.suppress(SourceError), self._telling():
            rows = self._connection.execute(LOCKED).fetchall()
            return ", ".join(f"{table} is held by {who} (pid {pid}) for {held} s" for table, pid, who, held in rows)
        return ""

    def facts(self, seconds: float, stopped: Callable[[], bool]) -> Facts:
        """What the snapshot sees; rows are counted for at most `seconds`, smallest tables first.

        Raises SourceError; what a role may not see is left out.
        """
        with self._telling():
            detail = self._detail()
            extensions = {
                str(name): str(version)
                for name, version in self._asked("SELECT extname, extversion FROM pg_extension ORDER BY 1")
            }
            detail["application"] = self._application()
            tables = tuple(self._count(time.monotonic() + seconds, stopped))
        return Facts(tables=tables, extensions=extensions, detail=detail)

    def close(self) -> None:
        """Ends the transaction and the connection, also while another thread is in it. Never raises."""
        with contextlib.suppress(Exception):  # psycopg raises many kinds here, and there is nothing left to do
            self._connection.cancel_safe(timeout=0.5) if self._busy() else None
        with contextlib.suppress(Exception):
            self._connection.close()

    def _busy(self) -> bool:
        return self._connection.info.transaction_status.name == "ACTIVE"

    def _detail(self) -> dict[str, Any]:
        """The database itself: what has to be said again when it is restored, and how large it was.

        Of its settings only the values of PostgreSQL's own are kept: those with a dot in their name are the
        application's, often secret, and are in the archive (`pg_restore --create`).
        """
        found: dict[str, Any] = self._asked("SELECT to_jsonb(d) FROM pg_database d WHERE datname = current_database()")[
            0
        ][0]
        known = {
            "collate": "datcollate",
            "ctype": "datctype",
            "locale_provider": "datlocprovider",
            "locale": "datlocale" if "datlocale" in found else "daticulocale",
            "connection_limit": "datconnlimit",
            "acl": "datacl",
        }
        detail = {name: found.get(column) for name, column in known.items()}
        rows = self._asked(
            "SELECT pg_encoding_to_char(d.encoding), pg_get_userbyid(d.datdba)::text, t.spcname::text,"
            " shobj_description(d.oid, 'pg_database'), pg_database_size(d.oid) FROM pg_database d"
            " JOIN pg_tablespace t ON t.oid = d.dattablespace WHERE d.datname = current_database()"
        )
        detail |= dict(zip(("encoding", "owner", "tablespace", "comment", "database_bytes"), rows[0], strict=True))
        detail["settings"] = [
            {"role": str(role), **_setting(str(one))} for role, settings in self._asked(SETTINGS) for one in settings
        ]
        detail["large_objects"] = self._asked("SELECT count(*) FROM pg_largeobject_metadata")[0][0]
        detail["snapshot_at"] = rfc3339(self.at) if self.at else ""
        return detail

    def _application(self) -> dict[str, str] | None:
        """Whose database this is and its newest migration; None when it keeps no such table or we may not read it."""
        migrations = self._schema_of("_prisma_migrations")
        if migrations is None:
            return self._alembic()
        name = next((name for name, table in APPLICATIONS if self._schema_of(table) is not None), "prisma")
        rows = self._tried(
            f"SELECT migration_name FROM {migrations}._prisma_migrations"  # noqa: S608  quoted by the server
            " WHERE finished_at IS NOT NULL ORDER BY migration_name DESC LIMIT 1"
        )
        return {"name": name, "migration": str(rows[0][0])} if rows else None

    def _alembic(self) -> dict[str, str] | None:
        schema = self._schema_of("alembic_version")
        if schema is None:
            return None
        rows = self._tried(f"SELECT version_num FROM {schema}.alembic_version ORDER BY 1")  # noqa: S608  likewise
        return {"name": "alembic", "migration": ", ".join(str(row[0]) for row in rows)} if rows else None

    def _schema_of(self, table: str) -> str | None:
        """The quoted schema that has a table of that name."""
        rows = self._connection.execute(
            "SELECT quote_ident(n.nspname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relname = %s AND c.relkind IN ('r', 'p') ORDER BY n.nspname <> 'public', 1 LIMIT 1",
            (table,),
        ).fetchall()
        return str(rows[0][0]) if rows else None

    def _count(self, until: float, stopped: Callable[[], bool]) -> Iterable[TableFacts]:
        """Each table, smallest first: counted while there is time, then as the server estimates it."""
        from psycopg.errors import QueryCanceled

        late = False
        for _, name, estimate, size, _pages in self._asked(TABLES):
            left = until - time.monotonic()
            late = late or left < 0.001 or stopped()
            rows: int | None = None
            if not late:
                try:
                    rows = self._counted(str(name), left)
                except QueryCanceled:
                    late = True
            if rows is not None:
                yield TableFacts(name=name, rows=rows, exact=True, bytes=size)
            else:
                yield TableFacts(name=name, rows=estimate if estimate >= 0 else None, exact=False, bytes=size)

    def _counted(self, name: str, seconds: float) -> int | None:
        """The rows of one table; None when this role may not read it. Raises QueryCanceled after `seconds`."""
        query = f"SET LOCAL statement_timeout = {max(1, int(seconds * 1000))}"
        rows = self._tried(f"SELECT count(*) FROM ONLY {name}", query)  # noqa: S608  quoted by the server's %I
        return int(rows[0][0]) if rows else None

    def _tried(self, query: str, first: str = "") -> list[tuple[Any, ...]]:
        """Asks inside a savepoint, since an error would end the transaction and with it the snapshot.

        Gives nothing back when the role may not. Raises QueryCanceled when `first` sets a time that runs out.
        """
        from psycopg.errors import FeatureNotSupported, InsufficientPrivilege, QueryCanceled

        self._connection.execute("SAVEPOINT ours")
        try:
            if first:
                self._connection.execute(first)
            rows = self._asked(query)
        except (InsufficientPrivilege, FeatureNotSupported):
            rows = []
        except QueryCanceled:
            self._connection.execute(BACK)
            raise
        self._connection.execute(BACK)
        return rows

    def _asked(self, query: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(query).fetchall()

    @contextlib.contextmanager
    def _telling(self) -> Any:
        import psycopg

        try:
            yield
        except psycopg.Error as error:
            raise explained(one_line(str(error)), self._where) from None


def _setting(text: str) -> dict[str, str | None]:
    name, _, value = text.partition("=")
    return {"name": name, "value": None if "." in name else value}
