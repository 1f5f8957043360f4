"""One parameter type per kind of check.

A preset, WATCH_FILE and a test make the same values; `PARAMS` maps the word in a file to its type.
Times are seconds, sizes are bytes. Every type is frozen, so a check can be shared between tasks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from config.causes import Cause
from config.secret import Secret

Family = Literal["any", "ipv4", "ipv6"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """Something in an HTTP answer that proves a known condition, whatever the status code.

    Exactly one of `json`, `text`, `header` is set. `json` is a JMESPath expression over
    `{"status": int, "body": <parsed JSON or null>}`; it is seen when its value is truthy. `text` is a regular
    expression searched in the body. `header` is "name: regex", searched in that header's value.
    """

    name: str
    json: str | None = None
    text: str | None = None
    header: str | None = None
    verdict: Literal["fail", "warn"] = "fail"
    cause: Cause = Cause.BAD_ANSWER
    says: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpParams:
    """One HTTP question. Asked of each of `paths` in turn while the answer is "this version has no such path".

    "No such path" is a 404, or HTML where `json` is expected (an SPA's catch-all); the last path's answer stands.
    `signs` are looked for first. Then the status must be in `status`, the content must be JSON if `json` or
    `expect_json` says so, `expect_json` (JMESPath over the body) must be truthy, `expect_text` must be found,
    and every header of `expect_header` ("name" to regex) must match.
    `facts` maps a fact's name (version, role, uptime) to a JMESPath over the body or "header:NAME".
    """

    url: str
    paths: tuple[str, ...] = ("",)
    method: str = "GET"
    headers: Mapping[str, str | Secret] = field(default_factory=dict)
    body: str | None = None
    status: tuple[int, ...] = (200,)
    json: bool = False
    expect_json: str | None = None
    expect_text: str | None = None
    expect_header: Mapping[str, str] = field(default_factory=dict)
    signs: tuple[Sign, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    follow_redirects: bool = False
    max_body: int = 65_536
    verify_tls: bool = True
    family: Family = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpParams:
    """A TCP connection that opens; with `send` and `expect` (regex), a line that is answered."""

    host: str
    port: int
    send: str | None = None
    expect: str | None = None
    family: Family = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsParams:
    """A TLS handshake and the days its certificate has left: warn below `warn_days`, fail when expired.

    `verify` also asks that the chain and the name hold; self-signed certificates inside a private network are
    judged by their dates alone when it is off. `starttls` speaks PostgreSQL's SSLRequest first.
    """

    host: str
    port: int
    server_name: str | None = None
    warn_days: int = 14
    verify: bool = True
    starttls: Literal["none", "postgres"] = "none"
    family: Family = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsParams:
    """A name that resolves, to records of each type asked for, from the system's resolver."""

    name: str
    types: tuple[Literal["A", "AAAA"], ...] = ("A",)
    expect: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcParams:
    """grpc.health.v1.Health/Check of `service` ("" is the server as a whole) answers SERVING."""

    host: str
    port: int
    service: str = ""
    tls: bool = False
    headers: Mapping[str, str | Secret] = field(default_factory=dict)
    family: Family = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresParams:
    """SELECT 1 over a fresh connection. `options` are further libpq parameters, such as sslmode."""

    host: str
    port: int = 5432
    user: str = "postgres"
    password: Secret | None = None
    database: str = "postgres"
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisParams:
    """AUTH and PING over a fresh connection."""

    host: str
    port: int = 6379
    user: str | None = None
    password: Secret | None = None
    database: int = 0
    tls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClickhouseParams:
    """An authenticated SELECT 1 over ClickHouse's HTTP interface. `url` has no path, user or query."""

    url: str
    user: str = "default"
    password: Secret | None = None
    database: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Params:
    """A signed HEAD of `bucket`; with no bucket, a signed listing of buckets. `url` has no path."""

    url: str
    access_key: Secret | None = None
    secret_key: Secret | None = None
    bucket: str | None = None
    region: str = "us-east-1"


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
}
