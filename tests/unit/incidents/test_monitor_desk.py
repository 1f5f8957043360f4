"""The desk and a database that is a fresh one: what waited in the old one is told all the same, and nothing twice."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from alerts import outbox
from alerts.alert import Kind
from alerts.trouble import DeliveryStatus
from config.alert_settings import AlertSettings
from config.checks import TcpParams
from config.watched import Check, Service
from monitor import logbook
from monitor.board import Board
from monitor.database import Schema, connect, migrate
from monitor.desk import Desk
from monitor.facts import Facts
from monitor.incidents import Book, Case, Incident
from monitor.judge import State, Track

NOON = 1_790_000_000.0


@dataclass(frozen=True)
class Place:
    """A channel as the desk sees it."""

    name: str
    pages: bool = False
    groups: bool = False
    keyed: bool = False


@dataclass
class Pen:
    """The recorder: keeps what it is to write."""

    facts: Facts = field(default_factory=Facts)
    writes: list[Callable[[sqlite3.Connection], None]] = field(default_factory=list)

    def also(self, write: Callable[[sqlite3.Connection], None]) -> None:
        self.writes.append(write)


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    conn = connect(None)
    migrate(conn, [logbook.SCHEMA, Schema(owner="outbox", steps=outbox.STEPS, live=outbox.LIVE)])
    yield conn
    conn.close()


def written(database: sqlite3.Connection, told: tuple[str, ...], waiting: tuple[str, ...]) -> list[tuple[str, Kind]]:
    """What the outbox holds after `save_again`: one incident is open, `told` know of it, `waiting` had a backlog."""
    service = Service(
        name="postgres",
        kind="postgres",
        title="Postgres",
        address="postgres:1",
        checks=(Check(name="ready", kind="tcp", params=TcpParams(host="h", port=1)),),
    )

    async def scene() -> None:
        now, pen, board = asyncio.get_running_loop().time(), Pen(), Board(instance="here", version="1", started_at=NOON)
        board.outbox = {name: DeliveryStatus(channel=name, pending=1) for name in waiting}
        incident = Incident(
            id="i-postgres",
            root="postgres",
            state="down",
            worst="down",
            since=NOON,
            opened_at=NOON,
            told=tuple((name, "down") for name in told),
        )
        case = Case(incident=incident, began=now - 100, opened=now - 100, spoken=now - 100, told_state="down")
        channels = (Place("slack"), Place("pagerduty", pages=True, keyed=True))
        made: dict[str, Any] = {"state": None, "recorder": pen, "board": board, "channels": channels}
        desk = Desk(
            [service],
            settings=AlertSettings(),
            tracks={"postgres": replace(Track(since=NOON, watched_since=NOON), state=State.DOWN)},
            book=Book(cases={"postgres": case}, round_over=True),
            silences=(),
            wall=lambda: NOON + 100,
            **made,
        )
        for _ in range(2):  # a database may fail twice
            desk.save_again()
        for write in pen.writes:
            write(database)

    asyncio.run(scene())
    return [(row.channel, row.kind) for row in outbox.told(database, "i-postgres")]


def test_an_alert_that_waited_in_a_database_that_is_lost_is_put_again(database: sqlite3.Connection) -> None:
    both = ("pagerduty", "slack")
    assert sorted(written(database, both, both)) == [("pagerduty", Kind.OPEN), ("slack", Kind.OPEN)]


@pytest.mark.parametrize(("told", "waiting"), [(("slack",), ()), ((), ("slack",)), (("slack",), ("pagerduty",))])
def test_what_did_not_wait_or_was_not_told_is_not(
    database: sqlite3.Connection, told: tuple[str, ...], waiting: tuple[str, ...]
) -> None:
    assert written(database, told, waiting) == []
