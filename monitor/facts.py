"""What probes learn on the way (version, role, uptime), kept when it changes.

Compared in memory, so that a probe that saw nothing new costs no write. Times are seconds since the epoch.
"""

import math
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from monitor.database import Schema
from monitor.history import millis, plain
from monitor.times import timestamp

UPTIME = "uptime"
STARTED = "started"  # the fact an uptime is kept as: it stays the same while the service runs
START_SLACK = 120.0  # seconds by which a start worked out from an uptime may move without being a restart
UPTIME_SLACK = 5.0  # seconds an uptime may fall without being a restart: answers can overtake each other
VALUE_LIMIT = 200

SCHEMA = Schema(
    owner="facts",
    steps=(
        """
        CREATE TABLE facts (
            service TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, since INTEGER NOT NULL, before TEXT,
            PRIMARY KEY (service, name)
        ) STRICT, WITHOUT ROWID;
        """,
    ),
    live=("facts",),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One thing known of a service: since when, and what it was before (None when it was not known)."""

    service: str
    name: str
    value: str
    since: float
    before: str | None = None

    def sentence(self) -> str:
        """The change in words, without the service: "version 1.84 → 1.85"."""
        if self.name == STARTED:
            return f"restarted at {self.value}" if self.before else f"running since {self.value}"
        return f"{self.name} {self.before} → {self.value}" if self.before else f"{self.name} {self.value}"


class Facts:
    """The newest facts of every service, and what is new about what a probe saw."""

    def __init__(self, known: Iterable[Fact] = ()) -> None:
        self._known = {(fact.service, fact.name): fact for fact in known}
        self._uptimes: dict[str, float] = {}

    def learn(self, service: str, seen: Mapping[str, str], at: float) -> list[Fact]:
        """Take in what one probe of `service` saw at `at`; gives the facts that are new or changed by it.

        An uptime is kept as the time of the start. It counts as a restart when the uptime itself fell; only for the
        first uptime after our own start, when there is none to compare with, when the start moved forward. A wall
        clock that was stepped moves the start and is no restart.
        """
        changes = []
        for name, text in seen.items():
            value = plain(text, VALUE_LIMIT)
            fact = self._uptime(service, value, at) if name == UPTIME else self._plain(service, name, value, at)
            if fact is not None:
                self._known[service, fact.name] = fact
                changes.append(fact)
        return changes

    def of(self, service: str) -> dict[str, Fact]:
        """The facts known of `service`, by name."""
        return {name: fact for (owner, name), fact in self._known.items() if owner == service}

    def all(self) -> list[Fact]:
        """Every fact known."""
        return list(self._known.values())

    def _plain(self, service: str, name: str, value: str, at: float) -> Fact | None:
        known = self._known.get((service, name))
        if not value or (known is not None and known.value == value):
            return None
        return Fact(service=service, name=name, value=value, since=at, before=known.value if known else None)

    def _uptime(self, service: str, value: str, at: float) -> Fact | None:
        uptime = _seconds(value)
        if uptime is None:
            return None
        before = self._uptimes.get(service)
        self._uptimes[service] = uptime
        known = self._known.get((service, STARTED))
        started = timestamp(at - uptime)
        if known is not None:
            restarted = (
                uptime < before - UPTIME_SLACK if before is not None else at - uptime > known.since + START_SLACK
            )
            if not restarted:
                return None
        # `since` of a start is the start itself, not when we learned of it.
        return Fact(
            service=service, name=STARTED, value=started, since=at - uptime, before=known.value if known else None
        )


def _seconds(value: str) -> float | None:
    """An uptime in seconds, or None when `value` is not one (or lies so far back that no calendar holds it)."""
    try:
        seconds = float(value)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and 0 <= seconds < 1e9 else None


def save_facts(conn: sqlite3.Connection, facts: Iterable[Fact]) -> None:
    """Keep facts, each in place of what was known under its name."""
    conn.executemany(
        "INSERT OR REPLACE INTO facts (service, name, value, since, before) VALUES (?, ?, ?, ?, ?)",
        ((fact.service, fact.name, fact.value, millis(fact.since), fact.before) for fact in facts),
    )


def load_facts(conn: sqlite3.Connection) -> list[Fact]:
    """Every fact kept."""
    rows = conn.execute("SELECT service, name, value, since, before FROM facts")
    return [
        Fact(service=service, name=name, value=value, since=since / 1000, before=before)
        for service, name, value, since, before in rows
    ]
