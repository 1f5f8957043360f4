"""What ClickHouse's signals prove. Evidence.sign is the signal, code ClickHouse's error where it is about one."""

from dataclasses import replace

from config.causes import Cause
from monitor.diagnose.base import Rule
from monitor.diagnose.clickhouse import CLICKHOUSE
from monitor.probes.base import Verdict

# What a heavy query of ours is refused with means what it means to the plain check.
_LIMITS = {"241", "243", "252", "76"}
_REFUSED = tuple(
    replace(rule, signs=("memory",), precise=True, proof=f"{rule.proof}, to a query of ours that takes 61 MiB")
    for rule in CLICKHOUSE
    if _LIMITS & set(rule.codes)
)

CLICKHOUSE_SIGNAL: tuple[Rule, ...] = (
    *_REFUSED,
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("disk",),
        codes=("full",),
        proof="system.disks: no disk has the 1 MiB unreserved that ClickHouse sets aside for the smallest insert",
        says="The disk of {title} at {address} is full: inserts and merges are refused (243), what is there can be "
        "read.",
        remedy="Enlarge the volume if that is done quickly: it goes on by itself. Else make room: TRUNCATE TABLE "
        "system.trace_log and its like first (nothing is lost but its own logs), then old partitions (ALTER TABLE … "
        "DROP PARTITION). If even that is refused for want of space, only a larger volume helps. Delete no files by "
        "hand.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("disk",),
        codes=("one_full",),
        proof="system.disks: the fullest disk has less than 1 MiB unreserved, another one has room",
        says="A disk of {title} at {address} is full: inserts into tables that have no other are refused (243).",
        remedy="SELECT policy_name, volume_name, disks FROM system.storage_policies shows whose it is. Move partitions "
        "to another disk (ALTER TABLE … MOVE PARTITION … TO DISK), drop old ones, or enlarge its volume.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("disk",),
        codes=("near",),
        proof="system.disks: the fullest disk is filled beyond the threshold, and beyond 80 %",
        says="The disk of {title} at {address} runs full: without space it refuses inserts, and merges before that.",
        remedy="SELECT database, table, formatReadableSize(sum(bytes_on_disk)) FROM system.parts WHERE active GROUP BY "
        "1, 2 ORDER BY sum(bytes_on_disk) DESC. Truncate system.*_log first (nothing is lost but its own logs), give "
        "them a TTL, then enlarge the volume. Act before it is full: then even TRUNCATE can fail.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("disk",),
        proof="system.disks: the fullest disk is filled beyond the threshold, and below 80 %",
        says="The disk of {title} at {address} is fuller than its threshold allows.",
        remedy="SELECT database, table, formatReadableSize(sum(bytes_on_disk)) FROM system.parts WHERE active GROUP BY "
        "1, 2 ORDER BY sum(bytes_on_disk) DESC shows of what. If that is as it should be, raise warn of this check in "
        "WATCH_FILE (percent; 85 without it).",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("parts",),
        codes=("refused",),
        proof="system.parts: a partition has as many active parts as parts_to_throw_insert",
        says="{title} at {address} has so many parts in a partition that inserts into it are refused (252).",
        remedy="Merges do not keep up. See system.merges, then system.mutations (is_done = 0), CPU, memory and disk; "
        "stop the insert flood, and batch inserts that are too small or too many. Raising the limits only gains time.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("parts",),
        codes=("delayed",),
        proof="system.parts: a partition has as many active parts as parts_to_delay_insert",
        says="{title} at {address} has so many parts in a partition that inserts are delayed, and refused soon (252).",
        remedy="Merges do not keep up. See system.merges, then system.mutations (is_done = 0), CPU, memory and disk; "
        "inserts that are too small or too many must be batched. Raising the limits only gains time.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("parts",),
        proof="system.parts: a partition's active parts, beyond the threshold's share of parts_to_throw_insert",
        says="{title} at {address} has more parts in a partition than its threshold allows: with more of them inserts "
        "are delayed, then refused.",
        remedy="See system.merges and system.mutations (is_done = 0): do merges keep up? Inserts that are too small or "
        "too many must be batched. If it is as it should be, raise warn of this check in WATCH_FILE (percent; 70 "
        "without it).",
    ),
    Rule(
        cause=Cause.STUCK,
        precise=True,
        signs=("mutations",),
        proof="system.mutations: is_done = 0 with latest_fail_reason",
        says="A mutation of {title} at {address} fails again and again, and holds up all that come after it.",
        remedy="The evidence holds its reason: mend that (memory, disk, a value that cannot be converted), and it goes "
        "on by itself. If it never can: KILL MUTATION WHERE mutation_id = '…' AND table = '…'; what it had changed "
        "stays changed.",
    ),
    Rule(
        cause=Cause.READONLY,
        precise=True,
        signs=("replicas",),
        codes=("readonly",),
        proof="system.replicas: is_readonly or is_session_expired",
        says="Replicated tables of {title} at {address} take no writes: they have lost their Keeper.",
        remedy="See that the Keeper runs and can be reached from there (system.zookeeper_connection); then SYSTEM "
        "RESTART REPLICA, or SYSTEM RESTORE REPLICA where the Keeper has lost what it knew. /replicas_status is green "
        "through this.",
    ),
    Rule(
        cause=Cause.LAGGING,
        precise=True,
        signs=("replicas",),
        proof="system.replicas: absolute_delay beyond the threshold",
        says="{title} at {address} is further behind the other replicas than it may be: what is read here is old.",
        remedy="system.replication_queue (last_exception, num_tries) says what holds it up: mostly the network to the "
        "other replica, disk or a part that is nowhere to be had.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("errors",),
        codes=("243",),
        proof="system.errors: 243 not enough space grew between two looks of ours",
        says="{title} at {address} refuses inserts or merges, because its disk is full.",
        remedy="Truncate what may go, system.*_log first, then enlarge the volume. Langfuse's worker tries again for a "
        "while: what it gives up is lost from the queue, and lies in the bucket still.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("errors",),
        codes=("252",),
        proof="system.errors: 252 too many parts grew between two looks of ours",
        says="{title} at {address} refuses inserts, because a table has too many parts.",
        remedy="The evidence names the table. See system.merges and system.mutations (is_done = 0), CPU, memory and "
        "disk; stop the insert flood, and batch the inserts.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("errors",),
        codes=("76",),
        text="too many open files|errno: 24",
        proof="system.errors: 76 with errno 24 grew between two looks of ours: too many open files",
        says="{title} at {address} has used up its open files.",
        remedy="Raise the container's nofile limit (262144 is what ClickHouse asks for), and see that parts do not "
        "pile up.",
    ),
    Rule(
        cause=Cause.SERVER_ERROR,
        precise=True,
        signs=("errors",),
        codes=("76",),
        proof="system.errors: 76 cannot open a file grew between two looks of ours",
        says="{title} at {address} cannot open files of its own.",
        remedy="The evidence names the file and why: permissions (who owns the volume?), a volume that is gone or "
        "mounted read-only, or files that are missing. Do not delete anything; see the log first.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("errors",),
        codes=("241",),
        text=r"query memory limit|\(for query\)",
        proof="system.errors: 241 grew by the threshold between two looks of ours, the newest by a query's own limit",
        says="Queries of {title} at {address} fail, because they ask for more memory than one may have.",
        remedy="system.query_log (exception_code = 241) shows whose: mostly Langfuse's pages over a long time. Shorten "
        "the range, or raise max_memory_usage if the server has more to give.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("errors",),
        codes=("241",),
        proof="system.errors: 241 memory limit exceeded grew by the threshold between two looks of ours",
        says="Queries of {title} at {address} fail for want of memory, though SELECT 1 is answered.",
        remedy="SELECT query_id, user, formatReadableSize(memory_usage) FROM system.processes ORDER BY memory_usage "
        "DESC shows who: KILL QUERY it. Then lower max_memory_usage per query, or give the server more.",
    ),
    Rule(
        cause=Cause.STUCK,
        precise=True,
        signs=("queries",),
        proof="system.processes: elapsed of the longest query that is not ours, beyond the threshold",
        says="A query of {title} at {address} has run for longer than it may.",
        remedy="The evidence has its id: KILL QUERY WHERE query_id = '…' if nobody waits for it, and set "
        "max_execution_time in the profile of whoever sends such.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("size",),
        verdict=Verdict.WARN,
        proof="system.parts: bytes_on_disk of all databases, beyond the size WATCH_FILE warns from",
        says="{title} at {address} holds more than it was meant to.",
        remedy="The evidence has the largest databases. Delete what may go (Langfuse: data retention per project), "
        "give tables a TTL, or enlarge the volume.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("size",),
        proof="system.parts: bytes_on_disk of all databases, beyond the size WATCH_FILE fails from",
        says="{title} at {address} holds more than it may.",
        remedy="The evidence has the largest databases. Delete what may go (Langfuse: data retention per project), "
        "give tables a TTL, or enlarge the volume.",
    ),
    Rule(
        cause=Cause.MISCONFIGURED,
        precise=True,
        signs=("logs",),
        proof="system.parts: system.*_log is larger than the threshold, and than all data",
        says="{title} at {address} fills its disk with logs of its own, which are larger than the data.",
        remedy="TRUNCATE TABLE system.trace_log (and the others the evidence names) frees the space. For good: a "
        'config.d file with <trace_log remove="1"/> and the like, or a <ttl> for those that are wanted.',
    ),
)
