"""The tables of incidents and silences, and what the core has to remember over a restart.

Plain functions over a connection; the transaction is the caller's. Times are seconds outside and whole milliseconds
since the epoch in the tables, the book's monotonic ones too: the one clock that outlives us is the wall's. A row that
cannot be read is left out and logged, and what a newer version wrote beside what we know is passed over.
"""

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import structlog

from config.causes import Cause
from monitor.database import Schema
from monitor.history import millis
from monitor.incidents import Book, Case, Entry, Happening, Held, Incident
from monitor.judge import State
from monitor.silences import Silence

log = structlog.get_logger()

DAY = 86_400.0
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
        -- What the core remembers besides: candidates, recent downs and such, by name.
        CREATE TABLE incident_notes (name TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE silences (id TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT, WITHOUT ROWID;
        """,
    ),
    live=("incidents_open", "incident_notes", "silences"),
    history=("incidents_past",),
)

_INCIDENT_TIMES = ("since", "opened_at", "resolved_at", "acknowledged_at", "reminded_at")
_CASE_TIMES = ("began", "opened", "spoken", "well_since", "counted_at", "spread_at", "freed")
_HELD_TIMES = ("noticed", "freed")
_SILENCE_TIMES = ("since", "until")
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError)


class _Clocks:
    """Turns monotonic seconds into the milliseconds kept and back, given both clocks at one moment.

    A time that would lie in the future is now: the wall clock was set back, and a wait has lasted no less than nothing.
    """

    def __init__(self, now: float, wall: float) -> None:
        self._now = now
        self._wall = wall

    def keep(self, at: float) -> int:
        return millis(self._wall - (self._now - at))

    def read(self, kept: float) -> float:
        return self._now - max(0.0, self._wall - kept / 1000)


def save_book(conn: sqlite3.Connection, book: Book, *, now: float, wall: float) -> None:
    """Keep `book` in place of what was kept. `now` and `wall` are the two clocks at one moment, to convert between."""
    clocks = _Clocks(now, wall)
    rows = [(root, _text(_case_record(case, clocks))) for root, case in book.cases.items()]
    conn.execute("DELETE FROM incidents_open")
    conn.executemany("INSERT INTO incidents_open VALUES (?, ?)", rows)
    held = {name: _timed(one, _HELD_TIMES, clocks.keep) for name, one in book.held.items()}
    rest = {
        "downs": {name: list(map(clocks.keep, times)) for name, times in book.downs.items()},
        "openings": list(map(clocks.keep, book.openings)),
        "gathering": None if book.gathering is None else clocks.keep(book.gathering),
        "ids": book.ids,
        "blind": book.blind,
        "sighted": None if book.sighted is None else clocks.keep(book.sighted),
    }
    conn.executemany(
        "INSERT OR REPLACE INTO incident_notes VALUES (?, ?)", [("held", _text(held)), ("rest", _text(rest))]
    )


def load_book(conn: sqlite3.Connection, *, now: float, wall: float) -> Book | None:
    """The book as it was kept, its waits on the clock of `now`; None when none ever was (the state is new or lost).

    Its round is not over: nothing new is opened until everything was looked at again.
    """
    clocks = _Clocks(now, wall)
    notes = dict(conn.execute("SELECT name, record FROM incident_notes"))
    if not notes:
        return None
    held, rest = _object(notes.get("held")), _object(notes.get("rest"))
    cases = {}
    for root, text in conn.execute("SELECT root, record FROM incidents_open"):
        try:
            cases[root] = _read_case(json.loads(text), clocks)
        except _UNREADABLE:
            log.warning("incident_unreadable", root=root, says="an open incident is forgotten: its row cannot be read")
    return Book(
        cases=cases,
        held=dict(_read_held(held, clocks)),
        downs={name: _times(times, clocks) for name, times in _object(rest.get("downs")).items()},
        openings=_times(rest.get("openings"), clocks),
        gathering=_time(rest.get("gathering"), clocks),
        ids=_words(rest.get("ids")),
        blind=rest.get("blind") is True,
        sighted=_time(rest.get("sighted"), clocks),
    )


def save_forgotten(conn: sqlite3.Connection, names: Collection[str]) -> None:
    """Keep of which services providers may still hold an incident from before the state was lost."""
    record = json.dumps(sorted(names), separators=(",", ":"))
    conn.execute("INSERT OR REPLACE INTO incident_notes VALUES ('forgotten', ?)", (record,))


def load_forgotten(conn: sqlite3.Connection) -> frozenset[str]:
    """The services that `save_forgotten` was given last."""
    found = conn.execute("SELECT record FROM incident_notes WHERE name = 'forgotten'").fetchone()
    try:
        return frozenset(_words(json.loads(found[0]))) if found else frozenset()
    except ValueError:
        return frozenset()


def add_past(conn: sqlite3.Connection, incident: Incident) -> None:
    """Keep an incident that was resolved. Again with the same: no harm."""
    ended = incident.opened_at if incident.resolved_at is None else incident.resolved_at
    conn.execute(
        "INSERT OR REPLACE INTO incidents_past VALUES (?, ?, ?, ?, ?)",
        (incident.id, incident.root, millis(incident.opened_at), millis(ended), _text(incident_record(incident))),
    )


def load_incidents(conn: sqlite3.Connection, *, limit: int = 100, since: float = 0.0) -> list[Incident]:
    """Open incidents, and resolved ones that ended at or after `since` (epoch seconds), at most `limit`.

    The open ones come first, and of each kind the newest.
    """
    rows = conn.execute(
        "SELECT record FROM incidents_past WHERE resolved_at >= ? ORDER BY resolved_at DESC, id DESC LIMIT ?",
        (millis(since), limit),
    )
    past = [one for (text,) in rows if (one := _incident(text))]
    return [*sorted(_open(conn), key=lambda one: -one.opened_at), *past][:limit]


def prune_incidents(conn: sqlite3.Connection, wall: float, *, most: int = KEPT_INCIDENTS) -> int:
    """Throw away resolved incidents that are KEPT_DAYS old or more than `most`, the oldest; gives how many."""
    old = conn.execute("DELETE FROM incidents_past WHERE resolved_at < ?", (millis(wall - KEPT_DAYS * DAY),)).rowcount
    many = conn.execute(
        "DELETE FROM incidents_past WHERE id IN"
        " (SELECT id FROM incidents_past ORDER BY resolved_at DESC LIMIT -1 OFFSET ?)",
        (most,),
    ).rowcount
    return old + many


def incident_record(incident: Incident) -> dict[str, Any]:
    """The incident as JSON takes it, times in milliseconds."""
    return {
        **_timed(incident, _INCIDENT_TIMES, millis),
        "timeline": [{"at": millis(entry.at), "what": entry.what, "text": entry.text} for entry in incident.timeline],
    }


def save_silence(conn: sqlite3.Connection, silence: Silence) -> None:
    """Keep `silence`, in place of one of the same id."""
    record = _text(_timed(silence, _SILENCE_TIMES, millis))
    conn.execute("INSERT OR REPLACE INTO silences VALUES (?, ?)", (silence.id, record))


def end_silence(conn: sqlite3.Connection, id_: str) -> bool:
    """Forget a silence; False when there is none of that id."""
    return conn.execute("DELETE FROM silences WHERE id = ?", (id_,)).rowcount > 0


def load_silences(conn: sqlite3.Connection, *, wall: float) -> list[Silence]:
    """The silences that hold or will, oldest first."""
    found = [one for _, one in _silences(conn) if not one.over(wall)]
    return sorted(found, key=lambda one: (one.since, one.id))


def prune_silences(conn: sqlite3.Connection, wall: float) -> int:
    """Throw away silences that were over a day ago; gives how many.

    Not at once: a wall clock that was set ahead for a moment must not end a silence for good.
    """
    over = [id_ for id_, one in _silences(conn) if one.over(wall - DAY)]
    return sum(end_silence(conn, id_) for id_ in over)


def _silences(conn: sqlite3.Connection) -> Iterator[tuple[str, Silence]]:
    for id_, text in conn.execute("SELECT id, record FROM silences").fetchall():
        try:
            record = json.loads(text)
            yield id_, Silence(**_known(Silence, record, _SILENCE_TIMES))
        except _UNREADABLE:
            log.warning("silence_unreadable", id=id_, says="a silence is passed over: its row cannot be read")


def _open(conn: sqlite3.Connection) -> Iterator[Incident]:
    for (text,) in conn.execute("SELECT record FROM incidents_open"):
        incident = _incident(text, "incident")
        if incident:
            yield incident


def _incident(text: str, key: str | None = None) -> Incident | None:
    try:
        record = json.loads(text)
        return _read_incident(record[key] if key else record)
    except _UNREADABLE:
        return None


def _read_incident(record: Mapping[str, Any]) -> Incident:
    known = _known(Incident, record, _INCIDENT_TIMES)
    words = frozenset(map(str, Happening))
    known["cause"] = Cause(known["cause"]) if known.get("cause") in frozenset(map(str, Cause)) else None
    known["affected"] = _words(known.get("affected"))
    known["told"] = tuple((str(channel), str(state)) for channel, state in known.get("told", ()))
    known["timeline"] = tuple(
        Entry(at=entry["at"] / 1000, what=Happening(entry["what"]), text=str(entry["text"]))
        for entry in known.get("timeline", ())
        if entry["what"] in words
    )
    return Incident(**known)


def _case_record(case: Case, clocks: _Clocks) -> dict[str, Any]:
    return {**_timed(case, _CASE_TIMES, clocks.keep), "incident": incident_record(case.incident)}


def _read_case(record: Mapping[str, Any], clocks: _Clocks) -> Case:
    known = {name: value for name, value in record.items() if name in {one.name for one in fields(Case)}}
    known |= {name: _time(record.get(name), clocks) for name in _CASE_TIMES if name in record}
    known |= {name: _words(record.get(name)) for name in ("hit", "named")}
    return Case(**{**known, "incident": _read_incident(record["incident"])})


def _read_held(records: Mapping[str, Any], clocks: _Clocks) -> Iterator[tuple[str, Held]]:
    for name, record in records.items():
        try:
            yield (
                name,
                Held(
                    state=State(record["state"]),
                    noticed=clocks.read(record["noticed"]),
                    under=_words(record.get("under")),
                    after=_words(record.get("after")),
                    freed=_time(record.get("freed"), clocks),
                ),
            )
        except _UNREADABLE:
            continue


def _timed(value: Any, times: Sequence[str], convert: Any) -> dict[str, Any]:
    """The fields of a value by name, those that are times converted."""
    record = {one.name: getattr(value, one.name) for one in fields(value)}
    return record | {name: convert(record[name]) for name in times if record[name] is not None}


def _known(kind: type, record: Mapping[str, Any], times: Sequence[str]) -> dict[str, Any]:
    """What of `record` are fields of `kind`, times in seconds again."""
    known = {one.name: record[one.name] for one in fields(kind) if one.name in record}
    return known | {name: known[name] / 1000 for name in times if known.get(name) is not None}


def _text(record: Any) -> str:
    return json.dumps(record, separators=(",", ":"))


def _object(given: Any) -> dict[str, Any]:
    """`given` as an object: JSON text of one, or one already; empty for anything else."""
    try:
        value = json.loads(given) if isinstance(given, str) else given
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _time(kept: Any, clocks: _Clocks) -> float | None:
    return clocks.read(kept) if isinstance(kept, int | float) else None


def _times(kept: Any, clocks: _Clocks) -> tuple[float, ...]:
    return tuple(clocks.read(at) for at in kept if isinstance(at, int | float)) if isinstance(kept, list) else ()


def _words(kept: Any) -> tuple[str, ...]:
    return tuple(map(str, kept)) if isinstance(kept, list | tuple) else ()
