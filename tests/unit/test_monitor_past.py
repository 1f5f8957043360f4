"""What is remembered of one service: shares of the time it was watched, its newest changes, and facts of its own."""

import sqlite3
from collections.abc import Iterator

import pytest

from config.causes import Cause
from monitor import facts, history, spans
from monitor.facts import Fact, save_facts
from monitor.history import add_flip
from monitor.judge import Flip, State
from monitor.past import DAY, MOST, flips_of, past_of
from monitor.spans import Span, paint

NOW = 1_790_000_000.0


@pytest.fixture
def conn() -> Iterator[sqlite3.Connection]:
    conn = sqlite3.connect(":memory:", isolation_level=None)
    for schema in (history.SCHEMA, spans.SCHEMA, facts.SCHEMA):
        for step in schema.steps:
            conn.executescript(step)
    yield conn
    conn.close()


def flip(at: float, new: State = State.DOWN, service: str = "a") -> Flip:
    return Flip(service=service, old=State.UP, new=new, at=at, since=at - 20, check="port", cause=Cause.REFUSED)


def test_shares_are_of_the_time_that_was_watched(conn: sqlite3.Connection) -> None:
    paint(conn, Span(service="a", start=NOW - 3 * DAY, until=NOW - 2 * DAY, state=State.UP))
    paint(conn, Span(service="a", start=NOW - 8_000, until=NOW - 2_000, state=State.UP))
    paint(conn, Span(service="a", start=NOW - 2_000, until=NOW, state=State.DOWN))
    paint(conn, Span(service="b", start=NOW - 9_000, until=NOW, state=State.DEGRADED))
    past = past_of(conn, "a", NOW)
    assert (past.day.seconds, past.day.share(State.UP), past.day.share(State.DOWN)) == (8_000, 0.75, 0.25)
    assert past.week.seconds == DAY + 8_000
    assert past.day.share(State.DEGRADED) == 0.0


def test_what_was_never_watched_has_no_share(conn: sqlite3.Connection) -> None:
    past = past_of(conn, "a", NOW)
    assert (past.day.seconds, past.day.share(State.UP), past.flips, past.facts) == (0, None, (), ())


def test_the_newest_changes_come_first_and_the_old_ones_not_at_all(conn: sqlite3.Connection) -> None:
    for one in (flip(NOW - 8 * DAY), flip(NOW - 60), flip(NOW - 30, State.UP), flip(NOW - 10, service="b")):
        add_flip(conn, one)
    found = past_of(conn, "a", NOW).flips
    assert [(one.at, one.new) for one in found] == [(NOW - 30, State.UP), (NOW - 60, State.DOWN)]
    assert found[1] == flip(NOW - 60)


def test_of_a_service_that_flaps_there_is_a_bound(conn: sqlite3.Connection) -> None:
    for number in range(MOST + 10):
        add_flip(conn, flip(NOW - number))
    assert len(flips_of(conn, "a", NOW - DAY)) == MOST


def test_what_a_newer_version_wrote_is_passed_over(conn: sqlite3.Connection) -> None:
    add_flip(conn, flip(NOW - 5))
    conn.execute("UPDATE flips SET new = 'enchanted'")
    assert flips_of(conn, "a", NOW - DAY) == []


def test_facts_are_the_services_own(conn: sqlite3.Connection) -> None:
    save_facts(conn, [Fact(service=name, name="version", value="2", since=NOW, before="1") for name in ("a", "b")])
    assert [fact.service for fact in past_of(conn, "a", NOW).facts] == ["a"]
