"""The daemon's state, as the event loop uses it: the SQLite file, its writer and its reader.

One thread writes, another reads, and neither is the event loop's: a slow or hanging disk delays no probe.
"""

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

import structlog

from monitor.database import Schema, blames_statement
from monitor.reader import Reader
from monitor.store import Notice, Store
from monitor.worker import Worker

T = TypeVar("T")

FILE_NAME = "watchkeeper.db"
PROBE_BYTES = 65_536

log = structlog.get_logger()


class StateClosedError(RuntimeError):
    """The state file is closed, or was closed before this could be done."""


class StateFile:
    """The SQLite file, from the event loop. Make it with `await StateFile.open(...)`.

    When the file fails, state goes on in memory and the file is tried again every `retry_every` seconds. Lost by
    that: what memory holds when the daemon ends before the file is back; for a disk that hangs also what the file
    alone knew (its live rows cannot be read then) until the return, which adds memory's rows to the file's.
    """

    def __init__(
        self,
        folder: Path,
        *,
        schemas: tuple[Schema, ...],
        clock: Callable[[], float],
        on_notice: Callable[[Notice], None] | None,
        stall_after: float,
        retry_every: float,
        look_every: float,
        may_return: Callable[[], bool],
        tick: float,
    ) -> None:
        self.path = folder / FILE_NAME
        self._schemas = schemas
        self._clock = clock
        self._on_notice = on_notice
        self._stall_after = stall_after
        self._retry_every = retry_every
        self._look_every = look_every
        self._may_return = may_return
        self._tick = tick
        self._loop = asyncio.get_running_loop()
        self._store = self._new_store()
        self._writer = self._new_writer(self._store)
        self._reader: Worker[Reader] = Worker("state-reader", Reader(self.path), Reader.close)
        self._tender: asyncio.Task[None] | None = None
        self._returning: Future[bool] | None = None
        self._looking: Future[None] | None = None
        self._closed = False

    @classmethod
    async def open(
        cls,
        folder: Path,
        *,
        schemas: tuple[Schema, ...],
        clock: Callable[[], float] = time.time,
        on_notice: Callable[[Notice], None] | None = None,
        stall_after: float = 30.0,
        retry_every: float = 120.0,
        look_every: float = 10.0,
        may_return: Callable[[], bool] = lambda: True,
        tick: float = 1.0,
    ) -> "StateFile":
        """Open the file in `folder`, making both if need be; in memory when that cannot be done.

        `clock` gives epoch seconds, for names only. `on_notice` is called on the loop at every turn (file set aside,
        on in memory, back again); each is logged as well. A disk that has not answered for `stall_after` seconds is
        given up. Every `look_every` seconds it is looked whether the file still has its name. Before a return to it
        `may_return` is asked, on the writer thread, whether the folder is still ours. Raises sqlite3.Error only for a
        mistake in a schema.
        """
        state = cls(
            folder,
            schemas=schemas,
            clock=clock,
            on_notice=on_notice,
            stall_after=stall_after,
            retry_every=retry_every,
            look_every=look_every,
            may_return=may_return,
            tick=tick,
        )
        state._tender = asyncio.create_task(state._tend(), name="state-tender")
        try:
            await state._on_writer(lambda store: None if store.in_memory else store.open())
        except BaseException:
            await state.close()
            raise
        return state

    @property
    def problem(self) -> str | None:
        """Why the file is not in use, or None."""
        return self._store.problem

    @property
    def in_memory(self) -> bool:
        """Whether state is kept in memory for now."""
        return self._store.in_memory

    async def transact(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run `fn(conn)` in one transaction on the writer thread, after everything put before it.

        Gives what `fn` gives; raises what `fn` raises, with everything rolled back. `fn` must touch nothing but the
        connection: when the file fails under it, it is run again on the database that takes its place. Cancelling
        the caller does not cancel `fn`: it is done as a whole, unheard.
        """
        return await self._on_writer(lambda store: store.transaction(fn))

    async def read(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run `fn(conn)` on a snapshot, beside the writer and without blocking it. `fn` must only read."""
        if not self._store.in_memory:
            generation = self._store.generation
            future = self._reader.put(lambda reader: reader.read(fn, generation))
            try:
                return await asyncio.wait_for(asyncio.wrap_future(future), self._stall_after)
            except TimeoutError:
                self._reader.abandon()
                self._reader = Worker("state-reader", Reader(self.path), Reader.close)
            except sqlite3.Error as error:
                if blames_statement(error):
                    raise
        # In memory there is only the writer's connection; and a file that cannot be read is the writer's to judge.
        return await self.transact(fn)

    async def tending(self) -> None:
        """Wait until the file is closed; raise what ended the watch over the writer, should that ever fail.

        Without that watch a disk that hangs would be noticed by nobody, so its end must not go unheard.
        """
        if self._tender is not None:
            await asyncio.wait({self._tender})
            if not self._tender.cancelled():
                self._tender.result()

    async def tidy(self, *, pages: int = 64, steps: int = 200) -> None:
        """Give free pages back to the disk in small steps, letting other transactions go between them."""
        for _ in range(steps):
            if await self._on_writer(lambda store: store.tidy(pages)) == 0:
                return

    async def close(self, *, timeout: float = 2.0) -> None:
        """Finish what was put, close the file and end the threads. A disk that hangs is left behind after `timeout`."""
        if self._closed:
            return
        self._closed = True
        if self._tender is not None:
            self._tender.cancel()
            await asyncio.wait({self._tender})  # what it raised is for `tending` to tell
        last = self._writer.put(lambda _store: None)
        try:
            await asyncio.wait_for(asyncio.wrap_future(last), timeout)
        except TimeoutError:
            self._store.abandoned = True
            log.warning("state_close_timed_out", path=str(self.path), seconds=timeout)
        for jobs in (self._writer.abandon(), self._reader.abandon()):
            for job in jobs:
                if not job.future.done():
                    job.future.set_exception(StateClosedError(f"{self.path} was closed"))
        await asyncio.to_thread(self._writer.join, 0.5)
        await asyncio.to_thread(self._reader.join, 0.5)

    async def _on_writer(self, do: Callable[[Store], T]) -> T:
        if self._closed:
            raise StateClosedError(f"{self.path} is closed")
        # A cancelled caller does not take its job with it, or a flip could be seen and not kept: see Worker.put.
        return await asyncio.wrap_future(self._writer.put(do))

    def _new_store(self) -> Store:
        return Store(self.path, self._schemas, self._clock, self._tell)

    def _new_writer(self, store: Store) -> Worker[Store]:
        return Worker("state-writer", store, Store.close)

    def _tell(self, notice: Notice) -> None:
        """Called on the writer thread: log the notice and hand it to the loop."""
        level = log.error if notice.problem else log.warning
        level("state_file_turned", sentence=notice.sentence, in_memory=notice.problem is not None)
        if self._on_notice is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._on_notice, notice)

    async def _tend(self) -> None:
        """Notice a writer that hangs and a file that is gone, and try to return to the file.

        Counts its own ticks instead of reading a clock: a process that was stopped for a minute has not hung.
        """
        stalled = waited = unseen = 0
        job: int | None = None
        while True:
            await asyncio.sleep(self._tick)
            running = self._writer.running
            stalled = stalled + 1 if running is not None and running == job else 0
            job = running
            if stalled * self._tick >= self._stall_after:
                self._give_up_writer()
                stalled, job = 0, None
            unseen += 1
            if unseen * self._tick >= self._look_every and (self._looking is None or self._looking.done()):
                unseen = 0
                self._looking = self._writer.put(Store.look)
                self._looking.add_done_callback(self._looked)
            waited = waited + 1 if self._store.in_memory else 0
            if waited * self._tick >= self._retry_every:
                waited = 0
                # Not awaited: the ticks must go on, for the disk may hang during the return itself.
                if await self._disk_takes_bytes():
                    self._returning = self._writer.put(lambda store: self._may_return() and store.come_back())
                    self._returning.add_done_callback(self._returned)

    def _looked(self, looking: "Future[None]") -> None:
        """Called on the writer thread: say what a look at the file broke on, for nobody waits for it."""
        error = looking.exception()
        if error and not isinstance(error, StateClosedError):
            log.error("state_look_failed", path=str(self.path), exc_info=error)

    def _returned(self, returning: "Future[bool]") -> None:
        """Called on the writer thread: say why a return to the file failed, for nobody waits for it."""
        if error := returning.exception():
            log.error("state_return_failed", path=str(self.path), exc_info=error)

    def _give_up_writer(self) -> None:
        """The disk hangs: leave the thread to it and do all unfinished jobs in memory, on a new one."""
        self._store.abandoned = True
        jobs = [job for job in self._writer.abandon() if job.future is not self._returning]
        self._store = self._new_store()
        self._writer = self._new_writer(self._store)
        self._writer.put(lambda store: store.open_memory(f"has not answered for {self._stall_after:.0f} s"))
        self._writer.adopt(jobs)

    async def _disk_takes_bytes(self) -> bool:
        """Whether a small file can be written in the folder within the stall limit.

        On a thread of its own, because the writer, which holds all of the state now, must not touch a disk that hangs.
        """
        answer: Future[bool] = Future()
        target = self.path.with_name(self.path.name + ".probe")
        threading.Thread(target=_write_probe, args=(target, answer), name="state-probe", daemon=True).start()
        try:
            return await asyncio.wait_for(asyncio.wrap_future(answer), self._stall_after)
        except TimeoutError:
            return False


def _write_probe(target: Path, answer: "Future[bool]") -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with target.open("wb") as file:
                file.write(bytes(PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
        finally:
            target.unlink(missing_ok=True)
    except OSError:
        taken = False
    else:
        taken = True
    if answer.set_running_or_notify_cancel():
        answer.set_result(taken)
