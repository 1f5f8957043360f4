"""Time for unit tests: a loop whose clock jumps to the next thing due instead of waiting for it."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

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
