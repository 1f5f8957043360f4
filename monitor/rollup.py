"""Hours and days made of single outcomes, and what is thrown away when.

Both work in bounded steps inside the caller's transaction, so either can be killed at any point and called again.

The wall clock may be wrong. Rows that arrive for an hour that was rolled up already make it be rolled up again. And
nothing is thrown away because of one jump of the clock: ages are measured against a time of our own (`trusted`) that
follows the wall clock back at once but forward by at most TRUST_STEP per half hour of pruning. A clock that runs a
year ahead for three hours costs the raw outcomes of some 15 hours, not everything; after a real absence of ten days
the old rows stay three days longer. Row counts are bounded whatever the clock says, and then those furthest from
now go first, on either side, so that rows stamped by a wrong clock do not crowd out the right ones for ever.
"""

import sqlite3
from dataclasses import dataclass

from monitor.database import Schema
from monitor.history import millis

HOUR = 3_600_000  # milliseconds
DAY = 24 * HOUR
LAG = 120_000  # an hour is rolled up when it has been over for so long: outcomes are written in batches
TRUST_STEP = 4 * HOUR
TRUST_PAUSE = HOUR // 2

SCHEMA = Schema(
    owner="rollup",
    steps=(
        """
        CREATE TABLE marks (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
        -- Latencies are microseconds, of passes and warnings; NULL in an hour without any.
        CREATE TABLE hourly (
            hour INTEGER NOT NULL, check_id INTEGER NOT NULL, passes INTEGER NOT NULL, warns INTEGER NOT NULL,
            fails INTEGER NOT NULL, unknowns INTEGER NOT NULL, latency_sum INTEGER NOT NULL,
            latency_max INTEGER, latency_p50 INTEGER, latency_p95 INTEGER,
            PRIMARY KEY (hour, check_id)
        ) STRICT, WITHOUT ROWID;
        -- p50 and p95 of a day are the means of its hours', weighted by their answers: an estimate.
        CREATE TABLE daily (
            day INTEGER NOT NULL, check_id INTEGER NOT NULL, passes INTEGER NOT NULL, warns INTEGER NOT NULL,
            fails INTEGER NOT NULL, unknowns INTEGER NOT NULL, latency_sum INTEGER NOT NULL,
            latency_max INTEGER, latency_p50 INTEGER, latency_p95 INTEGER,
            PRIMARY KEY (day, check_id)
        ) STRICT, WITHOUT ROWID;
        -- Milliseconds each service was seen in each state, for the days whose spans are gone.
        CREATE TABLE days (
            day INTEGER NOT NULL, service TEXT NOT NULL, up INTEGER NOT NULL, degraded INTEGER NOT NULL,
            down INTEGER NOT NULL, unknown INTEGER NOT NULL,
            PRIMARY KEY (day, service)
        ) STRICT, WITHOUT ROWID;
        """,
    ),
    live=("days",),
    history=("hourly", "daily"),
)

_ROLL_HOUR = """
    WITH seen AS (
        SELECT check_id, verdict, latency, verdict IN ('pass', 'warn') AS answered
        FROM outcomes JOIN sights ON sights.id = sight_id WHERE at >= :start AND at < :start + :length
    ), ranked AS (
        SELECT check_id, verdict, latency, answered,
            row_number() OVER (PARTITION BY check_id, answered ORDER BY latency) AS place,
            count(*) OVER (PARTITION BY check_id, answered) AS places
        FROM seen
    )
    INSERT OR REPLACE INTO hourly
    SELECT :start / :length, check_id, sum(verdict = 'pass'), sum(verdict = 'warn'), sum(verdict = 'fail'),
        sum(verdict = 'unknown'), sum(iif(answered, latency, 0)), max(iif(answered, latency, NULL)),
        min(iif(answered AND place * 2 >= places, latency, NULL)),
        min(iif(answered AND place * 20 >= places * 19, latency, NULL))
    FROM ranked GROUP BY check_id
"""

_ROLL_DAY = """
    INSERT OR REPLACE INTO daily
    SELECT hour / 24, check_id, sum(passes), sum(warns), sum(fails), sum(unknowns), sum(latency_sum),
        max(latency_max), sum(latency_p50 * (passes + warns)) / nullif(sum(passes + warns), 0),
        sum(latency_p95 * (passes + warns)) / nullif(sum(passes + warns), 0)
    FROM hourly WHERE hour >= :day * 24 AND hour < :day * 24 + 24 GROUP BY check_id
"""

_ROLL_STATES = """
    INSERT OR REPLACE INTO days
    SELECT :start / :length, service, sum(iif(state = 'up', t, 0)), sum(iif(state = 'degraded', t, 0)),
        sum(iif(state = 'down', t, 0)), sum(iif(state = 'unknown', t, 0))
    FROM (
        SELECT service, state, min(until, :start + :length) - max(start, :start) AS t
        FROM spans WHERE start < :start + :length AND until > :start
    ) GROUP BY service
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long rows are kept, in hours or days, and how many at most of each kind."""

    outcome_hours: int = 48
    outcomes: int = 300_000
    hourly_days: int = 90
    hourly: int = 300_000
    daily_days: int = 400
    daily: int = 300_000
    flip_days: int = 400
    flips: int = 20_000
    span_days: int = 90
    spans: int = 100_000


def roll_up(conn: sqlite3.Connection, now: float, *, steps: int = 6) -> bool:
    """Roll up at most `steps` hours and days that are over at `now` (epoch seconds). True when more are waiting."""
    over = _floor(millis(now) - LAG, HOUR)
    for _ in range(steps):
        first = conn.execute(
            "SELECT min(at) FROM outcomes WHERE at >= ? AND at < ?", (_mark(conn, "rolled"), over)
        ).fetchone()[0]
        if first is None:
            break
        start = _floor(first, HOUR)
        conn.execute(_ROLL_HOUR, {"start": start, "length": HOUR})
        _set_mark(conn, "rolled", start + HOUR)
    else:
        return True
    for _ in range(steps):
        first = conn.execute(
            "SELECT min(hour) FROM hourly WHERE hour >= ? AND hour < ?",
            (_mark(conn, "days") // HOUR, _floor(over, DAY) // HOUR),
        ).fetchone()[0]
        if first is None:
            return False
        day = first // 24
        conn.execute(_ROLL_DAY, {"day": day})
        conn.execute(_ROLL_STATES, {"start": day * DAY, "length": DAY})
        _set_mark(conn, "days", (day + 1) * DAY)
    return True


def rewind(conn: sqlite3.Connection, at: float) -> None:
    """Have the hours from `at` on rolled up again: a row was written there. Hours whose raw rows are gone stay."""
    hour = max(_floor(millis(at), HOUR), _mark(conn, "raw_from"))
    conn.execute("UPDATE marks SET value = ? WHERE name = 'rolled' AND value > ?", (hour, hour))
    day = _floor(hour, DAY)
    conn.execute("UPDATE marks SET value = ? WHERE name = 'days' AND value > ?", (day, day))


def prune(conn: sqlite3.Connection, now: float, *, retention: Retention | None = None, limit: int = 5_000) -> bool:
    """Delete what is too old or too much, at most `limit` rows of each table. True when more is waiting.

    Meant to be called about once an hour, until it gives False. Raw rows and spans wait for their roll-up.
    """
    keep = retention or Retention()
    trusted = _trust(conn, millis(now))
    raw = min(_floor(trusted - keep.outcome_hours * HOUR, HOUR), _mark(conn, "rolled"))
    spans = min(_floor(trusted - keep.span_days * DAY, DAY), _mark(conn, "days"))
    # Said before the rows go: an hour that has lost rows must not be rolled up again from the rest.
    _raise_mark(conn, "raw_from", raw)
    tables = (
        (_Table("outcomes", "at, check_id", "at", 1), raw, keep.outcomes),
        (_Table("hourly", "hour, check_id", "hour", HOUR), trusted - keep.hourly_days * DAY, keep.hourly),
        (_Table("daily", "day, check_id", "day", DAY), trusted - keep.daily_days * DAY, keep.daily),
        (_Table("days", "day, service", "day", DAY), trusted - keep.daily_days * DAY, keep.daily),
        (_Table("flips", "at, service", "at", 1), trusted - keep.flip_days * DAY, keep.flips),
        (_Table("spans", "service, start", "until", 1), spans, keep.spans),
    )
    more = False
    for table, horizon, most in tables:
        old = table.drop_old(conn, horizon, limit)
        excess = table.drop_excess(conn, millis(now), most, limit)
        more |= limit in (old, excess)
        if excess and table.name == "outcomes":
            _note_cut(conn)
    today = _floor(trusted, DAY)
    if not more and _mark(conn, "words_day") != today:  # once a day: it reads every outcome
        _set_mark(conn, "words_day", today)
        _drop_unused_words(conn)
    return more


def _note_cut(conn: sqlite3.Connection) -> None:
    """The count has cut into the oldest hour kept: it must not be rolled up again from what is left of it."""
    oldest = conn.execute("SELECT min(at) FROM outcomes").fetchone()[0]
    if oldest is not None:
        _raise_mark(conn, "raw_from", min(_floor(oldest, HOUR) + HOUR, _mark(conn, "rolled")))


@dataclass(frozen=True, slots=True)
class _Table:
    """A table with a time in it: `column` counts units of `unit` milliseconds."""

    name: str
    key: str
    column: str
    unit: int

    def drop_old(self, conn: sqlite3.Connection, horizon: int, limit: int) -> int:
        """Delete up to `limit` rows from before `horizon`; gives how many."""
        return self._drop(conn, f"WHERE {self.column} < {horizon // self.unit} ORDER BY {self.column}", limit)

    def drop_excess(self, conn: sqlite3.Connection, now: int, most: int, limit: int) -> int:
        """Delete up to `limit` of the rows above `most`, from the end that is further from `now`; gives how many."""
        count = conn.execute(f"SELECT count(*) FROM {self.name}").fetchone()[0]  # noqa: S608 -- our own names
        if count <= most:
            return 0
        sql = f"SELECT min({self.column}), max({self.column}) FROM {self.name}"  # noqa: S608 -- our own names
        oldest, newest = conn.execute(sql).fetchone()
        order = "DESC" if newest * self.unit - now > now - oldest * self.unit else "ASC"
        return self._drop(conn, f"ORDER BY {self.column} {order}", min(count - most, limit))

    def _drop(self, conn: sqlite3.Connection, which: str, limit: int) -> int:
        sql = (
            f"DELETE FROM {self.name} WHERE ({self.key}) IN "  # noqa: S608 -- names and numbers of our own
            f"(SELECT {self.key} FROM {self.name} {which} LIMIT {limit})"
        )
        return conn.execute(sql).rowcount


def _drop_unused_words(conn: sqlite3.Connection) -> None:
    """Delete checks and sights that no row speaks of any more."""
    conn.execute(
        "DELETE FROM checks WHERE id NOT IN (SELECT check_id FROM outcomes UNION SELECT check_id FROM hourly"
        " UNION SELECT check_id FROM daily)"
    )
    conn.execute("DELETE FROM sights WHERE id NOT IN (SELECT sight_id FROM outcomes)")


def _trust(conn: sqlite3.Connection, now: int) -> int:
    """The time ages are measured against: `now`, unless that has jumped ahead of what we had reached."""
    trusted, moved = _mark(conn, "trusted", now), _mark(conn, "trust_moved")
    if now < trusted or now - moved >= TRUST_PAUSE:
        trusted = min(now, trusted + TRUST_STEP)
        _set_mark(conn, "trusted", trusted)
        _set_mark(conn, "trust_moved", now)
    return trusted


def _floor(at: int, unit: int) -> int:
    return at - at % unit


def _mark(conn: sqlite3.Connection, name: str, default: int = 0) -> int:
    row = conn.execute("SELECT value FROM marks WHERE name = ?", (name,)).fetchone()
    return default if row is None else int(row[0])


def _set_mark(conn: sqlite3.Connection, name: str, value: int) -> None:
    conn.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", (name, value))


def _raise_mark(conn: sqlite3.Connection, name: str, value: int) -> None:
    if value > _mark(conn, name):
        _set_mark(conn, name, value)
