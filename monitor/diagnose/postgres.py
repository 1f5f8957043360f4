"""What PostgreSQL, or a pooler before it, proves. Evidence.code is the SQLSTATE."""

from dataclasses import replace

from config.causes import Cause
from monitor.diagnose.base import Rule
from monitor.diagnose.general import GENERAL
from monitor.probes.base import Sight

_POOLER_FULL = "no more connections allowed|query_wait_timeout|max_client_conn"

POSTGRES: tuple[Rule, ...] = (
    Rule(
        cause=Cause.TLS,
        codes=("28000",),
        text="no pg_hba.conf entry.*(no encryption|SSL off)$",
        proof="28000, no pg_hba.conf entry … no encryption, with sslmode=disable: the server wants TLS",
        says="{title} at {address} takes only encrypted connections from here.",
        remedy="Write sslmode=require in {setting}. If the server shall take plain ones, pg_hba.conf must allow them.",
    ),
    Rule(
        cause=Cause.AUTH,
        precise=True,
        codes=("28000",),
        text="no pg_hba.conf entry",
        proof="28000, no pg_hba.conf entry for this host, user or database, with TLS or without",
        says="{title} at {address} does not admit this user, database or address (pg_hba.conf).",
        remedy="Compare user and database in {setting} with the server's pg_hba.conf and add a line for this network; "
        "then SELECT pg_reload_conf().",
    ),
    Rule(
        cause=Cause.TLS,
        sights=(Sight.TLS,),
        codes=("insecure",),
        proof="the server, or a proxy before it, says that it wants TLS",
        says="{title} at {address} takes only encrypted connections.",
        remedy="Add ?sslmode=require to {setting}.",
    ),
    Rule(
        cause=Cause.TLS_ON_PLAIN,
        sights=(Sight.TLS,),
        codes=("no_tls",),
        proof="the server speaks no TLS and sslmode asks for it",
        says="{title} at {address} does not speak TLS, and sslmode asks for it.",
        remedy="Take sslmode out of {setting}, or write sslmode=prefer: on a private network plain connections are "
        "usual. Or switch ssl on at the server.",
    ),
    Rule(
        cause=Cause.AUTH,
        codes=("28P01", "28000"),
        proof="28P01 password authentication failed, 28000 no such role or not allowed to log in",
        says="{title} at {address} does not accept the user or password.",
        remedy="Compare user and password in {setting} with the server's: use the reference "
        "${{Postgres.DATABASE_URL}} rather than a copy. Changing POSTGRES_PASSWORD does not change a database that "
        "exists; ALTER ROLE … PASSWORD does. Check for characters that need %-encoding.",
    ),
    Rule(
        cause=Cause.AUTH,
        precise=True,
        codes=("42501",),
        proof="42501 permission denied",
        says="{title} at {address} lets this user in, but not to this database.",
        remedy="GRANT CONNECT ON DATABASE … TO the user of {setting}.",
    ),
    Rule(
        cause=Cause.NOT_FOUND,
        codes=("3D000",),
        proof="3D000 database does not exist",
        says="{title} at {address} runs, but has no database of that name.",
        remedy="Compare the database name in {setting} with \\l on the server. If it was there yesterday, see who "
        "dropped or renamed it, or whether the volume is new and empty, before anything writes; restore it with "
        "watchkeeper-backup.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        text=_POOLER_FULL,
        proof="PgBouncer: no more connections allowed, or query_wait_timeout",
        says="The pooler at {address} before {title} is full.",
        remedy="SHOW POOLS and SHOW CLIENTS on the pooler tell who waits for what: raise pool_size or "
        "max_client_conn, or end the clients that hold connections idle in a transaction.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        codes=("53300",),
        proof="53300: every connection slot is taken, of the server, the database or the role",
        says="{title} at {address} is up, but every connection slot is taken.",
        remedy="See who holds them, as a superuser (some slots are reserved for it): SELECT usename, "
        "application_name, state, count(*) FROM pg_stat_activity GROUP BY 1, 2, 3 ORDER BY 4 DESC. Lower that "
        "client's pool (R2R: R2R_POSTGRES_MAX_CONNECTIONS) or put a pooler before it; only then raise max_connections.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        codes=("53100",),
        proof="53100 disk full",
        says="{title} at {address} has no disk space left.",
        remedy="Enlarge the volume now. Never delete files in pg_wal by hand. Then see what grew: logs, WAL kept by a "
        "dead replication slot (pg_replication_slots), or a table.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        codes=("53000", "53200", "53400"),
        proof="53200 out of memory, or another resource of the server's used up",
        says="{title} at {address} is out of memory or of another resource.",
        remedy="See its memory and its log; end the largest queries (pg_stat_activity, pg_terminate_backend), then "
        "raise the memory or lower work_mem and max_connections.",
    ),
    Rule(
        cause=Cause.STOPPING,
        codes=("57P03",),
        text="shutting down",
        proof="57P03, the database system is shutting down",
        says="{title} at {address} is shutting down.",
        remedy="If nobody is redeploying it, see what stopped it. If it stays like this, a client holds it up: it "
        "waits for open sessions to end.",
    ),
    Rule(
        cause=Cause.STARTING,
        codes=("57P03",),
        proof="57P03, the database system is starting up, in recovery, or not yet accepting connections",
        says="{title} at {address} is starting or recovering, and takes no connections yet.",
        remedy="Wait: after a crash it replays its log first. Do not restart it, that begins it anew. If this "
        "repeats, read why it crashed (out of memory, disk full).",
    ),
    Rule(
        cause=Cause.STOPPING,
        codes=("57P01",),
        proof="57P01 terminating connection due to administrator command",
        says="{title} at {address} ended our session: it is being shut down or restarted.",
        remedy=GENERAL[Cause.STOPPING].remedy,
    ),
    Rule(
        cause=Cause.SERVER_ERROR,
        codes=("57P02", "58000", "58030", "58P01", "F0000", "XX000", "XX001", "XX002"),
        proof="57P02 crash of another process, 58030 I/O error, XX000 internal error, XX001/XX002 corrupted data or "
        "index",
        says="{title} at {address} reports an error of its own ({code}).",
        remedy="Read its log now. 57P02: a process of it was killed, mostly for memory. 58030, XX001, XX002: the disk "
        "or the data is damaged; stop the writers, make a copy of the volume, and only then repair or restore.",
    ),
    Rule(
        cause=Cause.NO_ANSWER,
        codes=("57014",),
        proof="57014: SELECT 1 was cancelled by its timeout",
        says="{title} at {address} lets us in, but does not finish SELECT 1 in time.",
        remedy="It is overloaded or its disk has stalled: see CPU, memory and disk, and the longest rows of "
        "pg_stat_activity.",
    ),
    Rule(
        cause=Cause.READONLY,
        codes=("25006",),
        proof="25006 read-only transaction",
        says="{title} at {address} takes no writes.",
        remedy="See whether {setting} names a standby (SELECT pg_is_in_recovery()), or whether "
        "default_transaction_read_only was set, as some hosts do when the disk is full.",
    ),
    Rule(
        cause=Cause.NOT_FOUND,
        precise=True,
        text="not currently accepting connections",
        proof="the database is closed to connections (ALLOW_CONNECTIONS false)",
        says="{title} at {address} runs, but this database is closed to connections.",
        remedy="Somebody closed it, or a restore is exchanging it now. If none is running: ALTER DATABASE … "
        "ALLOW_CONNECTIONS true.",
    ),
    Rule(
        cause=Cause.DEPENDENCY,
        codes=("08P01", "08000", "08006", "08001"),
        text="server (login|conn)|pgbouncer cannot connect|no working server|server_login_retry|server is down",
        proof="a pooler answers and cannot reach the server behind it",
        says="The pooler at {address} answers, but cannot reach {title} behind it.",
        remedy="Look at the server itself; then at the host, port and password the pooler has for it.",
    ),
    replace(
        GENERAL[Cause.WRONG_SERVICE],
        sights=(Sight.GARBLED,),
        proof="the answer is not PostgreSQL's protocol",
        says="Something answers at {address}, but it does not speak PostgreSQL's protocol as {title} would.",
    ),
    Rule(
        cause=Cause.RESET,
        sights=(Sight.RESET,),
        proof="the connection was cut during the login",
        says="{title} at {address} took the connection and cut it before the login was done.",
        remedy="The server is crashing or restarting (read its log, look for an out-of-memory kill), or the port in "
        "{setting} is another service's.",
    ),
)
