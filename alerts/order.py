"""What an incident has to say next on one channel. Pure: the outbox's rows in, what is sent and what need not be out.

It is worked out anew from all rows whenever something is to be sent, never when a row is put: so a row that comes back
late, from a file that hung, finds out by itself that it is overtaken.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from alerts.alert import Alert, Kind, Severity, from_json

GROUP_MOST = 40  # alerts told in one message: as many as a channel names
_RANK = {Kind.OPEN: 0, Kind.RESOLVE: 2}  # whatever the clock did meanwhile; all other kinds come between


class Fate(StrEnum):
    """What became of a message."""

    WAITING = "waiting"
    SENT = "sent"
    OVERTAKEN = "overtaken"  # a later message says it
    SPARED = "spared"  # it was over before anybody had to be woken
    PARKED = "parked"  # the provider does not take it as it is
    GIVEN_UP = "given_up"  # tried for as long as makes sense
    DROPPED = "dropped"  # its channel is no longer configured


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One message for one channel. The fields are the columns of the outbox; times are seconds since the epoch.

    `at` is the alert's time in milliseconds; `sequence` orders the messages of a dedup_key, also when the clock went
    back between them. `waited` is for how many seconds it has been put off. `attempts` is counted before each: what
    was tried may have been accepted. `told_as` is the kind it was last sent as.
    """

    channel: str
    incident: str
    kind: Kind
    at: int
    dedup_key: str
    sequence: int
    fate: Fate
    attempts: int = 0
    waited: float = 0.0
    ended_at: float | None = None
    told_as: str = ""
    reason: str = ""
    said: str = ""
    ref: str = ""
    alert: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What an incident says next: `row`, told as `kind`; `within` was never delivered and is told along with it."""

    row: Row
    kind: Kind
    within: Row | None = None
    ref: str = ""

    def alert(self) -> Alert:
        """What is sent. Raises ValueError, KeyError or TypeError when the row holds no alert."""
        alert = replace(from_json(self.row.alert), kind=self.kind)
        for first in read([self.within] if self.within else []):
            alert = replace(
                alert,
                severity=worst([alert, first]),
                state=first.state,
                since=min(alert.since, first.since),
                cause=alert.cause or first.cause,
                sentence=alert.sentence or first.sentence,
                evidence=alert.evidence or first.evidence,
                takes_down=alert.takes_down or first.takes_down,
                changes=alert.changes or first.changes,
            )
        return alert


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`step` is what is sent next, if anything; `needless` are rows that get their fate without being sent."""

    step: Step | None
    needless: Mapping[Fate, Sequence[Row]]


def plan(rows: Iterable[Row], *, pages: bool) -> Plan:
    """What one incident says next on one channel, given all its rows there, none of them under way.

    `pages` says that the channel wakes people.
    """
    rows = sorted(rows, key=lambda row: (_RANK.get(row.kind, 1), row.sequence, row.at))
    waiting = [row for row in rows if row.fate == Fate.WAITING]
    resolve = next((row for row in rows if row.kind == Kind.RESOLVE), None)
    if resolve is None:
        return _going_on(rows, waiting)
    if resolve.fate != Fate.WAITING:
        return Plan(step=None, needless={Fate.OVERTAKEN: waiting})
    before = {Fate.OVERTAKEN: [row for row in waiting if row is not resolve]}
    opened = next((row for row in rows if row.kind == Kind.OPEN), None)
    if opened is None or _heard(rows):
        return Plan(step=Step(row=resolve, kind=Kind.RESOLVE, ref=_ref(rows)), needless=before)
    if not pages:
        return Plan(step=Step(row=resolve, kind=Kind.BRIEF, within=opened), needless=before)
    if any(row.attempts for row in rows):
        # It may have been accepted, and then an incident is open there that only a resolve closes.
        return Plan(step=Step(row=resolve, kind=Kind.RESOLVE), needless=before)
    return Plan(step=None, needless={Fate.SPARED: waiting})


def _going_on(rows: Sequence[Row], waiting: Sequence[Row]) -> Plan:
    """The plan of an incident that is not over, or of a notice."""
    opened = next((row for row in rows if row.kind == Kind.OPEN), None)
    heard = _heard(rows)
    needless = [row for row in waiting if row.kind == Kind.OPEN and (heard or row is not opened)]
    later = [row for row in waiting if row.kind in (Kind.UPDATE, Kind.REMINDER)]
    newest = {row.kind: row for row in later}
    # A newer one of its kind says it, and a reminder has nothing to say that any later message does not.
    needless += [row for row in later if row is not newest[row.kind]]
    needless += [row for row in newest.values() if row.kind == Kind.REMINDER and row is not later[-1]]
    left = [row for row in waiting if row not in needless]
    if not left:
        return Plan(step=None, needless={Fate.OVERTAKEN: needless})
    kind = left[0].kind
    if kind in (Kind.UPDATE, Kind.REMINDER) and opened is not None and not heard:
        kind = Kind.OPEN  # the open was parked or given up: this is the first that people there hear of it
    return Plan(step=Step(row=left[0], kind=kind, ref=_ref(rows)), needless={Fate.OVERTAKEN: needless})


def in_turn(steps: Sequence[Step], sent: Mapping[str, int]) -> Plan:
    """The steps of one dedup_key: a service's outages are told one after the other.

    Gives the step whose turn it is. `sent` has for each incident of the key that was told the greatest sequence of
    what was sent. A resolve that came after the next outage's open would end that one, at a provider that knows it by
    its key as well as for who reads it; so once that open was sent, the older incident has nothing to say any more.
    """

    def is_past(step: Step) -> bool:
        others = [sequence for incident, sequence in sent.items() if incident != step.row.incident]
        return step.row.sequence < max(others, default=0)

    past = [step.row for step in steps if is_past(step)]
    left = [step for step in steps if not is_past(step)]
    first = min(left, key=lambda step: step.row.sequence, default=None)
    return Plan(step=first, needless={Fate.OVERTAKEN: past})


def together(steps: Sequence[Step], alone: Collection[str]) -> Sequence[Step]:
    """The first of `steps` and what goes in one message with it: only opens or only resolves, each at most once.

    Incidents in `alone` go by themselves, and those whose message can be found again: it is to be edited.
    """

    def fits(step: Step) -> bool:
        return step.kind in (Kind.OPEN, Kind.RESOLVE) and not step.ref and step.row.incident not in alone

    if not fits(steps[0]):
        return steps[:1]
    chosen = [step for step in steps if fits(step) and step.kind == steps[0].kind][:GROUP_MOST]
    return sorted(chosen, key=lambda step: (step.row.sequence, step.row.incident))


def joined(alerts: Sequence[Alert]) -> Alert:
    """One alert that tells all of `alerts`; a single one as it is. Its link leads to the page and to none of them."""
    if len(alerts) == 1:
        return alerts[0]
    return Alert(
        kind=alerts[0].kind,
        severity=worst(alerts),
        incident="",
        dedup_key="",
        instance=alerts[0].instance,
        service="",
        title="",
        state="",
        since=min(one.since for one in alerts),
        at=max(one.at for one in alerts),
        status_url=alerts[0].status_url.partition("#")[0],
        members=tuple(alerts),
    )


def worst(alerts: Iterable[Alert]) -> Severity:
    """The worst severity among them."""
    return min((one.severity for one in alerts), key=list(Severity).index)


def read(rows: Iterable[Row]) -> tuple[Alert, ...]:
    """The alerts of rows, as they were put; those that cannot be read are left out."""
    alerts = []
    for row in rows:
        try:
            alerts.append(from_json(row.alert))
        except (ValueError, KeyError, TypeError):
            continue
    return tuple(alerts)


def _heard(rows: Iterable[Row]) -> bool:
    return any(row.fate == Fate.SENT for row in rows)


def _ref(rows: Iterable[Row]) -> str:
    """What finds the incident's first message again."""
    return next((row.ref for row in rows if row.fate == Fate.SENT and row.ref), "")
