"""What ClickHouse proves. Evidence.code is its own exception code, or the HTTP status where it gave none."""

from dataclasses import replace

from config.causes import Cause
from monitor.diagnose.base import Rule
from monitor.diagnose.general import GENERAL
from monitor.probes.base import Sight

CLICKHOUSE: tuple[Rule, ...] = (
    Rule(
        cause=Cause.AUTH,
        codes=("516", "192", "193", "194"),
        proof="516 authentication failed; 192, 193, 194 before it",
        says="{title} at {address} does not accept the user or password.",
        remedy="Compare CLICKHOUSE_USER and CLICKHOUSE_PASSWORD with the server's; it does not say which of both is "
        "wrong. Langfuse, which uses the same, fails as well if they were changed on one side only.",
    ),
    Rule(
        cause=Cause.AUTH,
        precise=True,
        codes=("195", "497"),
        proof="497 access denied, 195 address not allowed",
        says="{title} at {address} knows the user, and does not let it do this.",
        remedy="497: GRANT it what the evidence names. 195: allow this network in the user's HOST setting.",
    ),
    Rule(
        cause=Cause.NOT_FOUND,
        codes=("81",),
        proof="81 unknown database",
        says="{title} at {address} runs, but has no database of that name.",
        remedy="Compare CLICKHOUSE_DB with SHOW DATABASES. If it was there yesterday, see whether the volume is new "
        "and empty, before anything writes; restore it with watchkeeper-backup.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        codes=("241", "173"),
        proof="241 memory limit exceeded",
        says="{title} at {address} is out of memory.",
        remedy="SELECT query, formatReadableSize(memory_usage) FROM system.processes ORDER BY memory_usage DESC shows "
        "who: KILL QUERY it. Then lower max_memory_usage per query, or give the server more.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        codes=("243",),
        proof="243 not enough space",
        says="{title} at {address} has no disk space left.",
        remedy="SELECT database, table, formatReadableSize(sum(bytes_on_disk)) FROM system.parts GROUP BY 1, 2 ORDER "
        "BY sum(bytes_on_disk) DESC. Mostly it is system.*_log (trace_log): truncate it and give it a TTL, then "
        "enlarge the volume.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        codes=("252",),
        proof="252 too many parts",
        says="{title} at {address} refuses inserts: too many parts.",
        remedy="Merges do not keep up: inserts are too small or too many, or disk or memory hold merges up. See "
        "system.merges and system.mutations (is_done = 0); stop the insert flood, and batch the inserts.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        codes=("202", "201", "439", "203"),
        proof="202 too many simultaneous queries, 201 quota exceeded, 439 no thread left",
        says="{title} at {address} is up, but takes no more queries ({code}).",
        remedy="system.processes shows who asks and for how long: KILL QUERY what hangs, then lower the client's "
        "concurrency or raise max_concurrent_queries (201: the quota).",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        codes=("76",),
        text="too many open files|errno: 24",
        proof="76 with errno 24: too many open files",
        says="{title} at {address} has used up its open files.",
        remedy="Raise the container's nofile limit (262144 is what ClickHouse asks for), and see that parts do not "
        "pile up.",
    ),
    Rule(
        cause=Cause.READONLY,
        codes=("164", "242"),
        proof="164 read-only user or mode, 242 table is read-only",
        says="{title} at {address} takes no writes.",
        remedy="242: the replica lost its Keeper, see system.replicas (is_readonly). 164: the user's profile has "
        "readonly set.",
    ),
    Rule(
        cause=Cause.DEPENDENCY,
        codes=("225", "999", "210", "198"),
        proof="999 Keeper exception, 225 no ZooKeeper, 210 network error",
        says="{title} at {address} is up, but cannot reach its Keeper or another server ({code}).",
        remedy="See that the Keeper runs and is reachable from there. On a single node set "
        "CLICKHOUSE_CLUSTER_ENABLED=false for Langfuse.",
    ),
    Rule(
        cause=Cause.NO_ANSWER,
        codes=("159", "160", "209"),
        proof="159 timeout exceeded, 209 socket timeout",
        says="{title} at {address} lets us in, but does not finish SELECT 1 in time.",
        remedy="It is overloaded or its disk has stalled: see system.processes, system.merges, CPU and disk.",
    ),
    Rule(
        cause=Cause.STOPPING,
        codes=("236", "394"),
        proof="394 query was cancelled, 236 aborted: it is shutting down",
        says="{title} at {address} cancelled the query: it is shutting down, or somebody killed it.",
        remedy=GENERAL[Cause.STOPPING].remedy,
    ),
    Rule(
        cause=Cause.SERVER_ERROR,
        precise=True,
        codes=tuple(f"HTTP {status}" for status in range(500, 600)),
        proof="a 5xx without ClickHouse's code: a proxy before it",
        says="What answers for {title} at {address} is not ClickHouse, but a proxy that cannot reach it ({code}).",
        remedy="See whether ClickHouse itself runs, and use its private address in {setting} to leave the proxy out.",
    ),
    Rule(
        cause=Cause.WRONG_SERVICE,
        sights=(Sight.GARBLED,),
        text="port 9000|port 8123|clickhouse-client program",
        proof="ClickHouse's native port answers",
        says="{title} at {address} answers with ClickHouse's native protocol: its HTTP interface has another port.",
        remedy="Use port 8123 (or 8443 with https://) in {setting}.",
    ),
    replace(
        GENERAL[Cause.WRONG_SERVICE],
        sights=(Sight.GARBLED,),
        proof="the answer to SELECT 1 is no number: a web page, or another service",
    ),
)
