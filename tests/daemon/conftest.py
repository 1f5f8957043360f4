"""Whole daemons for the tests."""

import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest

from demo.contract import Contract, LoopThread
from demo.daemon import Daemon
from demo.process import Keeper


class StartDaemon(Protocol):
    """Starts a daemon with these variables; it ends with the test."""

    def __call__(self, variables: dict[str, str], **arguments: Any) -> Daemon: ...


@pytest.fixture
def daemon(keeper: Keeper) -> Iterator[StartDaemon]:
    """A factory of daemons at a quick pace: a look every 2 seconds, a second look every 0.3."""
    started: list[Daemon] = []

    def start(variables: dict[str, str], **arguments: Any) -> Daemon:
        quick = {"CHECK_INTERVAL": "2", "CONFIRM_INTERVAL": "0.3", "PROBE_TIMEOUT": "1", "START_PERIOD": "0"}
        one = Daemon({**quick, **variables}, keeper=keeper, **arguments)
        started.append(one)
        one.start()
        return one

    yield start
    for one in started:
        one.close()


@pytest.fixture
def target() -> Iterator[Contract]:
    """A service to watch: saas-api's stand-in."""
    loop = LoopThread()
    contract = Contract("saas-api", loop=loop).start()
    yield contract
    contract.stop()
    loop.stop()


def until(wanted: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Waits for `wanted()` to be true and gives what it gave. Fails when it takes longer than `seconds`."""
    deadline = time.monotonic() + seconds
    while not (got := wanted()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s"
        time.sleep(0.05)
    return got


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., Any]:
    """The function `until`."""
    return until
