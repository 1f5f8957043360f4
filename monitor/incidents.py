"""What an incident is: one outage from open to resolve; and what is remembered about all of them: the Book.

Values alone. `monitor.outages` moves them, `monitor.routing` says who is told, `monitor.logbook` keeps them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from config.causes import Cause
from monitor.judge import State


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
    blindness; that one is degraded while it is single services that cannot be looked at. `state` is what the root is
    now (down, degraded, blind, up; paused or gone when it was closed because nobody looks at it any more), `worst` the
    worst it was. `since` is when the outage began, `opened_at` when it was opened, `resolved_at` when it was over, None
    while it is open. The texts are those of the newest trouble. `affected` are the services it takes down with it, now
    or at its end. `downs` counts how often the root went down within it; `flapping` holds it open until the root stays
    up. `acknowledged_by` is who stopped the reminders, or empty. `failed_checks` counts failed runs of the root's
    checks since it began. `told` pairs each channel that knows of it with the state it was told last.
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
    told: tuple[tuple[str, str], ...] = ()


BLIND = "(blind)"  # the root of the incident about our own blindness: no service can have this name


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known of one service just now. `since` is epoch seconds (Track.since); all else timed is monotonic.

    `troubled_at` is when the row of trouble began that it is in, confirmed or not: the first run that was not a clean
    pass after it was last well; None while it is well. `answered_at` is the oldest, over its checks whose miss means
    down, of when the newest run began that was answered (passed or warned); `passed_at` the same over all its checks,
    of clean passes. None: one of them did not since the daemon's start. The texts are those of the check that decided
    the state. `failed_runs` counts failed runs of its checks in the newest row of trouble, the present or the last.
    """

    state: State
    since: float
    troubled_at: float | None = None
    answered_at: float | None = None
    passed_at: float | None = None
    check: str = ""
    cause: Cause | None = None
    sentence: str = ""
    evidence: str = ""
    remedy: str = ""
    failed_runs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Blindness:
    """That we cannot look. `since` is monotonic seconds; the texts are for people and hold no secret.

    `partly`: single services cannot be looked at, while what lies beside them is seen.
    """

    since: float
    sentence: str
    evidence: str
    remedy: str = ""
    cause: Cause | None = None
    partly: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One thing that happened to an incident, as it stands after it. `text` is the line of its timeline."""

    what: Happening
    incident: Incident
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An open incident, and what is remembered to carry it on. Times are monotonic seconds.

    `began` is when the outage began, `opened` when the incident was opened, `spoken` when it was last told of for
    itself: opened, worse or reminded. `told_state` is the state that was last announced; the incident's own may be
    ahead of it while a parent is to blame. `well_since` is when a flapping root was last seen to come up. `counted` is
    the root's `failed_runs` when they were last added to the incident's. `hit` are the services that went down with
    it, `named` those that messages named, `spread_at` when one that was not was first seen to go down with it.
    `covered` says that a parent is in trouble as bad, `freed` when that was last over. `muted`: a silence kept it from
    being told.
    """

    incident: Incident
    began: float
    opened: float
    spoken: float
    told_state: str
    well_since: float | None = None
    counted: int = 0
    counted_at: float = 0.0
    hit: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    spread_at: float | None = None
    covered: bool = False
    freed: float | None = None
    muted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A troubled service that is not told of for itself, or not yet. Times are monotonic seconds.

    `noticed` is when it was first seen in `state`, confirmed. `under` are the parents that excuse it now; once none
    does any more, `after` are those that did and `freed` is when they ceased to.
    """

    state: State
    noticed: float
    under: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    freed: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """All that the core and the routing remember. A value: a new one is made when anything changed.

    `cases` are the open incidents by root. `held` are the candidates by service. `downs` are the times at which each
    service went down of late. `openings` are the times at which incidents were opened within the last minute or so, and
    `gathering` is when messages about a storm began to be gathered. `ids` are the newest incidents' ids. `round_over`
    says that everything was looked at since the start. `blind` says that we could not look at all when last asked,
    `sighted` when that was last over. `ahead` is by how much the wall clock was ahead of the monotonic one, None at
    first; `steps` are the newest times at which it was stepped, each with by how much, in seconds.
    All times are monotonic seconds, and all lie in the past: `logbook` keeps them as wall time, and a wait that
    survives a restart has lasted as long as the wall clock says, and never less than nothing.
    """

    cases: Mapping[str, Case] = field(default_factory=dict)
    held: Mapping[str, Held] = field(default_factory=dict)
    downs: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    openings: tuple[float, ...] = ()
    gathering: float | None = None
    ids: tuple[str, ...] = ()
    round_over: bool = False
    blind: bool = False
    sighted: float | None = None
    ahead: float | None = None
    steps: tuple[tuple[float, float], ...] = ()

    @property
    def open(self) -> tuple[Incident, ...]:
        """The open incidents, oldest first."""
        return tuple(sorted((case.incident for case in self.cases.values()), key=lambda one: (one.opened_at, one.id)))
