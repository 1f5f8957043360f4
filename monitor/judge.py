"""Previous state + outcome + now → state, and the flip when it changed. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from config.causes import Cause


class State(StrEnum):
    """How a service, or one check of it, is known to be."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"
    UNKNOWN = "unknown"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckTrack:
    """What the judge remembers of one check.

    `confirmed` is up, degraded, down, or unknown when nothing was ever confirmed. `misses`, `warns` and `passes` count
    the newest unbroken row of each; `unseen` counts runs that could not look. `recent` holds the last ten verdicts
    that could look, oldest first, one letter each (p, w, f).
    """

    confirmed: State = State.UNKNOWN
    misses: int = 0
    warns: int = 0
    passes: int = 0
    unseen: int = 0
    recent: str = ""
    cause: Cause | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """What the judge remembers of one service. Times are seconds since the epoch.

    `since` is when `state` began: for an outage the time of its first miss, not of its confirmation.
    `check` and `cause` name what decided the state; both are empty when it is up.
    """

    state: State = State.UNKNOWN
    since: float
    watched_since: float
    seen_up: bool = False
    check: str = ""
    cause: Cause | None = None
    checks: Mapping[str, CheckTrack] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A confirmed change of a service's state. `at` is when it was confirmed, `since` when it began; epoch seconds."""

    service: str
    old: State
    new: State
    at: float
    since: float
    check: str = ""
    cause: Cause | None = None
    sentence: str = ""
    evidence: str = ""
    remedy: str = ""
