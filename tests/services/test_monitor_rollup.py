"""Hours and days of outcomes, and what is thrown away: on real SQLite files, with the clock handed in."""

import math
import random
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from config.causes import Cause
from config.checks import TcpParams
from config.watched import Check
from monitor import history, rollup
from monitor.database import connect, in_transaction, migrate
from monitor.history import Run, outcomes_since, write_runs
from monitor.judge import Flip, State
from monitor.probes.base import Sight, Verdict
from monitor.recorder import SCHEMAS
from monitor.rollup import Retention, prune, rewind, roll_up
from monitor.spans import Span, paint

HOUR, DAY = 3_600.0, 86_400.0
START = 1_790_000_000.0 - 1_790_000_000.0 % DAY
CHECK = Check(name="ready", kind="tcp", params=TcpParams(host="h", port=1))


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    conn = connect(tmp_path / "watchkeeper.db")
    migrate(conn, SCHEMAS)
    yield conn
    conn.close()


def run(at: float, verdict: Verdict = Verdict.PASS, latency: float = 0.01, *, service: str = "redis") -> Run:
    return Run(
        service=service,
        check="ready",
        at=at,
        verdict=verdict,
        latency=latency,
        cause=None if verdict == Verdict.PASS else Cause.REFUSED,
        sight=Sight.ANSWERED if verdict == Verdict.PASS else Sight.REFUSED,
    )


def minutes(start: float, count: int, *, service: str = "redis") -> list[Run]:
    return [run(start + minute * 60, service=service) for minute in range(count)]


def keep(conn: sqlite3.Connection, runs: list[Run]) -> None:
    """What a flush does with outcomes."""
    in_transaction(conn, lambda conn: (write_runs(conn, runs), rewind(conn, min(run.at for run in runs))))


def to_the_end(conn: sqlite3.Connection, step: Callable[[sqlite3.Connection], bool]) -> int:
    """Calls `step`, each time in a transaction, until it has nothing more to do; gives the number of calls."""
    for calls in range(1, 2_000):
        if not in_transaction(conn, step):
            return calls
    raise AssertionError("it never ends")


def rolled(conn: sqlite3.Connection, now: float) -> list[tuple[int, ...]]:
    to_the_end(conn, lambda conn: roll_up(conn, now))
    return conn.execute("SELECT hour, passes, warns, fails, unknowns FROM hourly ORDER BY hour").fetchall()


def count(conn: sqlite3.Connection, table: str) -> int:
    return int(conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def flip(at: float, service: str = "redis", **more: str) -> Flip:
    return Flip(service=service, old=State.UP, new=State.DOWN, at=at, since=at - 20, cause=Cause.REFUSED, **more)


def test_an_hour_is_rolled_up_with_its_counts_and_latencies(conn: sqlite3.Connection) -> None:
    dice = random.Random(2)
    latencies = [dice.randrange(1_000, 900_000) for _ in range(57)]
    runs = [run(START + second, latency=one / 1e6) for second, one in enumerate(latencies)]
    runs[0] = replace(runs[0], verdict=Verdict.WARN)
    keep(conn, [*runs, run(START + 100, Verdict.FAIL, 30.0), run(START + 101, Verdict.UNKNOWN, 30.0)])
    assert rolled(conn, START + HOUR) == []
    assert rolled(conn, START + HOUR + 121) == [(START // HOUR, 56, 1, 1, 1)]
    ranked = sorted(latencies)
    found = conn.execute("SELECT latency_sum, latency_max, latency_p50, latency_p95 FROM hourly").fetchone()
    assert found == (sum(ranked), ranked[-1], ranked[math.ceil(57 * 0.5) - 1], ranked[math.ceil(57 * 0.95) - 1])


def test_an_hour_without_an_answer_has_no_latency(conn: sqlite3.Connection) -> None:
    keep(conn, [run(START, Verdict.FAIL, 30.0)])
    rolled(conn, START + DAY + HOUR)
    for table in ("hourly", "daily"):
        found = conn.execute(f"SELECT fails, latency_sum, latency_max, latency_p95 FROM {table}").fetchone()
        assert found == (1, 0, None, None)


def test_rolling_up_again_changes_nothing_and_a_broken_off_one_is_made_up_for(conn: sqlite3.Connection) -> None:
    keep(conn, minutes(START, 26 * 60))
    paint(conn, Span(service="redis", start=START, until=START + 26 * HOUR, state=State.UP))
    now = START + 27 * HOUR

    def breaks_off(conn: sqlite3.Connection) -> None:
        roll_up(conn, now)
        raise KeyError

    in_transaction(conn, lambda conn: roll_up(conn, now))
    with pytest.raises(KeyError):
        in_transaction(conn, breaks_off)
    rows = rolled(conn, now)
    assert rows == [(START // HOUR + hour, 60, 0, 0, 0) for hour in range(26)]
    conn.execute("DELETE FROM marks")
    assert rolled(conn, now) == rows
    assert conn.execute("SELECT day, passes FROM daily").fetchall() == [(START // DAY, 1440)]
    assert conn.execute("SELECT day, up, down FROM days").fetchall() == [(START // DAY, 86_400_000, 0)]


def test_rolling_up_catches_up_in_bounded_steps(conn: sqlite3.Connection) -> None:
    keep(conn, [run(START + hour * HOUR) for hour in range(40)])
    assert in_transaction(conn, lambda conn: roll_up(conn, START + 30 * DAY, steps=6))
    assert count(conn, "hourly") == 6
    assert to_the_end(conn, lambda conn: roll_up(conn, START + 30 * DAY, steps=6)) < 12
    assert count(conn, "hourly") == 40
    assert count(conn, "daily") == 2


def test_outcomes_that_come_late_are_counted(conn: sqlite3.Connection) -> None:
    keep(conn, minutes(START, 180))
    rolled(conn, START + 4 * HOUR)
    keep(conn, [run(START + 90.5, Verdict.FAIL)])
    assert rolled(conn, START + 4 * HOUR)[0] == (START // HOUR, 60, 0, 1, 0)


@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_a_clock_stepped_by_an_hour_loses_and_doubles_nothing(conn: sqlite3.Connection, step: float) -> None:
    """Five hours of probes, a step in the middle, pruned and rolled up all along: 300 outcomes in, 300 counted."""
    for minute in range(300):
        now = START + minute * 60 + (step if minute >= 150 else 0)
        keep(conn, [run(now + 0.001 * minute)])
        in_transaction(conn, lambda conn, now=now: roll_up(conn, now))
        in_transaction(conn, lambda conn, now=now: prune(conn, now))
    rows = rolled(conn, START + 8 * HOUR)
    assert sum(row[1] for row in rows) == 300
    assert count(conn, "outcomes") == 300
    assert len(outcomes_since(conn, "redis", 0)) == 300


def fill_hours(conn: sqlite3.Connection, hours: int) -> None:
    keep(conn, [run(START + hour * HOUR + minute * 300) for hour in range(hours) for minute in range(12)])


def test_raw_outcomes_are_kept_for_two_days_and_their_hours_stay(conn: sqlite3.Connection) -> None:
    for hour in range(100):
        keep(conn, [run(START + hour * HOUR + minute * 300) for minute in range(12)])
        now = START + (hour + 1) * HOUR + 300
        to_the_end(conn, lambda conn, now=now: roll_up(conn, now))
        to_the_end(conn, lambda conn, now=now: prune(conn, now))
    oldest = conn.execute("SELECT min(at) FROM outcomes").fetchone()[0] / 1000
    assert oldest == START + 52 * HOUR
    assert count(conn, "outcomes") == 48 * 12
    assert count(conn, "hourly") == 100


def test_raw_outcomes_wait_for_their_roll_up(conn: sqlite3.Connection) -> None:
    fill_hours(conn, 100)
    for hour in range(100, 200):
        to_the_end(conn, lambda conn, hour=hour: prune(conn, START + hour * HOUR))
    assert count(conn, "outcomes") == 1_200


def test_one_jump_of_the_clock_throws_almost_nothing_away(conn: sqlite3.Connection) -> None:
    """A clock that is a year ahead for three hours, with everything running."""
    fill_hours(conn, 48)
    end = START + 48 * HOUR
    to_the_end(conn, lambda conn: roll_up(conn, end + 300))
    to_the_end(conn, lambda conn: prune(conn, end + 300))
    for hour in range(3):
        now = end + 366 * DAY + hour * HOUR
        keep(conn, [run(now)])
        to_the_end(conn, lambda conn, now=now: roll_up(conn, now))
        to_the_end(conn, lambda conn, now=now: prune(conn, now))
    to_the_end(conn, lambda conn: prune(conn, end + HOUR))
    assert count(conn, "outcomes") >= 36 * 12
    assert count(conn, "hourly") >= 48
    keep(conn, [run(end + HOUR)])
    assert (end // HOUR + 1, 1, 0, 0, 0) in rolled(conn, end + 3 * HOUR)


def test_pruning_for_ever_with_one_time_does_not_creep_forward(conn: sqlite3.Connection) -> None:
    fill_hours(conn, 48)
    end = START + 48 * HOUR
    to_the_end(conn, lambda conn: roll_up(conn, end + 300))
    to_the_end(conn, lambda conn: prune(conn, end))
    for _ in range(50):
        in_transaction(conn, lambda conn: prune(conn, end + 366 * DAY))
    assert count(conn, "outcomes") >= 43 * 12


def test_an_absence_of_ten_days_is_caught_up_with(conn: sqlite3.Connection) -> None:
    fill_hours(conn, 48)
    end = START + 48 * HOUR
    to_the_end(conn, lambda conn: roll_up(conn, end + 300))
    to_the_end(conn, lambda conn: prune(conn, end))
    for hour in range(100):
        now = end + 10 * DAY + hour * HOUR
        to_the_end(conn, lambda conn, now=now: prune(conn, now))
    assert count(conn, "outcomes") == 0


def test_counts_are_bounded_in_bounded_steps_and_the_oldest_go_first(conn: sqlite3.Connection) -> None:
    fill_hours(conn, 40)
    few = Retention(outcomes=100, hourly=10, flips=3, spans=5)
    for number in range(10):
        history.add_flip(conn, flip(START + number))
        paint(conn, Span(service="a", start=START + number * 10, until=START + number * 10 + 5, state=State.UP))
    now = START + 40 * HOUR
    to_the_end(conn, lambda conn: roll_up(conn, now + 300))
    assert in_transaction(conn, lambda conn: prune(conn, now, retention=few, limit=50))
    assert count(conn, "outcomes") == 430
    to_the_end(conn, lambda conn: prune(conn, now, retention=few, limit=50))
    assert [count(conn, table) for table in ("outcomes", "hourly", "flips", "spans")] == [100, 10, 3, 5]
    kept = [at / 1000 for (at,) in conn.execute("SELECT at FROM flips ORDER BY at DESC")]
    assert kept == [START + 9, START + 8, START + 7]
    before = conn.execute("SELECT * FROM hourly").fetchall()
    keep(conn, [run(START + 31 * HOUR + 1)])  # late, and in an hour that was cut: it must not be made smaller
    to_the_end(conn, lambda conn: roll_up(conn, now + 300))
    assert conn.execute("SELECT * FROM hourly").fetchall()[: len(before)] == before


def test_rows_of_a_clock_that_ran_years_ahead_do_not_crowd_out_the_right_ones(conn: sqlite3.Connection) -> None:
    keep(conn, minutes(START + 1_500 * DAY, 500))
    few = Retention(outcomes=300)
    for hour in range(10):
        keep(conn, minutes(START + hour * HOUR, 60))
        now = START + (hour + 1) * HOUR
        to_the_end(conn, lambda conn, now=now: roll_up(conn, now))
        to_the_end(conn, lambda conn, now=now: prune(conn, now, retention=few))
    rows = [at for (at,) in conn.execute("SELECT at FROM outcomes")]
    assert len(rows) == 300
    assert sum(at / 1000 < START + DAY for at in rows) == 300


def test_words_nobody_uses_any_more_go_too(conn: sqlite3.Connection) -> None:
    keep(conn, [replace(run(START + n), code=f"code {n}", check=f"check {n}") for n in range(50)])
    rolled(conn, START + DAY)
    keep(conn, [run(START + 500 * DAY)])
    few = Retention(outcomes=1, hourly=0, daily=0)
    to_the_end(conn, lambda conn: prune(conn, START + 500 * DAY, retention=few))
    assert (count(conn, "checks"), count(conn, "sights"), count(conn, "outcomes")) == (1, 1, 1)


def seconds(conn: sqlite3.Connection) -> dict[str, float]:
    """How long redis was in each state: from the spans there are, before the first of them from whole days."""
    found = dict.fromkeys(("up", "degraded", "down", "unknown"), 0.0)
    first = conn.execute("SELECT min(start) / 86400000 FROM spans").fetchone()[0]
    for state in found:
        days = f"SELECT total({state}) FROM days WHERE service = 'redis' AND day < ?"
        spans = "SELECT total(until - start) FROM spans WHERE service = 'redis' AND state = ?"
        old, new = conn.execute(days, (first,)).fetchone()[0], conn.execute(spans, (state,)).fetchone()[0]
        found[state] = (old + new) / 1000
    return found


def test_what_was_seen_stays_known_by_the_day_when_the_spans_are_gone(conn: sqlite3.Connection) -> None:
    for day in range(120):
        at = START + day * DAY
        down = HOUR if day % 10 == 0 else 0.0
        paint(conn, Span(service="redis", start=at, until=at + down, state=State.DOWN))
        paint(conn, Span(service="redis", start=at + down, until=at + 12 * HOUR, state=State.UP))
        paint(conn, Span(service="redis", start=at + 12 * HOUR, until=at + 18 * HOUR, state=State.UNKNOWN))
        keep(conn, [run(at)])
    now = START + 120 * DAY
    whole = {"up": 120 * 12 * HOUR - 12 * HOUR, "degraded": 0.0, "down": 12 * HOUR, "unknown": 120 * 6 * HOUR}
    assert seconds(conn) == whole
    to_the_end(conn, lambda conn: roll_up(conn, now + HOUR))
    to_the_end(conn, lambda conn: prune(conn, now))
    assert conn.execute("SELECT min(start) FROM spans").fetchone()[0] >= (START + 29 * DAY) * 1000
    assert seconds(conn) == whole


def test_the_marks_are_the_only_table_that_is_not_carried() -> None:
    """A table that is neither live nor history would silently be lost on the way to memory and back."""
    carried = {table for schema in SCHEMAS for table in (*schema.live, *schema.history)}
    made = {
        line.split()[2]
        for schema in SCHEMAS
        for step in schema.steps
        for line in step.splitlines()
        if line.strip().startswith("CREATE TABLE")
    }
    assert made - carried == {"marks"}
    assert carried <= made
    assert rollup.SCHEMA in SCHEMAS
