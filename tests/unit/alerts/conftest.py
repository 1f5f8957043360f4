"""An outbox in memory, and alerts to put into it."""

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from alerts import outbox
from alerts.alert import Alert, Kind, Severity
from monitor.database import Schema, connect, migrate

NOON = 1_790_000_000.0


def make_alert(kind: Kind | str, incident: str, at: float = NOON, **facts: Any) -> Alert:
    """An alert about the service `root` (the incident's name up to "#"), made at `at`."""
    root = facts.pop("root", incident.partition("#")[0])
    known: dict[str, Any] = {
        "severity": Severity.CRITICAL,
        "dedup_key": f"test/{root}",
        "instance": "test",
        "service": root,
        "title": root.capitalize(),
        "state": "up" if kind == Kind.RESOLVE else "down",
        "since": at,
    }
    return Alert(kind=Kind(kind), incident=incident, at=at, **{**known, **facts})


def make_outbox() -> sqlite3.Connection:
    """An empty outbox, as the daemon makes it."""
    conn = connect(None)
    migrate(conn, [Schema(owner="outbox", steps=outbox.STEPS, live=outbox.LIVE)])
    return conn


@pytest.fixture
def alert() -> Callable[..., Alert]:
    """Makes an alert: `alert("open", "postgres", NOON, severity=…)`."""
    return make_alert


@pytest.fixture
def empty_outbox() -> Iterator[Callable[[], sqlite3.Connection]]:
    """Makes empty outboxes."""
    made: list[sqlite3.Connection] = []

    def make() -> sqlite3.Connection:
        made.append(make_outbox())
        return made[-1]

    yield make
    for conn in made:
        conn.close()


@pytest.fixture
def box(empty_outbox: Callable[[], sqlite3.Connection]) -> sqlite3.Connection:
    """An empty outbox."""
    return empty_outbox()
