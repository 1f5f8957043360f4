"""One parameter type per kind of plain check: whether a service answers. config/signals.py has what it tells of itself.

A preset, WATCH_FILE and a test make the same values; config/kinds.py maps the word in a file to its type.
Times are seconds, sizes are bytes. Every type is frozen, so a check can be shared between tasks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from config.causes import Cause
from config.fields import Fact, Family, HeaderRegex, Host, JmesPath, Limits, Port, Regex, Sendable, SendableSecret
from config.secret import Secret


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
    `expect_words` must stand in it letter by letter, and every header of `expect_header` ("name" to regex) must match.
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
    expect_words: str | None = None
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
