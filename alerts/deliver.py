"""Delivery: empties the outbox, one worker a channel, so that a provider that hangs delays nobody else.

Times to wait are on the loop's clock and in memory; the wall clock is only written down. What a restart must not
forget is in the outbox: what waits, what was tried, and a rest that a provider asked for.
"""

import asyncio
import contextlib
import random
import sqlite3
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import httpx
import structlog

from alerts import outbox
from alerts.channels.base import Channel, DeliveryError, Reason
from alerts.patience import Patience, Timing
from alerts.trouble import DeliveryStatus
from alerts.worker import OnTrouble, Worker, is_set

T = TypeVar("T")

log = structlog.get_logger()


class Transact(Protocol):
    """Runs a function in one transaction of the state file; see monitor.state."""

    def __call__(self, fn: Callable[[sqlite3.Connection], T], /) -> Coroutine[Any, Any, T]: ...


def new_client() -> httpx.AsyncClient:
    """The client messages are sent with: through a proxy if the environment names one, never along a redirect.

    No connection is kept: one that has been idle for days fails just when it is needed.
    """
    return httpx.AsyncClient(
        trust_env=True,
        follow_redirects=False,
        timeout=httpx.Timeout(Timing().send),
        limits=httpx.Limits(max_keepalive_connections=0),
    )


def no_client(error: Exception) -> str:
    """What it means that no client can be made. The error's own text may hold a proxy's password, so it is not told."""
    return f"no request can be made with HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE as they are ({type(error).__name__})"


class Delivery:
    """Tells the channels what the outbox holds for them, until cancelled.

    `transact` runs a function in one transaction, `wall` gives epoch seconds. `on_trouble` is called inside the very
    transaction that keeps the trouble, on that transaction's thread: a notice that it puts for other channels is kept
    with it and told at once. It may be called again with the same when the database fails under it.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        *,
        transact: Transact,
        wall: Callable[[], float] = time.time,
        client: Callable[[], httpx.AsyncClient] = new_client,
        on_trouble: OnTrouble = lambda _conn, _trouble: None,
        random: Callable[[], float] = random.random,
        timing: Timing | None = None,
    ) -> None:
        self._timing = timing or Timing()
        self._random = random
        self._workers = [Worker(self, channel, Patience(timing=self._timing, random=random)) for channel in channels]
        self.statuses: Mapping[str, DeliveryStatus] = {one.status.channel: one.status for one in self._workers}
        self.on_trouble = on_trouble
        self.wall = wall
        self._transact = transact
        self._new_client = client
        self._client: httpx.AsyncClient | None = None
        self.looks = 0  # at the backlog: that it grows is this loop's sign of life
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Something was put: look at once. To be called on the event loop."""
        self._news.set()
        for worker in self._workers:
            worker.wake.set()

    def recount(self) -> None:
        """The backlog is another one."""
        self._news.set()

    async def run(self) -> None:
        """Delivers until cancelled. What is under way then stays in the outbox, to be sent again."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._count(), name="outbox backlog")
                group.create_task(self._tidy(), name="outbox upkeep")
                for worker in self._workers:
                    group.create_task(worker.run(), name=f"deliver to {worker.status.channel}")
        finally:
            if self._client is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._timing.leave):
                        await self._client.aclose()

    async def keep(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run `fn` in a transaction, again until it succeeds: what was sent must not be sent once more for that."""
        patience = Patience(timing=self._timing, random=self._random)
        failures = 0
        while True:
            try:
                return await self._transact(fn)
            except sqlite3.Error:
                failures += 1
                wait = patience.back_off(failures)
                log.exception("outbox_not_written", again_in=round(wait, 1))
                await asyncio.sleep(wait)

    def client(self) -> httpx.AsyncClient:
        """The client all channels share, made when it is first needed. Raises DeliveryError."""
        if self._client is None:
            try:
                self._client = self._new_client()
            except Exception as error:  # noqa: BLE001 - proxy and certificate variables may hold any nonsense
                raise DeliveryError(Reason.UNREACHABLE, no_client(error)) from None
        return self._client

    async def _count(self) -> None:
        """Keeps the backlog of every status up to date."""
        while True:
            self.looks += 1
            self._news.clear()
            now = self.wall()
            found = await self.keep(partial(outbox.backlog, now=now))
            for name, status in self.statuses.items():
                one = found.get(name)
                status.pending, status.oldest_at = (one.pending, one.oldest_at) if one else (0, None)
            await is_set(self._news, within=self._timing.look)

    async def _tidy(self) -> None:
        """Prunes what has long been told, and deals with what waits for channels that are no longer there."""
        while True:
            now = self.wall()
            await self.keep(partial(outbox.prune, now=now))
            strays = await self.keep(partial(outbox.drop_strays, channels=self.statuses, now=now))
            for name, (waiting, dropped) in strays.items():
                says = f"Messages wait for {name}, which is not set up; after a day they are dropped."
                log.warning("channel_not_configured", channel=name, waiting=waiting, dropped=dropped, says=says)
            await asyncio.sleep(self._timing.upkeep)
