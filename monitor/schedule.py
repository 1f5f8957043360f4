"""Calendar jobs: what is due by the wall clock, in UTC. The only importer of apscheduler."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Protocol

import structlog
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.executors.asyncio import AsyncIOExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger

log = structlog.get_logger()

CLOCK_STEP = 5.0  # seconds: a wall clock that moved this much against the loop's was stepped
LOOK = 5.0  # seconds between two looks at the clock

Job = Callable[[], Awaitable[None]]


class Trigger(Protocol):
    """The part of an APScheduler trigger that is used here."""

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """The next time after `now`."""


class Calendar:
    """Runs jobs at minutes of the day. A job that raises ends `run()` with its exception: a dead job must not linger.

    A run missed by a stall or a stepped clock is made up once, never more, and one job never overlaps itself.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._failed: asyncio.Future[None] | None = None
        self._scheduler = AsyncIOScheduler(
            timezone=UTC,
            executors={"default": AsyncIOExecutor()},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )

    def daily(self, name: str, job: Job, *, hour: str = "*", minute: int) -> None:
        """Has `job` run at `minute` of every hour that `hour` (cron syntax) names."""
        self._scheduler.add_job(job, CronTrigger(hour=hour, minute=minute, timezone=UTC), id=name, name=name)

    async def run(self) -> None:
        """Runs until cancelled."""
        loop = asyncio.get_running_loop()
        self._failed = loop.create_future()
        self._scheduler.add_listener(self._told, EVENT_JOB_ERROR | EVENT_JOB_MISSED)
        self._scheduler.start()
        try:
            ahead = self._wall() - loop.time()
            while True:
                await asyncio.wait({self._failed}, timeout=LOOK)
                if self._failed.done():
                    self._failed.result()
                step = self._wall() - loop.time() - ahead
                if abs(step) > CLOCK_STEP:
                    self._rearm(step)
                ahead += step
        finally:
            self._scheduler.shutdown(wait=False)

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

    def _told(self, event: JobExecutionEvent) -> None:
        if event.exception is not None and self._failed and not self._failed.done():
            self._failed.set_exception(event.exception)
        elif event.exception is None:
            log.warning("calendar_run_missed", job=event.job_id)
