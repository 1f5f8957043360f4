"""Delivery: empties the outbox, one worker a channel, so that a provider that hangs delays nobody else.

Times to wait are on the loop's clock and in memory; the wall clock is only written down. What a restart must not
forget is in the outbox: what waits, what was tried, and a rest that a provider asked for.
"""

import asyncio
import contextlib
import random
import sqlite3
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import httpx
import structlog

from alerts import outbox
from alerts.alert import Alert, Kind
from alerts.channels.base import Channel, DeliveryError, Reason, Receipt
from alerts.order import Row, read
from alerts.outbox import Claim, Message
from alerts.patience import Patience, Timing, Verdict
from alerts.trouble import DeliveryStatus, Matter, Trouble

T = TypeVar("T")

log = structlog.get_logger()


class Transact(Protocol):
    """Runs a function in one transaction of the state file; see monitor.state."""

    def __call__(self, fn: Callable[[sqlite3.Connection], T], /) -> Coroutine[Any, Any, T]: ...


OnTrouble = Callable[[sqlite3.Connection, Trouble], None]


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
        self._workers = [_Worker(self, channel, Patience(timing=self._timing, random=random)) for channel in channels]
        self.statuses: Mapping[str, DeliveryStatus] = {one.status.channel: one.status for one in self._workers}
        self.on_trouble = on_trouble
        self.wall = wall
        self._transact = transact
        self._new_client = client
        self._client: httpx.AsyncClient | None = None
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
            except Exception as error:
                # Proxy and certificate variables may hold any nonsense; that must not cost a message.
                text = f"no request can be made with HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE as they are: {error}"
                raise DeliveryError(Reason.UNREACHABLE, text) from error
        return self._client

    async def _count(self) -> None:
        """Keeps the backlog of every status up to date."""
        while True:
            self._news.clear()
            now = self.wall()
            found = await self.keep(partial(outbox.backlog, now=now))
            for name, status in self.statuses.items():
                one = found.get(name)
                status.pending, status.oldest_at = (one.pending, one.oldest_at) if one else (0, None)
            await _set(self._news, within=self._timing.look)

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


class _Worker:
    """Delivers to one channel, one message at a time."""

    def __init__(self, delivery: Delivery, channel: Channel, patience: Patience) -> None:
        self.status = DeliveryStatus(channel=channel.name)
        self.wake = asyncio.Event()
        self._delivery = delivery
        self._channel = channel
        self._patience = patience

    async def run(self) -> None:
        """Rest, take what is next, send it, keep what came of it; until cancelled."""
        loop, name, now = asyncio.get_running_loop(), self._channel.name, self._delivery.wall()
        asked, self.status.refused = await self._delivery.keep(lambda conn: outbox.rests(conn, name, now=now))
        self._patience.rests_until = loop.time() + asked
        while True:
            await asyncio.sleep(max(0.0, self._patience.rests_until - loop.time()))
            self.wake.clear()
            claim = await self._claim()
            if claim.message is not None:
                await self._deliver(claim.message)
                continue
            waits = [at - loop.time() for at in self._patience.not_before.values()]
            waits += [self._patience.timing.look] if claim.held is None else [self._patience.timing.look, claim.held]
            await _set(self.wake, within=min(waits))

    async def _claim(self) -> Claim:
        now, patience = self._delivery.wall(), self._patience
        failures, alone, group = dict(patience.failures), frozenset(patience.alone), patience.group
        resting = patience.resting(asyncio.get_running_loop().time())
        claim = await self._delivery.keep(
            lambda conn: outbox.claim(
                conn, self._channel, now=now, failures=failures, resting=resting, alone=alone, group=group
            )
        )
        patience.keep_only(claim.waiting)
        self.status.parked += len(claim.spoilt)
        for row in claim.spoilt:
            log.error("alert_unreadable", channel=row.channel, incident=row.incident, kind=row.kind.value)
        return claim

    async def _deliver(self, message: Message) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            receipt = await self._send(message)
        except DeliveryError as error:
            verdict = self._patience.failed(message, error, loop.time())
            self.status.failed[error.reason] += 1
            self.status.last_error, self.status.last_error_at = str(error), self._delivery.wall()
            if verdict.split:
                log.warning("group_not_taken", says=str(error), **_about(message))
            elif verdict.park:
                await self._park(message, error)
            else:
                await self._put_off(message, error, verdict, took=loop.time() - began)
        else:
            await self._settle(message, receipt)

    async def _send(self, message: Message) -> Receipt:
        """Send it within the deadline, whatever the channel makes of being cancelled. Raises DeliveryError."""
        timing, client = self._patience.timing, self._delivery.client()
        task = asyncio.create_task(self._channel.send(message.alert, client, ref=message.ref))
        try:
            await asyncio.wait({task}, timeout=timing.send)
        finally:
            in_time = task.done()
            if not in_time:
                task.cancel()
                await asyncio.wait({task}, timeout=timing.leave)
                task.add_done_callback(_hear)
        if not in_time:
            raise DeliveryError(Reason.TIMEOUT, f"no answer within {timing.send:g} s")
        try:
            return task.result()
        except DeliveryError:
            raise
        except (Exception, asyncio.CancelledError) as error:
            # A fault of ours, most likely in how this one message is put into words: it must not cost the others.
            log.exception("channel_failed", **_about(message))
            raise DeliveryError(Reason.REJECTED, f"our own fault: {type(error).__name__}", permanent=True) from error

    async def _settle(self, message: Message, receipt: Receipt) -> None:
        now = self._delivery.wall()
        await self._delivery.keep(
            lambda conn: outbox.settle(conn, message, now=now, said=receipt.said, ref=receipt.ref)
        )
        self._patience.sent(message, asyncio.get_running_loop().time())
        self.status.sent += len(message.rows)
        self.status.last_sent_at, self.status.refused = now, False
        self._delivery.recount()
        log.info("alert_sent", says=receipt.said, attempts=message.rows[0].attempts, **_about(message))

    async def _put_off(self, message: Message, error: DeliveryError, verdict: Verdict, *, took: float) -> None:
        """Keep that it waits, give up what has waited too long, and say both."""
        now, name, reason, said = self._delivery.wall(), self._channel.name, error.reason.value, str(error)
        bound, wait = self._patience.timing.give_up, took + verdict.wait

        def keep(conn: sqlite3.Connection) -> tuple[bool, tuple[Row, ...]]:
            outbox.put_off(conn, message, wait=wait, reason=reason, said=said, all_wait=verdict.everybody)
            if verdict.asked:
                outbox.ask_to_rest(conn, name, now=now, seconds=verdict.asked)
            news = verdict.refused and outbox.refuse(conn, name, now=now)
            if news:
                self._tell(conn, Matter.REFUSED, error, now, _alerts(message))
            over = outbox.give_up(conn, name, now=now, bound=bound)
            self._tell(conn, Matter.GIVEN_UP, error, now, read(over))
            return news, over

        news, over = await self._delivery.keep(keep)
        self.status.refused |= verdict.refused
        self.status.parked += len(over)
        self.status.given_up += len(over)
        again = {"attempts": message.rows[0].attempts, "again_in": round(verdict.wait, 1)}
        log.warning("alert_not_sent", reason=reason, says=said, **again, **_about(message))
        if news:
            log.error("channel_refused", channel=name, says=said)
        for row in over:
            log.error("alert_given_up", channel=name, incident=row.incident, kind=row.kind.value, says=said)
        if news or over:
            self._delivery.wake()

    async def _park(self, message: Message, error: DeliveryError) -> None:
        now, reason, said = self._delivery.wall(), error.reason.value, str(error)

        def keep(conn: sqlite3.Connection) -> None:
            outbox.park(conn, message, now=now, reason=reason, said=said)
            self._tell(conn, Matter.PARKED, error, now, _alerts(message))

        await self._delivery.keep(keep)
        self.status.parked += len(message.rows)
        log.error("alert_parked", reason=reason, says=said, **_about(message))
        self._delivery.wake()

    def _tell(
        self, conn: sqlite3.Connection, matter: Matter, error: DeliveryError, now: float, alerts: Iterable[Alert]
    ) -> None:
        """Tell of trouble; not of a notice or a reminder that failed, or two broken channels would go on for ever."""
        lost = tuple(alert for alert in alerts if alert.kind not in (Kind.NOTICE, Kind.REMINDER))
        if lost or matter == Matter.REFUSED:
            trouble = Trouble(
                channel=self._channel.name,
                matter=matter,
                reason=error.reason.value,
                said=str(error),
                at=now,
                alerts=lost,
            )
            self._delivery.on_trouble(conn, trouble)


async def _set(event: asyncio.Event, *, within: float) -> None:
    """Waits until `event` is set, `within` seconds at most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, within)):
            await event.wait()


def _alerts(message: Message) -> tuple[Alert, ...]:
    return message.alert.members or (message.alert,)


def _about(message: Message) -> dict[str, Any]:
    """What a message is, for the log."""
    return {"channel": message.channel, "kind": message.alert.kind.value, "incident": " ".join(message.incidents)}


def _hear(task: "asyncio.Task[Receipt]") -> None:
    """Take notice of how a request that was left behind ended, so that nobody complains that we did not."""
    if not task.cancelled():
        task.exception()
