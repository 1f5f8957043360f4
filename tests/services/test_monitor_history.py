"""What is remembered, rolled up and thrown away: on real SQLite files, with the clock handed in."""

import asyncio
import math
import random
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from config.causes import Cause
from config.checks import TcpParams
from config.watched import Check, Service
from monitor import history, rollup
from monitor.database import connect, in_transaction, migrate
from monitor.diagnose.base import Diagnosis
from monitor.facts import Fact, Facts, load_facts, save_facts
from monitor.history import Run, load_tracks, outcomes_since, save_track, write_runs
from monitor.judge import CheckTrack, Flip, State, Track, judge
from monitor.probes.base import Evidence, Outcome, Sight, Verdict
from monitor.recorder import RUN_LIMIT, SCHEMAS, Recorder
from monitor.rollup import Retention, prune, rewind, roll_up
from monitor.spans import Coverage, Span, bars, join, paint, spans_between
from monitor.state import StateFile

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


def minutes(start: float, count: int, *, service: str = "redis") -> list[Run]:
    return [run(start + minute * 60, service=service) for minute in range(count)]


def keep(conn: sqlite3.Connection, runs: list[Run]) -> None:
    """What a flush does with outcomes."""
    in_transaction(conn, lambda conn: (write_runs(conn, runs), rewind(conn, min(run.at for run in runs))))


def to_the_end(conn: sqlite3.Connection, step: Callable[[sqlite3.Connection], bool]) -> int:
    """Calls `step`, each time in a transaction, until it has nothing more to do; gives the number of calls."""
    for calls in range(1, 2_000):
        if not in_transaction(conn, step):
            return calls
    raise AssertionError("it never ends")


def rolled(conn: sqlite3.Connection, now: float) -> list[tuple[int, ...]]:
    to_the_end(conn, lambda conn: roll_up(conn, now))
    return conn.execute("SELECT hour, passes, warns, fails, unknowns FROM hourly ORDER BY hour").fetchall()


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


def flip(at: float, service: str = "redis", **more: str) -> Flip:
    return Flip(service=service, old=State.UP, new=State.DOWN, at=at, since=at - 20, cause=Cause.REFUSED, **more)


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


def test_an_hour_is_rolled_up_with_its_counts_and_latencies(conn: sqlite3.Connection) -> None:
    dice = random.Random(2)
    latencies = [dice.randrange(1_000, 900_000) for _ in range(57)]
    runs = [run(START + second, latency=one / 1e6) for second, one in enumerate(latencies)]
    runs[0] = replace(runs[0], verdict=Verdict.WARN)
    keep(conn, [*runs, run(START + 100, Verdict.FAIL, 30.0), run(START + 101, Verdict.UNKNOWN, 30.0)])
    assert rolled(conn, START + HOUR) == []
    assert rolled(conn, START + HOUR + 121) == [(START // HOUR, 56, 1, 1, 1)]
    ranked = sorted(latencies)
    found = conn.execute("SELECT latency_sum, latency_max, latency_p50, latency_p95 FROM hourly").fetchone()
    assert found == (sum(ranked), ranked[-1], ranked[math.ceil(57 * 0.5) - 1], ranked[math.ceil(57 * 0.95) - 1])


def test_an_hour_without_an_answer_has_no_latency(conn: sqlite3.Connection) -> None:
    keep(conn, [run(START, Verdict.FAIL, 30.0)])
    rolled(conn, START + DAY + HOUR)
    for table in ("hourly", "daily"):
        found = conn.execute(f"SELECT fails, latency_sum, latency_max, latency_p95 FROM {table}").fetchone()
        assert found == (1, 0, None, None)


def test_rolling_up_again_changes_nothing_and_a_broken_off_one_is_made_up_for(conn: sqlite3.Connection) -> None:
    keep(conn, minutes(START, 26 * 60))
    paint(conn, Span(service="redis", start=START, until=START + 26 * HOUR, state=State.UP))
    now = START + 27 * HOUR

    def breaks_off(conn: sqlite3.Connection) -> None:
        roll_up(conn, now)
        raise KeyError

    in_transaction(conn, lambda conn: roll_up(conn, now))
    with pytest.raises(KeyError):
        in_transaction(conn, breaks_off)
    rows = rolled(conn, now)
    assert rows == [(START // HOUR + hour, 60, 0, 0, 0) for hour in range(26)]
    conn.execute("DELETE FROM marks")
    assert rolled(conn, now) == rows
    assert conn.execute("SELECT day, passes FROM daily").fetchall() == [(START // DAY, 1440)]
    assert conn.execute("SELECT day, up, down FROM days").fetchall() == [(START // DAY, 86_400_000, 0)]


def test_rolling_up_catches_up_in_bounded_steps(conn: sqlite3.Connection) -> None:
    keep(conn, [run(START + hour * HOUR) for hour in range(40)])
    assert in_transaction(conn, lambda conn: roll_up(conn, START + 30 * DAY, steps=6))
    assert count(conn, "hourly") == 6
    assert to_the_end(conn, lambda conn: roll_up(conn, START + 30 * DAY, steps=6)) < 12
    assert count(conn, "hourly") == 40
    assert count(conn, "daily") == 2


def test_outcomes_that_come_late_are_counted(conn: sqlite3.Connection) -> None:
    keep(conn, minutes(START, 180))
    rolled(conn, START + 4 * HOUR)
    keep(conn, [run(START + 90.5, Verdict.FAIL)])
    assert rolled(conn, START + 4 * HOUR)[0] == (START // HOUR, 60, 0, 1, 0)


@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_a_clock_stepped_by_an_hour_loses_and_doubles_nothing(conn: sqlite3.Connection, step: float) -> None:
    """Five hours of probes, a step in the middle, pruned and rolled up all along: 300 outcomes in, 300 counted."""
    for minute in range(300):
        now = START + minute * 60 + (step if minute >= 150 else 0)
        keep(conn, [run(now + 0.001 * minute)])
        in_transaction(conn, lambda conn, now=now: roll_up(conn, now))
        in_transaction(conn, lambda conn, now=now: prune(conn, now))
    rows = rolled(conn, START + 8 * HOUR)
    assert sum(row[1] for row in rows) == 300
    assert count(conn, "outcomes") == 300
    assert len(outcomes_since(conn, "redis", 0)) == 300


def fill_hours(conn: sqlite3.Connection, hours: int) -> None:
    keep(conn, [run(START + hour * HOUR + minute * 300) for hour in range(hours) for minute in range(12)])


def test_raw_outcomes_are_kept_for_two_days_and_their_hours_stay(conn: sqlite3.Connection) -> None:
    for hour in range(100):
        keep(conn, [run(START + hour * HOUR + minute * 300) for minute in range(12)])
        now = START + (hour + 1) * HOUR + 300
        to_the_end(conn, lambda conn, now=now: roll_up(conn, now))
        to_the_end(conn, lambda conn, now=now: prune(conn, now))
    oldest = conn.execute("SELECT min(at) FROM outcomes").fetchone()[0] / 1000
    assert oldest == START + 52 * HOUR
    assert count(conn, "outcomes") == 48 * 12
    assert count(conn, "hourly") == 100


def test_raw_outcomes_wait_for_their_roll_up(conn: sqlite3.Connection) -> None:
    fill_hours(conn, 100)
    for hour in range(100, 200):
        to_the_end(conn, lambda conn, hour=hour: prune(conn, START + hour * HOUR))
    assert count(conn, "outcomes") == 1_200


def test_one_jump_of_the_clock_throws_almost_nothing_away(conn: sqlite3.Connection) -> None:
    """A clock that is a year ahead for three hours, with everything running."""
    fill_hours(conn, 48)
    end = START + 48 * HOUR
    to_the_end(conn, lambda conn: roll_up(conn, end + 300))
    to_the_end(conn, lambda conn: prune(conn, end + 300))
    for hour in range(3):
        now = end + 366 * DAY + hour * HOUR
        keep(conn, [run(now)])
        to_the_end(conn, lambda conn, now=now: roll_up(conn, now))
        to_the_end(conn, lambda conn, now=now: prune(conn, now))
    to_the_end(conn, lambda conn: prune(conn, end + HOUR))
    assert count(conn, "outcomes") >= 36 * 12
    assert count(conn, "hourly") >= 48
    keep(conn, [run(end + HOUR)])
    assert (end // HOUR + 1, 1, 0, 0, 0) in rolled(conn, end + 3 * HOUR)


def test_pruning_for_ever_with_one_time_does_not_creep_forward(conn: sqlite3.Connection) -> None:
    fill_hours(conn, 48)
    end = START + 48 * HOUR
    to_the_end(conn, lambda conn: roll_up(conn, end + 300))
    to_the_end(conn, lambda conn: prune(conn, end))
    for _ in range(50):
        in_transaction(conn, lambda conn: prune(conn, end + 366 * DAY))
    assert count(conn, "outcomes") >= 43 * 12


def test_an_absence_of_ten_days_is_caught_up_with(conn: sqlite3.Connection) -> None:
    fill_hours(conn, 48)
    end = START + 48 * HOUR
    to_the_end(conn, lambda conn: roll_up(conn, end + 300))
    to_the_end(conn, lambda conn: prune(conn, end))
    for hour in range(100):
        now = end + 10 * DAY + hour * HOUR
        to_the_end(conn, lambda conn, now=now: prune(conn, now))
    assert count(conn, "outcomes") == 0


def test_counts_are_bounded_in_bounded_steps_and_the_oldest_go_first(conn: sqlite3.Connection) -> None:
    fill_hours(conn, 40)
    few = Retention(outcomes=100, hourly=10, flips=3, spans=5)
    for number in range(10):
        history.add_flip(conn, flip(START + number))
        paint(conn, Span(service="a", start=START + number * 10, until=START + number * 10 + 5, state=State.UP))
    now = START + 40 * HOUR
    to_the_end(conn, lambda conn: roll_up(conn, now + 300))
    assert in_transaction(conn, lambda conn: prune(conn, now, retention=few, limit=50))
    assert count(conn, "outcomes") == 430
    to_the_end(conn, lambda conn: prune(conn, now, retention=few, limit=50))
    assert [count(conn, table) for table in ("outcomes", "hourly", "flips", "spans")] == [100, 10, 3, 5]
    kept = [at / 1000 for (at,) in conn.execute("SELECT at FROM flips ORDER BY at DESC")]
    assert kept == [START + 9, START + 8, START + 7]
    before = conn.execute("SELECT * FROM hourly").fetchall()
    keep(conn, [run(START + 31 * HOUR + 1)])  # late, and in an hour that was cut: it must not be made smaller
    to_the_end(conn, lambda conn: roll_up(conn, now + 300))
    assert conn.execute("SELECT * FROM hourly").fetchall()[: len(before)] == before


def test_rows_of_a_clock_that_ran_years_ahead_do_not_crowd_out_the_right_ones(conn: sqlite3.Connection) -> None:
    keep(conn, minutes(START + 1_500 * DAY, 500))
    few = Retention(outcomes=300)
    for hour in range(10):
        keep(conn, minutes(START + hour * HOUR, 60))
        now = START + (hour + 1) * HOUR
        to_the_end(conn, lambda conn, now=now: roll_up(conn, now))
        to_the_end(conn, lambda conn, now=now: prune(conn, now, retention=few))
    rows = [at for (at,) in conn.execute("SELECT at FROM outcomes")]
    assert len(rows) == 300
    assert sum(at / 1000 < START + DAY for at in rows) == 300


def test_words_nobody_uses_any_more_go_too(conn: sqlite3.Connection) -> None:
    keep(conn, [replace(run(START + n), code=f"code {n}", check=f"check {n}") for n in range(50)])
    rolled(conn, START + DAY)
    keep(conn, [run(START + 500 * DAY)])
    few = Retention(outcomes=1, hourly=0, daily=0)
    to_the_end(conn, lambda conn: prune(conn, START + 500 * DAY, retention=few))
    assert (count(conn, "checks"), count(conn, "sights"), count(conn, "outcomes")) == (1, 1, 1)


def seconds(conn: sqlite3.Connection) -> dict[str, float]:
    """How long redis was in each state: from the spans there are, before the first of them from whole days."""
    found = dict.fromkeys(("up", "degraded", "down", "unknown"), 0.0)
    first = conn.execute("SELECT min(start) / 86400000 FROM spans").fetchone()[0]
    for state in found:
        days = f"SELECT total({state}) FROM days WHERE service = 'redis' AND day < ?"
        spans = "SELECT total(until - start) FROM spans WHERE service = 'redis' AND state = ?"
        old, new = conn.execute(days, (first,)).fetchone()[0], conn.execute(spans, (state,)).fetchone()[0]
        found[state] = (old + new) / 1000
    return found


def test_what_was_seen_stays_known_by_the_day_when_the_spans_are_gone(conn: sqlite3.Connection) -> None:
    for day in range(120):
        at = START + day * DAY
        down = HOUR if day % 10 == 0 else 0.0
        paint(conn, Span(service="redis", start=at, until=at + down, state=State.DOWN))
        paint(conn, Span(service="redis", start=at + down, until=at + 12 * HOUR, state=State.UP))
        paint(conn, Span(service="redis", start=at + 12 * HOUR, until=at + 18 * HOUR, state=State.UNKNOWN))
        keep(conn, [run(at)])
    now = START + 120 * DAY
    whole = {"up": 120 * 12 * HOUR - 12 * HOUR, "degraded": 0.0, "down": 12 * HOUR, "unknown": 120 * 6 * HOUR}
    assert seconds(conn) == whole
    to_the_end(conn, lambda conn: roll_up(conn, now + HOUR))
    to_the_end(conn, lambda conn: prune(conn, now))
    assert conn.execute("SELECT min(start) FROM spans").fetchone()[0] >= (START + 29 * DAY) * 1000
    assert seconds(conn) == whole


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


async def recording(folder: Path, flips: list[str] | None = None) -> tuple[StateFile, Recorder]:
    def on_flips(conn: sqlite3.Connection, rows: Iterable[Flip]) -> None:
        assert conn.in_transaction
        if flips is not None:
            flips.extend(one.service for one in rows)

    state = await StateFile.open(folder, schemas=SCHEMAS)
    return state, Recorder(state, [SERVICE], instance="here", on_flips=on_flips)


def tell(recorder: Recorder, at: float, flip: Flip | None = None, **facts: str) -> None:
    """What the watch says after one outcome."""
    evidence = Evidence(sight=Sight.ANSWERED, text="fine", code="200")
    recorder.saw(SERVICE, CHECK, at, Outcome(verdict=Verdict.PASS, latency=0.1, evidence=evidence, facts=facts), None)
    recorder.moved(replace(TRACK, state=State.UP, since=START), SERVICE, flip)


def test_the_recorder_keeps_what_it_was_told_in_one_transaction(tmp_path: Path) -> None:
    async def act() -> None:
        state, recorder = await recording(tmp_path)
        for minute in range(10):
            tell(recorder, START + minute * 60, version="1.84" if minute < 5 else "1.85")
        assert await recorder.flush() == 10
        runs = await state.read(lambda conn: outcomes_since(conn, "redis", 0))
        assert [(one.at, one.code, one.instance) for one in runs] == [
            (START + n * 60, "200", "here") for n in range(10)
        ]
        assert list(await state.read(load_tracks)) == ["redis"]
        (fact,) = await state.read(load_facts)
        assert (fact.value, fact.before, fact.since) == ("1.85", "1.84", START + 300)
        seen = await state.read(lambda conn: spans_between(conn, "redis", START, START + 540))
        assert [(span.start, span.until, span.state) for span in seen] == [(START, START + 540, State.UP)]
        await state.close()

    asyncio.run(act())


def test_a_flip_is_written_at_once_with_what_follows_from_it(tmp_path: Path) -> None:
    async def act() -> None:
        flips: list[str] = []
        state, recorder = await recording(tmp_path, flips)
        running = asyncio.create_task(recorder.run(every=3_600))
        await asyncio.sleep(0)
        tell(recorder, START)
        await asyncio.sleep(0.05)
        assert await state.read(lambda conn: count(conn, "outcomes")) == 0
        tell(recorder, START + 60, flip(START + 60))
        async with asyncio.timeout(5):
            while not flips:  # noqa: ASYNC110 -- filled on the writer thread
                await asyncio.sleep(0.005)
        assert await state.read(lambda conn: count(conn, "flips")) == 1
        assert await state.read(lambda conn: count(conn, "outcomes")) == 2
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await state.close()

    asyncio.run(act())


def test_the_recorder_holds_a_bounded_number_of_outcomes_while_the_disk_hangs(tmp_path: Path) -> None:
    stuck, freed = threading.Event(), threading.Event()

    def hangs(conn: sqlite3.Connection) -> None:
        stuck.set()
        assert freed.wait(20)

    async def act() -> None:
        state, recorder = await recording(tmp_path)
        hanging = asyncio.create_task(state.transact(hangs))
        flushing = asyncio.create_task(recorder.flush())
        for second in range(RUN_LIMIT + 10):
            tell(recorder, START + second)
        assert recorder.dropped == 10
        freed.set()
        await asyncio.gather(hanging, flushing)
        written = await recorder.flush()
        kept = await state.read(lambda conn: conn.execute("SELECT max(at) FROM outcomes").fetchone()[0])
        assert written <= RUN_LIMIT
        assert kept == (START + RUN_LIMIT + 9) * 1000
        await state.close()

    asyncio.run(act())


def test_an_outcome_that_cannot_be_stored_does_not_cost_the_flip_beside_it(tmp_path: Path) -> None:
    async def act() -> None:
        flips: list[str] = []
        state, recorder = await recording(tmp_path, flips)
        evidence = Evidence(sight=Sight.ANSWERED, text="fine")
        poison = Outcome(verdict=Verdict.PASS, latency=math.nan, evidence=evidence)
        recorder.saw(SERVICE, CHECK, START, poison, None)
        recorder.moved(TRACK, SERVICE, flip(START))
        assert await recorder.flush() == 0
        assert recorder.dropped == 1
        assert flips == ["redis"]
        assert await state.read(load_tracks) == {"redis": TRACK}
        await state.close()

    asyncio.run(act())


def test_everything_known_is_written_again_to_a_fresh_database(tmp_path: Path) -> None:
    async def act() -> None:
        state, recorder = await recording(tmp_path)
        tell(recorder, START, version="1.84")
        await recorder.flush()
        await state.transact(lambda conn: [conn.execute(f"DELETE FROM {table}") for table in ("tracks", "facts")])
        recorder.save_again()
        await recorder.flush()
        assert len(await state.read(load_tracks)) == 1
        assert len(await state.read(load_facts)) == 1
        await state.close()

    asyncio.run(act())


def test_what_memory_gathered_while_the_disk_was_full_is_in_the_roll_up(tmp_path: Path) -> None:
    """Half an hour on the file, half an hour in memory: one whole hour."""

    async def act() -> None:
        state = await StateFile.open(tmp_path, schemas=SCHEMAS, tick=0.02, retry_every=0.1)
        await state.transact(lambda conn: keep_in(conn, minutes(START, 30)))
        await state.transact(lambda conn: conn.execute("PRAGMA max_page_count = 1"))
        rest = [replace(one, code=str(number)) for number, one in enumerate(minutes(START + 1_800, 30) * 40)]
        await state.transact(lambda conn: keep_in(conn, rest))
        assert state.in_memory
        async with asyncio.timeout(10):
            while state.in_memory:  # noqa: ASYNC110 -- turned on the writer thread
                await asyncio.sleep(0.01)
        await state.transact(lambda conn: roll_up(conn, START + 2 * HOUR))
        found = await state.read(lambda conn: conn.execute("SELECT passes FROM hourly").fetchall())
        assert found == [(60,)]
        await state.close()

    asyncio.run(act())


def keep_in(conn: sqlite3.Connection, runs: list[Run]) -> None:
    write_runs(conn, runs)
    rewind(conn, min(run.at for run in runs))


def test_the_marks_are_the_only_table_that_is_not_carried() -> None:
    """A table that is neither live nor history would silently be lost on the way to memory and back."""
    carried = {table for schema in SCHEMAS for table in (*schema.live, *schema.history)}
    made = {
        line.split()[2]
        for schema in SCHEMAS
        for step in schema.steps
        for line in step.splitlines()
        if line.strip().startswith("CREATE TABLE")
    }
    assert made - carried == {"marks"}
    assert carried <= made
    assert rollup.SCHEMA in SCHEMAS


def test_facts_known_before_are_known_again(conn: sqlite3.Connection) -> None:
    save_facts(conn, Facts().learn("litellm", {"version": "1.84"}, START))
    assert Facts(load_facts(conn)).learn("litellm", {"version": "1.84"}, START + 60) == []
