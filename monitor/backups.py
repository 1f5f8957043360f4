"""The backups' place in the daemon: run as a child when they are due, made up for after downtime, tried again.

A run is `python -m backup run --json`: its memory goes back when it ends, its death is not the daemon's, and a run by
hand is the same code. What it says goes on the board; how it ended is kept. Whether the backups are as they should be
is not judged from here but from the store, by the check of the service `backups`.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import structlog

from config.backup_settings import BackupSettings
from config.checks import BackupsParams
from config.services import Check, Service
from monitor.backup_runs import Run, newest_runs, save_run, shown
from monitor.board import BackupStatus, Board
from monitor.schedule import Calendar, period_of, previous_due, trigger_of
from monitor.state import StateFile

log = structlog.get_logger()

COMMAND = (sys.executable, "-m", "backup")
SERVICE = "backups"
LOOK = 300.0  # seconds between two looks at the store
LOOK_TIMEOUT = 30.0
SETTLE = 60.0  # seconds after the start before a missed run is made up for: a crash loop must not dump endlessly
FIRST_RETRY, LONGEST_RETRY = 600.0, 4 * 3600.0
LAST_WORDS = 2.8  # seconds a run gets to clean up after itself when the daemon ends
EXIT_DONE, EXIT_CONFIGURATION, EXIT_LOCKED, EXIT_STOPPED = 0, 2, 3, 130
STORE_FULL = "StoreFullError"  # backup.errors'

TAKES_PART = ("postgres", "clickhouse", "minio")
BUSY_WITH, CLIENTS = "busy_with", "clients"  # the fact that PostgreSQL's signals learn, and its usual value

Hear = Callable[[bytes], None]
Command = Callable[[tuple[str, ...], Hear], Awaitable[int]]
"""Runs `python -m backup` with these arguments, hands over each line it writes, and gives its exit code."""


def with_backups(services: Iterable[Service], settings: BackupSettings | None, now: float) -> tuple[Service, ...]:
    """The services and, where backups are taken, `backups`, which is below the store if that is watched."""
    services = tuple(services)
    if settings is None or any(service.name == SERVICE for service in services):
        return services
    period = period_of(trigger_of(settings.schedule.schedule, settings.schedule.hour), datetime.fromtimestamp(now, UTC))
    addresses = {"postgres": settings.postgres.url, "clickhouse": settings.clickhouse.url}
    engines = tuple(engine for engine, address in addresses.items() if address)
    check = Check(
        name="fresh",
        kind="backups",
        params=BackupsParams(period=period, max_bytes=settings.schedule.max_bytes, engines=engines),
        interval=LOOK,
        timeout=LOOK_TIMEOUT,
        failure_threshold=1,
        warn_threshold=1,
        success_threshold=1,
    )
    store = "minio" if settings.store.folder is None else ""
    backups = Service(
        name=SERVICE,
        kind=SERVICE,
        title="Backups",
        address=str(settings.store.folder or settings.store.endpoint),
        checks=(check,),
        depends_on=tuple(service.name for service in services if service.name == store),
        start_period=0.0,  # that the first run has not ended yet is an outcome of its own
    )
    return tuple(sorted((*services, backups), key=lambda service: service.name))


def keeps_busy(board: Board, service: Service) -> bool:
    """Whether a slow answer of `service` is our own doing: a backup or a restore keeps it busy just now.

    The daemon's own backup is known at once; one by hand, and a restore, by the sessions that PostgreSQL shows.
    """
    if board.backup and board.backup.running and service.kind in TAKES_PART:
        return True
    seen = (board.services[name].facts.get(BUSY_WITH) for name in (service.name, *service.depends_on))
    return service.kind == "postgres" and any(one not in (None, CLIENTS) for one in seen)


class Backups:
    """Takes backups when they are due. `board.backup` shows how far it is; nothing else writes it.

    `ended` is called with each run that has ended; `command` runs the program.
    """

    def __init__(
        self,
        settings: BackupSettings,
        *,
        board: Board,
        state: StateFile,
        wall: Callable[[], float],
        ended: Callable[[Run], None] = lambda _: None,
        command: Command | None = None,
    ) -> None:
        self._ended = ended
        self._command = command or run_command
        self._trigger = trigger_of(settings.schedule.schedule, settings.schedule.hour)
        self._settings = settings
        self._state = state
        self._wall = wall
        self._wanted = asyncio.Event()
        self._why = ""
        self.status = board.backup = BackupStatus(schedule=settings.schedule.schedule)

    def enter(self, calendar: Calendar) -> None:
        """Enters the schedule."""

        async def due() -> None:
            self.ask("its schedule")

        calendar.at("backup", due, self._trigger)

    def ask(self, why: str) -> bool:
        """Has a run made as soon as none is under way. False when one is under way already."""
        if self.status.running:
            return False
        self._why = self._why or why
        self._wanted.set()
        return True

    async def run(self) -> None:
        """Makes runs until cancelled; a run under way is then told to end and clean up."""
        failures = 0
        kept = await self._state.read(lambda conn: newest_runs(conn, 50))
        self._recall(kept)
        retry = await self._catch_up(kept)
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(retry):
                    await self._wanted.wait()
            self._wanted.clear()
            why, self._why = self._why or "a run that was missed or failed", ""
            ended = await self._take(why)
            failures = 0 if ended.exit_code in (EXIT_DONE, EXIT_LOCKED) else failures + 1
            retry = None
            if failures and ended.exit_code != EXIT_CONFIGURATION:
                retry = min(LONGEST_RETRY, FIRST_RETRY * 2 ** (failures - 1))

    async def _catch_up(self, kept: list[Run]) -> float | None:
        """Seconds until a run is made at the start: one was missed, there never was one, or the user wants it so. None
        when none is to be made.

        The store is asked as well, since our own memory may have gone with a container; one that does not tell, most
        often because it starts with us, is given time. A run that was begun counts, whatever became of it: a run that
        kills the daemon must not be begun again at every start.
        """
        ages, now = await self._ages(), self._wall()
        begun = [run.at for run in kept] + [now - age for age in ages or ()]
        due = previous_due(self._trigger, datetime.fromtimestamp(now, UTC))
        if self._settings.schedule.on_startup:
            wanted = now - max(begun, default=0.0) > FIRST_RETRY
        else:
            wanted = not begun or (due is not None and max(begun) < due.timestamp())
        if not wanted:
            return None
        return FIRST_RETRY if ages is None else SETTLE

    async def _ages(self) -> list[float] | None:
        """How many seconds ago each run was begun that the store knows of, finished or not; None: it does not tell."""
        lines: list[bytes] = []
        if await self._command(("list", "--json"), lines.append):
            log.warning("store_not_read", says="the store does not tell its restore points: a missed run waits for it")
            return None
        document = json.loads(b"".join(lines))
        return [float(one["age_seconds"]) for one in (*document["points"], *document["unfinished"])]

    def _recall(self, kept: list[Run]) -> None:
        status = self.status
        good = [run for run in kept if run.exit_code == EXIT_DONE]
        if good:
            status.last_success_at = good[0].at + good[0].seconds
        if kept:
            status.last = shown(kept[0])

    async def _take(self, why: str) -> Run:
        """Makes one run, then lets retention have its say. Gives how it ended."""
        began = self._wall()
        run = Run(at=began)
        await self._state.transact(lambda conn: save_run(conn, run))
        self.status.running, self.status.started_at, self.status.progress = True, began, {}
        log.info("backup_started", why=why)
        last: dict[str, Any] = {}
        try:
            code = await self._command(("run", "--json"), lambda line: self._hear(line, last))
        finally:
            self.status.running = False
        run = replace(
            run,
            point=str(last.get("point", "")),
            exit_code=code,
            seconds=self._wall() - began,
            stored_bytes=int(last.get("stored_bytes", 0)),
            error="; ".join(map(str, last.get("errors", []))) or ("" if code == EXIT_DONE else f"exit code {code}"),
            error_class=str(last.get("error_class", "")),
        )
        await self._state.transact(lambda conn: save_run(conn, run))
        self._told(run)
        self._ended(run)
        if code != EXIT_CONFIGURATION:
            await self._prune()
        return run

    async def _prune(self) -> None:
        """Lets retention have its say, in a line for each point: as JSON all of them are one, too long to be read."""
        code = await self._command(("prune",), lambda _: None)
        if code not in (EXIT_DONE, EXIT_LOCKED):
            log.error(
                "prune_failed", exit_code=code, says="old restore points were not removed, and the store fills up"
            )

    def _told(self, run: Run) -> None:
        self.status.runs += 1
        self.status.last = shown(run)
        if run.exit_code == EXIT_DONE:
            self.status.last_success_at = run.at + run.seconds
            log.info("backup_done", point=run.point, seconds=round(run.seconds, 1), stored_bytes=run.stored_bytes)
        elif run.exit_code == EXIT_LOCKED:
            log.info("backup_left_to_another", says=run.error)
        else:
            self.status.failed_runs += 1
            log.error("backup_failed", exit_code=run.exit_code, says=f"backup failed: {run.error}")

    def _hear(self, line: bytes, last: dict[str, Any]) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            return  # a line cut by a kill: nothing to show
        if isinstance(event, dict) and event.get("event") in ("started", "progress", "artifact"):
            self.status.progress = event
        elif isinstance(event, dict) and event.get("event") == "finished":
            last.update(event)


async def run_command(arguments: tuple[str, ...], hear: Hear) -> int:
    """Runs one command of backup's to its end and gives its exit code. Cancelled, it ends the command first."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, limit=1 << 20
    )
    try:
        assert process.stdout is not None
        async for line in process.stdout:
            hear(line)
        return await process.wait()
    except BaseException:
        await end(process)
        raise


async def end(process: asyncio.subprocess.Process) -> None:
    """Tells a child to end and clean up; after LAST_WORDS it is killed, and the next sweep cleans up instead."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(LAST_WORDS):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
