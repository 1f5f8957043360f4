"""Roles on their way back: those that a dump needs and the server lacks, and, only when asked for, all of them."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from backup.postgres.explain import one_line
from backup.postgres.script import NAME, spellings, statements, unquoted
from backup.postgres.target import Target

CREATE = re.compile(rf"CREATE ROLE ({NAME})")
ALTER = re.compile(rf"ALTER ROLE ({NAME}) ", re.DOTALL)
NAMED = re.compile(
    rf"(?:OWNER TO|^GRANT [^;]*? TO|^REVOKE [^;]*? FROM|FOR ROLE|AUTHORIZATION|FOR USER) ({NAME})", re.MULTILINE
)
NOBODY = frozenset({"public", "current_user", "session_user", "current_role"})
# A place on the old server's disk: it says nothing on this one.
OF_THE_DISK = re.compile(r"(?:CREATE|ALTER|COMMENT ON) TABLESPACE|GRANT .* ON TABLESPACE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """What a point knows of roles: the script that makes them, "" when the point has none that is whole.

    `point` is the point the script is of; `passwords` says whether it holds them.
    """

    script: str = ""
    point: str = ""
    passwords: bool = False

    def named(self) -> frozenset[str]:
        """Every role the script makes."""
        found = (CREATE.fullmatch(statement) for statement in statements(self.script))
        return frozenset(unquoted(one[1]) for one in found if one)


def needed(schema: str, roles: Roles) -> frozenset[str]:
    """The roles that a dump's SQL names.

    Where the point knows its roles, those of them that occur: one too many does no harm, and one that is missing would
    end the restore. Else what the statements about owners and grants name.
    """
    known = roles.named()
    if known:
        return frozenset(name for name in known if any(f" {spelling}" in schema for spelling in spellings(name)))
    found = {unquoted(name) for name in NAMED.findall(schema)}
    return frozenset(name for name in found if name.lower() not in NOBODY and not name.startswith("pg_"))


def make(target: Target, names: Collection[str]) -> None:
    """Makes roles that may not log in. Raises TargetError."""
    from psycopg import sql

    with target.telling(), target.connection.transaction():
        for name in sorted(names):
            target.connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(name)))
            if not target.superuser:
                # Only a member of a role may hand objects to it.
                target.connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(name)))


def restore_all(target: Target, roles: Roles) -> list[str]:
    """Every role of the script with its rights, memberships, settings and password, over what the server has.

    The role we are logged in as keeps its password and rights, or the restore would lock itself out. Gives back what
    was left out or refused, in words. Raises TargetError when the connection is lost.
    """
    import psycopg

    notes = []
    there = target.roles()
    with target.telling(), target.connection.transaction():
        for statement in statements(roles.script):
            why = _left_out(statement, target.user, there)
            if why is None:
                try:
                    with target.connection.transaction():
                        target.connection.execute(statement)
                except psycopg.OperationalError:
                    raise
                except psycopg.Error as error:
                    # The server's answer alone: the statement may hold a password.
                    why = one_line(str(error.diag.message_primary or "refused"))
            if why:
                notes.append(f"{_about(statement)}: {why}")
    return notes


def _left_out(statement: str, user: str, there: Collection[str]) -> str | None:
    """Why a statement is not executed; "" for one that goes without saying, None for one that is."""
    if statement.startswith("SET "):
        return ""
    if OF_THE_DISK.match(statement):
        return "left out, since it names a folder of the old server"
    if (found := CREATE.fullmatch(statement)) and unquoted(found[1]) in there:
        return ""
    if (found := ALTER.match(statement)) and unquoted(found[1]) == user and " WITH " in statement:
        return "left as it is, since the restore is logged in as this role"
    return None


def _about(statement: str) -> str:
    """The beginning of a statement, up to anything that could be a secret."""
    return " ".join(re.split(r" (?:WITH|SET|IS) |'", statement, maxsplit=1)[0].split())


def listed(names: Iterable[str]) -> str:
    """Names for people."""
    return ", ".join(f'"{name}"' for name in sorted(names))


def how_to_log_in(names: Sequence[str], *, passwords: bool) -> str:
    """What to say about roles that were made."""
    again = "or run the restore again with --globals" if passwords else "its password is not in the restore point"
    return (
        f"made the roles {listed(names)}, which may not log in yet: "
        f"ALTER ROLE … LOGIN PASSWORD '…' for those that shall; {again}"
    )
