"""What the daemon remembers of one service: how much of the time it was up, and when it changed.

Plain functions over a connection. Times are seconds since the epoch.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from config.causes import Cause
from monitor.facts import Fact, load_facts
from monitor.history import millis
from monitor.judge import Flip, State
from monitor.spans import STANDS, spans_between

DAY = 86_400.0
WEEK = 7 * DAY
MOST = 20  # changes that are told


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """How long a service was watched within a stretch of time, and the seconds of that by state."""

    length: float
    by_state: Mapping[State, float]

    @property
    def seconds(self) -> float:
        """How long it was watched."""
        return sum(self.by_state.values())

    def share(self, state: State) -> float | None:
        """The share of the watched time that it was in `state`; None where it was not watched at all."""
        return self.by_state.get(state, 0.0) / self.seconds if self.seconds else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """One service's: the last day and the last week, the newest changes of the week first, and what is known of it."""

    service: str
    day: Watched
    week: Watched
    flips: tuple[Flip, ...]
    facts: tuple[Fact, ...]


def past_of(conn: sqlite3.Connection, service: str, now: float, *, stands: float = STANDS) -> Past:
    """What is kept of `service` up to `now`; `stands` is how many seconds one look at it stands for."""
    return Past(
        service=service,
        day=_watched(conn, service, now, DAY, stands),
        week=_watched(conn, service, now, WEEK, stands),
        flips=tuple(flips_of(conn, service, now - WEEK)),
        facts=tuple(fact for fact in load_facts(conn) if fact.service == service),
    )


def _watched(conn: sqlite3.Connection, service: str, now: float, length: float, stands: float) -> Watched:
    seconds: dict[State, float] = {}
    for span in spans_between(conn, service, now - length, now, stands=stands):
        seconds[span.state] = seconds.get(span.state, 0.0) + span.until - span.start
    return Watched(length=length, by_state=seconds)


def flips_of(conn: sqlite3.Connection, service: str, since: float) -> list[Flip]:
    """The newest changes of `service` from `since` on, newest first; those a newer version wrote are passed over."""
    rows = conn.execute(
        "SELECT at, old, new, since, check_name, cause, sentence, evidence, remedy FROM flips"
        " WHERE service = ? AND at >= ? ORDER BY at DESC LIMIT ?",
        (service, millis(since), MOST),
    )
    states, causes = {str(one): one for one in State}, {str(one): one for one in Cause}
    return [
        Flip(
            service=service,
            old=states[old],
            new=states[new],
            at=at / 1000,
            since=began / 1000,
            check=check,
            cause=causes[cause] if cause else None,
            sentence=sentence,
            evidence=evidence,
            remedy=remedy,
        )
        for at, old, new, began, check, cause, sentence, evidence, remedy in rows
        if old in states and new in states and (not cause or cause in causes)
    ]
