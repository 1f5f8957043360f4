"""What is asked of ClickHouse's system tables: one row of text values for each thing found.

Every question gives a tag and a map of text, so that all of them fit under one UNION ALL: a server is asked once a
minute and answers in one piece. Columns are those that have been there since 23.3. Of a query's text only its shape is
asked for: what stands in quotes is somebody's data.
"""

from collections.abc import Iterable, Mapping

_DISKS = """
SELECT 'disk' AS tag, map('name', name, 'free', toString(free_space), 'total', toString(total_space),
    'unreserved', toString(unreserved_space), 'kept', toString(keep_free_space)) AS row
FROM (SELECT * FROM system.disks ORDER BY free_space / total_space LIMIT 20)
"""

_LIMITS = """
SELECT 'limit' AS tag, map('name', name, 'value', value) AS row FROM system.merge_tree_settings
WHERE name IN ('parts_to_delay_insert', 'parts_to_throw_insert')
"""

_PARTITIONS = """
SELECT 'partition' AS tag,
    map('table', concat(database, '.', table), 'partition', partition_id, 'parts', toString(parts)) AS row
FROM (
    SELECT database, table, partition_id, count() AS parts FROM system.parts WHERE active
    GROUP BY database, table, partition_id HAVING parts >= 10 ORDER BY parts DESC LIMIT 50
)
"""

# Databases that live elsewhere (PostgreSQL, MySQL, lakes) list their tables over the network: only our own are asked.
_OWN_LIMITS = """
SELECT 'own_limit' AS tag, map('table', concat(database, '.', name),
    'delay', extract(engine_full, 'parts_to_delay_insert = ([0-9]+)'),
    'throw', extract(engine_full, 'parts_to_throw_insert = ([0-9]+)')) AS row
FROM (
    SELECT database, name, engine_full FROM system.tables
    WHERE has((SELECT groupUniqArray(database) FROM system.parts WHERE active), database)
    AND engine LIKE '%MergeTree' AND engine_full LIKE '%parts_to_%_insert = %' LIMIT 100
)
"""

_MUTATIONS = """
SELECT 'mutation' AS tag, map('table', concat(database, '.', table), 'id', mutation_id,
    'age', toString(dateDiff('second', create_time, now())), 'reason', substring(latest_fail_reason, 1, 300)) AS row
FROM (
    SELECT database, table, mutation_id, create_time, latest_fail_reason FROM system.mutations
    WHERE is_done = 0 ORDER BY latest_fail_reason = '', create_time LIMIT 20
)
"""

_REPLICAS = """
SELECT 'replica' AS tag, map('table', concat(database, '.', table), 'readonly', toString(is_readonly),
    'expired', toString(is_session_expired), 'delay', toString(absolute_delay), 'queue', toString(queue_size)) AS row
FROM (
    SELECT database, table, is_readonly, is_session_expired, absolute_delay, queue_size FROM system.replicas
    ORDER BY is_readonly DESC, absolute_delay DESC LIMIT 20
)
"""

_ERRORS = """
SELECT 'error' AS tag,
    map('code', toString(code), 'count', toString(times), 'message', substring(message, 1, 300)) AS row
FROM (
    SELECT code, sum(value) AS times, argMax(last_error_message, last_error_time) AS message FROM system.errors
    WHERE code IN (76, 241, 243, 252) AND NOT remote GROUP BY code
)
"""

# A backup takes as long as it takes, and there are checks of its own for it.
_QUERIES = """
SELECT 'query' AS tag, map('elapsed', toString(toUInt64(elapsed)), 'user', user, 'id', query_id,
    'memory', toString(memory_usage), 'query', substring(normalizeQuery(query), 1, 120)) AS row
FROM (
    SELECT elapsed, user, query_id, memory_usage, query FROM system.processes
    WHERE is_initial_query AND query_id != queryID() AND http_user_agent != 'watchkeeper'
    AND NOT match(query, '(?i)^\\\\s*(BACKUP|RESTORE)\\\\s') ORDER BY elapsed DESC LIMIT 5
)
"""

_DATABASES = """
SELECT 'database' AS tag, map('name', database, 'bytes', toString(bytes), 'logs', toString(logs)) AS row
FROM (
    SELECT database, sum(bytes_on_disk) AS bytes,
        sumIf(bytes_on_disk, database = 'system' AND match(table, '_log(_[0-9]+)?$')) AS logs
    FROM system.parts WHERE active GROUP BY database ORDER BY bytes DESC LIMIT 50
)
"""

_LOGS = """
SELECT 'log' AS tag, map('table', table, 'bytes', toString(bytes)) AS row
FROM (
    SELECT table, sum(bytes_on_disk) AS bytes FROM system.parts
    WHERE active AND database = 'system' AND match(table, '_log(_[0-9]+)?$')
    GROUP BY table ORDER BY bytes DESC LIMIT 3
)
"""

_UPTIME = "SELECT 'server' AS tag, map('uptime', toString(uptime())) AS row"

Questions = Mapping[str, tuple[str, ...]]

MINUTES: Questions = {
    "disks": (_DISKS,),
    "parts": (_LIMITS, _PARTITIONS, _OWN_LIMITS),
    "mutations": (_MUTATIONS,),
    "replicas": (_REPLICAS,),
    "errors": (_ERRORS,),
    "queries": (_QUERIES,),
}
HOURS: Questions = {"sizes": (_DATABASES, _LOGS)}

# Takes 61 MiB in one piece, as a page of Langfuse's may, and ten milliseconds; SELECT 1 takes nothing that is counted.
HEAVY = b"SELECT arraySum(range(materialize(16000000))) FORMAT TabSeparated"
HEAVY_ANSWER = "127999992000000"


def statement(questions: Iterable[tuple[str, ...]]) -> bytes:
    """Gives all of them as one statement, whose answer is a line of JSON for each row."""
    arms = [_UPTIME, *(arm for question in questions for arm in question)]
    return f"{' UNION ALL '.join(arms)} FORMAT JSONEachRow".encode()
