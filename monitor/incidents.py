"""What an incident is: one outage from open to resolve."""

from dataclasses import dataclass
from enum import StrEnum

from config.causes import Cause


class Happening(StrEnum):
    """What a line of an incident's timeline is about."""

    OPENED = "opened"
    WORSE = "worse"
    BETTER = "better"
    SPREAD = "spread"
    FLAPPING = "flapping"
    ACKNOWLEDGED = "acknowledged"
    REMINDED = "reminded"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a timeline. `at` is epoch seconds, `text` a sentence for people."""

    at: float
    what: Happening
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One outage. Times are seconds since the epoch.

    `id` is unique for ever ("20261121T031502Z-postgres"). `root` is the service it is about, or BLIND for our own
    blindness. `state` is what the root is now (down, degraded, blind, up), `worst` the worst it was. `since` is when
    the outage began, `opened_at` when it was opened, `resolved_at` when it was over, None while it is open. The texts
    are those of the newest trouble. `affected` are the services it takes down with it, now or at its end. `downs`
    counts how often the root went down within it; `flapping` holds it open until the root stays up. `acknowledged_by`
    is who stopped the reminders, or empty. `failed_checks` counts failed runs of the root's checks since it began.
    """

    id: str
    root: str
    state: str
    worst: str
    since: float
    opened_at: float
    resolved_at: float | None = None
    check: str = ""
    cause: Cause | None = None
    sentence: str = ""
    evidence: str = ""
    remedy: str = ""
    affected: tuple[str, ...] = ()
    downs: int = 1
    flapping: bool = False
    acknowledged_at: float | None = None
    acknowledged_by: str = ""
    reminders: int = 0
    reminded_at: float | None = None
    failed_checks: int = 0
    timeline: tuple[Entry, ...] = ()


BLIND = "(blind)"  # the root of the incident about our own blindness: no service can have this name
