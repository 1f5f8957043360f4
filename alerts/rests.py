"""How long each channel's provider asked to be left alone, and whether it refuses us; kept over a restart.

Plain functions inside the caller's transaction; the table is the outbox's. Times are seconds since the epoch.
"""

import sqlite3

TOLD_EVERY = 86_400.0  # seconds after which it is news again that an address or key is refused


def left(conn: sqlite3.Connection, channel: str, *, now: float) -> tuple[float, bool]:
    """Seconds for which the provider asked us to keep quiet still, and whether it refused us last."""
    asked_at, asked_for, refused_at = _row(conn, channel)
    seconds = asked_at + asked_for - now
    return (seconds if 0 < seconds <= asked_for else 0.0), refused_at is not None


def begin(conn: sqlite3.Connection, channel: str, *, now: float, seconds: float) -> None:
    """Keep that the provider asked for a rest, so that a restart does not cut it short."""
    _, _, refused_at = _row(conn, channel)
    _write(conn, channel, now, seconds, refused_at)


def refuse(conn: sqlite3.Connection, channel: str, *, now: float) -> bool:
    """Keep that the channel's address or key is refused. True when that is news, and once a day while it lasts."""
    asked_at, asked_for, refused_at = _row(conn, channel)
    if refused_at is not None and 0 <= now - refused_at < TOLD_EVERY:
        return False
    _write(conn, channel, asked_at, asked_for, now)
    return True


def end(conn: sqlite3.Connection, channel: str) -> None:
    """The provider took something: it neither rests nor refuses us."""
    _write(conn, channel, 0.0, 0.0, None)


def _row(conn: sqlite3.Connection, channel: str) -> tuple[float, float, float | None]:
    found = conn.execute(
        "SELECT asked_at, asked_for, refused_at FROM outbox_rests WHERE channel = ?", (channel,)
    ).fetchone()
    return found or (0.0, 0.0, None)


def _write(conn: sqlite3.Connection, channel: str, *values: float | None) -> None:
    conn.execute("INSERT OR REPLACE INTO outbox_rests VALUES (?, ?, ?, ?)", (channel, *values))
