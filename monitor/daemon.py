"""The daemon: build → start → wait for a signal → stop in reverse."""

import asyncio
import contextlib
import resource
import shutil
import socket
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import structlog

from alerts import outbox
from alerts.channels.table import open_channels
from alerts.deliver import Delivery
from alerts.texts import duration
from alerts.trouble import Trouble
from config.configuration import Configuration
from config.services import Check, Service
from monitor import logbook
from monitor.alive import LoopSigns, standing_still
from monitor.backups import EXIT_DONE, Backups, Run, with_backups
from monitor.backups import SCHEMA as BACKUP_RUNS
from monitor.board import Board
from monitor.database import Schema
from monitor.desk import Desk
from monitor.facts import Facts, load_facts
from monitor.folder import FolderLock, choose_folder
from monitor.heartbeat import Heartbeat
from monitor.history import load_tracks
from monitor.jobs import Jobs
from monitor.judge import Flip, State
from monitor.lookout import Lookout
from monitor.probes.base import Outcome, ProbeContext
from monitor.probes.table import load, run_check
from monitor.recorder import SCHEMAS, Recorder
from monitor.schedule import Calendar, trigger_of
from monitor.self_test import SelfTest
from monitor.spans import Bar, bars, standing
from monitor.state import StateFile
from monitor.store import Notice
from monitor.terminal import flip_line
from monitor.watch import Watch
from monitor.watchdog import Watchdog
from monitor.web.app import bind, build_app, serve

log = structlog.get_logger()

CONFIRM_TIMEOUT = 5.0  # seconds a second look may take
STANDS_STILL = 3.0  # intervals of the quickest check without any check's end, beyond which /healthz says so
LOOP_STANDS_STILL = 60.0  # seconds without a turn, for a loop that turns every few seconds
OVERDUE = 600.0  # seconds an alert may wait for its provider before the heartbeat says so
SELF_TEST = "0 10 * * mon"  # in working hours of most of the world
STARTING = 60.0  # seconds that opening the state may take
LAST_WORDS = 1.0  # seconds for writing what was seen last, when told to stop
BUSY_WITH_BACKUPS = ("postgres", "clickhouse", "minio")
TABLES = (*SCHEMAS, BACKUP_RUNS, logbook.SCHEMA, Schema(owner="outbox", steps=outbox.STEPS, live=outbox.LIVE))
BEAT = 1.0  # seconds between two signs of life to the watchdog
SPARE_FILES = 128  # file descriptors that are not for probes


class Daemon:
    """One daemon. `wall` is the time to record, epoch seconds; it decides nothing but calendar jobs."""

    def __init__(self, configuration: Configuration, *, wall: Callable[[], float] = time.time) -> None:
        self._configuration = configuration
        self._wall = wall
        self._board = Board(instance=configuration.watch.instance, version=version("watchkeeper"), started_at=wall())
        self._watch: Watch | None = None
        self._state: StateFile | None = None
        self._recorder: Recorder | None = None
        self._backups: Backups | None = None
        self._desk: Desk | None = None
        self._heartbeat: Heartbeat | None = None
        self._signs = LoopSigns(time.monotonic)
        self._channels = open_channels(configuration.alerts)
        self._context = ProbeContext()
        self._began = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Serves the web at once, waits for the state folder, then watches; returns soon after `stop` is set.

        Raises BindError when PORT cannot be had. Any other exception is a fault of ours.
        """
        sockets = bind(self._configuration.web.port)
        over = asyncio.Event()
        self._began = asyncio.get_running_loop().time()
        tasks = [
            asyncio.create_task(self._serve(sockets, over), name="web"),
            asyncio.create_task(self._keep_watch(sockets[0].getsockname()[1]), name="watch"),
            asyncio.create_task(self._give_signs_of_life(), name="signs of life"),
            asyncio.create_task(stop.wait(), name="stop"),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.set()
            for task in tasks[1:]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result
        log.info("stopped")

    async def _serve(self, sockets: Sequence[socket.socket], over: asyncio.Event) -> None:
        web = self._configuration.web
        app = build_app(
            self._board,
            healthy=self._healthy,
            check_now=self._check_now,
            bars=self._bars,
            backup_now=self._backup_now,
            incidents=lambda: self._desk,
            api_token=web.api_token,
            metrics_token=web.metrics_token,
            wall=self._wall,
        )
        await serve(app, sockets, over)

    async def _keep_watch(self, port: int) -> None:
        """Owns the folder, then watches until cancelled; leaves everything written."""
        services = with_backups(self._configuration.discovery.services, self._configuration.backup, self._wall())
        async with contextlib.AsyncExitStack() as stack:
            lock = await stack.enter_async_context(self._own_folder())
            state = await StateFile.open(
                lock.path.parent, schemas=TABLES, clock=self._wall, on_notice=self._turned, may_return=lock.acquire
            )
            stack.push_async_callback(state.close)
            self._state = state
            load({check.kind for service in services for check in service.checks})
            delivery = self._make_delivery(state)
            recorder, desk, watch = await self._make_watch(services, state, delivery)
            stack.push_async_callback(last_words, recorder)
            self._recorder, self._desk, self._watch = recorder, desk, watch
            calendar = self._make_calendar(state, delivery)
            self._board.newest_outcome = asyncio.get_running_loop().time()
            loops: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
                "state": state.tending,
                "recorder": recorder.run,
                "calendar": calendar.run,
                "watch": watch.run,
                "desk": desk.run,
                "delivery": delivery.run,
            }
            if self._backups:
                loops["backups"] = self._backups.run
            if heartbeat := self._make_heartbeat():
                loops["heartbeat"] = heartbeat.run
            self._expect_signs(recorder, calendar, watch, desk, delivery)
            kept = "memory" if state.in_memory else str(state.path)
            log.info("watching", services=len(services), port=port, state=kept, channels=[*delivery.statuses] or "none")
            async with asyncio.TaskGroup() as group:
                for name, loop in loops.items():
                    group.create_task(loop(), name=name)

    def _make_delivery(self, state: StateFile) -> Delivery:
        def trouble(conn: sqlite3.Connection, trouble: Trouble) -> None:
            if self._desk:
                self._desk.trouble(conn, trouble)

        delivery = Delivery(self._channels, transact=state.transact, wall=self._wall, on_trouble=trouble)
        self._board.outbox = delivery.statuses
        return delivery

    async def _make_watch(
        self, services: Sequence[Service], state: StateFile, delivery: Delivery
    ) -> tuple[Recorder, Desk, Watch]:
        """The watch, and through whom what it sees goes: the desk, then the recorder."""
        settings, alerts, loop = self._configuration.watch, self._configuration.alerts, asyncio.get_running_loop()
        known, tracks = Facts(await state.read(load_facts)), await state.read(load_tracks)
        recorder = Recorder(state, services, instance=settings.instance, known=known, written=delivery.wake)
        lookout = Lookout(services, alerts.anchors)
        desk = Desk(
            services,
            state=state,
            recorder=recorder,
            board=self._board,
            channels=self._channels,
            settings=alerts,
            tracks=tracks,
            book=await state.read(lambda conn: logbook.load_book(conn, now=loop.time(), wall=self._wall())),
            silences=await state.read(lambda conn: logbook.load_silences(conn, wall=self._wall())),
            wall=self._wall,
            blind=lookout.blindness,
        )

        async def probe(check: Check, timeout: float) -> Outcome:
            return await run_check(check, self._context, timeout=timeout)

        watch = Watch(
            services,
            board=self._board,
            probe=probe,
            keeper=desk,
            wall=self._wall,
            tracks=tracks,
            confirm_interval=settings.confirm_interval,
            confirm_timeout=min(CONFIRM_TIMEOUT, settings.probe_timeout),
            most=room_for_probes(),
            tell=tell,
            quiet=self._quiet,
            weigh=lookout.weigh,
        )
        for name, status in self._board.services.items():
            status.facts.update({fact.name: fact.value for fact in known.of(name).values()})
        return recorder, desk, watch

    def _make_calendar(self, state: StateFile, delivery: Delivery) -> Calendar:
        """The calendar with everything that is done at a time of the day."""
        calendar, alerts, backup = Calendar(self._wall), self._configuration.alerts, self._configuration.backup
        Jobs(state, wall=self._wall).enter(calendar)
        if backup:
            self._backups = Backups(backup, board=self._board, state=state, wall=self._wall, ended=self._backup_ended)
            self._backups.enter(calendar)
        if alerts.self_test:
            test = SelfTest(
                [*delivery.statuses],
                transact=state.transact,
                wall=self._wall,
                wake=delivery.wake,
                instance=self._board.instance,
                status_url=alerts.public_url,
            )
            calendar.at("self_test", test.run, trigger_of(SELF_TEST, 0))
        return calendar

    def _make_heartbeat(self) -> Heartbeat | None:
        url = self._configuration.alerts.heartbeat_url
        if url is None:
            return None
        self._heartbeat = Heartbeat(url, alive=self._alive, instance=self._board.instance, wall=self._wall)
        return self._heartbeat

    def _expect_signs(
        self, recorder: Recorder, calendar: Calendar, watch: Watch, desk: Desk, delivery: Delivery
    ) -> None:
        """From now on every loop has to advance."""
        patience = watch.patience * STANDS_STILL
        self._signs.expect("watch", within=patience, progress=lambda: self._board.newest_outcome)
        for name, progress in (
            ("recorder", lambda: recorder.rounds),
            ("calendar", lambda: calendar.looks),
            ("desk", lambda: desk.turns),
            ("delivery", lambda: delivery.looks),
        ):
            self._signs.expect(name, within=LOOP_STANDS_STILL, progress=progress)

    @contextlib.asynccontextmanager
    async def _own_folder(self) -> AsyncIterator[FolderLock]:
        """Gives the lock of the state folder once it is ours; standing by behind another daemon until then."""
        given = self._configuration.state
        folder, warning = choose_folder(given.folder)
        if warning:
            log.warning("state_is_temporary", says=warning)
        lock = FolderLock(folder, instance=self._board.instance, clock=self._wall)

        def say(sentence: str) -> None:
            self._board.standby = True
            log.warning("standing_by", says=sentence)

        await lock.wait(on_wait=say)
        self._board.standby = False
        if lock.problem:
            log.warning("state_folder_not_locked", says=lock.problem)
        try:
            yield lock
        finally:
            lock.release()
            if not given.folder:
                shutil.rmtree(folder, ignore_errors=True)

    async def _give_signs_of_life(self) -> None:
        """Beats the watchdog's drum, and shows what is counted elsewhere."""
        watchdog = Watchdog()
        watchdog.start()
        try:
            while True:
                watchdog.beat()
                self._signs.turn()
                self._board.heartbeat_at = self._heartbeat.last_sent_at if self._heartbeat else None
                self._board.probes_hung = self._context.hung
                self._board.outcomes_dropped = self._recorder.dropped if self._recorder else 0
                await asyncio.sleep(BEAT)
        finally:
            watchdog.stop()

    def _quiet(self, service: Service) -> bool:
        """Whether a slow answer of `service` is our own doing: a backup reads from it, or writes to it, just now."""
        return bool(self._board.backup and self._board.backup.running and service.kind in BUSY_WITH_BACKUPS)

    def _turned(self, notice: Notice) -> None:
        """The state file failed, or is back."""
        self._board.state_problem = notice.problem
        if notice.fresh and self._recorder and self._desk:
            self._recorder.save_again()
            self._desk.save_again()

    def _healthy(self) -> tuple[bool, Mapping[str, str]]:
        """The daemon's own health: whether its checks come to an end. Never a word about services."""
        now = asyncio.get_running_loop().time()
        if self._board.standby:
            return True, {"watch": "standing by: another daemon keeps its state in this folder"}
        if self._watch is None:
            waited = now - self._began
            return waited < STARTING, {"watch": f"opening its state for {waited:.0f} s"}
        why = {"state": self._board.state_problem} if self._board.state_problem else {}
        if still := standing_still(self._signs.stale()):
            return False, {"watch": still, **why}
        return True, {"watch": "turning", **why}

    def _alive(self) -> tuple[bool, str]:
        """What the heartbeat says: every loop advances, and what is to be told gets out."""
        overdue = [
            f"alerts to {name} have waited for {duration(waited)}"
            for name, status in self._board.outbox.items()
            if status.oldest_at is not None and (waited := self._wall() - status.oldest_at) > OVERDUE
        ]
        trouble = [*filter(None, [standing_still(self._signs.stale())]), *overdue]
        return not trouble, "; ".join(trouble)

    def _backup_ended(self, run: Run) -> None:
        """Tells chat of a good backup where that was asked for; a bad one is told by the service `backups`."""
        if self._desk and self._configuration.alerts.on_success and run.exit_code == EXIT_DONE:
            size = f"{run.stored_bytes / 1e6:,.1f} MB stored"
            self._desk.notice("Backup taken", f"Restore point {run.point}: {size} in {duration(run.seconds)}.")

    async def _check_now(self) -> None:
        if self._watch:
            await self._watch.check_now()

    def _backup_now(self) -> bool:
        return self._backups is not None and self._backups.ask("somebody asked for it")

    async def _bars(self) -> Mapping[str, Sequence[Bar]]:
        if self._state is None:
            return {}
        names, now = list(self._board.services), self._wall()
        stands = standing(status.service for status in self._board.services.values())
        return await self._state.read(lambda conn: bars(conn, names, now, stands=stands))


async def last_words(recorder: Recorder) -> None:
    """Writes what was seen last; a disk that does not take it in time must not hold up the end."""
    try:
        async with asyncio.timeout(LAST_WORDS):
            await recorder.flush()
    except TimeoutError:
        log.warning("last_outcomes_not_written", seconds=LAST_WORDS)


def tell(flip: Flip) -> None:
    """Says a flip in one line that people can read, with its parts as keys; good news is no warning."""
    parts = {"cause": flip.cause and flip.cause.value, "evidence": flip.evidence, "remedy": flip.remedy}
    say = log.info if flip.new == State.UP else log.warning
    say(
        "flip",
        says=flip_line(flip),
        service=flip.service,
        old=flip.old.value,
        new=flip.new.value,
        **{name: part for name, part in parts.items() if part},
    )


def room_for_probes() -> int:
    """Raises the limit of open files as far as it goes, and gives how many probes fit under it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, 16_384 if hard == resource.RLIM_INFINITY else min(hard, 16_384))
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(16, wanted - SPARE_FILES)
