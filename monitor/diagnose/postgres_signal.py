"""What PostgreSQL's signals prove. Evidence.sign is the signal that was missed, and its text holds the numbers."""

from config.causes import Cause
from monitor.diagnose.base import Rule

POSTGRES_SIGNAL: tuple[Rule, ...] = (
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("slots",),
        codes=("full",),
        proof="every connection slot an ordinary role may take is taken; the evidence says by whom",
        says="{title} at {address} has no connection slot left: whoever connects now is refused.",
        remedy="The evidence names who holds them. Lower that client's pool and restart it (R2R: "
        "R2R_POSTGRES_MAX_CONNECTIONS; LiteLLM: database_connection_pool_limit times its workers), or put a pooler "
        "before the server. Idle ones can be ended at once: SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE state = 'idle' AND usename = …; only then raise max_connections, which costs memory and a restart.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("slots",),
        codes=("near",),
        proof="the share of connection slots that are taken is above the threshold, and above 80 %; the evidence says "
        "by whom",
        says="{title} at {address} is running out of connection slots.",
        remedy="The evidence names who holds them. Lower that client's pool (R2R: R2R_POSTGRES_MAX_CONNECTIONS; "
        "LiteLLM: database_connection_pool_limit times its workers) or put a pooler before the server, before the "
        "next deploy takes the rest.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("slots",),
        proof="the share of connection slots that are taken is above the threshold, and below 80 %",
        says="{title} at {address} has more of its connection slots taken than its threshold allows.",
        remedy="The evidence names who holds them. If that is as it should be, raise warn and fail of this check in "
        "WATCH_FILE (percent; 80 and 100 without it); else see why that client opens so many.",
    ),
    Rule(
        cause=Cause.STUCK,
        precise=True,
        signs=("transactions",),
        text="prepared as",
        proof="a prepared transaction is older than the threshold",
        says="{title} at {address} holds a prepared transaction that nobody ended.",
        remedy="It holds locks and keeps VACUUM from cleaning, even over a restart. SELECT * FROM pg_prepared_xacts; "
        "if its coordinator is gone, ROLLBACK PREPARED '…'.",
    ),
    Rule(
        cause=Cause.STUCK,
        precise=True,
        signs=("transactions",),
        proof="the oldest open transaction is older than the threshold",
        says="{title} at {address} has a transaction that has been open for longer than it may.",
        remedy="While it is open no table can be cleaned (bloat), and schema changes wait for it. See it: SELECT pid, "
        "usename, state, query FROM pg_stat_activity ORDER BY xact_start. A report or a migration may be left to end; "
        "anything else: pg_cancel_backend(pid), then pg_terminate_backend(pid).",
    ),
    Rule(
        cause=Cause.STUCK,
        precise=True,
        signs=("idle_in_transaction",),
        proof="a session has waited for its client in the middle of a transaction for longer than the threshold",
        says="{title} at {address} has a session that began a transaction and does nothing.",
        remedy="Its client hangs or forgot to commit, and its locks stay: pg_terminate_backend(pid), then see that "
        "client's log. SET idle_in_transaction_session_timeout for its role ends such sessions by themselves.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("wraparound",),
        codes=("near",),
        proof="1,000 million transactions or multixacts, or more, since the oldest was frozen; at 2,147 million writes "
        "are refused",
        says="{title} at {address} runs out of transaction numbers: VACUUM does not keep up.",
        remedy="Find what holds VACUUM back: old transactions and prepared ones, replication slots (xmin), replicas "
        "with hot_standby_feedback; end or drop them. Then VACUUM (FREEZE, VERBOSE) the database the evidence names, "
        "its largest tables first. It must not reach 2,147 million: writes stop there.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("wraparound",),
        proof="the oldest unfrozen transaction or multixact is further back than the threshold; at 2,147 million "
        "writes are refused",
        says="{title} at {address} has used more transaction numbers since the last freeze than its threshold allows.",
        remedy="There is time yet. See whether autovacuum is on (autovacuum_freeze_max_age is 200 million unless set) "
        "and what holds it back: old transactions and prepared ones, replication slots (xmin), replicas with "
        "hot_standby_feedback. VACUUM (FREEZE, VERBOSE) the database the evidence names.",
    ),
    Rule(
        cause=Cause.LAGGING,
        precise=True,
        signs=("replication",),
        text="not connected",
        proof="a standby that is not connected to its primary, and has replayed nothing new for longer than the "
        "threshold",
        says="{title} at {address} is a standby that has lost its primary.",
        remedy="See whether the primary is up, then primary_conninfo and this server's log: a changed password, a "
        "network that is cut, or WAL the primary has removed already (then make the standby anew).",
    ),
    Rule(
        cause=Cause.LAGGING,
        precise=True,
        signs=("replication",),
        proof="pg_stat_replication: a replica is behind by more than the threshold",
        says="{title} at {address} has a replica that is further behind than it may be.",
        remedy="See that replica's CPU, disk and log. A long query on it holds replay up "
        "(max_standby_streaming_delay); a burst of writes passes by itself. Whoever reads from it reads old rows.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("retained_wal",),
        codes=("lost",),
        proof="pg_replication_slots: wal_status is lost",
        says="{title} at {address} has a replication slot that lost the WAL it needed.",
        remedy="Its consumer cannot catch up any more: drop the slot (pg_drop_replication_slot) and make the replica "
        "or the subscription anew. Raise max_slot_wal_keep_size if the disk has room.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("retained_wal",),
        proof="pg_replication_slots: a slot keeps more WAL than the threshold",
        says="{title} at {address} keeps more WAL for a replication slot than it may, which fills its disk.",
        remedy="If its consumer is gone for good: SELECT pg_drop_replication_slot('…'). If not, bring it back. Set "
        "max_slot_wal_keep_size, so that a dead consumer cannot fill the volume; never delete files in pg_wal by hand.",
    ),
    Rule(
        cause=Cause.UNSAVED,
        precise=True,
        signs=("archiver",),
        proof="pg_stat_archiver: the newest try failed, and nothing was archived for longer than the threshold",
        says="{title} at {address} cannot archive its WAL.",
        remedy="Its log says what archive_command answered: mostly the store's key, its bucket or its space. Until it "
        "works there is no point-in-time recovery, and WAL fills the volume.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("size",),
        proof="pg_database_size is above the threshold",
        says="{title} at {address} has a database that is larger than it may be.",
        remedy="See what is large: SELECT relname, pg_size_pretty(pg_total_relation_size(oid)) FROM pg_class ORDER BY "
        "pg_total_relation_size(oid) DESC LIMIT 10. LiteLLM's LiteLLM_SpendLogs grows for ever unless "
        "maximum_spend_logs_retention_period is set. Enlarge the volume before it is full.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("growth",),
        proof="the database grew by more in a day than the threshold, told from our own earlier look",
        says="{title} at {address} has a database that grows faster than it may.",
        remedy="See what grows: n_tup_ins in pg_stat_user_tables, and the largest tables (pg_total_relation_size). A "
        "log table without an end, an import, or bloat behind a long transaction. Enlarge the volume in time.",
    ),
    Rule(
        cause=Cause.READONLY,
        precise=True,
        signs=("writable",),
        text="in recovery",
        proof="pg_is_in_recovery() where services that write depend on it",
        says="{title} at {address} is a standby, and the services that use it need to write.",
        remedy="After a failover: point {setting}, and the services' own addresses, to the new primary. If this one "
        "should be the primary, SELECT pg_promote(), after making sure that no other one is.",
    ),
    Rule(
        cause=Cause.READONLY,
        precise=True,
        signs=("writable",),
        proof="default_transaction_read_only is on, and not for our own role alone",
        says="{title} at {address} takes no writes: default_transaction_read_only is on.",
        remedy="Some hosts set it when the volume is full: make room first. Then ALTER SYSTEM (or ALTER DATABASE …) "
        "RESET default_transaction_read_only; SELECT pg_reload_conf(); and let the clients connect anew.",
    ),
)
