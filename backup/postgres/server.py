"""What a PostgreSQL server says of itself: version, databases, and whether it is reached directly."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backup.errors import SourceError
from backup.postgres.explain import explained
from backup.postgres.login import Login

if TYPE_CHECKING:
    from psycopg import Connection

DATABASES = """
SELECT datname, datallowconn, datconnlimit, has_database_privilege(oid, 'CONNECT')
FROM pg_catalog.pg_database WHERE NOT datistemplate ORDER BY datname
"""
# What hosts keep for themselves and let nobody read.
HOSTS_OWN = ("rdsadmin", "cloudsqladmin", "azure_maintenance", "azure_sys")
INVALID = -2  # datconnlimit of a database whose DROP was interrupted


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server. `version` is for people, `major` for choosing a client; `identifier` is the cluster's own, "" when
    this role may not know it. `databases` are those to back up, `missing` those asked for that are not there; `pooled`
    says that something stands in between."""

    version: str
    major: int
    identifier: str
    databases: tuple[str, ...]
    missing: tuple[str, ...]
    pooled: bool
    notes: tuple[str, ...]


def survey(login: Login, wanted: Sequence[str]) -> Server:
    """Looks at the server; `wanted` names databases, none: all but templates. Raises SourceError."""
    import psycopg

    connection = login.connect()
    try:
        return _survey(connection, wanted)
    except psycopg.Error as error:
        raise explained(str(error), f"PostgreSQL at {login.place}") from None
    finally:
        connection.close()


def refuse_pooler(login: Login, server: Server) -> str:
    """Raises SourceError when a pooler stands behind DATABASE_URL: a snapshot ends with its connection, and a pooler
    gives connections to others. Where BACKUP_DATABASE_URL was set, whoever set it is believed; the note is given back.
    """
    if not server.pooled:
        return ""
    what = f"{login.variable} leads through a pooler at {login.place} (its answers come from another process)"
    if login.variable == "BACKUP_DATABASE_URL":
        return f"{what}; a backup needs a connection that stays its own"
    raise SourceError(what, "set BACKUP_DATABASE_URL to PostgreSQL's direct address")


def _survey(connection: "Connection[tuple[Any, ...]]", wanted: Sequence[str]) -> Server:
    pid, version = connection.execute(
        "SELECT pg_catalog.pg_backend_pid(), pg_catalog.current_setting('server_version')"
    ).fetchall()[0]
    rows = connection.execute(DATABASES).fetchall()
    there = {str(row[0]) for row in rows}
    notes = []
    databases = []
    for name, allows, limit, may in rows:
        if name in wanted:
            databases.append(str(name))
        elif wanted or (name in HOSTS_OWN and not may):
            continue
        elif not allows or limit == INVALID:
            why = "its DROP was interrupted" if limit == INVALID else "it allows no connections"
            notes.append(f'database "{name}" is not backed up: {why}')
        else:
            databases.append(str(name))
    return Server(
        version=str(version).split(" ")[0],
        major=connection.info.server_version // 10_000,
        identifier=_identifier(connection),
        databases=tuple(databases),
        missing=tuple(name for name in wanted if name not in there),
        # A pooler hands out numbers of its own for cancelling, so the one of the login is not the backend's.
        pooled=connection.info.backend_pid != pid,
        notes=tuple(notes),
    )


def _identifier(connection: "Connection[tuple[Any, ...]]") -> str:
    from psycopg.errors import InsufficientPrivilege, UndefinedFunction

    try:
        rows = connection.execute("SELECT system_identifier FROM pg_catalog.pg_control_system()").fetchall()
    except (InsufficientPrivilege, UndefinedFunction):
        return ""
    return str(rows[0][0])
