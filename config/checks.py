"""One parameter type per kind of check.

A preset, WATCH_FILE and a test make the same values; `PARAMS` maps the word in a file to its type.
Times are seconds, sizes are bytes. Every type is frozen, so a check can be shared between tasks.
What a field may hold beyond its type stands in the type too, as `Annotated`; `config.tables` reads it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from config.causes import Cause
from config.secret import Secret

Family = Literal["any", "ipv4", "ipv6"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The smallest and the largest number a field may hold, both included."""

    least: float
    most: float


# What the text of a field is written in.
Syntax = Literal[
    "jmespath",
    "regex",
    "header",
    "fact",
    "host",
    "name",
    "method",
    "paths",
    "headers",
    "metadata",
    "sendable",
    "libpq",
    "bucket",
]

JmesPath = Annotated[str, "jmespath"]
Regex = Annotated[str, "regex"]
HeaderRegex = Annotated[str, "header"]  # "name: regex"
Fact = Annotated[str, "fact"]  # a JMESPath, or "header:NAME"
Host = Annotated[str, "host"]  # a name or an IP address, nothing else
Sendable = Annotated[str, "sendable"]  # goes into a header
SendableSecret = Annotated[Secret, "sendable"]
Port = Annotated[int, Limits(1, 65_535)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """Something in an HTTP answer that proves a known condition, whatever the status code.

    Exactly one of `json`, `text`, `header` is set. `json` is a JMESPath expression over
    `{"status": int, "headers": {<lower-case name>: <value>}, "body": <parsed JSON or null>}`; it is seen when its
    value is truthy. `text` is a regular expression searched in the body. `header` is "name: regex", searched in that
    header's value. The first sign seen decides; "pass" ends the questions with a pass, whatever the status.
    """

    name: str
    json: JmesPath | None = None
    text: Regex | None = None
    header: HeaderRegex | None = None
    verdict: Literal["pass", "warn", "fail"] = "fail"
    cause: Cause = Cause.BAD_ANSWER
    says: str = ""

    def __post_init__(self) -> None:
        if sum(way is not None for way in (self.json, self.text, self.header)) != 1:
            raise ValueError("a sign needs exactly one of json, text and header")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpParams:
    """One HTTP question. Asked of each of `paths` in turn while the answer is "this version has no such path".

    "No such path" is a 404, or HTML where `json` is expected (an SPA's catch-all); the last path's answer stands.
    `signs` are looked for first. Then the status must be in `status`, the content must be JSON if `json` or
    `expect_json` says so, `expect_json` (JMESPath over the body) must be truthy, `expect_text` must be found,
    and every header of `expect_header` ("name" to regex) must match.
    `headers` may hold Host, for one of several names at an address; what follows from the request itself is refused.
    `facts` maps a fact's name (version, role, uptime) to a JMESPath over the body or "header:NAME".
    """

    url: str
    paths: Annotated[tuple[str, ...], "paths"] = ("",)
    method: Annotated[str, "method"] = "GET"
    headers: Annotated[Mapping[str, str | Secret], "headers"] = field(default_factory=dict)
    body: str | None = None
    status: tuple[Annotated[int, Limits(100, 599)], ...] = (200,)
    json: bool = False
    expect_json: JmesPath | None = None
    expect_text: Regex | None = None
    expect_header: Mapping[str, Regex] = field(default_factory=dict)
    signs: tuple[Sign, ...] = ()
    facts: Mapping[str, Fact] = field(default_factory=dict)
    follow_redirects: bool = False
    max_body: Annotated[int, Limits(1, 16_777_216)] = 65_536
    verify_tls: bool = True
    family: Family = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpParams:
    """A TCP connection that opens; with `send` and `expect` (regex), a line that is answered."""

    host: Host
    port: Port
    send: str | None = None
    expect: Regex | None = None
    family: Family = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsParams:
    """A TLS handshake and the days its certificate has left: warn below `warn_days`, fail when expired.

    `verify` also asks that the chain and the name hold; self-signed certificates inside a private network are
    judged by their dates alone when it is off. `starttls` speaks PostgreSQL's SSLRequest first. `optional`: a server
    that speaks no TLS, or cannot be reached, is none of this check's business; it is not available then.
    """

    host: Host
    port: Port
    server_name: Host | None = None
    warn_days: Annotated[int, Limits(0, 3650)] = 14
    verify: bool = True
    starttls: Literal["none", "postgres"] = "none"
    optional: bool = False
    family: Family = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsParams:
    """A name that resolves, to records of each type asked for, from the system's resolver."""

    name: Annotated[str, "name"]
    types: tuple[Literal["A", "AAAA"], ...] = ("A",)
    expect: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcParams:
    """grpc.health.v1.Health/Check of `service` ("" is the server as a whole) answers SERVING."""

    host: Host
    port: Port
    service: str = ""
    tls: bool = False
    headers: Annotated[Mapping[str, str | Secret], "metadata"] = field(default_factory=dict)
    family: Family = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresParams:
    """SELECT 1 over a fresh connection. `options` are further libpq parameters, such as sslmode."""

    host: Host
    port: Port = 5432
    user: str = "postgres"
    password: Secret | None = None
    database: str = "postgres"
    options: Annotated[Mapping[str, str], "libpq"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisParams:
    """AUTH and PING over a fresh connection."""

    host: Host
    port: Port = 6379
    user: str | None = None
    password: Secret | None = None
    database: Annotated[int, Limits(0, 65_535)] = 0
    tls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClickhouseParams:
    """An authenticated SELECT 1 over ClickHouse's HTTP interface. `url` has no path, user or query."""

    url: str
    user: Sendable = "default"
    password: SendableSecret | None = None
    database: Sendable = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Params:
    """A signed HEAD of `bucket`; with no bucket, a signed listing of buckets. `url` has no path."""

    url: str
    access_key: SendableSecret | None = None
    secret_key: Secret | None = None
    bucket: Annotated[str, "bucket"] | None = None
    region: Sendable = "us-east-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupsParams:
    """The restore points in our own store are as fresh as the schedule promises; `period` is its own, seconds.

    `max_bytes` is what they may take up, the next one included; 0: as much as they like. `engines` are those that are
    backed up; none: whatever the store tells of.
    """

    period: float = 86_400.0
    max_bytes: int = 0
    engines: tuple[str, ...] = ()


# A signal is what a server tells of itself once it lets us in, asked beside the plain question whether it answers. It
# takes that question's parameters, which signal it is, and from which number on it warns and fails, in its own unit.

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
    warn: float | None = None
    fail: float | None = None


RedisSignal = Literal["memory", "policy", "evicted", "rejected", "canary", "persistence", "replica", "restarts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisSignalParams(RedisParams):
    """One thing Redis or Valkey tells of itself. All signals of a server share one connection a minute.

    `signal` and the unit of `warn` and `fail`: memory, percent of maxmemory; policy, none; evicted, keys within five
    minutes; rejected, connections within five minutes; canary, none; persistence, none; replica, seconds without its
    primary; restarts, how many within an hour. The canary writes its own key and nothing else.
    """

    signal: RedisSignal
    warn: float | None = None
    fail: float | None = None


LitellmSignal = Literal["models", "health", "completion"]
Pause = Annotated[float, Limits(60, 604_800)]  # seconds between two asks that cost something


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
    warn: float | None = None
    fail: float | None = None
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
    warn: float | None = None
    fail: float | None = None


QueueSignal = Literal["waiting", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSignalParams(RedisParams):
    """One thing the queues of Langfuse's worker show in the Redis they live in, as BullMQ keeps them.

    `signal` and the unit of `warn` and `fail`: waiting, seconds the oldest job has waited; failed, jobs given up within
    five minutes. `prefix` is Langfuse's REDIS_KEY_PREFIX.
    """

    signal: QueueSignal
    prefix: str = "bull"
    warn: float | None = None
    fail: float | None = None


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


Params = (
    HttpParams
    | TcpParams
    | TlsParams
    | DnsParams
    | GrpcParams
    | PostgresParams
    | RedisParams
    | ClickhouseParams
    | S3Params
    | BackupsParams
    | PostgresSignalParams
    | RedisSignalParams
    | LitellmSignalParams
    | LangfuseSignalParams
    | QueueSignalParams
    | OpenwebuiSignalParams
    | KeySignalParams
)

PARAMS: Mapping[str, type[Params]] = {
    "http": HttpParams,
    "tcp": TcpParams,
    "tls": TlsParams,
    "dns": DnsParams,
    "grpc": GrpcParams,
    "postgres": PostgresParams,
    "redis": RedisParams,
    "clickhouse": ClickhouseParams,
    "s3": S3Params,
    "postgres_signal": PostgresSignalParams,
    "redis_signal": RedisSignalParams,
    "litellm_signal": LitellmSignalParams,
    "langfuse_signal": LangfuseSignalParams,
    "queue_signal": QueueSignalParams,
    "openwebui_signal": OpenwebuiSignalParams,
    "key_signal": KeySignalParams,
}
