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
from monitor.desk import RESOLVES_APART, Desk
from monitor.facts import Facts
from monitor.incidents import Blindness, Book, Case, Incident
from monitor.judge import State, Track
from monitor.probes.base import Evidence, Outcome, Sight, Verdict

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

    def saw(self, *_: Any) -> None:
        """Nothing is kept of it."""

    def moved(self, *_: Any) -> None:
        """Nor of this."""

    def also(self, write: Callable[[sqlite3.Connection], None]) -> None:
        self.writes.append(write)


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    conn = connect(None)
    migrate(conn, [logbook.SCHEMA, Schema(owner="outbox", steps=outbox.STEPS, live=outbox.LIVE)])
    yield conn
    conn.close()


SERVICE = Service(
    name="postgres",
    kind="postgres",
    title="Postgres",
    address="postgres:1",
    checks=(Check(name="ready", kind="tcp", params=TcpParams(host="h", port=1)),),
)


def make_desk(pen: Pen, board: Board, state: State, book: Book | None, **more: Any) -> Desk:
    """A desk that watches one service, which was in `state`, for a chat and a pager. To be called on a loop."""
    channels = (Place("slack"), Place("pagerduty", pages=True, keyed=True))
    made: dict[str, Any] = {"state": None, "recorder": pen, "board": board, "channels": channels, **more}
    return Desk(
        [SERVICE],
        settings=AlertSettings(),
        tracks={"postgres": replace(Track(since=NOON, watched_since=NOON), state=state)},
        book=book,
        silences=(),
        wall=lambda: NOON + 100,
        **made,
    )


def written(database: sqlite3.Connection, told: tuple[str, ...], waiting: tuple[str, ...]) -> list[tuple[str, Kind]]:
    """What the outbox holds after `save_again`: one incident is open, `told` know of it, `waiting` had a backlog."""

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
        desk = make_desk(pen, board, State.DOWN, Book(cases={"postgres": case}, round_over=True))
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


def test_what_was_forgotten_is_resolved_though_the_daemon_is_killed_once_more(
    virtual: Callable[..., Any], database: sqlite3.Connection
) -> None:
    """Lost state has everything resolved that turns out to be up, one by one; that must not be lost in its turn."""

    async def scene() -> None:
        pen, board = Pen(), Board(instance="here", version="1", started_at=NOON)
        make_desk(pen, board, State.UNKNOWN, None).turn()  # killed before it looked at anything
        for write in pen.writes:
            write(database)
        now, pen = asyncio.get_running_loop().time(), Pen()
        book, forgotten = logbook.load_book(database, now=now, wall=NOON), logbook.load_forgotten(database)
        assert book is not None
        desk = make_desk(pen, board, State.UP, book, forgotten=forgotten)
        passed = Outcome(verdict=Verdict.PASS, latency=0.0, evidence=Evidence(sight=Sight.ANSWERED, text=""))
        desk.saw(SERVICE, SERVICE.checks[0], NOON, passed, None)
        for _ in range(3):
            desk.turn()
            await asyncio.sleep(RESOLVES_APART)
        for write in pen.writes:
            write(database)

    virtual(scene())
    rows = database.execute("SELECT channel, kind, dedup_key FROM outbox ORDER BY dedup_key").fetchall()
    assert rows == [("pagerduty", "resolve", "here/postgres"), ("pagerduty", "resolve", "here/watch")]
    assert not logbook.load_forgotten(database)


@pytest.mark.parametrize("partly", [False, True])
def test_the_board_says_blind_when_all_cannot_be_looked_at_and_not_when_one_cannot(partly: bool) -> None:
    async def scene() -> Board:
        now, board = asyncio.get_running_loop().time(), Board(instance="here", version="1", started_at=NOON)
        blind = Blindness(since=now - 60, sentence="Nothing is seen.", evidence="no answer", partly=partly)
        desk = make_desk(Pen(), board, State.UNKNOWN, Book(), blind=lambda _: blind)
        desk.turn()
        return board

    since = asyncio.run(scene()).blind_since
    assert since == (None if partly else pytest.approx(NOON + 40, abs=1))
