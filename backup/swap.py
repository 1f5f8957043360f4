"""Restored PostgreSQL databases take the place of live ones, all of them in one transaction of the server.

ALTER DATABASE … RENAME takes a lock on the database before it waits for its sessions to go. Whoever connects meanwhile
waits for that lock, so new sessions are kept out from the first moment without a flag that could be left behind; the
old ones are ended from a second connection. Both renames, the owner, the grants, the settings and the comment are one
transaction: it is done or it never was, whether we, the server or the network die in its middle. Nothing has to be
undone by hand, and nothing is left but the restored database beside the live one, which the next command finds by its
mark.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backup.errors import BackupError, TargetError
from backup.postgres.script import elements
from backup.postgres.target import Target, fit_name

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.sql import Composable, Composed

# RENAME itself waits 5 s for sessions to go; a session that we are not allowed to end stays longer.
TRIES = 3
LOCK_SECONDS = 30
ENDING_EVERY = 0.1

# Settings whose value is a list of names (GUC_LIST_QUOTE in PostgreSQL's sources).
OF_NAMES = (
    *("local_preload_libraries", "search_path", "session_preload_libraries", "shared_preload_libraries"),
    *("temp_tablespaces", "unix_socket_directories"),
)

TAKEN = "somebody made a database of that name meanwhile: look at it, and run again with --swap to take its place"

FACTS = """
SELECT pg_get_userbyid(datdba)::text, datconnlimit, shobj_description(oid, 'pg_database')
FROM pg_database WHERE datname = %s
"""
GRANTS = """
SELECT CASE WHEN a.grantee = 0 THEN NULL ELSE pg_get_userbyid(a.grantee)::text END, a.privilege_type, a.is_grantable
FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a WHERE d.datname = %s ORDER BY 1, 2
"""
SETTINGS = """
SELECT r.rolname::text, s.setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
  LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE d.datname = %s AND (s.setrole = 0 OR r.oid IS NOT NULL) ORDER BY 1
"""
END = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = ANY(%s::text[]) AND pid <> pg_backend_pid() AND pid <> %s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """`restored` becomes `live`; what was `live` becomes `kept`. `kept` is "" where the name `live` is free.

    `alike` gives the restored database the owner, grants and settings that the live one has.
    """

    live: str
    restored: str
    kept: str = ""
    alike: bool = True

    @property
    def back(self) -> "Exchange":
        """What undoes it."""
        return Exchange(live=self.live, restored=self.kept, kept=self.restored)


def exchange(target: Target, exchanges: Sequence[Exchange], check: Callable[[str], object] = lambda _: None) -> None:
    """Does all of them or none. `check` is called with each live name afterwards; when it raises, all is undone.

    Raises TargetError; the names are then as they were.
    """
    refuse_prepared(target, exchanges)
    _exchange(target, exchanges)
    try:
        for one in exchanges:
            with target.inside(one.live) as connection:
                connection.execute("SELECT")
            check(one.live)
    except BackupError:
        undo(target, exchanges)
        raise


def undo(target: Target, exchanges: Sequence[Exchange]) -> None:
    """Puts the names back as they were before. Raises TargetError."""
    _exchange(target, [one.back for one in exchanges if one.kept], properties=False)
    for one in exchanges:
        if not one.kept:
            target.rename(one.live, one.restored)


def refuse_prepared(target: Target, exchanges: Sequence[Exchange]) -> None:
    """Raises TargetError when a live database has prepared transactions, which keep its name as it is."""
    names = [one.live for one in exchanges if one.kept]
    rows = target.ask("SELECT gid, database::text FROM pg_prepared_xacts WHERE database = ANY(%s::text[])", names)
    if rows:
        raise TargetError(
            f'database "{rows[0][1]}" has the prepared transaction "{rows[0][0]}"',
            "end it with COMMIT PREPARED or ROLLBACK PREPARED, then run again",
        )


def commands(exchanges: Sequence[Exchange]) -> list[str]:
    """The SQL for a person who wants the old data back, to be run in the database postgres."""
    lines = []
    for one in exchanges:
        if one.kept:
            lines.append(f"ALTER DATABASE {quoted(one.live)} RENAME TO {quoted(fit_name(one.live, '_taken_back'))};")
            lines.append(f"ALTER DATABASE {quoted(one.kept)} RENAME TO {quoted(one.live)};")
    return lines


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def _exchange(target: Target, exchanges: Sequence[Exchange], *, properties: bool = True) -> None:
    names = [name for one in exchanges for name in (one.live, one.restored)]
    for left in reversed(range(TRIES)):
        try:
            with _nobody_in(target, names), target.telling(), target.connection.transaction():
                target.connection.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
                for one in exchanges:
                    _rename(target.connection, one, properties=properties and one.alike)
        except TargetError as error:
            if left and "being accessed by other users" in error.what:
                continue
            remedy = TAKEN if "already exists" in error.what else error.remedy
            raise TargetError(f"the names were not exchanged, and are as they were: {error.what}", remedy) from None
        else:
            return


@contextlib.contextmanager
def _nobody_in(target: Target, names: list[str]) -> Iterator[None]:
    """Meanwhile ends whoever is in these databases, again and again, from a connection of its own."""
    done = threading.Event()
    connection = target.login.connect(target.connection.info.dbname)

    def end() -> None:
        import psycopg

        with contextlib.suppress(psycopg.Error):  # lost, or not allowed: then RENAME says who is in the way
            while not done.wait(ENDING_EVERY):
                connection.execute(END, (names, target.pid))

    thread = threading.Thread(target=end, name="end sessions", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(5)
        connection.close()


def _rename(connection: "Connection[tuple[Any, ...]]", one: Exchange, *, properties: bool) -> None:
    from psycopg.sql import SQL, Identifier

    rename = SQL("ALTER DATABASE {} RENAME TO {}")
    if one.kept:
        connection.execute(rename.format(Identifier(one.live), Identifier(one.kept)))
        if properties:
            for statement in list(_like(connection, one.kept, one.restored)):
                connection.execute(statement)
    connection.execute(rename.format(Identifier(one.restored), Identifier(one.live)))


def _like(connection: "Connection[tuple[Any, ...]]", model: str, name: str) -> "Iterator[Composed]":
    """What gives the database `name` the owner, limit, comment, settings and grants of `model`."""
    from psycopg.sql import SQL, Identifier, Literal

    database = Identifier(name)
    owner, limit, comment = connection.execute(FACTS, (model,)).fetchall()[0]
    yield SQL("ALTER DATABASE {} OWNER TO {}").format(database, Identifier(owner))
    yield SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(database, Literal(limit))
    yield SQL("COMMENT ON DATABASE {} IS {}").format(database, Literal(comment))
    for role, _ in connection.execute(SETTINGS, (name,)).fetchall():
        yield SQL("ALTER {} RESET ALL").format(_whom(role, database))
    for role, settings in connection.execute(SETTINGS, (model,)).fetchall():
        for setting in settings:
            yield SQL("ALTER {} SET {} TO {}").format(_whom(role, database), *_setting(setting))
    for grantee, _, _ in connection.execute(GRANTS, (name,)).fetchall():
        yield SQL("REVOKE ALL ON DATABASE {} FROM {}").format(database, _grantee(grantee))
    for grantee, privilege, again in connection.execute(GRANTS, (model,)).fetchall():
        yield SQL("GRANT {} ON DATABASE {} TO {}{}").format(
            SQL(privilege), database, _grantee(grantee), SQL(" WITH GRANT OPTION" if again else "")
        )


def _whom(role: str | None, database: "Composable") -> "Composable":
    from psycopg.sql import SQL, Identifier

    if role is None:
        return SQL("DATABASE {}").format(database)
    return SQL("ROLE {} IN DATABASE {}").format(Identifier(role), database)


def _setting(text: str) -> "tuple[Composable, Composable]":
    from psycopg.sql import SQL, Identifier, Literal

    name, _, value = text.partition("=")
    values = elements(value) if name in OF_NAMES else [value]
    listed = SQL(", ").join(map(Literal, values or [""]))
    return SQL(".").join(Identifier(part) for part in name.split(".")), listed


def _grantee(name: str | None) -> "Composable":
    from psycopg.sql import SQL, Identifier

    return SQL("PUBLIC") if name is None else Identifier(name)
