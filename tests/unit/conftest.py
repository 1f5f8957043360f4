"""For unit tests: a loop whose clock jumps to the next thing due instead of waiting for it, and answers in memory."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import httpx
import pytest

from demo.contracts.base import Request, World
from demo.contracts.needs import Needs
from monitor.probes.base import ProbeContext

T = TypeVar("T")


class VirtualSelector(selectors.SelectSelector):
    """Waits for nothing: time to wait is added to the loop's clock."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise RuntimeError("nothing is due and nobody waits: the test would hang")
        self.loop.clock += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop of which a day takes seconds. No threads, no sockets but its own."""

    def __init__(self) -> None:
        self.clock = 1000.0
        selector = VirtualSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.clock


@pytest.fixture
def virtual() -> Callable[[Coroutine[Any, Any, T]], T]:
    """Runs a coroutine to its end on a virtual loop."""

    def run(coroutine: Coroutine[Any, Any, T]) -> T:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(coroutine)

    return run


class Answering(ProbeContext):
    """A context whose every HTTP question is answered by one service of demo.contracts, in memory."""

    def __init__(self, service: Any) -> None:
        super().__init__()
        world = World(Needs())

        async def handle(asked: httpx.Request) -> httpx.Response:
            answer = await service.answer(
                Request(
                    method=asked.method,
                    path=asked.url.path,
                    query=dict(asked.url.params),
                    headers={name.lower(): value for name, value in asked.headers.items()},
                    body=asked.content,
                    world=world,
                )
            )
            kind = {"content-type": answer.content_type} if answer.content_type else {}
            return httpx.Response(
                answer.status, stream=httpx.ByteStream(answer.body), headers={**kind, **answer.headers}
            )

        self._answering = httpx.MockTransport(handle)

    def transport(self, *, verify: bool = True) -> httpx.AsyncBaseTransport:
        return self._answering


@pytest.fixture
def answered_by() -> Callable[[Any], ProbeContext]:
    """Makes a context whose every HTTP question is answered by one service, wherever it is asked."""
    return Answering
