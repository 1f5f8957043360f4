"""All that works while this daemon owns its state folder: put together here, run together, asked here how it fares.

What a service's probe sees goes: watch → desk → recorder → state file, and from there: delivery → channels.
"""

import asyncio
import resource
import sqlite3
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
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
from monitor.backup_runs import SCHEMA as BACKUP_RUNS
from monitor.backup_runs import Run
from monitor.backups import EXIT_DONE, EXIT_LOCKED, EXIT_STOPPED, STORE_FULL, Backups, keeps_busy, with_backups
from monitor.backups import SERVICE as BACKUPS
from monitor.board import Board
from monitor.database import Schema
from monitor.desk import Desk
from monitor.facts import Facts, load_facts
from monitor.freshness import FailedRun
from monitor.heartbeat import Heartbeat
from monitor.history import load_tracks
from monitor.jobs import Jobs
from monitor.judge import Flip, State
from monitor.lookout import Lookout
from monitor.past import Past, past_of
from monitor.probes.base import Outcome, ProbeContext
from monitor.probes.table import load, run_check
from monitor.recorder import SCHEMAS, Recorder
from monitor.schedule import Calendar, trigger_of
from monitor.self_test import SelfTest
from monitor.spans import STANDS, Bar, bars, standing
from monitor.state import StateFile
from monitor.surveyor import Surveyor
from monitor.terminal import flip_line
from monitor.watch import Watch

log = structlog.get_logger()

TABLES = (*SCHEMAS, BACKUP_RUNS, logbook.SCHEMA, Schema(owner="outbox", steps=outbox.STEPS, live=outbox.LIVE))
CONFIRM_TIMEOUT = 5.0  # seconds a second look may take
CHECKS_STAND_STILL = 3.0  # intervals of the quickest check without any check's end, beyond which /healthz says so
LOOP_STANDS_STILL = 60.0  # seconds without a turn, for a loop that turns every few seconds
OVERDUE = 600.0  # seconds an alert may wait for its provider before the heartbeat says so
LAST_WORDS = 1.0  # seconds for writing what was seen last, when told to stop
SELF_TEST = "0 10 * * mon"  # in working hours of most of the world
SPARE_FILES = 128  # file descriptors that are not for probes


class Crew:
    """The loops of a daemon at work. To be made on the loop they run on, by `assemble`, once the state is open."""

    def __init__(
        self, configuration: Configuration, *, state: StateFile, board: Board, wall: Callable[[], float]
    ) -> None:
        self._configuration = configuration
        self._state = state
        self._board = board
        self._wall = wall
        self._context = ProbeContext()
        self._signs = LoopSigns(time.monotonic)
        self._backups: Backups | None = None
        self._context.failed_backup = self._failed_backup
        self._context.first_backup = lambda: board.backup is not None and not board.backup.last
        self._heartbeat: Heartbeat | None = None
        self._calendar = Calendar(wall)
        channels = open_channels(configuration.alerts)
        self._channels = channels
        self._delivery = Delivery(channels, transact=state.transact, wall=wall, on_trouble=self._trouble)
        board.outbox = self._delivery.statuses
        self.desk: Desk
        self.watch: Watch
        self._recorder: Recorder

    @classmethod
    async def assemble(
        cls, configuration: Configuration, *, state: StateFile, board: Board, wall: Callable[[], float]
    ) -> "Crew":
        """Everybody, with what was remembered from before; nobody works yet."""
        crew = cls(configuration, state=state, board=board, wall=wall)
        services = with_backups(configuration.discovery.services, configuration.backup, wall())
        load({check.kind for service in services for check in service.checks})
        await crew._put_to_watch(services)
        crew._enter_jobs()
        crew._expect_signs()
        return crew

    async def _put_to_watch(self, services: Sequence[Service]) -> None:
        """The watch, and through whom what it sees goes."""
        settings, alerts, loop = self._configuration.watch, self._configuration.alerts, asyncio.get_running_loop()
        state, wall = self._state, self._wall
        known, tracks = Facts(await state.read(load_facts)), await state.read(load_tracks)
        self._recorder = Recorder(state, services, instance=settings.instance, known=known, written=self._delivery.wake)
        lookout = Lookout(services, alerts.anchors)
        self.desk = Desk(
            services,
            state=state,
            recorder=self._recorder,
            board=self._board,
            channels=self._channels,
            settings=alerts,
            tracks=tracks,
            book=await state.read(lambda conn: logbook.load_book(conn, now=loop.time(), wall=wall())),
            forgotten=await state.read(logbook.load_forgotten),
            silences=await state.read(lambda conn: logbook.load_silences(conn, wall=wall())),
            wall=wall,
            blind=lookout.blindness,
        )

        async def probe(check: Check, timeout: float) -> Outcome:
            return await run_check(check, self._context, timeout=timeout)

        self.watch = Watch(
            services,
            board=self._board,
            probe=probe,
            keeper=self.desk,
            wall=wall,
            tracks=tracks,
            confirm_interval=settings.confirm_interval,
            confirm_timeout=min(CONFIRM_TIMEOUT, settings.probe_timeout),
            usual_timeout=settings.probe_timeout,
            most=room_for_probes(),
            tell=tell,
            quiet=partial(keeps_busy, self._board),
            weigh=Surveyor(services, self._context).beside(lookout.weigh),
        )
        for name, status in self._board.services.items():
            status.facts.update({fact.name: fact.value for fact in known.of(name).values()})
        self._board.newest_outcome = loop.time()

    def _enter_jobs(self) -> None:
        """What is done at a time of the day or the week; and the heartbeat, which has a pace of its own."""
        alerts, backup = self._configuration.alerts, self._configuration.backup
        Jobs(self._state, wall=self._wall).enter(self._calendar)
        if backup:
            self._backups = Backups(
                backup, board=self._board, state=self._state, wall=self._wall, ended=self._backup_ended
            )
            self._backups.enter(self._calendar)
        if alerts.self_test:
            test = SelfTest(
                [*self._delivery.statuses],
                transact=self._state.transact,
                wall=self._wall,
                wake=self._delivery.wake,
                instance=self._board.instance,
                status_url=alerts.public_url,
            )
            self._calendar.at("self_test", test.run, trigger_of(SELF_TEST, 0))
        if alerts.heartbeat_url:
            self._heartbeat = Heartbeat(
                alerts.heartbeat_url, alive=self._alive, instance=self._board.instance, wall=self._wall
            )

    def _expect_signs(self) -> None:
        """From now on every loop has to advance."""
        patience = self.watch.patience * CHECKS_STAND_STILL
        self._signs.expect("watch", within=patience, progress=lambda: self._board.newest_outcome)
        for name, progress in (
            ("recorder", lambda: self._recorder.rounds),
            ("calendar", lambda: self._calendar.looks),
            ("desk", lambda: self.desk.turns),
            ("delivery", lambda: self._delivery.looks),
        ):
            self._signs.expect(name, within=LOOP_STANDS_STILL, progress=progress)

    async def run(self) -> None:
        """Works until cancelled; what was seen last is written then."""
        loops: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "state": self._state.tending,
            "recorder": self._recorder.run,
            "calendar": self._calendar.run,
            "watch": self.watch.run,
            "desk": self.desk.run,
            "delivery": self._delivery.run,
        }
        if self._backups:
            loops["backups"] = self._backups.run
        if self._heartbeat:
            loops["heartbeat"] = self._heartbeat.run
        try:
            async with asyncio.TaskGroup() as group:
                for name, loop in loops.items():
                    group.create_task(loop(), name=name)
        finally:
            await self._context.aclose()
            await last_words(self._recorder)

    def healthy(self) -> tuple[bool, Mapping[str, str]]:
        """For /healthz: whether every loop advances. Never a word about services or providers."""
        why = {"state": self._board.state_problem} if self._board.state_problem else {}
        still = standing_still(self._signs.stale())
        return not still, {"watch": still or "turning", **why}

    def show(self) -> None:
        """Once a second: lets the loops' time pass, and puts on the board what is counted elsewhere."""
        self._signs.turn()
        self._board.heartbeat_at = self._heartbeat.last_sent_at if self._heartbeat else None
        self._board.probes_hung = self._context.hung
        self._board.outcomes_dropped = self._recorder.dropped

    def save_again(self) -> None:
        """Has everything written again that is known in memory: the database is a fresh one."""
        self._recorder.save_again()
        self.desk.save_again()

    def backup_now(self) -> bool:
        """Has a backup made; False where none is taken, or one is under way."""
        return self._backups is not None and self._backups.ask("somebody asked for it")

    async def bars(self) -> Mapping[str, Sequence[Bar]]:
        """The last 24 hours of each service."""
        names, now = list(self._board.services), self._wall()
        stands = standing(status.service for status in self._board.services.values())
        return await self._state.read(lambda conn: bars(conn, names, now, stands=stands))

    async def past(self, service: Service) -> Past:
        """What is remembered of one service."""
        stands, now = standing([service]).get(service.name, STANDS), self._wall()
        return await self._state.read(lambda conn: past_of(conn, service.name, now, stands=stands))

    def _alive(self) -> tuple[bool, str]:
        """What the heartbeat says: every loop advances, and what is to be told gets out."""
        overdue = [
            f"alerts to {name} have waited for {duration(waited)}"
            for name, status in self._board.outbox.items()
            if status.oldest_at is not None and (waited := self._wall() - status.oldest_at) > OVERDUE
        ]
        trouble = [*filter(None, [standing_still(self._signs.stale())]), *overdue]
        return not trouble, "; ".join(trouble)

    def _failed_backup(self) -> FailedRun | None:
        """The newest run, if it ended by itself and left nothing in the store."""
        last = self._board.backup.last if self._board.backup else {}
        if not last or last["point"] or last["exit_code"] in (None, EXIT_DONE, EXIT_LOCKED, EXIT_STOPPED):
            return None
        return FailedRun(
            age_seconds=max(0.0, self._wall() - last["started_at"]),
            error=last["error"],
            full=last["error_class"] == STORE_FULL,
        )

    def _trouble(self, conn: sqlite3.Connection, trouble: Trouble) -> None:
        self.desk.trouble(conn, trouble)

    def _backup_ended(self, run: Run) -> None:
        """Tells chat of a good backup where that was asked for; a bad one is told by the service `backups`, at once."""
        self.watch.look_at(BACKUPS)
        if self._configuration.alerts.on_success and run.exit_code == EXIT_DONE:
            size = f"{run.stored_bytes / 1e6:,.1f} MB stored"
            self.desk.notice("Backup taken", f"Restore point {run.point}: {size} in {duration(run.seconds)}.")


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
