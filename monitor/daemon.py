"""The daemon: build → start → wait for a signal → stop in reverse."""

import asyncio
import contextlib
import shutil
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from importlib.metadata import version

import structlog

from config.configuration import Configuration
from config.services import Service
from monitor.board import Board
from monitor.crew import TABLES, Crew
from monitor.folder import FolderLock, choose_folder
from monitor.past import Past
from monitor.spans import Bar
from monitor.state import StateFile
from monitor.store import Notice
from monitor.watchdog import Watchdog
from monitor.web.app import bind, build_app, serve

log = structlog.get_logger()

STARTING = 60.0  # seconds that opening the state may take
BEAT = 1.0  # seconds between two signs of life to the watchdog


class Daemon:
    """One daemon. `wall` is the time to record, epoch seconds; it decides nothing but calendar jobs."""

    def __init__(self, configuration: Configuration, *, wall: Callable[[], float] = time.time) -> None:
        self._configuration = configuration
        self._wall = wall
        self._board = Board(instance=configuration.watch.instance, version=version("watchkeeper"), started_at=wall())
        self._crew: Crew | None = None
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
            past=self._past,
            backup_now=self._backup_now,
            incidents=lambda: self._crew.desk if self._crew else None,
            api_token=web.api_token,
            metrics_token=web.metrics_token,
            wall=self._wall,
        )
        await serve(app, sockets, over)

    async def _keep_watch(self, port: int) -> None:
        """Owns the folder, then works until cancelled; leaves everything written."""
        async with contextlib.AsyncExitStack() as stack:
            lock = await stack.enter_async_context(self._own_folder())
            state = await StateFile.open(
                lock.path.parent, schemas=TABLES, clock=self._wall, on_notice=self._turned, may_return=lock.acquire
            )
            stack.push_async_callback(state.close)
            self._crew = await Crew.assemble(self._configuration, state=state, board=self._board, wall=self._wall)
            kept = "memory" if state.in_memory else str(state.path)
            channels = [*self._board.outbox] or "none"
            log.info("watching", services=len(self._board.services), port=port, state=kept, channels=channels)
            await self._crew.run()

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
        """Beats the watchdog's drum, and has shown what is counted elsewhere."""
        watchdog = Watchdog()
        watchdog.start()
        try:
            while True:
                watchdog.beat()
                if self._crew:
                    self._crew.show()
                await asyncio.sleep(BEAT)
        finally:
            watchdog.stop()

    def _turned(self, notice: Notice) -> None:
        """The state file failed, or is back."""
        self._board.state_problem = notice.problem
        if notice.fresh and self._crew:
            self._crew.save_again()

    def _healthy(self) -> tuple[bool, Mapping[str, str]]:
        """The daemon's own health. Never a word about services."""
        if self._board.standby:
            return True, {"watch": "standing by: another daemon keeps its state in this folder"}
        if self._crew is None:
            waited = asyncio.get_running_loop().time() - self._began
            return waited < STARTING, {"watch": f"opening its state for {waited:.0f} s"}
        return self._crew.healthy()

    async def _check_now(self) -> None:
        if self._crew:
            await self._crew.watch.check_now()

    def _backup_now(self) -> bool:
        return self._crew is not None and self._crew.backup_now()

    async def _bars(self) -> Mapping[str, Sequence[Bar]]:
        return await self._crew.bars() if self._crew else {}

    async def _past(self, service: Service) -> Past | None:
        return await self._crew.past(service) if self._crew else None
