"""The daemon's own backup runs, as they are kept in the state file and shown."""

import sqlite3
from dataclasses import dataclass
from typing import Any

from monitor.database import Schema

SCHEMA = Schema(
    owner="backups",
    steps=(
        """
        CREATE TABLE backup_runs (
            at INTEGER PRIMARY KEY, point TEXT NOT NULL, exit_code INTEGER, seconds REAL NOT NULL,
            stored_bytes INTEGER NOT NULL, error TEXT NOT NULL
        ) STRICT;
        """,
        "ALTER TABLE backup_runs ADD COLUMN error_class TEXT NOT NULL DEFAULT ''",
    ),
    live=("backup_runs",),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run as it is kept. `at` is when it was started, epoch seconds; `exit_code` None: it never told its end."""

    at: float
    point: str = ""
    exit_code: int | None = None
    seconds: float = 0.0
    stored_bytes: int = 0
    error: str = ""
    error_class: str = ""


def save_run(conn: sqlite3.Connection, run: Run) -> None:
    """Keeps a run, over what was kept of its start; of old ones the newest 400 stay."""
    row = (
        *(round(run.at), run.point, run.exit_code, run.seconds, run.stored_bytes),
        *(run.error[:2000], run.error_class[:100]),
    )
    conn.execute("INSERT OR REPLACE INTO backup_runs VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    conn.execute("DELETE FROM backup_runs WHERE at NOT IN (SELECT at FROM backup_runs ORDER BY at DESC LIMIT 400)")


def newest_runs(conn: sqlite3.Connection, limit: int) -> list[Run]:
    """The newest runs, newest first."""
    rows = conn.execute("SELECT * FROM backup_runs ORDER BY at DESC LIMIT ?", (limit,))
    return [
        Run(
            at=at,
            point=point,
            exit_code=code,
            seconds=seconds,
            stored_bytes=stored,
            error=error,
            error_class=error_class,
        )
        for at, point, code, seconds, stored, error, error_class in rows
    ]


def shown(run: Run) -> dict[str, Any]:
    """A run as the status document shows it."""
    return {
        "point": run.point,
        "exit_code": run.exit_code,
        "started_at": run.at,
        "seconds": round(run.seconds, 1),
        "stored_bytes": run.stored_bytes,
        "error": run.error,
        "error_class": run.error_class,
    }
