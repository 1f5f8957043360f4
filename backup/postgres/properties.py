"""What belongs to a database itself and not to what is in it: owner, grants, settings, limit, comment."""

import re

from backup.postgres.explain import one_line
from backup.postgres.script import NAME, spellings, statements
from backup.postgres.target import Target

# Of what pg_restore --create writes, these; `CREATE DATABASE` and `SET` are not among them.
KNOWN = re.compile(
    rf"(?P<begin>ALTER |ALTER ROLE {NAME} IN |(?:GRANT|REVOKE) [^;]*? ON |COMMENT ON |SECURITY LABEL [^;]*? ON )"
    rf"DATABASE (?P<name>{NAME}) ",
    re.DOTALL,
)


def apply_properties(target: Target, script: str, of: str, name: str, *, comment: bool = True) -> list[str]:
    """Gives the database `name` what `script` (of pg_restore --create) gives the database `of`.

    The mark in its comment goes, unless `comment` is False: then no comment is set. Gives back in words what the server
    refused. Raises TargetError.
    """
    import psycopg

    from backup.swap import quoted

    notes = []
    if comment:
        target.mark(name, None)
    with target.telling(), target.connection.transaction():
        for statement in statements(script):
            found = KNOWN.match(statement)
            if found is None or found["name"] not in spellings(of):
                continue
            if found["begin"].startswith("COMMENT") and not comment:
                continue
            adapted = f"{found['begin']}DATABASE {quoted(name)} {statement[found.end() :]}"
            try:
                with target.connection.transaction():
                    target.connection.execute(adapted)
            except psycopg.OperationalError:
                raise
            except psycopg.Error as error:
                what = re.split(r" TO | = |'", statement[found.end() :], maxsplit=1)[0]
                why = one_line(str(error.diag.message_primary or "refused"))
                notes.append(f'"{name}": {found["begin"].strip()} … {what} was refused: {why}')
    return notes
