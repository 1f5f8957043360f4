"""The PostgreSQL server to restore to: what is there, what it can take, and databases made and dropped in it."""

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backup.errors import SourceError, TargetError
from backup.postgres.database import Database, Mark, Session
from backup.postgres.explain import one_line, remedy_for
from backup.postgres.login import Login

if TYPE_CHECKING:
    from psycopg import Connection

MAINTENANCE = ("postgres", "template1")
# NAMEDATALEN less one: the server cuts longer names off without a word.
LONGEST_NAME = 63

# When a session began, as the same text whatever its time zone.
SINCE = "SELECT extract(epoch FROM backend_start)::numeric::text FROM pg_stat_activity WHERE pid = %s"

SERVER = """
SELECT current_setting('server_version'), r.rolsuper, r.rolcreatedb OR r.rolsuper, r.rolcreaterole OR r.rolsuper,
  r.rolsuper OR pg_has_role('pg_signal_backend', 'MEMBER'), session_user::text
FROM pg_roles r WHERE r.rolname = current_user
"""

DATABASES = """
SELECT d.datname, d.oid, pg_get_userbyid(d.datdba)::text, d.datallowconn, d.datistemplate,
  CASE WHEN has_database_privilege(d.oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'MEMBER')
    THEN pg_database_size(d.oid) END,
  shobj_description(d.oid, 'pg_database')
FROM pg_database d ORDER BY 1
"""

SESSIONS = """
SELECT a.datname::text, coalesce(nullif(a.application_name, ''), 'an unnamed client'), coalesce(a.usename::text, '?'),
  count(*)
FROM pg_stat_activity a JOIN pg_stat_activity own ON own.pid = pg_backend_pid()
WHERE a.datname = ANY(%s::text[]) AND a.pid <> own.pid AND a.backend_type NOT LIKE 'autovacuum%%'
  -- our own look into these databases, which may not have ended yet
  AND NOT (a.application_name = own.application_name AND a.backend_start >= own.backend_start)
GROUP BY 1, 2, 3 ORDER BY 1, 4 DESC, 2
"""

# Whatever somebody made, but what an extension brought along. 16384 is the first number that is not the system's.
ANYTHING = """
SELECT what FROM (
  SELECT 'pg_class'::regclass, c.oid, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname !~ '^pg_'
  UNION ALL SELECT 'pg_proc'::regclass, oid, proname FROM pg_proc
  UNION ALL SELECT 'pg_type'::regclass, t.oid, t.typname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
    WHERE n.nspname !~ '^pg_' AND t.typtype IN ('e', 'd', 'r')
  UNION ALL SELECT 'pg_namespace'::regclass, oid, nspname FROM pg_namespace
    WHERE nspname <> 'public' AND nspname !~ '^pg_'
  UNION ALL SELECT 'pg_foreign_server'::regclass, oid, srvname FROM pg_foreign_server
  UNION ALL SELECT 'pg_publication'::regclass, oid, pubname FROM pg_publication
  UNION ALL SELECT 'pg_largeobject_metadata'::regclass, oid, 'a large object' FROM pg_largeobject_metadata
) found (class, oid, what)
WHERE oid >= 16384 AND NOT EXISTS (
  SELECT FROM pg_depend d WHERE d.classid = found.class AND d.objid = found.oid AND d.deptype = 'e') LIMIT 1
"""


class Target:
    """The server, with one connection that is held while we work on it. Close it."""

    def __init__(self, login: Login, avoid: frozenset[str] = frozenset()) -> None:
        self.login = login
        self._connection = _connected(login, avoid)
        with self.telling():
            row = self._connection.execute(SERVER).fetchone()
            if row is None:
                raise TargetError(f"PostgreSQL at {login.place} does not know who we are", "check the address")
            self.version = str(row[0]).split(" ")[0]
            self.superuser, self.may_create, self.may_make_roles, self.may_signal = map(bool, row[1:5])
            self.user = str(row[5])
            self.major = self._connection.info.server_version // 10_000
            self.pid = int(self.ask("SELECT pg_backend_pid()")[0][0])
        if self._connection.info.backend_pid != self.pid:
            # Another's sessions come and go under ours, by which a later command tells whether we are alive.
            self._connection.close()
            raise TargetError(
                f"{login.variable} leads through a pooler at {login.place}, which gives our session to others",
                "set BACKUP_DATABASE_URL to PostgreSQL's direct address, or give that with --to-postgres",
            )
        self.since = str(self.ask(SINCE, self.pid)[0][0])

    @property
    def place(self) -> str:
        """Host and port, for people."""
        return f"PostgreSQL {self.version} at {self.login.place}"

    @property
    def connection(self) -> "Connection[tuple[Any, ...]]":
        """The connection, in autocommit, to a database that is not being exchanged."""
        return self._connection

    def ask(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """The rows of a query. Raises TargetError."""
        with self.telling():
            return self._connection.execute(query, parameters or None).fetchall()

    def databases(self) -> dict[str, Database]:
        """Every database, by name."""
        found = {}
        for name, oid, owner, allows, template, size, comment in self.ask(DATABASES):
            found[str(name)] = Database(
                name=str(name),
                oid=oid,
                owner=str(owner),
                allows=allows,
                template=template,
                size=size,
                comment=comment or "",
                mark=Mark.read(comment or ""),
            )
        return found

    def roles(self) -> frozenset[str]:
        """The names of all roles."""
        return frozenset(str(row[0]) for row in self.ask("SELECT rolname FROM pg_roles"))

    def not_ours(self, roles: Iterable[str]) -> list[str]:
        """Those of the roles that exist and to which we may not hand objects, not being a member."""
        query = (
            "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s::text[]) AND NOT pg_has_role(oid, 'MEMBER') ORDER BY 1"
        )
        return [str(row[0]) for row in self.ask(query, list(roles))]

    def extensions(self) -> dict[str, str]:
        """The extensions whose files the server has, and their newest version."""
        query = "SELECT name, default_version FROM pg_available_extensions"
        return {str(name): str(version) for name, version in self.ask(query)}

    def sessions(self, names: list[str]) -> list[Session]:
        """Who is connected to these databases, ourselves left out."""
        rows = self.ask(SESSIONS, names)
        return [Session(database=row[0], program=row[1], role=row[2], count=row[3]) for row in rows]

    def standby(self) -> bool:
        """Whether it follows another server and takes no writes."""
        return bool(self.ask("SELECT pg_is_in_recovery()")[0][0])

    def now(self) -> datetime:
        """The server's own time, in UTC."""
        return datetime.fromtimestamp(float(self.ask("SELECT extract(epoch FROM now())")[0][0]), UTC)

    def has_tablespaces(self) -> bool:
        """Whether there are tablespaces beside PostgreSQL's own two."""
        return bool(self.ask("SELECT FROM pg_tablespace WHERE spcname !~ '^pg_'"))

    def free_bytes(self) -> int | None:
        """Room on the server's disk; None when it is not this machine's, since no server tells."""
        if self.login.host not in ("localhost", "127.0.0.1", "::1"):
            return None
        with contextlib.suppress(TargetError, OSError):
            folder = Path(str(self.ask("SHOW data_directory")[0][0]))
            return shutil.disk_usage(folder).free if (folder / "PG_VERSION").exists() else None
        return None

    def what_is_in(self, name: str) -> str:
        """The name of anything in a database, "" when it is empty."""
        with self.inside(name) as connection:
            row = connection.execute(ANYTHING).fetchone()
            return str(row[0]) if row else ""

    def alive(self, mark: Mark) -> bool:
        """Whether the restore that wrote `mark` still runs, ourselves included."""
        return self.ask(SINCE, mark.pid) == [(mark.since,)]

    def end_sessions(self, names: list[str]) -> None:
        """Ends whoever is connected to these databases."""
        self.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = ANY(%s::text[]) AND pid <> pg_backend_pid()",
            names,
        )

    def drop(self, name: str) -> None:
        """Drops a database with whoever is in it, if it is there."""
        from psycopg import sql

        self._run(sql.SQL("DROP DATABASE IF EXISTS {} {}").format(sql.Identifier(name), self._force))

    def rename(self, name: str, to: str) -> None:
        """Gives a database another name; it must not be in use."""
        from psycopg import sql

        self._run(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(to)))

    def mark(self, name: str, mark: Mark | None) -> None:
        """Writes a mark, or takes it away."""
        from psycopg import sql

        text = sql.Literal(mark.text() if mark else None)
        self._run(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), text))

    def create(self, name: str, detail: Mapping[str, Any]) -> str:
        """Makes an empty database like the one in `detail` (Artifact.detail): encoding and locale, of template0.

        Gives a note when the server does not know the locale and its own was taken. Raises TargetError.
        """
        from psycopg import sql

        encoding = sql.SQL(" ENCODING {}").format(sql.Literal(detail.get("encoding") or "UTF8"))
        begin = sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)) + encoding
        try:
            self._run(begin + self._locale(detail))
        except TargetError as error:
            if "locale" not in error.what and "collation" not in error.what:
                raise
            said = one_line(error.what.partition(": ")[2])
        else:
            return ""
        # Rows that sort otherwise are better at 3 a.m. than none; C fits every encoding.
        for own in (sql.SQL(""), sql.SQL(" LC_COLLATE 'C' LC_CTYPE 'C'")):
            with contextlib.suppress(TargetError):
                self._run(begin + own)
                return (
                    f"the server does not know the locale {detail.get('collate')} ({said}); its own is used, so text "
                    "may sort otherwise than before"
                )
        raise TargetError(f"{self.place}: {said}", "restore to a server that has this locale and encoding")

    @contextlib.contextmanager
    def inside(self, name: str) -> "Iterator[Connection[tuple[Any, ...]]]":
        """A connection into a database, closed at the end. Raises TargetError."""
        try:
            connection = self.login.connect(name)
        except SourceError as error:
            raise TargetError(error.what, error.remedy) from None
        try:
            with self.telling():
                yield connection
        finally:
            connection.close()

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()

    @contextlib.contextmanager
    def telling(self) -> Iterator[None]:
        """Whatever the server refuses, as a TargetError."""
        import psycopg

        try:
            yield
        except psycopg.Error as error:
            text = one_line(str(error))
            raise TargetError(f"PostgreSQL at {self.login.place}: {text}", remedy_for(text)) from None

    @property
    def _force(self) -> Any:
        from psycopg import sql

        return sql.SQL("WITH (FORCE)" if self.major >= 13 else "")

    def _run(self, query: Any) -> None:
        with self.telling():
            self._connection.execute(query)

    def _locale(self, detail: Mapping[str, Any]) -> Any:
        from psycopg import sql

        provider = {"i": "icu", "b": "builtin"}.get(str(detail.get("locale_provider") or "c"))
        parts: list[sql.Composable] = []
        if detail.get("collate"):
            parts.append(sql.SQL(" LC_COLLATE {} LC_CTYPE {}").format(detail["collate"], detail.get("ctype")))
        if provider and self.major >= 15:
            word = "ICU_LOCALE" if provider == "icu" else "BUILTIN_LOCALE"
            parts.append(sql.SQL(" LOCALE_PROVIDER " + provider))
            if detail.get("locale"):
                parts.append(sql.SQL(f" {word} {{}}").format(detail["locale"]))
        return sql.Composed(parts)


def fit_name(name: str, ending: str) -> str:
    """`name` + `ending`, cut in the middle so that the server takes it whole."""
    room = LONGEST_NAME - len(ending.encode())
    return name.encode()[:room].decode(errors="ignore") + ending


def _connected(login: Login, avoid: frozenset[str]) -> "Connection[tuple[Any, ...]]":
    """A connection to a database that is not going to be exchanged. Raises TargetError."""
    first: SourceError | None = None
    for name in dict.fromkeys((*MAINTENANCE, login.database)):
        if name in avoid:
            continue
        try:
            connection = login.connect(name)
        except SourceError as error:
            first = first or error
            if any(word in error.what for word in ("password", "refused", "could not translate", "timeout", "resolve")):
                break
            continue
        connection.execute("SET search_path = pg_catalog")
        return connection
    if first is None:
        raise TargetError("there is no database to work from", "create an empty database named postgres")
    raise TargetError(first.what, first.remedy)
