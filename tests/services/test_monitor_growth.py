"""Ten days of a stack's outcomes stay within their bound."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from config.causes import Cause
from config.checks import TcpParams
from config.watched import Check, Service
from monitor.database import connect, in_transaction, migrate
from monitor.history import Run, write_runs
from monitor.judge import State
from monitor.probes.base import Sight, Verdict
from monitor.recorder import SCHEMAS
from monitor.rollup import prune, rewind, roll_up
from monitor.spans import Coverage, Span, bars, join, paint

HOUR, DAY = 3_600.0, 86_400.0
START = 1_790_000_000.0 - 1_790_000_000.0 % DAY
CHECK = Check(name="ready", kind="tcp", params=TcpParams(host="h", port=1))
SERVICE = Service(name="redis", kind="redis", title="Redis", address="h:1", checks=(CHECK,))


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


def keep(conn: sqlite3.Connection, runs: list[Run]) -> None:
    """What a flush does with outcomes."""
    in_transaction(conn, lambda conn: (write_runs(conn, runs), rewind(conn, min(run.at for run in runs))))


def to_the_end(conn: sqlite3.Connection, step: Callable[[sqlite3.Connection], bool]) -> int:
    """Calls `step`, each time in a transaction, until it has nothing more to do; gives the number of calls."""
    for calls in range(1, 2_000):
        if not in_transaction(conn, step):
            return calls
    raise AssertionError("it never ends")


def count(conn: sqlite3.Connection, table: str) -> int:
    return int(conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def stack(services: int) -> list[Service]:
    return [replace(SERVICE, name=f"service-{number}") for number in range(services)]


def ten_days(conn: sqlite3.Connection, names: list[str], sizes: list[int]) -> None:
    """Every service looked at each minute for ten days, kept, rolled up and pruned as the daemon does."""
    coverage = Coverage({})
    for hour in range(240):
        runs: list[Run] = []
        spans: dict[str, list[Span]] = {name: [] for name in names}
        for minute in range(60):
            for number, name in enumerate(names):
                at = START + hour * HOUR + minute * 60 + number
                failed = number == 0 and minute % 20 == 0
                runs.append(run(at, Verdict.FAIL if failed else Verdict.PASS, service=name))
                state = State.DOWN if failed else State.UP
                join(spans[name], coverage.look(name, at, state, at))
        keep(conn, runs)
        in_transaction(conn, lambda conn, rows=spans: [paint(conn, span) for row in rows.values() for span in row])
        now = START + (hour + 1) * HOUR + 180
        to_the_end(conn, lambda conn, now=now: roll_up(conn, now))
        to_the_end(conn, lambda conn, now=now: prune(conn, now))
        sizes.append(conn.execute("PRAGMA page_count").fetchone()[0])


@pytest.mark.slow
def test_ten_days_of_fifty_checks_stay_within_the_bound(conn: sqlite3.Connection, tmp_path: Path) -> None:
    names, sizes = [one.name for one in stack(50)], list[int]()
    ten_days(conn, names, sizes)
    assert count(conn, "outcomes") <= 50 * 60 * 50
    assert count(conn, "hourly") == 50 * 240
    assert count(conn, "daily") == 500
    assert (count(conn, "checks"), count(conn, "sights")) == (50, 2)
    assert count(conn, "spans") < 50 + 240 * 3 * 2 + 2
    # After the first three days only hours, days and outages are added: 100 pages of 4 KiB a day at most.
    assert sizes[-1] - sizes[72] < 7 * 100
    assert sizes[-1] * 4096 < 12_000_000
    conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert (tmp_path / "watchkeeper.db").stat().st_size < 12_000_000
    drawn = bars(conn, names, START + 10 * DAY)
    assert {bar.state for bar in drawn["service-1"][:-1]} == {State.UP}
    assert {bar.state for bar in drawn["service-0"][:-1]} == {State.DOWN}
