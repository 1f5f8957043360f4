"""What several checks ask of one server and need only once, and what is remembered of a server between two runs."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from contextvars import Context
from typing import Any, Generic, TypeVar

T = TypeVar("T")

MOST = 1024  # answers, and rows of samples, kept at once
LONGEST = 60.0  # seconds any question may take, whatever deadline its asker has
FAILED = 1.0  # seconds a failure is kept: for those who ask at the same moment, and for nobody after them
SAMPLES = 32  # kept of one number over its window


class _Flight:
    """One question under way, or its answer. `ended` is when it came, on the loop's clock."""

    __slots__ = ("ended", "max_age", "task")

    def __init__(self, task: "asyncio.Task[Any]", max_age: float) -> None:
        self.task = task
        self.max_age = max_age
        self.ended: float | None = None
        task.add_done_callback(self._end)

    def _end(self, task: "asyncio.Task[Any]") -> None:
        self.ended = task.get_loop().time()
        if task.cancelled() or task.exception() is not None:  # asked for, so that asyncio does not call it forgotten
            self.max_age = min(self.max_age, FAILED)

    def stale(self, now: float, max_age: float) -> bool:
        return self.ended is not None and now - self.ended >= min(self.max_age, max_age)


class Answers:
    """Questions that are asked once for all who ask them at the same time. Belongs to one event loop."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight] = {}
        self._closed = False

    async def get(self, key: Hashable, ask: Callable[[], Awaitable[T]], max_age: float) -> T:
        """Gives the answer to `key` that is at most `max_age` seconds old, or waits for the one that `ask` gets.

        Whoever comes while it is under way waits for the same one, and one who stops waiting ends it for nobody else.
        What `ask` raises is raised to everybody who waits, and forgotten within a second.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        flight = self._flights.get(key)
        if flight is None or flight.stale(now, max_age):
            if self._closed:
                raise RuntimeError("the context is closed")
            self._tidy(now)
            # In a context of its own: what the first asker notes of its own progress is not the others'.
            flight = _Flight(loop.create_task(_bounded(ask), context=Context()), max_age)
            self._flights[key] = flight
        answer: T = await asyncio.shield(flight.task)
        return answer

    def _tidy(self, now: float) -> None:
        """Drops what nobody will read any more; beyond MOST the oldest answer goes too."""
        for key in [key for key, flight in self._flights.items() if flight.stale(now, flight.max_age)]:
            del self._flights[key]
        if len(self._flights) >= MOST:
            settled = [key for key, flight in self._flights.items() if flight.ended is not None]
            for key in settled[: len(self._flights) - MOST + 1]:
                del self._flights[key]

    async def aclose(self) -> None:
        """Ends every question that is under way, and takes no further one."""
        self._closed = True
        tasks = [flight.task for flight in self._flights.values() if not flight.task.done()]
        self._flights.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)


async def _bounded(ask: Callable[[], Awaitable[T]]) -> T:
    async with asyncio.timeout(LONGEST):
        return await ask()


class Samples(Generic[T]):
    """What was seen earlier of a number that tells something only by how it changes. Times are the loop's clock."""

    def __init__(self) -> None:
        self._rows: dict[Hashable, deque[tuple[float, T]]] = {}

    def since(self, key: Hashable, value: T, window: float, now: float) -> tuple[float, T] | None:
        """Notes `value` as of `now`; gives the oldest one of `key` within `window` seconds and how long ago it was.

        None for the first. About SAMPLES are kept of one key, so the window may be cut short by a share of 1 / SAMPLES;
        with more than MOST keys the one that was noted least recently is forgotten.
        """
        row = self._rows.pop(key, None) or deque()
        self._rows[key] = row
        while row and now - row[0][0] > window:
            row.popleft()
        before = (now - row[0][0], row[0][1]) if row else None
        # The newest is always kept as it is; it stays for good once it is far enough from the one before it.
        if len(row) > 1 and row[-1][0] - row[-2][0] < window / SAMPLES:
            row.pop()
        row.append((now, value))
        while len(self._rows) > MOST:
            del self._rows[next(iter(self._rows))]
        return before

    def newest(self, key: Hashable) -> T | None:
        """The value that was noted last, whatever its age; None when there is none."""
        row = self._rows.get(key)
        return row[-1][1] if row else None

    def forget(self, key: Hashable) -> None:
        """Begins anew with `key`, such as after a restart that set its counters back."""
        self._rows.pop(key, None)
