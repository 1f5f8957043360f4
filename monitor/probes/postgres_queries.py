"""What is asked of PostgreSQL for its signals: one statement a section, each giving one JSON value.

They read what the server keeps in memory, its catalogue of databases and, for the size, its directory: no table of the
user's. Each is its own transaction, so that a pooler may serve it, and a right that is lacking costs one section alone.
Written for PostgreSQL 13 and later.
"""

from collections.abc import Mapping

# Of others' sessions a login without pg_read_all_stats sees who and where, not what: backend_type and xact_start are
# null there, and query says so. Sessions of the names in `dumps` dump or restore: backup's programs (PGAPPNAME), and
# PostgreSQL's own tools in anybody's hands.
SESSIONS = """
WITH dumps (name) AS (
  VALUES ('watchkeeper-backup'), ('pg_dump'), ('pg_dumpall'), ('pg_restore')
), clients AS (
  SELECT *, left(coalesce(nullif(application_name, ''), 'unnamed'), 40) AS app FROM pg_stat_activity
  WHERE coalesce(backend_type, 'client backend') = 'client backend' AND datid IS NOT NULL AND usesysid IS NOT NULL
), limits AS (
  SELECT 'the server' AS of, (SELECT count(*) FROM clients) AS used,
    current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
    - coalesce(current_setting('reserved_connections', true)::int, 0) AS most
  UNION ALL SELECT 'role ' || rolname, (SELECT count(*) FROM clients WHERE usesysid = r.oid), rolconnlimit
    FROM pg_roles r WHERE rolname = session_user AND rolconnlimit >= 0
  UNION ALL SELECT 'database ' || datname, (SELECT count(*) FROM clients WHERE datid = d.oid), datconnlimit
    FROM pg_database d WHERE datname = current_database() AND datconnlimit >= 0
), holders AS (
  SELECT app, usename AS role, count(*) AS count, count(*) FILTER (WHERE state = 'idle') AS idle,
    count(*) FILTER (WHERE state LIKE 'idle in transaction%') AS waiting
  FROM clients GROUP BY 1, 2 ORDER BY 3 DESC, 1 LIMIT 4
), working AS (
  SELECT app, usename AS role, datname AS database, pid, state,
    extract(epoch FROM clock_timestamp() - xact_start)::bigint AS open,
    extract(epoch FROM clock_timestamp() - state_change)::bigint AS still
  FROM clients WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid() AND app NOT IN (SELECT name FROM dumps)
), prepared AS (
  SELECT left(gid, 40) AS gid, owner AS role, database,
    extract(epoch FROM clock_timestamp() - prepared)::bigint AS open
  FROM pg_prepared_xacts
)
SELECT json_build_object(
  'limits', (SELECT json_agg(l) FROM limits l),
  'holders', (SELECT json_agg(h) FROM holders h),
  'hidden', (SELECT count(*) FROM clients WHERE query = '<insufficient privilege>'),
  'oldest', (SELECT to_json(w) FROM working w ORDER BY open DESC LIMIT 1),
  'waiting', (SELECT to_json(w) FROM working w WHERE state LIKE 'idle in transaction%' ORDER BY still DESC LIMIT 1),
  'prepared', (SELECT to_json(p) FROM prepared p ORDER BY open DESC LIMIT 1),
  'dump', (SELECT min(app) FROM clients WHERE app IN (SELECT name FROM dumps)))
"""

WRITABLE = """
SELECT json_build_object(
  'standby', pg_is_in_recovery(),
  'read_only', current_setting('transaction_read_only') = 'on',
  'source', (SELECT source FROM pg_settings WHERE name = 'default_transaction_read_only'))
"""

WRAPAROUND = """
SELECT json_build_object(
  'transactions', (SELECT json_build_object('age', age(datfrozenxid), 'database', datname)
    FROM pg_database ORDER BY age(datfrozenxid) DESC LIMIT 1),
  'multixacts', (SELECT json_build_object('age', mxid_age(datminmxid), 'database', datname)
    FROM pg_database ORDER BY mxid_age(datminmxid) DESC LIMIT 1))
"""

# A replica that stands still answers no more, and its replay_lag stays what it was: then its last answer's age counts.
REPLICATION = """
WITH here AS (
  SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END AS lsn
), replicas AS (
  SELECT left(coalesce(nullif(application_name, ''), client_addr::text, 'unnamed'), 40) AS name, state,
    pg_wal_lsn_diff(here.lsn, replay_lsn)::bigint AS bytes,
    CASE WHEN replay_lsn < here.lsn THEN
      extract(epoch FROM greatest(replay_lag, clock_timestamp() - reply_time))::bigint ELSE 0 END AS behind
  FROM pg_stat_replication, here WHERE state IS DISTINCT FROM 'backup'
), slots AS (
  SELECT slot_name AS name, active, wal_status AS status, pg_wal_lsn_diff(here.lsn, restart_lsn)::bigint AS bytes
  FROM pg_replication_slots, here ORDER BY 4 DESC NULLS LAST
)
SELECT json_build_object(
  'standby', pg_is_in_recovery(),
  'replicas', (SELECT json_agg(r) FROM replicas r),
  'slots', (SELECT json_agg(s) FROM slots s),
  'connected', EXISTS (SELECT FROM pg_stat_wal_receiver),
  'caught_up', CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() END,
  'replayed', extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::bigint)
"""

ARCHIVER = """
SELECT json_build_object(
  'mode', current_setting('archive_mode'),
  'failing', last_failed_time > coalesce(last_archived_time, '-infinity'),
  'failed', failed_count,
  'segment', last_failed_wal,
  'archived', extract(epoch FROM clock_timestamp() - last_archived_time)::bigint,
  'counting', extract(epoch FROM clock_timestamp() - stats_reset)::bigint)
FROM pg_stat_archiver
"""

SIZE = "SELECT json_build_object('bytes', pg_database_size(current_database()), 'database', current_database())"

# Two groups, each over one connection: what an outage follows within minutes, and what grows over hours.
MINUTES: Mapping[str, str] = {"sessions": SESSIONS, "writable": WRITABLE}
HOURS: Mapping[str, str] = {
    "wraparound": WRAPAROUND,
    "replication": REPLICATION,
    "archiver": ARCHIVER,
    "size": SIZE,
}
