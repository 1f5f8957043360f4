"""docs/reference/delivery.md is what happens: every case is played with the real channels on virtual time."""

import asyncio
import contextlib
import itertools
import math
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from alerts import outbox
from alerts.alert import Alert
from alerts.channels.base import Channel, Receipt
from alerts.channels.pagerduty import PagerDuty
from alerts.channels.slack import Slack
from alerts.deliver import Delivery
from alerts.trouble import Trouble
from config.secret import Secret
from demo.contracts.base import Answer, Request, World
from demo.contracts.needs import Needs
from demo.delivery_cases import CASES, DAY, Case, Tries
from demo.provider import ROUTING_KEY, SLACK_TOKEN
from demo.provider_faults import BEHAVIOURS
from demo.providers import ANSWERS, Memory
from monitor.database import in_transaction

NOON = 1_790_000_000.0
SLACK = f"https://slack.test/services/T0DEMO000/B0DEMO000/{SLACK_TOKEN}"
PAGERDUTY = "https://events.test/v2/enqueue"


@dataclass
class Place:
    """One provider, which misbehaves as the case says."""

    name: str
    case: Case
    memory: Memory = field(default_factory=Memory)
    asked: int = 0

    async def answer(self, request: httpx.Request, since: float) -> httpx.Response:
        self.asked += 1
        case = self.case
        ill = self.asked <= case.times if case.times else since < case.until
        name = case.does if ill else "ok"
        if name == "refused":
            raise httpx.ConnectError("Connection refused")
        behaviour = BEHAVIOURS[name]
        seconds = behaviour.seconds if case.seconds is None else case.seconds
        answer = Answer()
        if behaviour.acts:
            answer = ANSWERS[self.name](self._read(request), self.memory)
        elif name == "retry_after_date":
            answer = dated(seconds)  # the one that looks at a clock, and virtual time is not its own
        elif behaviour.instead:
            answer = behaviour.instead(self.name, seconds)
        if behaviour.wire == "reset":
            raise httpx.ReadError("Connection reset by peer")
        if behaviour.wire == "hang":
            await asyncio.sleep(math.inf)
        assert not behaviour.wire or name == "ok"
        return httpx.Response(answer.status, headers=dict(answer.headers), content=answer.body)

    def _read(self, request: httpx.Request) -> Request:
        headers = {name.lower(): value for name, value in request.headers.items()}
        return Request(
            method=request.method,
            path=request.url.path,
            query=dict(request.url.params),
            headers=headers,
            body=request.content,
            world=World(Needs()),
        )


def dated(seconds: float) -> Answer:
    now = datetime.fromtimestamp(NOON, UTC)
    until = datetime.fromtimestamp(NOON + seconds, UTC)
    headers = {name: format_datetime(at, usegmt=True) for name, at in (("date", now), ("retry-after", until))}
    return Answer(status=429, headers=headers)


@dataclass
class Watched:
    """A channel as it is, and when it was asked to send what, and whether its provider took that."""

    channel: Channel
    place: Place
    began: float
    sent: list[tuple[str, float, bool]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.channel, name)

    async def send(self, alert: Alert, client: httpx.AsyncClient, *, ref: str = "") -> Receipt:
        at, before = asyncio.get_running_loop().time() - self.began, self._took()
        try:
            return await self.channel.send(alert, client, ref=ref)
        finally:
            self.sent.append((alert.kind.value, at, self._took() > before))

    def _took(self) -> int:
        return len(self.place.memory.slack) + len(self.place.memory.events)

    def tries(self) -> list[tuple[str, list[float], list[int]]]:
        """What was tried, a kind after the other."""
        found = []
        for kind, group in itertools.groupby(self.sent, key=lambda one: one[0]):
            each = list(group)
            taken = [number for number, (_, _, took) in enumerate(each) if took]
            found.append((kind, [at for _, at, _ in each], taken))
        return found


async def play(case: Case, conn: sqlite3.Connection, make: Callable[..., Alert]) -> tuple[Watched, Watched, list[Any]]:
    """One case; gives the chat, the pager, and what was told elsewhere."""
    loop = asyncio.get_running_loop()
    began = loop.time()

    def wall() -> float:
        return NOON + loop.time() - began

    places = {"slack.test": Place("slack", case), "events.test": Place("pagerduty", case)}

    async def answer(request: httpx.Request) -> httpx.Response:
        return await places[request.url.host].answer(request, loop.time() - began)

    chat = Watched(Slack(Secret(SLACK), wall=wall), places["slack.test"], began)
    pager = Watched(PagerDuty(Secret(ROUTING_KEY), PAGERDUTY, wall=wall), places["events.test"], began)
    troubles: list[Trouble] = []

    async def transact(fn: Callable[[sqlite3.Connection], Any]) -> Any:
        return in_transaction(conn, fn)

    delivery = Delivery(
        [chat, pager],
        transact=transact,
        wall=wall,
        client=lambda: httpx.AsyncClient(transport=httpx.MockTransport(answer)),
        on_trouble=lambda _, trouble: troubles.append(trouble),
        random=lambda: 0.5,
    )
    task = asyncio.create_task(delivery.run())

    def put(kind: str) -> None:
        since = NOON
        alert = make(kind, "db", wall(), since=since, sentence="It refuses connections.")
        for channel in (chat, pager):
            outbox.put(conn, channel.name, alert)
        delivery.wake()

    put("open")
    await asyncio.sleep(case.lasts)
    put("resolve")
    await asyncio.sleep(1.2 * DAY if case.until > DAY and not case.times else 4000)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return chat, pager, troubles


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_sent_and_when_is_what_the_page_says(
    case: Case, virtual: Callable[..., Any], box: sqlite3.Connection, alert: Callable[..., Alert]
) -> None:
    with capture_logs():
        chat, pager, troubles = virtual(play(case, box, alert))
    for watched, expected in ((chat, case.chat), (pager, case.pager)):
        found = [shape(kind, at, taken, expected) for kind, at, taken in watched.tries()]
        assert found == list(expected), watched.channel.name
        told = [one.matter.value for one in troubles if one.channel == watched.channel.name]
        assert sorted(told) == sorted(case.elsewhere)


def shape(kind: str, at: list[float], taken: list[int], expected: tuple[Tries, ...]) -> Tries:
    """What was found, as the case words it; times that are right within a second are the case's own."""
    meant = next((one for one in expected if one.kind == kind), Tries(kind=kind, at=()))
    first = at[: len(meant.at)] if meant.more else at
    near = len(first) == len(meant.at) and all(abs(a - b) <= 1.0 for a, b in zip(first, meant.at, strict=True))
    return Tries(
        kind=kind,
        at=meant.at if near else tuple(round(one) for one in first),
        taken=tuple(taken),
        more=len(at) - len(first),
    )
