"""The rows of the matrix, in our own words; the numbers are those of the list of failures the project began with."""

from collections.abc import Callable, Mapping
from typing import Literal

from config.causes import Cause
from demo.expectations import Expected, Told, degraded, down, expected
from demo.faults.matrix import SLOW, TRACE, Play, Row
from demo.mistakes import Mistake, Variables

QUEUES = frozenset({"redis"})
WEB = frozenset({"langfuse-web"})
NEAR_LITELLM = frozenset({"open-webui", "saas-api"})


def _play(name: str, **facts: object) -> Play:
    return Play(name=name, **facts)  # type: ignore[arg-type]  # fields of Play by their names


def _queue(fault: str) -> Play:
    return _play(f"langfuse-worker/{fault}", uses=QUEUES, on="real Valkey, Langfuse's queues in it")


def _old(name: str, fault: str, shows: str, state: Literal["down", "degraded"] = "down") -> Play:
    """A fault of LiteLLM's stand-in as an older version."""
    same = expected(f"litellm/{fault}").not_up["litellm"]
    return _play(f"{name}/{fault}", wanted=Expected(not_up={name: Told(state, same.cause)}, shows=shows))


def _wrong(variable: str, says: str, value: Callable[[Variables], str], wanted: Expected, *, on: str = "") -> Play:
    """A wrong variable that only the matrix plays."""
    own = Mistake(variable=variable, says=says, value=value, expected=wanted)
    return _play(own.name, own=own, on=on)


def _named(name: str, not_up: Mapping[str, Told], shows: str) -> Play:
    uses = frozenset({"names"}) if name.partition("/")[0] in ("names", "chat-lost", "chat-client") else frozenset()
    return _play(name, wanted=Expected(not_up=not_up, shows=shows), uses=uses)


NAMED = ("chat-both", "chat-old", "chat-client", "chat-lost", "qdrant-moved")
LOST, NEVER = "has lost its database", "started without reaching its database"

ROWS: tuple[Row, ...] = (
    Row(
        number=1,
        failure="LiteLLM runs and has lost its database",
        plays=(
            _play("postgres", on="real PostgreSQL"),
            _play("litellm/db_lost", uses=NEAR_LITELLM),
            _old("litellm-old", "db_lost", "database fails"),
            _old("litellm-spring", "db_lost", LOST),
            _old("litellm-bare", "db_lost", LOST, "degraded"),
        ),
        apart="PostgreSQL is asked itself: if it is well, LiteLLM has lost its connection, and PostgreSQL is not "
        "named. The answer is read in each of its forms (200, 503 with a text, 503 with db)",
    ),
    Row(
        number=2,
        failure="LiteLLM started while its database was away, and never connected",
        plays=(
            _play("litellm/db_not_connected", uses=NEAR_LITELLM),
            _old("litellm-old", "db_not_connected", NEVER),
            _old("litellm-spring", "db_not_connected", NEVER),
        ),
        apart="“Not connected” is a fault only where a database is expected; it is another word than “disconnected”",
    ),
    Row(
        number=3,
        failure="Consumers hold another key than LiteLLM's",
        plays=(
            _play("litellm/key", uses=NEAR_LITELLM),
            _wrong(
                "LITELLM_MASTER_KEY__REAL",
                "holds another key",
                lambda _: "sk-another",
                Expected(not_up=degraded(Cause.AUTH, "litellm-real"), shows="LITELLM_MASTER_KEY__REAL"),
                on="real LiteLLM",
            ),
            _play("OPEN_WEBUI_OPENAI_API_KEY holds another key"),
            _play("SAAS_API_LITELLM_MASTER_KEY holds a key without sk-"),
            _play("R2R_OPENAI_API_KEY holds a provider's key"),
        ),
        apart="each consumer's key is tried at LiteLLM: one refused alone is that consumer's; all refused is LiteLLM's",
    ),
    Row(
        number=4,
        failure="Open WebUI keeps an old key in its database, while the variables agree",
        plays=(_play("open-webui/stale_key"),),
        apart="the key of its variable is accepted by LiteLLM, and its own list of models is empty all the same",
    ),
    Row(
        number=5,
        failure="LiteLLM's salt key was changed: what its database holds cannot be decrypted",
        plays=(
            _play("litellm/salt_changed", uses=NEAR_LITELLM),
            _play(
                "litellm/stored_models_vanished",
                wanted=Expected(not_up=degraded(Cause.BAD_ANSWER, "litellm"), shows="decrypted"),
                uses=NEAR_LITELLM,
                within=SLOW,
            ),
        ),
        apart="the key is accepted and the list of models is empty, or shorter than it was",
    ),
    Row(
        number=6,
        failure="A provider refuses the key LiteLLM has for it",
        plays=(
            _play("litellm/provider_key_expired", uses=NEAR_LITELLM),
            _old("litellm-old", "provider_quota_spent", "out of money or quota", "degraded"),
            _old("litellm-spring", "provider_model_retired", "Providers retire models", "degraded"),
            _old("litellm-bare", "provider_gone", "does not reach a provider", "degraded"),
        ),
        apart="LiteLLM takes our key, and its own stored checks hold the provider's 401. Quota spent, model retired "
        "and provider out of reach have causes of their own",
    ),
    Row(
        number=7,
        failure="A budget is spent",
        plays=(_play("litellm/budget_exceeded", uses=NEAR_LITELLM),),
        apart="budget_exceeded is LiteLLM doing what it was told to: nothing is told, and our own completions rest",
    ),
    Row(
        number=8,
        failure="Redis' memory is full, and it refuses writes",
        plays=(_play("redis/full"),),
        apart="PING passes; a write of our own meets OOM. A failed save says MISCONF, a replica READONLY",
    ),
    Row(
        number=9,
        failure="Redis throws keys away that are Langfuse's jobs",
        plays=(
            _play("redis/policy", within=SLOW),
            _play(
                "redis/evicted",
                wanted=Expected(not_up=degraded(Cause.CAPACITY, "redis"), shows="throws keys away"),
                lingers=True,
            ),
        ),
        apart="the policy is told before anything is lost, the count of evictions once something is",
    ),
    Row(
        number=10,
        failure="Redis cannot save to disk, and refuses writes",
        plays=(_play("redis/unsaved"),),
        apart="MISCONF, with rdb_last_bgsave_status err",
    ),
    Row(
        number=11,
        failure="Langfuse's worker takes no jobs, and its health is green",
        plays=(
            _queue("jobs_wait"),
            _queue("jobs_overdue"),
            _queue("queue_paused"),
            _play("langfuse-worker/queue_stuck"),
        ),
        apart="the queues are read in Redis themselves: what waits, for how long, and whether anything is taken",
    ),
    Row(
        number=12,
        failure="Langfuse takes traces, and they never appear",
        plays=(
            _play(
                "langfuse-web/traces_lost",
                wanted=Expected(not_up=degraded(Cause.STUCK, "langfuse-web"), shows="they do not appear"),
                within=TRACE,
            ),
        ),
        apart="a trace of our own is written and looked for; the queues and ClickHouse are well and are not named",
    ),
    Row(
        number=13,
        failure="The bucket is missing",
        plays=(
            _play("minio/bucket"),
            _play("minio/other_bucket"),
            _play("langfuse-web/bucket_missing", within=TRACE),
            _queue("jobs_without_bucket"),
        ),
        apart="the store is well and a signed question for the bucket is 404; Langfuse's own words say which bucket",
    ),
    Row(
        number=14,
        failure="ClickHouse's disk is full, as of its own logs",
        plays=(_play("clickhouse/disk", uses=WEB),),
        apart="/ping and SELECT 1 are well; the free space of each disk is read, the size of its own logs has a signal "
        "of its own, and refused inserts are counted by their code (243)",
    ),
    Row(
        number=15,
        failure="ClickHouse has too little memory for what Langfuse asks",
        plays=(_play("clickhouse/memory", uses=WEB),),
        apart="/ping and SELECT 1 are well; a query that needs as much as Langfuse's do is refused with 241",
    ),
    Row(
        number=16,
        failure="ClickHouse refuses inserts: too many parts",
        plays=(_play("clickhouse/parts"),),
        apart="parts are counted against the limit of their own table before and when inserts fail with 252",
    ),
    Row(
        number=17,
        failure="A mutation of ClickHouse's is stuck",
        plays=(_play("clickhouse/mutation"),),
        apart="is_done is 0 and there is a reason it failed for, which is told",
    ),
    Row(
        number=20,
        failure="ClickHouse may open no more files",
        plays=(
            _play(
                "clickhouse/files",
                wanted=Expected(not_up=degraded(Cause.CAPACITY, "clickhouse"), shows="files"),
                uses=WEB,
                within=SLOW,
            ),
        ),
        apart="/ping and SELECT 1 are well; what was refused is counted by its code, here 76 with errno 24",
    ),
    Row(
        number=21,
        failure="PostgreSQL has no connection slot left",
        plays=(_play("postgres/slots"),),
        apart="53300, where a stopped server refuses the connection; a session that was kept says who holds the slots",
    ),
    Row(
        number=22,
        failure="A service listens on one kind of address, and is called over the other",
        plays=(
            _named("chat-both/four_only", down(Cause.IPV4_ONLY, "chat-both"), "listens on IPv4 alone"),
            _named("chat-old/four_only", down(Cause.REFUSED, "chat-old"), "over IPv6, the only kind"),
        ),
        apart="both kinds are tried: refused over the one and open over the other is no dead service. Where the name "
        "has IPv6 alone, as in older environments, that is said with the refusal",
    ),
    Row(
        number=23,
        failure="A client looks for IPv4 alone, and the name has IPv6 alone",
        plays=(_named("chat-client/six_only", down(Cause.IPV6_ONLY, "chat-client"), "IPv6 addresses only"),),
        apart="the service answers over IPv6, so neither it nor the names are at fault",
    ),
    Row(
        number=24,
        failure="A name is wrong, or no name is there",
        plays=(
            _named("chat-lost/name", down(Cause.DNS, "chat-lost"), "resolves"),
            _named("names/all", down(Cause.NO_NAMES, *NAMED), "name"),
        ),
        apart="other names of the same network are looked up: one that is missing alone is a typo",
    ),
    Row(
        number=25,
        failure="Another service, or nothing, is at the port",
        plays=(
            _play("LITELLM_URL names a port where nobody listens"),
            _named("qdrant-moved/port", down(Cause.WRONG_PORT, "qdrant-moved"), "6333"),
            _play("QDRANT_URL holds the address of ClickHouse"),
            _play("QDRANT_GRPC_URL holds the address of Qdrant's HTTP port"),
            _play("OPEN_WEBUI_URL holds the address of the React client"),
            _play("REDIS_URL holds the address of PostgreSQL"),
        ),
        apart="each service is known by what only it says; where nobody listens, its usual port is tried",
    ),
    Row(
        number=26,
        failure="TLS is asked of a server that speaks plain text",
        plays=(
            _play("API_GATEWAY_URL says https"),
            _play("REDIS_URL says rediss"),
            _play("CLICKHOUSE_URL says https"),
        ),
        apart="the same port answers in plain text",
    ),
    Row(
        number=28,
        failure="A service crashed so often that the platform restarts it no more",
        plays=(
            _play(
                "litellm-real/stop", wanted=Expected(not_up=down(Cause.REFUSED, "litellm-real"), shows="ten crashes")
            ),
        ),
        apart="refused and staying so; the remedy says that a redeploy by hand is needed. Crashes are the platform's "
        "to count",
    ),
    Row(
        number=29,
        failure="A service that slept wakes up",
        plays=(_play("saas-api/waking", wanted=Expected(why="a second look finds it well")),),
        apart="the edge's first 502 is followed by a right answer: nothing is told",
    ),
    Row(
        number=30,
        failure="Qdrant's disk is full",
        plays=(_play("qdrant/disk_full"), _play("qdrant/collection_red")),
        apart="its health pages are green; a collection is red and says why. A full disk is down, one failed "
        "collection degraded",
    ),
    Row(
        number=31,
        failure="A collection of Qdrant waits to be optimised",
        plays=(_play("qdrant/collection_grey"),),
        apart="grey and yellow are no outage: nothing is told",
    ),
    Row(
        number=32,
        failure="The key for Qdrant is another one",
        plays=(_play("qdrant/key_changed"), _play("R2R_QDRANT_API_KEY holds another key")),
        apart="its health is green without a key; its collections are refused with ours",
    ),
    Row(
        number=33,
        failure="MinIO boots: it is alive, and its storage is not there",
        plays=(_play("minio-standin/booting"),),
        apart="live and ready are 200; the cluster page and x-minio-server-status say offline",
    ),
    Row(
        number=37,
        failure="PostgreSQL's certificate has expired",
        plays=(
            _play(
                "postgres-tls/expired",
                wanted=Expected(not_up=degraded(Cause.CERT_EXPIRED, "postgres-tls"), shows="expired"),
                on="real PostgreSQL behind TLS",
            ),
        ),
        apart="queries are answered on; only the certificate of the handshake says it",
    ),
)

NOT_PRODUCED: Mapping[int, str] = {
    18: "Langfuse ends itself at start, before it answers anything: told as refused, with this case in the remedy "
    "(row 28 shows how). The words are in its log alone.",
    19: "As 18: “Dirty database version” stands in Langfuse's log alone, and the remedy names it.",
    27: "Only the platform's deployment asks there; `python -m monitor config` and the guide never name /health, and "
    "the preset does not ask it.",
    34: "A matter of the backups' own runs: tests/services/backup plays empty and broken dumps, and none of them "
    "counts as good.",
    35: "As 34: the majors are compared before pg_dump starts, with real servers of two majors.",
    36: "As 34: the service `backups` is judged by the age of the last verified restore point, in "
    "tests/daemon/test_monitor_backups.py.",
    38: "What the probes themselves cost: the key is sent wherever one is known; measured with our own load.",
}
"""Rows that are not played, and why not."""
