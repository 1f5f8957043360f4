"""The tables of incidents and silences, and what the core has to remember over a restart.

Plain functions over a connection; the transaction is the caller's. Times are whole milliseconds in the tables.
"""

import sqlite3

from monitor.database import Schema
from monitor.incidents import Book, Incident
from monitor.routing import Silence

KEPT_DAYS = 400
KEPT_INCIDENTS = 20_000

SCHEMA = Schema(
    owner="logbook",
    steps=(
        """
        CREATE TABLE incidents_open (root TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE incidents_past (
            id TEXT PRIMARY KEY, root TEXT NOT NULL, opened_at INTEGER NOT NULL, resolved_at INTEGER NOT NULL,
            record TEXT NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX incidents_past_by_end ON incidents_past (resolved_at);
        -- What the core remembers besides: candidates, recent downs, by name.
        CREATE TABLE incident_notes (name TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE silences (id TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT, WITHOUT ROWID;
        """,
    ),
    live=("incidents_open", "incident_notes", "silences"),
    history=("incidents_past",),
)


def save_book(conn: sqlite3.Connection, book: Book, *, now: float, wall: float) -> None:
    """Keep `book` in place of what was kept. `now` and `wall` are the two clocks at one moment, to convert between."""
    raise NotImplementedError


def load_book(conn: sqlite3.Connection, *, now: float, wall: float) -> Book | None:
    """The book as it was kept, its waits on the clock of `now`; None when none ever was (the state is new or lost)."""
    raise NotImplementedError


def add_past(conn: sqlite3.Connection, incident: Incident) -> None:
    """Keep an incident that was resolved. Again with the same: no harm."""
    raise NotImplementedError


def load_incidents(conn: sqlite3.Connection, *, limit: int = 100, since: float = 0.0) -> list[Incident]:
    """Open incidents, and resolved ones that ended at or after `since` (epoch seconds), newest first, at most `limit`."""
    raise NotImplementedError


def find_incident(conn: sqlite3.Connection, id_: str) -> Incident | None:
    """The incident of that id, open or over."""
    raise NotImplementedError


def incident_record(incident: Incident) -> dict[str, object]:
    """The incident as JSON takes it, times in milliseconds."""
    raise NotImplementedError


def prune_incidents(conn: sqlite3.Connection, wall: float) -> int:
    """Throw away resolved incidents that are KEPT_DAYS old or more than KEPT_INCIDENTS; gives how many."""
    raise NotImplementedError


def save_silence(conn: sqlite3.Connection, silence: Silence) -> None:
    """Keep `silence`, in place of one of the same id."""
    raise NotImplementedError


def end_silence(conn: sqlite3.Connection, id_: str) -> bool:
    """Forget a silence; False when there is none of that id."""
    raise NotImplementedError


def load_silences(conn: sqlite3.Connection, *, wall: float) -> list[Silence]:
    """The silences that hold or will; those whose `until` lies over a day back are thrown away."""
    raise NotImplementedError
