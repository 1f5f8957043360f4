"""The weekly self-test: a notice through every channel, and word of a channel it did not get through on the others.

The notices go the way of every alert, through the outbox, so that what is tried is what an outage would need.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import structlog

from alerts import outbox
from alerts.alert import Alert, Severity
from alerts.deliver import Transact
from alerts.order import Fate
from monitor.letters import write_notice

PATIENCE = 600.0  # seconds a channel has: a provider that limits us, or is away for a moment, is not broken

log = structlog.get_logger()


class SelfTest:
    """A calendar job. `channels` are the channels' names, `wake` has the outbox looked at at once (Delivery.wake).

    PagerDuty makes of a notice an incident of severity info that ends at once: it wakes nobody.
    """

    def __init__(
        self,
        channels: Sequence[str],
        *,
        transact: Transact,
        wall: Callable[[], float],
        wake: Callable[[], None],
        instance: str,
        status_url: str = "",
        patience: float = PATIENCE,
    ) -> None:
        self._channels = tuple(channels)
        self._transact = transact
        self._wall = wall
        self._wake = wake
        self._instance = instance
        self._status_url = status_url
        self._patience = patience

    async def run(self) -> None:
        """Sends the test, waits, and tells of the channels that did not take it."""
        now = self._wall()
        name = f"{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}-self-test"
        test = self._notice(
            name,
            now,
            Severity.INFO,
            title="Test: alerts reach you here",
            sentence="This is the weekly test of Watchkeeper's alerts. Nothing is wrong, and there is nothing to do.",
            remedy="Should this message stay away one week, see the log and the status page of Watchkeeper.",
        )
        await self._put(test, self._channels)
        await asyncio.sleep(self._patience)
        failed = await self._transact(lambda conn: failures(conn, name))
        log.info("self_test", channels=len(self._channels), failed=sorted(failed))
        well = [channel for channel in self._channels if channel not in failed]
        for channel, said in failed.items():
            now = self._wall()
            trouble = self._notice(
                f"{name}-{channel}",
                now,
                Severity.ERROR,
                title=f"Alerts do not reach {channel}",
                sentence=f"The weekly test did not get through to {channel}: {said}.",
                remedy=f"Until it works nothing is told there. Try it by hand: python -m monitor test-alert {channel}.",
            )
            log.warning("self_test_failed", channel=channel, says=said)
            await self._put(trouble, well)

    async def _put(self, alert: Alert, channels: Sequence[str]) -> None:
        def keep(conn: sqlite3.Connection) -> None:
            for channel in channels:
                outbox.put(conn, channel, alert)

        await self._transact(keep)
        self._wake()

    def _notice(self, name: str, now: float, severity: Severity, *, title: str, sentence: str, remedy: str) -> Alert:
        return write_notice(
            name,
            title,
            sentence,
            severity=severity,
            at=now,
            instance=self._instance,
            status_url=self._status_url,
            remedy=remedy,
        )


def failures(conn: sqlite3.Connection, incident: str) -> dict[str, str]:
    """The channels that did not take the notice named `incident`, each with what was said last, for people."""
    rows = [row for row in outbox.told(conn, incident) if row.fate not in (Fate.SENT, Fate.OVERTAKEN)]
    return {row.channel: row.said.rstrip(". ") or "it was not even tried" for row in rows}
