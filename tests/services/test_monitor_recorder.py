"""The recorder over a real state file: what it is told is kept whole, and what cannot be kept costs nothing else."""

import asyncio
import math
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

from config.causes import Cause
from config.checks import TcpParams
from config.watched import Check, Service
from monitor.facts import load_facts
from monitor.history import Run, load_tracks, outcomes_since, write_runs
from monitor.judge import CheckTrack, Flip, State, Track
from monitor.probes.base import Evidence, Outcome, Sight, Verdict
from monitor.recorder import RUN_LIMIT, SCHEMAS, Recorder
from monitor.rollup import rewind, roll_up
from monitor.spans import spans_between
from monitor.state import StateFile

HOUR, DAY = 3_600.0, 86_400.0
START = 1_790_000_000.0 - 1_790_000_000.0 % DAY
CHECK = Check(name="ready", kind="tcp", params=TcpParams(host="h", port=1))
SERVICE = Service(name="redis", kind="redis", title="Redis", address="h:1", checks=(CHECK,))


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


async def recording(folder: Path, written: list[str] | None = None) -> tuple[StateFile, Recorder]:
    def tell_written() -> None:
        if written is not None:
            written.append("written")

    state = await StateFile.open(folder, schemas=SCHEMAS)
    return state, Recorder(state, [SERVICE], instance="here", written=tell_written)


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
    followed: list[int] = []

    def follow(conn: sqlite3.Connection) -> None:
        assert conn.in_transaction
        followed.append(count(conn, "flips"))

    async def act() -> None:
        written: list[str] = []
        state, recorder = await recording(tmp_path, written)
        running = asyncio.create_task(recorder.run(every=3_600))
        await asyncio.sleep(0)
        tell(recorder, START)
        await asyncio.sleep(0.05)
        assert await state.read(lambda conn: count(conn, "outcomes")) == 0
        tell(recorder, START + 60, flip(START + 60))
        recorder.also(follow)
        async with asyncio.timeout(5):
            while not written:  # noqa: ASYNC110 -- filled when the transaction is over
                await asyncio.sleep(0.005)
        assert followed == [1]
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
        followed: list[int] = []
        state, recorder = await recording(tmp_path)
        evidence = Evidence(sight=Sight.ANSWERED, text="fine")
        poison = Outcome(verdict=Verdict.PASS, latency=math.nan, evidence=evidence)
        recorder.saw(SERVICE, CHECK, START, poison, None)
        recorder.moved(TRACK, SERVICE, flip(START))
        recorder.also(lambda conn: followed.append(count(conn, "flips")))
        assert await recorder.flush() == 0
        assert recorder.dropped == 1
        assert followed[-1:] == [1]
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
