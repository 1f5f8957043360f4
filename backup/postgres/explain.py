"""What PostgreSQL and its programs say → what happened and what to do."""

import re

from backup.errors import DumpError, SourceError

LONGEST = 400

# The server's words in English; a server that speaks another language is quoted, with no more than the general remedy.
REMEDIES: tuple[tuple[str, str], ...] = (
    (
        r"remaining connection slots|too many clients|too many connections|53300",
        "no connection is free: close idle clients, or raise max_connections; one for each database and 2 are needed",
    ),
    (
        r"password authentication failed|no password supplied|authentication failed",
        "check user and password in the address; a special character in a password must be percent-encoded",
    ),
    (r"no pg_hba\.conf entry", "let this host and user in, in the server's pg_hba.conf, or ask for TLS with ?sslmode="),
    (r'role ".*" does not exist', "check the user in the address"),
    (r'database ".*" does not exist', "check the database's name, or create it"),
    (
        r"unsupported startup parameter|pgbouncer|no such user|server login has been failing|query_wait_timeout",
        "this looks like a pooler: set BACKUP_DATABASE_URL to PostgreSQL's direct address",
    ),
    (
        r"could not translate host name|name or service not known|failed to resolve|no address associated",
        "check the host in the address; names ending in .internal exist only inside that network",
    ),
    (r"connection refused", "check that PostgreSQL runs, and the host and port in the address"),
    (r"timeout expired|timed out", "check that the host is up and that no firewall drops the connection"),
    (r"starting up|shutting down|in recovery mode", "the server is just starting or stopping: run again in a minute"),
    (
        r"server version mismatch",
        "install the PostgreSQL client of the server's major version, or name its folder in BACKUP_PG_BIN",
    ),
    (
        # pg_dump waits for a lock with a statement_timeout.
        r"lock timeout|could not obtain lock|statement timeout.*LOCK TABLE",
        "end whoever holds the table, take the backup at a quieter hour, or raise BACKUP_LOCK_WAIT_SECONDS",
    ),
    (
        r"cache lookup failed|could not open relation|relation .* does not exist|concurrently (dropped|updated)",
        "a table was changed between the snapshot and the dump: run again, and keep migrations out of its hour",
    ),
    (
        r"row-level security|row security",
        "a policy hides rows from this role: give it BYPASSRLS, or back up as the tables' owner or a superuser",
    ),
    (r"permission denied", "back up as a superuser, or grant the role pg_read_all_data (and CONNECT on the database)"),
    (
        r"invalid snapshot identifier|could not import the requested snapshot|is not running anymore",
        "the connection that held the snapshot is gone: run again; behind a pooler, set BACKUP_DATABASE_URL first",
    ),
    (
        r"terminating connection|closed the connection|connection to server was lost|could not receive data|SYSCALL",
        "the server ended the connection: see its log, then run again",
    ),
    (r"No space left on device", "the server's disk is full: free space there"),
    (r"out of shared memory", "raise max_locks_per_transaction on the server: there are more tables than locks"),
    (r"out of memory", "the server is out of memory: see its log"),
    (r"SSL|certificate", "check sslmode and the certificates in the address"),
)
GENERAL = "see the server's log"


def remedy_for(text: str) -> str:
    """What to do about what PostgreSQL said."""
    for pattern, remedy in REMEDIES:
        if re.search(pattern, text, re.IGNORECASE):
            return remedy
    return GENERAL


def explained(text: str, where: str) -> SourceError:
    """The error for what was said at `where`."""
    return SourceError(f"{where}: {one_line(text)}", remedy_for(text))


def dump_failed(program: str, where: str, code: int, lines: list[str]) -> DumpError:
    """The error for a program that ended with `code` (negative: killed by that signal) after writing `lines`."""
    ended = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    text = " ".join(lines)
    what = f"{program} of {where} {ended}"
    if code == -9 and not text:
        return DumpError(what, "whoever killed it, often for want of memory: see the host's log, then run again")
    return DumpError(f"{what}: {one_line(text)}" if text else what, remedy_for(text))


def one_line(text: str) -> str:
    """`text` in one line of a length for people."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"
