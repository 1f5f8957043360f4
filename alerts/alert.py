"""What is told: one message about one incident. The value every channel renders, kept in the outbox as JSON.

No secret is in it: texts come from evidence, which never holds one, and are masked once more before they are put.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What the message is for."""

    OPEN = "open"  # an outage begins
    UPDATE = "update"  # it got worse or better, takes more down with it, or flaps
    REMINDER = "reminder"  # it still is
    RESOLVE = "resolve"  # it is over
    BRIEF = "brief"  # it began and ended before this channel could be told
    NOTICE = "notice"  # about the daemon itself, or asked for: a test, a channel that refuses us, a good backup


class Severity(StrEnum):
    """How much it matters, worst first; the words are PagerDuty's."""

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Affected:
    """A service that the root takes down with it. `state` is "down", "degraded", or "expected" to fail."""

    service: str
    title: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something that changed shortly before: "LiteLLM: version 1.84.0 → 1.85.0". `at` is epoch seconds."""

    text: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One message. Times are seconds since the epoch, durations follow from them.

    `incident` names one outage from open to resolve and is never used again; `dedup_key` names the root service at
    this instance and is the same for its every outage, after lost state too. `service` is the root's name, `title`
    what people call it; a notice's is its headline. `state` is what the root is now: down, degraded, blind, flapping or
    up; when it is over also "paused" or "gone" (no longer configured). `since` is when the outage began, `at` when this
    message was made, `ended` when it was over. `sentence` is the cause in words, `evidence` what was seen, in one line.
    `note` says why this message comes when that is not plain from `kind`:
    "was degraded since 03:12", "the 3rd reminder". `failed_checks` counts the failed runs of its checks during the
    outage, `changes_of_state` how often a flapping service went down. `command` is what to type for more, `runbook`
    and `status_url` are addresses or empty. `members` are the alerts told together in one message; each is of a
    different incident, and the outer alert then has only `kind`, `severity` (the worst), `since`, `at`, `instance` and
    `status_url`.
    """

    kind: Kind
    severity: Severity
    incident: str
    dedup_key: str
    instance: str
    service: str
    title: str
    state: str
    since: float
    at: float
    ended: float | None = None
    cause: str = ""
    sentence: str = ""
    evidence: str = ""
    takes_down: tuple[Affected, ...] = ()
    changes: tuple[Change, ...] = ()
    remedy: str = ""
    command: str = ""
    runbook: str = ""
    status_url: str = ""
    note: str = ""
    failed_checks: int = 0
    changes_of_state: int = 0
    members: tuple["Alert", ...] = ()


def to_json(alert: Alert) -> str:
    """The alert as one line of JSON, in ASCII: a service may say half a character, which no database takes."""
    return json.dumps(asdict(alert), separators=(",", ":"))


def from_json(text: str) -> Alert:
    """The alert that `to_json` gave; fields that another version knew are passed over.

    Raises ValueError, KeyError or TypeError for text that is none.
    """
    return _from_record(json.loads(text))


def _from_record(record: Any) -> Alert:
    if not isinstance(record, Mapping):
        raise TypeError("no alert")
    known = {one.name for one in fields(Alert)}
    values: dict[str, Any] = {name: value for name, value in record.items() if name in known}
    values["kind"], values["severity"] = Kind(record["kind"]), Severity(record["severity"])
    values["takes_down"] = tuple(Affected(**one) for one in record.get("takes_down", ()))
    values["changes"] = tuple(Change(**one) for one in record.get("changes", ()))
    values["members"] = tuple(_from_record(one) for one in record.get("members", ()))
    return Alert(**values)
