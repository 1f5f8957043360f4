"""Contract servers for the tests: each test breaks its own."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from demo.contract import Contract, LoopThread

ContractFactory = Callable[..., Contract]


@pytest.fixture(scope="session")
def contract_loop() -> Iterator[LoopThread]:
    """The one thread that hosts every contract of this run."""
    loop = LoopThread()
    yield loop
    loop.stop()


@pytest.fixture
def contract(contract_loop: LoopThread) -> Iterator[ContractFactory]:
    """Starts contract servers that end with the test: `contract("qdrant", version="1.13.1", api_key="demo")`."""
    started: list[Contract] = []

    def start(kind: str, **arguments: Any) -> Contract:
        started.append(Contract(kind, loop=contract_loop, **arguments))
        return started[-1].start()

    yield start
    for server in started:
        server.stop()
