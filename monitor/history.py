"""What the daemon remembers: tracks (where the judge stands), flips (what changed) and outcomes (what was seen).

Plain functions over a connection; the transaction is the caller's. Times are seconds since the epoch outside and
whole milliseconds in the tables. Rows are found by what they are about, never by a running number, so that they can
be moved between databases.
"""

import json
import sqlite3
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, TypeVar, get_args, get_type_hints

from config.causes import Cause
from monitor.database import Schema
from monitor.diagnose.base import Diagnosis
from monitor.judge import CheckTrack, Flip, State, Track
from monitor.probes.base import Evidence, Outcome, Sight, Verdict

V = TypeVar("V", Track, CheckTrack)

_HINTS: Mapping[type, Mapping[str, Any]] = {kind: get_type_hints(kind) for kind in (Track, CheckTrack)}
# The words this version knows; rows with others, written by a newer version, are passed over.
_STATES, _CAUSES = frozenset(map(str, State)), frozenset(map(str, Cause))
_VERDICTS, _SIGHTS = frozenset(map(str, Verdict)), frozenset(map(str, Sight))

TEXT_LIMIT = 2_000  # characters of one sentence, remedy or evidence
CODE_LIMIT = 64

SCHEMA = Schema(
    owner="history",
    steps=(
        """
        CREATE TABLE tracks (service TEXT PRIMARY KEY, track TEXT NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE flips (
            at INTEGER NOT NULL, service TEXT NOT NULL, old TEXT NOT NULL, new TEXT NOT NULL, since INTEGER NOT NULL,
            check_name TEXT NOT NULL, cause TEXT, sentence TEXT NOT NULL, evidence TEXT NOT NULL, remedy TEXT NOT NULL,
            PRIMARY KEY (at, service)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX flips_of_service ON flips (service, at);
        CREATE TABLE checks (
            id INTEGER PRIMARY KEY, service TEXT NOT NULL, name TEXT NOT NULL, UNIQUE (service, name)
        ) STRICT;
        CREATE TABLE sights (
            id INTEGER PRIMARY KEY, verdict TEXT NOT NULL, cause TEXT NOT NULL, sight TEXT NOT NULL,
            code TEXT NOT NULL, instance TEXT NOT NULL, UNIQUE (verdict, cause, sight, code, instance)
        ) STRICT;
        -- Keyed by time, so that a new row goes to the end and the oldest are next to each other.
        CREATE TABLE outcomes (
            at INTEGER NOT NULL, check_id INTEGER NOT NULL, latency INTEGER NOT NULL, sight_id INTEGER NOT NULL,
            PRIMARY KEY (at, check_id)
        ) STRICT, WITHOUT ROWID;
        """,
    ),
    live=("tracks", "flips", "checks", "sights"),
    history=("outcomes",),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One outcome as it is kept. `at` is epoch seconds, `latency` seconds; `instance` is who looked.

    `verdict` is the one the judge was given, after `vantage` had its say.
    """

    service: str
    check: str
    at: float
    verdict: Verdict
    latency: float
    cause: Cause | None
    sight: Sight
    code: str = ""
    instance: str = ""

    def replay(self) -> tuple[Outcome, Diagnosis | None]:
        """What the judge needs of it. The texts are not kept, so they are empty."""
        outcome = Outcome(
            verdict=self.verdict, latency=self.latency, evidence=Evidence(sight=self.sight, text="", code=self.code)
        )
        return outcome, Diagnosis(cause=self.cause, sentence="", remedy="") if self.cause else None


def save_track(conn: sqlite3.Connection, service: str, track: Track) -> None:
    """Keep `track` as the newest of `service`."""
    checks = {name: _to_record(check) for name, check in track.checks.items()}
    text = json.dumps({**_to_record(track), "checks": checks}, separators=(",", ":"))
    conn.execute("INSERT OR REPLACE INTO tracks VALUES (?, ?)", (service, text))


def _to_record(value: Track | CheckTrack) -> dict[str, Any]:
    # `dataclasses.asdict` copies deeply, at four times the cost, and this is done for every outcome.
    return {name: getattr(value, name) for name in _HINTS[type(value)]}


def load_tracks(conn: sqlite3.Connection) -> dict[str, Track]:
    """Every service's newest track. One that cannot be understood is left out: that service starts as if new."""
    tracks = {}
    for service, text in conn.execute("SELECT service, track FROM tracks"):
        try:
            record = json.loads(text)
            checks = {name: _from_record(CheckTrack, check) for name, check in record.pop("checks", {}).items()}
            tracks[service] = _from_record(Track, {**record, "checks": checks})
        except (ValueError, TypeError, AttributeError, KeyError):
            continue
    return tracks


def _from_record(kind: type[V], record: Mapping[str, Any]) -> V:
    """A `kind` from what JSON gave: fields it does not know are passed over, missing ones get their default.

    Raises ValueError or TypeError for a value of the wrong type or a missing field that has no default.
    """
    hints = _HINTS[kind]
    known = [one for one in fields(kind) if one.name in record or one.default is one.default_factory is MISSING]
    return kind(**{one.name: _value(hints[one.name], record[one.name]) for one in known})


def _value(hint: Any, value: Any) -> Any:
    kinds = get_args(hint) or (hint,)
    if value is None and type(None) in kinds:
        return None
    for kind in kinds:
        if kind in (State, Cause):
            return kind(value)
        if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if kind in (int, str, bool) and type(value) is kind:
            return value
    if isinstance(value, dict) and "CheckTrack" in str(hint):
        return value
    raise ValueError(f"{value!r} is no {hint}")


def add_flip(conn: sqlite3.Connection, flip: Flip) -> None:
    """Append a flip."""
    conn.execute(
        "INSERT OR REPLACE INTO flips VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            millis(flip.at),
            flip.service,
            flip.old,
            flip.new,
            millis(flip.since),
            flip.check,
            flip.cause,
            plain(flip.sentence),
            plain(flip.evidence),
            plain(flip.remedy),
        ),
    )


def write_runs(conn: sqlite3.Connection, runs: Iterable[Run]) -> None:
    """Add outcomes."""
    ids: dict[tuple[str, ...], int] = {}
    rows = []
    for run in runs:
        check = (run.service, run.check)
        cause = run.cause.value if run.cause else ""
        sight = (run.verdict.value, cause, run.sight.value, plain(run.code, CODE_LIMIT), run.instance)
        if check not in ids:
            ids[check] = _number(conn, "checks", ("service", "name"), check)
        if sight not in ids:
            ids[sight] = _number(conn, "sights", ("verdict", "cause", "sight", "code", "instance"), sight)
        rows.append((millis(run.at), ids[check], round(run.latency * 1_000_000), ids[sight]))
    conn.executemany("INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?, ?)", rows)


def _number(conn: sqlite3.Connection, table: str, columns: Sequence[str], words: Sequence[str]) -> int:
    """The short number that stands for `words` in the rows of outcomes, made on first use.

    It follows from the words, so that two databases that never met agree on it; where two sets of words would get
    the same one, the later takes the next that is free.
    """
    where = " AND ".join(f"{column} = ?" for column in columns)
    marks = ", ".join("?" * len(columns))
    find = f"SELECT id FROM {table} WHERE {where}"  # noqa: S608 -- names are literals of write_runs
    add = f"INSERT OR IGNORE INTO {table} (id, {', '.join(columns)}) VALUES (?, {marks})"  # noqa: S608 -- as above
    number = zlib.crc32("\x1f".join(words).encode()) & 0x7FFF_FFFF
    while (found := conn.execute(find, words).fetchone()) is None:
        conn.execute(add, (number, *words))
        number = (number + 1) & 0x7FFF_FFFF
    return int(found[0])


def outcomes_since(conn: sqlite3.Connection, service: str, at: float) -> list[Run]:
    """Every kept outcome of `service` from `at` (epoch seconds) on, oldest first, ready to be judged again."""
    rows = conn.execute(
        "SELECT checks.name, at, latency, verdict, cause, sight, code, instance FROM outcomes"
        " JOIN checks ON checks.id = check_id JOIN sights ON sights.id = sight_id"
        " WHERE at >= ? AND service = ? ORDER BY at, check_id",
        (millis(at), service),
    )
    return [
        Run(
            service=service,
            check=check,
            at=when / 1000,
            verdict=Verdict(verdict),
            latency=latency / 1_000_000,
            cause=Cause(cause) if cause else None,
            sight=Sight(sight),
            code=code,
            instance=instance,
        )
        for check, when, latency, verdict, cause, sight, code, instance in rows
        if verdict in _VERDICTS and sight in _SIGHTS and (not cause or cause in _CAUSES)
    ]


def millis(at: float) -> int:
    """Epoch seconds as the whole milliseconds the tables hold."""
    return round(at * 1000)


def plain(text: str, limit: int = TEXT_LIMIT) -> str:
    """`text` as SQLite takes it: at most `limit` characters, and none that UTF-8 cannot hold."""
    return text[:limit].encode("utf-8", "replace").decode("utf-8")
