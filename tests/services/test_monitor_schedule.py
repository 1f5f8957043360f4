"""The calendar on the real clock, on one that is stepped under it, and the daemon's jobs over a real state file."""

import asyncio
import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from structlog.testing import capture_logs

from config.causes import Cause
from monitor import logbook
from monitor.history import Run, write_runs
from monitor.jobs import Jobs
from monitor.probes.base import Sight, Verdict
from monitor.recorder import SCHEMAS
from monitor.schedule import Calendar, next_times, trigger_of
from monitor.silences import Silence
from monitor.state import StateFile

ROOT = Path(__file__).parents[2]
HOUR = 3600.0
NOON = 1_790_000_000.0 - 1_790_000_000.0 % 86_400 + 43_200


def soon(seconds: float = 0.05) -> DateTrigger:
    return DateTrigger(run_date=datetime.now(UTC) + timedelta(seconds=seconds))


def test_a_job_that_fails_ends_the_calendar_with_its_exception() -> None:
    async def fails() -> None:
        raise ValueError("a mistake in a job")

    async def act() -> None:
        calendar = Calendar(time.time)
        calendar.at("fails", fails, soon())
        with pytest.raises(ValueError, match="a mistake in a job"):
            await asyncio.wait_for(calendar.run(), 10)

    asyncio.run(act())


def test_a_job_that_hangs_is_not_run_beside_itself_and_said_to_hang() -> None:
    running = most = 0

    async def hangs() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(1.4)
        running -= 1

    async def act() -> list[dict[str, object]]:
        calendar = Calendar(time.time)
        calendar.at("slow", hangs, IntervalTrigger(seconds=1, start_date=datetime.now(UTC) + timedelta(seconds=0.05)))
        with capture_logs() as logs, contextlib.suppress(TimeoutError):
            await asyncio.wait_for(calendar.run(), 1.4)
        return [dict(line) for line in logs]

    logs = asyncio.run(act())
    assert most == 1
    (left_out,) = [line for line in logs if line["event"] == "calendar_run_left_out"]
    assert (left_out["job"], left_out["log_level"]) == ("slow", "warning")


def test_one_job_holds_up_no_other_and_is_ended_with_the_calendar(caplog: pytest.LogCaptureFixture) -> None:
    done, cleaned = asyncio.Event(), []

    async def long() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.1)
            cleaned.append("up")

    async def short() -> None:
        done.set()

    async def act() -> None:
        calendar = Calendar(time.time)
        calendar.at("long", long, soon())
        calendar.at("short", short, soon(0.1))
        running = asyncio.create_task(calendar.run())
        await asyncio.wait_for(done.wait(), 10)
        running.cancel()
        await asyncio.wait({running})
        assert running.cancelled()
        assert cleaned == ["up"]

    asyncio.run(act())
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def due_times(calendar: Calendar) -> dict[str, datetime]:
    return {job.id: job.next_run_time.replace(microsecond=0) for job in calendar._scheduler.get_jobs()}


@pytest.mark.parametrize("step", [2 * HOUR, -2 * HOUR])
def test_after_a_clock_step_every_job_is_due_by_the_new_time(step: float) -> None:
    """Only the re-arming, under a clock of the test's own: APScheduler itself reads the real one."""
    offset = 0.0
    begun = datetime.now(UTC)

    async def nothing() -> None:
        pass

    async def act() -> dict[str, datetime]:
        nonlocal offset
        calendar = Calendar(lambda: time.time() + offset, look=0.05)
        for name, hours in (("jumped", 1), ("ahead", 5)):
            at = begun + timedelta(hours=hours)
            calendar.at(name, nothing, trigger_of(f"{at.minute} {at.hour} * * *", hour=0))
        running = asyncio.create_task(calendar.run())
        await asyncio.sleep(0.02)
        offset = step
        with capture_logs() as logs:
            while not logs:  # noqa: ASYNC110 -- a log line has no event to wait on
                await asyncio.sleep(0.02)
        assert [(line["event"], line["step_seconds"]) for line in logs] == [("calendar_rearmed", step)]
        found = due_times(calendar)
        running.cancel()
        await asyncio.wait({running})
        return found

    found = asyncio.run(asyncio.wait_for(act(), 10))
    shown = begun + timedelta(seconds=step)
    if step > 0:
        assert abs(found["jumped"] - shown) < timedelta(seconds=10), "what was jumped over is due at once"
    for name, hours in (("jumped", 1), ("ahead", 5)):
        if step < 0 or name == "ahead":
            at = begun + timedelta(hours=hours)
            (wanted,) = next_times(trigger_of(f"{at.minute} {at.hour} * * *", hour=0), shown, 1)
            assert found[name] == wanted


STEPPED = """
import asyncio, sys, time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from structlog.testing import capture_logs
from monitor.schedule import Calendar, trigger_of

clock = Path(sys.argv[1])
ran = []

async def job():
    ran.append(1)

async def main():
    due = datetime.now(UTC) + timedelta(minutes=30)
    calendar = Calendar(time.time, look=0.1)
    calendar.at("job", job, trigger_of(f"{due.minute} {due.hour} * * *", hour=0))
    running = asyncio.create_task(calendar.run())
    await asyncio.sleep(0.3)
    for hours in (1, 0, 1):
        clock.write_text(f"{hours * 3600:+d}")
        with capture_logs() as logs:
            async with asyncio.timeout(20):
                while not logs:
                    await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
        print(hours, len(ran), flush=True)
    running.cancel()
    await asyncio.wait({running})

asyncio.run(main())
"""


def faketime_library() -> str:
    """Where Debian's libfaketime is. Missing on a laptop it skips the test, in CI it fails it."""
    program = shutil.which("faketime")
    if not program and os.environ.get("CI"):
        pytest.fail("faketime is missing; .ci/run brings it")
    if not program:
        pytest.skip("faketime is not installed here: Debian's package faketime has it")
    return str(next(Path(program).parents[1].glob("lib/*/faketime/libfaketime.so.1")))


def test_on_a_machine_whose_clock_is_stepped_a_job_runs_at_its_new_time(tmp_path: Path) -> None:
    """Half an hour off, and the clock steps an hour forward, back and forward again: due at once, each time."""
    clock = tmp_path / "clock"
    clock.write_text("+0")
    # Not the program faketime itself: it sets the time in a variable, which then counts for more than the file.
    environ = {
        **os.environ,
        "LD_PRELOAD": faketime_library(),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    command = [sys.executable, "-c", STEPPED, str(clock)]
    done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == ["1 1", "0 1", "1 2"], done.stderr
    assert done.returncode == 0, done.stderr


def a_run(at: float) -> Run:
    return Run(
        service="redis",
        check="ping",
        at=at,
        verdict=Verdict.FAIL,
        latency=0.1,
        cause=Cause.REFUSED,
        sight=Sight.REFUSED,
        code="",
        instance="",
    )


def count(table: str) -> Callable[[sqlite3.Connection], int]:
    return lambda conn: int(conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_the_jobs_roll_up_prune_and_give_space_back(tmp_path: Path) -> None:
    async def act() -> None:
        state = await StateFile.open(tmp_path, schemas=(*SCHEMAS, logbook.SCHEMA))
        try:
            long_over = Silence(
                id="a", service="*", why="work", by="Ada", since=NOON - 72 * HOUR, until=NOON - 48 * HOUR
            )
            await state.transact(lambda conn: logbook.save_silence(conn, long_over))
            days_ago = [NOON - days * 24 * HOUR for days in (5, 4, 1, 0)]
            runs = [a_run(at + second) for at in days_ago for second in range(3_000)]
            await state.transact(lambda conn: write_runs(conn, runs))
            jobs = Jobs(state, wall=lambda: NOON + HOUR)
            await jobs.prune()
            assert await state.read(count("outcomes")) == 12_000, "nothing is deleted before it was rolled up"
            await jobs.roll_up()
            hours = "SELECT hour, fails FROM hourly ORDER BY hour"
            kept = await state.read(lambda conn: conn.execute(hours).fetchall())
            assert kept == [(at // HOUR, 3_000) for at in days_ago[:3]], "the hour that ended just now waits"
            before = await state.read(lambda conn: conn.execute("PRAGMA page_count").fetchone()[0])
            await jobs.prune()
            assert await state.read(count("outcomes")) == 6_000
            assert await state.read(count("silences")) == 0
            assert await state.read(lambda conn: conn.execute("PRAGMA freelist_count").fetchone()[0]) == 0
            assert await state.read(lambda conn: conn.execute("PRAGMA page_count").fetchone()[0]) < before
        finally:
            await state.close()

    asyncio.run(act())


def test_the_jobs_are_entered_with_their_minutes() -> None:
    calendar, state = Calendar(time.time), None
    Jobs(state, wall=time.time).enter(calendar)  # type: ignore[arg-type]  # entered only, never run
    entered = {job.id: str(job.trigger) for job in calendar._scheduler.get_jobs()}
    assert entered == {"roll_up": "cron[hour='*', minute='2']", "prune": "cron[hour='*', minute='17']"}
