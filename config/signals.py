"""One parameter type per kind of signal: what a server tells of itself once it lets us in.

It is asked beside the plain question whether the server answers, takes that question's parameters, which signal it is,
and from which number on it warns and fails, in its own unit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from config.checks import ClickhouseParams, PostgresParams, RedisParams, S3Params
from config.fields import AtMost, Limits, Pause, SendableSecret, Threshold

PostgresSignal = Literal[
    "slots",
    "transactions",
    "idle_in_transaction",
    "wraparound",
    "replication",
    "retained_wal",
    "archiver",
    "size",
    "growth",
    "writable",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresSignalParams(PostgresParams):
    """One thing PostgreSQL tells of itself. All signals of a server share one connection a minute.

    `signal` and the unit of `warn` and `fail`: slots, percent of those an ordinary role may take; transactions, seconds
    the oldest one has been open; idle_in_transaction, seconds one has waited for its client; wraparound, millions of
    transactions since the oldest frozen one; replication, seconds a replica is behind; retained_wal, bytes kept for a
    replication slot; archiver, seconds it has failed; size, bytes of the database; growth, bytes a day; writable, none.
    """

    signal: PostgresSignal
    warn: Threshold | None = None
    fail: Threshold | None = None


RedisSignal = Literal["memory", "policy", "evicted", "rejected", "canary", "persistence", "replica", "restarts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisSignalParams(RedisParams):
    """One thing Redis or Valkey tells of itself. All signals of a server share one connection a minute.

    `signal` and the unit of `warn` and `fail`: memory, percent of maxmemory; policy, none; evicted, keys within five
    minutes; rejected, connections within five minutes; canary, none; persistence, none; replica, seconds without its
    primary; restarts, how many within an hour. The canary writes its own key and nothing else.
    """

    signal: RedisSignal
    warn: Threshold | None = None
    fail: Threshold | None = None


ClickhouseSignal = Literal["memory", "disk", "parts", "mutations", "replicas", "errors", "queries", "size", "logs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClickhouseSignalParams(ClickhouseParams):
    """One thing ClickHouse tells of itself. All signals of a server share one request a minute, but for memory.

    `signal` and the unit of `warn` and `fail`: memory, none; disk, percent of the fullest disk that is used; parts,
    percent of the parts at which inserts into a partition are refused; mutations, seconds since the oldest one that
    fails was ordered; replicas, seconds behind; errors, queries refused for memory within five minutes; queries,
    seconds the longest one has run; size, bytes of all databases; logs, bytes of the server's own logs where they
    outweigh the data. The user needs SELECT on system.*, and SHOW TABLES to see the tables of others.
    """

    signal: ClickhouseSignal
    warn: Threshold | None = None
    fail: Threshold | None = None


S3Signal = Literal["reads", "buckets", "canary"]


@dataclass(frozen=True, slots=True, kw_only=True)
class S3SignalParams(S3Params):
    """One thing an S3 store lets us do.

    `signal`: reads, whether MinIO has the drives to read; buckets, whether each of `buckets` is there and open to the
    key; canary, whether an object of our own can be put into `bucket` (else the first of `buckets`), read and deleted.
    """

    signal: S3Signal
    buckets: Annotated[tuple[Annotated[str, "bucket"], ...], AtMost(100)] = ()


LitellmSignal = Literal["models", "health", "completion"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LitellmSignalParams:
    """One thing LiteLLM tells of its models to one of its keys. `url` is its address, without /v1.

    `signal` and the unit of `warn` and `fail`: models, percent of the models that vanished within an hour; health,
    percent of the models whose newest stored check failed; completion, none. A completion of `model` is asked for once
    in `every` seconds and costs money: at most `daily_tokens` a day (UTC), counted since the daemon started.
    """

    url: str
    key: SendableSecret
    signal: LitellmSignal
    warn: Threshold | None = None
    fail: Threshold | None = None
    model: str = ""
    every: Pause = 900.0
    daily_tokens: Annotated[float, Limits(1, 100_000_000)] = 5_000


LangfuseSignal = Literal["propagation", "trace"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LangfuseSignalParams:
    """One thing about the way of an event through Langfuse. `url` is the worker's for propagation, the web's for trace.

    `signal` and the unit of `warn` and `fail`: propagation, seconds without progress while events arrive, which `web`
    tells; trace, seconds until a trace that was written is there to be read. One is written once in `every` seconds,
    with the keys of a project.
    """

    url: str
    signal: LangfuseSignal
    web: str | None = None
    public_key: SendableSecret | None = None
    secret_key: SendableSecret | None = None
    every: Pause = 900.0
    warn: Threshold | None = None
    fail: Threshold | None = None


QueueSignal = Literal["waiting", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSignalParams(RedisParams):
    """One thing the queues of Langfuse's worker show in the Redis they live in, as BullMQ keeps them.

    `signal` and the unit of `warn` and `fail`: waiting, seconds the oldest job has waited; failed, jobs given up within
    five minutes. `prefix` is Langfuse's REDIS_KEY_PREFIX.
    """

    signal: QueueSignal
    prefix: str = "bull"
    warn: Threshold | None = None
    fail: Threshold | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenwebuiSignalParams:
    """Whether Open WebUI, asked with an API key of one of its users, lists the models that its provider lists.

    `provider` is the address of the LiteLLM behind it, without /v1, and `provider_key` a key of that.
    """

    url: str
    key: SendableSecret
    signal: Literal["models"] = "models"
    provider: str | None = None
    provider_key: SendableSecret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySignalParams:
    """Whether the service at `url` takes the key that another one holds for it; `user` is Langfuse's public key."""

    url: str
    key: SendableSecret
    provider: Literal["litellm", "qdrant", "langfuse"]
    user: SendableSecret | None = None
    signal: Literal["key"] = "key"


QdrantSignal = Literal["key", "collections", "queue", "recovery", "replicas"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QdrantSignalParams:
    """One thing Qdrant tells of itself. All signals of a server share a look at its collections, or at its metrics.

    `signal` and the unit of `warn` and `fail`: key, none; collections, none; queue, changes of one collection that wait
    to be applied; recovery, none; replicas, shards with a replica that is not active. A read-only key will do, and none
    where Qdrant asks for none.
    """

    url: str
    signal: QdrantSignal
    key: SendableSecret | None = None
    warn: Threshold | None = None
    fail: Threshold | None = None


# Signals that are either well or not: no number to hold a threshold against, by kind of check.
WITHOUT_THRESHOLD: Mapping[str, frozenset[str]] = {
    "postgres_signal": frozenset({"writable"}),
    "redis_signal": frozenset({"policy", "canary", "persistence"}),
    "clickhouse_signal": frozenset({"memory"}),
    "litellm_signal": frozenset({"completion"}),
    "qdrant_signal": frozenset({"key", "collections", "recovery"}),
}
