"""Calendar jobs: what is due by the wall clock, in UTC. The only importer of apscheduler."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Protocol

import structlog
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, JobEvent
from apscheduler.executors.asyncio import AsyncIOExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger

from monitor.cron import WEEKDAYS, read_cron

log = structlog.get_logger()

CLOCK_STEP = 5.0  # seconds: a wall clock that moved this much against the loop's was stepped
LOOK = 5.0  # seconds between two looks at the clock
FEW = 8  # runs that `period_of` looks ahead
FAR = timedelta(days=9 * 366)  # no line is due less often: from one 29 February to the next are 8 years at most

Job = Callable[[], Awaitable[None]]


class Trigger(Protocol):
    """When something is due: the part of an APScheduler trigger that is used here."""

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """The first time from `now` on."""


def trigger_of(schedule: str, hour: int) -> Trigger:
    """When a schedule is due, in UTC: hourly, daily at `hour`, weekly on Sunday at `hour`, or five cron fields.

    Raises ValueError with what to write instead.
    """
    named = {"hourly": "0 * * * *", "daily": f"0 {hour} * * *", "weekly": f"0 {hour} * * sun"}
    line = named.get(schedule.strip().lower(), schedule)
    try:
        cron = read_cron(line)
    except ValueError as error:
        raise ValueError(f"{schedule!r} is neither hourly, daily nor weekly, nor a cron line: {error}") from None
    # Every field as the numbers it stands for: APScheduler reads some of them otherwise than cron does, and counts its
    # weekdays from Monday, so those go by name.
    return CronTrigger(  # type: ignore[no-any-return]  # theirs has no annotations
        minute=_listed(cron.minutes),
        hour=_listed(cron.hours),
        day=_listed(cron.days),
        month=_listed(cron.months),
        day_of_week=",".join(WEEKDAYS[number] for number in cron.weekdays),
        timezone=UTC,
    )


def _listed(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))


def next_times(trigger: Trigger, now: datetime, count: int = 3) -> list[datetime]:
    """The next `count` times after `now`; fewer when the trigger ends."""
    times: list[datetime] = []
    at: datetime | None = now
    while at is not None and len(times) < count:
        at = trigger.get_next_fire_time(None, at + timedelta(microseconds=1))
        times += [at] if at is not None else []
    return times


def previous_due(trigger: Trigger, now: datetime) -> datetime | None:
    """The newest time at or before `now` when it was due; None when it was not within the last nine years."""

    def due_from(at: datetime) -> datetime | None:
        found = trigger.get_next_fire_time(None, at)
        return found if found is not None and found <= now else None

    back = timedelta(hours=1)
    while (newest := due_from(now - back)) is None:
        back *= 2
        if back > 2 * FAR:
            return None
    nothing_from = now + timedelta(microseconds=1)
    while nothing_from - newest > timedelta(seconds=1):
        middle = newest + (nothing_from - newest) / 2
        found = due_from(middle)
        newest, nothing_from = (found, nothing_from) if found is not None else (newest, middle)
    return newest


def period_of(trigger: Trigger, now: datetime) -> float:
    """How far apart runs may be, in seconds: the longest gap of the one `now` lies in and the next few.

    Infinite for a trigger that is due less than twice.
    """
    before = previous_due(trigger, now)
    times = ([before] if before is not None else []) + next_times(trigger, now, FEW)
    return max(((later - earlier).total_seconds() for earlier, later in pairwise(times)), default=float("inf"))


class Calendar:
    """Runs jobs at minutes of the day. A job that raises ends `run()` with its exception: a dead job must not linger.

    A run missed by a stall or a stepped clock is made up once, never more. One job never overlaps itself: what is due
    while it runs is left out, and logged. `wall` is the time, epoch seconds; `look` how often it is looked at, seconds;
    `looks` counts that.
    """

    def __init__(self, wall: Callable[[], float], *, look: float = LOOK) -> None:
        self._wall = wall
        self._look = look
        self._failed: asyncio.Future[None] | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._ending = False
        self.looks = 0
        self._scheduler = AsyncIOScheduler(
            timezone=UTC,
            executors={"default": AsyncIOExecutor()},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )

    def daily(self, name: str, job: Job, *, hour: str = "*", minute: int) -> None:
        """Has `job` run at `minute` of every hour that `hour` (cron syntax) names."""
        self.at(name, job, CronTrigger(hour=hour, minute=minute, timezone=UTC))

    def at(self, name: str, job: Job, trigger: Trigger) -> None:
        """Has `job` run whenever `trigger` (of `trigger_of`) is due."""
        self._scheduler.add_job(functools.partial(self._do, job), trigger, id=name, name=name)

    async def run(self) -> None:
        """Runs until cancelled; then cancels the jobs that are running and waits until they have ended."""
        loop = asyncio.get_running_loop()
        self._failed = loop.create_future()
        self._scheduler.add_listener(self._told, EVENT_JOB_ERROR | EVENT_JOB_MAX_INSTANCES)
        self._scheduler.start()
        try:
            ahead = self._wall() - loop.time()
            while True:
                await asyncio.wait({self._failed}, timeout=self._look)
                self.looks += 1
                if self._failed.done():
                    self._failed.result()
                step = self._wall() - loop.time() - ahead
                if abs(step) > CLOCK_STEP:
                    self._rearm(step)
                ahead += step
        finally:
            self._ending = True
            self._scheduler.shutdown(wait=False)
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _do(self, job: Job) -> None:
        """Runs `job` as a task whose end `run` waits for: APScheduler cancels what is left and waits for nothing."""
        task = asyncio.ensure_future(job())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            if not self._ending:
                raise
        else:
            task.result()

    def _rearm(self, step: float) -> None:
        """After a clock step every job gets its next time anew; a time that was jumped over is due at once."""
        now = datetime.fromtimestamp(self._wall(), UTC)
        for job in self._scheduler.get_jobs():
            if step > 0 and job.next_run_time and job.next_run_time <= now:
                job.modify(next_run_time=now)
                continue
            trigger: Trigger = job.trigger
            job.modify(next_run_time=trigger.get_next_fire_time(None, now))
        self._scheduler.wakeup()
        log.info("calendar_rearmed", step_seconds=round(step, 1))

    def _told(self, event: JobEvent) -> None:
        if event.code == EVENT_JOB_MAX_INSTANCES:
            log.warning("calendar_run_left_out", job=event.job_id, says="its last run has not ended yet")
        elif self._failed and not self._failed.done() and not self._ending:
            self._failed.set_exception(event.exception)
