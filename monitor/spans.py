"""How long each service was in which state, as spans of time that were really watched.

A span says: from `start` to `until` the service was looked at often enough, and was in `state`. Where there is no span
nobody looked, and that is shown as no data, never as up. Times are seconds since the epoch outside, whole
milliseconds in the table.
"""

import math
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from config.watched import Service
from monitor.database import Schema
from monitor.history import millis
from monitor.judge import State

STANDS = 150.0  # seconds one look at a service stands for, where nothing else is said: two and a half intervals
HALF_HOUR = 1_800.0

SCHEMA = Schema(
    owner="spans",
    steps=(
        """
        CREATE TABLE spans (
            service TEXT NOT NULL, start INTEGER NOT NULL, until INTEGER NOT NULL, state TEXT NOT NULL,
            PRIMARY KEY (service, start)
        ) STRICT, WITHOUT ROWID;
        """,
    ),
    live=("spans",),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """`service` was in `state` from `start` to `until`, and was watched all the while."""

    service: str
    start: float
    until: float
    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One stretch of a service's history: `shares` of its `length` (seconds) by state.

    What is missing to 1 was not watched, or lies ahead.
    """

    start: float
    length: float
    shares: Mapping[State, float] = field(default_factory=dict)

    @property
    def none(self) -> float:
        """The share nothing is known of."""
        return max(0.0, 1.0 - sum(self.shares.values()))

    @property
    def state(self) -> State | None:
        """The state to colour it with: down or degraded if there was any; None where nothing was seen."""
        for state in (State.DOWN, State.DEGRADED):
            if self.shares.get(state):
                return state
        return max(self.shares, key=lambda state: self.shares[state], default=None)


def standing(services: Iterable[Service]) -> dict[str, float]:
    """How many seconds one look at each service stands for: two and a half of its shortest interval."""
    return {
        service.name: max(2.5 * min(check.interval for check in service.checks), 30.0)
        for service in services
        if service.checks
    }


@dataclass(slots=True)
class _Watched:
    """One service's unbroken row of looks: when it began, the newest look and the state it found."""

    began: float
    at: float
    state: State


class Coverage:
    """Makes spans of single looks. In memory alone: after a restart the first look begins a new row."""

    def __init__(self, stands: Mapping[str, float]) -> None:
        self._stands = stands
        self._watched: dict[str, _Watched] = {}

    def look(self, service: str, at: float, state: State, since: float) -> list[Span]:
        """The spans that a look at `at` adds, given the state the judge now holds and since when.

        A new state reaches back to `since`, over what was taken for the old one, but never over a time in which
        nobody looked. A wall clock that was stepped breaks the row.
        """
        last = self._watched.get(service)
        stands = self._stands.get(service, STANDS)
        if last is None or not 0 <= at - last.at <= stands:
            self._watched[service] = _Watched(at, at, state)
            return []
        before, old = last.at, last.state
        last.at, last.state = at, state
        if state == old:
            return [Span(service=service, start=before, until=at, state=state)] if before < at else []
        turned = min(max(since, last.began), at)
        spans = (
            Span(service=service, start=before, until=turned, state=old),
            Span(service=service, start=turned, until=at, state=state),
        )
        return [span for span in spans if span.start < span.until]


def join(spans: list[Span], more: Iterable[Span]) -> None:
    """Append to `spans` those of `more`, lengthening the last one where the next only continues it."""
    for span in more:
        last = spans[-1] if spans else None
        if last and last.state == span.state and last.until == span.start:
            spans[-1] = Span(service=span.service, start=last.start, until=span.until, state=span.state)
        else:
            spans.append(span)


def paint(conn: sqlite3.Connection, span: Span) -> None:
    """Keep `span`. Where it overlaps what is kept the newer word stands; neighbours of one state are joined."""
    start, until = millis(span.start), millis(span.until)
    if start >= until:
        return
    pieces = []
    first, last = start, until
    for row_start, row_until, state in _touching(conn, span.service, start, until):
        if state == span.state:
            first, last = min(first, row_start), max(last, row_until)
            continue
        if row_start < start:
            pieces.append((span.service, row_start, start, state))
        if row_until > until:
            pieces.append((span.service, until, row_until, state))
    conn.execute(
        "DELETE FROM spans WHERE service = ? AND start >= ? AND start <= ?",
        (span.service, min([first, *(piece[1] for piece in pieces)]), until),
    )
    pieces.append((span.service, first, last, span.state.value))
    conn.executemany("INSERT INTO spans VALUES (?, ?, ?, ?)", pieces)


def _touching(conn: sqlite3.Connection, service: str, start: int, until: int) -> list[tuple[int, int, str]]:
    """The kept spans of `service` that overlap or meet [start, until], oldest first. They never overlap each other."""
    rows = conn.execute(
        "SELECT start, until, state FROM spans WHERE service = :service AND start <= :until AND until >= :start"
        " AND start >= coalesce((SELECT max(start) FROM spans WHERE service = :service AND start < :start), :start)"
        " ORDER BY start",
        {"service": service, "start": start, "until": until},
    )
    return rows.fetchall()


def spans_between(
    conn: sqlite3.Connection, service: str, start: float, now: float, *, stands: float = STANDS
) -> list[Span]:
    """What is kept of `service` between `start` and `now`, cut to that, oldest first.

    The newest span is taken to reach up to `now` when its last look still stands.
    """
    known = {state.value: state for state in State}
    rows = [
        Span(service=service, start=max(a / 1000, start), until=min(b / 1000, now), state=known[state])
        for a, b, state in _touching(conn, service, millis(start), millis(now))
        if state in known
    ]
    rows = [span for span in rows if span.start <= span.until]
    if rows and now - rows[-1].until <= stands:
        rows[-1] = replace(rows[-1], until=now)
    return [span for span in rows if span.start < span.until]


def bars(
    conn: sqlite3.Connection,
    services: Iterable[str],
    now: float,
    *,
    count: int = 48,
    length: float = HALF_HOUR,
    stands: Mapping[str, float] | None = None,
) -> dict[str, list[Bar]]:
    """The newest `count` bars of each service, oldest first, on whole multiples of `length` since the epoch (UTC).

    The last bar is the one `now` lies in. `stands` is what `standing` gives.
    """
    last = math.floor(now / length)
    numbers = range(last - count + 1, last + 1)
    drawn = {}
    for service in services:
        seconds: dict[int, dict[State, float]] = {number: {} for number in numbers}
        shows = (stands or {}).get(service, STANDS)
        for span in spans_between(conn, service, numbers[0] * length, now, stands=shows):
            _share_out(span, length, seconds)
        drawn[service] = [
            Bar(start=number * length, length=length, shares={s: t / length for s, t in seconds[number].items()})
            for number in numbers
        ]
    return drawn


def _share_out(span: Span, length: float, seconds: dict[int, dict[State, float]]) -> None:
    for number in range(math.floor(span.start / length), math.floor(span.until / length) + 1):
        covered = min(span.until, (number + 1) * length) - max(span.start, number * length)
        if covered > 0 and number in seconds:
            seconds[number][span.state] = seconds[number].get(span.state, 0.0) + covered
