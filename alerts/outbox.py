"""The outbox: messages that are to be told, kept until they are. Plain functions inside the caller's transaction.

A message is put once, for one channel, and is waiting until it has another fate. Every row has a natural key and none
is deleted but by `prune`, and every change writes whole rows: they hold in a database that has never seen the row as
well, so rows can be moved between a file and memory. Times are seconds since the epoch.
"""

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from alerts import rests
from alerts.alert import Alert, Kind, to_json
from alerts.channels.base import Channel
from alerts.order import Fate, Row, Step, in_turn, joined, plan, together

STEPS = (
    """
    CREATE TABLE outbox (
        channel TEXT NOT NULL, incident TEXT NOT NULL, kind TEXT NOT NULL, at INTEGER NOT NULL,
        dedup_key TEXT NOT NULL, sequence INTEGER NOT NULL, fate TEXT NOT NULL, due REAL NOT NULL, hold REAL NOT NULL,
        attempts INTEGER NOT NULL, waited REAL NOT NULL, ended_at REAL, told_as TEXT NOT NULL,
        reason TEXT NOT NULL, said TEXT NOT NULL, ref TEXT NOT NULL, alert TEXT NOT NULL,
        PRIMARY KEY (channel, incident, kind, at)
    ) STRICT;
    CREATE INDEX outbox_waiting ON outbox (channel, incident) WHERE fate = 'waiting';
    CREATE INDEX outbox_of_incident ON outbox (incident);
    CREATE INDEX outbox_of_key ON outbox (dedup_key);
    CREATE TABLE outbox_rests (
        channel TEXT NOT NULL PRIMARY KEY, asked_at REAL NOT NULL, asked_for REAL NOT NULL, refused_at REAL
    ) STRICT, WITHOUT ROWID;
    """,
    # A message was once held back here until it was due; who waits how long is decided before it is put.
    """
    ALTER TABLE outbox DROP COLUMN due;
    ALTER TABLE outbox DROP COLUMN hold;
    """,
)
LIVE = ("outbox", "outbox_rests")  # the second is for alerts.rests

SAID_MOST = 300  # characters kept of what a provider answered
DAY = 86_400.0
OVER_KEPT = 7 * DAY  # what is over, and notices, stay this long
LOST_KEPT = 90 * DAY  # and an incident whose end never came
STRAY_KEPT = DAY  # what waits for a channel that is no longer configured

WAITING = "WHERE channel = ? AND fate = 'waiting'"
OF_WAITING_KEYS = (
    "WHERE channel = ? AND dedup_key IN (SELECT dedup_key FROM outbox WHERE channel = ? AND fate = 'waiting')"
)
_COLUMNS = tuple(one.name for one in fields(Row))
_READ = f"SELECT {', '.join(_COLUMNS)} FROM outbox"  # noqa: S608 -- names of our own fields
_WRITE = f"INSERT OR REPLACE INTO outbox ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 -- as above


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is sent in one request: the alert, and the rows that it tells."""

    rows: tuple[Row, ...]
    alert: Alert
    ref: str = ""

    @property
    def incidents(self) -> tuple[str, ...]:
        return tuple(row.incident for row in self.rows)

    @property
    def channel(self) -> str:
        return self.rows[0].channel


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a channel has to do now: send `message`, or nothing.

    `waiting` are the incidents with something to say; `spoilt` are rows that held no alert and are parked.
    """

    message: Message | None
    waiting: frozenset[str]
    spoilt: tuple[Row, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What waits on one channel: how many messages, and since when the oldest."""

    pending: int
    oldest_at: float | None


def put(conn: sqlite3.Connection, channel: str, alert: Alert) -> None:
    """Have `alert` told on the channel of that name. The same again is no second message.

    An incident has one OPEN and one RESOLVE, and one dedup_key: the one it was first put with, or the end of what was
    opened before INSTANCE was changed would close nothing. A NOTICE is an incident of its own, with a name and a key of
    its own.
    """
    first = conn.execute(
        "SELECT dedup_key FROM outbox WHERE channel = ? AND incident = ? ORDER BY sequence LIMIT 1",
        (channel, alert.incident),
    ).fetchone()
    alert = replace(alert, dedup_key=first[0]) if first else alert
    text, at = to_json(alert), round(alert.at * 1000)
    of_key = _rows(conn, "WHERE channel = ? AND dedup_key = ?", channel, alert.dedup_key)
    taken = {row.at: row.alert for row in of_key if (row.incident, row.kind) == (alert.incident, alert.kind)}
    while at in taken:
        if taken[at] == text:
            return
        at += 1
    row = Row(
        channel=channel,
        incident=alert.incident,
        kind=alert.kind,
        at=at,
        dedup_key=alert.dedup_key,
        sequence=max([at, *(row.sequence + 1 for row in of_key)]),
        fate=Fate.WAITING,
        alert=text,
    )
    _write(conn, [row])


def claim(
    conn: sqlite3.Connection,
    channel: Channel,
    *,
    now: float,
    failures: Mapping[str, int],
    resting: Collection[str],
    alone: Collection[str],
    group: bool = True,
) -> Claim:
    """Take what `channel` is to send next, and count the attempt; nothing of that channel may be under way.

    `failures` says how often an incident's message failed in a row: those with fewer go first, so that one that
    cannot pass holds up nobody. Incidents in `resting` are left out; those in `alone` are not told with others, and
    none is unless `group`.
    """
    steps = _steps(conn, channel, now)
    waiting = frozenset(step.row.incident for step in steps)
    ready = [step for step in steps if step.row.incident not in resting]
    ready.sort(key=lambda step: (failures.get(step.row.incident, 0), step.row.sequence, step.row.incident))
    spoilt: list[Row] = []
    while ready:
        chosen = together(ready, alone) if group and channel.groups else ready[:1]
        readable = [(step, alert) for step in chosen if (alert := _alert(step))]
        if len(readable) == len(chosen):
            rows = tuple(
                replace(step.row, attempts=step.row.attempts + 1, told_as=alert.kind) for step, alert in readable
            )
            _write(conn, rows)
            message = Message(rows=rows, alert=joined([alert for _, alert in readable]), ref=chosen[0].ref)
            return Claim(message=message, waiting=waiting, spoilt=tuple(spoilt))
        lost = [step.row for step in chosen if not _alert(step)]
        spoilt += _end(conn, lost, Fate.PARKED, now, reason="rejected", said="the row holds no alert")
        ready = [step for step in ready if step.row not in lost]
    return Claim(message=None, waiting=waiting, spoilt=tuple(spoilt))


def settle(conn: sqlite3.Connection, message: Message, *, now: float, said: str, ref: str) -> None:
    """The provider took it. `ref` finds the message again; kept for those about one incident only."""
    kept = ref if len(message.rows) == 1 else ""
    _end(conn, [replace(row, ref=kept) for row in message.rows], Fate.SENT, now, reason="", said=said)
    rests.end(conn, message.channel)


def put_off(conn: sqlite3.Connection, message: Message, *, wait: float, reason: str, said: str, all_wait: bool) -> None:
    """It failed and is tried again, in `wait` seconds; with `all_wait` whatever else waits on its channel as well."""
    if all_wait:
        conn.execute(
            "UPDATE outbox SET waited = waited + ? WHERE channel = ? AND fate = 'waiting'", (wait, message.channel)
        )
    said = said[:SAID_MOST]
    _write(conn, [replace(row, waited=row.waited + wait, reason=reason, said=said) for row in message.rows])


def park(conn: sqlite3.Connection, message: Message, *, now: float, reason: str, said: str) -> None:
    """The provider does not take it as it is: it is not tried again."""
    _end(conn, message.rows, Fate.PARKED, now, reason=reason, said=said)


def give_up(conn: sqlite3.Connection, channel: str, *, now: float, bound: float) -> tuple[Row, ...]:
    """Try no more what has been put off for `bound` seconds in all, the wait ahead included. Gives those rows."""
    rows = [row for row in _rows(conn, WAITING + " ORDER BY sequence", channel) if row.waited >= bound]
    _write(conn, [replace(row, fate=Fate.GIVEN_UP, ended_at=now) for row in rows])
    return tuple(rows)


def backlog(conn: sqlite3.Connection, *, now: float) -> dict[str, Backlog]:
    """What waits, by channel; nothing waits since a time that is yet to come, though the clock went back."""
    found: dict[str, list[float]] = {}
    for row in _rows(conn, "WHERE fate = 'waiting'"):
        found.setdefault(row.channel, []).append(min(row.at / 1000, now))
    return {channel: Backlog(pending=len(times), oldest_at=min(times)) for channel, times in found.items()}


def told(conn: sqlite3.Connection, incident: str) -> tuple[Row, ...]:
    """Every message about `incident` on every channel, waiting ones too, in the order they were put."""
    return tuple(_rows(conn, "WHERE incident = ? ORDER BY sequence, channel", incident))


def drop_strays(conn: sqlite3.Connection, channels: Collection[str], *, now: float) -> Mapping[str, tuple[int, int]]:
    """Drop what has waited a day for a channel that is not among `channels`.

    Gives for each such channel how many messages wait still and how many were dropped now.
    """
    strays = [row for row in _rows(conn, "WHERE fate = 'waiting'") if row.channel not in channels]
    old = [row for row in strays if row.at / 1000 < now - STRAY_KEPT]
    _end(conn, old, Fate.DROPPED, now, reason="", said="its channel is no longer configured")
    count = {row.channel: (0, 0) for row in strays}
    for row in strays:
        waiting, dropped = count[row.channel]
        count[row.channel] = (waiting, dropped + 1) if row in old else (waiting + 1, dropped)
    return count


def prune(conn: sqlite3.Connection, *, now: float) -> int:
    """Delete what has been over for long, whole incidents at a time. Gives the number of rows."""
    return conn.execute(
        "DELETE FROM outbox WHERE (channel, incident) IN (SELECT channel, incident FROM outbox"
        " GROUP BY channel, incident HAVING max(fate = 'waiting') = 0"
        " AND max(ended_at) < CASE max(kind IN ('resolve', 'notice')) WHEN 1 THEN ? ELSE ? END)",
        (now - OVER_KEPT, now - LOST_KEPT),
    ).rowcount


def _steps(conn: sqlite3.Connection, channel: Channel, now: float) -> list[Step]:
    """What each root service's outages have to say next on `channel`; rows not to be told any more get their fate."""
    keys: dict[str, dict[str, list[Row]]] = {}
    for row in _rows(conn, OF_WAITING_KEYS, channel.name, channel.name):
        keys.setdefault(row.dedup_key, {}).setdefault(row.incident, []).append(row)
    steps = []
    for incidents in keys.values():
        plans = [plan(rows, pages=channel.pages) for rows in incidents.values()]
        turn = in_turn([one.step for one in plans if one.step], _last_sent(incidents))
        for one in (*plans, turn):
            for fate, rows in one.needless.items():
                _write(conn, [replace(row, fate=fate, ended_at=now) for row in rows])
        if turn.step:
            steps.append(turn.step)
    return steps


def _last_sent(incidents: Mapping[str, Sequence[Row]]) -> Mapping[str, int]:
    sent = {name: [row.sequence for row in rows if row.fate == Fate.SENT] for name, rows in incidents.items()}
    return {name: max(sequences) for name, sequences in sent.items() if sequences}


def _alert(step: Step) -> Alert | None:
    try:
        return step.alert()
    except (ValueError, KeyError, TypeError):
        return None


def _rows(conn: sqlite3.Connection, where: str, *values: str) -> list[Row]:
    """The rows that the clause `where`, one of ours, picks out; without those that a newer version wrote."""
    return [row for found in conn.execute(f"{_READ} {where}", values) if (row := _row(found))]


def _row(values: Sequence[object]) -> Row | None:
    """The row, None when its kind or fate is none that we know."""
    known = dict(zip(_COLUMNS, values, strict=True))
    try:
        known["kind"], known["fate"] = Kind(str(known["kind"])), Fate(str(known["fate"]))
    except ValueError:
        return None
    return Row(**known)  # type: ignore[arg-type]  # a STRICT table holds the types its columns have


def _write(conn: sqlite3.Connection, rows: Iterable[Row]) -> None:
    conn.executemany(_WRITE, [tuple(getattr(row, name) for name in _COLUMNS) for row in rows])


def _end(conn: sqlite3.Connection, rows: Iterable[Row], fate: Fate, now: float, *, reason: str, said: str) -> list[Row]:
    """Give `rows` their fate; gives the rows as they are now."""
    ended = [replace(row, fate=fate, ended_at=now, reason=reason, said=said[:SAID_MOST]) for row in rows]
    _write(conn, ended)
    return ended
