"""Incidents, silences and what the core remembers come back from a real SQLite file as they were written."""

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from config.causes import Cause
from monitor import logbook
from monitor.database import connect, in_transaction, migrate
from monitor.incidents import Book, Case, Entry, Happening, Held, Incident
from monitor.judge import State
from monitor.logbook import (
    KEPT_DAYS,
    add_past,
    end_silence,
    incident_record,
    load_book,
    load_incidents,
    load_silences,
    prune_incidents,
    prune_silences,
    save_book,
    save_silence,
)
from monitor.silences import Silence
from monitor.state import StateFile

WALL = 1_795_219_200.0
NOW = 5_000.0
DAY = 86_400.0

INCIDENT = Incident(
    id="20261121T000000Z-postgres",
    root="postgres",
    state="down",
    worst="down",
    since=WALL - 120.5,
    opened_at=WALL - 100.125,
    check="ready",
    cause=Cause.REFUSED,
    sentence="Es läuft nicht → kaputt \ud800.",
    evidence="refused",
    remedy="Start it.",
    affected=("litellm", "langfuse"),
    downs=3,
    flapping=True,
    acknowledged_at=WALL - 50,
    acknowledged_by="Ada",
    reminders=2,
    reminded_at=WALL - 20,
    failed_checks=17,
    timeline=(
        Entry(at=WALL - 100, what=Happening.OPENED, text="Postgres is down."),
        Entry(at=WALL - 50, what=Happening.ACKNOWLEDGED, text="Acknowledged by Ada."),
    ),
    told=(("slack", "down"), ("pagerduty", "down")),
)
CASE = Case(
    incident=INCIDENT,
    began=NOW - 120.5,
    opened=NOW - 100.125,
    spoken=NOW - 20,
    told_state="down",
    well_since=NOW - 3,
    counted=17,
    counted_at=NOW - 7,
    hit=("litellm",),
    named=("litellm", "langfuse"),
    spread_at=NOW - 2,
    covered=True,
    freed=NOW - 1,
    muted=True,
)
BOOK = Book(
    cases={"postgres": CASE},
    held={
        "litellm": Held(state=State.DOWN, noticed=NOW - 90, under=("postgres",)),
        "saas-api": Held(state=State.DEGRADED, noticed=NOW - 80, after=("litellm",), freed=NOW - 10),
    },
    downs={"postgres": (NOW - 900, NOW - 500, NOW - 100)},
    openings=(NOW - 100,),
    gathering=NOW - 4,
    ids=("20261121T000000Z-postgres",),
    blind=True,
    sighted=NOW - 44,
)


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    conn = connect(tmp_path / "watchkeeper.db")
    migrate(conn, (logbook.SCHEMA,))
    yield conn
    conn.close()


def keep(conn: sqlite3.Connection, book: Book) -> None:
    in_transaction(conn, lambda conn: save_book(conn, book, now=NOW, wall=WALL))


def test_the_tables_named_live_and_history_are_the_tables_there_are(conn: sqlite3.Connection) -> None:
    found = {name for (name,) in conn.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert found - {"schema_steps"} == {*logbook.SCHEMA.live, *logbook.SCHEMA.history}


def test_the_example_sets_every_field() -> None:
    """Or the next test would not notice one that is not kept."""
    silent = {"resolved_at", "round_over", "ahead", "steps"}
    for value in (INCIDENT, CASE, BOOK):
        unset = {one.name for one in fields(value) if getattr(value, one.name) in (None, "", (), {}, 0, False)}
        assert unset <= silent


def test_a_book_comes_back_as_it_was(conn: sqlite3.Connection) -> None:
    keep(conn, BOOK)
    assert load_book(conn, now=NOW, wall=WALL) == BOOK


def test_a_book_that_was_never_kept_is_none(conn: sqlite3.Connection) -> None:
    assert load_book(conn, now=NOW, wall=WALL) is None


def test_an_empty_book_is_one_that_was_kept(conn: sqlite3.Connection) -> None:
    keep(conn, Book())
    assert load_book(conn, now=NOW, wall=WALL) == Book()


def test_what_is_no_longer_open_is_gone(conn: sqlite3.Connection) -> None:
    keep(conn, BOOK)
    keep(conn, Book())
    assert load_book(conn, now=NOW, wall=WALL) == Book()
    assert load_incidents(conn) == []


def test_waits_go_on_by_the_wall_clock_while_nobody_runs(conn: sqlite3.Connection) -> None:
    keep(conn, BOOK)
    book = load_book(conn, now=10.0, wall=WALL + 60)
    assert book is not None
    assert 10.0 - book.held["litellm"].noticed == 150
    assert 10.0 - book.cases["postgres"].opened == pytest.approx(160.125)
    assert 10.0 - book.cases["postgres"].spoken == 80


def test_a_wall_clock_set_back_makes_waits_longer_and_never_negative(conn: sqlite3.Connection) -> None:
    keep(conn, BOOK)
    book = load_book(conn, now=10.0, wall=WALL - 3600)
    assert book is not None
    assert book.held["litellm"].noticed == 10.0
    assert book.cases["postgres"].spoken == 10.0


def test_a_round_is_not_over_after_a_restart(conn: sqlite3.Connection) -> None:
    keep(conn, replace(BOOK, round_over=True))
    book = load_book(conn, now=NOW, wall=WALL)
    assert book is not None
    assert not book.round_over


def test_incidents_are_listed_open_ones_first_then_the_newest(conn: sqlite3.Connection) -> None:
    keep(conn, BOOK)
    over = [replace(INCIDENT, id=f"n{number}", state="up", resolved_at=WALL - 1000 * number) for number in (1, 2, 3)]
    for one in over:
        add_past(conn, one)
        add_past(conn, one)
    assert load_incidents(conn) == [INCIDENT, *over]
    assert load_incidents(conn, limit=2) == [INCIDENT, over[0]]
    assert load_incidents(conn, since=WALL - 2000) == [INCIDENT, *over[:2]]


def test_what_a_newer_version_wrote_is_passed_over(conn: sqlite3.Connection) -> None:
    record = {**incident_record(INCIDENT), "mood": "bad", "cause": "gremlins"}
    record["timeline"] = [*record["timeline"], {"at": 1, "what": "sung", "text": "la"}]
    text = json.dumps(record)
    conn.execute("INSERT INTO incidents_past VALUES ('x', 'postgres', 0, 0, ?)", (text,))
    assert load_incidents(conn) == [replace(INCIDENT, cause=None)]
    keep(conn, BOOK)
    ((case,),) = conn.execute("SELECT record FROM incidents_open")
    conn.execute("UPDATE incidents_open SET record = ?", (json.dumps({**json.loads(case), "tune": 4}),))
    assert load_book(conn, now=NOW, wall=WALL) == BOOK


@pytest.mark.parametrize("text", ["", "[]", "7", "{}", '{"incident": {}}', '{"incident": 5}', "\x00"])
def test_what_cannot_be_read_is_left_out_and_logged(conn: sqlite3.Connection, text: str) -> None:
    keep(conn, BOOK)
    conn.execute("INSERT INTO incidents_open VALUES ('redis', ?)", (text,))
    conn.execute("INSERT INTO incidents_past VALUES ('x', 'postgres', 0, 0, ?)", (text,))
    conn.execute("INSERT INTO silences VALUES ('x', ?)", (text,))
    with capture_logs() as logs:
        assert load_book(conn, now=NOW, wall=WALL) == BOOK
        assert load_incidents(conn) == [INCIDENT]
        assert load_silences(conn, wall=WALL) == []
    assert [entry["event"] for entry in logs] == ["incident_unreadable", "silence_unreadable"]
    conn.execute("UPDATE incident_notes SET record = ?", (text,))
    book = load_book(conn, now=NOW, wall=WALL)
    assert book is not None
    assert set(book.cases) == {"postgres"}


def test_resolved_incidents_are_kept_for_so_long_and_so_many(conn: sqlite3.Connection) -> None:
    ages = [0, 1, KEPT_DAYS - 1, KEPT_DAYS + 1]
    for age in ages:
        add_past(conn, replace(INCIDENT, id=f"a{age}", resolved_at=WALL - age * DAY))
    assert prune_incidents(conn, WALL) == 1
    assert [one.id for one in load_incidents(conn)] == ["a0", "a1", f"a{KEPT_DAYS - 1}"]
    assert prune_incidents(conn, WALL, most=2) == 1
    assert [one.id for one in load_incidents(conn)] == ["a0", "a1"]


def test_silences_come_back_and_end(conn: sqlite3.Connection) -> None:
    once = Silence(id="a", service="post*", why="work", by="Ada", since=WALL, until=WALL + 60, maintenance=True)
    often = Silence(id="b", service="*", why="nightly", by="Bo", since=WALL + 1, cron="0 3 * * *", duration=1800.0)
    for one in (often, once):
        save_silence(conn, one)
    assert load_silences(conn, wall=WALL) == [once, often]
    assert load_silences(conn, wall=WALL + 60) == [often]
    assert load_silences(conn, wall=WALL) == [once, often], "a clock that was ahead for a moment ended it for good"
    assert prune_silences(conn, WALL + 59 + DAY) == 0
    assert load_silences(conn, wall=WALL) == [once, often]
    assert prune_silences(conn, WALL + 60 + DAY) == 1
    assert load_silences(conn, wall=WALL) == [often]
    assert (end_silence(conn, "b"), end_silence(conn, "b")) == (True, False)
    assert load_silences(conn, wall=WALL) == []


def test_all_that_a_start_loads_is_only_read(tmp_path: Path) -> None:
    long_over = Silence(id="a", service="*", why="work", by="Ada", since=1.0, until=2.0)

    async def act() -> tuple[Book | None, list[Silence]]:
        state = await StateFile.open(tmp_path, schemas=(logbook.SCHEMA,))
        try:
            await state.transact(lambda conn: save_silence(conn, long_over))
            book = await state.read(lambda conn: load_book(conn, now=NOW, wall=WALL))
            return book, await state.read(lambda conn: load_silences(conn, wall=WALL))
        finally:
            await state.close()

    assert asyncio.run(act()) == (None, [])
