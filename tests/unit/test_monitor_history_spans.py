"""Watched time: single looks made into spans, spans into bars. A gap is no data, whatever surrounds it."""

import itertools
import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.checks import TcpParams
from config.watched import Check, Service
from monitor.judge import State
from monitor.spans import SCHEMA, Coverage, Span, bars, join, paint, spans_between, standing

UP, DEGRADED, DOWN, UNKNOWN = State.UP, State.DEGRADED, State.DOWN, State.UNKNOWN
NOON = 1_790_000_000.0 - 1_790_000_000.0 % 86_400 + 43_200


@pytest.fixture
def conn() -> Iterator[sqlite3.Connection]:
    conn = database()
    yield conn
    conn.close()


def database() -> sqlite3.Connection:
    conn = sqlite3.connect(":memory:", isolation_level=None)
    conn.executescript(SCHEMA.steps[0])
    return conn


def span(start: float, until: float, state: State = UP, service: str = "a") -> Span:
    return Span(service=service, start=start, until=until, state=state)


def looks(*row: tuple[float, State, float]) -> list[Span]:
    """The spans of a row of looks (at, state, since) at one service, each standing for 150 s."""
    coverage, spans = Coverage({}), list[Span]()
    for at, state, since in row:
        join(spans, coverage.look("a", at, state, since))
    return spans


def test_one_look_covers_no_time() -> None:
    assert looks((0, UP, 0)) == []


def test_looks_of_one_state_make_one_span() -> None:
    assert looks((0, UP, 0), (60, UP, 0), (120, UP, 0)) == [span(0, 120)]


def test_an_outage_reaches_back_to_its_first_miss() -> None:
    """Looks at 60 and 70 missed and were still counted as up; the one at 80 confirmed the outage."""
    row = looks((0, UP, 0), (60, UP, 0), (70, UP, 0), (80, DOWN, 60))
    assert row == [span(0, 70), span(60, 80, DOWN)]


def test_an_outage_does_not_reach_over_a_time_nobody_looked() -> None:
    """The daemon was away from 100 to 1000 and finds the service down since 60."""
    assert looks((0, UP, 0), (60, UP, 0), (1000, DOWN, 60), (1060, DOWN, 60)) == [
        span(0, 60),
        span(1000, 1060, DOWN),
    ]


def test_an_outage_does_not_reach_back_over_our_own_start() -> None:
    """Its first misses were seen by the daemon before this one; from 60 to 1000 nobody looked."""
    assert looks((1000, UP, 0), (1060, DOWN, 60)) == [span(1000, 1060, DOWN)]


def test_the_time_between_two_states_is_shared_where_the_new_one_began() -> None:
    assert looks((0, DOWN, 0), (60, UP, 45)) == [span(0, 45, DOWN), span(45, 60)]


@pytest.mark.parametrize("jump", [-3600.0, 3600.0, 400 * 86_400.0])
def test_a_stepped_clock_makes_no_time_up(jump: float) -> None:
    row = looks((0, UP, 0), (60, UP, 0), (120 + jump, UP, 0), (180 + jump, UP, 0))
    assert row == [span(0, 60), span(120 + jump, 180 + jump)]


def test_a_look_stands_for_two_and_a_half_of_the_shortest_interval() -> None:
    def check(interval: float) -> Check:
        return Check(name=f"every {interval}", kind="tcp", params=TcpParams(host="h", port=1), interval=interval)

    service = Service(name="a", kind="custom", title="A", address="", checks=(check(60), check(3600)))
    assert standing([service]) == {"a": 150.0}


def test_bars_show_shares_and_what_nobody_saw(conn: sqlite3.Connection) -> None:
    paint(conn, span(NOON - 3600, NOON - 2700, UP))
    paint(conn, span(NOON - 2700, NOON - 1800, DOWN))
    paint(conn, span(NOON - 1800, NOON - 1350, UP))
    drawn = bars(conn, ["a", "never seen"], NOON - 1)
    first, second = drawn["a"][-2:]
    assert (first.start, first.length) == (NOON - 3600, 1800)
    assert first.shares == {UP: 0.5, DOWN: 0.5}
    assert first.state == DOWN
    assert second.shares == {UP: 0.25}
    assert second.none == 0.75
    assert second.state == UP
    assert [bar.state for bar in drawn["a"][:-2]] == [None] * 46
    assert all(bar.none == 1.0 for bar in drawn["never seen"])
    assert len(drawn["never seen"]) == 48


def test_a_daemon_that_was_away_shows_a_gap_and_not_uptime(conn: sqlite3.Connection) -> None:
    """Up before and up after: the six hours between are no data."""
    coverage = Coverage({})
    for away in (0, 1):
        for minute in range(60):
            at = NOON - 8 * 3600 + away * 7 * 3600 + minute * 60
            for one in coverage.look("a", at, UP, 0):
                paint(conn, one)
    states = [bar.state for bar in bars(conn, ["a"], NOON - 60, count=16)["a"]]
    assert states == [UP, UP, *[None] * 12, UP, UP]


def test_the_newest_look_stands_until_it_is_stale(conn: sqlite3.Connection) -> None:
    paint(conn, span(NOON, NOON + 600))
    assert spans_between(conn, "a", NOON, NOON + 700)[-1].until == NOON + 700
    assert spans_between(conn, "a", NOON, NOON + 800)[-1].until == NOON + 600
    assert spans_between(conn, "a", NOON, NOON + 800, stands=300)[-1].until == NOON + 800


def test_time_that_a_wrong_clock_put_ahead_of_now_is_not_shown(conn: sqlite3.Connection) -> None:
    paint(conn, span(NOON - 60, NOON))
    paint(conn, span(NOON + 86_400, NOON + 90_000, DOWN))
    assert [bar.state for bar in bars(conn, ["a"], NOON)["a"] if bar.state] == [UP]


STATES = st.sampled_from([UP, DEGRADED, DOWN, UNKNOWN])
PAINTS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 25), STATES), max_size=25)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(PAINTS)
def test_painting_is_overwriting_second_by_second(paints: list[tuple[int, int, State]]) -> None:
    """Against the plainest model there is: one cell a second. Spans never overlap, and neighbours differ."""
    conn, cells = database(), dict[int, State]()
    for start, length, state in paints:
        paint(conn, span(start, start + length, state))
        cells.update(dict.fromkeys(range(start, start + length), state))
    rows = conn.execute("SELECT start, until, state FROM spans ORDER BY start").fetchall()
    kept = {at: State(state) for start, until, state in rows for at in range(start // 1000, until // 1000)}
    assert kept == cells
    for (_, until, state), (start, _, following) in itertools.pairwise(rows):
        assert until < start or (until == start and state != following)
    conn.close()


@settings(max_examples=100, derandomize=True, deadline=None)
@given(PAINTS, st.integers(0, 90), st.integers(1, 40))
def test_bars_add_up_to_what_was_painted(paints: list[tuple[int, int, State]], now: int, length: int) -> None:
    conn, cells = database(), dict[int, State]()
    for start, seconds, state in paints:
        paint(conn, span(start, start + seconds, state))
        cells.update(dict.fromkeys(range(start, start + seconds), state))
    for bar in bars(conn, ["a"], now, count=4, length=length, stands={"a": 0.0})["a"]:
        inside = [cells.get(at) for at in range(int(bar.start), int(bar.start + bar.length)) if at < now]
        for state in State:
            assert bar.shares.get(state, 0.0) == pytest.approx(inside.count(state) / length)
        assert bar.none == pytest.approx(1 - sum(bar.shares.values()), abs=1e-9)
    conn.close()
