"""Incidents × channels × silences → alerts to put into the outbox. Pure.

Who should have been told and was not is found by looking at the book, not by remembering an event: so the end of a
silence, PAGE_AFTER and a restart need no care of their own.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import groupby

from alerts.alert import Alert, Kind, Severity
from alerts.channels.base import Addressee
from alerts.texts import duration, moment
from config.alert_settings import AlertSettings
from monitor.blame import badness
from monitor.bookkeeping import SETTLE, with_entry
from monitor.dependencies import Graph
from monitor.facts import Fact
from monitor.incidents import BLIND, Book, Case, Happening, Incident, Said, Seen
from monitor.judge import State
from monitor.letters import dedup_key, severity_of, write_alert
from monitor.outages import AFTERMATH, STORM_WINDOW
from monitor.silences import Silence

REMIND_MOST = 86_400.0  # seconds between reminders, however long it lasts
STORM = 2  # incidents that are told at once; what opens beside them is gathered
GATHER = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """One alert for one channel."""

    channel: str
    alert: Alert


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """What routing goes by: who is told (`channels`), how (`settings`), and in whose name (`instance`).

    `facts` are the facts known of each service that has any, by service and by the fact's name.
    """

    instance: str
    channels: Sequence[Addressee]
    settings: AlertSettings
    silences: Sequence[Silence] = ()
    facts: Mapping[str, Mapping[str, Fact]] = field(default_factory=dict)


def route(
    book: Book, said: Iterable[Said], graph: Graph, seen: Mapping[str, Seen], ways: Ways, now: float, *, wall: float
) -> tuple[Book, tuple[Put, ...]]:
    """Given the book and what `step` has just said, gives the book with who was told, and the alerts to put.

    To be called after every step, with what that said or with nothing: who is not told yet and should be is found by
    looking, so that a pager is told after PAGE_AFTER, a silence's end tells what is still open, and reminders come.
    The book and the alerts belong into one transaction. `now` is monotonic seconds, `wall` epoch seconds.
    """
    said = tuple(said)
    if not said and not book.cases:
        return book, ()
    turn = _Turn(book, graph, seen, ways, now, wall)
    for one in said:
        if one.what == Happening.RESOLVED:
            turn.resolve(one)
    news = {
        root: " ".join(one.text for one in said if one.incident.root == root and one.what in _NEWS)
        for root in {one.incident.root for one in said}
    }
    for _, same in groupby(
        sorted(book.cases.values(), key=lambda case: (case.opened, case.incident.id)), key=lambda case: case.opened
    ):
        for place, case in enumerate(same):
            turn.tell(case.incident.root, news.get(case.incident.root, ""), place)
    for root in book.cases:
        turn.remind(root)
    return turn.book(), tuple(turn.puts)


_NEWS = (Happening.SPREAD, Happening.FLAPPING)


def amnesia(graph: Graph, seen: Mapping[str, Seen], ways: Ways, *, wall: float) -> tuple[Put, ...]:
    """Resolves, for channels that know incidents by their key, of all that is seen up and of our own blindness.

    For a daemon that was started without state, once, after its first full round: what was open when the state was
    lost would stay open for ever. What is down opens with the same key, and so goes on.
    """
    stamp = datetime.fromtimestamp(wall, UTC).strftime("%Y%m%dT%H%M%SZ")
    well = [name for name in graph.services if name in seen and seen[name].state == State.UP]
    alerts = [
        Alert(
            kind=Kind.RESOLVE,
            severity=Severity.CRITICAL,
            incident=f"{stamp}-{root.strip('()')}-forgotten",
            dedup_key=dedup_key(ways.instance, root),
            instance=ways.instance,
            service=root,
            title=graph.title(root),
            state="up",
            since=wall,
            at=wall,
            ended=wall,
            status_url=ways.settings.public_url,
            note="the daemon lost what it knew; whatever was open about this before is over",
        )
        for root in (*well, BLIND)
    ]
    return tuple(
        Put(channel=channel.name, alert=alert) for channel in ways.channels if channel.keyed for alert in alerts
    )


class _Turn:
    """One routing under way."""

    def __init__(self, book: Book, graph: Graph, seen: Mapping[str, Seen], ways: Ways, now: float, wall: float) -> None:
        self.old = book
        self.cases = dict(book.cases)
        self.gathering = book.gathering
        self.graph = graph
        self.seen = seen
        self.ways = ways
        self.now = now
        self.wall = wall
        self.puts: list[Put] = []
        self.silences = [one for one in ways.silences if one.active(wall)]
        self.gathered = book.gathering is not None and now - book.gathering >= GATHER
        self.waiting = False

    def book(self) -> Book:
        gathering = self.gathering if self.waiting else None
        if self.cases == self.old.cases and gathering == self.old.gathering:
            return self.old
        return replace(self.old, cases=self.cases, gathering=gathering)

    def resolve(self, one: Said) -> None:
        """Tells everybody that it is over who was told that it is; a silence does not keep that back.

        A channel that was taken out meanwhile as well: it may come back within the day that the outbox keeps it. One
        for which it was still being gathered with others is put both, of which the outbox makes one message.
        """
        incident = one.incident
        told, late = [name for name, _ in incident.told], self._gathered_still(incident)
        for name in late:
            self._send(name, Kind.OPEN, incident, incident.worst, "")
        for name in (*told, *late):
            plain = incident.state == "up" and not incident.flapping
            self._send(name, Kind.RESOLVE, incident, incident.worst, "" if plain else one.text)

    def _gathered_still(self, incident: Incident) -> list[str]:
        """The channels for which an incident that is over was kept back to be told together with others."""
        kept_back = self.gathering is not None and self.wall - incident.opened_at <= 2 * GATHER
        severity = severity_of(self.graph, incident.root, incident.check, incident.worst)
        if not kept_back or severity is None or self._silent(incident.root):
            return []
        told = dict(incident.told)
        return [channel.name for channel in self.ways.channels if channel.groups and channel.name not in told]

    def tell(self, root: str, news: str, place: int) -> None:
        """Tells of an open incident whoever has not heard of it, or of how it is now.

        `place` is its number, from 0, among those that were opened in the same moment.
        """
        case = self.cases[root]
        severity = severity_of(self.graph, root, case.incident.check, case.told_state)
        silent = self._silent(root)
        told = dict(case.incident.told)
        for channel in self.ways.channels:
            before = told.get(channel.name)
            if before is None:
                if not self._may_open(case, channel, severity):
                    continue
                if silent:
                    case = replace(case, muted=True)
                    continue
                if channel.groups and self._storms(case, place):
                    continue
                self._put(channel, Kind.OPEN, case, self._why_now(case, channel, news))
                told[channel.name] = case.told_state
                if not channel.pages:
                    case = replace(case, spoken=self.now)
            elif not silent and (before != case.told_state or self._heeds(channel, case, severity, news)):
                was = f"It was {before}." if before != case.told_state else ""
                self._put(channel, Kind.UPDATE, case, " ".join(filter(None, (was, news))))
                told[channel.name] = case.told_state
        pairs = tuple(told.items())
        if pairs != case.incident.told:
            case = replace(case, incident=replace(case.incident, told=pairs))
        self.cases[root] = case

    def remind(self, root: str) -> None:
        """Says again, ever less often, what is still so. What may not be said when it is due is due again later."""
        case = self.cases[root]
        one = case.incident
        base = self.ways.settings.cooldown
        wait = min(base * 2 ** min(one.reminders, 30), REMIND_MOST)
        if self.now - case.spoken < wait:
            return
        told = dict(one.told)
        channels = [channel for channel in self.ways.channels if channel.name in told and not channel.pages]
        if not channels or not self._may_remind(case):
            # Not the moment it may be said: when a maintenance ends, that something was down before it is no news.
            self.cases[root] = replace(case, spoken=self.now - wait + min(base, wait))
            return
        text = f"The {_ordinal(one.reminders + 1)} reminder."
        one = replace(one, reminders=one.reminders + 1, reminded_at=self.wall)
        case = replace(case, spoken=self.now, incident=with_entry(one, Happening.REMINDED, text, self.wall))
        self.cases[root] = case
        for channel in channels:
            self._put(channel, Kind.REMINDER, case, text)

    def _heeds(self, channel: Addressee, case: Case, severity: Severity | None, news: str) -> bool:
        """Whether `channel` is to hear `news` of an incident whose state it knows."""
        return bool(news) and not case.covered and (severity == Severity.CRITICAL or not channel.pages)

    def _may_open(self, case: Case, channel: Addressee, severity: Severity | None) -> bool:
        """Whether `channel` is to hear of it now, silences and storms left aside."""
        if severity is None or not self.old.round_over or badness(case.incident.state) == 0:
            return False
        if case.covered or (case.freed is not None and self.now - case.freed < AFTERMATH):
            return False  # a parent's incident tells it, or did until just now
        if not channel.pages:
            return True
        if severity != Severity.CRITICAL:
            return False
        # Blindness has lasted long before it is an incident.
        return case.incident.root == BLIND or self.now - case.opened >= self.ways.settings.page_after

    def _may_remind(self, case: Case) -> bool:
        one = case.incident
        sight = self.seen.get(one.root)
        in_sight = one.root == BLIND or (sight is not None and sight.state != State.UNKNOWN)
        # One that flapped and then stays down is no longer told by its flapping.
        began = sight.troubled_at if sight else None
        restless = one.flapping and (began is None or self.now - began < SETTLE)
        return (
            in_sight
            and not restless
            and one.acknowledged_at is None
            and not case.covered
            and not self._silent(one.root)
            and self.old.round_over
        )

    def _storms(self, case: Case, place: int) -> bool:
        """Whether so much opens just now that this one is gathered with others into one message."""
        earlier = bisect_left(self.old.openings, case.opened) - bisect_right(
            self.old.openings, case.opened - STORM_WINDOW
        )
        fresh = self.now - case.opened < STORM_WINDOW
        if not fresh or earlier + place < STORM or self.gathered:
            return False
        self.waiting = True
        self.gathering = self.now if self.gathering is None else self.gathering
        return True

    def _silent(self, root: str) -> bool:
        return any(one.matches(root) for one in self.silences)

    def _why_now(self, case: Case, channel: Addressee, news: str) -> str:
        """Why this comes when it does, where that is not plain."""
        late = self.now - case.opened
        why = ""
        if case.muted:
            why = f"open since {moment(case.incident.opened_at, near=self.wall)}; it was silenced until now"
        elif late > 2 * GATHER and not channel.pages:
            why = f"open for {duration(late)}; this place had not heard of it"
        flaps = case.incident.flapping and not news
        return "; ".join(filter(None, (why, f"it went down {case.incident.downs} times" if flaps else news)))

    def _put(self, channel: Addressee, kind: Kind, case: Case, note: str) -> None:
        self._send(channel.name, kind, case.incident, case.told_state, note)

    def _send(self, channel: str, kind: Kind, incident: Incident, state: str, note: str) -> None:
        """Puts one message; `state` is the one it is told as, which the incident may be ahead of."""
        severity = severity_of(self.graph, incident.root, incident.check, state) or Severity.INFO
        alert = write_alert(
            kind,
            incident,
            self.graph,
            self.seen,
            self.ways.facts,
            severity=severity,
            state=state,
            note=note,
            instance=self.ways.instance,
            status_url=self.ways.settings.public_url,
            wall=self.wall,
        )
        self.puts.append(Put(channel=channel, alert=alert))


def _ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
