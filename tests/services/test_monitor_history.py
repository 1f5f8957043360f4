"""Tracks, flips, facts and outcomes come back from a real SQLite file as they were written."""

import random
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from config.causes import Cause
from config.checks import TcpParams
from config.watched import Check, Service
from monitor import history
from monitor.database import connect, in_transaction, migrate
from monitor.diagnose.base import Diagnosis
from monitor.facts import Fact, Facts, load_facts, save_facts
from monitor.history import Run, load_tracks, outcomes_since, save_track, write_runs
from monitor.judge import CheckTrack, Flip, State, Track, judge
from monitor.probes.base import Evidence, Outcome, Sight, Verdict
from monitor.recorder import SCHEMAS
from monitor.rollup import rewind

DAY = 86_400.0
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


def count(conn: sqlite3.Connection, table: str) -> int:
    return int(conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


TRACK = Track(
    state=State.DOWN,
    since=START + 0.25,
    watched_since=START - 5,
    seen_up=True,
    check="ready",
    cause=Cause.REFUSED,
    checks={
        "ready": CheckTrack(confirmed=State.DOWN, misses=3, recent="ppfff", cause=Cause.REFUSED, intermittent=True),
        "deep": CheckTrack(failing_at=1.5, evidence="a \udcff b"),
    },
)


def flip(at: float, service: str = "redis", **more: str) -> Flip:
    return Flip(service=service, old=State.UP, new=State.DOWN, at=at, since=at - 20, cause=Cause.REFUSED, **more)


def test_a_track_comes_back_as_it_was(conn: sqlite3.Connection) -> None:
    save_track(conn, "redis", TRACK)
    save_track(conn, "new", Track(since=1, watched_since=2))
    assert load_tracks(conn) == {"redis": TRACK, "new": Track(since=1.0, watched_since=2.0)}


def test_a_track_of_another_version_is_read_as_far_as_it_is_known(conn: sqlite3.Connection) -> None:
    text = (
        '{"since": 1, "watched_since": 2, "mood": "new", "state": "up",'
        ' "checks": {"ready": {"misses": 2, "colour": 3, "cause": null}}}'
    )
    conn.execute("INSERT INTO tracks VALUES ('redis', ?)", (text,))
    expected = Track(state=State.UP, since=1.0, watched_since=2.0, checks={"ready": CheckTrack(misses=2)})
    assert load_tracks(conn) == {"redis": expected}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{broken",
        "[]",
        "{}",
        '{"since": 1}',
        '{"since": "x", "watched_since": 2}',
        '{"since": 1, "watched_since": 2, "state": "odd"}',
        '{"since": 1, "watched_since": 2, "checks": []}',
        '{"since": 1, "watched_since": 2, "checks": {"a": {"misses": "3"}}}',
        '{"since": 1, "watched_since": 2, "checks": {"a": 3}}',
        '{"since": true, "watched_since": 2}',
    ],
)
def test_a_track_that_makes_no_sense_is_left_out(conn: sqlite3.Connection, text: str) -> None:
    conn.execute("INSERT INTO tracks VALUES ('broken', ?)", (text,))
    save_track(conn, "redis", TRACK)
    assert load_tracks(conn) == {"redis": TRACK}


def test_flips_are_kept_with_all_that_was_told(conn: sqlite3.Connection) -> None:
    told = flip(START + 60, check="ping", sentence="It refuses.", evidence="refused", remedy="Start it.")
    for one in (flip(START), flip(START + 0.001, "litellm"), told):
        history.add_flip(conn, one)
    kept = conn.execute("SELECT * FROM flips ORDER BY at").fetchall()
    assert [row[:2] for row in kept[:2]] == [(START * 1000, "redis"), (START * 1000 + 1, "litellm")]
    at, since = (START + 60) * 1000, (START + 40) * 1000
    words = ("ping", "refused", "It refuses.", "refused", "Start it.")
    assert kept[2] == (at, "redis", "up", "down", since, *words)


def test_texts_that_utf8_cannot_hold_are_kept_all_the_same(conn: sqlite3.Connection) -> None:
    history.add_flip(conn, flip(START, evidence="got \udcff" + "x" * 5_000))
    keep(conn, [replace(run(START), code="\ud800bad")])
    assert conn.execute("SELECT evidence FROM flips").fetchone()[0].startswith("got ?xxx")
    assert outcomes_since(conn, "redis", 0)[0].code == "?bad"


def test_facts_come_back(conn: sqlite3.Connection) -> None:
    fact = Fact(service="litellm", name="version", value="1.85", since=START, before="1.84")
    save_facts(conn, [replace(fact, value="1.84", before=None), fact])
    assert load_facts(conn) == [fact]


def test_outcomes_come_back_as_they_were_and_in_order(conn: sqlite3.Connection) -> None:
    dice = random.Random(1)
    runs = [
        Run(
            service=dice.choice(["a", "b"]),
            check=dice.choice(["x", "y"]),
            at=START + number / 8,
            verdict=dice.choice(list(Verdict)),
            latency=dice.randrange(10_000_000) / 1_000_000,
            cause=dice.choice([None, *Cause]),
            sight=dice.choice(list(Sight)),
            code=dice.choice(["", "200", "42P01"]),
            instance=dice.choice(["", "here"]),
        )
        for number in range(500)
    ]
    keep(conn, dice.sample(runs, len(runs)))
    assert outcomes_since(conn, "a", 0) == [run for run in runs if run.service == "a"]
    assert outcomes_since(conn, "b", START + 30) == [run for run in runs if run.service == "b" and run.at >= START + 30]


def test_two_checks_whose_numbers_would_be_the_same_stay_apart(conn: sqlite3.Connection) -> None:
    """ "plumless" and "buckeroo" have one CRC-32."""
    runs = [replace(run(START + second), check=name) for second, name in enumerate(["plumless", "buckeroo"] * 2)]
    keep(conn, runs)
    keep(conn, runs[::-1])
    assert outcomes_since(conn, "redis", 0) == runs
    assert count(conn, "checks") == 2


def test_kept_outcomes_judged_again_come_to_the_same_states(conn: sqlite3.Connection) -> None:
    dice, track = random.Random(3), Track(since=START, watched_since=START)
    live, runs = [], []
    for number in range(600):
        verdict = dice.choice([Verdict.PASS] * 4 + [Verdict.FAIL] * 3 + [Verdict.WARN, Verdict.UNKNOWN])
        found = Diagnosis(cause=Cause.REFUSED, sentence="It refused.", remedy="Start it.")
        diagnosis = None if verdict == Verdict.PASS else found
        outcome = Outcome(verdict=verdict, latency=0.5, evidence=Evidence(sight=Sight.REFUSED, text="refused"))
        at = START + number * 60
        track, flip = judge(track, SERVICE, CHECK, outcome, diagnosis, at)
        live += [(flip.at, flip.new, flip.cause)] if flip else []
        runs.append(replace(run(at, verdict, 0.5), cause=diagnosis.cause if diagnosis else None, sight=Sight.REFUSED))
    keep(conn, runs)
    again, track = [], Track(since=START, watched_since=START)
    for kept in outcomes_since(conn, "redis", START):
        outcome, diagnosis = kept.replay()
        track, flip = judge(track, SERVICE, CHECK, outcome, diagnosis, kept.at)
        again += [(flip.at, flip.new, flip.cause)] if flip else []
    assert again == live
    assert len(live) > 10


def test_facts_known_before_are_known_again(conn: sqlite3.Connection) -> None:
    save_facts(conn, Facts().learn("litellm", {"version": "1.84"}, START))
    assert Facts(load_facts(conn)).learn("litellm", {"version": "1.84"}, START + 60) == []
