"""Delivery over HTTP with the real channels: every case of docs/reference/delivery.md, with shorter waits.

Virtual time has shown when what is sent; here the sockets, the client and the state file are real.
"""

import asyncio
import itertools
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from alerts import outbox
from alerts.alert import Alert
from alerts.channels.base import Channel, Receipt
from alerts.channels.discord import Discord
from alerts.channels.pagerduty import PagerDuty
from alerts.channels.slack import Slack
from alerts.deliver import Delivery
from alerts.patience import Timing
from alerts.trouble import Trouble
from config.secret import Secret
from demo.contract import LoopThread
from demo.delivery_cases import CASES, FOREVER, Case, Tries
from demo.provider import DISCORD_TOKEN, ROUTING_KEY, SLACK_TOKEN, Provider
from demo.situations import SITUATIONS
from monitor.database import Schema
from monitor.state import StateFile

SCHEMA = Schema(owner="outbox", steps=outbox.STEPS, live=outbox.LIVE)
OPEN, RESOLVE = SITUATIONS["open_down"], SITUATIONS["resolve"]
ILL = 1.5  # seconds that ten minutes, or an hour, take here
TLS = ssl.create_default_context()  # 20 ms to make
QUICK = Timing(send=0.8, gap=0.01, first=0.03, most=0.3, refused_first=0.05, refused_most=0.3, look=0.5, leave=0.1)


class Watched:
    """A channel as it is, and what it was asked to send, when, and whether its provider took that."""

    def __init__(self, channel: Channel, provider: Provider) -> None:
        self.channel = channel
        self.name, self.pages, self.groups, self.keyed = channel.name, channel.pages, channel.groups, channel.keyed
        self._provider = provider
        self.sent: list[tuple[str, float, bool]] = []

    async def send(self, alert: Alert, client: httpx.AsyncClient, *, ref: str = "") -> Receipt:
        at, before = time.monotonic(), self._took()
        try:
            return await self.channel.send(alert, client, ref=ref)
        finally:
            self.sent.append((alert.kind.value, at, self._took() > before))

    def _took(self) -> int:
        memory = self._provider.memory
        return {"slack": len(memory.slack), "discord": memory.messages, "pagerduty": len(memory.events)}[self.name]


class World:
    """Providers, channels to them, and a delivery over a state file."""

    def __init__(self, state: StateFile, provider: Provider, *names: str, timing: Timing = QUICK) -> None:
        channels: dict[str, Channel] = {
            "slack": Slack(Secret(provider.slack_url)),
            "discord": Discord(Secret(provider.discord_url)),
            "pagerduty": PagerDuty(Secret(ROUTING_KEY), provider.pagerduty_url),
        }
        self.state = state
        self.provider = provider
        self.channels = [Watched(channels[name], provider) for name in names]
        self.troubles: list[Trouble] = []
        self.delivery = Delivery(
            self.channels,
            transact=state.transact,
            on_trouble=lambda _, one: self.troubles.append(one),
            client=lambda: httpx.AsyncClient(trust_env=False, verify=TLS, timeout=timing.send),
            timing=timing,
        )

    async def put(self, alert: Alert) -> None:
        def write(conn: Any) -> None:
            for channel in self.channels:
                outbox.put(conn, channel.name, alert)

        await self.state.transact(write)
        self.delivery.wake()

    async def drained(self, within: float = 20.0) -> None:
        """Waits until nothing waits."""
        async with asyncio.timeout(within):
            while await self.state.transact(lambda conn: outbox.backlog(conn, now=time.time())):  # noqa: ASYNC110 -- as a reader would
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.delivery.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def loop_thread() -> Iterator[LoopThread]:
    loop = LoopThread()
    yield loop
    loop.stop()


async def play(case: Case, folder: Path, loop: LoopThread) -> World:
    """One case with a provider of its own."""
    state = await StateFile.open(folder, schemas=(SCHEMA,))
    provider = Provider(loop=loop).start()
    timing = replace(QUICK, give_up=2.0 if case.until == FOREVER else 60.0)
    world = World(state, provider, "slack", "pagerduty", timing=timing)
    try:
        if case.does == "refused":
            provider.refuse()
        elif case.times:
            # The whole connection is reset before anybody knows whose it is; the other faults are each place's own.
            for place in ("", "") if case.does == "reset" else ("slack", "pagerduty"):
                provider.script(*[case.does] * case.times, only=place)
        elif case.does != "ok":
            provider.behave(case.does, seconds=1.0 if case.seconds else None)
        well_soon = case.does == "ok" or bool(case.times)
        async with world.working():
            await world.put(OPEN)
            if not well_soon:
                await asyncio.sleep(ILL / 3)
                if case.lasts < case.until:
                    await world.put(RESOLVE)
                await asyncio.sleep(ILL)
                if case.until < FOREVER:
                    provider.behave("ok")
                    provider.start() if case.does == "refused" else None
            await world.drained()
            await world.put(RESOLVE)
            await world.drained()
    finally:
        provider.stop()
        await state.close()
    return world


def test_every_case_of_the_page_over_http(tmp_path: Path, loop_thread: LoopThread) -> None:
    async def all_of_them() -> list[World]:
        few = asyncio.Semaphore(5)  # more at once than the machine can follow would time out by themselves

        async def one(case: Case) -> World:
            async with few:
                return await play(case, tmp_path / case.name, loop_thread)

        return await asyncio.gather(*map(one, CASES))

    with capture_logs() as logged:
        worlds = asyncio.run(all_of_them())
    for case, world in zip(CASES, worlds, strict=True):
        for channel, expected in zip(world.channels, (case.chat, case.pager), strict=True):
            check(case, channel, expected)
        matters = {one.matter.value for one in world.troubles}
        assert matters == set(case.elsewhere), case.name
        assert not world.provider.memory.incidents, case.name
        assert set(world.provider.memory.opened.values()) <= {1}, f"{case.name}: opened twice"
    said = repr(logged) + repr([world.troubles for world in worlds])
    for secret in (SLACK_TOKEN, ROUTING_KEY, DISCORD_TOKEN):
        assert secret not in said


def check(case: Case, channel: Watched, expected: tuple[Tries, ...]) -> None:
    """The same messages in the same order, taken as often; how often they were tried before is a matter of time."""
    where = f"{case.name} to {channel.name}: {channel.sent}"
    groups = [(kind, list(group)) for kind, group in itertools.groupby(channel.sent, key=lambda one: one[0])]
    assert [kind for kind, _ in groups] == [one.kind for one in expected], where
    for (_, found), meant in zip(groups, expected, strict=True):
        taken = sum(took for _, _, took in found)
        assert taken == len(meant.taken) if len(meant.taken) < 2 else taken >= 1, where
        if case.times and meant is expected[0]:
            assert len(found) == len(meant.at), where
    if case.seconds:
        at = [at for _, at, _ in channel.sent]
        assert at[1] - at[0] >= 1.0, f"earlier than it was asked: {where}"


def test_a_hanging_provider_delays_nobody_and_the_end_is_quick(tmp_path: Path) -> None:
    async def story() -> tuple[float, float, World]:
        state = await StateFile.open(tmp_path, schemas=(SCHEMA,))
        with Provider() as provider:
            provider.behave("hang", only="slack")
            world = World(state, provider, "slack", "discord", timing=Timing())
            began = time.monotonic()
            async with world.working():
                await world.put(OPEN)
                await asyncio.to_thread(provider.wait, 1, place="slack")
                await asyncio.to_thread(provider.wait, 1, place="discord")
                took = time.monotonic() - began
                await asyncio.sleep(0.2)
                ends = time.monotonic()
            ended = time.monotonic() - ends
            rows = await state.transact(lambda conn: outbox.told(conn, OPEN.incident))
            assert {row.channel: row.fate.value for row in rows} == {"slack": "waiting", "discord": "sent"}
            assert {row.channel: row.attempts for row in rows} == {"slack": 1, "discord": 1}
        await state.close()
        return took, ended, world

    with capture_logs():
        took, ended, _ = asyncio.run(story())
    assert took < 2.0
    assert ended < 1.0


def test_discords_first_message_is_edited_unless_it_was_of_several(tmp_path: Path) -> None:
    async def story() -> Provider:
        state = await StateFile.open(tmp_path, schemas=(SCHEMA,))
        with Provider() as provider:
            world = World(state, provider, "discord")
            async with world.working():
                await world.put(OPEN)
                await world.drained()
                await world.put(RESOLVE)
                await world.drained()
        await state.close()
        return provider

    with capture_logs():
        provider = asyncio.run(story())
    assert OPEN.incident == RESOLVE.incident
    assert list(provider.memory.edits.values()) == [1], "the first message says that it is over"
    assert provider.memory.messages == 2, "and a line of its own says so too"
