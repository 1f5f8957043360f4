"""What a PostgreSQL server says of itself: version, databases, and whether it is reached directly."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backup.errors import SourceError
from backup.layout import left_aside
from backup.postgres.database import Mark
from backup.postgres.explain import explained
from backup.postgres.login import APPLICATION, Login
from backup.postgres.target import LONGEST_NAME

if TYPE_CHECKING:
    from psycopg import Connection

DATABASES = """
SELECT datname, datallowconn, datconnlimit, has_database_privilege(oid, 'CONNECT'),
  coalesce(shobj_description(oid, 'pg_database'), '')
FROM pg_catalog.pg_database WHERE NOT datistemplate ORDER BY datname
"""
# Whoever is connected uses a database; a restore of ours that fills it, or looks into it, does not.
USED = """
SELECT DISTINCT datname FROM pg_catalog.pg_stat_activity
WHERE datname IS NOT NULL AND backend_type = 'client backend' AND application_name <> %s
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


def is_aside(name: str, comment: str, there: AbstractSet[str], used: AbstractSet[str]) -> bool:
    """Whether a restore of ours fills this database, or has left it beside a live one (of `there`) and nobody uses it.

    What was restored is told by its mark too; of the old data, which keep their own comment, only the name tells.
    """
    found = left_aside(name)
    if found is None:
        return False
    beside, how = found
    if how in ("restoring", "restored") and Mark.read(comment) is None:
        return False
    cut = len(name.encode()) == LONGEST_NAME
    live = beside in there or (cut and any(one.startswith(beside) for one in there - {name}))
    return how == "restoring" or (live and name not in used)


def _survey(connection: "Connection[tuple[Any, ...]]", wanted: Sequence[str]) -> Server:
    pid, version = connection.execute(
        "SELECT pg_catalog.pg_backend_pid(), pg_catalog.current_setting('server_version')"
    ).fetchall()[0]
    rows = connection.execute(DATABASES).fetchall()
    there = {str(row[0]) for row in rows}
    used = {str(row[0]) for row in connection.execute(USED, (APPLICATION,)).fetchall()}
    notes = []
    databases = []
    for name, allows, limit, may, comment in rows:
        if name in wanted:
            databases.append(str(name))
        elif wanted or (name in HOSTS_OWN and not may):
            continue
        elif not allows or limit == INVALID:
            why = "its DROP was interrupted" if limit == INVALID else "it allows no connections"
            notes.append(f'database "{name}" is not backed up: {why}')
        elif is_aside(str(name), str(comment), there, used):
            notes.append(
                f'database "{name}" is not backed up: a restore keeps it beside the live one and nobody is connected '
                "to it; drop it when all is well, or name it in BACKUP_DATABASES"
            )
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
