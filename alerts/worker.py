"""One channel's deliveries: rest, take what is next from the outbox, send it, keep what came of it."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol, TypeVar

import httpx
import structlog

from alerts import outbox, rests
from alerts.alert import Alert, Kind
from alerts.channels.base import Channel, DeliveryError, Reason, Receipt
from alerts.order import Row, read
from alerts.outbox import Claim, Message
from alerts.patience import Patience, Verdict
from alerts.texts import clean, listed
from alerts.trouble import DeliveryStatus, Matter, Trouble

T = TypeVar("T")
TITLES_NAMED = 12  # in a line of the log
OnTrouble = Callable[[sqlite3.Connection, Trouble], None]

log = structlog.get_logger()


class Office(Protocol):
    """What the workers share; see alerts.deliver."""

    @property
    def on_trouble(self) -> OnTrouble: ...

    @property
    def wall(self) -> Callable[[], float]: ...

    def keep(self, fn: Callable[[sqlite3.Connection], T]) -> Coroutine[Any, Any, T]:
        """Run `fn` in a transaction, however long that takes."""
        ...

    def client(self) -> httpx.AsyncClient:
        """What requests are made with. Raises DeliveryError."""
        ...

    def wake(self) -> None:
        """Something was put for some channel."""

    def recount(self) -> None:
        """The backlog is another one."""


class Worker:
    """Delivers to one channel, one message at a time."""

    def __init__(self, office: Office, channel: Channel, patience: Patience) -> None:
        self.status = DeliveryStatus(channel=channel.name)
        self.wake = asyncio.Event()
        self._office = office
        self._channel = channel
        self._patience = patience

    async def run(self) -> None:
        """Rest, take what is next, send it, keep what came of it; until cancelled."""
        loop, name, now = asyncio.get_running_loop(), self._channel.name, self._office.wall()
        asked, self.status.refused = await self._office.keep(lambda conn: rests.left(conn, name, now=now))
        self._patience.rests_until = loop.time() + asked
        while True:
            await asyncio.sleep(max(0.0, self._patience.rests_until - loop.time()))
            self.wake.clear()
            claim = await self._claim()
            if claim.message is not None:
                await self._deliver(claim.message)
                continue
            waits = [at - loop.time() for at in self._patience.not_before.values()]
            await is_set(self.wake, within=min([*waits, self._patience.timing.look]))

    async def _claim(self) -> Claim:
        now, patience = self._office.wall(), self._patience
        failures, alone, group = dict(patience.failures), frozenset(patience.alone), patience.group
        resting = patience.resting(asyncio.get_running_loop().time())
        claim = await self._office.keep(
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
            self.status.last_error, self.status.last_error_at = str(error), self._office.wall()
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
        timing, client = self._patience.timing, self._office.client()
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
            # A fault of ours, of which nobody knows whether it lasts: it must cost neither the others nor this message.
            log.exception("channel_failed", **_about(message))
            text = f"our own fault: {type(error).__name__}"
            raise DeliveryError(Reason.REJECTED, text, permanent=len(message.rows) > 1) from error

    async def _settle(self, message: Message, receipt: Receipt) -> None:
        now = self._office.wall()
        await self._office.keep(lambda conn: outbox.settle(conn, message, now=now, said=receipt.said, ref=receipt.ref))
        self._patience.sent(message, asyncio.get_running_loop().time())
        self.status.sent += len(message.rows)
        self.status.last_sent_at, self.status.refused = now, False
        self._office.recount()
        log.info("alert_sent", says=receipt.said, attempts=message.rows[0].attempts, **_about(message))

    async def _put_off(self, message: Message, error: DeliveryError, verdict: Verdict, *, took: float) -> None:
        """Keep that it waits, give up what has waited too long, and say both."""
        now, name, reason, said = self._office.wall(), self._channel.name, error.reason.value, str(error)
        bound, wait = self._patience.timing.give_up, took + verdict.wait

        def keep(conn: sqlite3.Connection) -> tuple[bool, tuple[Row, ...]]:
            outbox.put_off(conn, message, wait=wait, reason=reason, said=said, all_wait=verdict.everybody)
            if verdict.asked:
                rests.begin(conn, name, now=now, seconds=verdict.asked)
            news = verdict.refused and rests.refuse(conn, name, now=now)
            if news:
                self._tell(conn, Matter.REFUSED, error, now, _alerts(message))
            over = outbox.give_up(conn, name, now=now, bound=bound + verdict.wait)
            self._tell(conn, Matter.GIVEN_UP, error, now, read(over))
            return news, over

        news, over = await self._office.keep(keep)
        self.status.refused |= verdict.refused
        self.status.parked += len(over)
        self.status.given_up += len(over)
        again = {"attempts": message.rows[0].attempts, "again_in": round(verdict.wait, 1)}
        log.warning("alert_not_sent", reason=reason, says=said, **again, **_about(message))
        if news:
            log.error("channel_refused", channel=name, says=said)
        for row in over:
            about = _named(read([row]))
            log.error("alert_given_up", channel=name, incident=row.incident, kind=row.kind.value, says=said, **about)
        if news or over:
            self._office.wake()

    async def _park(self, message: Message, error: DeliveryError) -> None:
        now, reason, said = self._office.wall(), error.reason.value, str(error)

        def keep(conn: sqlite3.Connection) -> None:
            outbox.park(conn, message, now=now, reason=reason, said=said)
            self._tell(conn, Matter.PARKED, error, now, _alerts(message))

        await self._office.keep(keep)
        self.status.parked += len(message.rows)
        log.error("alert_parked", reason=reason, says=said, **_about(message))
        self._office.wake()

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
            self._office.on_trouble(conn, trouble)


async def is_set(event: asyncio.Event, *, within: float) -> None:
    """Waits until `event` is set, `within` seconds at most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, within)):
            await event.wait()


def _alerts(message: Message) -> tuple[Alert, ...]:
    return message.alert.members or (message.alert,)


def _about(message: Message) -> dict[str, Any]:
    """What a message is, for the log."""
    known = {"channel": message.channel, "kind": message.alert.kind.value, "incident": " ".join(message.incidents)}
    return known | _named(_alerts(message))


def _named(alerts: Iterable[Alert]) -> dict[str, str]:
    """What alerts are about, for the log: the names of services, for programs, and what people call them."""
    alerts = tuple(alerts)
    service = " ".join(filter(None, (one.service for one in alerts)))
    title = listed([clean(one.title) for one in alerts], TITLES_NAMED)
    return {name: words for name, words in (("service", service), ("title", title)) if words}


def _hear(task: "asyncio.Task[Receipt]") -> None:
    """Take notice of how a request that was left behind ended, so that nobody complains that we did not."""
    if not task.cancelled():
        task.exception()
