"""What a probe is: a question asked once, answered with a value.

A probe never raises, never decides about a service and never retries: thresholds live in `judge`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """What one run of a check saw."""

    PASS = "pass"  # noqa: S105 -- a verdict, not a password
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"


class Sight(StrEnum):
    """How far a probe got. `vantage` decides from it whether we could look at all."""

    ANSWERED = "answered"  # the service spoke its protocol, whatever it said
    GARBLED = "garbled"  # it spoke, but not the protocol that was asked
    REFUSED = "refused"
    RESET = "reset"
    NO_NAME = "no_name"  # the resolver answered: there is no such name
    NO_CONNECT = "no_connect"  # the connection did not open in time
    NO_ANSWER = "no_answer"  # the connection opened, the answer did not come in time
    TLS = "tls"  # the TLS handshake failed
    NO_RESOLVER = "no_resolver"  # the resolver did not answer
    NO_ROUTE = "no_route"  # our own network has no way there
    FAULT = "fault"  # the probe itself broke: a bug of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was seen, for diagnose and for people.

    `text` is one line without secrets. `code` is the protocol's own: HTTP status, SQLSTATE, ClickHouse or S3 error
    code, first word of a Redis error. `sign` names the preset's sign or the expectation that decided
    ("status", "json", "expect_json", "expect_text", "expect_header", "redirect"). `address` is what was dialled.
    """

    sight: Sight
    text: str
    code: str = ""
    sign: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One run of a check. `latency` is seconds from the first look-up to the last byte read.

    `facts` are things seen on the way that are worth keeping when they change: version, role, uptime.
    """

    verdict: Verdict
    latency: float
    evidence: Evidence
    facts: Mapping[str, str] = field(default_factory=dict)
